//! TLS over a blocking stream, for both roles, in a way that lets one thread read while another writes.
//!
//! Who reads holds `incoming`, and who writes holds `outgoing`, so that records leave in the order in which
//! they were made. Either is held over a system call. Each takes `connection` only for as long as decrypting
//! or encrypting takes. They are taken in the order `incoming`, `outgoing`, `connection`.
//!
//! A read never waits for `outgoing`, since a write may wait for the peer, and the peer for that read. It
//! sends only in the handshake, and an alert after a record that cannot be read; it tries the lock then. What TLS has to say later, tickets and answers to
//! key updates, leaves with the next write: RFC 8446 §4.6.3 asks for the answer "prior to sending its next
//! Application Data record".

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::boxed::Box;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::vec;
use std::vec::Vec;

use ::rustls::Connection;

use super::stream::BlockingStream;
use super::writer::ATTEMPT;

/// As much as a record holds.
const INCOMING: usize = 16 << 10;

/// Plaintext that is encrypted at a time.
const CHUNK: usize = 32 << 10;

/// Memory for records that is kept between writes.
const KEEP: usize = 4 << 10;

/// How much of the bytes that are to come is remembered, to find a writer that goes on with others.
const GUARD: usize = 16;

/// How long a thread waits at a time while another does the handshake.
const TURN: Duration = Duration::from_millis(20);

/// TLS over a blocking stream: a client of [`rustls::ClientConnection`](::rustls::ClientConnection) or a
/// server of [`rustls::ServerConnection`](::rustls::ServerConnection).
///
/// ```no_run
/// use std::{net::TcpStream, sync::Arc};
/// use bowline::blocking::{TlsStream, accept};
/// use bowline::rustls::{ServerConfig, ServerConnection};
///
/// # fn serve(tls: Arc<ServerConfig>, socket: TcpStream) -> Result<(), Box<dyn std::error::Error>> {
/// let stream = TlsStream::new(ServerConnection::new(tls)?, socket);
/// let mut ws = accept(stream, bowline::Config::default())?;
/// # Ok(())
/// # }
/// ```
///
/// The first read or write does the handshake of TLS, and so it falls within
/// [`Config::handshake_timeout`](crate::Config::handshake_timeout). Nothing of what is written leaves before it is
/// done. A [second handle](BlockingStream::try_clone) shares only the state of TLS: a thread that waits in a
/// read does not keep another from writing, nor a thread that waits in a write another from reading.
///
/// An end without TLS's own (`close_notify`, RFC 8446 §6.1) is [`ErrorKind::UnexpectedEof`].
///
/// Of [`Read`] and [`Write`] this asks two things:
///
/// - Go on after [`ErrorKind::Interrupted`]. It comes after each record that holds nothing for the reader,
///   and after each step of the handshake, so that the caller can look at the time.
/// - After a write that took only a part, or an error, go on with the bytes that follow, or write no more.
///   They may be encrypted already. Other bytes are refused with [`ErrorKind::InvalidInput`].
pub struct TlsStream<S> {
    socket: S,
    shared: Arc<Shared>,
}

struct Shared {
    incoming: Mutex<Incoming>,
    outgoing: Mutex<Outgoing>,
    connection: Mutex<Connection>,
    /// The handshake is over, and what ended it has left or is in `connection`.
    is_ready: AtomicBool,
    /// Tells writers that it is.
    ready: Condvar,
    /// The write timeout that the user of the stream set.
    write_timeout: Mutex<Option<Duration>>,
}

