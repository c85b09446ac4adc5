//! The server's side.

use std::io::{Read, Write};
use std::marker::PhantomData;

use bowline::handshake::{Accept, RequestError, Response as Answer, ServerHandshake as Reader};
use bowline::{Connection, RecvBuf, SendBuf};
use http::StatusCode;
use http::header::SEC_WEBSOCKET_EXTENSIONS;

use super::{HandshakeRole, MidHandshake, drain, fill};
use crate::error::{CapacityError, Error, ProtocolError, Result};
use crate::protocol::{WebSocket, WebSocketConfig, WebSocketContext};

/// A request that asks for a WebSocket.
pub type Request = http::Request<()>;

/// The response that opens one.
pub type Response = http::Response<()>;

/// A response that refuses the request, with a text for the client.
pub type ErrorResponse = http::Response<Option<String>>;

/// Looks at the request, and changes the response or refuses.
pub trait Callback: Sized {
    /// `response` opens the WebSocket. Give it back, with headers of your own if you like.
    ///
    /// # Errors
    ///
    /// The response to send in its place.
    #[allow(clippy::result_large_err)] // The type is tungstenite's.
    fn on_request(self, request: &Request, response: Response) -> Result<Response, ErrorResponse>;
}

impl<F> Callback for F
where
    F: FnOnce(&Request, Response) -> Result<Response, ErrorResponse>,
{
    fn on_request(self, request: &Request, response: Response) -> Result<Response, ErrorResponse> {
        self(request, response)
    }
}

/// Accepts every request.
#[derive(Clone, Copy, Debug)]
pub struct NoCallback;

impl Callback for NoCallback {
    fn on_request(self, _: &Request, response: Response) -> Result<Response, ErrorResponse> {
        Ok(response)
    }
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        Self::Protocol(match error {
            RequestError::Method => ProtocolError::WrongHttpMethod,
            RequestError::HttpVersion => ProtocolError::WrongHttpVersion,
            RequestError::NotUpgrade => ProtocolError::MissingUpgradeWebSocketHeader,
            RequestError::Key => ProtocolError::InvalidSecWebSocketKey,
            RequestError::Version | RequestError::VersionMissing => {
                ProtocolError::MissingSecWebSocketVersionHeader
            }
            RequestError::Gone => ProtocolError::HandshakeIncomplete,
            RequestError::Host => ProtocolError::InvalidHeader(http::header::HOST.into()),
            RequestError::Extensions => {
                ProtocolError::InvalidHeader(SEC_WEBSOCKET_EXTENSIONS.into())
            }
            RequestError::Subprotocols => {
                ProtocolError::InvalidHeader(http::header::SEC_WEBSOCKET_PROTOCOL.into())
            }
            RequestError::Malformed => ProtocolError::HttparseError(httparse::Error::Token),
            RequestError::HeadTooBig => return CapacityError::TooManyHeaders.into(),
            RequestError::TargetTooLong => return Self::AttackAttempt,
            error => return Self::Io(std::io::Error::new(std::io::ErrorKind::InvalidData, error)),
        })
    }
}

/// The error for a request. It tells apart what bowline has one word for.
fn of_request(error: RequestError, request: &http::HeaderMap) -> Error {
    match error {
        RequestError::Key if !request.contains_key(http::header::SEC_WEBSOCKET_KEY) => {
            ProtocolError::MissingSecWebSocketKey.into()
        }
        RequestError::NotUpgrade if request.contains_key(http::header::UPGRADE) => {
            ProtocolError::MissingConnectionUpgradeHeader.into()
        }
        error => error.into(),
    }
}

/// The response that opens a WebSocket for this request.
///
/// # Errors
///
/// What is wrong with the request.
pub fn create_response(request: &Request) -> Result<Response> {
    create_response_with_body(request, || ())
}

/// The same, with a body.
///
/// # Errors
///
/// What is wrong with the request.
pub fn create_response_with_body<T1, T2>(
    request: &http::Request<T1>,
    generate_body: impl FnOnce() -> T2,
) -> Result<http::Response<T2>> {
    let of_request = |error| of_request(error, request.headers());
    let asked = bowline::handshake::Request::try_from(request).map_err(of_request)?;
    let config = WebSocketConfig::default().bowline();
    let upgrade = asked.upgrade(&config).map_err(of_request)?;
    let (_, response) = upgrade.accept(Accept::new()).map_err(super::client::of_invalid)?;
    Ok(http::Response::<Vec<u8>>::from(response).map(|_| generate_body()))
}

/// Writes the head of a response.
///
/// # Errors
///
/// Those of `w`.
pub fn write_response<T>(mut w: impl Write, response: &http::Response<T>) -> Result<()> {
    let mut out = SendBuf::new();
    encode(response, Vec::new(), &mut out);
    for slice in out.pending_slices() {
        w.write_all(slice)?;
    }
    Ok(())
}

