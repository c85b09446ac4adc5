//! Limits and an orderly end for a server: which connections it accepts, and how it closes them all.

use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::boxed::Box;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::vec::Vec;

use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::sync::Notify;
use ::tokio::task::AbortHandle;

use super::listener::Listener;
use super::{Incoming, WebSocket, now, within};
use crate::asynchronous::{Order, Supervisor};
use crate::handshake::{Accept, Request, Response};
use crate::protocol::config::Config;
use crate::protocol::error::End;

/// Kinds of seats: a client that is refused for now, one in its opening handshake, a WebSocket.
const REFUSING: u8 = 0;
const OPENING: u8 = 1;
const OPEN: u8 = 2;

/// Phases of a server.
const RUNNING: u8 = 0;
const CLOSING: u8 = 1;
const DROPPING: u8 = 2;

/// How long to wait after an accept that failed for lack of file descriptors. Connections that end give them back.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// After this many failures in a row, whatever they are, the listener itself may be broken.
const MOST_FAILURES: u32 = 100;

/// How long a shutdown waits for requests that are still coming, to refuse them.
const HANDSHAKES: Duration = Duration::from_secs(1);

/// How long aborted tasks may take to end. A task that blocks its thread never ends.
const ABORTED: Duration = Duration::from_secs(1);

/// A server of WebSockets with bounds, which can be shut down in an orderly way.
///
/// It runs a task for each connection. Beyond its limits a client gets status 503 with `Retry-After`. If too many
/// clients are being refused, new connections wait in the listener. A clone is another handle of the same server.
///
/// ```no_run
/// use bowline::tokio::Server;
/// # #[tokio::main] async fn main() -> std::io::Result<()> {
/// let server = Server::new(bowline::Config::default()).max_connections(5_000);
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:9001").await?;
/// let running = server.clone();
/// tokio::spawn(async move {
///     let echo = |mut ws: bowline::tokio::WebSocket<_>, _request| async move {
///         while let Ok(Some(message)) = ws.recv().await {
///             if ws.send(message).await.is_err() { break }
///         }
///     };
///     running.run(listener, echo).await
/// });
/// tokio::signal::ctrl_c().await?;
/// println!("{:?}", server.shutdown(std::time::Duration::from_secs(10)).await);
/// # Ok(())
/// # }
/// ```
///
/// Handlers need no code for the shutdown. The Close begins below them, while they wait in `recv`, and `recv`
/// then gives `None`. A handler may split the WebSocket, or move it to another task. A connection counts until
/// its task has ended and its receiving side is dropped.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    config: Config,
    phase: AtomicU8,
    state: Mutex<State>,
    /// Wakes the tasks that wait for a place, or until all connections are gone.
    room: Notify,
    /// Wakes the tasks that wait for the shutdown.
    stop: Notify,
}

type Choose = Arc<dyn Fn(&Request) -> Result<Accept, Response> + Send + Sync>;

struct State {
    max_connections: usize,
    max_handshakes: usize,
    choose: Choose,
    seats: HashMap<u64, Weak<Seat>>,
    next: u64,
    open: usize,
    opening: usize,
    refusing: usize,
    report: Shutdown,
}

/// How the connections ended that were open when [`Server::shutdown`] began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shutdown {
    /// How many ended with a Close from both sides.
    pub closed: usize,
    /// How many did not: they were dropped at the deadline, or the peer or the handler was gone before.
    pub dropped: usize,
}

/// A connection's place in the server.
struct Seat {
    server: Arc<Inner>,
    key: u64,
    kind: AtomicU8,
    told: AtomicBool,
    clean: AtomicBool,
    task: Mutex<Option<AbortHandle>>,
    waker: Mutex<Option<Waker>>,
}

/// Whether an accept failed because the process or the machine has run out of something. Any other error belongs to
/// one connection, such as one that its client aborted.
fn is_exhausted(error: &io::Error) -> bool {
    // ENFILE, EMFILE, ENOMEM and ENOBUFS, on Linux, the BSDs and Windows. `ErrorKind` has no name for most.
    const EXHAUSTED: [i32; 7] = [23, 24, 12, 105, 55, 10_024, 10_055];
    error.kind() == io::ErrorKind::OutOfMemory
        || error.raw_os_error().is_some_and(|code| EXHAUSTED.contains(&code))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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
        match &mut *lock(&self.waker) {
            Some(known) => known.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        // This comes after the waker is stored. Otherwise an order in between would be missed.
        self.order()
    }

    fn order(&self) -> Option<Order> {
        match self.server.phase.load(Ordering::Acquire) {
            RUNNING => None,
            CLOSING if self.told.swap(true, Ordering::Relaxed) => None,
            CLOSING => Some(Order::Close),
            _ => Some(Order::Drop),
        }
    }

    fn ended(&self, end: Option<&End>) {
        self.clean.store(end.is_some_and(End::is_clean), Ordering::Relaxed);
    }
}