/// Bytes of the socket that TLS has not taken yet.
struct Incoming {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

/// Records that the socket has not taken yet.
#[derive(Default)]
struct Outgoing {
    records: Vec<u8>,
    sent: usize,
    /// How much plaintext is in them that no write has told of.
    accepted: usize,
    /// How the next write has to begin.
    guard: ([u8; GUARD], usize),
}

/// A panic elsewhere broke nothing that a later call would not notice.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Copies the bytes from `skip` on, as many as there are and fit.
fn copy(slices: &[IoSlice<'_>], mut skip: usize) -> ([u8; GUARD], usize) {
    let (mut copied, mut len) = ([0; GUARD], 0);
    for slice in slices {
        let rest = slice.get(skip..).unwrap_or_default();
        skip = skip.saturating_sub(slice.len());
        let n = rest.len().min(GUARD - len);
        copied[len..len + n].copy_from_slice(&rest[..n]);
        len += n;
    }
    (copied, len)
}

impl Incoming {
    /// Gives TLS what has come; whether there was anything.
    fn give(&mut self, connection: &mut Connection) -> io::Result<bool> {
        if self.start == self.end {
            return Ok(false);
        }
        let mut unread = &self.buffer[self.start..self.end];
        match connection.read_tls(&mut unread)? {
            // What comes after the peer's end is nothing.
            0 => self.start = self.end,
            n => self.start += n,
        }
        process(connection)?;
        Ok(true)
    }

    /// Reads from the socket once; whether there was more.
    fn fill(&mut self, socket: &mut impl Read) -> io::Result<bool> {
        let n = socket.read(&mut self.buffer)?;
        (self.start, self.end) = (0, n);
        Ok(n > 0)
    }
}

impl Outgoing {
    /// Takes the records that wait in the connection.
    fn take(&mut self, connection: &mut Connection) -> io::Result<()> {
        while connection.wants_write() {
            connection.write_tls(&mut self.records)?;
        }
        Ok(())
    }

    /// Writes once; how many bytes of records left.
    fn send_some(&mut self, socket: &mut impl Write) -> io::Result<usize> {
        let n = socket.write(&self.records[self.sent..])?;
        if n == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        self.sent += n;
        if self.is_empty() {
            self.sent = 0;
            self.records.clear();
            if self.records.capacity() > KEEP {
                self.records = Vec::new();
            }
        }
        Ok(n)
    }

    fn is_empty(&self) -> bool {
        self.sent == self.records.len()
    }

    /// Sends plaintext that was accepted, and tells how much may count as sent.
    fn send_accepted(
        &mut self,
        slices: &[IoSlice<'_>],
        socket: &mut impl Write,
    ) -> io::Result<usize> {
        let sent = self.send_some(socket)?;
        // Only when all records have left, all plaintext has. Until then each byte that leaves counts as one,
        // so that the caller sees progress.
        let told =
            if self.is_empty() { self.accepted } else { sent.min(self.accepted.saturating_sub(1)) };
        self.accepted -= told;
        if told == 0 {
            return Err(ErrorKind::Interrupted.into());
        }
        self.remember(slices, told);
        Ok(told)
    }

    /// Remembers how the next write has to begin: as these bytes do from `skip` on.
    fn remember(&mut self, slices: &[IoSlice<'_>], skip: usize) {
        let (bytes, len) = copy(slices, skip);
        self.guard = (bytes, len.min(self.accepted));
    }

    /// Whether a write goes on with the bytes that were accepted before.
    fn goes_on(&self, slices: &[IoSlice<'_>], len: usize) -> bool {
        let (guard, known) = self.guard;
        len >= self.accepted && copy(slices, 0).0[..known] == guard[..known]
    }
}

impl Shared {
    /// Decrypts until there is plaintext; `None` if that needs more bytes of the socket.
    fn decrypt(&self, incoming: &mut Incoming, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let mut connection = lock(&self.connection);
        loop {
            match connection.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result.map(Some),
            }
            if !incoming.give(&mut connection)? {
                return Ok(None);
            }
        }
    }

    /// Goes on with the handshake as far as what has come allows; whether it is over.
    fn shake_hands(&self, incoming: &mut Incoming) -> io::Result<bool> {
        let mut connection = lock(&self.connection);
        while connection.is_handshaking() {
            if !incoming.give(&mut connection)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The handshake is over.
    fn set_ready(&self) {
        self.is_ready.store(true, Ordering::Release);
        self.ready.notify_all();
    }

    /// Waits for a while for the thread that does the handshake; whether it is over.
    fn await_handshake(&self) -> bool {
        let connection = lock(&self.connection);
        let waited = self
            .ready
            .wait_timeout_while(connection, TURN, |connection| connection.is_handshaking());
        let (connection, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !connection.is_handshaking()
    }

    /// The socket has ended: whether TLS has, too.
    fn eof(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut connection = lock(&self.connection);
        connection.read_tls(&mut io::empty())?;
        process(&mut connection)?;
        if connection.is_handshaking() {
            let why = "the peer ended the connection during the handshake of TLS";
            return Err(io::Error::new(ErrorKind::UnexpectedEof, why));
        }
        connection.reader().read(buffer)
    }
}

fn process(connection: &mut Connection) -> io::Result<()> {
    match connection.process_new_packets() {
        Ok(_) => Ok(()),
        Err(error) => Err(io::Error::new(ErrorKind::InvalidData, error)),
    }
}

impl<S: BlockingStream> TlsStream<S> {
    /// Does nothing yet; see the type.
    pub fn new(connection: impl Into<Connection>, socket: S) -> Self {
        let mut connection = connection.into();
        connection.set_buffer_limit(Some(CHUNK));
        let shared = Shared {
            is_ready: AtomicBool::new(!connection.is_handshaking()),
            ready: Condvar::new(),
            write_timeout: Mutex::default(),
            incoming: Mutex::new(Incoming {
                buffer: vec![0; INCOMING].into_boxed_slice(),
                start: 0,
                end: 0,
            }),
            outgoing: Mutex::default(),
            connection: Mutex::new(connection),
        };
        Self { socket, shared: Arc::new(shared) }
    }

    /// The stream below. Reading from it or writing to it breaks the connection.
    pub fn get_ref(&self) -> &S {
        &self.socket
    }

    /// The state of TLS: the peer's certificates, the version, the protocol of ALPN. Reads and writes wait
    /// while it is held.
    pub fn connection(&self) -> MutexGuard<'_, Connection> {
        lock(&self.shared.connection)
    }

    /// Sends what the handshake has to say. If another thread holds the lock, it sends that as well, for it
    /// looks again when it has let go.
    fn send_flight(&mut self) -> io::Result<()> {
        loop {
            let Some(mut outgoing) = try_lock(&self.shared.outgoing) else {
                return Ok(());
            };
            outgoing.take(&mut lock(&self.shared.connection))?;
            if !outgoing.is_empty() {
                outgoing.send_some(&mut self.socket)?;
                if !outgoing.is_empty() {
                    // Not another write at once: the caller has deadlines to look at.
                    return Err(ErrorKind::Interrupted.into());
                }
            }
            drop(outgoing);
            if !lock(&self.shared.connection).wants_write() {
                return Ok(());
            }
        }
    }

    /// Sends the last words of TLS, an alert, as far as the socket takes them at once. If another thread
    /// writes now, the peer learns it by the end of the connection.
    fn send_last(&mut self) -> io::Result<()> {
        let Some(mut outgoing) = try_lock(&self.shared.outgoing) else {
            return Ok(());
        };
        outgoing.take(&mut lock(&self.shared.connection))?;
        if outgoing.is_empty() {
            return Ok(());
        }
        if !self.socket.has_timeouts() {
            return Err(ErrorKind::Unsupported.into());
        }
        self.socket.set_write_timeout(Some(ATTEMPT))?;
        let result = outgoing.send_some(&mut self.socket);
        self.socket.set_write_timeout(*lock(&self.shared.write_timeout))?;
        result.map(drop)
    }

    /// Does a step of the handshake, which reads once at most; whether it is over.
    fn handshake_step(&mut self, incoming: &mut Incoming) -> io::Result<bool> {
        let shared = Arc::clone(&self.shared);
        self.send_flight()?;
        let mut is_over = shared.shake_hands(incoming)?;
        if !is_over {
            if !incoming.fill(&mut self.socket)? {
                shared.eof(&mut [])?;
            }
            is_over = shared.shake_hands(incoming)?;
        }
        Ok(is_over)
    }

    /// Does the handshake before the first write. A step at a time: the caller has deadlines to look at.
    fn finish_handshake(&mut self) -> io::Result<()> {
        if self.shared.is_ready.load(Ordering::Acquire) {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let is_over = match try_lock(&shared.incoming) {
            Some(mut incoming) => self.handshake_step(&mut incoming).inspect_err(|error| {
                if error.kind() == ErrorKind::InvalidData {
                    let _ = self.send_last();
                }
            })?,
            None => shared.await_handshake(),
        };
        if !is_over {
            return Err(ErrorKind::Interrupted.into());
        }
        // The write that follows takes along what ended the handshake.
        shared.set_ready();
        Ok(())
    }

    /// Reads from the socket once; `None` if there was nothing for the caller in it.
    fn read_once(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let shared = Arc::clone(&self.shared);
        if !shared.is_ready.load(Ordering::Acquire) {
            let Some(mut incoming) = try_lock(&shared.incoming) else {
                shared.await_handshake();
                return Ok(None);
            };
            if !self.handshake_step(&mut incoming)? {
                return Ok(None);
            }
            // What ended the handshake. A server's tickets leave here too, before anybody else could write.
            self.send_flight()?;
            shared.set_ready();
            return shared.decrypt(&mut incoming, buffer);
        }
        let mut incoming = lock(&shared.incoming);
        if let Some(n) = shared.decrypt(&mut incoming, buffer)? {
            return Ok(Some(n));
        }
        if incoming.fill(&mut self.socket)? {
            shared.decrypt(&mut incoming, buffer)
        } else {
            shared.eof(buffer).map(Some)
        }
    }
}

impl<S: BlockingStream> Read for TlsStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        match self.read_once(buffer) {
            Ok(Some(n)) => Ok(n),
            // Not another read at once: the caller has deadlines to look at.
            Ok(None) => Err(ErrorKind::Interrupted.into()),
            Err(error) => {
                if error.kind() == ErrorKind::InvalidData {
                    // The alert that tells the peer why.
                    let _ = self.send_last();
                }
                Err(error)
            }
        }
    }
}

impl<S: BlockingStream> Write for TlsStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    /// At most 32 KiB at a time, after the handshake.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        if len == 0 {
            return Ok(0);
        }
        self.finish_handshake()?;
        let mut outgoing = lock(&self.shared.outgoing);
        if outgoing.accepted == 0 {
            let mut connection = lock(&self.shared.connection);
            // First what TLS has to say, which takes room of the limit.
            outgoing.take(&mut connection)?;
            outgoing.accepted = connection.writer().write_vectored(slices)?;
            outgoing.remember(slices, 0);
            outgoing.take(&mut connection)?;
            if outgoing.accepted == 0 {
                return Ok(0);
            }
        } else if !outgoing.goes_on(slices, len) {
            let why = "other bytes than those that an earlier write left to be written";
            return Err(io::Error::new(ErrorKind::InvalidInput, why));
        }
        outgoing.send_accepted(slices, &mut self.socket)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut outgoing = lock(&self.shared.outgoing);
        outgoing.take(&mut lock(&self.shared.connection))?;
        while !outgoing.is_empty() {
            outgoing.send_some(&mut self.socket)?;
        }
        self.socket.flush()
    }
}

impl<S: BlockingStream> BlockingStream for TlsStream<S> {
    fn read_timeout(&self) -> io::Result<Option<Duration>> {
        self.socket.read_timeout()
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        *lock(&self.shared.write_timeout) = timeout;
        self.socket.set_write_timeout(timeout)
    }

    fn has_timeouts(&self) -> bool {
        self.socket.has_timeouts()
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.socket.set_nonblocking(nonblocking)
    }

    /// Sends `close_notify`, if the socket takes it at once, and shuts the socket's write side.
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.connection().send_close_notify();
        let told = self.send_last();
        self.socket.shutdown_write().and(told)
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, shared: Arc::clone(&self.shared) })
    }
}

impl<S: fmt::Debug> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("socket", &self.socket).finish_non_exhaustive()
    }
}
