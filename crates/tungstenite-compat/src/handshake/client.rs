//! The client's side.

use std::io::{Read, Write};
use std::marker::PhantomData;

use bowline::handshake::{
    ClientHandshake as Reader, ClientRequest, ConnectError, InvalidRequest, Redirected,
    Response as Answer,
};
use bowline::{RecvBuf, SendBuf};
use http::header::{
    CONNECTION, HOST, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};

use super::{HandshakeRole, MidHandshake, drain, fill};
use crate::client::uri_mode;
use crate::error::{CapacityError, Error, ProtocolError, Result, SubProtocolError, UrlError};
use crate::protocol::{WebSocket, WebSocketConfig, WebSocketContext, seed};
use crate::stream::Mode;

/// A request that asks for a WebSocket.
pub type Request = http::Request<()>;

/// The server's response, with as much of its body as was read.
pub type Response = http::Response<Option<Vec<u8>>>;

/// What bowline's handshake sends of a request.
///
/// The headers of the handshake are bowline's own: the key, which is never used twice, the version, `Connection`,
/// `Upgrade`, and the extensions that the settings offer.
pub(crate) fn to_bowline(request: &Request) -> Result<ClientRequest> {
    if request.method() != http::Method::GET {
        return Err(ProtocolError::WrongHttpMethod.into());
    }
    if request.version() < http::Version::HTTP_11 {
        return Err(ProtocolError::WrongHttpVersion.into());
    }
    let scheme = match uri_mode(request.uri())? {
        Mode::Plain => "ws",
        Mode::Tls => "wss",
    };
    let authority = request.uri().authority().map(|authority| authority.as_str());
    // A `Host` of the program's own says which server it means, wherever the URL leads.
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    // The same place, perhaps with credentials, which become `Authorization`.
    let same = authority
        .filter(|authority| host.is_none_or(|host| authority.rsplit('@').next() == Some(host)));
    let host = same.or(host).ok_or(UrlError::NoHostName)?;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let url = format!("{scheme}://{host}{path}");
    let mut ours = ClientRequest::new(&url).map_err(of_invalid)?;
    if !request.headers().contains_key(USER_AGENT) {
        ours = ours.user_agent(None).map_err(of_invalid)?;
    }
    let own = [
        HOST,
        CONNECTION,
        UPGRADE,
        SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_VERSION,
        SEC_WEBSOCKET_EXTENSIONS,
    ];
    for (name, value) in request.headers().iter().filter(|(name, _)| !own.contains(name)) {
        let value = std::str::from_utf8(value.as_bytes())?;
        ours = match *name {
            SEC_WEBSOCKET_PROTOCOL => value
                .split(',')
                .map(str::trim)
                .filter(|offer| !offer.is_empty())
                .try_fold(ours, ClientRequest::subprotocol),
            http::header::ORIGIN => ours.origin(value),
            _ => ours.header(name.as_str(), value),
        }
        .map_err(of_invalid)?;
    }
    Ok(ours)
}

pub(crate) fn of_invalid(error: InvalidRequest) -> Error {
    let header = |name: &str| match name.parse() {
        Ok(name) => ProtocolError::InvalidHeader(Box::new(name)).into(),
        Err(error) => Error::from(error),
    };
    match &error {
        InvalidRequest::Method => ProtocolError::WrongHttpMethod.into(),
        InvalidRequest::Url(_) => UrlError::UnableToConnect(error.to_string()).into(),
        InvalidRequest::Header(name) | InvalidRequest::ReservedHeader(name) => header(name),
        InvalidRequest::Subprotocol(_) => header(SEC_WEBSOCKET_PROTOCOL.as_str()),
        _ => Error::Io(std::io::Error::new(std::io::ErrorKind::InvalidInput, error)),
    }
}

