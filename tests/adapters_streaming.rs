//! Messages in parts through both adapters (docs/design.md decision 11; attack battery O15): of unknown length, in both
//! directions, in memory that does not grow with the message.

#![cfg(feature = "tokio")]
#![allow(unsafe_code, reason = "a global allocator is unsafe to implement")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{TcpListener, TcpStream};
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicIsize, Ordering};

use bowline::{Config, End, Error, Message, MessageRef, RecvBuf, Refusal, Role};
use support::*;

/// Counts the whole process: both ends of a connection are in it.
struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

fn count(change: isize) {
    let live = LIVE.fetch_add(change, Ordering::Relaxed) + change;
    PEAK.fetch_max(live, Ordering::Relaxed);
}

// SAFETY: everything is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller's promise is the same.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// One test at a time, since all are counted.
static TURN: Mutex<()> = Mutex::new(());

/// The most that was allocated meanwhile, beyond what there was before.
fn peak_of(run: impl FnOnce()) -> isize {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    run();
    PEAK.load(Ordering::Relaxed) - before
}

fn turn() -> std::sync::MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

const SIZE: usize = 64 << 20;
const PART: usize = 10_000;
const MIB: isize = 1 << 20;

fn unlimited() -> Config {
    Config::default().max_message_size(u64::MAX)
}

/// What the stream of all parts has at this place.
fn byte_at(at: usize) -> u8 {
    (at % 251) as u8
}

/// Checks the parts of one message as they come.
#[derive(Default)]
struct Check {
    received: usize,
    done: bool,
}

impl Check {
    fn part(&mut self, part: &bowline::Part<'_>) {
        let bytes = part.payload.as_bytes();
        assert_eq!(part.first, self.received == 0);
        if let (Some(first), Some(last)) = (bytes.first(), bytes.last()) {
            assert_eq!(*first, byte_at(self.received));
            assert_eq!(*last, byte_at(self.received + bytes.len() - 1));
        }
        self.received += bytes.len();
        self.done = part.last;
    }
}

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, peer)
}

#[test]
fn a_message_of_64_mib_passes_through_the_blocking_adapter_in_less_than_one_mib() {
    let _turn = turn();
    let peak = peak_of(|| {
        let (ours, peer) = tcp();
        let mut threads = Vec::new();
        // Both directions at once, so both roles send and receive.
        for (stream, role) in [(ours, Role::Server), (peer, Role::Client)] {
            let connection = connection(role, &unlimited());
            let ws =
                bowline::blocking::WebSocket::from_connection(stream, connection, RecvBuf::new());
            let (mut sender, mut receiver) = ws.unwrap().split().unwrap();
            threads.push(spawn(move || {
                let pattern = pattern(PART + 251);
                let mut at = 0;
                while at < SIZE {
                    let n = PART.min(SIZE - at);
                    let from = at % 251;
                    sender.send_part(&pattern[from..from + n], false).unwrap();
                    at += n;
                }
                sender.send_part(&b""[..], true).unwrap();
            }));
            threads.push(spawn(move || {
                let mut check = Check::default();
                while !check.done {
                    check.part(&receiver.recv_part().unwrap().unwrap());
                }
                assert_eq!(check.received, SIZE);
            }));
        }
        for thread in threads {
            thread.wait_at_most(3 * LONG, "64 MiB");
        }
    });
    assert!(peak < MIB, "{peak} bytes at the peak");
}

#[test]
fn a_message_of_64_mib_passes_through_the_tokio_adapter_in_less_than_one_mib() {
    let _turn = turn();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let peak = peak_of(|| {
        runtime.block_on(async {
            let (ours, peer) = tokio::io::duplex(64 << 10);
            let mut tasks = tokio::task::JoinSet::new();
            for (stream, role) in [(ours, Role::Server), (peer, Role::Client)] {
                let connection = connection(role, &unlimited());
                let ws =
                    bowline::tokio::WebSocket::from_connection(stream, connection, RecvBuf::new());
                let (mut sender, mut receiver) = ws.split();
                tasks.spawn(async move {
                    let pattern = pattern(PART + 251);
                    let mut at = 0;
                    while at < SIZE {
                        let n = PART.min(SIZE - at);
                        let from = at % 251;
                        sender.send_part(&pattern[from..from + n], false).await.unwrap();
                        at += n;
                    }
                    sender.send_part(&b""[..], true).await.unwrap();
                });
                tasks.spawn(async move {
                    let mut check = Check::default();
                    while !check.done {
                        check.part(&receiver.recv_part().await.unwrap().unwrap());
                    }
                    assert_eq!(check.received, SIZE);
                });
            }
            let all = async {
                while let Some(result) = tasks.join_next().await {
                    result.unwrap();
                }
            };
            tokio::time::timeout(3 * LONG, all).await.expect("64 MiB");
        });
    });
    assert!(peak < MIB, "{peak} bytes at the peak");
}

