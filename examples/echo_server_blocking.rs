//! A WebSocket server with a thread for each connection that sends every message back, and serves a
//! page to try it with.

mod common;

use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bowline::blocking::{BlockingStream, Incoming};
use bowline::handshake::Accept;
use bowline::{Config, End, Error};
#[cfg(unix)]
use common::SocketFile;
use common::{Listen, Options, about, fail, page};

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

/// What the threads share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    open: AtomicUsize,
}

fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let shared = Arc::new(Shared::default());
    match &options.listen {
        Listen::Tcp(address) => {
            let listener = TcpListener::bind(address).map_err(about(address))?;
            stop_at_ctrl_c(&shared, ())?;
            println!("listening on ws://{}", listener.local_addr()?);
            accept_all(options, &shared, || {
                let (socket, peer) = listener.accept()?;
                // It fails if the client is gone, which the handshake finds as well.
                let _ = socket.set_nodelay(true);
                Ok((socket, peer.to_string()))
            })
        }
        #[cfg(unix)]
        Listen::Unix(path) => {
            let (listener, file) = SocketFile::listen(path).map_err(about(&options.listen))?;
            let name = file.to_string();
            stop_at_ctrl_c(&shared, file)?;
            println!("listening on {name}");
            accept_all(options, &shared, || Ok((listener.accept()?.0, "a client".into())))
        }
    }
}

/// Lets Ctrl-C end the program. `file` is dropped then.
fn stop_at_ctrl_c<T: Send + 'static>(shared: &Arc<Shared>, file: T) -> Result<(), ctrlc::Error> {
    let (shared, mut file) = (shared.clone(), Some(file));
    ctrlc::set_handler(move || {
        drop(file.take());
        shared.stop.store(true, Ordering::SeqCst);
        let start = Instant::now();
        while shared.open.load(Ordering::SeqCst) > 0 && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(10));
        }
        std::process::exit(0);
    })
}

/// Serves each connection in a thread. `accept` also gives the name of the client, for messages about it.
fn accept_all<S: BlockingStream + Send + 'static>(
    options: &Options,
    shared: &Arc<Shared>,
    accept: impl Fn() -> std::io::Result<(S, String)>,
) -> ! {
    loop {
        let (socket, peer) = match accept() {
            Ok(accepted) => accepted,
            // Too many open files, for example. Open connections may end meanwhile.
            Err(error) => {
                eprintln!("{PROGRAM}: accept: {error}");
                thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        let (config, subprotocols) = (options.config.clone(), options.subprotocols.clone());
        let shared = shared.clone();
        thread::spawn(move || {
            if let Err(error) = serve(socket, config, &subprotocols, &shared) {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

fn serve(
    socket: impl BlockingStream,
    config: Config,
    subprotocols: &[String],
    shared: &Shared,
) -> Result<(), Error> {
    let incoming = Incoming::read(socket, config)?;
    if !incoming.request().is_upgrade() {
        let page = page(incoming.request());
        return incoming.respond(&page);
    }
    let subprotocol = incoming.request().select_subprotocol(subprotocols).map(String::from);
    let mut ws = incoming.accept(Accept::new().subprotocol(subprotocol.as_deref()))?;
    shared.open.fetch_add(1, Ordering::SeqCst);
    let _count = OnDrop(&shared.open);
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
        if shared.stop.load(Ordering::SeqCst) {
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
