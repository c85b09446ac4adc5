//! The adapter of docs/adapters.md does what the page says, and stands in it word for word.

#[path = "adapter.rs"]
mod adapter;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use adapter::WebSocket;
use bowline::handshake::RequestError;
use bowline::{CloseCode, Config, End, Error, Message, Timeout};

/// No wait of a test lasts longer; a hang fails.
const LONG: Duration = Duration::from_secs(20);

/// Accepts one connection, and echoes.
fn echo(config: Config) -> (TcpStream, JoinHandle<Result<(), Error>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let socket = TcpStream::connect(listener.local_addr().expect("an address")).expect("a socket");
    socket.set_read_timeout(Some(LONG)).expect("a timeout");
    let server = thread::spawn(move || {
        let mut ws = WebSocket::accept(listener.accept()?.0, config, [7; 32])?;
        while let Some(message) = ws.recv()? {
            ws.send(message)?;
        }
        Ok(())
    });
    (socket, server)
}

/// An adapter that waits for a timeout which is not there never ends.
fn without_a_close_timeout() -> Config {
    Config::default().close_timeout(None)
}

fn open(socket: TcpStream) -> bowline::blocking::WebSocket<TcpStream> {
    let request = bowline::handshake::ClientRequest::new("ws://localhost/").expect("a request");
    bowline::blocking::client(socket, &request, Config::default()).expect("it opens").0
}

/// The programs of the page: what is said of each after `rust`, and its code.
fn blocks() -> impl Iterator<Item = (&'static str, &'static str)> {
    let page = include_str!("../../docs/adapters.md");
    let blocks = page.split("```rust").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().expect("a block"));
    blocks.map(|block| block.split_once('\n').expect("a line with the kind of the block"))
}

#[test]
fn the_program_stands_in_the_page() {
    let mut rest = include_str!("adapter.rs");
    for (_, code) in blocks().filter(|(kind, _)| *kind != ",ignore") {
        rest = rest.trim_start().strip_prefix(code.trim_end()).unwrap_or_else(|| {
            panic!("not in adapter.rs, or not at this place:\n{code}");
        });
    }
    assert_eq!(rest.trim(), "", "not in the page");
}

#[test]
fn what_the_page_shows_of_the_example_on_mio_stands_in_it() {
    let lines = |text: &str| text.lines().map(|line| format!("{}\n", line.trim())).collect();
    let example: String = lines(include_str!("../../examples/echo_server_mio.rs"));
    let mut count = 0;
    for (_, code) in blocks().filter(|(kind, _)| *kind == ",ignore") {
        let code: String = lines(code);
        assert!(example.contains(&code), "not in echo_server_mio.rs:\n{code}");
        count += 1;
    }
    assert!(count > 0, "the page shows nothing of it");
}

#[test]
fn messages_come_back_and_a_clean_close_waits_for_nothing() {
    let (socket, server) = echo(without_a_close_timeout());
    let mut ws = open(socket);
    for message in [Message::from("Hello"), Message::from(vec![0xAB; 300_000])] {
        ws.send(message.clone()).expect("it is sent");
        assert_eq!(ws.recv().expect("it is received"), Some(message));
    }
    let closed = ws.close(1000, "").expect("it closes");
    assert_eq!(closed.end.code(), CloseCode::NORMAL);
    server.join().expect("no panic").expect("a clean end");
}

#[test]
fn a_request_that_is_refused_is_answered_whole_though_more_is_unread() {
    let (mut socket, server) = echo(without_a_close_timeout());
    let more = vec![b'x'; 100_000];
    socket.write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it is written");
    socket.write_all(&more).expect("it is written");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("no reset");
    assert!(answer.starts_with(b"HTTP/1.1 405 "), "{}", String::from_utf8_lossy(&answer));
    drop(socket);
    let refused = server.join().expect("no panic").expect_err("a refusal");
    assert!(matches!(refused, Error::Request(RequestError::Method)), "{refused}");
}

#[test]
fn a_peer_that_breaks_a_rule_reads_the_close_frame_though_more_is_unread() {
    let (socket, server) = echo(without_a_close_timeout());
    let (mut socket, _) = open(socket).into_inner().expect("nothing is queued");
    // Not masked: RFC 6455 §5.1.
    socket.write_all(&[0x82, 1, 0]).expect("it is written");
    socket.write_all(&[0; 100_000]).expect("it is written");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("no reset");
    assert_eq!(answer[..1], [0x88]);
    assert_eq!(answer[2..4], 1002_u16.to_be_bytes());
    drop(socket);
    let ended = server.join().expect("no panic").expect_err("a failed connection");
    assert!(matches!(ended, Error::Ended(End::Failed(_))), "{ended}");
}

#[test]
fn a_peer_that_is_gone_or_silent_ends_the_connection() {
    let (socket, server) = echo(without_a_close_timeout());
    drop(open(socket).into_inner());
    let ended = server.join().expect("no panic").expect_err("an end without Close");
    assert!(matches!(ended, Error::Ended(End::PeerGone { .. })), "{ended}");

    let short = Duration::from_millis(1);
    let (socket, server) = echo(without_a_close_timeout().idle_timeout(short).close_timeout(short));
    let socket = open(socket);
    let ended = server.join().expect("no panic").expect_err("a timeout");
    assert!(matches!(ended, Error::Ended(End::TimedOut(Timeout::Close))), "{ended}");
    drop(socket);

    let (socket, server) = echo(Config::default().handshake_timeout(short).close_timeout(short));
    let refused = server.join().expect("no panic").expect_err("a timeout");
    assert!(matches!(refused, Error::Request(RequestError::TimedOut)), "{refused}");
    drop(socket);
}
