//! Both halves together: the rules that connect the two directions.

use core::time::Duration;

use crate::memory::recv_buf::RecvBuf;
use crate::memory::send_buf::SendBuf;
use crate::protocol::close::CloseCode;
use crate::protocol::config::Config;
use crate::protocol::deflate::Agreed;
use crate::protocol::error::{End, ProtocolError, SendError, Timeout};
use crate::protocol::leave::Leave;
use crate::protocol::message::{Message, MessageRef};
use crate::protocol::prepared::Prepared;
use crate::protocol::recv::{Progress, Receiver, Role};
use crate::protocol::replies::Replies;
use crate::protocol::send::{Sender, Vectored};
use crate::protocol::stats::Stats;

/// One end of a WebSocket connection after the opening handshake, without its socket.
///
/// There are three values: bytes in ([`RecvBuf`]), rules (`Connection`), bytes out ([`SendBuf`]).
/// An event borrows only from the input, so it can be sent back while it is held:
///
/// ```
/// use bowline::{Config, Connection, Progress, RecvBuf, SendBuf};
///
/// let mut connection = Connection::server(Config::default());
/// let (mut input, mut out) = (RecvBuf::new(), SendBuf::new());
///
/// // A client's masked text frame "Hello" (RFC 6455 §5.7) comes from the socket.
/// let bytes = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
/// input.space()[..bytes.len()].copy_from_slice(bytes);
/// input.filled(bytes.len());
///
/// assert_eq!(connection.advance(&mut input, &mut out)?, Progress::Event);
/// connection.send(input.event().unwrap(), &mut out)?;
/// assert_eq!(out.pending(), b"\x81\x05Hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The methods are of three kinds. Driving it: [`advance`](Self::advance) after every read,
/// [`answer`](Self::answer) before every write, [`deadline`](Self::deadline) and
/// [`on_time`](Self::on_time) around every wait, [`leave`](Self::leave) at the end. Using it:
/// [`send`](Self::send) and its variants, [`start_close`](Self::start_close). Looking at it:
/// [`end`](Self::end), [`close_sent`](Self::close_sent).
#[derive(Debug)]
pub struct Connection {
    receiver: Receiver,
    sender: Sender,
    replies: Replies,
}

impl Connection {
    /// The client's end, without extensions: those come from an opening handshake
    /// ([`ClientHandshake::read`](crate::handshake::ClientHandshake::read)). `mask_seed` seeds the generator of masking keys and must come from the
    /// operating system's entropy (RFC 6455 §10.3).
    ///
    /// ```
    /// use bowline::{Config, Connection, SendBuf};
    ///
    /// let seed = [7; 32]; // From the operating system's entropy, in a real program.
    /// let mut client = Connection::client(Config::default(), seed);
    /// let mut out = SendBuf::new();
    /// client.send("Hello", &mut out)?;
    /// // FIN and text, MASK and the length, the key, five bytes.
    /// assert_eq!(out.pending()[..2], [0x81, 0x80 | 5]);
    /// assert_eq!(out.len(), 2 + 4 + 5);
    /// # Ok::<(), bowline::SendError>(())
    /// ```
    pub fn client(config: Config, mask_seed: [u8; 32]) -> Self {
        Self::agreed_client(config, mask_seed, None)
    }

    /// The server's end, without extensions: those come from an opening handshake
    /// ([`Upgrade::accept`](crate::handshake::Upgrade::accept)).
    ///
    /// ```
    /// use bowline::{Config, Connection, SendBuf};
    ///
    /// let mut server = Connection::server(Config::default().max_message_size(64 << 10));
    /// let mut out = SendBuf::new();
    /// server.send("Hello", &mut out)?;
    /// assert_eq!(out.pending(), b"\x81\x05Hello");
    /// # Ok::<(), bowline::SendError>(())
    /// ```
    pub fn server(config: Config) -> Self {
        Self::agreed_server(config, None)
    }

