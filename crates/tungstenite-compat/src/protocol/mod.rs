//! The connection after the opening handshake.

mod config;
pub mod frame;
mod message;

use std::io::{self, ErrorKind, IoSlice, Read, Write};

use bowline::{
    CloseCode, Connection, End, Leave, LeaveStep, Progress, RecvBuf, Refusal, SendBuf, SendError,
};

pub use self::config::WebSocketConfig;
pub use self::frame::CloseFrame;
pub use self::message::Message;
use crate::error::{self, Error, ProtocolError, Result};

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It answered the handshake.
    Server,
    /// It began the handshake.
    Client,
}

/// How far the connection has come.
#[derive(Debug)]
enum Stage {
    Open,
    /// The peer's Close was given. What is left is to answer it, and to wait for the server to end the stream.
    Closing(Box<Leave>),
    /// Nothing more comes.
    Over,
}

/// A WebSocket without its stream, which each call is given.
#[derive(Debug)]
pub struct WebSocketContext {
    connection: Connection,
    input: RecvBuf,
    out: SendBuf,
    stage: Stage,
    /// The stream took bytes that it may hold back, or a reply waits. The next call flushes.
    is_unflushed: bool,
    config: WebSocketConfig,
}

impl WebSocketContext {
    /// A connection whose handshake is over.
    ///
    /// # Panics
    ///
    /// If `max_write_buffer_size` is not above `write_buffer_size`.
    pub fn new(role: Role, config: Option<WebSocketConfig>) -> Self {
        Self::from_partially_read(Vec::new(), role, config)
    }