impl Seat {
    /// Turns an opening seat into an open one, unless the server stops.
    fn opened(&self) -> bool {
        let mut state = lock(&self.server.state);
        if self.server.phase.load(Ordering::Acquire) != RUNNING {
            return false;
        }
        self.kind.store(OPEN, Ordering::Relaxed);
        state.opening -= 1;
        state.open += 1;
        drop(state);
        self.server.room.notify_waiters();
        true
    }

    fn wake(&self) {
        let waker = lock(&self.waker).take();
        waker.into_iter().for_each(Waker::wake);
    }

    fn abort(&self) {
        lock(&self.task).take().into_iter().for_each(|task| task.abort());
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = lock(&self.server.state);
        state.seats.remove(&self.key);
        match *self.kind.get_mut() {
            REFUSING => state.refusing -= 1,
            OPENING => state.opening -= 1,
            _ => {
                state.open -= 1;
                if self.server.phase.load(Ordering::Acquire) != RUNNING {
                    let clean = *self.clean.get_mut();
                    let report = &mut state.report;
                    *if clean { &mut report.closed } else { &mut report.dropped } += 1;
                }
            }
        }
        drop(state);
        self.server.room.notify_waiters();
    }
}

enum Admission {
    Enter(Arc<Seat>),
    Refuse(Arc<Seat>),
    Stopped,
}

impl Server {
    /// A server whose connections have these settings. It admits every valid request that keeps to the
    /// origin policy.
    pub fn new(config: Config) -> Self {
        let state = State {
            max_connections: 10_000,
            max_handshakes: 1_000,
            choose: Arc::new(|_| Ok(Accept::new())),
            seats: HashMap::new(),
            next: 0,
            open: 0,
            opening: 0,
            refusing: 0,
            report: Shutdown::default(),
        };
        Self(Arc::new(Inner {
            config,
            phase: AtomicU8::new(RUNNING),
            state: Mutex::new(state),
            room: Notify::new(),
            stop: Notify::new(),
        }))
    }

    /// How many connections there may be, including those in their opening handshake. More get status 503. The
    /// limit holds from now on, for all handles. Connections that are open stay.
    ///
    /// The [`Config`] bounds the memory of each connection. A [`Budget`](crate::Budget) in it
    /// ([`Config::memory_budget`]) bounds that of all together.
    ///
    /// Default 10,000. Each needs a file descriptor, and refusals need up to
    /// [`max_handshakes`](Self::max_handshakes) more. Stay below the limit of the process.
    pub fn max_connections(self, count: usize) -> Self {
        lock(&self.0.state).max_connections = count;
        self
    }

    /// How many opening handshakes there may be at a time, at least 1. More get status 503, at most as many at a
    /// time. Beyond that, connections wait in the listener.
    ///
    /// Default 1,000. A handshake takes up to
    /// [`Config::handshake_timeout`](crate::Config::handshake_timeout), and holds the bytes of its head.
    pub fn max_handshakes(self, count: usize) -> Self {
        lock(&self.0.state).max_handshakes = count.max(1);
        self
    }

    /// Decides on each request. `choose` gives what to accept it with (a subprotocol, headers), or the response
    /// to refuse it with. Without this, every path is served. It must not block.
    pub fn on_request(
        self,
        choose: impl Fn(&Request) -> Result<Accept, Response> + Send + Sync + 'static,
    ) -> Self {
        lock(&self.0.state).choose = Arc::new(choose);
        self
    }

