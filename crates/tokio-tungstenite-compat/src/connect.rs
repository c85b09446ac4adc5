//! Connecting to a server.

use tokio::net::TcpStream;
use tungstenite::Error;
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::{Request, Response};
use tungstenite::protocol::WebSocketConfig;

use crate::stream::MaybeTlsStream;
use crate::tls::{Connector, wrap};
use crate::{WebSocketStream, client_async_with_config};

type Connected = (WebSocketStream<MaybeTlsStream<TcpStream>>, Response);

/// Connects to a server. Redirects are not followed.
///
/// # Errors
///
/// Why there is no WebSocket. If the server answered with another status than 101, [`Error::Http`] has its response.
pub async fn connect_async<R: IntoClientRequest + Unpin>(request: R) -> Result<Connected, Error> {
    connect_async_with_config(request, None, false).await
}

/// The same with settings. `disable_nagle` sets `TCP_NODELAY`.
///
/// # Errors
///
/// As [`connect_async`].
pub async fn connect_async_with_config<R: IntoClientRequest + Unpin>(
    request: R,
    config: Option<WebSocketConfig>,
    disable_nagle: bool,
) -> Result<Connected, Error> {
    connect(request.into_client_request()?, config, disable_nagle, None).await
}

/// The same with another way to get TLS.
///
/// # Errors
///
/// As [`connect_async`].
#[cfg(feature = "__rustls-tls")]
pub async fn connect_async_tls_with_config<R: IntoClientRequest + Unpin>(
    request: R,
    config: Option<WebSocketConfig>,
    disable_nagle: bool,
    connector: Option<Connector>,
) -> Result<Connected, Error> {
    connect(request.into_client_request()?, config, disable_nagle, connector).await
}

async fn connect(
    request: Request,
    config: Option<WebSocketConfig>,
    disable_nagle: bool,
    connector: Option<Connector>,
) -> Result<Connected, Error> {
    let (host, port) = tungstenite::private::place(request.uri())?;
    let socket = TcpStream::connect((host.as_str(), port)).await?;
    if disable_nagle {
        socket.set_nodelay(true)?;
    }
    let stream = wrap(&request, socket, connector).await?;
    client_async_with_config(request, stream, config).await
}
