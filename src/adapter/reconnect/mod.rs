//! Connecting again, for every adapter: what is done next, and what is told. It opens nothing and waits for nothing.

mod clock;
mod nudge;
mod session;

pub use nudge::Nudge;
pub(crate) use session::Opened;
pub(crate) use session::Sealed;
pub use session::{Ending, Live, Session};

use core::fmt;
use core::time::Duration;
use std::boxed::Box;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Error, seed};
use crate::protocol::close::CloseCode;
use crate::protocol::error::End;
use crate::protocol::reconnect::{Never, Outcome, Reconnect, Retries, Wait};
use clock::Clock;

/// The longest wait without a look at the clock of the wall, which goes on while the machine sleeps.
const LOOK: Duration = Duration::from_secs(5);

/// Why a client does not connect again, and the error after which it stopped.
///
/// It becomes that [`Error`] with `?`. A call of `next` after it makes another attempt all the same, for a program that has
/// mended the reason. That attempt waits too, so a loop that ignores this is no flood.
///
/// ```
/// # fn stopped(stopped: bowline::Stopped) {
/// use bowline::{Never, Outcome};
/// if stopped.why() == Never::Outcome(Outcome::Status(401)) {
///     eprintln!("sign in again: {stopped}");
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Stopped {
    never: Never,
    error: Error,
}

impl Stopped {
    /// Why there is no other attempt.
    pub fn why(&self) -> Never {
        self.never
    }

    /// The error of the last attempt, or [`Error::Ended`] with the end of the last session.
    pub fn error(&self) -> &Error {
        &self.error
    }
}

impl From<Stopped> for Error {
    fn from(stopped: Stopped) -> Self {
        stopped.error
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.never {
            Never::Outcome(_) => self.error.fmt(f),
            Never::Attempts(_) => write!(f, "{}; {}", self.error, self.never),
        }
    }
}

impl std::error::Error for Stopped {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// A wait before the next attempt, and why: what `on_wait` of the adapters is called with.
#[derive(Debug)]
#[non_exhaustive]
pub struct Waiting<'a> {
    /// The error of the attempt, or [`Error::Ended`] with the end of the session. A session that the program dropped has
    /// [`End::Unconfirmed`].
    pub error: &'a Error,
    /// How many attempts were made since the last session, or since the start. Zero after a session.
    pub attempts: u32,
    /// How long it waits.
    pub time: Duration,
}

/// What is called before each wait.
pub(crate) type OnWait = Box<dyn FnMut(&Waiting<'_>) + Send>;

/// What an adapter does next.
pub(crate) enum Step {
    /// Make an attempt, or go on with it.
    Attempt,
    /// Wait at most this long, or until the nudge, and ask again.
    Wait(Duration),
    /// It is over. `None` after a session that ended as it should.
    Stop(Option<Stopped>),
}

/// Where the client stands.
enum State {
    /// Nothing was done yet.
    New,
    Waiting(Wait),
    Trying,
    /// The attempt opened a session, which waits to be handed out.
    Opened,
    /// The program has it.
    Open,
}

/// The attempts and sessions of one client.
pub(crate) struct Redial {
    retries: Retries,
    clock: Clock,
    pub(crate) nudge: Nudge,
    pub(crate) on_wait: Option<OnWait>,
    state: State,
    /// Since when the session is open that the program has. An attempt beside it is for its successor.
    session: Option<Duration>,
    attempts: u32,
    /// How the last session ended, if that is known.
    previous: Option<End>,
    /// Since when there is no session.
    down_since: Duration,
    /// Why it waits, until that was told.
    reason: Option<Error>,
    never: Option<Never>,
    /// The clock of the wall: the time since 1970.
    wall: fn() -> Duration,
}

/// What is known of a session when it begins.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    /// When it was opened, on the clock that counts sleep, and on that of the adapter.
    at: Duration,
    pub(crate) since: Duration,
    pub(crate) attempts: u32,
    pub(crate) downtime: Duration,
    pub(crate) previous: Option<End>,
    pub(crate) lasts: Option<Duration>,
}

impl Redial {
    pub(crate) fn new(policy: Reconnect) -> Self {
        Self {
            retries: Retries::new(policy),
            clock: Clock::default(),
            nudge: Nudge::default(),
            on_wait: None,
            state: State::New,
            session: None,
            attempts: 0,
            previous: None,
            down_since: Duration::ZERO,
            reason: None,
            never: None,
            wall: || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        }
    }

    /// What to do next. `now` is the time of the adapter's clock.
    pub(crate) fn step(&mut self, now: Duration) -> Step {
        let now = self.now(now);
        // A session that was forgotten told nothing.
        if self.session.is_some() {
            self.end_session(now, None);
        }
        self.go_on(now)
    }

    /// What to do next for the successor of the session that is open.
    pub(crate) fn renew(&mut self, now: Duration) -> Step {
        let now = self.now(now);
        if let State::Open = self.state {
            // What was nudged before is of no use for it.
            self.nudge.take();
            self.state = State::Waiting(self.retries.renew(now));
        }
        self.go_on(now)
    }

    fn go_on(&mut self, now: Duration) -> Step {
        if let Some(never) = self.never.take()
            && let Some(error) = self.reason.take()
        {
            let is_normal = never == Never::Outcome(Outcome::Closed(CloseCode::NORMAL));
            return Step::Stop((!is_normal).then_some(Stopped { never, error }));
        }
        match &mut self.state {
            State::Trying => return Step::Attempt,
            State::New => self.down_since = now,
            State::Opened | State::Open => {}
            State::Waiting(wait) => {
                if self.nudge.take() {
                    *wait = wait.nudged(now);
                }
                let left = wait.at.saturating_sub(now);
                self.tell(left);
                if !left.is_zero() {
                    return Step::Wait(left.min(LOOK));
                }
            }
        }
        self.nudge.take();
        self.retries.start(now);
        self.attempts = self.attempts.saturating_add(1);
        self.state = State::Trying;
        Step::Attempt
    }

