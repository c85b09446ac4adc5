//! Connecting again, in a thread.

use core::fmt;
use core::time::Duration;
use std::boxed::Box;

use super::dial::connect_with;
use super::opening::open;
use super::patience::now;
use super::{BlockingStream, MaybeTls, WebSocket};
use crate::adapter::Error;
use crate::adapter::reconnect::{self, Live, Nudge, Redial, Sealed, Step, Stopped, Waiting};
use crate::handshake::{ClientRequest, Response};
use crate::memory::recv_buf::RecvBuf;
use crate::protocol::config::Config;
use crate::protocol::error::End;
use crate::protocol::reconnect::Reconnect;

/// A session of [`Reconnecting`].
pub type Session<'a, S = MaybeTls> = reconnect::Session<'a, WebSocket<S>>;

/// A client that connects again: each call of [`next`](Self::next) gives the next session.
///
/// ```no_run
/// use bowline::blocking::Reconnecting;
/// use bowline::handshake::ClientRequest;
/// use bowline::{Config, Error, Reconnect};
///
/// // The request is made anew for each attempt.
/// let request = || {
///     let token = std::fs::read_to_string("token")?;
///     Ok(ClientRequest::new("wss://example.com/feed")?.bearer(token.trim())?)
/// };
/// let mut sessions = Reconnecting::new(Reconnect::default(), Config::default(), request);
/// while let Some(mut session) = sessions.next()? {
///     if session.send("subscribe").is_err() {
///         continue;
///     }
///     while let Ok(Some(message)) = session.recv() {
///         println!("{message:?}");
///     }
/// }
/// # Ok::<(), Error>(())
/// ```
pub struct Reconnecting<S: BlockingStream = MaybeTls> {
    redial: Redial,
    dialing: Dialing<S>,
}

/// What makes connections. A session borrows it, to make its successor.
pub struct Dialing<S: BlockingStream> {
    connect: Box<dyn FnMut() -> Opened<S> + Send>,
}

type Opened<S> = Result<(WebSocket<S>, Response), Error>;

impl Reconnecting {
    /// A client that opens each session as [`connect_with`] does, with the request that the closure makes for each attempt.
    /// Nothing is done before the first call of [`next`](Self::next).
    ///
    /// If the closure fails, the attempt has failed: [`Error::outcome`] says whether there is another. For an error of the
    /// program's own, use [`std::io::Error::other`], which is retried.
    pub fn new(
        policy: Reconnect,
        config: Config,
        mut request: impl FnMut() -> Result<ClientRequest, Error> + Send + 'static,
    ) -> Self {
        let connect = move || connect_with(&request()?, config.clone());
        Self::with(policy, Box::new(connect))
    }
}

impl<S: BlockingStream> Reconnecting<S> {
    /// Like `new`, but over streams that the closure opens for each attempt, with TLS if it is needed, as
    /// [`client`](super::client) takes them.
    ///
    /// ```no_run
    /// use bowline::blocking::Reconnecting;
    /// use bowline::handshake::ClientRequest;
    /// use bowline::{Config, Reconnect};
    ///
    /// let open = || {
    ///     let stream = std::net::TcpStream::connect("192.0.2.1:9001")?;
    ///     Ok((stream, ClientRequest::new("ws://example.com/chat")?))
    /// };
    /// let mut sessions = Reconnecting::over(Reconnect::default(), Config::default(), open);
    /// while let Some(mut session) = sessions.next()? {
    ///     while let Ok(Some(message)) = session.recv() {
    ///         println!("{message:?}");
    ///     }
    /// }
    /// # Ok::<(), bowline::Error>(())
    /// ```
    pub fn over(
        policy: Reconnect,
        config: Config,
        mut open_one: impl FnMut() -> Result<(S, ClientRequest), Error> + Send + 'static,
    ) -> Self {
        let connect = move || {
            let start = now();
            let (stream, request) = open_one()?;
            open(stream, RecvBuf::new(), &request, request.config(config.clone()), start)
        };
        Self::with(policy, Box::new(connect))
    }

    fn with(policy: Reconnect, connect: Box<dyn FnMut() -> Opened<S> + Send>) -> Self {
        Self { redial: Redial::new(policy), dialing: Dialing { connect } }
    }

