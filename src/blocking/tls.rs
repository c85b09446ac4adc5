//! TLS over a blocking stream, for both roles, in a way that lets one thread read while another writes.
//!
//! A thread that reads holds `incoming`, and a thread that writes holds `outgoing`. So records leave in the
//! order in which they were made. Each is held during a system call. Both threads take `connection` only while
//! they decrypt or encrypt. The order of the locks is `incoming`, `outgoing`, `connection`.
//!
//! A read never waits for `outgoing`: a write may wait for the peer, and the peer for that read. A read sends
//! only in the handshake, and an alert after a bad record. Then it only tries the lock. Later records of TLS,
//! such as tickets and answers to key updates, leave with the next write. RFC 8446 §4.6.3 asks for the answer
//! "prior to sending its next Application Data record".

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

/// How much is read at a time: as much as a record holds.
const INCOMING: usize = 16 << 10;

/// How much plaintext is encrypted at a time.
const CHUNK: usize = 32 << 10;

/// How much memory for records is kept between writes.
const KEEP: usize = 4 << 10;

/// How many of the next bytes are remembered, to notice a writer that goes on with other bytes.
const GUARD: usize = 16;

/// How long a thread waits at a time while another one does the handshake.
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
/// The first read or write does the TLS handshake, so [`Config::handshake_timeout`](crate::Config::handshake_timeout)
/// includes it. No written byte leaves before it is done. A [second handle](BlockingStream::try_clone) shares only
/// the state of TLS. So one thread can write while another one waits in a read, and the other way round.
///
/// An end without TLS's own (`close_notify`, RFC 8446 §6.1) is [`ErrorKind::UnexpectedEof`].
///
/// A caller of [`Read`] and [`Write`] has to do two things:
///
/// - Go on after [`ErrorKind::Interrupted`]. It comes after each record that holds nothing for the reader,
///   and after each step of the handshake, so that the caller can check the time.
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
    /// The handshake is over. Its last records have left, or are in `connection`.
    is_ready: AtomicBool,
    /// Wakes writers when the handshake is over.
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
    /// How much plaintext in them was not reported by a write yet.
    accepted: usize,
    /// How the next write has to begin.
    guard: ([u8; GUARD], usize),
}

/// A panic elsewhere breaks nothing that a later call does not notice.
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

/// Copies the bytes from `skip` on, as many as fit.
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
    /// Gives TLS the bytes that have come. Whether there were any.
    fn give(&mut self, connection: &mut Connection) -> io::Result<bool> {
        if self.start == self.end {
            return Ok(false);
        }
        let mut unread = &self.buffer[self.start..self.end];
        match connection.read_tls(&mut unread)? {
            // Bytes after the peer's `close_notify` do not count.
            0 => self.start = self.end,
            n => self.start += n,
        }
        process(connection)?;
        Ok(true)
    }

    /// Reads from the socket once. Whether anything came.
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

    /// Writes once. Gives how many bytes of records left.
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

    /// Sends accepted plaintext, and gives how much of it counts as sent.
    fn send_accepted(
        &mut self,
        slices: &[IoSlice<'_>],
        socket: &mut impl Write,
    ) -> io::Result<usize> {
        let sent = self.send_some(socket)?;
        // All plaintext has left only when all records have. Until then, each byte of a record counts as one
        // byte of plaintext, so that the caller sees progress.
        let told =
            if self.is_empty() { self.accepted } else { sent.min(self.accepted.saturating_sub(1)) };
        self.accepted -= told;
        if told == 0 {
            return Err(ErrorKind::Interrupted.into());
        }
        self.remember(slices, told);
        Ok(told)
    }

    /// Remembers how the next write has to begin: with the bytes from `skip` on.
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
    /// Decrypts until there is plaintext. `None`: that needs more bytes from the socket.
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

    /// Goes on with the handshake as far as the bytes that have come allow. Whether it is over.
    fn shake_hands(&self, incoming: &mut Incoming) -> io::Result<bool> {
        let mut connection = lock(&self.connection);
        while connection.is_handshaking() {
            if !incoming.give(&mut connection)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Notes that the handshake is over.
    fn set_ready(&self) {
        self.is_ready.store(true, Ordering::Release);
        self.ready.notify_all();
    }

    /// Waits for a short time for the thread that does the handshake. Whether it is over.
    fn await_handshake(&self) -> bool {
        let connection = lock(&self.connection);
        let waited = self
            .ready
            .wait_timeout_while(connection, TURN, |connection| connection.is_handshaking());
        let (connection, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !connection.is_handshaking()
    }

    /// Handles the end of the socket. It is an error if TLS has not ended too.
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
    /// Sends and reads nothing yet: see the type.
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

    /// Sends the records of the handshake. If another thread holds the lock, that thread sends them: it checks
    /// again after it has released the lock.
    fn send_flight(&mut self) -> io::Result<()> {
        loop {
            let Some(mut outgoing) = try_lock(&self.shared.outgoing) else {
                return Ok(());
            };
            outgoing.take(&mut lock(&self.shared.connection))?;
            if !outgoing.is_empty() {
                outgoing.send_some(&mut self.socket)?;
                if !outgoing.is_empty() {
                    // The caller has to check its deadlines before another write.
                    return Err(ErrorKind::Interrupted.into());
                }
            }
            drop(outgoing);
            if !lock(&self.shared.connection).wants_write() {
                return Ok(());
            }
        }
    }

    /// Sends the last record of TLS, an alert, as far as the socket takes it at once. If another thread is
    /// writing, the peer only sees the end of the connection.
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

    /// Does a step of the handshake, which reads at most once. Whether the handshake is over.
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

    /// Does the handshake before the first write, one step at a time: the caller has to check its deadlines.
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
        // The next write takes the last records of the handshake along.
        shared.set_ready();
        Ok(())
    }

    /// Reads from the socket once. `None`: it held nothing for the caller.
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
            // The last records of the handshake. A server's tickets leave here too, before anything else is written.
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
            // The caller has to check its deadlines before another read.
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
            // Records of TLS itself come first, because they take room of the limit.
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
