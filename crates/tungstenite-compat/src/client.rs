//! Requests, and connecting to a server.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};

use http::header::{
    CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderName, HeaderValue, Uri};

use crate::error::{Error, Result, UrlError};
use crate::handshake::HandshakeError;
use crate::handshake::client::{
    ClientHandshake, Failed, Request, Response, generate_key, to_bowline,
};
use crate::protocol::{WebSocket, WebSocketConfig};
use crate::stream::{MaybeTlsStream, Mode, NoDelay};

/// Connects to a server, and follows up to three redirects.
///
/// # Errors
///
/// Why there is no WebSocket. If the server answered with another status than 101, [`Error::Http`] has its response.
pub fn connect<Req: IntoClientRequest>(
    request: Req,
) -> Result<(WebSocket<MaybeTlsStream<TcpStream>>, Response)> {
    connect_with_config(request, None, 3)
}

/// The same with settings, and another number of redirects.
///
/// To another origin no header of the program goes along but a few that are known to be harmless.
///
/// # Errors
///
/// As [`connect`].
pub fn connect_with_config<Req: IntoClientRequest>(
    request: Req,
    config: Option<WebSocketConfig>,
    max_redirects: u8,
) -> Result<(WebSocket<MaybeTlsStream<TcpStream>>, Response)> {
    let request = request.into_client_request()?;
    let mut ours = to_bowline(&request)?.redirects(max_redirects.into());
    // Where the request leads may not be what its `Host` says.
    let (mut host, mut port) = place(request.uri())?;
    loop {
        if ours.is_secure() && !cfg!(feature = "__rustls-tls") {
            return Err(UrlError::TlsFeatureNotEnabled.into());
        }
        let mut socket = dial(&host, port)?;
        NoDelay::set_nodelay(&mut socket, true)?;
        let mut stream = crate::tls::wrap(socket, &host, ours.is_secure(), None)?;
        let mut opening = ClientHandshake::<TcpStream>::of(&ours, config, &request);
        match opening.open(&mut stream) {
            Ok((context, response)) => {
                return Ok((WebSocket::from_parts(stream, context), response));
            }
            Err(Failed::Redirected(redirected)) => {
                let response = Failed::Redirected(redirected.clone()).into();
                ours = ours.follow(*redirected).map_err(|_| -> Error { response })?;
                (host, port) = (ours.host().into(), ours.port());
            }
            Err(Failed::Error(error)) => return Err(error),
        }
    }
}

/// The host of a URL, without brackets, and its port.
#[doc(hidden)]
pub fn place(uri: &Uri) -> Result<(String, u16)> {
    let secure = matches!(uri_mode(uri)?, Mode::Tls);
    let host = uri.host().ok_or(UrlError::NoHostName)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Ok((host.into(), uri.port_u16().unwrap_or(if secure { 443 } else { 80 })))
}

fn dial(host: &str, port: u16) -> Result<TcpStream> {
    let addresses = (host, port).to_socket_addrs()?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect(address) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = Some(error),
        }
    }
    let why = last.map_or_else(|| "no address".into(), |error| error.to_string());
    Err(UrlError::UnableToConnect(format!("{host}:{port}: {why}")).into())
}

/// Whether the scheme of a URL asks for TLS.
///
/// # Errors
///
/// If it is neither `ws` nor `wss`.
pub fn uri_mode(uri: &Uri) -> Result<Mode> {
    match uri.scheme_str() {
        Some("ws") => Ok(Mode::Plain),
        Some("wss") => Ok(Mode::Tls),
        _ => Err(UrlError::UnsupportedUrlScheme.into()),
    }
}

/// Opens a WebSocket on a stream. For `wss` the stream has to be one with TLS.
///
/// # Errors
///
/// As [`connect`]. [`HandshakeError::Interrupted`] if the stream would block.
pub fn client<Stream, Req>(
    request: Req,
    stream: Stream,
) -> Result<(WebSocket<Stream>, Response), HandshakeError<ClientHandshake<Stream>>>
where
    Stream: Read + Write,
    Req: IntoClientRequest,
{
    client_with_config(request, stream, None)
}