    /// The server's end after an opening handshake that another value of this library answered, with what that agreed on
    /// about compression. It is for servers that answer the request in one place and open the connection in another.
    ///
    /// ```
    /// use bowline::handshake::{Accept, Request};
    /// use bowline::{Config, Connection, Deflate};
    /// # let request = Request::from_parts("GET", "/chat", [
    /// #     ("Host", "example.com"), ("Upgrade", "websocket"), ("Connection", "Upgrade"),
    /// #     ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13"),
    /// #     ("Sec-WebSocket-Extensions", "permessage-deflate"),
    /// # ])?;
    /// let config = Config::default().deflate(Deflate::default());
    /// let (connection, response) = request.upgrade(&config)?.accept(Accept::new())?;
    /// let agreed = connection.agreed().expect("the client offered it");
    /// // The response goes out. Later, where the socket is:
    /// let connection = Connection::server_with(config, agreed);
    /// # assert_eq!(connection.agreed(), Some(agreed));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "deflate")]
    pub fn server_with(config: Config, agreed: Agreed) -> Self {
        Self::agreed_server(config, Some(agreed))
    }

    /// What the opening handshake agreed on about compression (RFC 7692 §7). `None`: messages are not compressed.
    #[cfg(feature = "deflate")]
    pub fn agreed(&self) -> Option<Agreed> {
        let (side, peer) = (self.sender.side()?, self.receiver.peer()?);
        Some(Agreed::of(self.receiver.role(), side, peer))
    }

    pub(crate) fn agreed_client(
        config: Config,
        mask_seed: [u8; 32],
        agreed: Option<Agreed>,
    ) -> Self {
        let (side, peer) = agreed.map(|agreed| agreed.sides(Role::Client)).unzip();
        let mut receiver = Receiver::new(Role::Client, config.clone(), peer);
        receiver.seed_keepalive(&mask_seed);
        Self {
            receiver,
            sender: Sender::client(config, mask_seed, side),
            replies: Replies::default(),
        }
    }

    pub(crate) fn agreed_server(config: Config, agreed: Option<Agreed>) -> Self {
        let (side, peer) = agreed.map(|agreed| agreed.sides(Role::Server)).unzip();
        Self {
            receiver: Receiver::new(Role::Server, config.clone(), peer),
            sender: Sender::server(config, side),
            replies: Replies::default(),
        }
    }

    /// Which end of the connection this is.
    pub fn role(&self) -> Role {
        self.receiver.role()
    }

    /// The configuration of the connection.
    pub fn config(&self) -> &Config {
        self.receiver.config()
    }

    /// Replaces the settings of a running connection: limits, timeouts, how a Close is answered, which frames are
    /// reported. What is fixed at its beginning stays: compression, the budget, the rate limit, whether it counts, and
    /// the interval of keepalive. A message that is under way is held to the new limits from its next frame on.
    pub fn set_config(&mut self, config: Config) {
        self.receiver.set_config(config.clone());
        self.sender.set_config(config);
    }

    /// Decodes until one event is ready, more bytes are needed, or the connection is over. Replies
    /// (a pong, the answer to Close, the Close for a broken rule) are queued in `out`.
    ///
    /// If parts of a message were lent before, the rest of that message is skipped.
    ///
    /// # Errors
    ///
    /// The rule that the peer broke. Every later call gives the same error. The Close frame for the peer is
    /// then in `out`. See [`leave`](Self::leave) for what is left to do.
    #[inline]
    pub fn advance(
        &mut self,
        input: &mut RecvBuf,
        out: &mut SendBuf,
    ) -> Result<Progress, ProtocolError> {
        // Nothing is owed then that was not owed before.
        if self.receiver.short_message(input).is_some() {
            return Ok(Progress::Event);
        }
        let close_sent = self.sender.close_sent();
        let progress = self.receiver.step(input, &mut self.replies, close_sent, false);
        self.after(out);
        progress
    }

    /// Like [`advance`](Self::advance), but lends messages in parts, as they come: see
    /// [`RecvBuf::part`]. Memory stays at one buffer, whatever the size of the message.
    ///
    /// # Errors
    ///
    /// As `advance`. Parts that were lent before the error belong to no whole message.
    #[inline]
    pub fn advance_parts(
        &mut self,
        input: &mut RecvBuf,
        out: &mut SendBuf,
    ) -> Result<Progress, ProtocolError> {
        // Nothing is owed then that was not owed before.
        if self.receiver.short_message(input).is_some() {
            return Ok(Progress::Event);
        }
        let close_sent = self.sender.close_sent();
        let progress = self.receiver.step(input, &mut self.replies, close_sent, true);
        self.after(out);
        progress
    }

    #[inline]
    fn after(&mut self, out: &mut SendBuf) {
        if !self.replies.is_empty() {
            self.sender.answer(&mut self.replies, out);
        }
        if self.receiver.end().is_some() {
            self.sender.shut();
        }
    }

