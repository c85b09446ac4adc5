//! A client that sends when it is time, whatever the server does.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;

use crate::sockets::Result;
use crate::sockets::frames::Window;
use crate::sockets::load::open;

/// How long after the last message the last answer may come.
const LIMIT: Duration = Duration::from_secs(60);

/// Messages that one write can take, if a server has fallen behind.
const BATCH: usize = 64;

struct Connection {
    socket: TcpStream,
    /// When each message was to be sent that has no answer yet, since the start.
    waiting: VecDeque<Duration>,
    /// Bytes that were to be sent and are not, and where in the messages they begin.
    unsent: usize,
    from: usize,
    /// Bytes of an answer that is not whole.
    received: usize,
}

pub struct Schedule {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    /// One message after the other, all alike.
    requests: Vec<u8>,
    request: usize,
    reply: Vec<u8>,
    buffer: Vec<u8>,
}

impl Schedule {
    pub fn new(server: SocketAddr, connections: usize, payload: usize) -> Result<Self> {
        let message = Window::new(1, payload, false);
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let connect = |number| {
            let socket = open(server, number)?;
            socket.set_nonblocking(true)?;
            epoll::add(&epoll, &socket, EventData::new_u64(number as u64), EventFlags::IN)?;
            Ok(Connection { socket, waiting: VecDeque::new(), unsent: 0, from: 0, received: 0 })
        };
        let connections = (0..connections).map(connect).collect::<Result<_>>()?;
        Ok(Self {
            epoll,
            connections,
            requests: message.request.repeat(BATCH),
            request: message.request.len(),
            reply: message.reply,
            buffer: vec![0; 64 << 10],
        })
    }

    /// Sends so many messages in a second for some time. Gives the nanoseconds from when a message was to be sent until its
    /// answer was there.
    pub fn run(&mut self, rate: f64, time: Duration) -> Result<Histogram<u64>> {
        let mut latency = Histogram::new(3).expect("three digits");
        let count = (rate * time.as_secs_f64()) as u64;
        let due = |message: u64| Duration::from_secs_f64(message as f64 / rate);
        let mut events: Vec<Event> = Vec::with_capacity(self.connections.len());
        let (mut sent, mut answered) = (0, 0);
        let start = Instant::now();
        while answered < count {
            let now = start.elapsed();
            if now > time + LIMIT {
                return Err(ErrorKind::TimedOut.into());
            }
            while sent < count && due(sent) <= now {
                let at = sent as usize % self.connections.len();
                let connection = &mut self.connections[at];
                connection.waiting.push_back(due(sent));
                connection.unsent += self.request;
                connection.send(&self.requests)?;
                sent += 1;
            }
            events.clear();
            let buffer = rustix::buffer::spare_capacity(&mut events);
            // It never sleeps, because it would wake up late.
            epoll::wait(&self.epoll, buffer, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
            for event in &events {
                answered += self.receive(event.data.u64() as usize, start, &mut latency)?;
            }
        }
        Ok(latency)
    }

    /// Gives how many answers are whole.
    fn receive(&mut self, at: usize, start: Instant, to: &mut Histogram<u64>) -> Result<u64> {
        let connection = &mut self.connections[at];
        let n = match connection.socket.read(&mut self.buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error),
        };
        let now = start.elapsed();
        if connection.received == 0 && n == self.reply.len() {
            assert!(self.buffer[..n] == self.reply, "other bytes than were sent");
        }
        connection.received += n;
        let mut answers = 0;
        while connection.received >= self.reply.len() {
            connection.received -= self.reply.len();
            let due = connection.waiting.pop_front().expect("more bytes than were asked for");
            to.record((now - due).as_nanos() as u64).expect("any number of digits");
            answers += 1;
        }
        // There was no room for these before.
        connection.send(&self.requests)?;
        Ok(answers)
    }
}

impl Connection {
    fn send(&mut self, requests: &[u8]) -> Result<()> {
        while self.unsent > 0 {
            let end = requests.len().min(self.from + self.unsent);
            match self.socket.write(&requests[self.from..end]) {
                Ok(n) => {
                    self.unsent -= n;
                    self.from = (self.from + n) % requests.len();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
