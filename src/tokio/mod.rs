//! The tokio adapter: loops around any `AsyncRead + AsyncWrite`.
//!
//! ```no_run
//! # async fn client() -> Result<(), bowline::Error> {
//! let mut ws = bowline::tokio::connect("ws://127.0.0.1:9001/").await?;
//! ws.send("Hello").await?;
//! if let Some(message) = ws.recv().await? {
//!     println!("{}", message.as_text().unwrap_or("(binary)"));
//! }
//! ws.close(1000, "").await?;
//! # Ok(())
//! # }
//! ```
//!
//! A server reads each connection in a task of its own: see [`accept`]. [`Incoming`] lets it look at the
//! request first. [`Server`] does this with limits and an orderly shutdown. [`WebSocket::split`] gives halves
//! for two tasks.
//!
//! Timeouts need a runtime with its time driver enabled. Without one, tokio panics when the first timer
//! starts. To use no timers, set all of [`Config`](crate::protocol::config::Config)'s timeouts to `None`.

mod dial;
mod group;
mod handler;
mod io;
mod listener;
mod maybe_tls;
mod opening;
mod proxy_header;
mod reconnect;
mod server;

pub use dial::{connect, connect_over, connect_with, dial};
pub use group::{Group, Shutdown};
pub use handler::{Ended, HandlerResult};
pub use listener::Listener;
pub use maybe_tls::MaybeTls;
pub use opening::{accept, client, tunnel};
pub use proxy_header::read_proxy_header;
pub use reconnect::{Reconnecting, Session};
pub use server::Server;

#[cfg(feature = "axum")]
pub(crate) use group::spawn;

use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;

use crate::asynchronous::{self, Io as _};
pub use crate::asynchronous::{Broadcast, Delivery, Member, SlowPeer};
pub(crate) use io::Tokio;

/// A WebSocket over a stream of tokio's traits.
pub type WebSocket<S> = asynchronous::WebSocket<Tokio<S>>;

/// The half of a [`WebSocket`] that receives.
pub type RecvHalf<S> = asynchronous::RecvHalf<Tokio<S>>;

/// The half of a [`WebSocket`] that sends.
pub type SendHalf<S> = asynchronous::SendHalf<Tokio<S>>;

/// A [`WebSocket`] as a stream of bytes.
pub type ByteStream<S> = asynchronous::ByteStream<Tokio<S>>;

/// Answers the message that [`WebSocket::recv_borrowed`] lent.
pub type Outgoing<'a, S> = asynchronous::Outgoing<'a, Tokio<S>>;

/// A request over a stream of tokio's traits that was read but not answered yet.
///
/// ```no_run
/// use bowline::handshake::{Accept, Response};
/// use bowline::tokio::Incoming;
/// # async fn serve(stream: tokio::net::TcpStream) -> Result<(), bowline::Error> {
/// let incoming = Incoming::read(stream, bowline::Config::default()).await?;
/// if !incoming.request().is_upgrade() {
///     return incoming.respond(&Response::new(200).body("not a WebSocket, but hello")).await;
/// }
/// let protocol = incoming.request().select_subprotocol(&["chat.v2", "chat"]).map(String::from);
/// let mut ws = incoming.accept(Accept::new().subprotocol(protocol.as_deref())).await?;
/// # Ok(())
/// # }
/// ```
pub type Incoming<S> = asynchronous::Incoming<Tokio<S>>;

/// The clock of the adapter, which tokio's paused clock moves.
fn now() -> core::time::Duration {
    Tokio::<::tokio::net::TcpStream>::now()
}

/// `None` if the deadline comes first.
pub(crate) async fn within<F: Future>(
    deadline: Option<core::time::Duration>,
    future: F,
) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut timer = Default::default();
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => {
            Tokio::<::tokio::net::TcpStream>::poll_timer(&mut timer, cx, deadline).map(|()| None)
        }
    })
    .await
}

const _: () = {
    const fn is_send_and_unpin<T: Send + Unpin>() {}
    is_send_and_unpin::<WebSocket<::tokio::net::TcpStream>>();
    is_send_and_unpin::<SendHalf<::tokio::net::TcpStream>>();
    is_send_and_unpin::<RecvHalf<::tokio::net::TcpStream>>();
};
