//! A WebSocket server with a thread for each connection that sends every message back, and serves a
//! page to try it with.

mod common;

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bowline::blocking::Incoming;
use bowline::handshake::Accept;
use bowline::{Config, End, Error};
use common::{Options, about, fail, page};

const PROGRAM: &str = "echo_server_blocking";

/// How often a thread that waits for its peer checks whether the server is to stop.
const LOOK: Duration = Duration::from_millis(200);

/// Longer than a connection takes to close.
const PATIENCE: Duration = Duration::from_secs(7);

fn main() {
    let options = Options::parse(PROGRAM);
    if let Err(error) = run(&options) {
        fail(PROGRAM, 1, error);
    }
}

fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(&options.listen).map_err(about(&options.listen))?;
    let stop = Arc::new(AtomicBool::new(false));
    let open = Arc::new(AtomicUsize::new(0));
    {
        let (stop, open) = (stop.clone(), open.clone());
        ctrlc::set_handler(move || {
            stop.store(true, Ordering::SeqCst);
            let start = Instant::now();
            while open.load(Ordering::SeqCst) > 0 && start.elapsed() < PATIENCE {
                thread::sleep(Duration::from_millis(10));
            }
            std::process::exit(0);
        })?;
    }
    println!("listening on ws://{}", listener.local_addr()?);
    loop {
        let (socket, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            // Too many open files, for example. Open connections may end meanwhile.
            Err(error) => {
                eprintln!("{PROGRAM}: accept: {error}");
                thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        let (config, subprotocols) = (options.config.clone(), options.subprotocols.clone());
        let (stop, open) = (stop.clone(), open.clone());
        thread::spawn(move || {
            if let Err(error) = serve(socket, config, &subprotocols, &stop, &open) {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

fn serve(
    socket: TcpStream,
    config: Config,
    subprotocols: &[String],
    stop: &AtomicBool,
    open: &AtomicUsize,
) -> Result<(), Error> {
    socket.set_nodelay(true)?;
    let incoming = Incoming::read(socket, config)?;
    if !incoming.request().is_upgrade() {
        let page = page(incoming.request());
        return incoming.respond(&page);
    }
    let subprotocol = incoming.request().select_subprotocol(subprotocols).map(String::from);
    let mut ws = incoming.accept(Accept::new().subprotocol(subprotocol.as_deref()))?;
    open.fetch_add(1, Ordering::SeqCst);
    let _count = OnDrop(open);
    // A read timeout of the socket only ends that one `recv`.
    ws.get_ref().set_read_timeout(Some(LOOK))?;
    loop {
        match ws.recv() {
            Ok(Some(message)) => ws.feed(message)?,
            Ok(None) => return Ok(ws.end().map_or(Ok(()), End::result)?),
            Err(Error::Io(error))
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        if stop.load(Ordering::SeqCst) {
            ws.get_ref().set_read_timeout(None)?;
            ws.close(1001, "the server is going away")?;
            return Ok(());
        }
    }
}

/// Counts down when a connection ends, however it ends.
struct OnDrop<'a>(&'a AtomicUsize);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
