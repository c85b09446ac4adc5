//! WebSockets that belong together: how many there are, how each one ended, and how they are all closed.

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use core::task::{Context, Waker};
use core::time::Duration;
use std::boxed::Box;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::vec::Vec;

use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::sync::Notify;
use ::tokio::task::AbortHandle;

use super::handler::{BoxError, Ended, HandlerResult};
use super::{WebSocket, now, within};
use crate::asynchronous::{Order, Supervisor};
use crate::protocol::error::End;
use crate::protocol::stats::Stats;

/// Kinds of seats: a client that is refused for now, one in its opening handshake, a WebSocket.
const REFUSING: u8 = 0;
const OPENING: u8 = 1;
const OPEN: u8 = 2;

/// Phases of a group.
const RUNNING: u8 = 0;
const CLOSING: u8 = 1;
const DROPPING: u8 = 2;

/// How long a shutdown waits for requests that are still coming, to refuse them.
const HANDSHAKES: Duration = Duration::from_secs(1);

/// How long aborted tasks may take to end. A task that blocks its thread never ends.
const ABORTED: Duration = Duration::from_secs(1);

/// WebSockets that belong together, in a server of another library: they are counted and limited, and they can be shut
/// down in an orderly way. [`Server`](super::Server) has such a group of its own.
///
/// A clone is another handle of the same group. With axum, name it in the handler:
///
#[cfg_attr(feature = "axum", doc = "```no_run")]
#[cfg_attr(not(feature = "axum"), doc = "```ignore")]
/// use std::time::Duration;
///
/// use axum::{Router, extract::State, response::Response, routing::any};
/// use bowline::axum::{WebSocket, WebSocketUpgrade};
/// use bowline::tokio::Group;
///
/// async fn handler(State(group): State<Group>, upgrade: WebSocketUpgrade) -> Response {
///     upgrade.group(&group).on_upgrade(echo)
/// }
///
/// async fn echo(mut ws: WebSocket) -> Result<(), bowline::Error> {
///     while let Some(message) = ws.recv().await? {
///         ws.feed(message).await?;
///     }
///     Ok(())
/// }
///
/// # async fn serve(listener: tokio::net::TcpListener) -> std::io::Result<()> {
/// let group = Group::new().max_connections(5_000);
/// let app = Router::new().route("/ws", any(handler)).with_state(group.clone());
/// axum::serve(listener, app)
///     .with_graceful_shutdown(async { tokio::signal::ctrl_c().await.unwrap_or_default() })
///     .await?;
/// // axum has answered its last request. An upgraded connection is none of its own any more.
/// println!("{:?}", group.shutdown(Duration::from_secs(10)).await);
/// # Ok(())
/// # }
/// ```
///
/// With hyper, `bowline::hyper::Upgrading::join` takes it.
///
/// A WebSocket counts until its handler has returned and its receiving side is dropped.
#[derive(Clone)]
pub struct Group(Arc<Inner>);

struct Inner {
    phase: AtomicU8,
    state: Mutex<State>,
    /// Wakes the tasks that wait for a place, or until all connections are gone.
    room: Notify,
    /// Wakes the tasks that wait for the shutdown.
    stop: Notify,
}

type OnEnd = Arc<dyn Fn(&Ended<'_>) + Send + Sync>;

struct State {
    max_connections: usize,
    max_handshakes: usize,
    on_end: Option<OnEnd>,
    seats: HashMap<u64, Weak<Seat>>,
    next: u64,
    open: usize,
    opening: usize,
    refusing: usize,
    report: Shutdown,
    /// The numbers of the connections that count, and of those that have ended.
    counting: HashMap<u64, Arc<Mutex<Counts>>>,
    ended: Stats,
}

/// How the connections ended that were open when `shutdown` of a [`Server`](super::Server) or a [`Group`] began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shutdown {
    /// How many ended with a Close from both sides.
    pub closed: usize,
    /// How many did not: they were dropped at the deadline, or the peer or the handler was gone before.
    pub dropped: usize,
}

/// A connection's place in a group.
pub(crate) struct Seat {
    group: Group,
    key: u64,
    kind: AtomicU8,
    told: AtomicBool,
    clean: AtomicBool,
    changing: Mutex<Changing>,
}

struct Changing {
    task: Option<AbortHandle>,
    waker: Option<Waker>,
    /// What [`Group::on_end`] is told. There is none before there is a WebSocket, or if nobody asks.
    story: Option<Box<Story>>,
}

