//! TLS over a blocking stream, for both roles, in a way that lets one thread read while another writes.
//!
//! No lock of the connection is held over a system call. Who reads holds `incoming`, who writes holds
//! `outgoing`, so that records leave in the order in which they were made; each takes the lock of the
//! connection for as long as decrypting or encrypting takes. Locks are taken in the order `incoming`,
//! `outgoing`, `connection`.

use core::fmt;
use core::time::Duration;
use std::boxed::Box;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::vec;
use std::vec::Vec;

use ::rustls::Connection;

use super::stream::BlockingStream;

/// As much as a record holds.
const INCOMING: usize = 16 << 10;

/// Plaintext that is encrypted at a time; the write of it is one system call.
const CHUNK: usize = 32 << 10;

/// Memory for records that is kept between writes.
const KEEP: usize = 4 << 10;

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
/// The handshake of TLS is done by the first reads and writes, and so within
/// [`Config::handshake_timeout`](crate::Config::handshake_timeout). Nothing of what is written leaves before it is done. A
/// [second handle](BlockingStream::try_clone) shares only the state of TLS: a thread that waits in a read
/// does not keep another from writing.
///
/// An end without TLS's own (`close_notify`, RFC 8446 §6.1) is [`ErrorKind::UnexpectedEof`].
///
/// Of [`Read`] and [`Write`] this asks what they ask of everybody: go on after
/// [`ErrorKind::Interrupted`], which comes after each record that holds nothing for the reader; and after
/// any other error of a write, write the same bytes again or no more.
pub struct TlsStream<S> {
    socket: S,
    shared: Arc<Shared>,
}

struct Shared {
    incoming: Mutex<Incoming>,
    outgoing: Mutex<Outgoing>,
    connection: Mutex<Connection>,
}

/// Bytes of the socket that TLS has not taken yet.
struct Incoming {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// The last flight of the handshake has not left.
    handshaking: bool,
}

/// Records that the socket has not taken yet.
#[derive(Default)]
struct Outgoing {
    records: Vec<u8>,
    sent: usize,
    /// So much plaintext is in them that no write has told of.
    accepted: usize,
}

/// A panic elsewhere broke nothing that a later call would not notice.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outgoing {
    /// Takes the records that wait in the connection.
    fn take(&mut self, connection: &mut Connection) -> io::Result<()> {
        while connection.wants_write() {
            connection.write_tls(&mut self.records)?;
        }
        Ok(())
    }

    fn send(&mut self, socket: &mut impl Write) -> io::Result<()> {
        while self.sent < self.records.len() {
            match socket.write(&self.records[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.sent = 0;
        self.records.clear();
        if self.records.capacity() > KEEP {
            self.records = Vec::new();
        }
        Ok(())
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
            if incoming.start == incoming.end {
                return Ok(None);
            }
            let mut unread = &incoming.buffer[incoming.start..incoming.end];
            match connection.read_tls(&mut unread)? {
                // What comes behind the peer's end is nothing.
                0 => incoming.start = incoming.end,
                n => incoming.start += n,
            }
            process(&mut connection)?;
        }
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
            incoming: Mutex::new(Incoming {
                buffer: vec![0; INCOMING].into_boxed_slice(),
                start: 0,
                end: 0,
                handshaking: true,
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

    /// Sends what TLS itself has to say, and what is left of earlier writes.
    fn send(&mut self) -> io::Result<()> {
        let mut outgoing = lock(&self.shared.outgoing);
        outgoing.take(&mut lock(&self.shared.connection))?;
        outgoing.send(&mut self.socket)
    }

    /// As `send`, without blocking. If another thread writes now, what is said leaves with its next write.
    fn try_send(&mut self) -> io::Result<()> {
        let mut outgoing = match self.shared.outgoing.try_lock() {
            Ok(outgoing) => outgoing,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        outgoing.take(&mut lock(&self.shared.connection))?;
        if outgoing.records.is_empty() {
            return Ok(());
        }
        // Nobody else writes meanwhile, for want of the lock.
        self.socket.set_nonblocking(true)?;
        let result = outgoing.send(&mut self.socket);
        self.socket.set_nonblocking(false)?;
        result
    }

    /// Reads from the socket once; `None` if there was nothing for the caller in it.
    fn read_once(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let shared = Arc::clone(&self.shared);
        let mut incoming = lock(&shared.incoming);
        let incoming = &mut *incoming;
        if let Some(n) = shared.decrypt(incoming, buffer)? {
            return Ok(Some(n));
        }
        if incoming.handshaking {
            // The peer waits for this, and nobody sends beside it.
            self.send()?;
            incoming.handshaking = lock(&shared.connection).is_handshaking();
        } else if lock(&shared.connection).wants_write() {
            // An error shows in the next write.
            let _ = self.try_send();
        }
        match self.socket.read(&mut incoming.buffer)? {
            0 => shared.eof(buffer).map(Some),
            n => {
                (incoming.start, incoming.end) = (0, n);
                shared.decrypt(incoming, buffer)
            }
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
                    let _ = self.try_send();
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

    /// At most 32 KiB at a time. While the handshake is not done, they wait for it.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        if len == 0 {
            return Ok(0);
        }
        let mut outgoing = lock(&self.shared.outgoing);
        if outgoing.accepted == 0 {
            outgoing.send(&mut self.socket)?;
            let mut connection = lock(&self.shared.connection);
            outgoing.accepted = connection.writer().write_vectored(slices)?;
            outgoing.take(&mut connection)?;
        } else if len < outgoing.accepted {
            return Err(ErrorKind::InvalidInput.into());
        }
        outgoing.send(&mut self.socket)?;
        match core::mem::take(&mut outgoing.accepted) {
            0 => {
                // More than waits for the end of the handshake; there is nothing to read before it.
                drop(outgoing);
                self.read_once(&mut [])?;
                Err(ErrorKind::Interrupted.into())
            }
            n => Ok(n),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()?;
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
        self.socket.set_write_timeout(timeout)
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.socket.set_nonblocking(nonblocking)
    }

    /// Sends `close_notify`, if the socket takes it at once, and shuts the socket's write side.
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.connection().send_close_notify();
        let told = self.try_send();
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