    /// The same, where some bytes of the peer were read already.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    pub fn from_partially_read(part: Vec<u8>, role: Role, config: Option<WebSocketConfig>) -> Self {
        let config = config.unwrap_or_default();
        let settings = config.bowline();
        let connection = match role {
            Role::Client => Connection::client(settings, seed()),
            #[cfg(feature = "deflate")]
            Role::Server => match config.agreed {
                Some(agreed) => Connection::server_with(settings, agreed),
                None => Connection::server(settings),
            },
            #[cfg(not(feature = "deflate"))]
            Role::Server => Connection::server(settings),
        };
        Self::from_connection(connection, RecvBuf::with_unread(&part), config)
    }

    pub(crate) fn from_connection(
        connection: Connection,
        input: RecvBuf,
        config: WebSocketConfig,
    ) -> Self {
        config.assert_valid();
        let (out, stage) = (SendBuf::new(), Stage::Open);
        Self { connection, input, out, stage, is_unflushed: false, config }
    }

    fn is_server(&self) -> bool {
        self.connection.role() == bowline::Role::Server
    }

    /// Changes the settings. What the handshake agreed on stays.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    pub fn set_config(&mut self, set_func: impl FnOnce(&mut WebSocketConfig)) {
        set_func(&mut self.config);
        self.config.assert_valid();
        self.connection.set_config(self.config.bowline());
    }

    /// The settings.
    pub fn get_config(&self) -> &WebSocketConfig {
        &self.config
    }

    /// Whether messages may still come.
    pub fn can_read(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    /// Whether messages may still be sent.
    pub fn can_write(&self) -> bool {
        self.can_read() && !self.connection.close_sent()
    }

    /// Reads the next message. Replies that are due, and what was queued with [`write`](Self::write), are written before
    /// it waits for the stream.
    ///
    /// # Errors
    ///
    /// [`Error::ConnectionClosed`] once both sides have sent Close, and [`Error::AlreadyClosed`] after that. If the peer
    /// broke a rule, it was sent a Close, as far as the stream took it.
    #[inline]
    pub fn read<Stream: Read + Write>(&mut self, stream: &mut Stream) -> Result<Message> {
        loop {
            if !matches!(self.stage, Stage::Open) {
                return Err(self.leave(stream));
            }
            match self.connection.advance(&mut self.input, &mut self.out) {
                Ok(Progress::Event) => {
                    if let Some(message) = self.input.take_event() {
                        let message = Message::from(message);
                        // A reply is written with the next call.
                        self.is_unflushed |= message.is_ping();
                        return Ok(message);
                    }
                }
                Ok(Progress::NeedInput) => self.wait(stream)?,
                Ok(Progress::Ended) => return self.ended(),
                Err(broken) => {
                    self.stage = Stage::Over;
                    // It is a courtesy to the peer. Its failure changes nothing.
                    let _ = self.write_out(stream, true);
                    return Err(error::of_rule(&broken, self.config.limits()));
                }
            }
        }
    }

    /// Writes what is due, and reads.
    fn wait<Stream: Read + Write>(&mut self, stream: &mut Stream) -> Result<()> {
        if self.connection.answer(&mut self.out) || self.is_unflushed {
            match self.write_out(stream, true) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.into()),
                _ => {}
            }
        }
        match stream.read(self.input.space()) {
            Ok(0) => self.input.eof(),
            Ok(n) => self.input.filled(n),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                self.input.release();
                self.out.release();
                if error.kind() == ErrorKind::ConnectionReset && self.connection.close_sent() {
                    self.stage = Stage::Over;
                    return Err(Error::ConnectionClosed);
                }
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// What the program is told of the end.
    fn ended(&mut self) -> Result<Message> {
        match self.connection.end() {
            Some(End::Closed { code, reason, .. }) => {
                let close = code.map(|code| CloseFrame {
                    code: code.get().into(),
                    reason: reason.as_str().into(),
                });
                self.stage = Stage::Closing(Box::new(self.connection.leave()));
                Ok(Message::Close(close))
            }
            Some(end) => {
                let error = error::of_end(end, self.config.limits());
                self.stage = Stage::Over;
                Err(error)
            }
            None => Err(Error::AlreadyClosed),
        }
    }

    /// Goes on after the peer's Close, and says how far that came.
    fn leave<Stream: Read + Write>(&mut self, stream: &mut Stream) -> Error {
        if matches!(self.stage, Stage::Over) {
            return Error::AlreadyClosed;
        }
        let error = match self.write_out(stream, true) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return error.into(),
            written => written.err(),
        };
        let Stage::Closing(leave) = &mut self.stage else {
            return Error::AlreadyClosed;
        };
        loop {
            match leave.step() {
                LeaveStep::Drain => match stream.read(self.input.space()) {
                    Ok(n) => leave.discard(n),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        self.input.release();
                        return error.into();
                    }
                    Err(_) => leave.done(),
                },
                LeaveStep::Over => break,
                // What waits was written. The stream is the program's, and it shuts it.
                _ => leave.done(),
            }
        }
        self.input.release();
        self.stage = Stage::Over;
        // The peer may be gone before our answer to its Close.
        error.filter(|_| self.is_server()).map_or(Error::ConnectionClosed, Error::Io)
    }

    /// Queues a message. It is written if `write_buffer_size` is reached, if a reply is due, or with the next
    /// [`flush`](Self::flush) or [`read`](Self::read) that waits.
    ///
    /// # Errors
    ///
    /// [`Error::WriteBufferFull`] gives the message back. If it is [`Error::Io`], the message stays queued.
    #[inline]
    pub fn write<Stream: Read + Write>(
        &mut self,
        stream: &mut Stream,
        message: Message,
    ) -> Result<()> {
        if !matches!(self.stage, Stage::Open) || self.connection.close_sent() {
            return Err(self.refused());
        }
        // The header has at most 14 bytes.
        let size = message.len().saturating_add(14);
        if size.saturating_add(self.out.len()) > self.config.max_write_buffer_size {
            return Err(Error::WriteBufferFull(message.into()));
        }
        let queued = match message {
            Message::Text(text) => self.send(bowline::Message::Text(text.0)),
            Message::Binary(data) => self.send(bowline::Message::Binary(data)),
            Message::Ping(data) => self.send(bowline::Message::Ping(data)),
            Message::Pong(data) => self.send(bowline::Message::Pong(data)),
            Message::Close(close) => return self.close(stream, close),
            Message::Frame(frame) => {
                let (opcode, fin) = (frame.header().opcode.into(), frame.header().is_final);
                self.connection.send_frame(opcode, fin, frame.payload(), &mut self.out)
            }
        };
        queued.map_err(|error| of_send(&error))?;
        if self.is_unflushed || self.out.len() > self.config.write_buffer_size {
            self.write_out(stream, self.is_unflushed)?;
        }
        Ok(())
    }

    fn send(&mut self, message: bowline::Message) -> Result<(), SendError> {
        self.connection.send_owned(message, &mut self.out)
    }

    #[cold]
    fn refused(&self) -> Error {
        match self.stage {
            Stage::Over => Error::AlreadyClosed,
            _ => ProtocolError::SendAfterClosing.into(),
        }
    }

    /// Writes all that is queued, and flushes the stream.
    ///
    /// # Errors
    ///
    /// Those of the stream. On a server, [`Error::ConnectionClosed`] if that was the answer to the peer's Close.
    pub fn flush<Stream: Read + Write>(&mut self, stream: &mut Stream) -> Result<()> {
        self.write_out(stream, true)?;
        match self.stage {
            Stage::Closing(_) | Stage::Over if self.is_server() => {
                self.stage = Stage::Over;
                Err(Error::ConnectionClosed)
            }
            _ => Ok(()),
        }
    }

    /// Sends Close, if none was sent. Go on with [`read`](Self::read) until [`Error::ConnectionClosed`].
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush). [`ProtocolError::InvalidCloseSequence`] for a code that may not be sent (RFC 6455
    /// §7.4), or a reason of more than 123 bytes.
    pub fn close<Stream: Read + Write>(
        &mut self,
        stream: &mut Stream,
        code: Option<CloseFrame>,
    ) -> Result<()> {
        if self.can_write() {
            let (code, reason) = match &code {
                Some(close) => (CloseCode::from(u16::from(close.code)), close.reason.as_str()),
                None => (CloseCode::NO_STATUS, ""),
            };
            let closed = self.connection.start_close(code, reason, &mut self.out);
            closed.map_err(|error| of_send(&error))?;
        }
        self.flush(stream)
    }

    fn write_out<Stream: Write>(&mut self, stream: &mut Stream, flush: bool) -> io::Result<()> {
        while self.connection.answer(&mut self.out) {
            match write_some(stream, &self.out) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => self.out.sent(n),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if flush {
            self.is_unflushed = true;
            stream.flush()?;
            self.is_unflushed = false;
        }
        Ok(())
    }
}

fn write_some(stream: &mut impl Write, out: &SendBuf) -> io::Result<usize> {
    let mut pending = out.pending_slices();
    let first = pending.next().unwrap_or_default();
    let Some(second) = pending.next() else {
        return stream.write(first);
    };
    let mut slices = [IoSlice::new(&[]); 8];
    let mut count = 0;
    for (slice, bytes) in slices.iter_mut().zip([first, second].into_iter().chain(pending)) {
        *slice = IoSlice::new(bytes);
        count += 1;
    }
    stream.write_vectored(&slices[..count])
}

fn of_send(error: &SendError) -> Error {
    match error.refusal() {
        Refusal::Closed => ProtocolError::SendAfterClosing.into(),
        Refusal::ControlTooLong => ProtocolError::ControlFrameTooBig.into(),
        Refusal::CloseCode | Refusal::CloseReasonTooLong => {
            ProtocolError::InvalidCloseSequence.into()
        }
        _ => Error::Io(io::Error::new(ErrorKind::InvalidInput, error.to_string())),
    }
}

/// The seed of a client's masking keys.
pub(crate) fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    // Without entropy there is no WebSocket (RFC 6455 §10.3), and no error that tungstenite's functions could give.
    getrandom::fill(&mut seed).expect("the operating system gives entropy");
    seed
}