struct Story {
    on_end: Option<OnEnd>,
    since: Duration,
    end: Option<End>,
    result: Option<Result<(), BoxError>>,
    /// Only a connection that counts has them.
    counts: Option<Arc<Mutex<Counts>>>,
}

/// The numbers of a connection, as of its last wait for input.
#[derive(Clone, Copy, Default)]
struct Counts {
    received: Stats,
    sent: Stats,
}

impl Counts {
    fn all(&self) -> Stats {
        self.received + self.sent
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere breaks nothing in these values.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until `check` gives something. It may, after each notice.
// `Waker::will_wake` may say no for two wakers of one task. So a list of wakers here could only grow.
async fn until<T>(notices: &Notify, mut check: impl FnMut() -> Option<T>) -> T {
    loop {
        // This comes before the check. Otherwise a notice in between would be missed.
        let notice = notices.notified();
        if let Some(found) = check() {
            return found;
        }
        notice.await;
    }
}

impl Supervisor for Seat {
    fn poll(&self, cx: &Context<'_>) -> Option<Order> {
        match &mut lock(&self.changing).waker {
            Some(known) => known.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        // This comes after the waker is stored. Otherwise an order in between would be missed.
        self.order()
    }

    fn order(&self) -> Option<Order> {
        match self.group.phase() {
            RUNNING => None,
            CLOSING if self.told.swap(true, Ordering::Relaxed) => None,
            CLOSING => Some(Order::Close),
            _ => Some(Order::Drop),
        }
    }

    fn ended(&self, end: Option<&End>) {
        self.clean.store(end.is_some_and(End::is_clean), Ordering::Relaxed);
        if let Some(story) = &mut lock(&self.changing).story {
            story.end = end.cloned();
        }
    }

    fn received(&self, stats: Stats) {
        self.counts(|counts| counts.received = stats);
    }

    fn sent(&self, stats: Stats) {
        self.counts(|counts| counts.sent = stats);
    }
}

impl Seat {
    /// Turns an opening seat into an open one, unless the group is being shut down.
    pub(super) fn opened(&self) -> bool {
        let mut state = lock(&self.group.0.state);
        if self.group.phase() != RUNNING {
            return false;
        }
        self.kind.store(OPEN, Ordering::Relaxed);
        state.opening -= 1;
        state.open += 1;
        drop(state);
        self.group.0.room.notify_waiters();
        true
    }

    /// Takes charge of the WebSocket: of its end in a shutdown, and of what is to be told of it, if somebody asks.
    pub(crate) fn supervise<S: AsyncRead + AsyncWrite + Unpin>(
        self: &Arc<Self>,
        ws: &mut WebSocket<S>,
    ) {
        let counts = ws.reader.receiver.config().get().stats.then(Arc::default);
        let mut state = lock(&self.group.0.state);
        let on_end = state.on_end.clone();
        state.counting.extend(counts.clone().map(|counts| (self.key, counts)));
        drop(state);
        if on_end.is_some() || counts.is_some() {
            let story = Story { on_end, since: now(), end: None, result: None, counts };
            lock(&self.changing).story = Some(Box::new(story));
        }
        ws.reader.supervise(Arc::<Self>::clone(self));
        let seat: Weak<Self> = Arc::downgrade(self);
        ws.writer.supervise(seat);
    }

    fn counts(&self, change: impl FnOnce(&mut Counts)) {
        let changing = lock(&self.changing);
        if let Some(counts) = changing.story.as_ref().and_then(|story| story.counts.as_ref()) {
            change(&mut lock(counts));
        }
    }

    /// The handler has returned.
    pub(crate) fn returned(&self, result: impl HandlerResult) {
        if let Some(story) = &mut lock(&self.changing).story {
            story.result = Some(result.into_result());
        }
    }

    fn is_open(&self) -> bool {
        self.kind.load(Ordering::Relaxed) == OPEN
    }

    fn wake(&self) {
        let waker = lock(&self.changing).waker.take();
        waker.into_iter().for_each(Waker::wake);
    }

    fn abort(&self) {
        let task = lock(&self.changing).task.take();
        task.into_iter().for_each(|task| task.abort());
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // This comes before the connection stops counting: who waits for the shutdown has been told of each end.
        let changing = self.changing.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(story) = changing.story.take() {
            story.tell();
        }
        let mut state = lock(&self.group.0.state);
        state.seats.remove(&self.key);
        // Both under one lock. Otherwise a sum could miss this connection, and a counter would go down.
        if let Some(counts) = state.counting.remove(&self.key) {
            state.ended += lock(&counts).all();
        }
        match *self.kind.get_mut() {
            REFUSING => state.refusing -= 1,
            OPENING => state.opening -= 1,
            _ => {
                state.open -= 1;
                if self.group.phase() != RUNNING {
                    let clean = *self.clean.get_mut();
                    let report = &mut state.report;
                    *if clean { &mut report.closed } else { &mut report.dropped } += 1;
                }
            }
        }
        drop(state);
        self.group.0.room.notify_waiters();
    }
}

impl Story {
    fn tell(self) {
        let Self { on_end, since, end, result, counts } = self;
        let Some(on_end) = on_end else {
            return;
        };
        let stats = counts.map(|counts| lock(&counts).all());
        let ended = Ended::new(result, end.as_ref(), now().saturating_sub(since), stats);
        // A panic of the program's must not keep the connection from being counted out. It has been reported.
        let _ = catch_unwind(AssertUnwindSafe(|| on_end(&ended)));
    }
}

/// What a new connection may do.
pub(super) enum Admission {
    Enter(Arc<Seat>),
    Refuse(Arc<Seat>),
    Stopped,
}

impl Default for Group {
    fn default() -> Self {
        Self::new()
    }
}

impl Group {
    /// A group without WebSockets.
    pub fn new() -> Self {
        let state = State {
            max_connections: 10_000,
            max_handshakes: 1_000,
            on_end: None,
            seats: HashMap::new(),
            next: 0,
            open: 0,
            opening: 0,
            refusing: 0,
            report: Shutdown::default(),
            counting: HashMap::new(),
            ended: Stats::default(),
        };
        Self(Arc::new(Inner {
            phase: AtomicU8::new(RUNNING),
            state: Mutex::new(state),
            room: Notify::new(),
            stop: Notify::new(),
        }))
    }

    /// How many WebSockets there may be. A client beyond that gets status 503 with `Retry-After`. The limit holds from
    /// now on, for all handles. WebSockets that are open stay. Zero refuses all.
    ///
    /// Default 10,000. Each needs a file descriptor: stay below the limit of the process.
    pub fn max_connections(self, count: usize) -> Self {
        lock(&self.0.state).max_connections = count;
        self
    }

    pub(super) fn set_max_handshakes(&self, count: usize) {
        lock(&self.0.state).max_handshakes = count.max(1);
    }

    /// Calls this at the end of each WebSocket that opens from now on: the one place for logs, metrics and spans. See
    /// [`Ended`] for what it is told. It runs in the task that ends, so it must not block. The connection counts until
    /// it returns. A panic of it ends nothing but the call.
    ///
    /// Default: nothing is called, and nothing is kept for it.
    ///
    /// ```
    /// let group = bowline::tokio::Group::new().on_end(|ended| {
    ///     if let Err(error) = &ended.result {
    ///         eprintln!("a handler failed after {:?}: {error}", ended.duration);
    ///     }
    /// });
    /// ```
    pub fn on_end(self, on_end: impl Fn(&Ended<'_>) + Send + Sync + 'static) -> Self {
        lock(&self.0.state).on_end = Some(Arc::new(on_end));
        self
    }

    /// How many WebSockets are open.
    pub fn connections(&self) -> usize {
        lock(&self.0.state).open
    }

    /// The numbers of all its WebSockets that count ([`Config::stats`](crate::Config::stats)): those that have ended, and
    /// those that are open as of their last wait for input. A metric that only grows can be made of them: a connection
    /// that ends takes nothing away.
    ///
    /// It looks at each WebSocket that is open. Times are not part of a sum, and close codes neither: see
    /// [`Ended`] for those.
    pub fn stats(&self) -> Stats {
        let state = lock(&self.0.state);
        let open: Stats = state.counting.values().map(|counts| lock(counts).all()).sum();
        let mut all = state.ended + open;
        drop(state);
        for traffic in [&mut all.received, &mut all.sent] {
            (traffic.since_frame, traffic.since_message, traffic.close_code) = (None, None, None);
        }
        all
    }

    /// Shuts down. New clients get status 503. All WebSockets get Close 1001 (RFC 6455 §7.4.1): "an endpoint is
    /// 'going away'". It waits until the peers have answered and the handlers have returned, at most `grace`. Messages
    /// that the peers sent before their own Close still reach the handlers.
    ///
    /// Then it drops the connections that are left: `recv` says so, and tasks that this crate spawned are aborted.
    ///
    /// A peer that does not answer is left after [`Config::close_timeout`](crate::Config::close_timeout). So a
    /// longer `grace` only gives more time to handlers.
    ///
    /// Dropping the future leaves the connections as they are. Call it again to go on.
    pub async fn shutdown(&self, grace: Duration) -> Shutdown {
        let until = now().saturating_add(grace);
        self.begin(CLOSING).iter().for_each(|seat| seat.wake());
        let hurry = until.min(now().saturating_add(HANDSHAKES));
        if within(Some(hurry), self.emptied()).await.is_none() {
            let seats = self.begin(CLOSING);
            seats.iter().filter(|seat| !seat.is_open()).for_each(|seat| seat.abort());
        }
        if within(Some(until), self.emptied()).await.is_none() {
            for seat in self.begin(DROPPING) {
                seat.wake();
                seat.abort();
            }
            let until = now().saturating_add(ABORTED);
            within(Some(until), self.emptied()).await;
        }
        let state = lock(&self.0.state);
        let mut report = state.report;
        report.dropped += state.open;
        report
    }

    /// Begins a phase, and gives the seats that it concerns.
    fn begin(&self, phase: u8) -> Vec<Arc<Seat>> {
        let state = lock(&self.0.state);
        self.0.phase.fetch_max(phase, Ordering::AcqRel);
        // The seats are dropped after the lock is released, because the last owner of a seat takes it.
        let seats = state.seats.values().filter_map(Weak::upgrade).collect();
        drop(state);
        self.0.stop.notify_waiters();
        self.0.room.notify_waiters();
        seats
    }

    fn phase(&self) -> u8 {
        self.0.phase.load(Ordering::Acquire)
    }

    fn is_running(&self) -> bool {
        self.phase() == RUNNING
    }

    /// Waits for the shutdown to begin.
    pub(super) async fn stopped(&self) {
        until(&self.0.stop, || (!self.is_running()).then_some(())).await;
    }

    /// Waits until no connection is left.
    async fn emptied(&self) {
        let check = || {
            let state = lock(&self.0.state);
            (state.open + state.opening + state.refusing == 0).then_some(())
        };
        until(&self.0.room, check).await;
    }

    /// A place for a connection whose opening handshake begins. Waits if too many clients are being refused.
    pub(super) async fn admit(&self) -> Admission {
        until(&self.0.room, || self.try_admit()).await
    }

    /// `None`: there is no place now.
    fn try_admit(&self) -> Option<Admission> {
        let mut state = lock(&self.0.state);
        if !self.is_running() {
            return Some(Admission::Stopped);
        }
        Some(if state.opening < state.max_handshakes && state.has_room() {
            state.opening += 1;
            Admission::Enter(self.seat(&mut state, OPENING))
        } else if state.refusing < state.max_handshakes {
            state.refusing += 1;
            Admission::Refuse(self.seat(&mut state, REFUSING))
        } else {
            return None;
        })
    }

    /// A place for a connection that is about to be answered. `None`: it is to be refused.
    #[cfg(feature = "hyper")]
    pub(crate) fn enter(&self) -> Option<Arc<Seat>> {
        let mut state = lock(&self.0.state);
        if !self.is_running() || !state.has_room() {
            return None;
        }
        state.open += 1;
        Some(self.seat(&mut state, OPEN))
    }

    fn seat(&self, state: &mut State, kind: u8) -> Arc<Seat> {
        let key = state.next;
        state.next += 1;
        let seat = Arc::new(Seat {
            group: self.clone(),
            key,
            kind: AtomicU8::new(kind),
            told: AtomicBool::new(false),
            clean: AtomicBool::new(false),
            changing: Mutex::new(Changing { task: None, waker: None, story: None }),
        });
        state.seats.insert(key, Arc::downgrade(&seat));
        seat
    }
}

impl State {
    fn has_room(&self) -> bool {
        self.open + self.opening < self.max_connections
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.0.state);
        f.debug_struct("Group")
            .field("open", &state.open)
            .field("opening", &state.opening)
            .field("refusing", &state.refusing)
            .finish_non_exhaustive()
    }
}

/// Runs a task that holds the seat, and lets the seat end it.
pub(crate) fn spawn<F: Future<Output = ()> + Send + 'static>(
    seat: Arc<Seat>,
    run: impl FnOnce(Arc<Seat>) -> F,
) {
    let running = run(Arc::clone(&seat));
    let held = Arc::clone(&seat);
    // The lock is held, so that the task cannot end before its handle is stored.
    let mut changing = lock(&seat.changing);
    let running = ::tokio::spawn(async move {
        running.await;
        drop(held);
    });
    changing.task = Some(running.abort_handle());
    drop(changing);
    // The shutdown may have looked for the handle before it was there.
    if seat.group.phase() == DROPPING {
        seat.abort();
    }
}
