use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use bowline::handshake::{Accept, ServerHandshake};
use bowline::{
    Config, Connection, End, Error, Leave, LeaveStep, Message, Progress, RecvBuf, SendBuf,
};

/// The socket, a clock that only goes forward, and the bytes that came and that wait to leave.
struct Wire {
    socket: TcpStream,
    start: Instant,
    input: RecvBuf,
    out: SendBuf,
}

pub struct WebSocket {
    wire: Wire,
    connection: Connection,
    left: bool,
}

impl Wire {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Reads once, at most until the deadline.
    fn read(&mut self, deadline: Option<Duration>) -> io::Result<()> {
        self.wait_until(deadline)?;
        match in_time(self.socket.read(self.input.space()))? {
            Some(0) => self.input.eof(),
            Some(n) => self.input.filled(n),
            None => {}
        }
        Ok(())
    }

    /// Writes once, at most until the deadline. Returns how much the socket took.
    fn write(&mut self, deadline: Option<Duration>) -> io::Result<usize> {
        self.wait_until(deadline)?;
        let taken = in_time(self.socket.write(self.out.pending()))?;
        if taken == Some(0) {
            return Err(ErrorKind::WriteZero.into());
        }
        self.out.sent(taken.unwrap_or(0));
        Ok(taken.unwrap_or(0))
    }

    /// A timeout of zero would be none.
    fn wait_until(&self, deadline: Option<Duration>) -> io::Result<()> {
        let least = Duration::from_millis(1);
        let left = deadline.map(|at| at.saturating_sub(self.now()).max(least));
        self.socket.set_read_timeout(left)?;
        self.socket.set_write_timeout(left)
    }
}

/// `None` if the time was over first.
fn in_time(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(n) => Ok(Some(n)),
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Ok(None),
            _ => Err(error),
        },
    }
}

impl WebSocket {
    /// Reads the request, checks it and answers it. `seed` comes from the system's entropy.
    pub fn accept(socket: TcpStream, config: Config, seed: [u8; 32]) -> Result<Self, Error> {
        let (start, input, out) = (Instant::now(), RecvBuf::new(), SendBuf::new());
        let mut wire = Wire { socket, start, input, out };
        let mut handshake = ServerHandshake::new(config.clone());
        let refusal = loop {
            match handshake.read(&mut wire.input) {
                Ok(Some(request)) => match request.upgrade(&config) {
                    Ok(upgrade) => {
                        let (mut connection, response) = upgrade.accept(Accept::new())?;
                        connection.seed_keepalive(seed);
                        response.encode(&mut wire.out);
                        return Ok(Self { wire, connection, left: false });
                    }
                    Err(refusal) => break refusal,
                },
                Ok(None) => {}
                Err(refusal) => break refusal,
            }
            let deadline = handshake.deadline(wire.now());
            wire.read(deadline)?;
            if let Err(refusal) = handshake.on_time(wire.now()) {
                break refusal;
            }
        };
        refusal.response().encode(&mut wire.out);
        wire.leave(handshake.leave());
        Err(refusal.into())
    }
}

impl WebSocket {
    /// The next message; `None` after the peer's Close.
    pub fn recv(&mut self) -> Result<Option<Message>, Error> {
        loop {
            let progress = self.connection.advance(&mut self.wire.input, &mut self.wire.out);
            match progress {
                Ok(Progress::Event) => return Ok(self.wire.input.take_event()),
                Ok(Progress::NeedInput) => self.write_then_read(),
                Ok(Progress::Ended) | Err(_) => break,
            }
        }
        if !self.left {
            self.left = true;
            self.wire.leave(self.connection.leave());
        }
        match self.connection.end() {
            Some(End::Closed { .. }) | None => Ok(None),
            Some(end) => Err(Error::Ended(end.clone())),
        }
    }

    fn write_then_read(&mut self) {
        while self.connection.answer(&mut self.wire.out) && self.connection.end().is_none() {
            let deadline = self.deadline();
            // The peer's Close may still be in the socket. So a write that fails does not end the connection.
            if self.wire.write(deadline).is_err() {
                break;
            }
            self.on_time();
        }
        let deadline = self.deadline();
        if self.connection.end().is_none() && self.wire.read(deadline).is_err() {
            self.connection.transport_failed(&self.wire.input);
        }
        self.on_time();
    }

    fn deadline(&mut self) -> Option<Duration> {
        self.connection.deadline(self.wire.now(), &self.wire.input, &self.wire.out)
    }

    fn on_time(&mut self) {
        self.connection.on_time(self.wire.now(), &self.wire.input, &mut self.wire.out);
    }
}

impl WebSocket {
    /// Sends a message. Returns when the socket has taken all of it.
    pub fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.connection.send_owned(message.into(), &mut self.wire.out)?;
        while self.connection.answer(&mut self.wire.out) {
            let deadline = self.deadline();
            self.wire.write(deadline)?;
            self.on_time();
            if let Some(end) = self.connection.end() {
                return Err(Error::Ended(end.clone()));
            }
        }
        Ok(())
    }
}

impl Wire {
    /// Leaves the socket in such a way that the last bytes arrive.
    fn leave(&mut self, mut leave: Leave) {
        loop {
            leave.on_time(self.now());
            let deadline = leave.deadline(self.now());
            // Asked again after each step: the answer changes with what was written and read.
            match leave.step() {
                LeaveStep::Flush if self.out.is_empty() => leave.done(),
                LeaveStep::Flush => match self.write(deadline) {
                    Ok(n) => leave.sent(n),
                    Err(_) => leave.done(),
                },
                LeaveStep::Shutdown => {
                    let _ = self.socket.shutdown(Shutdown::Write);
                    leave.done();
                }
                LeaveStep::Drain => match self.discard(deadline) {
                    Ok(Some(n)) => leave.discard(n),
                    Ok(None) => {}
                    Err(_) => leave.done(),
                },
                _ => return,
            }
        }
    }

    fn discard(&mut self, deadline: Option<Duration>) -> io::Result<Option<usize>> {
        self.wait_until(deadline)?;
        in_time(self.socket.read(&mut [0; 4096]))
    }
}