/// The same with settings.
///
/// # Errors
///
/// As [`client`].
pub fn client_with_config<Stream, Req>(
    request: Req,
    stream: Stream,
    config: Option<WebSocketConfig>,
) -> Result<(WebSocket<Stream>, Response), HandshakeError<ClientHandshake<Stream>>>
where
    Stream: Read + Write,
    Req: IntoClientRequest,
{
    ClientHandshake::start(stream, request.into_client_request()?, config)?.handshake()
}

/// What a request can be made of.
pub trait IntoClientRequest {
    /// The request.
    ///
    /// # Errors
    ///
    /// If it is no URL with a host.
    fn into_client_request(self) -> Result<Request>;
}

impl IntoClientRequest for &str {
    fn into_client_request(self) -> Result<Request> {
        self.parse::<Uri>()?.into_client_request()
    }
}

impl IntoClientRequest for &Uri {
    fn into_client_request(self) -> Result<Request> {
        self.clone().into_client_request()
    }
}

impl IntoClientRequest for Uri {
    fn into_client_request(self) -> Result<Request> {
        let authority = self.authority().ok_or(UrlError::NoHostName)?.as_str();
        let host = authority.rsplit('@').next().unwrap_or_default();
        if host.is_empty() {
            return Err(UrlError::EmptyHostName.into());
        }
        let request = http::Request::get(&self)
            .header(HOST, host)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, generate_key());
        Ok(request.body(())?)
    }
}

macro_rules! as_str {
    ($($type:ty),*) => {$(
        impl IntoClientRequest for $type {
            fn into_client_request(self) -> Result<Request> {
                self.as_str().into_client_request()
            }
        }
    )*};
}

as_str!(&String, String);
#[cfg(feature = "url")]
as_str!(&url::Url, url::Url);

impl IntoClientRequest for Request {
    fn into_client_request(self) -> Result<Request> {
        Ok(self)
    }
}

impl IntoClientRequest for httparse::Request<'_, '_> {
    fn into_client_request(self) -> Result<Request> {
        let missing = || Error::Protocol(httparse::Error::Status.into());
        let mut request = http::Request::builder()
            .method(self.method.ok_or_else(missing)?)
            .uri(self.path.ok_or_else(missing)?);
        for header in self.headers.iter() {
            request = request.header(header.name, header.value);
        }
        Ok(request.body(())?)
    }
}

/// A request with headers and subprotocols.
///
/// ```
/// use bowline_tungstenite::ClientRequestBuilder;
/// let request = ClientRequestBuilder::new("ws://127.0.0.1:9001/chat".parse()?)
///     .with_header("Authorization", "Bearer s3cret")
///     .with_sub_protocol("chat.v2");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientRequestBuilder {
    uri: Uri,
    headers: Vec<(String, String)>,
    subprotocols: Vec<String>,
}

impl ClientRequestBuilder {
    /// For this URL.
    #[must_use]
    pub const fn new(uri: Uri) -> Self {
        Self { uri, headers: Vec::new(), subprotocols: Vec::new() }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header<K: Into<String>, V: Into<String>>(mut self, key: K, value: V) -> Self {
        self.headers.push((key.into(), value.into()));
        self
    }

    /// Offers a subprotocol.
    #[must_use]
    pub fn with_sub_protocol<P: Into<String>>(mut self, protocol: P) -> Self {
        self.subprotocols.push(protocol.into());
        self
    }
}

impl IntoClientRequest for ClientRequestBuilder {
    fn into_client_request(self) -> Result<Request> {
        let mut request = self.uri.into_client_request()?;
        for (name, value) in self.headers {
            let (name, value) = (name.parse::<HeaderName>()?, value.parse::<HeaderValue>()?);
            request.headers_mut().append(name, value);
        }
        if !self.subprotocols.is_empty() {
            let offers = self.subprotocols.join(", ").parse::<HeaderValue>()?;
            request.headers_mut().append(SEC_WEBSOCKET_PROTOCOL, offers);
        }
        Ok(request)
    }
}
