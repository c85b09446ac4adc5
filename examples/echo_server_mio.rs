//! A WebSocket server on mio that sends every message back, and serves a page to try it with. One thread serves all
//! peers: a `Driver` does the protocol for each, and this program does the sockets and the clock.

mod common;

use std::collections::{BTreeSet, HashMap};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use bowline::CloseCode;
use bowline::handshake::{Accept, Driver, DriverEvent};
#[cfg(unix)]
use common::SocketFile;
use common::{Listen, Options, about, fail, page};
use mio::event::Source;
use mio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use mio::net::{UnixListener, UnixStream};
use mio::{Events, Interest, Poll, Token, Waker};

const PROGRAM: &str = "echo_server_mio";

const LISTENER: Token = Token(0);
const STOP: Token = Token(1);

/// How often a peer's socket is read and written before others have a turn.
const TURN: usize = 16;

/// Longer than a connection takes to close.
const PATIENCE: Duration = Duration::from_secs(7);

fn main() {
    if let Err(error) = run(Options::parse(PROGRAM)) {
        fail(PROGRAM, 1, error);
    }
}

fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let mut poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), STOP)?;
    ctrlc::set_handler(move || drop(waker.wake()))?;
    let mut sockets = Sockets::bind(&options.listen)?;
    poll.registry().register(sockets.source(), LISTENER, Interest::READABLE)?;
    println!("listening on {}", sockets.url()?);

    let (start, mut events) = (Instant::now(), Events::with_capacity(1024));
    let (mut peers, mut next) = (HashMap::new(), 2);
    // When each peer is served at the latest, and which peers are served at once.
    let (mut timers, mut ready) = (BTreeSet::<(Duration, Token)>::new(), BTreeSet::new());
    let mut stop_at = None;
    while stop_at.is_none_or(|at| !peers.is_empty() && start.elapsed() < at) {
        let wait = match timers.first() {
            _ if !ready.is_empty() => Some(Duration::ZERO),
            first => first.map(|(at, _)| at.saturating_sub(start.elapsed())),
        };
        match poll.poll(&mut events, wait) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => ready.extend(events.iter().map(|event| event.token())),
        }
        let now = start.elapsed();
        while timers.first().is_some_and(|(at, _)| *at <= now) {
            ready.extend(timers.pop_first().map(|(_, token)| token));
        }
        for token in std::mem::take(&mut ready) {
            if token == STOP {
                let at = *stop_at.get_or_insert(now + PATIENCE);
                timers.insert((at, STOP));
                peers.retain(|_, peer: &mut Peer| peer.stop());
                ready.extend(peers.keys());
            } else if let Some(peer) = peers.get_mut(&token) {
                if peer.serve(&options, now) {
                    ready.insert(token);
                }
                peer.timer.take().map(|timer| timers.remove(&timer));
                peer.timer = peer.driver.deadline(now).map(|at| (at, token));
                timers.extend(peer.timer);
                if peer.driver.is_done() {
                    peers.remove(&token);
                }
            } else if token == LISTENER && stop_at.is_none() {
                // More may wait, so the listener is ready again.
                match sockets.accept() {
                    Ok((mut socket, name)) => {
                        let token = Token(next);
                        let both = Interest::READABLE | Interest::WRITABLE;
                        poll.registry().register(&mut socket, token, both)?;
                        let driver = Driver::server(options.config.clone());
                        peers.insert(token, Peer { socket, name, driver, timer: None });
                        ready.extend([LISTENER, token]);
                        next += 1;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    // Too many open files, for example. Open connections may end meanwhile.
                    Err(error) => {
                        eprintln!("{PROGRAM}: accept: {error}");
                        timers.insert((now + Duration::from_millis(100), LISTENER));
                    }
                }
            }
        }
    }
    Ok(())
}

/// What `--listen` named.
enum Sockets {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener, SocketFile),
}

