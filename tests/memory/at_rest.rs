//! What a connection holds at rest, over each asynchronous adapter, by a counting allocator: no buffer while it waits
//! (docs/design.md decision 3), nothing per message in the borrowed echo, nothing of a large message that has gone
//! (attack battery R01, R05, R20).

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll, Waker};

use bowline::{Config, Message, RecvBuf, Role};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::adapter::{WebSocket, Wrapped, accept, wrap};
use crate::counting::{counts, live};
use crate::support::stream::{Wakes, finish, poll};
use crate::support::*;

/// A stream that allocates nothing once it is there: what is read was put there before, what is written is dropped, as
/// long as there is room.
#[derive(Clone, Debug)]
pub(crate) struct Still(Arc<Mutex<Inner>>);

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

    pub(crate) fn push(&self, bytes: &[u8]) {
        let mut inner = self.0.lock().unwrap();
        assert_eq!(inner.at, inner.input.len());
        inner.at = 0;
        inner.input.clear();
        inner.input.extend(bytes);
    }

    fn room(&self, room: usize) {
        self.0.lock().unwrap().room = room;
    }

    fn written(&self) -> usize {
        self.0.lock().unwrap().written
    }
}

impl AsyncRead for Still {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut inner = self.0.lock().unwrap();
        let rest = &inner.input[inner.at..];
        if rest.is_empty() {
            return Poll::Pending;
        }
        let n = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..n]);
        inner.at += n;
        Poll::Ready(Ok(()))
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
        inner.room -= if inner.room == usize::MAX { 0 } else { n };
        inner.written += n;
        if n == 0 { Poll::Pending } else { Poll::Ready(Ok(n)) }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

pub(crate) type Socket = WebSocket<Wrapped<Still>>;

pub(crate) fn open(role: Role, config: &Config, most_input: usize) -> (Socket, Still) {
    let stream = Still::new(most_input);
    let connection = connection(role, config);
    (WebSocket::from_connection(wrap(stream.clone()), connection, RecvBuf::new()), stream)
}

/// Connections with the timeouts that a program has without a word.
pub(crate) fn hundred(role: Role) -> Vec<(Socket, Still)> {
    (0..100).map(|_| open(role, &Config::default(), 2048)).collect()
}

/// Receives and feeds back until it has to wait; gives how many messages.
pub(crate) fn echo(ws: &mut Socket) -> usize {
    static WAKES: LazyLock<(Arc<Wakes>, Waker)> = LazyLock::new(Wakes::new);
    let (wakes, waker) = &*WAKES;
    let mut n = 0;
    loop {
        let woken = wakes.count();
        match pin!(ws.recv_borrowed()).poll(&mut Context::from_waker(waker)) {
            Poll::Ready(lent) => {
                let (message, mut out) = lent.unwrap().unwrap();
                out.feed(message).unwrap();
                n += 1;
            }
            // It only gave other tasks a turn.
            Poll::Pending if wakes.count() > woken => {}
            Poll::Pending => return n,
        }
    }
}

/// What each of 99 holds after `run`, beside what the first one put into the thread's pool.
fn held<T>(all: &mut [T], mut run: impl FnMut(&mut T)) -> isize {
    run(&mut all[0]);
    let baseline = live();
    for one in &mut all[1..] {
        run(one);
    }
    let each = (all.len() - 1) as isize;
    let held = live() - baseline;
    // Rounded up: a single buffer of 99 shows.
    held.signum() * (held.abs() + each - 1) / each
}

#[test]
fn a_connection_that_waits_holds_no_buffer() {
    for role in ROLES {
        let wire = to(role, BINARY, &[7; 1024]);
        // The thread's pool holds one buffer of each kind from here on.
        let (mut warm, warm_stream) = open(role, &Config::default(), 2048);
        warm_stream.push(&wire);
        assert_eq!(echo(&mut warm), 1);

        let mut idle = hundred(role);
        let baseline = live();
        for (ws, stream) in &mut idle {
            assert!(poll(pin!(ws.recv())).is_pending());
            stream.push(&wire);
            assert_eq!(echo(ws), 1);
            assert!(stream.written() > 1024);
        }
        assert_eq!(live() - baseline, 0, "bytes that 100 idle connections hold");
    }
}

#[test]
fn halves_that_wait_hold_no_buffer() {
    for role in ROLES {
        let wire = to(role, BINARY, &[7; 1024]);
        let halves = hundred(role).into_iter().map(|(ws, stream)| (ws.split(), stream));
        let each = held(&mut halves.collect::<Vec<_>>(), |((sender, receiver), stream)| {
            stream.push(&wire);
            let message = finish(receiver.recv()).unwrap().unwrap();
            finish(sender.send(message)).unwrap();
            assert!(poll(pin!(receiver.recv())).is_pending());
        });
        assert!(each <= 0, "{role:?}: {each} bytes");
    }
}

#[test]
fn a_connection_that_has_ended_holds_no_buffer() {
    let role = Role::Server;
    let wire = [to(role, BINARY, &[7; 100]), close_to(role, 1000), vec![0; 1000]].concat();
    let each = held(&mut hundred(role), |(ws, stream)| {
        stream.push(&wire);
        while finish(ws.recv()).unwrap().is_some() {}
    });
    // What the end is, and where the leaving stands.
    assert!(each < 400, "{each} bytes");
}

