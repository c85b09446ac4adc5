//! One end of a WebSocket from its first byte to its last, for event loops: opening handshake, connection, leaving.
//!
//! This file has the stages and their events; `transport.rs` has the bytes and the time.

mod event;
mod transport;

use alloc::boxed::Box;

pub use self::event::DriverEvent;
use super::{
    Accept, ClientHandshake, ClientRequest, InvalidRequest, Request, RequestError, Response,
    ServerHandshake,
};
use crate::memory::recv_buf::RecvBuf;
use crate::memory::send_buf::SendBuf;
use crate::protocol::config::Config;
use crate::protocol::connection::Connection;
use crate::protocol::error::End;
use crate::protocol::leave::{Leave, LeaveStep};
use crate::protocol::recv::Progress;

/// One end of a WebSocket from its first byte to its last: the opening handshake (RFC 6455 §4), the connection,
/// and the way in which the socket is left (§7.1.1). It does no I/O, so an event loop can hold many.
///
/// After each wait, do this until nothing moves: call [`poll`](Self::poll) until it gives `None`, write while
/// [`wants_write`](Self::wants_write), read while [`wants_read`](Self::wants_read). Then call
/// [`on_time`](Self::on_time), and `poll` again. Before each wait, ask for the [`deadline`](Self::deadline).
/// `now` is the time since any fixed point, on a clock that only goes forward.
///
/// It is for whole messages. A program that wants them in parts drives [`Connection`] itself.
///
/// This program has both ends, and carries the bytes in place of a socket:
///
/// ```
/// use bowline::Config;
/// use bowline::handshake::{Accept, ClientRequest, Driver, DriverEvent};
///
/// /// Carries what `from` sends. A socket is written with `pending` and read into `space`.
/// fn carry(from: &mut Driver, to: &mut Driver) {
///     while from.wants_write() && to.wants_read() {
///         let (bytes, space) = (from.pending(), to.space());
///         let n = bytes.len().min(space.len());
///         space[..n].copy_from_slice(&bytes[..n]);
///         to.filled(n);
///         from.sent(n);
///     }
/// }
///
/// let seed = [7; 32]; // From the operating system's entropy, in a real program.
/// let request = ClientRequest::new("ws://localhost/")?;
/// let mut client = Driver::client(&request, Config::default(), seed);
/// let mut server = Driver::server(Config::default());
/// let mut answer = None;
/// while !(client.is_done() && server.is_done()) {
///     carry(&mut client, &mut server);
///     while let Some(event) = server.poll() {
///         match event {
///             DriverEvent::Request(request) if request.path() == "/" => server.accept(Accept::new())?,
///             DriverEvent::Message { message, connection, out } => connection.send(message, out)?,
///             // `Shutdown` and `Done` are for the socket, which is not here.
///             _ => {}
///         }
///     }
///     carry(&mut server, &mut client);
///     while let Some(event) = client.poll() {
///         match event {
///             DriverEvent::Opened(_) => {
///                 let (connection, out) = client.connection().expect("it is open");
///                 connection.send("Hello", out)?;
///             }
///             DriverEvent::Message { message, connection, out } => {
///                 answer = Some(message.to_message());
///                 connection.start_close(1000, "", out)?;
///             }
///             _ => {}
///         }
///     }
///     if server.is_done() && client.wants_read() {
///         client.eof(); // The server's socket was dropped.
///     }
/// }
/// assert_eq!(answer, Some("Hello".into()));
/// assert!(client.end().is_some_and(|end| end.is_clean()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Driver {
    config: Config,
    input: RecvBuf,
    out: SendBuf,
    stage: Stage,
    /// Nothing more can be written.
    is_mute: bool,
}

/// Rare and short stages are boxed, because most drivers of a program are open and wait.
#[derive(Debug)]
enum Stage {
    Serving(Box<Serving>),
    Calling(Box<ClientHandshake>),
    Open(Connection),
    Leaving(Box<Leaving>),
}

#[derive(Debug)]
struct Serving {
    handshake: ServerHandshake,
    /// The request that waits for the program's answer.
    request: Option<Request>,
}

#[derive(Debug)]
struct Leaving {
    /// `None`: nothing is left to do with the socket.
    leave: Option<Leave>,
    end: Option<End>,
    /// What `poll` gives first.
    news: Option<Found>,
    is_done: bool,
}

impl Leaving {
    fn step(&self) -> LeaveStep {
        self.leave.as_ref().map_or(LeaveStep::Over, Leave::step)
    }
}