#[test]
fn ping_and_close_go_between_the_parts_of_a_blocking_message() {
    let _turn = turn();
    let role = Role::Server;
    let (mut ws, far) = blocking::open(role, &unlimited());
    ws.send_part("one", false).unwrap();
    ws.ping(b"p").unwrap();
    ws.send_part("two", false).unwrap();
    match ws.send("another message") {
        Err(Error::Send(error)) => {
            assert_eq!(error.refusal(), Refusal::MessageOpen);
            assert_eq!(error.into_message(), Some("another message".into()));
        }
        other => panic!("{other:?}"),
    }
    ws.start_close(1001, "").unwrap();
    assert!(
        matches!(ws.send_part("three", true), Err(Error::Send(e)) if e.refusal() == Refusal::Closed)
    );
    let sent = far.frames(role);
    let seen: Vec<_> = sent.iter().map(|f| (f.opcode, f.fin)).collect();
    assert_eq!(seen, [(TEXT, false), (PING, true), (CONTINUATION, false), (CLOSE, true)]);
}

#[test]
fn ping_and_close_go_between_the_parts_of_a_tokio_message() {
    let _turn = turn();
    use support::over_tokio::open;
    use support::stream::finish;
    let role = Role::Client;
    for split in [false, true] {
        let (mut ws, far) = open(role, &no_timeouts());
        finish(ws.send_part("one", false)).unwrap();
        finish(ws.ping(b"p")).unwrap();
        finish(ws.send_part("two", false)).unwrap();
        if split {
            let (mut sender, _receiver) = ws.split();
            assert!(
                matches!(finish(sender.send("x")), Err(Error::Send(e)) if e.refusal() == Refusal::MessageOpen)
            );
            finish(sender.close(1001, "")).unwrap();
            let late = finish(sender.send_part("three", true));
            assert!(matches!(late, Err(Error::Send(e)) if e.refusal() == Refusal::Closed));
        } else {
            assert!(
                matches!(finish(ws.send("x")), Err(Error::Send(e)) if e.refusal() == Refusal::MessageOpen)
            );
            finish(ws.start_close(1001, "")).unwrap();
        }
        let seen: Vec<_> = far.frames(role).iter().map(|f| (f.opcode, f.fin)).collect();
        assert_eq!(seen, [(TEXT, false), (PING, true), (CONTINUATION, false), (CLOSE, true)]);
    }
}

#[test]
fn close_leaves_within_one_part_of_a_long_message_to_a_peer_that_reads_slowly() {
    let _turn = turn();
    // Battery O15. The queue holds no more than 16 KiB and a part, so that is all that Close has to wait for.
    use support::over_tokio::open;
    use support::stream::{cancelled, finish};
    let role = Role::Server;
    let (mut ws, far) = open(role, &no_timeouts());
    far.room(40_000);
    while cancelled(ws.send_part(&[0_u8; PART][..], false), 3).is_some() {}
    let taken = far.written().len();
    assert_eq!(taken, 40_000);
    far.room(usize::MAX);
    finish(ws.start_close(1001, "")).unwrap();
    let sent = far.frames(role);
    assert_eq!(sent.last().map(close_code), Some(1001));
    let behind = far.written().len() - taken;
    assert!(behind <= (16 << 10) + 2 * PART, "{behind} bytes went before Close");
}

/// `text` in three fragments, with pings between them.
fn in_fragments(role: Role, text: &str) -> Vec<u8> {
    let (a, rest) = text.as_bytes().split_at(text.len() / 3);
    let (b, c) = rest.split_at(rest.len() / 2);
    [
        fragment_to(role, false, TEXT, a),
        to(role, PING, b"1"),
        fragment_to(role, false, CONTINUATION, b),
        to(role, PING, b"2"),
        fragment_to(role, true, CONTINUATION, c),
    ]
    .concat()
}

