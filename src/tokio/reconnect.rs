//! Connecting again, on tokio.

use core::future::Future;
use std::boxed::Box;

use ::tokio::io::{AsyncRead, AsyncWrite};

use super::dial::connect_with;
use super::{MaybeTls, Tokio, WebSocket, now};
use crate::adapter::Error;
use crate::adapter::reconnect;
use crate::asynchronous;
use crate::handshake::ClientRequest;
use crate::protocol::config::Config;
use crate::protocol::reconnect::Reconnect;

/// A client that connects again: each call of [`next`](Self::next) gives the next session.
///
/// ```no_run
/// use bowline::handshake::ClientRequest;
/// use bowline::tokio::Reconnecting;
/// use bowline::{Config, Error, Reconnect};
///
/// # async fn token() -> Result<String, std::io::Error> { Ok(String::new()) }
/// # async fn client() -> Result<(), Error> {
/// // The request is made anew for each attempt.
/// let request = || async {
///     ClientRequest::new("wss://example.com/feed")?.bearer(&token().await?).map_err(Error::from)
/// };
/// let mut sessions = Reconnecting::new(Reconnect::default(), Config::default(), request);
/// while let Some(mut session) = sessions.next().await? {
///     if session.send("subscribe").await.is_err() {
///         continue;
///     }
///     while let Ok(Some(message)) = session.recv().await {
///         println!("{message:?}");
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub type Reconnecting<S = MaybeTls> = asynchronous::Reconnecting<Tokio<S>>;

/// A session of [`Reconnecting`].
pub type Session<'a, S = MaybeTls> = reconnect::Session<'a, WebSocket<S>>;

impl asynchronous::Reconnecting<Tokio<MaybeTls>> {
    /// A client that opens each session as [`connect_with`] does, with the request that the closure makes for each attempt.
    /// Nothing is done before the first call of [`next`](Self::next).
    ///
    /// The closure has at most [`Config::handshake_timeout`]. If it fails, the attempt has failed:
    /// [`Error::outcome`] says whether there is another. For an error of the program's own, use
    /// [`std::io::Error::other`], which is retried.
    pub fn new<F, Fut>(policy: Reconnect, config: Config, mut request: F) -> Self
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result<ClientRequest, Error>> + Send + 'static,
    {
        Self::with(policy, move || {
            let (request, config) = (request(), config.clone());
            Box::pin(async move {
                let request =
                    asynchronous::in_time::<Tokio<MaybeTls>, _>(&config, now(), request).await?;
                connect_with(&request, config).await
            })
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> asynchronous::Reconnecting<Tokio<S>> {
    /// Like `new`, but over streams that the closure opens for each attempt, with TLS if it is needed, as
    /// [`client`](super::client) takes them. Opening the stream and the handshake have at most
    /// [`Config::handshake_timeout`] together.
    ///
    /// ```no_run
    /// use bowline::handshake::ClientRequest;
    /// use bowline::tokio::Reconnecting;
    /// use bowline::{Config, Reconnect};
    ///
    /// # async fn client() -> Result<(), bowline::Error> {
    /// let open = || async {
    ///     let stream = tokio::net::UnixStream::connect("/run/chat.sock").await?;
    ///     Ok((stream, ClientRequest::new("ws://localhost/chat")?))
    /// };
    /// let mut sessions = Reconnecting::over(Reconnect::default(), Config::default(), open);
    /// while let Some(mut session) = sessions.next().await? {
    ///     while let Ok(Some(message)) = session.recv().await {
    ///         println!("{message:?}");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn over<F, Fut>(policy: Reconnect, config: Config, open: F) -> Self
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(S, ClientRequest), Error>> + Send + 'static,
    {
        Self::with_streams(policy, config, open)
    }
}