    /// Waits as the policy says, connects, and gives the session. `None` after a session that the server ended with close
    /// code 1000, if the policy stops then, which is the default.
    ///
    /// The session borrows this value, so it ends before the next one begins. When it is dropped, its connection is closed,
    /// and the wait before the next attempt begins. A [`Nudge`] ends that wait from another thread.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if another attempt would go the same way ([`Outcome::then`](crate::Outcome::then)), or after
    /// [`Reconnect::max_attempts`]. Another call then makes another attempt, after a wait.
    // An iterator's items would not borrow from it.
    #[expect(clippy::should_implement_trait, reason = "the session borrows this value")]
    pub fn next(&mut self) -> Result<Option<Session<'_, S>>, Stopped> {
        loop {
            match self.redial.step(now()) {
                Step::Wait(time) => self.redial.nudge.wait(time),
                Step::Stop(None) => return Ok(None),
                Step::Stop(Some(stopped)) => return Err(stopped),
                Step::Attempt => match (self.dialing.connect)() {
                    Err(error) => self.redial.failed(now(), error),
                    Ok((ws, response)) => {
                        let opening = self.redial.opened(now());
                        let opened = reconnect::Opened { ws, response, opening };
                        return Ok(Some(Session::new(opened, &mut self.redial, &mut self.dialing)));
                    }
                },
            }
        }
    }

    /// A handle that ends the wait before the next attempt.
    pub fn nudge(&self) -> Nudge {
        self.redial.nudge.clone()
    }

    /// Calls this before each wait, with the reason and the time. It is for logs.
    pub fn on_wait(mut self, on_wait: impl FnMut(&Waiting<'_>) + Send + 'static) -> Self {
        self.redial.on_wait = Some(Box::new(on_wait));
        self
    }
}

impl<S: BlockingStream> fmt::Debug for Reconnecting<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnecting").field("redial", &self.redial).finish_non_exhaustive()
    }
}

impl<S: BlockingStream> Sealed for WebSocket<S> {}

impl<S: BlockingStream> Live for WebSocket<S> {
    type Dialing = Dialing<S>;

    fn how_it_ended(&self) -> Option<&End> {
        self.end()
    }

    fn now() -> Duration {
        now()
    }
}

impl<S: BlockingStream> Session<'_, S> {
    /// Makes the successor of this session, once its time is over ([`remaining`](Self::remaining)), and goes on with it.
    /// Gives the WebSocket of before: read the rest of that, and close it. So there is no time without a session.
    ///
    /// `None` before that time, during the wait after an attempt that failed, and if the attempt fails. Call it now and then.
    ///
    /// ```no_run
    /// # use bowline::Error;
    /// # use std::time::Duration;
    /// # fn follow(mut session: bowline::blocking::Session<'_>) {
    /// loop {
    ///     match session.recv_timeout(Duration::from_secs(1)) {
    ///         Ok(Some(message)) => println!("{message:?}"),
    ///         Err(Error::TimedOut) => {}
    ///         _ => break,
    ///     }
    ///     if let Ok(Some(mut old)) = session.renew() {
    ///         let _ = session.send("subscribe");
    ///         let _ = old.close(1000, "");
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// It makes one attempt at most, which blocks as `connect` does. The session is alive meanwhile, but nobody reads from
    /// it: what comes waits in its socket, and pings are answered after. An attempt that fails does not end it. The
    /// budget of attempts holds ([`Reconnect::attempts_per_hour`]).
    ///
    /// After it, this is the new session: its [`response`](Self::response), [`attempts`](Self::attempts) and
    /// [`remaining`](Self::remaining). Its [`downtime`](Self::downtime) is zero.
    ///
    /// # Errors
    ///
    /// [`Stopped`] as `next` of [`Reconnecting`] gives it, by the call after the attempt. The session goes on. Another call
    /// makes another attempt, after a wait.
    pub fn renew(&mut self) -> Result<Option<WebSocket<S>>, Stopped> {
        if self.remaining().is_none_or(|time| !time.is_zero()) {
            return Ok(None);
        }
        let (_, redial, dialing) = self.beside();
        match redial.renew(now()) {
            Step::Wait(_) | Step::Stop(None) => Ok(None),
            Step::Stop(Some(stopped)) => Err(stopped),
            Step::Attempt => match (dialing.connect)() {
                Err(error) => {
                    redial.failed(now(), error);
                    Ok(None)
                }
                Ok((ws, response)) => {
                    let opening = redial.opened(now());
                    Ok(Some(self.swap(reconnect::Opened { ws, response, opening })))
                }
            },
        }
    }
}