    /// Queues the pongs that had to wait until earlier ones had left `out`. Gives whether there is anything
    /// to write. Call it before each write, and again when all is written.
    pub fn answer(&mut self, out: &mut SendBuf) -> bool {
        self.sender.answer(&mut self.replies, out);
        !out.is_empty()
    }

    /// Queues a message as one frame, or a ping or pong. The payload is copied.
    ///
    /// [`advance`](Self::advance) and [`answer`](Self::answer) queue pongs. So no pong leaves while a program
    /// only sends: it does not see the peer's pings.
    ///
    /// # Errors
    ///
    /// The [`Refusal`](crate::Refusal); then nothing was queued.
    pub fn send<'a>(
        &mut self,
        message: impl Into<MessageRef<'a>>,
        out: &mut SendBuf,
    ) -> Result<(), SendError> {
        let message = message.into();
        if self.sender.send_short(message, out) {
            return Ok(());
        }
        self.send_long(message, out)
    }

    /// A function of its own: an error that passes through `send` costs the short way instructions.
    #[inline(never)]
    fn send_long(&mut self, message: MessageRef<'_>, out: &mut SendBuf) -> Result<(), SendError> {
        self.sender.send_long(message, out).map_err(|error| error.after(self.receiver.end()))
    }

    /// Like [`send`](Self::send) without the copy of a large payload: see [`Sender::send_owned`].
    ///
    /// # Errors
    ///
    /// The [`Refusal`](crate::Refusal), with the message.
    pub fn send_owned(&mut self, message: Message, out: &mut SendBuf) -> Result<(), SendError> {
        self.sender.send_owned(message, out).map_err(|error| error.after(self.receiver.end()))
    }

    /// Like [`send`](Self::send) without any copy, for one vectored write: see
    /// [`Sender::send_borrowed`].
    ///
    /// # Errors
    ///
    /// The [`Refusal`](crate::Refusal); then nothing was queued.
    pub fn send_borrowed<'a>(
        &mut self,
        message: impl Into<MessageRef<'a>>,
        out: &'a mut SendBuf,
    ) -> Result<Vectored<'a>, SendError> {
        self.sender.send_borrowed(message, out).map_err(|error| error.after(self.receiver.end()))
    }

    /// Like [`send`](Self::send) for a message that goes to many connections: see
    /// [`Sender::send_prepared`].
    ///
    /// # Errors
    ///
    /// The [`Refusal`](crate::Refusal); then nothing was queued.
    pub fn send_prepared(
        &mut self,
        message: &Prepared,
        out: &mut SendBuf,
    ) -> Result<(), SendError> {
        self.sender.send_prepared(message, out).map_err(|error| error.after(self.receiver.end()))
    }

    /// Queues a part of a message whose length need not be known: see [`Sender::send_part`].
    ///
    /// # Errors
    ///
    /// The [`Refusal`](crate::Refusal); then nothing was queued, and the message stays open.
    pub fn send_part<'a>(
        &mut self,
        part: impl Into<MessageRef<'a>>,
        last: bool,
        out: &mut SendBuf,
    ) -> Result<(), SendError> {
        self.sender.send_part(part, last, out).map_err(|error| error.after(self.receiver.end()))
    }

    /// Queues one frame as the program made it: see [`Sender::send_frame`].
    ///
    /// # Errors
    ///
    /// The [`Refusal`](crate::Refusal); then nothing was queued.
    pub fn send_frame(
        &mut self,
        opcode: u8,
        fin: bool,
        payload: &[u8],
        out: &mut SendBuf,
    ) -> Result<(), SendError> {
        let sent = self.sender.send_frame(opcode, fin, payload, out);
        sent.map_err(|error| error.after(self.receiver.end()))
    }

    /// Whether messages that are begun from now on are compressed: see
    /// [`Sender::set_compression`].
    pub fn set_compression(&mut self, on: bool) {
        self.sender.set_compression(on);
    }

    /// Queues a ping. Its pong is received only with
    /// [`Config::report_control_frames`](crate::Config::report_control_frames).
    ///
    /// # Errors
    ///
    /// The [`Refusal`](crate::Refusal), for example for a payload of more than 125 bytes.
    pub fn ping(&mut self, payload: &[u8], out: &mut SendBuf) -> Result<(), SendError> {
        self.sender
            .send(MessageRef::Ping(payload), out)
            .map_err(|error| error.after(self.receiver.end()))
    }

    /// Queues a Close frame; nothing can be sent after it (RFC 6455 §5.5.1). Go on with
    /// [`advance`](Self::advance): messages that the peer sent before its own Close still come.
    /// [`CloseCode::NO_STATUS`] with an empty reason sends a Close frame without a body.
    ///
    /// # Errors
    ///
    /// [`Refusal::CloseCode`](crate::Refusal::CloseCode),
    /// [`Refusal::CloseReasonTooLong`](crate::Refusal::CloseReasonTooLong), or
    /// [`Refusal::Closed`](crate::Refusal::Closed) if it was sent already.
    pub fn start_close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: &str,
        out: &mut SendBuf,
    ) -> Result<(), SendError> {
        self.sender.start_close(code, reason, out).map_err(|error| error.after(self.receiver.end()))
    }

    /// Whether Close was queued.
    pub fn close_sent(&self) -> bool {
        self.sender.close_sent()
    }

    /// How the connection ended, once it has.
    pub fn end(&self) -> Option<&End> {
        self.receiver.end()
    }

    /// When [`on_time`](Self::on_time) wants to be called, on the clock that `now` is read from. Any
    /// clock that only goes forward will do. Ask each time before waiting: that is when timers
    /// start, so a connection that never has to wait never reads a clock.
    pub fn deadline(&mut self, now: Duration, input: &RecvBuf, out: &SendBuf) -> Option<Duration> {
        if self.end().is_some() {
            return None;
        }
        let receiving = self.receiver.deadline(now, input, self.sender.state(out));
        let sending = self.sender.deadline(now, out);
        receiving.into_iter().chain(sending).min()
    }

    /// Ends the connection, or pings or closes it, if its [`deadline`](Self::deadline) is reached. Otherwise it
    /// does nothing. The next `advance` reports an end. Write what is queued.
    pub fn on_time(&mut self, now: Duration, input: &RecvBuf, out: &mut SendBuf) {
        if self.end().is_some() {
            return;
        }
        let state = self.sender.state(out);
        if self.sender.is_stalled(now, out) {
            self.receiver.give_up(End::TimedOut(Timeout::Send));
        }
        self.receiver.on_time(now, input, &mut self.replies, state);
        self.sender.answer(&mut self.replies, out);
        if self.receiver.end().is_some() {
            self.sender.shut();
        }
    }

    /// Makes the payloads of keepalive's pings ([`Config::ping_interval`](crate::Config::ping_interval))
    /// unpredictable, so that a peer cannot answer before it is asked. `seed` must come from the operating
    /// system's entropy. The adapters do this. A client is seeded with its `mask_seed`. A server that is
    /// not seeded has the same payloads on every connection.
    pub fn seed_keepalive(&mut self, seed: [u8; 32]) {
        self.receiver.seed_keepalive(&seed);
    }

    /// How long the peer took for its last pong to a ping of keepalive: see [`Receiver::round_trip`].
    pub fn round_trip(&self) -> Option<Duration> {
        self.receiver.round_trip()
    }

    /// The numbers of the connection: messages, bytes, times. `now` is on the clock of [`deadline`](Self::deadline).
    /// Most need [`Config::stats`](crate::Config::stats): see [`Stats`].
    pub fn stats(&self, now: Duration) -> Stats {
        self.receiver.stats(now) + self.sender.stats(now)
    }

    /// Whether the peer has sent as much as [`Config::rate_limit`](crate::Config::rate_limit) allows by now: see
    /// [`Receiver::is_paused`]. Without a limit it is always false.
    pub fn is_paused(&self, input: &RecvBuf, out: &SendBuf) -> bool {
        self.receiver.is_paused(input, self.sender.state(out))
    }

    /// Tells the connection that the transport broke, for example with a reset: the peer is gone.
    pub fn transport_failed(&mut self, input: &RecvBuf) {
        self.receiver.transport_failed(input);
        self.sender.shut();
    }

    /// What is still to be done with the socket, once the connection has ended.
    pub fn leave(&self) -> Leave {
        self.receiver.leave()
    }

    /// The former name of [`leave`](Self::leave).
    #[deprecated(note = "use `leave`, which says each step")]
    #[doc(hidden)]
    pub fn linger(&self) -> Leave {
        self.leave()
    }

    /// Takes the connection apart, for two threads or tasks. The halves share nothing. The receiving half
    /// hands its [`Replies`] to the sending half.
    pub fn into_halves(self) -> (Receiver, Sender, Replies) {
        (self.receiver, self.sender, self.replies)
    }
}
