//! TLS for a client.

use std::io::{Read, Write};

use crate::client::{IntoClientRequest, client_with_config, place, uri_mode};
#[cfg(feature = "__rustls-tls")]
use crate::error::Error;
use crate::error::{Result, UrlError};
use crate::handshake::HandshakeError;
use crate::handshake::client::{ClientHandshake, Response};
use crate::protocol::{WebSocket, WebSocketConfig};
use crate::stream::{MaybeTlsStream, Mode};

/// How a client gets TLS.
#[non_exhaustive]
#[derive(Clone)]
#[allow(missing_debug_implementations)]
pub enum Connector {
    /// Not at all: a `wss` URL is an error.
    Plain,
    /// With rustls and these settings.
    #[cfg(feature = "__rustls-tls")]
    Rustls(std::sync::Arc<rustls::ClientConfig>),
}

/// What rustls does for a program that brings no settings: the roots of the system, or Mozilla's with
/// `rustls-tls-webpki-roots` alone.
#[doc(hidden)]
#[cfg(feature = "__rustls-tls")]
pub fn default_config() -> Result<std::sync::Arc<rustls::ClientConfig>> {
    #[cfg(all(feature = "rustls-tls-webpki-roots", not(feature = "rustls-tls-native-roots")))]
    let config = bowline::tls::with_webpki_roots();
    #[cfg(not(all(
        feature = "rustls-tls-webpki-roots",
        not(feature = "rustls-tls-native-roots")
    )))]
    let config = bowline::tls::with_platform_roots();
    config.map_err(|error| Error::Io(std::io::Error::other(error)))
}

/// The name that the certificate must have.
#[doc(hidden)]
#[cfg(feature = "__rustls-tls")]
pub fn server_name(host: &str) -> Result<rustls::pki_types::ServerName<'static>> {
    let name = rustls::pki_types::ServerName::try_from(host.to_string());
    name.map_err(|_| crate::error::TlsError::InvalidDnsName.into())
}

/// The stream, with TLS if the URL or the connector asks for it.
pub(crate) fn wrap<S: Read + Write>(
    stream: S,
    host: &str,
    is_secure: bool,
    connector: Option<Connector>,
) -> Result<MaybeTlsStream<S>> {
    if !is_secure {
        return Ok(MaybeTlsStream::Plain(stream));
    }
    match connector {
        Some(Connector::Plain) => Err(UrlError::TlsFeatureNotEnabled.into()),
        #[cfg(feature = "__rustls-tls")]
        connector => {
            let config = match connector {
                Some(Connector::Rustls(config)) => config,
                _ => default_config()?,
            };
            let connection = rustls::ClientConnection::new(config, server_name(host)?);
            let connection = connection.map_err(crate::error::TlsError::from)?;
            Ok(MaybeTlsStream::Rustls(rustls::StreamOwned::new(connection, stream)))
        }
        #[cfg(not(feature = "__rustls-tls"))]
        None => {
            let _ = host;
            Err(UrlError::TlsFeatureNotEnabled.into())
        }
    }
}

/// Opens a WebSocket on a stream, with TLS if the URL is a `wss` one.
///
/// # Errors
///
/// As [`client`](crate::client()).
pub fn client_tls<R, S>(
    request: R,
    stream: S,
) -> Result<(WebSocket<MaybeTlsStream<S>>, Response), TlsHandshakeError<S>>
where
    R: IntoClientRequest,
    S: Read + Write,
{
    client_tls_with_config(request, stream, None, None)
}

type TlsHandshakeError<S> = HandshakeError<ClientHandshake<MaybeTlsStream<S>>>;

/// The same with settings, and another way to get TLS.
///
/// # Errors
///
/// As [`client_tls`].
pub fn client_tls_with_config<R, S>(
    request: R,
    stream: S,
    config: Option<WebSocketConfig>,
    connector: Option<Connector>,
) -> Result<(WebSocket<MaybeTlsStream<S>>, Response), TlsHandshakeError<S>>
where
    R: IntoClientRequest,
    S: Read + Write,
{
    let request = request.into_client_request()?;
    let is_secure = matches!(uri_mode(request.uri())?, Mode::Tls);
    let (host, _) = place(request.uri())?;
    client_with_config(request, wrap(stream, &host, is_secure, connector)?, config)
}
