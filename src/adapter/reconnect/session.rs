//! A session of a client that connects again.

use core::fmt;
use core::ops::{Deref, DerefMut};
use core::time::Duration;

use super::{Opening, Redial};
use crate::handshake::Response;
use crate::protocol::error::End;

/// A WebSocket that can say how it ended. It is sealed: only those of the adapters are.
pub trait Live: Sealed {
    /// What makes connections, beside the session.
    #[doc(hidden)]
    type Dialing;

    #[doc(hidden)]
    fn how_it_ended(&self) -> Option<&End>;

    /// The clock of the adapter.
    #[doc(hidden)]
    fn now() -> Duration;
}

/// A session that was opened, and waits to be handed out.
pub(crate) struct Opened<W> {
    pub(crate) ws: W,
    pub(crate) response: Response,
    pub(crate) opening: Opening,
}

/// Keeps implementations of [`Live`] in this crate.
pub trait Sealed {}

/// A WebSocket that was opened by `Reconnecting` of an adapter, and how it came about. It has all methods of the WebSocket.
///
/// When it is dropped, the connection is closed at once, and `Reconnecting` learns how it ended. It borrows
/// `Reconnecting`, so the program never has two by accident. To close it with a closing handshake, call `close` before.
pub struct Session<'a, W: Live> {
    /// There until the session is taken apart.
    ws: Option<W>,
    response: Response,
    opening: Opening,
    /// There until the session is taken apart.
    ending: Option<Ending<'a>>,
    dialing: &'a mut W::Dialing,
}

impl<'a, W: Live> Session<'a, W> {
    pub(crate) fn new(
        opened: Opened<W>,
        redial: &'a mut Redial,
        dialing: &'a mut W::Dialing,
    ) -> Self {
        let Opened { ws, response, opening } = opened;
        let opening = redial.hand_out(opening);
        let ending = Ending { redial: Some(redial), now: W::now };
        Self { ws: Some(ws), response, opening, ending: Some(ending), dialing }
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
    /// which the machine slept. It is zero for a session that replaced another one while that was open.
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
        self.expires_at().map(|at| at.saturating_sub(W::now()))
    }

    /// When it should end, on the adapter's clock.
    pub(crate) fn expires_at(&self) -> Option<Duration> {
        self.opening.lasts.map(|lasts| self.opening.since.saturating_add(lasts))
    }

    /// Ends the time that this session should last now, whether there was one or not: the server said that it is about to
    /// restart, for example. The session goes on.
    pub fn expire(&mut self) {
        self.opening.lasts = Some(Duration::ZERO);
    }

    /// The session and what makes its successor.
    pub(crate) fn beside(&mut self) -> (&mut W, &mut Redial, &mut W::Dialing) {
        let Self { ws, ending, dialing, .. } = self;
        let redial = ending.as_mut().and_then(|ending| ending.redial.as_deref_mut());
        match (ws, redial) {
            (Some(ws), Some(redial)) => (ws, redial, dialing),
            _ => unreachable!("they are taken only with the session"),
        }
    }

    /// Goes on with the successor, and gives the old WebSocket.
    pub(crate) fn swap(&mut self, successor: Opened<W>) -> W {
        let Opened { ws: new, response, opening } = successor;
        let (ws, redial, _) = self.beside();
        let previous = ws.how_it_ended().cloned();
        let opening = redial.hand_out(opening);
        let old = core::mem::replace(ws, new);
        self.opening = Opening { previous, ..opening };
        self.response = response;
        old
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
