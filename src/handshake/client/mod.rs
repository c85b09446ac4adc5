//! The client's side: it writes the request, and reads the server's answer (RFC 6455 §4.1).

mod error;
mod redirect;
mod request;
mod route;
#[cfg(feature = "socket2")]
mod socket;

pub use error::ConnectError;
pub use redirect::{Redirected, Unfollowed};
pub use request::ClientRequest;
pub(super) use request::USER_AGENT;
pub use route::{ConnectTo, Place, Route};
#[cfg(feature = "socket2")]
pub use socket::{SocketHandle, SocketHook};

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::extension::extensions;
use super::head::{self, HeadReader, Headers, with_places};
use super::refusal::Refusal;
use super::response::Response;
use super::{key, lists_token};
use crate::memory::recv_buf::RecvBuf;
use crate::memory::send_buf::SendBuf;
use crate::protocol::config::Config;
use crate::protocol::connection::Connection;
use crate::protocol::deflate::{self, Agreed};

/// A client skips this many interim responses (RFC 9110 §15.2).
pub(super) const MAX_INTERIM: u8 = 8;

/// Sends a [`ClientRequest`] and reads the server's answer.
pub struct ClientHandshake {
    config: Config,
    /// Whether the request is an extended CONNECT (RFC 8441).
    is_extended: bool,
    /// The `Sec-WebSocket-Accept` that answers the key.
    accept: [u8; 28],
    subprotocols: Vec<String>,
    /// Of the URL, without the question mark.
    query: String,
    /// The request allows redirects, which only an adapter that connects anew can follow.
    allows_redirects: bool,
    connection_seed: [u8; 32],
    reader: HeadReader,
    interim: u8,
    refusal: Option<Refusal>,
    since: Option<Duration>,
    failed: Option<ConnectError>,
}

impl fmt::Debug for ClientHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the seed of the masking keys. The names of subprotocols may be secret too: browsers have no
        // other place for a token.
        f.debug_struct("ClientHandshake")
            .field("subprotocols", &self.subprotocols.len())
            .field("interim", &self.interim)
            .finish_non_exhaustive()
    }
}

impl ClientHandshake {
    /// Queues the request. `seed` must come from the operating system's entropy: the key and the
    /// connection's masking keys are made from it (RFC 6455 §4.1, §10.3).
    pub fn new(request: &ClientRequest, config: Config, seed: [u8; 32], out: &mut SendBuf) -> Self {
        let (handshake, headers) = Self::start(request, config, seed);
        head::write_head(format_args!("GET {} HTTP/1.1", request.target()), &headers, out);
        handshake
    }