    /// Accepts connections until [`shutdown`](Self::shutdown) begins, and gives each WebSocket, with its
    /// request, to a handler in a task of its own. The listener is a `TcpListener` or a `UnixListener` of tokio.
    /// TCP connections get `TCP_NODELAY`. If accepting fails for lack of file descriptors or memory, it tries again
    /// after 100 ms. A connection that was aborted before it was accepted costs no such wait.
    ///
    /// Dropping the future only stops accepting. The file of a Unix socket is left to the program.
    ///
    /// ```no_run
    /// # #[cfg(unix)]
    /// # async fn run() -> std::io::Result<()> {
    /// let listener = tokio::net::UnixListener::bind("/run/chat/socket")?;
    /// let server = bowline::tokio::Server::new(bowline::Config::default());
    /// server.run(listener, |mut ws, _request| async move {
    ///     while let Ok(Some(message)) = ws.recv().await {
    ///         let _ = ws.feed(message).await; // recv gives the error again
    ///     }
    /// }).await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn run<L, H, F>(&self, listener: L, handler: H)
    where
        L: Listener,
        H: Fn(WebSocket<L::Stream>, Request) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut failures = 0;
        let mut stopped = pin!(until(&self.0.stop, || (!self.is_running()).then_some(())));
        loop {
            let accepted = poll_fn(|cx| {
                if stopped.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                listener.poll_accept(cx).map(Some)
            });
            match accepted.await {
                None => return,
                Some(Ok(stream)) => {
                    failures = 0;
                    let opening = async move { L::prepare(stream) };
                    self.serve(opening, handler.clone()).await;
                }
                Some(Err(error)) if is_exhausted(&error) || failures == MOST_FAILURES => {
                    failures = 0;
                    ::tokio::time::sleep(ACCEPT_AGAIN).await;
                }
                Some(Err(_)) => failures += 1,
            }
        }
    }

    /// Serves one connection over any stream in a task of its own, as [`run`](Self::run) does with each.
    /// `stream` may take some time, as a TLS handshake does. It counts as a part of the opening handshake, with
    /// a [`Config::handshake_timeout`](crate::Config::handshake_timeout) of its own. If you have the stream
    /// already, pass `std::future::ready(Ok(stream))`.
    ///
    /// The future is done when the task has begun. That is at once, unless too many clients are being refused.
    /// Dropping the future before that drops the stream. After [`shutdown`](Self::shutdown) has begun, the
    /// stream is dropped.
    ///
    #[cfg_attr(feature = "rustls", doc = "```no_run")]
    #[cfg_attr(not(feature = "rustls"), doc = "```ignore")]
    /// # async fn run(
    /// #     listener: tokio::net::TcpListener,
    /// #     tls: bowline::tokio_rustls::TlsAcceptor,
    /// # ) -> std::io::Result<()> {
    /// use bowline::tokio::Server;
    ///
    /// let server = Server::new(bowline::Config::default());
    /// loop {
    ///     let (stream, _) = listener.accept().await?;
    ///     server.serve(tls.accept(stream), |mut ws, _request| async move {
    ///         while let Ok(Some(message)) = ws.recv().await {
    ///             let _ = ws.feed(message).await; // recv gives the error again
    ///         }
    ///     }).await;
    /// }
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn serve<S, H, F>(
        &self,
        stream: impl Future<Output = io::Result<S>> + Send + 'static,
        handler: H,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        H: FnOnce(WebSocket<S>, Request) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        match until(&self.0.room, || self.admit()).await {
            Admission::Stopped => {}
            Admission::Refuse(seat) => {
                let refusing = refuse(seat.server.config.clone(), stream);
                spawn(seat, |_| refusing);
            }
            Admission::Enter(seat) => spawn(seat, |seat| async move {
                let Some((mut ws, request)) = Box::pin(open(&seat, stream)).await else {
                    return;
                };
                ws.reader.supervise(seat);
                handler(ws, request).await;
            }),
        }
    }

    /// How many connections are open. Those in their opening handshake do not count.
    pub fn connections(&self) -> usize {
        lock(&self.0.state).open
    }

    /// Shuts down. The server accepts no more connections, and sends Close 1001 to all (RFC 6455 §7.4.1). It
    /// waits until the peers have answered and the handlers have returned, at most `grace`. A client whose
    /// request arrives within a second gets status 503. One that is in the opening handshake for longer is
    /// dropped. Messages that the peers sent before their own Close still reach the handlers.
    ///
    /// Then it aborts the handlers that are left, and so drops their connections. A WebSocket that a handler
    /// gave to another task ends too: `recv` there says so.
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
            let opening = |seat: &&Arc<Seat>| seat.kind.load(Ordering::Relaxed) != OPEN;
            seats.iter().filter(opening).for_each(|seat| seat.abort());
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

    fn is_running(&self) -> bool {
        self.0.phase.load(Ordering::Acquire) == RUNNING
    }

    /// Waits until no connection is left.
    async fn emptied(&self) {
        let check = || {
            let state = lock(&self.0.state);
            (state.open + state.opening + state.refusing == 0).then_some(())
        };
        until(&self.0.room, check).await;
    }

    /// A place for the next connection. `None`: there is none now.
    fn admit(&self) -> Option<Admission> {
        let mut state = lock(&self.0.state);
        if !self.is_running() {
            return Some(Admission::Stopped);
        }
        let kind = if state.opening < state.max_handshakes
            && state.open + state.opening < state.max_connections
        {
            state.opening += 1;
            OPENING
        } else if state.refusing < state.max_handshakes {
            state.refusing += 1;
            REFUSING
        } else {
            return None;
        };
        let key = state.next;
        state.next += 1;
        let seat = Arc::new(Seat {
            server: Arc::clone(&self.0),
            key,
            kind: AtomicU8::new(kind),
            told: AtomicBool::new(false),
            clean: AtomicBool::new(false),
            task: Mutex::new(None),
            waker: Mutex::new(None),
        });
        state.seats.insert(key, Arc::downgrade(&seat));
        Some(if kind == OPENING { Admission::Enter(seat) } else { Admission::Refuse(seat) })
    }
}

