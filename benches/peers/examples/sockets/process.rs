//! A server in a process of its own, so that its processor time and its memory are its own too.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use super::Result;
use super::servers::{self, Server, Shared};
use super::shapes;

/// The first argument of a server's process.
pub const SERVE: &str = "serve";

// What a server is asked.
const CPU: &str = "cpu";
const RESIDENT: &str = "resident";
const LIVE: &str = "live";
const FUTURE: &str = "future";

/// Keeps the server and the client to one processor each. If there is only one, it does nothing.
pub fn pin(to: usize) {
    let mut set = CpuSet::new();
    set.set(to);
    let _ = sched_setaffinity(None, &set);
}

/// Raises the limit of file descriptors as far as the system allows.
pub fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

/// The processor time that this process has used.
pub fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The memory of this process that is in RAM, in bytes.
fn resident() -> u64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap_or_default();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(0);
    kib * 1024
}

/// The memory that a process has, and the memory that it asked for, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub resident: u64,
    /// What the allocator gave out and did not get back.
    pub live: u64,
}

impl Memory {
    pub fn now(live: fn() -> u64) -> Self {
        Self { resident: resident(), live: live() }
    }
}

/// The process of an echo server: it serves, and answers questions until these end.
pub fn serve(arguments: &[String], live: fn() -> u64) -> ! {
    let [name, processor] = arguments else { panic!("which server, on which processor") };
    let server = Server::named(name).expect("a server");
    let listener = begin(processor);
    static TASK: AtomicUsize = AtomicUsize::new(0);
    answer(move |question| match question {
        LIVE => Some(live()),
        FUTURE => Some(TASK.load(Ordering::Relaxed) as u64),
        _ => None,
    });
    if let Some(serve) = servers::blocking(server) {
        loop {
            let Ok((stream, _)) = listener.accept() else { continue };
            let _ = stream.set_nodelay(true);
            let thread = std::thread::Builder::new().stack_size(256 << 10);
            thread.spawn(move || serve(stream)).expect("a thread");
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let shared = Shared::default();
    runtime.block_on(async {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        if shapes::listens(server) {
            shapes::listen(server, listener).await;
        }
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            TASK.store(servers::spawn(server, stream, &shared), Ordering::Relaxed);
        }
    })
}

/// Keeps this process to its processor, listens, and says on which port.
pub fn begin(processor: &str) -> TcpListener {
    pin(processor.parse().expect("a number"));
    raise_limit();
    let listener = listen().expect("a socket to listen on");
    println!("{}", listener.local_addr().unwrap().port());
    listener
}

/// Answers questions from standard input, on a thread of its own. The process ends when standard input ends, or
/// with a question to which `own` has no answer.
pub fn answer(own: impl Fn(&str) -> Option<u64> + Send + 'static) {
    std::thread::spawn(move || {
        for question in std::io::stdin().lines().map_while(Result::ok) {
            let answer = match question.as_str() {
                CPU => Some(cpu().as_nanos() as u64),
                RESIDENT => Some(resident()),
                other => own(other),
            };
            let Some(answer) = answer else { break };
            println!("{answer}");
        }
        std::process::exit(0);
    });
}

fn listen() -> Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// The client's handle of a server's process.
pub struct Process {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pub address: SocketAddr,
}

impl Process {
    /// Starts this program again, as a server.
    pub fn start(server: &str, processor: usize) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        Self::run(command.args([SERVE, server, &processor.to_string()]))
    }

    /// Starts a server that is another program, and answers as this one does.
    pub fn run(command: &mut Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let questions = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().ok_or(ErrorKind::BrokenPipe)?);
        let mut line = String::new();
        answers.read_line(&mut line)?;
        let port: u16 = line.trim().parse().map_err(|_| ErrorKind::BrokenPipe)?;
        let address = (Ipv4Addr::LOCALHOST, port).into();
        Ok(Self { child, questions, answers, address })
    }

    /// The processor time that it has used.
    pub fn cpu(&mut self) -> Result<Duration> {
        self.ask(CPU).map(Duration::from_nanos)
    }

    /// Waits until it has nothing left to do.
    pub fn settle(&mut self) -> Result<()> {
        loop {
            let before = self.cpu()?;
            std::thread::sleep(Duration::from_millis(50));
            // The question takes some processor time too.
            if self.cpu()? - before < Duration::from_millis(5) {
                return Ok(());
            }
        }
    }

    /// Its memory once it has nothing left to do.
    pub fn memory(&mut self) -> Result<Memory> {
        self.settle()?;
        Ok(Memory { resident: self.ask(RESIDENT)?, live: self.ask(LIVE)? })
    }

    /// The bytes of a connection's future.
    pub fn future(&mut self) -> Result<u64> {
        self.ask(FUTURE)
    }

    /// The answer to a question that the server knows.
    pub fn ask(&mut self, question: &str) -> Result<u64> {
        let questions = self.questions.as_mut().ok_or(ErrorKind::BrokenPipe)?;
        questions.write_all(format!("{question}\n").as_bytes())?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        line.trim().parse().map_err(|_| ErrorKind::BrokenPipe.into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Its standard input ends, and so does it.
        self.questions = None;
        let _ = self.child.wait();
    }
}