    /// Gives the handshake and the headers of its request, for another HTTP/1.1 client. That client sends the
    /// headers with a GET for [`ClientRequest::target`]. Give each response to [`answer`](Self::answer). `seed` is as
    /// in [`new`](Self::new).
    ///
    /// ```
    /// use bowline::Config;
    /// use bowline::handshake::{ClientHandshake, ClientRequest, Response, accept_key};
    ///
    /// let request = ClientRequest::new("ws://example.com/chat")?;
    /// let seed = [7; 32]; // From the operating system's entropy, in a real program.
    /// let (mut handshake, headers) = ClientHandshake::start(&request, Config::default(), seed);
    /// // The other client sends them, and brings the response.
    /// let accept = accept_key(headers.get_str("Sec-WebSocket-Key").unwrap());
    /// let response = Response::received(101, [
    ///     ("Upgrade", "websocket"),
    ///     ("Connection", "Upgrade"),
    ///     ("Sec-WebSocket-Accept", &accept),
    /// ]);
    /// let (connection, response) = handshake.answer(response)?.expect("101 opens it");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start(request: &ClientRequest, config: Config, seed: [u8; 32]) -> (Self, Headers) {
        let config = request.config(config);
        let mut random = StdRng::from_seed(seed);
        // RFC 6455 §4.1 item 7: "a nonce consisting of a randomly selected 16-byte value that has been
        // base64-encoded".
        let mut nonce = [0; 16];
        random.fill_bytes(&mut nonce);
        // The key is sent in the clear, so the masking keys come from a seed of their own.
        let mut connection_seed = [0; 32];
        random.fill_bytes(&mut connection_seed);
        let key = key::encode(nonce);
        let headers = request.headers(Some(&key), &config);
        let handshake = Self {
            config,
            is_extended: false,
            accept: key::accept_for(&key),
            subprotocols: request.subprotocols.clone(),
            query: request.url.target.split_once('?').map_or("", |(_, query)| query).into(),
            allows_redirects: request.allows_redirects(),
            connection_seed,
            reader: HeadReader::of_response(),
            interim: 0,
            refusal: None,
            since: None,
            failed: None,
        };
        (handshake, headers)
    }

    /// Like [`start`](Self::start), but for a client of HTTP/2 or HTTP/3. That client sends the headers with an
    /// extended CONNECT whose `:protocol` is `websocket` (RFC 8441 §5, RFC 9220). The server must have said before
    /// that it knows extended CONNECT (RFC 8441 §3).
    pub fn start_extended_connect(
        request: &ClientRequest,
        config: Config,
        seed: [u8; 32],
    ) -> (Self, Headers) {
        let (handshake, _) = Self::start(request, config, seed);
        let headers = request.headers(None, &handshake.config);
        (Self { is_extended: true, ..handshake }, headers)
    }

    /// Gives the connection and the response that opened it, once the response is complete in `input`.
    /// `None`: read more. The bytes after the response stay in `input`: they are the first frames.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::io::{Read, Write};
    ///
    /// use bowline::handshake::{ClientHandshake, ClientRequest};
    /// use bowline::{Config, RecvBuf, SendBuf};
    ///
    /// let mut socket = std::net::TcpStream::connect("127.0.0.1:9001")?;
    /// let (mut input, mut out) = (RecvBuf::new(), SendBuf::new());
    /// let request = ClientRequest::new("ws://127.0.0.1:9001/")?;
    /// let seed = [7; 32]; // From the operating system's entropy, in a real program.
    /// let mut handshake = ClientHandshake::new(&request, Config::default(), seed, &mut out);
    /// socket.write_all(out.pending())?;
    /// let (connection, response) = loop {
    ///     if let Some(opened) = handshake.read(&mut input)? {
    ///         break opened;
    ///     }
    ///     match socket.read(input.space())? {
    ///         0 => input.eof(),
    ///         n => input.filled(n),
    ///     }
    /// };
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Why there is no connection. Every later call gives the same error. Close the socket then.
    pub fn read(
        &mut self,
        input: &mut RecvBuf,
    ) -> Result<Option<(Connection, Response)>, ConnectError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.try_read(input).inspect_err(|error| self.failed = Some(error.clone()))
    }

    fn try_read(
        &mut self,
        input: &mut RecvBuf,
    ) -> Result<Option<(Connection, Response)>, ConnectError> {
        loop {
            if let Some(refusal) = &mut self.refusal {
                return if refusal.read(input) { Err(self.refused()) } else { Ok(None) };
            }
            let Some(end) = self.reader.find_end(input.unread(), &self.config)? else {
                return if input.is_eof() { Err(ConnectError::Gone) } else { Ok(None) };
            };
            let response = parse(&input.unread()[..end], self.reader.lines);
            let response = response.ok_or(ConnectError::Malformed)?;
            input.skip(end);
            self.reader = HeadReader::of_response();
            if let Some(opened) = self.answer(response)? {
                return Ok(Some(opened));
            }
        }
    }

    /// Takes the head of a response that another HTTP client has read: see [`start`](Self::start). Gives the
    /// connection if the response opens one.
    ///
    /// `None` means that more is to come. After an interim response (1xx), that is the next response. After a
    /// refusal, it is the body. Give each part of it to [`refusal_body`](Self::refusal_body), until that wants no
    /// more, the body ends, or the [`deadline`](Self::deadline) comes. Then [`refused`](Self::refused) gives the
    /// error.
    ///
    /// # Errors
    ///
    /// What is wrong with the response.
    pub fn answer(
        &mut self,
        response: Response,
    ) -> Result<Option<(Connection, Response)>, ConnectError> {
        // RFC 6455 §4.1: "If the status code received from the server is not 101, the client handles the
        // response per HTTP [RFC2616] procedures."
        match (response.status, self.is_extended) {
            (101, false) => Ok(Some((self.open(&response.headers)?, response))),
            // RFC 8441 §5: "a 2XX series status code, as opposed to the "101" status".
            (200..=299, true) => Ok(Some((self.open_extended(&response.headers)?, response))),
            (100 | 102..=199, _) => {
                self.interim += 1;
                if self.interim > MAX_INTERIM {
                    return Err(ConnectError::TooManyInterim);
                }
                Ok(None)
            }
            (200..=999, _) => {
                self.refusal = Some(Refusal::new(response));
                Ok(None)
            }
            // RFC 9113 §8.6: HTTP/2 has no status 101.
            _ => Err(ConnectError::Malformed),
        }
    }

    /// Takes a part of a refusal's body. Gives whether more of it is wanted. At most 64 KiB are kept, and nothing if
    /// there is no refusal.
    pub fn refusal_body(&mut self, part: &[u8]) -> bool {
        self.refusal.as_mut().is_some_and(|refusal| refusal.add(part))
    }

    /// The error for a refusal, with as much of its body as has come. If there is no refusal, it is
    /// [`ConnectError::Gone`].
    pub fn refused(&mut self) -> ConnectError {
        match self.refusal.take() {
            Some(refusal) => self.refused_with(refusal.into_response()),
            None => ConnectError::Gone,
        }
    }

    /// The connection that a 101 response with these headers opens.
    fn open(&self, headers: &Headers) -> Result<Connection, ConnectError> {
        self.check_upgrade(headers)?;
        let connection = self.open_extended(headers)?;
        let no_length = matches!(headers.only("Content-Length"), Ok(None | Some(b"0")));
        if headers.get("Transfer-Encoding").is_some() || !no_length {
            return Err(ConnectError::Body);
        }
        Ok(connection)
    }

    /// The connection that a response of 2xx to an extended CONNECT opens. A length in it means nothing
    /// (RFC 9110 §9.3.6).
    fn open_extended(&self, headers: &Headers) -> Result<Connection, ConnectError> {
        let agreed = self.agreed(headers)?;
        // RFC 6455 §4.1: if this header "indicates the use of a subprotocol that was not present in the
        // client's handshake", "the client MUST _Fail the WebSocket Connection_".
        match headers.only("Sec-WebSocket-Protocol") {
            Ok(None) => {}
            Ok(Some(name)) if self.subprotocols.iter().any(|ours| ours.as_bytes() == name) => {}
            _ => return Err(ConnectError::Subprotocol),
        }
        Ok(Connection::agreed_client(self.config.clone(), self.connection_seed, agreed))
    }

    /// The client's checks of RFC 6455 §4.1 that HTTP/2 does not have.
    fn check_upgrade(&self, headers: &Headers) -> Result<(), ConnectError> {
        // RFC 6455 §4.1: a value "that is not an ASCII case-insensitive match for the value "websocket"" fails.
        // So does a Connection without "a token that is an ASCII case-insensitive match for the value "Upgrade"".
        let upgrade = match headers.only("Upgrade") {
            Ok(Some(value)) => value.eq_ignore_ascii_case(b"websocket"),
            _ => false,
        };
        if !upgrade || !lists_token(headers.all("Connection"), "upgrade") {
            return Err(ConnectError::NotUpgraded);
        }
        // RFC 6455 §4.1: it must be "the base64-encoded SHA-1 of the concatenation" of the key and the GUID.
        if headers.only("Sec-WebSocket-Accept") != Ok(Some(&self.accept[..])) {
            return Err(ConnectError::WrongAccept);
        }
        Ok(())
    }

    /// What the server's answer agrees on, if it answers the offer (RFC 7692 §5.1).
    fn agreed(&self, headers: &Headers) -> Result<Option<Agreed>, ConnectError> {
        const NAME: &str = "Sec-WebSocket-Extensions";
        let mut answer = extensions(headers.all(NAME));
        match (answer.next(), answer.next()) {
            (None, _) if headers.get(NAME).is_none() => Ok(None),
            // RFC 6455 §9.1: "the recipient of such malformed data MUST immediately _Fail the WebSocket
            // Connection_".
            (Some(only), None) if only.is_valid() && only.name() == deflate::NAME.as_bytes() => {
                let agreed = deflate::check(&self.config, only.parameters());
                agreed.map(Some).ok_or(ConnectError::Extension)
            }
            // RFC 6455 §9: "A server MUST NOT respond with any extension not requested by the client."
            _ => Err(ConnectError::Extension),
        }
    }

    /// The error for a refusal. A server's page often repeats the URL, and with it a token in the query. Errors do
    /// not show such a page.
    fn refused_with(&self, mut response: Response) -> ConnectError {
        let repeats = |text: &[u8]| {
            let query = self.query.as_bytes();
            !query.is_empty() && text.windows(query.len()).any(|part| part == query)
        };
        response.repeats_query =
            repeats(&response.body) || response.headers.get("Location").is_some_and(repeats);
        let why = if self.allows_redirects { Unfollowed::GivenStream } else { Unfollowed::Off };
        match Redirected::of(response, why) {
            Ok(redirected) => ConnectError::Redirected(Box::new(redirected)),
            Err(response) => ConnectError::Refused(Box::new(response)),
        }
    }

    /// When the response must be complete. The first call starts the time. An adapter makes it before it resolves
    /// the host's name.
    ///
    /// Ask again before each read. Once the head of a refusal has come, its body has one second. Then
    /// [`on_time`](Self::on_time) gives the refusal with as much of the body as has come.
    pub fn deadline(&mut self, now: Duration) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        let timeout = self.config.get().handshake_timeout;
        let whole = timeout.map(|timeout| since.saturating_add(timeout));
        let body = self.refusal.as_mut().map(|refusal| refusal.deadline(now));
        whole.into_iter().chain(body).min()
    }

    /// Whether the [`deadline`](Self::deadline) is reached.
    ///
    /// # Errors
    ///
    /// [`ConnectError::TimedOut`] if it is, or the refusal with as much of its body as has come. If
    /// [`read`](Self::read) failed before, the same error.
    pub fn on_time(&mut self, now: Duration) -> Result<(), ConnectError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.deadline(now).is_none_or(|deadline| deadline > now) {
            return Ok(());
        }
        let error = match self.refusal {
            Some(_) => self.refused(),
            None => ConnectError::TimedOut,
        };
        self.failed = Some(error.clone());
        Err(error)
    }
}

/// Reads a complete head, which has this many lines. `None` if it is malformed.
pub(super) fn parse(head: &[u8], lines: usize) -> Option<Response> {
    with_places(lines, |places| {
        let mut parsed = httparse::Response::new(places);
        let complete = matches!(parsed.parse(head), Ok(httparse::Status::Complete(_)));
        let status = parsed.code.unwrap_or_default();
        // HTTP/1.0 has no upgrade and no interim responses (RFC 9110 §15.2).
        if !complete || status < 200 && parsed.version != Some(1) {
            return None;
        }
        let mut response = Response::of_any_status(status);
        response.headers = Headers::from_parsed(&[], parsed.headers);
        Some(response)
    })
}