#[test]
fn parts_of_text_are_whole_characters_and_pings_between_them_are_answered() {
    let _turn = turn();
    let text = "\u{1F980}\u{20AC}z\u{F6}".repeat(30);
    for role in ROLES {
        for chunk in [1, 2, 3, 7] {
            // Blocking.
            let (mut ws, far) = blocking::open(role, &unlimited());
            far.chunk(chunk);
            far.push(&[in_fragments(role, &text), to(role, TEXT, b"next")].concat());
            let mut collected = String::new();
            loop {
                let part = ws.recv_part().unwrap().unwrap();
                let MessageRef::Text(piece) = part.payload else { panic!("{part:?}") };
                collected.push_str(piece);
                if part.last {
                    break;
                }
            }
            assert_eq!(collected, text);
            assert_eq!(ws.recv().unwrap(), Some("next".into()));
            assert_eq!(payloads(&far.frames(role), PONG), [b"1", b"2"]);

            // tokio.
            use support::stream::finish;
            let (mut ws, far) = support::over_tokio::open(role, &no_timeouts());
            far.stutter(chunk);
            far.push(&[in_fragments(role, &text), to(role, TEXT, b"next")].concat());
            let mut collected = String::new();
            loop {
                let part = finish(ws.recv_part()).unwrap().unwrap();
                let MessageRef::Text(piece) = part.payload else { panic!("{part:?}") };
                collected.push_str(piece);
                if part.last {
                    break;
                }
            }
            assert_eq!(collected, text);
            assert_eq!(finish(ws.recv()).unwrap(), Some("next".into()));
            assert!(
                support::stream::poll(pin!(ws.flush())).is_pending() || !far.written().is_empty()
            );
            finish(ws.flush()).unwrap();
            assert_eq!(payloads(&far.frames(role), PONG), [b"1", b"2"]);
        }
    }
}

#[test]
fn recv_after_some_parts_skips_the_rest_of_that_message() {
    let _turn = turn();
    for role in ROLES {
        for chunk in [1, 5, usize::MAX] {
            let wire = [
                fragment_to(role, false, BINARY, &pattern(300)),
                to(role, PING, b"p"),
                fragment_to(role, true, CONTINUATION, &pattern(300)),
                to(role, TEXT, b"next"),
            ]
            .concat();
            let (mut ws, far) = blocking::open(role, &unlimited());
            far.chunk(chunk);
            far.push(&wire);
            let part = ws.recv_part().unwrap().unwrap();
            assert!(part.first);
            if !part.last {
                assert_eq!(ws.recv().unwrap(), Some("next".into()), "chunk {chunk}");
            }

            use support::stream::finish;
            let (ws, far) = support::over_tokio::open(role, &no_timeouts());
            let (_sender, mut receiver) = ws.split();
            far.change(|s| s.chunk = chunk);
            far.push(&wire);
            let part = finish(receiver.recv_part()).unwrap().unwrap();
            assert!(part.first);
            if !part.last {
                assert_eq!(finish(receiver.recv()).unwrap(), Some("next".into()), "chunk {chunk}");
            }
        }
    }
}

#[test]
fn what_is_sent_in_parts_is_received_as_one_message_between_the_two_adapters() {
    let _turn = turn();
    let (ours, peer) = tcp();
    ours.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let blocking = spawn(move || {
        let connection = connection(Role::Client, &Config::default());
        let mut ws =
            bowline::blocking::WebSocket::from_connection(peer, connection, RecvBuf::new())
                .unwrap();
        for i in 0..10 {
            ws.send_part(&*format!("part {i}, "), i == 9).unwrap();
        }
        let mut back = Vec::new();
        while let Some(part) = ws.recv_part().unwrap() {
            back.extend_from_slice(part.payload.as_bytes());
            if part.last {
                break;
            }
        }
        (back, ws.close(1000, "").unwrap().end)
    });
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::from_std(ours).unwrap();
        let connection = connection(Role::Server, &Config::default());
        let mut ws = bowline::tokio::WebSocket::from_connection(stream, connection, RecvBuf::new());
        let echo = async {
            while let Some(message) = ws.recv().await.unwrap() {
                let text = message.as_text().unwrap().to_owned();
                for piece in text.as_bytes().chunks(7) {
                    ws.send_part(std::str::from_utf8(piece).unwrap(), false).await.unwrap();
                }
                ws.send_part("", true).await.unwrap();
            }
        };
        tokio::time::timeout(LONG, echo).await.expect("the echo");
    });
    let (back, end) = blocking.wait("the client");
    let expected: String = (0..10).map(|i| format!("part {i}, ")).collect();
    assert_eq!(Message::from(back), Message::from(expected.into_bytes()));
    assert!(matches!(end, End::Closed { .. }));
}
