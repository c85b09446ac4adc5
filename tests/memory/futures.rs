//! What a connection of the adapter for `futures-io` holds at rest, by a counting allocator: no buffer while it waits
//! (docs/design.md decision 3), nothing of a large message that has gone (attack battery R01, R05, R20).

#![cfg(all(feature = "tokio", feature = "futures-io"))]

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use crate::counting::live;
use crate::support::stream::{finish, poll};
use crate::support::*;
use bowline::futures::{WebSocket, accept};
use bowline::{Config, RecvBuf, Role};
use smol::io::{AsyncRead, AsyncWrite};

/// A stream that allocates nothing once it is there: what is read was put there before, what is written is dropped, as
/// long as there is room.
#[derive(Clone, Debug)]
struct Still(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    input: Vec<u8>,
    at: usize,
    room: usize,
    written: usize,
}

impl Still {
    fn new(most_input: usize) -> Self {
        let input = Vec::with_capacity(most_input);
        Self(Arc::new(Mutex::new(Inner { input, at: 0, room: usize::MAX, written: 0 })))
    }

    fn push(&self, bytes: &[u8]) {
        let mut inner = self.0.lock().unwrap();
        assert_eq!(inner.at, inner.input.len());
        inner.at = 0;
        inner.input.clear();
        inner.input.extend(bytes);
    }

    fn room(&self, room: usize) {
        self.0.lock().unwrap().room = room;
    }
}

impl AsyncRead for Still {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.0.lock().unwrap();
        let rest = &inner.input[inner.at..];
        if rest.is_empty() {
            return Poll::Pending;
        }
        let n = rest.len().min(bytes.len());
        bytes[..n].copy_from_slice(&rest[..n]);
        inner.at += n;
        Poll::Ready(Ok(n))
    }
}

impl AsyncWrite for Still {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.0.lock().unwrap();
        let n = slices.iter().map(|slice| slice.len()).sum::<usize>().min(inner.room);
        inner.room -= n;
        inner.written += n;
        if n == 0 { Poll::Pending } else { Poll::Ready(Ok(n)) }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn open(role: Role, config: &Config, most_input: usize) -> (WebSocket<Still>, Still) {
    let stream = Still::new(most_input);
    (WebSocket::from_connection(stream.clone(), connection(role, config), RecvBuf::new()), stream)
}

/// What each of 99 holds after `run`, beside what the first one put into the thread's pool.
fn held<T>(mut all: Vec<T>, mut run: impl FnMut(&mut T)) -> isize {
    run(&mut all[0]);
    let baseline = live();
    for one in &mut all[1..] {
        run(one);
    }
    (live() - baseline) / (all.len() as isize - 1)
}

#[test]
fn a_connection_that_waits_holds_no_buffer() {
    for role in ROLES {
        let wire = to(role, BINARY, &[7; 1024]);
        for split in [false, true] {
            let all: Vec<_> = (0..100).map(|_| open(role, &no_timeouts(), 2048)).collect();
            let each = if split {
                let all =
                    all.into_iter().map(|(ws, stream)| (ws.split(), stream)).collect::<Vec<_>>();
                held(all, |((sender, receiver), stream)| {
                    stream.push(&wire);
                    let message = finish(receiver.recv()).unwrap().unwrap();
                    finish(sender.send(message)).unwrap();
                    assert!(poll(pin!(receiver.recv())).is_pending());
                })
            } else {
                held(all, |(ws, stream)| {
                    stream.push(&wire);
                    let (message, mut out) = finish(ws.recv_borrowed()).unwrap().unwrap();
                    out.feed(message).unwrap();
                    assert!(poll(pin!(ws.recv())).is_pending());
                })
            };
            assert_eq!(each, 0, "{role:?}, split: {split}");
        }
    }
}

#[test]
fn a_connection_that_has_ended_holds_no_buffer() {
    let role = Role::Server;
    let all: Vec<_> = (0..100).map(|_| open(role, &no_timeouts(), 2048)).collect();
    let wire = [to(role, BINARY, &[7; 100]), close_to(role, 1000), vec![0; 1000]].concat();
    let each = held(all, |(ws, stream)| {
        stream.push(&wire);
        while finish(ws.recv()).unwrap().is_some() {}
    });
    // What the end is, and where the leaving stands.
    assert!(each < 400, "{each} bytes");
}

#[test]
fn what_a_slow_peer_does_not_take_holds_little_more_than_its_bytes() {
    let all: Vec<_> = (0..100).map(|_| open(Role::Server, &no_timeouts(), 0)).collect();
    let each = held(all, |(ws, stream)| {
        stream.room(100);
        finish(ws.feed(&[7; 200][..])).unwrap();
        assert!(poll(pin!(ws.flush())).is_pending());
    });
    assert!(each < 512, "{each} bytes for 104 that wait");
}

#[test]
fn of_a_large_message_that_has_gone_nothing_is_kept() {
    // Battery R20.
    const SIZE: usize = 8 << 20;
    for role in ROLES {
        let wire = to(role, BINARY, &vec![7; SIZE]);
        let (mut ws, stream) = open(role, &no_timeouts().max_message_size(16 << 20), wire.len());
        // Large enough for each kind of pooled buffer.
        stream.push(&to(role, BINARY, &vec![7; 300_000]));
        let message = finish(ws.recv()).unwrap().unwrap();
        finish(ws.send(message)).unwrap();
        assert!(poll(pin!(ws.recv())).is_pending());
        let baseline = live();
        for in_parts in [false, true] {
            stream.push(&wire);
            if in_parts {
                while !finish(ws.recv_part()).unwrap().unwrap().last {}
            } else {
                let message = finish(ws.recv()).unwrap().unwrap();
                finish(ws.send(message)).unwrap();
            }
            assert!(poll(pin!(ws.recv())).is_pending());
            let kept = live() - baseline;
            assert!(kept < 1024, "in parts: {in_parts}, {kept} bytes are kept of 8 MiB");
        }
    }
}

#[test]
fn a_client_that_sends_no_request_costs_less_than_a_kib() {
    // Battery R01.
    let all: Vec<_> = (0..100).map(|_| Box::pin(accept(Still::new(0), no_timeouts()))).collect();
    let each = held(all, |accepting| assert!(poll(accepting.as_mut()).is_pending()));
    assert!(each < 1024, "{each} bytes of heap each");
}
