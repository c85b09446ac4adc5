//! What a connection of the tokio adapter holds at rest, by a counting allocator: no buffer while it waits
//! (docs/design.md decision 3), nothing per message in the borrowed echo, nothing of a large message that has gone
//! (attack battery R01, R05, R20).

#![cfg(feature = "tokio")]

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll, Waker};

use crate::counting::{counts, live};
use crate::support::stream::{Wakes, finish, poll};
use crate::support::*;
use bowline::tokio::{WebSocket, accept};
use bowline::{Config, Message, RecvBuf, Role};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that allocates nothing once it is there: what is read was put there before, what is written is dropped.
#[derive(Clone, Debug)]
struct Still(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    input: Vec<u8>,
    at: usize,
    written: usize,
}

impl Still {
    fn new(room: usize) -> Self {
        Self(Arc::new(Mutex::new(Inner { input: Vec::with_capacity(room), ..Inner::default() })))
    }

    fn push(&self, bytes: &[u8]) {
        let mut inner = self.0.lock().unwrap();
        assert_eq!(inner.at, inner.input.len());
        inner.at = 0;
        inner.input.clear();
        inner.input.extend(bytes);
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
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap().written += bytes.len();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn open(role: Role, config: &Config, room: usize) -> (WebSocket<Still>, Still) {
    let stream = Still::new(room);
    (WebSocket::from_connection(stream.clone(), connection(role, config), RecvBuf::new()), stream)
}

/// Receives and feeds back until it has to wait; gives how many messages.
fn echo(ws: &mut WebSocket<Still>) -> usize {
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

#[tokio::test]
async fn a_connection_that_waits_holds_no_buffer() {
    for role in ROLES {
        let wire = to(role, BINARY, &[7; 1024]);
        // The thread's pool holds one buffer of each kind from here on.
        let (mut warm, warm_stream) = open(role, &Config::default(), 2048);
        warm_stream.push(&wire);
        assert_eq!(echo(&mut warm), 1);

        let mut idle: Vec<_> = (0..100).map(|_| open(role, &Config::default(), 2048)).collect();
        let baseline = live();
        for (ws, stream) in &mut idle {
            assert!(poll(pin!(ws.recv())).is_pending());
            stream.push(&wire);
            assert_eq!(echo(ws), 1);
            assert!(stream.written() > 1024);
        }
        assert_eq!(live() - baseline, 0, "bytes that 100 idle connections hold");
        // Nor the timer of a message that came in two pieces.
        for (ws, stream) in &mut idle {
            stream.push(&wire[..500]);
            assert_eq!(echo(ws), 0);
            stream.push(&wire[500..]);
            assert_eq!(echo(ws), 1);
        }
        assert_eq!(live() - baseline, 0, "bytes that 100 idle connections hold");
    }
}

#[tokio::test]
async fn halves_that_wait_hold_no_buffer() {
    let role = Role::Server;
    let wire = to(role, BINARY, &[7; 1024]);
    let mut idle: Vec<_> = (0..100)
        .map(|_| {
            let (ws, stream) = open(role, &Config::default(), 2048);
            let (sender, receiver) = ws.split();
            (sender, receiver, stream)
        })
        .collect();
    let mut baseline = live();
    for (i, (sender, receiver, stream)) in idle.iter_mut().enumerate() {
        stream.push(&wire);
        let message = finish(receiver.recv()).unwrap().unwrap();
        finish(sender.send(message)).unwrap();
        assert!(poll(pin!(receiver.recv())).is_pending());
        if i == 0 {
            // The first one filled the thread's pool.
            baseline = live();
        }
    }
    assert!(live() - baseline <= 0, "{} bytes that 99 idle connections hold", live() - baseline);
}

#[tokio::test]
async fn the_borrowed_echo_allocates_nothing_per_message() {
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

#[tokio::test]
async fn of_a_large_message_that_has_gone_nothing_is_kept() {
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
            assert!(
                live() - baseline < 1024,
                "{how}: {} bytes are kept of 8 MiB",
                live() - baseline
            );
        }
        assert!(stream.written() >= 2 * SIZE);
    }
}

#[tokio::test]
async fn half_a_message_takes_no_more_than_its_bytes_while_the_connection_waits() {
    // Battery R05: what a header announces takes nothing.
    let role = Role::Server;
    let announced = [header_to(role, 0x82, 1 << 20), vec![0; 1]].concat();
    let half = to(role, BINARY, &[0; 2000])[..1000].to_vec();
    for wire in [announced, half] {
        let mut idle: Vec<_> = (0..100).map(|_| open(role, &Config::default(), 2048)).collect();
        for (ws, stream) in &mut idle[..1] {
            stream.push(&wire);
            assert!(poll(pin!(ws.recv())).is_pending());
        }
        let baseline = live();
        for (ws, stream) in &mut idle[1..] {
            stream.push(&wire);
            assert!(poll(pin!(ws.recv())).is_pending());
        }
        // Beside the bytes there is one timer.
        let each = (live() - baseline) / 99;
        assert!(
            each < wire.len() as isize + 512,
            "{each} bytes for each of {} that came",
            wire.len()
        );
    }
}

#[tokio::test]
async fn a_client_that_sends_no_request_costs_less_than_a_kib() {
    // Battery R01.
    let streams: Vec<_> = (0..1000).map(|_| Still::new(0)).collect();
    let mut waiting: Vec<Pin<Box<dyn Future<Output = _>>>> = Vec::with_capacity(1000);
    let future = |stream: &Still| accept(stream.clone(), Config::default());
    let of_future = size_of_val(&future(&streams[0])) as isize;
    let mut first = Box::pin(future(&streams[0]));
    assert!(poll(first.as_mut()).is_pending());
    let baseline = live();
    for stream in &streams {
        let mut future = Box::pin(future(stream));
        assert!(poll(future.as_mut()).is_pending());
        waiting.push(future);
    }
    let each = (live() - baseline) / 1000 - of_future;
    assert!(each < 1024, "{each} bytes of heap each, beside a future of {of_future}");
    assert!(of_future < 4096, "a future of {of_future} bytes");
}

#[tokio::test]
async fn a_message_that_was_received_keeps_no_pooled_buffer() {
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