impl Sockets {
    fn bind(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => {
                let listener = std::net::TcpListener::bind(address).map_err(about(address))?;
                listener.set_nonblocking(true)?;
                Ok(Self::Tcp(TcpListener::from_std(listener)))
            }
            #[cfg(unix)]
            Listen::Unix(path) => {
                let (listener, file) = SocketFile::listen(path).map_err(about(listen))?;
                listener.set_nonblocking(true)?;
                Ok(Self::Unix(UnixListener::from_std(listener), file))
            }
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(listener) => listener,
            #[cfg(unix)]
            Self::Unix(listener, _) => listener,
        }
    }

    fn url(&self) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => Ok(format!("ws://{}", listener.local_addr()?)),
            #[cfg(unix)]
            Self::Unix(_, file) => Ok(file.to_string()),
        }
    }

    /// Gives a connection, and the name of the client for messages about it.
    fn accept(&self) -> io::Result<(Box<dyn Socket>, String)> {
        match self {
            Self::Tcp(listener) => {
                let (socket, address) = listener.accept()?;
                let _ = socket.set_nodelay(true);
                Ok((Box::new(socket), address.to_string()))
            }
            #[cfg(unix)]
            Self::Unix(listener, _) => Ok((Box::new(listener.accept()?.0), "a client".into())),
        }
    }
}

/// A connection of either kind.
trait Socket: Read + Write + Source {
    fn shutdown_write(&self) -> io::Result<()>;
}

impl Socket for TcpStream {
    fn shutdown_write(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

#[cfg(unix)]
impl Socket for UnixStream {
    fn shutdown_write(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

struct Peer {
    socket: Box<dyn Socket>,
    name: String,
    driver: Driver,
    timer: Option<(Duration, Token)>,
}

impl Peer {
    /// Does what can be done without waiting, for one turn. Returns whether there may be more.
    fn serve(&mut self, options: &Options, now: Duration) -> bool {
        let mut is_busy = true;
        for _ in 0..TURN {
            if is_busy {
                self.hear(options);
                is_busy = self.read() | self.write();
            }
        }
        // Bytes that came in time count, so the clock comes after them.
        self.hear(options);
        self.driver.on_time(now);
        self.hear(options);
        is_busy | self.read() | self.write()
    }

    /// Handles the events of the driver.
    fn hear(&mut self, options: &Options) {
        while let Some(event) = self.driver.poll() {
            match event {
                DriverEvent::Request(request) if request.is_upgrade() => {
                    let name = request.select_subprotocol(&options.subprotocols);
                    let accept = Accept::new().subprotocol(name);
                    let accepted = self.driver.accept(accept);
                    accepted.expect("the client offered the subprotocol");
                    // With a seed, no peer can answer keepalive's pings before they are sent.
                    let mut seed = [0; 32];
                    getrandom::fill(&mut seed).expect("the system has entropy");
                    if let Some((connection, _)) = self.driver.connection() {
                        connection.seed_keepalive(seed);
                    }
                }
                DriverEvent::Request(request) => {
                    let page = page(request);
                    self.driver.refuse(&page);
                }
                DriverEvent::Message { message, connection, out } => {
                    // After Close both fail. Otherwise the message is over the memory budget.
                    let _ = connection
                        .send(message, out)
                        .or_else(|_| connection.start_close(CloseCode::TRY_AGAIN_LATER, "", out));
                }
                DriverEvent::Refused(error) => eprintln!("{}: {error}", self.name),
                DriverEvent::Ended(end) => {
                    let _ = end.result().map_err(|error| eprintln!("{}: {error}", self.name));
                }
                DriverEvent::Shutdown => drop(self.socket.shutdown_write()),
                _ => {}
            }
        }
    }

    /// Reads once, if the driver wants it. Returns whether something moved.
    fn read(&mut self) -> bool {
        if !self.driver.wants_read() {
            return false;
        }
        match self.socket.read(self.driver.space()) {
            Ok(0) => self.driver.eof(),
            Ok(n) => self.driver.filled(n),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => self.driver.transport_failed(),
        }
        true
    }

    /// Writes once, if the driver wants it. Returns whether something moved.
    fn write(&mut self) -> bool {
        if !self.driver.wants_write() {
            return false;
        }
        match self.socket.write(self.driver.pending()) {
            Ok(n) => self.driver.sent(n),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => self.driver.write_failed(),
        }
        true
    }

    /// Sends Close 1001 if there is a connection. Returns whether to wait for the rest, at most the close timeout.
    fn stop(&mut self) -> bool {
        if let Some((connection, out)) = self.driver.connection() {
            let _ = connection.start_close(1001, "the server is going away", out);
            return true;
        }
        self.driver.end().is_some()
    }
}