/// What [`Driver::poll`] gives, before anything is borrowed for it.
#[derive(Debug)]
enum Found {
    Event(DriverEvent<'static>),
    Request,
    Message,
    Ended,
}

impl Driver {
    /// A server's end, which waits for a request.
    ///
    /// ```
    /// use bowline::handshake::{Accept, Driver, DriverEvent};
    ///
    /// let mut server = Driver::server(bowline::Config::default());
    /// let request = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    ///     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    /// server.space()[..request.len()].copy_from_slice(request);
    /// server.filled(request.len());
    /// assert!(matches!(server.poll(), Some(DriverEvent::Request(request)) if request.path() == "/"));
    /// server.accept(Accept::new())?;
    /// assert!(server.pending().starts_with(b"HTTP/1.1 101 "));
    /// # Ok::<(), bowline::handshake::InvalidRequest>(())
    /// ```
    pub fn server(config: Config) -> Self {
        let handshake = ServerHandshake::new(config.clone());
        let stage = Stage::Serving(Box::new(Serving { handshake, request: None }));
        Self { config, input: RecvBuf::new(), out: SendBuf::new(), stage, is_mute: false }
    }

    /// A client's end, which queues its request. `seed` must come from the operating system's entropy: the key and
    /// the masking keys are made from it (RFC 6455 §4.1, §10.3).
    ///
    /// ```
    /// use bowline::handshake::{ClientRequest, Driver};
    ///
    /// let seed = [7; 32]; // From the operating system's entropy, in a real program.
    /// let request = ClientRequest::new("ws://localhost/chat")?;
    /// let client = Driver::client(&request, bowline::Config::default(), seed);
    /// assert!(client.pending().starts_with(b"GET /chat HTTP/1.1\r\n"));
    /// # Ok::<(), bowline::handshake::InvalidRequest>(())
    /// ```
    pub fn client(request: &ClientRequest, config: Config, seed: [u8; 32]) -> Self {
        let mut out = SendBuf::new();
        let handshake = ClientHandshake::new(request, config.clone(), seed, &mut out);
        let stage = Stage::Calling(Box::new(handshake));
        Self { config, input: RecvBuf::new(), out, stage, is_mute: false }
    }

    /// Gives what happened, one event at a time. `None`: nothing more until bytes or time move. Call it until it
    /// gives `None`, after [`filled`](Self::filled), [`eof`](Self::eof), [`sent`](Self::sent) and
    /// [`on_time`](Self::on_time).
    ///
    /// Pongs and the answer to Close (RFC 6455 §5.5) are queued on the way.
    ///
    /// While the send queue has [`Config::max_send_queue`](crate::Config::max_send_queue) bytes or more, no message
    /// is given and none is read. So the reply to each message has room, and a peer that sends without reading is
    /// held up. Only the send timeout and keepalive run meanwhile.
    pub fn poll(&mut self) -> Option<DriverEvent<'_>> {
        self.drop_unsendable();
        match self.find()? {
            Found::Event(event) => Some(event),
            Found::Request => match &self.stage {
                Stage::Serving(serving) => serving.request.as_ref().map(DriverEvent::Request),
                _ => None,
            },
            Found::Message => {
                let Stage::Open(connection) = &mut self.stage else { return None };
                let message = self.input.event()?;
                Some(DriverEvent::Message { message, connection, out: &mut self.out })
            }
            Found::Ended => self.end().map(DriverEvent::Ended),
        }
    }

    fn find(&mut self) -> Option<Found> {
        match &mut self.stage {
            Stage::Serving(serving) if serving.request.is_some() => None,
            Stage::Serving(serving) => match serving.handshake.read(&mut self.input) {
                Ok(request) => {
                    serving.request = request;
                    serving.request.as_ref().map(|_| Found::Request)
                }
                Err(error) => {
                    self.refuse_with(error);
                    self.step()
                }
            },
            Stage::Calling(handshake) => match handshake.read(&mut self.input) {
                Ok(opened) => opened.map(|(connection, response)| {
                    self.stage = Stage::Open(connection);
                    Found::Event(DriverEvent::Opened(response))
                }),
                // The server waits for no answer. RFC 6455 §4.1: "_Fail the WebSocket Connection_".
                Err(error) => {
                    self.leave(None, None, Found::Event(DriverEvent::ConnectFailed(error)));
                    self.step()
                }
            },
            Stage::Open(_) => self.advance(),
            Stage::Leaving(_) => self.step(),
        }
    }

    /// The next message of the connection, or its end.
    fn advance(&mut self) -> Option<Found> {
        if self.is_held() {
            return None;
        }
        let Stage::Open(connection) = &mut self.stage else { return None };
        // This also queues the pongs that had to wait until earlier ones left.
        let progress = connection.advance(&mut self.input, &mut self.out);
        match progress {
            Ok(Progress::Event) => Some(Found::Message),
            Ok(Progress::NeedInput) => None,
            // The peer's Close, an end without one, or a rule that the peer broke.
            Ok(Progress::Ended) | Err(_) => {
                let (leave, end) = (connection.leave(), connection.end().cloned());
                self.leave(Some(leave), end, Found::Ended);
                self.step()
            }
        }
    }