fn encode<T>(response: &http::Response<T>, body: Vec<u8>, out: &mut SendBuf) {
    let answer = Answer::received(response.status().as_u16(), response.headers());
    answer.body(body).encode(out);
}

/// What the client is told, and what comes of it.
type Decided = (Answer, Result<Connection>);

/// The server's side of a handshake on a stream.
#[derive(Debug)]
pub struct ServerHandshake<S, C> {
    reader: Reader,
    callback: Option<C>,
    config: WebSocketConfig,
    input: RecvBuf,
    out: SendBuf,
    decided: Option<Result<Connection>>,
    stream: PhantomData<S>,
}

impl<S: Read + Write, C: Callback> ServerHandshake<S, C> {
    /// Expects a request on the stream.
    pub fn start(stream: S, callback: C, config: Option<WebSocketConfig>) -> MidHandshake<Self> {
        MidHandshake::new(Self::new(callback, config), stream)
    }

    /// Expects a request.
    #[doc(hidden)]
    pub fn new(callback: C, config: Option<WebSocketConfig>) -> Self {
        let config = config.unwrap_or_default();
        config.assert_valid();
        Self {
            reader: Reader::new(config.bowline()),
            callback: Some(callback),
            config,
            input: RecvBuf::new(),
            out: SendBuf::new(),
            decided: None,
            stream: PhantomData,
        }
    }

    /// Answers a request.
    fn decide(&mut self, asked: &bowline::handshake::Request) -> Decided {
        let config = self.config.bowline();
        let request = match to_http(asked) {
            Ok(request) => request,
            Err(error) => return (RequestError::Target.response(), Err(error)),
        };
        let refuse =
            |error: RequestError| (error.response(), Err(of_request(error, request.headers())));
        let upgrade = match asked.upgrade(&config) {
            Ok(upgrade) => upgrade,
            Err(error) => return refuse(error),
        };
        let Ok((connection, response)) = upgrade.accept(Accept::new()) else {
            return refuse(RequestError::Subprotocols);
        };
        let offered = http::Response::<Vec<u8>>::from(response).map(|_| ());
        let answered = match self.callback.take() {
            Some(callback) => callback.on_request(&request, offered),
            None => Ok(offered),
        };
        match answered {
            Ok(response) => {
                // The callback may have taken the compression out of the response.
                let compresses = response.headers().contains_key(SEC_WEBSOCKET_EXTENSIONS);
                let connection = if compresses { connection } else { Connection::server(config) };
                let answer = Answer::received(response.status().as_u16(), response.headers());
                (answer, Ok(connection))
            }
            Err(refusal) if refusal.status().is_success() => {
                let answer = Answer::new(StatusCode::INTERNAL_SERVER_ERROR.as_u16());
                (answer, Err(ProtocolError::CustomResponseSuccessful.into()))
            }
            Err(refusal) => {
                let refusal = refusal.map(|body| body.map(String::into_bytes));
                let answer = Answer::received(refusal.status().as_u16(), refusal.headers());
                let answer = answer.body(refusal.body().clone().unwrap_or_default());
                (answer, Err(Error::Http(refusal.into())))
            }
        }
    }
}

impl<S: Read + Write, C: Callback> HandshakeRole for ServerHandshake<S, C> {
    type InternalStream = S;
    type FinalResult = WebSocket<S>;
    type Opened = WebSocketContext;

    fn finish(context: WebSocketContext, stream: S) -> WebSocket<S> {
        WebSocket::from_parts(stream, context)
    }

    fn run<T: Read + Write>(&mut self, stream: &mut T) -> Result<WebSocketContext> {
        while self.decided.is_none() {
            let (answer, decided) = match self.reader.read(&mut self.input) {
                Ok(Some(request)) => self.decide(&request),
                Ok(None) => {
                    fill(stream, &mut self.input)?;
                    continue;
                }
                Err(RequestError::Gone) => return Err(RequestError::Gone.into()),
                Err(error) => (error.response(), Err(error.into())),
            };
            match &decided {
                Ok(_) => answer.encode(&mut self.out),
                Err(_) => self.reader.respond(&answer, &mut self.out),
            }
            self.decided = Some(decided);
        }
        drain(stream, &mut self.out)?;
        let connection = self.decided.take().ok_or(Error::AlreadyClosed)??;
        let input = std::mem::take(&mut self.input);
        Ok(WebSocketContext::from_connection(connection, input, self.config))
    }
}

/// The request as the callback sees it.
fn to_http(asked: &bowline::handshake::Request) -> Result<Request> {
    let mut request = http::Request::builder().method(asked.method()).uri(asked.target());
    for (name, value) in asked.headers().iter() {
        request = request.header(name, value);
    }
    Ok(request.body(())?)
}