/// Runs a task that holds the seat, and lets the seat end it.
fn spawn<F: Future<Output = ()> + Send + 'static>(
    seat: Arc<Seat>,
    run: impl FnOnce(Arc<Seat>) -> F,
) {
    let running = run(Arc::clone(&seat));
    let held = Arc::clone(&seat);
    // The lock is held, so that the task cannot end before its handle is stored.
    let mut task = lock(&seat.task);
    let running = ::tokio::spawn(async move {
        running.await;
        drop(held);
    });
    *task = Some(running.abort_handle());
    drop(task);
    // The shutdown may have looked for the handle before it was there.
    if seat.server.phase.load(Ordering::Acquire) == DROPPING
        && seat.kind.load(Ordering::Relaxed) != OPEN
    {
        seat.abort();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.0.state);
        f.debug_struct("Server")
            .field("open", &state.open)
            .field("opening", &state.opening)
            .field("refusing", &state.refusing)
            .finish_non_exhaustive()
    }
}

/// The opening handshake. A client that fails in it got an answer, and nothing else is done with it.
async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    seat: &Seat,
    stream: impl Future<Output = io::Result<S>>,
) -> Option<(WebSocket<S>, Request)> {
    let config = &seat.server.config;
    let incoming = read(config.clone(), stream).await?;
    let choose = Arc::clone(&lock(&seat.server.state).choose);
    let accept = match choose(incoming.request()) {
        Ok(accept) => accept,
        Err(response) => {
            let _ = incoming.respond(&response).await;
            return None;
        }
    };
    // From here on a shutdown closes the connection and does not drop it: the client may know that it is open
    // before the handler does.
    let admit = || match seat.opened() {
        true => Ok(()),
        false => Err(come_again("the server is shutting down")),
    };
    incoming.accept_if(accept, admit).await.ok()
}

async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(
    config: Config,
    stream: impl Future<Output = io::Result<S>>,
) {
    if let Some(incoming) = Box::pin(read(config, stream)).await {
        let _ = incoming.respond(&come_again("too many connections")).await;
    }
}

fn come_again(reason: &str) -> Response {
    let response = Response::new(503).body(reason);
    response.header("Retry-After", "5").unwrap_or_else(|_| Response::new(503))
}

async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    config: Config,
    stream: impl Future<Output = io::Result<S>>,
) -> Option<Incoming<S>> {
    let deadline = config.get().handshake_timeout.map(|timeout| now().saturating_add(timeout));
    let stream = within(deadline, stream).await?.ok()?;
    Incoming::read(stream, config).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lack_of_descriptors_or_memory_lets_a_server_pause() {
        for code in [23, 24, 12, 105] {
            assert!(is_exhausted(&io::Error::from_raw_os_error(code)), "{code}");
        }
        // ECONNABORTED, ECONNRESET, EPROTO, EHOSTUNREACH, EPERM, EINTR.
        for code in [103, 104, 71, 113, 1, 4] {
            assert!(!is_exhausted(&io::Error::from_raw_os_error(code)), "{code}");
        }
        assert!(!is_exhausted(&io::ErrorKind::ConnectionAborted.into()));
    }
}