    /// The next step with the socket that is left.
    fn step(&mut self) -> Option<Found> {
        let Stage::Leaving(leaving) = &mut self.stage else { return None };
        if let Some(news) = leaving.news.take() {
            return Some(news);
        }
        while let Some(leave) = &mut leaving.leave {
            match leave.step() {
                LeaveStep::Flush if self.out.is_empty() => leave.done(),
                LeaveStep::Flush | LeaveStep::Drain => return None,
                LeaveStep::Shutdown => {
                    // The bytes that were not written in time are never written.
                    self.out = SendBuf::new();
                    leave.done();
                    return Some(Found::Event(DriverEvent::Shutdown));
                }
                LeaveStep::Over => leaving.leave = None,
            }
        }
        (self.input, self.out) = (RecvBuf::new(), SendBuf::new());
        let was_done = core::mem::replace(&mut leaving.is_done, true);
        (!was_done).then_some(Found::Event(DriverEvent::Done))
    }

    fn leave(&mut self, leave: Option<Leave>, end: Option<End>, news: impl Into<Option<Found>>) {
        self.input = RecvBuf::new();
        let leaving = Leaving { leave, end, news: news.into(), is_done: false };
        self.stage = Stage::Leaving(Box::new(leaving));
    }

    /// Whether a message would have no room for its reply. After our Close there is no reply.
    fn is_held(&self) -> bool {
        match &self.stage {
            Stage::Open(connection) => {
                let is_full = self.out.len() >= self.config.get().max_send_queue;
                is_full && connection.end().is_none() && !connection.close_sent()
            }
            _ => false,
        }
    }

    /// Accepts the request that [`poll`](Self::poll) gave, if it keeps to RFC 6455 §4.2.1 and the origin policy.
    /// Otherwise the client gets the refusal, and `poll` gives [`DriverEvent::Refused`]. Without such a request it
    /// does nothing.
    ///
    /// With [`Config::ping_interval`](crate::Config::ping_interval), call [`Connection::seed_keepalive`] on the
    /// [`connection`](Self::connection) after this.
    ///
    /// # Errors
    ///
    /// If `accept` names a subprotocol that the client did not offer. The client gets status 500 then.
    pub fn accept(&mut self, accept: Accept) -> Result<(), InvalidRequest> {
        let Some(request) = self.take_request() else { return Ok(()) };
        let accepted = match request.upgrade(&self.config) {
            Ok(upgrade) => upgrade.accept(accept),
            Err(error) => {
                self.refuse_with(error);
                return Ok(());
            }
        };
        match accepted {
            Ok((connection, response)) => {
                response.encode(&mut self.out);
                self.stage = Stage::Open(connection);
                Ok(())
            }
            Err(error) => {
                self.respond(&Response::new(500), None);
                Err(error)
            }
        }
    }

    /// Answers the request that [`poll`](Self::poll) gave with a response that opens no WebSocket, such as a page
    /// or status 404. Then it leaves the socket. Without such a request it does nothing.
    pub fn refuse(&mut self, response: &Response) {
        if self.take_request().is_some() {
            self.respond(response, None);
        }
    }

    fn take_request(&mut self) -> Option<Request> {
        match &mut self.stage {
            Stage::Serving(serving) => serving.request.take(),
            _ => None,
        }
    }

    fn refuse_with(&mut self, error: RequestError) {
        let news = Found::Event(DriverEvent::Refused(error));
        if error == RequestError::Gone {
            self.leave(None, None, news);
        } else {
            self.respond(&error.response(), news);
        }
    }

    fn respond(&mut self, response: &Response, news: impl Into<Option<Found>>) {
        if let Stage::Serving(serving) = &self.stage {
            serving.handshake.respond(response, &mut self.out);
            let leave = serving.handshake.leave();
            self.leave(Some(leave), None, news);
        }
    }

    /// The connection and its queue while it is open, to send, ping or close outside of
    /// [`poll`](Self::poll). Write afterwards.
    pub fn connection(&mut self) -> Option<(&mut Connection, &mut SendBuf)> {
        match &mut self.stage {
            Stage::Open(connection) => Some((connection, &mut self.out)),
            _ => None,
        }
    }

    /// How the connection ended, once [`poll`](Self::poll) has given [`DriverEvent::Ended`].
    pub fn end(&self) -> Option<&End> {
        match &self.stage {
            Stage::Leaving(leaving) => leaving.end.as_ref(),
            _ => None,
        }
    }

    /// Whether [`DriverEvent::Done`] was given.
    pub fn is_done(&self) -> bool {
        matches!(&self.stage, Stage::Leaving(leaving) if leaving.is_done)
    }
}
