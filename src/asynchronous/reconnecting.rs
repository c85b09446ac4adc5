//! Connecting again, over any runtime.

use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::boxed::Box;

use super::WebSocket;
use super::io::{Io, Wrap};
use super::opening::open;
use crate::adapter::Error;
use crate::adapter::reconnect::{
    self, Live, Nudge, Redial, Sealed, Session, Step, Stopped, Waiting,
};
use crate::handshake::{ClientRequest, ConnectError, Response};
use crate::memory::recv_buf::RecvBuf;
use crate::protocol::config::Config;
use crate::protocol::error::End;
use crate::protocol::reconnect::Reconnect;

/// What an attempt gives.
pub(crate) type Opened<I> = Result<(WebSocket<I>, Response), Error>;

/// An attempt that goes on although nobody waits for it.
pub(crate) type Attempt<I> = Pin<Box<dyn Future<Output = Opened<I>> + Send>>;

/// A client that connects again: each call of [`next`](Self::next) gives the next session.
///
/// The adapters have its constructors.
pub struct Reconnecting<I: Wrap> {
    redial: Redial,
    dialing: Dialing<I>,
}

/// What makes connections. A session borrows it, to make its successor.
pub struct Dialing<I: Wrap> {
    connect: Box<dyn FnMut() -> Attempt<I> + Send>,
    attempt: Option<Attempt<I>>,
    /// It is open, and the session before it is too, or ended meanwhile.
    successor: Option<reconnect::Opened<WebSocket<I>>>,
    timer: I::Timer,
}

impl<I: Wrap> Reconnecting<I> {
    pub(crate) fn with(
        policy: Reconnect,
        connect: impl FnMut() -> Attempt<I> + Send + 'static,
    ) -> Self {
        let dialing = Dialing {
            connect: Box::new(connect),
            attempt: None,
            successor: None,
            timer: I::Timer::default(),
        };
        Self { redial: Redial::new(policy), dialing }
    }

    /// Over streams that the program opens, with the requests that belong to them.
    pub(crate) fn with_streams<F, Fut>(policy: Reconnect, config: Config, mut open_one: F) -> Self
    where
        I: Send + 'static,
        I::Stream: Send + 'static,
        I::Timer: Send,
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(I::Stream, ClientRequest), Error>> + Send + 'static,
    {
        Self::with(policy, move || {
            let (opening, config) = (open_one(), config.clone());
            Box::pin(async move {
                let start = I::now();
                let (stream, request) = in_time::<I, _>(&config, start, opening).await?;
                open(stream, RecvBuf::new(), &request, config, start).await
            })
        })
    }

    /// Waits as the policy says, connects, and gives the session. `None` after a session that the server ended with close
    /// code 1000, if the policy stops then, which is the default.
    ///
    /// The session borrows this value, so it ends before the next one begins. When it is dropped, its connection is closed,
    /// and the wait before the next attempt begins.
    ///
    /// Cancel safe: an attempt goes on where it was when this is called again. Nothing goes on while nobody calls it.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if another attempt would go the same way ([`Outcome::then`](crate::Outcome::then)), or after
    /// [`Reconnect::max_attempts`]. Another call then makes another attempt, after a wait.
    pub async fn next(&mut self) -> Result<Option<Session<'_, WebSocket<I>>>, Stopped> {
        let Self { redial, dialing } = self;
        let opened = poll_fn(|cx| dialing.poll_opened(cx, redial, Redial::step)).await?;
        Ok(opened.map(|opened| Session::new(opened, redial, dialing)))
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

impl<I: Wrap> Dialing<I> {
    /// Makes attempts until one has opened a session. `step` says when.
    fn poll_opened(
        &mut self,
        cx: &mut Context<'_>,
        redial: &mut Redial,
        step: fn(&mut Redial, Duration) -> Step,
    ) -> Poll<Result<Option<reconnect::Opened<WebSocket<I>>>, Stopped>> {
        if let Some(successor) = self.successor.take() {
            return Poll::Ready(Ok(Some(successor)));
        }
        loop {
            if let Some(attempt) = &mut self.attempt {
                let result = ready!(attempt.as_mut().poll(cx));
                self.attempt = None;
                match result {
                    Ok((ws, response)) => {
                        let opening = redial.opened(I::now());
                        return Poll::Ready(Ok(Some(reconnect::Opened { ws, response, opening })));
                    }
                    Err(error) => redial.failed(I::now(), error),
                }
            }
            // Before the question what to do, so that no nudge is missed.
            redial.nudge.register(cx.waker());
            match step(redial, I::now()) {
                Step::Attempt => self.attempt = Some((self.connect)()),
                Step::Stop(None) => return Poll::Ready(Ok(None)),
                Step::Stop(Some(stopped)) => return Poll::Ready(Err(stopped)),
                Step::Wait(time) => {
                    let at = I::now().saturating_add(time);
                    ready!(I::poll_timer(&mut self.timer, cx, Some(at)));
                }
            }
        }
    }