#[test]
fn what_a_slow_peer_does_not_take_holds_little_more_than_its_bytes() {
    let each = held(&mut hundred(Role::Server), |(ws, stream)| {
        stream.room(100);
        finish(ws.feed(&[7; 200][..])).unwrap();
        assert!(poll(pin!(ws.flush())).is_pending());
    });
    // Beside the bytes there is one timer.
    assert!(each < 512, "{each} bytes for 104 that wait");
}

#[test]
fn the_borrowed_echo_allocates_nothing_per_message() {
    for role in ROLES {
        let (mut ws, stream) = open(role, &Config::default(), 32 << 10);
        let wire = to(role, TEXT, &[b'x'; 500]).repeat(20);
        stream.push(&wire);
        assert_eq!(echo(&mut ws), 20);
        let before = counts().allocations;
        for _ in 0..100 {
            stream.push(&wire);
            assert_eq!(echo(&mut ws), 20);
        }
        assert_eq!(counts().allocations - before, 0, "allocations for 2000 messages");
    }
}

#[test]
fn the_owned_echo_allocates_once_per_message() {
    for role in ROLES {
        let (mut ws, stream) = open(role, &Config::default(), 32 << 10);
        let wire = to(role, TEXT, &[b'x'; 500]).repeat(20);
        stream.push(&wire);
        assert_eq!(echo(&mut ws), 20);
        let before = counts().allocations;
        for _ in 0..100 {
            stream.push(&wire);
            for _ in 0..20 {
                let message = finish(ws.recv()).unwrap().unwrap();
                finish(ws.feed(message)).unwrap();
            }
            finish(ws.flush()).unwrap();
        }
        assert_eq!(counts().allocations - before, 2000, "allocations for 2000 messages");
    }
}

#[test]
fn of_a_large_message_that_has_gone_nothing_is_kept() {
    // Battery R20.
    const SIZE: usize = 8 << 20;
    let config = Config::default().max_message_size(16 << 20);
    for role in ROLES {
        let wire = to(role, BINARY, &vec![7; SIZE]);
        let (mut ws, stream) = open(role, &config, wire.len());
        // Large enough for each kind of pooled buffer.
        stream.push(&to(role, BINARY, &vec![7; 300_000]));
        assert_eq!(echo(&mut ws), 1);
        let baseline = live();
        for how in ["recv", "recv_borrowed", "recv_part"] {
            stream.push(&wire);
            match how {
                "recv" => {
                    let message = finish(ws.recv()).unwrap().unwrap();
                    assert_eq!(message.as_bytes().len(), SIZE);
                    finish(ws.send(message)).unwrap();
                }
                "recv_borrowed" => assert_eq!(echo(&mut ws), 1),
                _ => while !finish(ws.recv_part()).unwrap().unwrap().last {},
            }
            assert!(poll(pin!(ws.recv())).is_pending());
            let kept = live() - baseline;
            assert!(kept < 1024, "{how}: {kept} bytes are kept of 8 MiB");
        }
        assert!(stream.written() >= 2 * SIZE);
    }
}

#[test]
fn half_a_message_takes_no_more_than_its_bytes_while_the_connection_waits() {
    // Battery R05: what a header announces takes nothing.
    let role = Role::Server;
    let announced = [header_to(role, 0x82, 1 << 20), vec![0; 1]].concat();
    let half = to(role, BINARY, &[0; 2000])[..1000].to_vec();
    for wire in [announced, half] {
        let each = held(&mut hundred(role), |(ws, stream)| {
            stream.push(&wire);
            assert!(poll(pin!(ws.recv())).is_pending());
        });
        // Beside the bytes there is one timer.
        let most = wire.len() as isize + 512;
        assert!(each < most, "{each} bytes for each of {} that came", wire.len());
    }
}

#[test]
fn a_client_that_sends_no_request_costs_less_than_a_kib() {
    // Battery R01.
    let accepting = |_| Box::pin(accept(wrap(Still::new(0)), Config::default()));
    let mut all: Vec<_> = (0..1000).map(accepting).collect();
    let of_future = size_of_val(&*all[0]);
    assert!(of_future < 4096, "a future of {of_future} bytes");
    let each = held(&mut all, |accepting| assert!(poll(accepting.as_mut()).is_pending()));
    assert!(each < 1024, "{each} bytes of heap each, beside a future of {of_future}");
}

#[test]
fn a_message_that_was_received_keeps_no_pooled_buffer() {
    // docs/design.md decision 9: owned payloads up to 4 KiB are copied out.
    let role = Role::Server;
    let (mut ws, stream) = open(role, &Config::default(), 4096);
    stream.push(&to(role, BINARY, &[1; 100]));
    finish(ws.recv()).unwrap();
    assert!(poll(pin!(ws.recv())).is_pending());
    let mut kept: Vec<Message> = Vec::with_capacity(100);
    let baseline = live();
    for _ in 0..100 {
        stream.push(&to(role, BINARY, &[1; 100]));
        kept.push(finish(ws.recv()).unwrap().unwrap());
        assert!(poll(pin!(ws.recv())).is_pending());
    }
    let each = (live() - baseline) / 100;
    assert!(each < 200, "{each} bytes are kept for a message of 100");
}