    /// Tells the program once why it waits, and how long.
    fn tell(&mut self, time: Duration) {
        let Some(error) = self.reason.take() else { return };
        if let Some(on_wait) = &mut self.on_wait {
            on_wait(&Waiting { error: &error, attempts: self.attempts, time });
        }
    }

    /// The attempt failed.
    pub(crate) fn failed(&mut self, now: Duration, error: Error) {
        let now = self.now(now);
        let (outcome, asked) = (error.outcome(), error.retry_after((self.wall)()));
        self.wait(now, outcome, asked, error);
    }

    /// The attempt opened a session. It begins with [`hand_out`](Self::hand_out).
    pub(crate) fn opened(&mut self, since: Duration) -> Opening {
        let now = self.now(since);
        self.retries.opened(now);
        self.state = State::Opened;
        Opening {
            at: now,
            since,
            attempts: core::mem::take(&mut self.attempts),
            downtime: Duration::ZERO,
            previous: None,
            lasts: self.retries.session_ends(now, random()).map(|at| at.saturating_sub(now)),
        }
    }

    /// The program gets the session: as the next one, or as the successor of one that is open.
    pub(crate) fn hand_out(&mut self, mut opening: Opening) -> Opening {
        self.state = State::Open;
        if self.session.replace(opening.at).is_none() {
            opening.downtime = opening.at.saturating_sub(self.down_since);
            opening.previous = self.previous.take();
        }
        opening
    }

    /// The session is over. `None`: nobody knows how, or the program dropped it.
    pub(crate) fn ended(&mut self, now: Duration, end: Option<End>) {
        let now = self.now(now);
        self.end_session(now, end);
    }

    fn end_session(&mut self, now: Duration, end: Option<End>) {
        let Some(since) = self.session.take() else { return };
        self.down_since = now;
        // An attempt is under way, or its session waits to be handed out. Some servers end a session because of its
        // successor. So the end decides nothing: the attempt goes on.
        if let State::Trying | State::Opened = self.state {
            self.previous = end;
            return;
        }
        // What was nudged while the session was open is of no use for the next attempt.
        self.nudge.take();
        self.retries.opened(since);
        // The server may have asked the successor to wait.
        let earliest = match &self.state {
            State::Waiting(wait) => wait.earliest,
            _ => Duration::ZERO,
        };
        // An I/O error of the session is known only to the program. It is as likely as that the program dropped it.
        let outcome = end.as_ref().map_or(Outcome::Network, End::outcome);
        let error = Error::Ended(end.clone().unwrap_or(End::Unconfirmed));
        self.previous = end;
        self.never = None;
        self.attempts = 0;
        self.wait(now, outcome, None, error);
        if let State::Waiting(wait) = &mut self.state {
            wait.at = wait.at.max(earliest);
            wait.earliest = wait.earliest.max(earliest);
        }
    }

    fn wait(&mut self, now: Duration, outcome: Outcome, asked: Option<Duration>, error: Error) {
        let wait = self.retries.retry(now, outcome, asked, random());
        let wait = wait.unwrap_or_else(|never| {
            self.never = Some(never);
            self.retries.anyway(now, random())
        });
        self.reason = Some(error);
        self.state = State::Waiting(wait);
    }

    fn now(&mut self, now: Duration) -> Duration {
        self.clock.read(now, (self.wall)())
    }
}

impl fmt::Debug for Redial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redial")
            .field("retries", &self.retries)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// Without entropy, the wait is as long as it may be.
fn random() -> u64 {
    let bytes = seed().ok().and_then(|seed| seed.first_chunk().copied());
    bytes.map_or(u64::MAX, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::protocol::error::Truncation;

    std::thread_local! {
        static WALL: Cell<Duration> = const { Cell::new(Duration::from_secs(1_000_000)) };
    }

    fn redial() -> Redial {
        let hour = Duration::from_secs(3_600);
        let policy = Reconnect::default().first_delay(hour).spread(hour).max_delay(hour);
        Redial { wall: || WALL.get(), ..Redial::new(policy) }
    }

    fn fail(redial: &mut Redial, now: Duration) {
        assert!(matches!(redial.step(now), Step::Attempt));
        redial.failed(now, Error::Ended(End::PeerGone(Truncation::BetweenMessages)));
    }

    #[test]
    fn a_machine_that_sleeps_waits_no_longer() {
        let mut redial = redial();
        fail(&mut redial, Duration::ZERO);
        // It looks at the wall from time to time.
        assert!(matches!(redial.step(Duration::ZERO), Step::Wait(LOOK)));
        WALL.set(WALL.get() + Duration::from_secs(3_600));
        assert!(matches!(redial.step(LOOK), Step::Attempt));
    }

    #[test]
    fn sleep_is_downtime() {
        let mut redial = redial();
        let slept = Duration::from_secs(7_200);
        fail(&mut redial, Duration::ZERO);
        WALL.set(WALL.get() + slept);
        assert!(matches!(redial.step(Duration::ZERO), Step::Attempt));
        let opening = redial.opened(Duration::ZERO);
        assert_eq!(redial.hand_out(opening).downtime, slept);
    }

    /// A session that was leaked told nothing, and the next one begins all the same.
    #[test]
    fn a_forgotten_session_is_over() {
        let mut redial = redial();
        assert!(matches!(redial.step(Duration::ZERO), Step::Attempt));
        let opening = redial.opened(Duration::ZERO);
        redial.hand_out(opening);
        assert!(matches!(redial.step(Duration::ZERO), Step::Wait(_)));
    }
}