    /// Waits until the session should end, and makes its successor.
    fn poll_successor(
        &mut self,
        cx: &mut Context<'_>,
        redial: &mut Redial,
        expires_at: Option<Duration>,
    ) -> Poll<Result<(), Stopped>> {
        if self.attempt.is_none() && self.successor.is_none() {
            let Some(at) = expires_at else { return Poll::Pending };
            if I::now() < at {
                ready!(I::poll_timer(&mut self.timer, cx, Some(at)));
            }
        }
        match ready!(self.poll_opened(cx, redial, Redial::renew))? {
            Some(successor) => {
                self.successor = Some(successor);
                Poll::Ready(Ok(()))
            }
            // The closure of the program gave the end of another session as its error.
            None => Poll::Pending,
        }
    }
}

impl<I: Wrap> fmt::Debug for Reconnecting<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnecting").field("redial", &self.redial).finish_non_exhaustive()
    }
}

impl<I: Wrap> Sealed for WebSocket<I> {}

impl<I: Wrap> Live for WebSocket<I> {
    type Dialing = Dialing<I>;

    fn how_it_ended(&self) -> Option<&End> {
        self.end()
    }

    fn now() -> Duration {
        I::now()
    }
}

impl<I: Wrap> Session<'_, WebSocket<I>> {
    /// Waits until this session has lasted as long as it should: see [`remaining`](Self::remaining). Without such a time it
    /// waits for ever. The future does not borrow the session.
    ///
    /// ```no_run
    /// # async fn follow(mut session: bowline::tokio::Session<'_>) -> Result<(), bowline::Error> {
    /// let mut expired = std::pin::pin!(session.expired());
    /// loop {
    ///     tokio::select! {
    ///         message = session.recv() => match message? {
    ///             Some(message) => println!("{message:?}"),
    ///             None => return Ok(()),
    ///         },
    ///         // What has come is read before.
    ///         () = &mut expired, if session.end().is_none() => {
    ///             session.close(1000, "").await?;
    ///             return Ok(());
    ///         }
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// Cancel safe.
    pub fn expired(&self) -> impl Future<Output = ()> + use<I> {
        let at = self.expires_at();
        let mut timer = I::Timer::default();
        poll_fn(move |cx| I::poll_timer(&mut timer, cx, at))
    }

    /// The WebSocket, and a future that makes the session's successor meanwhile: it waits as [`expired`](Self::expired) does,
    /// and then makes attempts as the policy says. It is done when the successor is open. [`replace`](Self::replace) goes
    /// on with it. So there is no time without a session.
    ///
    /// ```no_run
    /// # use bowline::Message;
    /// # async fn follow(mut session: bowline::tokio::Session<'_>) {
    /// loop {
    ///     let (ws, successor) = session.overlap();
    ///     tokio::select! {
    ///         message = ws.recv() => match message {
    ///             Ok(Some(message)) => println!("{message:?}"),
    ///             _ => break,
    ///         },
    ///         Ok(()) = successor => {
    ///             if let Some(mut old) = session.replace() {
    ///                 let _ = session.send("subscribe").await;
    ///                 let _ = old.close(1000, "").await;
    ///             }
    ///         }
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// An attempt that fails does not end the session. The budget of attempts holds
    /// ([`Reconnect::attempts_per_hour`]). If the session ends meanwhile and is dropped, the attempt goes on, and `next` of
    /// `Reconnecting` gives its session, whatever the end was. A successor that is open is given at once. Nobody reads from it
    /// before, so `replace` the session soon.
    ///
    /// Cancel safe: the attempt goes on where it was when this is called again. Nothing goes on while nobody polls it.
    ///
    /// # Errors
    ///
    /// The future gives [`Stopped`] as `next` does. The session goes on. Another call makes another attempt, after a wait.
    pub fn overlap(&mut self) -> (&mut WebSocket<I>, impl Future<Output = Result<(), Stopped>>) {
        let at = self.expires_at();
        let (ws, redial, dialing) = self.beside();
        (ws, poll_fn(move |cx| dialing.poll_successor(cx, redial, at)))
    }

    /// Goes on with the successor that [`overlap`](Self::overlap) made, and gives the WebSocket of before. Read the rest of
    /// that, and close it. `None` if there is no successor yet.
    ///
    /// From then on, this is the new session: its [`response`](Self::response), [`attempts`](Self::attempts) and
    /// [`remaining`](Self::remaining). Its [`downtime`](Self::downtime) is zero. What was subscribed to has to be subscribed
    /// to again.
    #[must_use = "the old connection is closed at once when it is dropped"]
    pub fn replace(&mut self) -> Option<WebSocket<I>> {
        let (_, _, dialing) = self.beside();
        let successor = dialing.successor.take()?;
        Some(self.swap(successor))
    }
}

/// Waits for the program's part of an attempt, which has the time of the handshake.
pub(crate) async fn in_time<I: Io, T>(
    config: &Config,
    start: Duration,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let deadline = config.get().handshake_timeout.map(|timeout| start.saturating_add(timeout));
    let mut future = pin!(future);
    let mut timer = I::Timer::default();
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(result),
        Poll::Pending => I::poll_timer(&mut timer, cx, deadline)
            .map(|()| Err(Error::Connect(ConnectError::TimedOut))),
    })
    .await
}
