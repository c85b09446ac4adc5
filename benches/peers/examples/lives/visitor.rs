//! The servers' client: it connects, has one message echoed, and closes. Its frames are made in advance.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use socket2::SockRef;

use crate::sockets::Result;
use crate::sockets::frames::{ACCEPT, REQUEST, Window, closing};
use crate::sockets::load::connect;

/// A server that does not answer fails the benchmark.
const LIMIT: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

#[derive(Clone, Copy)]
enum Wait {
    Response,
    Echo,
    /// The answer to the Close, and the end of the stream.
    End,
}

struct Life {
    socket: TcpStream,
    wait: Wait,
    received: Vec<u8>,
}

pub struct Visitor {
    server: SocketAddr,
    /// Not only the opening handshake.
    whole: bool,
    message: Window,
    closing: Window,
    epoll: OwnedFd,
    /// How many connections there were.
    number: usize,
}

impl Visitor {
    pub fn new(server: SocketAddr, whole: bool) -> Result<Self> {
        Ok(Self {
            server,
            whole,
            message: Window::new(1, 16, false),
            closing: closing(),
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            number: 0,
        })
    }

    /// Opens connections, so many at a time, for some time. Gives how many there were.
    pub fn run(&mut self, at_once: usize, time: Duration) -> Result<u64> {
        let end = Instant::now() + time;
        let mut lives: Vec<_> =
            (0..at_once).map(|at| self.begin(at).map(Some)).collect::<Result<_>>()?;
        let mut events: Vec<Event> = Vec::with_capacity(at_once);
        let (mut done, mut left) = (0, at_once);
        while left > 0 {
            events.clear();
            let buffer = rustix::buffer::spare_capacity(&mut events);
            if epoll::wait(&self.epoll, buffer, Some(&LIMIT))? == 0 {
                return Err(ErrorKind::TimedOut.into());
            }
            for event in &events {
                let at = event.data.u64() as usize;
                let Some(life) = &mut lives[at] else { continue };
                if !self.proceed(life)? {
                    continue;
                }
                done += 1;
                // The old one is closed before the new one begins.
                lives[at] = None;
                match Instant::now() < end {
                    true => lives[at] = Some(self.begin(at)?),
                    false => left -= 1,
                }
            }
        }
        Ok(done)
    }

    fn begin(&mut self, at: usize) -> Result<Life> {
        let mut socket = connect(self.server, self.number)?;
        self.number = (self.number + 1) % 1_000_000;
        socket.set_nonblocking(true)?;
        epoll::add(&self.epoll, &socket, EventData::new_u64(at as u64), EventFlags::IN)?;
        socket.write_all(REQUEST)?;
        Ok(Life { socket, wait: Wait::Response, received: Vec::with_capacity(512) })
    }

    /// Reads what has come, and goes on. True: it is over.
    fn proceed(&self, life: &mut Life) -> Result<bool> {
        let mut buffer = [0; 1024];
        let n = match life.socket.read(&mut buffer) {
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        life.received.extend(&buffer[..n]);
        match life.wait {
            Wait::End if n == 0 => {
                assert_eq!(life.received.first(), Some(&0x88), "no answer to the Close");
                return life.reset();
            }
            _ if n == 0 => return Err(ErrorKind::UnexpectedEof.into()),
            Wait::Response if life.received.ends_with(b"\r\n\r\n") => {
                let head = String::from_utf8_lossy(&life.received);
                assert!(head.starts_with("HTTP/1.1 101 ") && head.contains(ACCEPT), "{head}");
                if !self.whole {
                    return life.reset();
                }
                life.wait = Wait::Echo;
                life.socket.write_all(&self.message.request)?;
                life.received.clear();
            }
            Wait::Echo if life.received.len() >= self.message.reply.len() => {
                assert!(life.received == self.message.reply, "other bytes than were sent");
                life.wait = Wait::End;
                life.socket.write_all(&self.closing.request)?;
                life.received.clear();
            }
            _ => {}
        }
        Ok(false)
    }
}

impl Life {
    /// Its end is a reset, which leaves no port in TIME-WAIT. So many of them would slow down the system.
    fn reset(&self) -> Result<bool> {
        SockRef::from(&self.socket).set_linger(Some(Duration::ZERO))?;
        Ok(true)
    }
}
