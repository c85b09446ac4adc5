//! Connecting again, on any runtime.

use core::future::Future;

use ::futures_io::{AsyncRead, AsyncWrite};

use super::{Futures, WebSocket};
use crate::adapter::Error;
use crate::adapter::reconnect;
use crate::asynchronous;
use crate::handshake::ClientRequest;
use crate::protocol::config::Config;
use crate::protocol::reconnect::Reconnect;

/// A client that connects again: each call of [`next`](Self::next) gives the next session.
///
/// ```no_run
/// use bowline::futures::Reconnecting;
/// use bowline::handshake::ClientRequest;
/// use bowline::{Config, Reconnect};
///
/// # async fn client() -> Result<(), bowline::Error> {
/// // The stream and the request are made anew for each attempt.
/// let open = || async {
///     let stream = smol::net::TcpStream::connect("example.com:80").await?;
///     stream.set_nodelay(true)?;
///     Ok((stream, ClientRequest::new("ws://example.com/feed")?))
/// };
/// let mut sessions = Reconnecting::over(Reconnect::default(), Config::default(), open);
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
pub type Reconnecting<S> = asynchronous::Reconnecting<Futures<S>>;

/// A session of [`Reconnecting`].
pub type Session<'a, S> = reconnect::Session<'a, WebSocket<S>>;

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> asynchronous::Reconnecting<Futures<S>> {
    /// A client over streams that the closure opens for each attempt, with TLS if it is needed, as
    /// [`client`](super::client) takes them. Nothing is done before the first call of [`next`](Self::next).
    ///
    /// Opening the stream and the handshake have at most [`Config::handshake_timeout`] together. If the closure fails, the
    /// attempt has failed: [`Error::outcome`] says whether there is another. For an error of the program's own, use
    /// [`std::io::Error::other`], which is retried.
    pub fn over<F, Fut>(policy: Reconnect, config: Config, open: F) -> Self
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(S, ClientRequest), Error>> + Send + 'static,
    {
        Self::with_streams(policy, config, open)
    }
}