/// A WebSocket over a stream that blocks or does not.
#[derive(Debug)]
pub struct WebSocket<Stream> {
    stream: Stream,
    context: WebSocketContext,
}

impl<Stream> WebSocket<Stream> {
    /// A connection on a stream whose handshake is over.
    ///
    /// # Panics
    ///
    /// As [`WebSocketContext::new`].
    pub fn from_raw_socket(stream: Stream, role: Role, config: Option<WebSocketConfig>) -> Self {
        Self::from_parts(stream, WebSocketContext::new(role, config))
    }

    /// The same, where some bytes of the peer were read already.
    ///
    /// # Panics
    ///
    /// As [`WebSocketContext::new`].
    pub fn from_partially_read(
        stream: Stream,
        part: Vec<u8>,
        role: Role,
        config: Option<WebSocketConfig>,
    ) -> Self {
        Self::from_parts(stream, WebSocketContext::from_partially_read(part, role, config))
    }

    pub(crate) fn from_parts(stream: Stream, context: WebSocketContext) -> Self {
        Self { stream, context }
    }

    /// The stream. What is queued is lost.
    pub fn into_inner(self) -> Stream {
        self.stream
    }

    /// The stream.
    pub fn get_ref(&self) -> &Stream {
        &self.stream
    }

    /// The stream. Reading from it, or writing to it, tears the connection.
    pub fn get_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Changes the settings: see [`WebSocketContext::set_config`].
    pub fn set_config(&mut self, set_func: impl FnOnce(&mut WebSocketConfig)) {
        self.context.set_config(set_func);
    }

    /// The settings.
    pub fn get_config(&self) -> &WebSocketConfig {
        self.context.get_config()
    }

    /// Whether messages may still come.
    pub fn can_read(&self) -> bool {
        self.context.can_read()
    }

    /// Whether messages may still be sent.
    pub fn can_write(&self) -> bool {
        self.context.can_write()
    }
}

impl<Stream: Read + Write> WebSocket<Stream> {
    /// Reads the next message: see [`WebSocketContext::read`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn read(&mut self) -> Result<Message> {
        self.context.read(&mut self.stream)
    }

    /// Queues a message and flushes.
    ///
    /// # Errors
    ///
    /// As [`WebSocketContext::write`].
    pub fn send(&mut self, message: Message) -> Result<()> {
        self.write(message)?;
        self.flush()
    }

    /// Queues a message: see [`WebSocketContext::write`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn write(&mut self, message: Message) -> Result<()> {
        self.context.write(&mut self.stream, message)
    }

    /// Writes all that is queued: see [`WebSocketContext::flush`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn flush(&mut self) -> Result<()> {
        self.context.flush(&mut self.stream)
    }

    /// Sends Close: see [`WebSocketContext::close`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn close(&mut self, code: Option<CloseFrame>) -> Result<()> {
        self.context.close(&mut self.stream, code)
    }

    /// The former name of [`read`](Self::read).
    ///
    /// # Errors
    ///
    /// As there.
    #[deprecated(note = "use `read`")]
    pub fn read_message(&mut self) -> Result<Message> {
        self.read()
    }

    /// The former name of [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// As there.
    #[deprecated(note = "use `send`")]
    pub fn write_message(&mut self, message: Message) -> Result<()> {
        self.send(message)
    }

    /// The former name of [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// As there.
    #[deprecated(note = "use `flush`")]
    pub fn write_pending(&mut self) -> Result<()> {
        self.flush()
    }
}
