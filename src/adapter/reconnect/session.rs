//! A session of a client that connects again.

use core::fmt;
use core::ops::{Deref, DerefMut};
use core::time::Duration;

use super::{Opening, Redial};
use crate::handshake::Response;
use crate::protocol::error::End;

/// A WebSocket that can say how it ended. It is sealed: only those of the adapters are.
pub trait Live: Sealed {
    #[doc(hidden)]
    fn how_it_ended(&self) -> Option<&End>;

    /// The clock of the adapter.
    #[doc(hidden)]
    fn now() -> Duration;
}

/// Keeps implementations of [`Live`] in this crate.
pub trait Sealed {}

/// A WebSocket that was opened by `Reconnecting` of an adapter, and how it came about. It has all methods of the WebSocket.
///
/// When it is dropped, the connection is closed at once, and `Reconnecting` learns how it ended. It borrows
/// `Reconnecting`, so there is never a second session beside it. To close it with a closing handshake, call `close` before.
pub struct Session<'a, W: Live> {
    /// There until the session is taken apart.
    ws: Option<W>,
    response: Response,
    opening: Opening,
    /// When it was opened, on the adapter's clock.
    since: Duration,
    /// There until the session is taken apart.
    ending: Option<Ending<'a>>,
}

impl<'a, W: Live> Session<'a, W> {
    pub(crate) fn new(ws: W, response: Response, opening: Opening, redial: &'a mut Redial) -> Self {
        let ending = Ending { redial: Some(redial), now: W::now };
        Self { ws: Some(ws), response, opening, since: W::now(), ending: Some(ending) }
    }

    /// The server's response that opened it.
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// How many attempts it took. It is 1 if the first one succeeded.
    pub fn attempts(&self) -> u32 {
        self.opening.attempts
    }

    /// How long there was no session: since the last one ended, or since the first call of `next`. It counts the time in
    /// which the machine slept.
    pub fn downtime(&self) -> Duration {
        self.opening.downtime
    }

    /// How the session before this one ended. `None` if there was none, or if the program dropped it before it ended.
    pub fn previous(&self) -> Option<&End> {
        self.opening.previous.as_ref()
    }

    /// How much longer this session should last, if the program chose a time: see
    /// [`Reconnect::max_session`](crate::Reconnect::max_session). Zero once that time is over. Close it then, at a moment
    /// that suits.
    pub fn remaining(&self) -> Option<Duration> {
        let age = W::now().saturating_sub(self.since);
        self.opening.lasts.map(|lasts| lasts.saturating_sub(age))
    }

    /// Takes the WebSocket out, to split it, for example. Give its end to [`Ending::ended`] when it has ended.
    ///
    /// `Reconnecting` cannot make the next session before. But a half that lives on in another task is then a second
    /// session: see to it that it ends.
    pub fn into_parts(mut self) -> (W, Ending<'a>) {
        match (self.ws.take(), self.ending.take()) {
            (Some(ws), Some(ending)) => (ws, ending),
            _ => unreachable!("only this takes them, and takes the session"),
        }
    }
}

impl<W: Live> Deref for Session<'_, W> {
    type Target = W;

    fn deref(&self) -> &W {
        self.ws.as_ref().expect("it is taken only with the session")
    }
}

impl<W: Live> DerefMut for Session<'_, W> {
    fn deref_mut(&mut self) -> &mut W {
        self.ws.as_mut().expect("it is taken only with the session")
    }
}

impl<W: Live> Drop for Session<'_, W> {
    fn drop(&mut self) {
        if let (Some(ws), Some(ending)) = (&self.ws, self.ending.take()) {
            ending.ended(ws.how_it_ended());
        }
    }
}

impl<W: Live> fmt::Debug for Session<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("response", &self.response)
            .field("opening", &self.opening)
            .finish_non_exhaustive()
    }
}

/// What is left of a [`Session`] whose WebSocket was taken out.
///
/// Dropping it without [`ended`](Self::ended) means that the session is over and nobody knows how.
pub struct Ending<'a> {
    redial: Option<&'a mut Redial>,
    now: fn() -> Duration,
}

impl Ending<'_> {
    /// The session ended like this: what `end` of the WebSocket, or of its receiving half, says.
    pub fn ended(mut self, end: Option<&End>) {
        if let Some(redial) = self.redial.take() {
            redial.ended((self.now)(), end.cloned());
        }
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if let Some(redial) = self.redial.take() {
            redial.ended((self.now)(), None);
        }
    }
}

impl fmt::Debug for Ending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ending").finish_non_exhaustive()
    }
}
