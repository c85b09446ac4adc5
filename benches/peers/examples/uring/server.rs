//! An echo server on io_uring: bowline's core, and buffers that are with the kernel until a read or a write is complete.
//!
//! There is one ring and one thread. The answer to all messages of a read is a write, and the next read is linked to it: the
//! kernel begins the read when the write is done. So a round trip is one system call, and where several connections are ready,
//! they share it. Nothing here has a deadline.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};

use bowline::handshake::{Accept, ServerHandshake};
use bowline::{Config, Connection, OwnedPending, OwnedSpace, Progress, RecvBuf, SendBuf};
use io_uring::squeue::{Entry, Flags};
use io_uring::{IoUring, cqueue, opcode, types};

/// Entries of the ring. More are submitted in several calls.
const ENTRIES: u32 = 1024;

/// `recv(2)` and `send(2)` of Linux: wait for all bytes, no signal if the peer is gone.
const MSG_WAITALL: i32 = 0x100;
const MSG_NOSIGNAL: i32 = 0x4000;

/// An entry, and the one that is linked to it: they go together.
type Entries = (Entry, Option<Entry>);

/// What a completion belongs to: this, or the number of a connection and what it did.
const ACCEPTED: u64 = u64::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Did {
    Read,
    Wrote,
}

fn token(peer: usize, did: Did) -> u64 {
    (peer as u64) << 1 | u64::from(did == Did::Wrote)
}

enum State {
    Opening(ServerHandshake),
    Open(Connection),
}

struct Peer {
    socket: TcpStream,
    state: State,
    input: RecvBuf,
    out: SendBuf,
    /// What the kernel has.
    reading: Option<OwnedSpace>,
    writing: Option<OwnedPending>,
}

impl Peer {
    fn new(socket: TcpStream, config: &Config) -> Self {
        Self {
            socket,
            state: State::Opening(ServerHandshake::new(config.clone())),
            input: RecvBuf::new(),
            out: SendBuf::new(),
            reading: None,
            writing: None,
        }
    }

    /// Answers what came. `None`: the connection is over.
    fn proceed(&mut self, config: &Config) -> Option<()> {
        if let State::Opening(handshake) = &mut self.state {
            let Some(request) = handshake.read(&mut self.input).ok()? else { return Some(()) };
            let upgrade = request.upgrade(config).ok()?;
            let (connection, response) = upgrade.accept(Accept::new()).ok()?;
            response.encode(&mut self.out);
            self.state = State::Open(connection);
        }
        let State::Open(connection) = &mut self.state else { return None };
        while let Progress::Event = connection.advance(&mut self.input, &mut self.out).ok()? {
            connection.send(self.input.event()?, &mut self.out).ok()?;
        }
        connection.answer(&mut self.out);
        connection.end().is_none().then_some(())
    }

    /// Gives away what waits to leave, and room for what comes next.
    fn next(&mut self, number: usize) -> Entries {
        let socket = types::Fd(self.socket.as_raw_fd());
        let mut write = None;
        if let Some(pending) = self.out.take_pending() {
            let bytes = pending.as_ref();
            // There may be more, which has to follow before anything is read.
            let is_all = self.out.len() == bytes.len();
            let send = opcode::Send::new(socket, bytes.as_ptr(), bytes.len() as u32)
                .flags(MSG_WAITALL | MSG_NOSIGNAL)
                .build()
                .user_data(token(number, Did::Wrote));
            self.writing = Some(pending);
            if !is_all {
                return (send, None);
            }
            // The read begins once all is written, and its completion tells of both.
            write = Some(send.flags(Flags::IO_LINK | Flags::SKIP_SUCCESS));
        }
        let mut space = self.input.take_space();
        let room = space.as_mut();
        let receive = opcode::Recv::new(socket, room.as_mut_ptr(), room.len() as u32)
            .build()
            .user_data(token(number, Did::Read));
        self.reading = Some(space);
        match write {
            Some(write) => (write, Some(receive)),
            None => (receive, None),
        }
    }

    /// The kernel gives back what it had. `None`: the connection is over.
    fn completed(&mut self, did: Did, result: i32) -> Option<()> {
        let count = usize::try_from(result).ok()?;
        match did {
            Did::Wrote => self.out.put_pending(self.writing.take()?, count),
            Did::Read => {
                if let Some(written) = self.writing.take() {
                    self.out.put_pending(written, usize::MAX);
                }
                self.input.put_space(self.reading.take()?, count);
                if count == 0 {
                    return None;
                }
            }
        }
        Some(())
    }
}

pub fn serve(listener: &TcpListener) -> io::Result<()> {
    let config = Config::default();
    let mut ring: IoUring =
        IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(ENTRIES)?;
    let mut peers: Vec<Option<Peer>> = Vec::new();
    let mut free = Vec::new();
    let listening = types::Fd(listener.as_raw_fd());
    let accept = || (opcode::AcceptMulti::new(listening).build().user_data(ACCEPTED), None);
    let mut queue = VecDeque::from([accept()]);
    let mut completed = Vec::new();
    loop {
        submit(&mut ring, &mut queue)?;
        completed.extend(ring.completion());
        for entry in completed.drain(..) {
            if entry.user_data() == ACCEPTED {
                if !cqueue::more(entry.flags()) {
                    queue.push_back(accept());
                }
                if entry.result() < 0 {
                    continue;
                }
                // SAFETY: the kernel has opened it for this completion, so nobody else owns it.
                let socket = unsafe { TcpStream::from_raw_fd(entry.result()) };
                let _ = socket.set_nodelay(true);
                let number = free.pop().unwrap_or_else(|| {
                    peers.push(None);
                    peers.len() - 1
                });
                queue.push_back(peers[number].insert(Peer::new(socket, &config)).next(number));
                continue;
            }
            let number = (entry.user_data() >> 1) as usize;
            let did = if entry.user_data() & 1 == 1 { Did::Wrote } else { Did::Read };
            let Some(peer) = &mut peers[number] else { continue };
            // A write that fails cancels the read that is linked to it, whose completion follows.
            if did == Did::Wrote && entry.result() < 0 && peer.reading.is_some() {
                continue;
            }
            let alive = peer.completed(did, entry.result()).and_then(|()| match did {
                Did::Wrote => Some(()),
                Did::Read => peer.proceed(&config),
            });
            match alive {
                Some(()) => queue.push_back(peer.next(number)),
                None => {
                    peers[number] = None;
                    free.push(number);
                }
            }
        }
    }
}

/// Gives the kernel all entries, and waits for a completion.
fn submit(ring: &mut IoUring, queue: &mut VecDeque<Entries>) -> io::Result<()> {
    loop {
        let mut submission = ring.submission();
        while submission.capacity() - submission.len() >= 2 {
            let Some((first, linked)) = queue.pop_front() else { break };
            for entry in [Some(first), linked].into_iter().flatten() {
                // SAFETY: the buffers belong to values that `Peer` keeps until the completion, and that do not move.
                unsafe { submission.push(&entry) }.expect("there is room");
            }
        }
        drop(submission);
        let wait = usize::from(queue.is_empty());
        match ring.submit_and_wait(wait) {
            Ok(_) if queue.is_empty() => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
