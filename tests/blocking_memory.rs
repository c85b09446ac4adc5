//! What threads that block lend each other, by a counting allocator (docs/design.md decision 3).

#![cfg(feature = "std")]

#[path = "common/counting.rs"]
mod counting;
mod support;

use std::io::{self, Cursor, Read, Write};

use bowline::blocking::{Plain, WebSocket};
use bowline::{Config, RecvBuf, Role};
use counting::{WIDE, counts};
use support::*;

/// A peer that has sent so much and then ends.
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

/// Echoes a message and waits for the next, on a thread of its own; gives how much that allocated.
fn echo() -> usize {
    let role = Role::Server;
    let peer = Peer(Cursor::new(to(role, BINARY, &[7; 1024])));
    let serve = move || {
        let before = counts().allocated;
        let connection = connection(role, &Config::default());
        let mut ws = WebSocket::from_connection(Plain(peer), connection, RecvBuf::new()).unwrap();
        let mut echoed = 0;
        while let Ok(Some((message, mut out))) = ws.recv_borrowed() {
            out.feed(message).unwrap();
            echoed += 1;
        }
        assert_eq!(echoed, 1);
        counts().allocated - before
    };
    std::thread::spawn(serve).join().unwrap()
}

#[test]
fn a_thread_that_waits_lends_its_send_buffer_to_others() {
    let wide = WIDE as usize;
    assert!(echo() >= wide);
    for _ in 0..3 {
        let allocated = echo();
        assert!(allocated < wide, "{allocated} bytes for one more thread");
    }
}
