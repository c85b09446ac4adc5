//! The client: plain sockets with epoll, frames made in advance, replies counted and, at first, compared.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;

use super::Result;
use super::frames::{ACCEPT, REQUEST, Window};

/// A server that does not answer fails the benchmark.
const LIMIT: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// How many windows of each connection are compared byte by byte.
const COMPARED: u32 = 2;

struct Connection {
    socket: TcpStream,
    sent: usize,
    received: usize,
    windows: u32,
    busy: bool,
    /// It never reads, so nothing is expected of it.
    stuck: bool,
}

/// Connections to one server.
pub struct Load {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    events: Vec<Event>,
    buffer: Vec<u8>,
}

impl Load {
    pub fn new() -> Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            connections: Vec::new(),
            events: Vec::with_capacity(1024),
            buffer: vec![0; 256 << 10],
        })
    }

    /// Opens connections until there are as many, or ends the newest.
    pub fn resize(&mut self, server: SocketAddr, count: usize) -> Result<()> {
        self.connections.truncate(count);
        while self.connections.len() < count {
            let number = self.connections.len();
            let connection = self.connect(server, number)?;
            self.connections.push(connection);
        }
        Ok(())
    }

    /// Ends the first connection, and calls `between` when that is done.
    pub fn replace_first(
        &mut self,
        server: SocketAddr,
        stuck: bool,
        between: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        self.connections[0].socket.shutdown(Shutdown::Both)?;
        between()?;
        self.connections[0] = self.connect(server, 0)?;
        if stuck {
            let first = &mut self.connections[0];
            first.stuck = true;
            // The smallest buffer, or it would take long until the server is stuck.
            socket2::SockRef::from(&first.socket).set_recv_buffer_size(1)?;
        }
        Ok(())
    }

    fn connect(&self, server: SocketAddr, number: usize) -> Result<Connection> {
        let socket = open(server, number)?;
        socket.set_nonblocking(true)?;
        let data = EventData::new_u64(number as u64);
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
        epoll::add(&self.epoll, &socket, data, flags)?;
        Ok(Connection { socket, sent: 0, received: 0, windows: 0, busy: false, stuck: false })
    }

    /// Keeps a window in flight on every connection: the next is sent when all replies to the last one are there.
    /// Gives the number of answered messages.
    pub fn run(&mut self, window: &Window, time: Duration) -> Result<u64> {
        let end = Instant::now() + time;
        let mut windows = 0;
        for i in 0..self.connections.len() {
            self.begin(i, window)?;
        }
        let mut busy = self.connections.len();
        while busy > 0 {
            let over = Instant::now() >= end;
            self.wait()?;
            for at in 0..self.events.len() {
                let i = self.events[at].data.u64() as usize;
                if self.proceed(i, window)? {
                    windows += 1;
                    if over {
                        busy -= 1;
                    } else {
                        self.begin(i, window)?;
                    }
                }
            }
        }
        Ok(windows * window.messages as u64)
    }

    /// Sends a window on each connection in turn, on at most `under_way` connections at a time.
    pub fn sweep(&mut self, window: &Window, under_way: usize) -> Result<u64> {
        let count = self.connections.len();
        let mut next = under_way.min(count);
        for i in 0..next {
            self.begin(i, window)?;
        }
        let mut done = 0;
        while done < count {
            self.wait()?;
            for at in 0..self.events.len() {
                let i = self.events[at].data.u64() as usize;
                if self.proceed(i, window)? {
                    done += 1;
                    if next < count {
                        self.begin(next, window)?;
                        next += 1;
                    }
                }
            }
        }
        Ok((count * window.messages) as u64)
    }

    /// Sends a window on the last connection. All connections get the replies. Gives for each when it had all of
    /// them.
    pub fn broadcast(
        &mut self,
        window: &Window,
        mut seen: impl FnMut(usize, Duration),
    ) -> Result<()> {
        let mut left = 0;
        for connection in self.connections.iter_mut().filter(|connection| !connection.stuck) {
            connection.busy = true;
            (connection.sent, connection.received) = (window.request.len(), 0);
            left += 1;
        }
        let start = Instant::now();
        self.begin(self.connections.len() - 1, window)?;
        while left > 0 {
            self.wait()?;
            for at in 0..self.events.len() {
                let i = self.events[at].data.u64() as usize;
                if self.proceed(i, window)? {
                    left -= 1;
                    seen(i, start.elapsed());
                }
            }
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<()> {
        self.events.clear();
        let buffer = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, buffer, Some(&LIMIT)) {
            Ok(0) => Err(ErrorKind::TimedOut.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn begin(&mut self, i: usize, window: &Window) -> Result<()> {
        let connection = &mut self.connections[i];
        connection.busy = true;
        (connection.sent, connection.received) = (0, 0);
        connection.send(window)
    }

    /// Whether all replies are there.
    fn proceed(&mut self, i: usize, window: &Window) -> Result<bool> {
        // An event may belong to a connection that was closed meanwhile.
        let Some(connection) = self.connections.get_mut(i) else { return Ok(false) };
        if !connection.busy {
            return Ok(false);
        }
        connection.send(window)?;
        loop {
            let n = match connection.socket.read(&mut self.buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            };
            let from = connection.received;
            connection.received += n;
            assert!(connection.received <= window.reply.len(), "more bytes than were asked for");
            if connection.windows < COMPARED {
                let expected = &window.reply[from..connection.received];
                assert!(self.buffer[..n] == *expected, "other bytes than were sent");
            }
            if connection.received == window.reply.len() {
                connection.windows += 1;
                connection.busy = false;
                return Ok(true);
            }
            // Edge-triggered, and there was room: the socket is empty.
            if n < self.buffer.len() {
                return Ok(false);
            }
        }
    }
}

impl Connection {
    fn send(&mut self, window: &Window) -> Result<()> {
        while self.sent < window.request.len() {
            match self.socket.write(&window.request[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A connection whose handshake is done. It ends with a reset, which leaves no port in TIME-WAIT.
pub fn open(server: SocketAddr, number: usize) -> Result<TcpStream> {
    let mut socket = connect(server, number)?;
    socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    socket.write_all(REQUEST)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0; 512];
        match socket.read(&mut byte)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => head.extend(&byte[..n]),
        }
    }
    let head = String::from_utf8_lossy(&head);
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains(ACCEPT), "{head}");
    Ok(socket)
}

/// A connection of TCP. An address has fewer ports than there may be connections.
pub fn connect(server: SocketAddr, number: usize) -> Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2 + (number / 5000) as u8));
    socket.bind(&SocketAddr::from((address, 0)).into())?;
    socket.connect(&server.into())?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}