/// The response as the program sees it.
fn to_http(answer: Answer) -> Response {
    let (has_body, status) = (!answer.body_bytes().is_empty(), answer.status());
    let (_, headers, body) = answer.into_parts();
    let mut response = http::Response::new(has_body.then_some(body));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    for (name, value) in headers.iter() {
        let name = http::HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, http::HeaderValue::from_bytes(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// What became of a handshake that failed.
pub(crate) enum Failed {
    Error(Error),
    /// The server sends the client elsewhere.
    Redirected(Box<Redirected>),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Error(error) => error,
            Failed::Redirected(redirected) => {
                Self::Http(to_http(redirected.response().clone()).into())
            }
        }
    }
}

fn of_connect(error: ConnectError, offered: bool) -> Failed {
    let protocol = match error {
        ConnectError::Redirected(redirected) => return Failed::Redirected(redirected),
        ConnectError::Refused(answer) => {
            let mut response = to_http(*answer);
            // tungstenite always gives a body here.
            response.body_mut().get_or_insert_default();
            return Error::Http(response.into()).into();
        }
        ConnectError::HeadTooBig => return Error::from(CapacityError::TooManyHeaders).into(),
        ConnectError::Malformed => ProtocolError::HttparseError(httparse::Error::Token),
        ConnectError::Gone => ProtocolError::HandshakeIncomplete,
        ConnectError::NotUpgraded => ProtocolError::MissingUpgradeWebSocketHeader,
        ConnectError::WrongAccept => ProtocolError::SecWebSocketAcceptKeyMismatch,
        ConnectError::Extension => ProtocolError::InvalidHeader(SEC_WEBSOCKET_EXTENSIONS.into()),
        ConnectError::Subprotocol if offered => {
            ProtocolError::SecWebSocketSubProtocolError(SubProtocolError::InvalidSubProtocol)
        }
        ConnectError::Subprotocol => ProtocolError::SecWebSocketSubProtocolError(
            SubProtocolError::ServerSentSubProtocolNoneRequested,
        ),
        error => return Error::Io(std::io::Error::other(error)).into(),
    };
    Error::from(protocol).into()
}

/// The client's side of a handshake on a stream.
#[derive(Debug)]
pub struct ClientHandshake<S> {
    reader: Reader,
    config: WebSocketConfig,
    input: RecvBuf,
    out: SendBuf,
    offers_subprotocols: bool,
    stream: PhantomData<S>,
}

impl<S: Read + Write> ClientHandshake<S> {
    /// Begins with this request. Its headers of the handshake need not be there.
    ///
    /// # Errors
    ///
    /// What is wrong with the request.
    pub fn start(
        stream: S,
        request: Request,
        config: Option<WebSocketConfig>,
    ) -> Result<MidHandshake<Self>> {
        Ok(MidHandshake::new(Self::new(&request, config)?, stream))
    }

    #[doc(hidden)]
    pub fn new(request: &Request, config: Option<WebSocketConfig>) -> Result<Self> {
        Ok(Self::of(&to_bowline(request)?, config, request))
    }

    pub(crate) fn of(
        ours: &ClientRequest,
        config: Option<WebSocketConfig>,
        request: &Request,
    ) -> Self {
        let config = config.unwrap_or_default();
        config.assert_valid();
        let mut out = SendBuf::new();
        let reader = Reader::new(ours, config.bowline(), seed(), &mut out);
        let offers_subprotocols = request.headers().contains_key(SEC_WEBSOCKET_PROTOCOL);
        let (input, stream) = (RecvBuf::new(), PhantomData);
        Self { reader, config, input, out, offers_subprotocols, stream }
    }

    pub(crate) fn open<T: Read + Write>(
        &mut self,
        stream: &mut T,
    ) -> Result<(WebSocketContext, Response), Failed> {
        drain(stream, &mut self.out)?;
        loop {
            match self.reader.read(&mut self.input) {
                Ok(Some((connection, answer))) => {
                    if self.offers_subprotocols
                        && self.config.require_subprotocol
                        && answer.subprotocol().is_none()
                    {
                        return Err(Error::from(ProtocolError::SecWebSocketSubProtocolError(
                            SubProtocolError::NoSubProtocol,
                        ))
                        .into());
                    }
                    let input = std::mem::take(&mut self.input);
                    let context = WebSocketContext::from_connection(connection, input, self.config);
                    return Ok((context, to_http(answer)));
                }
                Ok(None) => fill(stream, &mut self.input)?,
                Err(error) => return Err(of_connect(error, self.offers_subprotocols)),
            }
        }
    }
}

impl<S: Read + Write> HandshakeRole for ClientHandshake<S> {
    type InternalStream = S;
    type FinalResult = (WebSocket<S>, Response);
    type Opened = (WebSocketContext, Response);

    fn run<T: Read + Write>(&mut self, stream: &mut T) -> Result<Self::Opened> {
        Ok(self.open(stream)?)
    }

    fn finish((context, response): (WebSocketContext, Response), stream: S) -> Self::FinalResult {
        (WebSocket::from_parts(stream, context), response)
    }
}

/// A value for `Sec-WebSocket-Key`: 16 random bytes in base64 (RFC 6455 §4.1 item 7).
pub fn generate_key() -> String {
    let request = ClientRequest::new("ws://localhost/");
    request.map_or_else(|_| String::new(), |request| key_of(&request, seed()))
}

fn key_of(request: &ClientRequest, seed: [u8; 32]) -> String {
    let (_, headers) = Reader::start(request, WebSocketConfig::default().bowline(), seed);
    headers.get_str(SEC_WEBSOCKET_KEY.as_str()).unwrap_or_default().into()
}

/// The bytes of this request, and the key that is in them.
///
/// # Errors
///
/// What is wrong with the request.
pub fn generate_request(request: Request) -> Result<(Vec<u8>, String)> {
    let (ours, seed, mut out) = (to_bowline(&request)?, seed(), SendBuf::new());
    Reader::new(&ours, WebSocketConfig::default().bowline(), seed, &mut out);
    // The key is made from the seed.
    Ok((out.pending_slices().collect::<Vec<_>>().concat(), key_of(&ours, seed)))
}
