//! TLS for a client.

#[cfg(feature = "__rustls-tls")]
use tokio::io::{AsyncRead, AsyncWrite};
use tungstenite::Error;
#[cfg(feature = "__rustls-tls")]
use tungstenite::client::IntoClientRequest;
use tungstenite::client::uri_mode;
use tungstenite::error::UrlError;
use tungstenite::handshake::client::Request;
#[cfg(feature = "__rustls-tls")]
use tungstenite::handshake::client::Response;
pub use tungstenite::private::Connector;
#[cfg(feature = "__rustls-tls")]
use tungstenite::protocol::WebSocketConfig;
use tungstenite::stream::Mode;

#[cfg(feature = "__rustls-tls")]
use crate::WebSocketStream;
use crate::stream::MaybeTlsStream;

/// The stream, with TLS if the URL asks for it.
#[cfg(feature = "__rustls-tls")]
pub(crate) async fn wrap<S: AsyncRead + AsyncWrite + Unpin>(
    request: &Request,
    stream: S,
    connector: Option<Connector>,
) -> Result<MaybeTlsStream<S>, Error> {
    if matches!(uri_mode(request.uri())?, Mode::Plain) {
        return Ok(MaybeTlsStream::Plain(stream));
    }
    let config = match connector {
        Some(Connector::Rustls(config)) => config,
        Some(_) => return Err(UrlError::TlsFeatureNotEnabled.into()),
        None => tungstenite::private::default_config()?,
    };
    let (host, _) = tungstenite::private::place(request.uri())?;
    let name = tungstenite::private::server_name(&host)?;
    let stream = tokio_rustls::TlsConnector::from(config).connect(name, stream).await?;
    Ok(MaybeTlsStream::Rustls(stream))
}

/// The stream, if the URL asks for no TLS.
#[cfg(not(feature = "__rustls-tls"))]
#[cfg_attr(not(feature = "connect"), allow(dead_code))]
pub(crate) async fn wrap<S>(
    request: &Request,
    stream: S,
    _: Option<Connector>,
) -> Result<MaybeTlsStream<S>, Error> {
    match uri_mode(request.uri())? {
        Mode::Plain => Ok(MaybeTlsStream::Plain(stream)),
        Mode::Tls => Err(UrlError::TlsFeatureNotEnabled.into()),
    }
}

/// Opens a WebSocket on a stream, with TLS if the URL is a `wss` one.
///
/// # Errors
///
/// As [`client_async`](crate::client_async), and those of TLS.
#[cfg(feature = "__rustls-tls")]
pub async fn client_async_tls<R, S>(
    request: R,
    stream: S,
) -> Result<(WebSocketStream<MaybeTlsStream<S>>, Response), Error>
where
    R: IntoClientRequest + Unpin,
    S: 'static + AsyncRead + AsyncWrite + Send + Unpin,
{
    client_async_tls_with_config(request, stream, None, None).await
}

/// The same with settings, and another way to get TLS.
///
/// # Errors
///
/// As [`client_async_tls`].
#[cfg(feature = "__rustls-tls")]
pub async fn client_async_tls_with_config<R, S>(
    request: R,
    stream: S,
    config: Option<WebSocketConfig>,
    connector: Option<Connector>,
) -> Result<(WebSocketStream<MaybeTlsStream<S>>, Response), Error>
where
    R: IntoClientRequest + Unpin,
    S: 'static + AsyncRead + AsyncWrite + Send + Unpin,
{
    let request = request.into_client_request()?;
    let stream = wrap(&request, stream, connector).await?;
    crate::client_async_with_config(request, stream, config).await
}
