//! What threads that block lend each other, by a counting allocator (docs/design.md decision 3). In a process of its own:
//! what threads have lent is the process's, and any other thread may take it.

#![cfg(feature = "std")]

#[path = "support/counting.rs"]
mod counting;
mod support;

use std::io::{self, Cursor, Read, Write};
use std::sync::Barrier;

use bowline::blocking::{Plain, WebSocket};
use bowline::{Config, RecvBuf, Role};
use counting::{WIDE, counts};
use support::*;

/// A peer that has sent these bytes and then ends.
struct Peer(Cursor<Vec<u8>>);

impl Read for Peer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Echoes a message and waits for the next, on several threads that answer at the same time. Gives how much each
/// allocated.
fn echo(threads: usize) -> Vec<usize> {
    let answered = Barrier::new(threads);
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(|| echo_once(&answered))).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn echo_once(answered: &Barrier) -> usize {
    let role = Role::Server;
    let peer = Peer(Cursor::new(to(role, BINARY, &[7; 1024])));
    let before = counts().allocated;
    let connection = connection(role, &Config::default());
    let mut ws = WebSocket::from_connection(Plain(peer), connection, RecvBuf::new()).unwrap();
    let (message, mut out) = ws.recv_borrowed().unwrap().unwrap();
    out.feed(message).unwrap();
    answered.wait();
    assert!(ws.recv_borrowed().is_err(), "the peer has gone");
    counts().allocated - before
}

#[test]
fn a_thread_that_waits_lends_its_send_buffer_to_others() {
    let wide = WIDE as usize;
    assert!(echo(1)[0] >= wide);
    for _ in 0..3 {
        let allocated = echo(1)[0];
        assert!(allocated < wide, "{allocated} bytes for one more thread");
    }
    // After many have answered at once, not all of their memory stays for later.
    echo(30);
    let own = echo(30).into_iter().filter(|&allocated| allocated >= wide).count();
    assert!(own >= 30 - 16, "{} buffers stayed", 30 - own);
}
