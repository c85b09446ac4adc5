//! One end from its first byte to its last, for event loops: `handshake::Driver`.

use std::time::Duration;

use crate::support::*;
use bowline::handshake::{
    Accept, ClientHandshake, ClientRequest, ConnectError, Driver, DriverEvent, InvalidRequest,
    RequestError, Response,
};
use bowline::{Config, End, Initiator, Role, Rule, SendBuf, Timeout, Truncation};

const SECOND: Duration = Duration::from_secs(1);

const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

const SEED: [u8; 32] = [7; 32];

/// The events of a driver, without what they lent.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Request(String),
    Refused(RequestError),
    Opened(u16),
    ConnectFailed(ConnectError),
    Message(Vec<u8>),
    Closed(Initiator, u16),
    Ended(End),
    Shutdown,
    Done,
}

use Told::*;

fn told(event: &DriverEvent<'_>) -> Told {
    match event {
        DriverEvent::Request(request) => Request(request.path().into()),
        DriverEvent::Refused(error) => Refused(*error),
        DriverEvent::Opened(response) => Opened(response.status()),
        DriverEvent::ConnectFailed(error) => ConnectFailed(error.clone()),
        DriverEvent::Message { message, .. } => Message(message.as_bytes().into()),
        DriverEvent::Ended(End::Closed { initiator, code, .. }) => {
            Closed(*initiator, code.map_or(0, u16::from))
        }
        DriverEvent::Ended(end) => Ended((*end).clone()),
        DriverEvent::Shutdown => Shutdown,
        DriverEvent::Done => Done,
        other => panic!("{other:?}"),
    }
}

/// Polls until nothing more happens: accepts, and echoes.
fn run(driver: &mut Driver) -> Vec<Told> {
    let mut all = Vec::new();
    while let Some(mut event) = driver.poll() {
        all.push(told(&event));
        if let DriverEvent::Message { message, connection, out } = &mut event {
            // It is refused once Close was sent.
            let _ = connection.send(*message, out);
        }
        if let DriverEvent::Request(_) = event {
            driver.accept(Accept::new()).expect("nothing is selected");
        }
    }
    all
}

/// What one read brings.
fn fill(driver: &mut Driver, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let space = driver.space();
        let n = space.len().min(bytes.len());
        space[..n].copy_from_slice(&bytes[..n]);
        driver.filled(n);
        bytes = &bytes[n..];
    }
}

/// What a socket that takes everything takes now.
fn take(driver: &mut Driver) -> Vec<u8> {
    let mut wire = Vec::new();
    while driver.wants_write() {
        let n = driver.pending().len();
        let all: usize = driver.pending_slices().map(<[u8]>::len).sum();
        assert!(0 < n && n <= all);
        wire.extend_from_slice(driver.pending());
        driver.sent(n);
    }
    wire
}

/// Runs until nothing moves. A peer that reads all, and says nothing.
fn settle(driver: &mut Driver) -> (Vec<Told>, Vec<u8>) {
    let (mut all, mut wire) = (Vec::new(), Vec::new());
    loop {
        let more = run(driver);
        let bytes = take(driver);
        if more.is_empty() && bytes.is_empty() {
            return (all, wire);
        }
        all.extend(more);
        wire.extend(bytes);
    }
}

fn server(config: Config) -> Driver {
    let mut driver = Driver::server(config);
    fill(&mut driver, REQUEST.as_bytes());
    let (all, wire) = settle(&mut driver);
    assert_eq!(all, [Request("/chat".into())]);
    assert!(wire.starts_with(b"HTTP/1.1 101 ") && wire.ends_with(b"\r\n\r\n"));
    driver
}

fn request() -> ClientRequest {
    ClientRequest::new("ws://a/chat").expect("it is valid")
}

/// The answer that opens the connection of a client with [`SEED`].
fn response() -> Vec<u8> {
    let mut out = SendBuf::new();
    ClientHandshake::new(&request(), Config::default(), SEED, &mut out);
    let sent = String::from_utf8(out.pending().to_vec()).expect("it is text");
    let key = sent.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    let accept = bowline::handshake::accept_key(key.expect("a key"));
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes()
}

fn client(config: Config) -> Driver {
    let mut driver = Driver::client(&request(), config, SEED);
    assert!(take(&mut driver).starts_with(b"GET /chat HTTP/1.1\r\n"));
    fill(&mut driver, &response());
    assert_eq!(settle(&mut driver), (vec![Opened(101)], vec![]));
    driver
}

fn open(role: Role, config: Config) -> Driver {
    match role {
        Role::Server => server(config),
        Role::Client => client(config),
    }
}

/// Where an answer in HTTP ends and frames begin.
fn after_head(wire: &[u8]) -> &[u8] {
    let end = wire.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    &wire[end + 4..]
}

fn sent(role: Role, wire: &[u8]) -> Vec<(u8, Vec<u8>)> {
    decode(role, wire).into_iter().map(|frame| (frame.opcode, frame.payload)).collect()
}

/// A whole connection in one stream of bytes: what opens it, messages in the same read, and Close.
fn session(role: Role) -> Vec<u8> {
    let start = match role {
        Role::Server => REQUEST.as_bytes().to_vec(),
        Role::Client => response(),
    };
    let frames = [
        to(role, TEXT, "Grüße".as_bytes()),
        to(role, PING, b"?"),
        fragment_to(role, false, BINARY, &[1, 2]),
        to(role, CONTINUATION, &[3]),
        to(role, CLOSE, &close_payload(1000, b"")),
        // What follows Close is not looked at (RFC 6455 §5.5.1).
        b"\xFF\xFF".to_vec(),
    ];
    [start, frames.concat()].concat()
}

#[test]
fn a_session_is_the_same_however_its_bytes_are_cut() {
    for role in ROLES {
        let bytes = session(role);
        for places in every_split(&bytes) {
            let mut driver = match role {
                Role::Server => Driver::server(Config::default()),
                Role::Client => Driver::client(&request(), Config::default(), SEED),
            };
            let (mut all, mut wire) = (Vec::new(), Vec::new());
            for piece in cut(&bytes, &places) {
                fill(&mut driver, piece);
                let (more, out) = settle(&mut driver);
                all.extend(more);
                wire.extend(out);
                // As before each wait: nothing is lost with the buffers that are given back.
                driver.deadline(SECOND);
            }
            if role == Role::Client {
                assert!(driver.wants_read(), "the client waits for the server (RFC 6455 §7.1.1)");
                driver.eof();
                all.extend(settle(&mut driver).0);
            }
            let opened = match role {
                Role::Server => Request("/chat".into()),
                Role::Client => Opened(101),
            };
            let messages = [Message("Grüße".into()), Message(vec![1, 2, 3])];
            let ended = [Closed(Initiator::Remote, 1000), Shutdown, Done];
            assert_eq!(all, [&[opened][..], &messages, &ended].concat(), "{role:?} {places:?}");
            assert!(driver.is_done() && !driver.wants_read() && !driver.wants_write());
            let mut frames = sent(role, after_head(&wire));
            // A pong may come before the reply to a message, but nothing overtakes Close.
            assert_eq!(frames.pop(), Some((CLOSE, close_payload(1000, b""))), "{places:?}");
            frames.retain(|frame| *frame != (PONG, b"?".to_vec()));
            let echoes = [(TEXT, "Grüße".into()), (BINARY, vec![1, 2, 3])];
            assert_eq!(frames, echoes, "{role:?} {places:?}");
        }
    }
}

#[test]
fn a_request_waits_for_its_answer_with_what_follows_it() {
    let mut driver = Driver::server(Config::default());
    fill(&mut driver, &session(Role::Server));
    let Some(DriverEvent::Request(request)) = driver.poll() else { panic!("a request came") };
    assert_eq!((request.path(), request.is_upgrade()), ("/chat", true));
    assert!(driver.poll().is_none(), "it is given once");
    assert!(!driver.wants_read() && !driver.wants_write() && driver.connection().is_none());
    // The client is not to blame for a slow program.
    assert_eq!(driver.deadline(SECOND), None);
    driver.on_time(1000 * SECOND);
    driver.on_time(2000 * SECOND);
    driver.accept(Accept::new()).unwrap();
    assert_eq!(run(&mut driver)[0], Message("Grüße".into()));
}

#[test]
fn an_answer_without_a_request_does_nothing() {
    for role in ROLES {
        let mut driver = open(role, Config::default());
        driver.accept(Accept::new()).unwrap();
        driver.refuse(&Response::new(404));
        assert_eq!(settle(&mut driver), (vec![], vec![]));
        assert!(driver.connection().is_some());
    }
    let mut driver = Driver::server(Config::default());
    driver.accept(Accept::new()).unwrap();
    driver.refuse(&Response::new(404));
    assert!(!driver.wants_write() && driver.wants_read());
}

/// Leaves after a refusal or a violation: the write side is shut, then what still comes is dropped.
fn drains(driver: &mut Driver) {
    assert!(driver.wants_read() && !driver.wants_write() && !driver.is_done());
    fill(driver, &[0xAB; 100_000]);
    assert_eq!(settle(driver), (vec![], vec![]));
    assert!(driver.wants_read());
    driver.eof();
    assert_eq!(settle(driver), (vec![Done], vec![]));
    assert!(driver.is_done() && driver.poll().is_none());
}

#[test]
fn a_refused_request_is_answered_and_the_socket_is_left_so_that_the_answer_arrives() {
    let malformed = "GET / HTTP/1.1\nHost: a\n\n".to_string();
    let post = REQUEST.replace("GET", "POST");
    let version = REQUEST.replace("13", "12");
    for (bytes, error, status) in [
        (malformed, RequestError::Malformed, 400),
        (post, RequestError::Method, 405),
        (version, RequestError::Version, 426),
    ] {
        let mut driver = Driver::server(Config::default());
        // The client goes on to send.
        fill(&mut driver, &[bytes.as_bytes(), &[0; 5000]].concat());
        let all = run(&mut driver);
        assert_eq!(all.last(), Some(&Refused(error)), "the answer is not written yet");
        let (all, wire) = settle(&mut driver);
        assert_eq!(all, [Shutdown]);
        assert!(wire.starts_with(format!("HTTP/1.1 {status} ").as_bytes()));
        assert_eq!(driver.end(), None);
        drains(&mut driver);
    }
}

#[test]
fn a_program_refuses_with_an_answer_of_its_own() {
    for (method, content) in [("GET", "hello"), ("HEAD", "")] {
        let mut driver = Driver::server(Config::default());
        fill(&mut driver, format!("{method} /page HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        assert!(
            matches!(driver.poll(), Some(DriverEvent::Request(request)) if request.path() == "/page")
        );
        driver.refuse(&Response::new(200).body("hello"));
        let (all, wire) = settle(&mut driver);
        assert_eq!(all, [Shutdown]);
        assert!(wire.starts_with(b"HTTP/1.1 200 OK\r\n"));
        // RFC 9110 §9.3.2: no content to HEAD.
        assert_eq!(after_head(&wire), content.as_bytes());
        drains(&mut driver);
    }
}

#[test]
fn a_subprotocol_that_was_not_offered_is_the_programs_mistake() {
    let mut driver = Driver::server(Config::default());
    fill(&mut driver, REQUEST.as_bytes());
    assert!(matches!(driver.poll(), Some(DriverEvent::Request(_))));
    let error = driver.accept(Accept::new().subprotocol("chat")).unwrap_err();
    assert_eq!(error, InvalidRequest::SubprotocolNotOffered("chat".into()));
    let (all, wire) = settle(&mut driver);
    assert_eq!(all, [Shutdown]);
    assert!(wire.starts_with(b"HTTP/1.1 500 "));
    drains(&mut driver);
}

#[test]
fn a_server_that_refuses_ends_the_client() {
    let mut driver = Driver::client(&request(), Config::default(), SEED);
    take(&mut driver);
    fill(&mut driver, b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno");
    let (all, wire) = settle(&mut driver);
    assert!(
        matches!(&all[..], [ConnectFailed(ConnectError::Refused(response)), Done]
            if response.status() == 404 && response.body_bytes() == b"no"),
        "{all:?}"
    );
    assert!(wire.is_empty() && driver.is_done() && driver.end().is_none());
}

#[test]
fn after_a_broken_rule_close_leaves_then_the_write_side_is_shut_then_the_rest_is_dropped() {
    for role in ROLES {
        let mut driver = open(role, Config::default());
        // RFC 6455 §5.1: the mask is wrong for this role.
        let wrong = frame(true, 0, TEXT, b"x", role == Role::Client);
        fill(&mut driver, &[to(role, TEXT, b"good"), wrong, vec![0; 5000]].concat());
        let all = run(&mut driver);
        let [Message(good), Ended(End::Failed(error))] = &all[..] else { panic!("{all:?}") };
        assert_eq!(good, b"good");
        let broken = if role == Role::Server { Rule::Unmasked } else { Rule::Masked };
        assert_eq!(error.rule(), broken);
        assert!(driver.wants_write() && !driver.wants_read() && driver.connection().is_none());
        assert_eq!(driver.end(), Some(&End::Failed(*error)));
        let frames = sent(role, &take(&mut driver));
        assert_eq!(frames, [(TEXT, b"good".to_vec()), (CLOSE, close_payload(1002, b""))]);
        assert!(!driver.wants_read(), "the write side is not shut yet");
        assert_eq!(settle(&mut driver), (vec![Shutdown], vec![]));
        drains(&mut driver);
        assert_eq!(driver.end(), Some(&End::Failed(*error)), "it stays known");
    }
}

#[test]
fn a_peer_that_never_stops_after_a_broken_rule_is_left_after_a_mebibyte_or_the_close_timeout() {
    for by_time in [false, true] {
        let mut driver = server(Config::default().close_timeout(5 * SECOND));
        fill(&mut driver, b"\xFF\xFF");
        settle(&mut driver);
        assert_eq!(driver.deadline(SECOND), Some(6 * SECOND));
        if by_time {
            fill(&mut driver, &[0; 1000]);
            driver.on_time(6 * SECOND - Duration::from_nanos(1));
            assert_eq!(run(&mut driver), []);
            driver.on_time(6 * SECOND);
        } else {
            for _ in 0..16 {
                assert!(driver.wants_read());
                fill(&mut driver, &[0; 64 << 10]);
            }
        }
        assert_eq!(settle(&mut driver).0, [Done]);
    }
}

#[test]
fn a_handshake_that_takes_too_long_ends_both_roles() {
    let config = Config::default().handshake_timeout(10 * SECOND);
    for bytes in [&b""[..], b"GET / HTTP/1.1\r\nHost"] {
        let mut driver = Driver::server(config.clone());
        fill(&mut driver, bytes);
        assert_eq!(settle(&mut driver), (vec![], vec![]));
        assert_eq!(driver.deadline(SECOND), Some(11 * SECOND));
        driver.on_time(11 * SECOND - Duration::from_nanos(1));
        assert_eq!(settle(&mut driver), (vec![], vec![]));
        driver.on_time(11 * SECOND);
        let (all, wire) = settle(&mut driver);
        assert_eq!(all, [Refused(RequestError::TimedOut), Shutdown]);
        assert!(wire.starts_with(b"HTTP/1.1 408 "));
        drains(&mut driver);
    }
    let mut driver = Driver::client(&request(), config, SEED);
    assert_eq!(driver.deadline(SECOND), Some(11 * SECOND));
    driver.on_time(11 * SECOND - Duration::from_nanos(1));
    assert_eq!(run(&mut driver), []);
    driver.on_time(11 * SECOND);
    assert_eq!(run(&mut driver), [ConnectFailed(ConnectError::TimedOut), Done]);
    assert!(!driver.wants_write(), "the request is not sent any more");

    let mut driver = Driver::server(Config::default().handshake_timeout(None));
    assert_eq!(driver.deadline(SECOND), None);
}

#[test]
fn a_close_that_is_not_answered_ends_after_the_close_timeout() {
    for role in ROLES {
        let mut driver = open(role, Config::default().close_timeout(5 * SECOND));
        assert_eq!(driver.deadline(SECOND), None);
        let (connection, out) = driver.connection().unwrap();
        connection.start_close(1001, "", out).unwrap();
        let (all, wire) = settle(&mut driver);
        assert_eq!((all, sent(role, &wire)), (vec![], vec![(CLOSE, close_payload(1001, b""))]));
        assert_eq!(driver.deadline(SECOND), Some(6 * SECOND));
        // Messages that the peer sent before still come. There is no reply to them.
        fill(&mut driver, &to(role, TEXT, b"late"));
        assert_eq!(settle(&mut driver), (vec![Message(b"late".into())], vec![]));
        driver.on_time(6 * SECOND);
        let (all, wire) = settle(&mut driver);
        assert_eq!(all, [Ended(End::TimedOut(Timeout::Close)), Shutdown, Done]);
        assert!(wire.is_empty());
    }
}

#[test]
fn a_close_of_ours_that_is_answered_ends_at_once_for_a_server_and_after_the_peer_for_a_client() {
    for role in ROLES {
        let mut driver = open(role, Config::default());
        let (connection, out) = driver.connection().unwrap();
        connection.start_close(1000, "", out).unwrap();
        take(&mut driver);
        fill(&mut driver, &to(role, CLOSE, &close_payload(1000, b"")));
        let ended = Closed(Initiator::Local, 1000);
        // RFC 6455 §7.1.1: the server closes first.
        match role {
            Role::Server => assert_eq!(settle(&mut driver).0, [ended, Shutdown, Done]),
            Role::Client => {
                assert_eq!(settle(&mut driver).0, [ended]);
                assert!(driver.wants_read() && driver.deadline(SECOND).is_some());
                driver.eof();
                assert_eq!(settle(&mut driver).0, [Shutdown, Done]);
            }
        }
    }
}

/// Ends the input in one of the ways that there are.
const ENDS: [fn(&mut Driver); 2] = [Driver::eof, Driver::transport_failed];

#[test]
fn the_end_of_the_input_ends_the_handshake() {
    for end in ENDS {
        for bytes in [&b""[..], b"GET / HTTP/1.1\r\nHost"] {
            let mut driver = Driver::server(Config::default());
            fill(&mut driver, bytes);
            run(&mut driver);
            end(&mut driver);
            assert_eq!(settle(&mut driver), (vec![Refused(RequestError::Gone), Done], vec![]));
        }
        for bytes in [&b""[..], b"HTTP/1.1 101 Switch"] {
            let mut driver = Driver::client(&request(), Config::default(), SEED);
            take(&mut driver);
            fill(&mut driver, bytes);
            run(&mut driver);
            end(&mut driver);
            let gone = ConnectFailed(ConnectError::Gone);
            assert_eq!(settle(&mut driver), (vec![gone, Done], vec![]));
        }
        // While the program thinks about the request.
        let mut driver = Driver::server(Config::default());
        fill(&mut driver, REQUEST.as_bytes());
        assert!(matches!(driver.poll(), Some(DriverEvent::Request(_))));
        end(&mut driver);
        driver.accept(Accept::new()).unwrap();
        let ended = Ended(End::PeerGone(Truncation::BetweenMessages));
        assert_eq!(run(&mut driver), [ended, Shutdown, Done]);
    }
}

#[test]
fn the_end_of_the_input_ends_the_connection_wherever_it_comes() {
    for role in ROLES {
        for end in ENDS {
            let (whole, first) =
                (to(role, TEXT, b"Hello"), fragment_to(role, false, TEXT, b"Hello"));
            for (bytes, place) in [
                (&[][..], Truncation::BetweenMessages),
                (&whole[..1], Truncation::InHeader),
                (&whole[..whole.len() - 1], Truncation::InPayload),
                (&first[..], Truncation::InMessage),
            ] {
                let mut driver = open(role, Config::default());
                fill(&mut driver, bytes);
                assert_eq!(run(&mut driver), []);
                end(&mut driver);
                let (all, wire) = settle(&mut driver);
                assert_eq!(all, [Ended(End::PeerGone(place)), Shutdown, Done], "{role:?}");
                assert!(wire.is_empty());
            }
            // After our Close.
            let mut driver = open(role, Config::default());
            let (connection, out) = driver.connection().unwrap();
            connection.start_close(1000, "", out).unwrap();
            take(&mut driver);
            end(&mut driver);
            let all = settle(&mut driver).0;
            assert!(matches!(all[..], [Ended(End::PeerGone(_)), Shutdown, Done]), "{all:?}");
        }
    }
}

#[test]
fn nothing_is_read_from_a_socket_that_broke() {
    for role in ROLES {
        let mut driver = open(role, Config::default());
        driver.transport_failed();
        assert!(!driver.wants_read(), "before it is told");
        assert_eq!(run(&mut driver).last(), Some(&Done));
        assert!(!driver.wants_read());
    }
}

#[test]
fn a_socket_that_breaks_while_it_is_left_is_done() {
    for written in [false, true] {
        let mut driver = server(Config::default());
        fill(&mut driver, b"\xFF\xFF");
        run(&mut driver);
        if written {
            settle(&mut driver);
        }
        driver.transport_failed();
        assert_eq!(settle(&mut driver), (vec![Done], vec![]));
    }
}

#[test]
fn while_the_queue_is_full_no_message_is_given_and_none_is_read() {
    for role in ROLES {
        let timeouts = |config: Config| config.progress_timeout(SECOND).send_timeout(None);
        let mut driver = open(role, timeouts(Config::default().max_send_queue(1000)));
        let message = to(role, BINARY, &[7; 400]);
        fill(&mut driver, &message.repeat(5));
        let given = |driver: &mut Driver| run(driver).len();
        assert_eq!(given(&mut driver), 3, "the third fills the queue");
        assert!(!driver.wants_read() && driver.wants_write());
        // The rest cannot come, so nothing waits for it.
        assert_eq!(driver.deadline(SECOND), None);
        driver.on_time(100 * SECOND);
        driver.on_time(200 * SECOND);
        assert_eq!(given(&mut driver), 0);
        driver.sent(500);
        assert!(driver.wants_read());
        assert_eq!(given(&mut driver), 1);
        take(&mut driver);
        assert_eq!(given(&mut driver), 1);
        let (all, wire) = settle(&mut driver);
        assert_eq!((all, sent(role, &wire).len()), (vec![], 1));
        // A message that has begun and is read has its full time again.
        fill(&mut driver, &message[..10]);
        assert_eq!(run(&mut driver), []);
        assert_eq!(driver.deadline(SECOND), Some(2 * SECOND));
    }
}

#[test]
fn after_our_close_messages_come_though_the_queue_is_full() {
    let mut driver = server(Config::default().max_send_queue(1000));
    let (connection, out) = driver.connection().unwrap();
    connection.send(&[0; 2000][..], out).unwrap();
    connection.start_close(1000, "", out).unwrap();
    assert!(driver.wants_read());
    let role = Role::Server;
    fill(&mut driver, &[to(role, TEXT, b"a"), to(role, CLOSE, b"")].concat());
    let all = run(&mut driver);
    assert!(matches!(&all[..], [Message(_), Closed(Initiator::Local, 0)]), "{all:?}");
    assert_eq!(sent(role, &take(&mut driver)).len(), 2);
    assert_eq!(run(&mut driver), [Shutdown, Done]);
}

#[test]
fn a_peer_that_takes_nothing_ends_the_connection() {
    let mut driver = server(Config::default().max_send_queue(10).send_timeout(20 * SECOND));
    fill(&mut driver, &to(Role::Server, BINARY, &[7; 400]));
    assert_eq!(run(&mut driver).len(), 1);
    assert_eq!(driver.deadline(SECOND), Some(21 * SECOND));
    driver.on_time(21 * SECOND);
    assert!(matches!(driver.poll(), Some(DriverEvent::Ended(End::TimedOut(Timeout::Send)))));
    assert!(!driver.wants_write(), "there is nobody who would read it");
    assert!(matches!(driver.poll(), Some(DriverEvent::Shutdown)));
    assert_eq!(driver.pending(), b"", "it is dropped");
    assert_eq!(settle(&mut driver), (vec![Done], vec![]));
}

#[test]
fn a_close_that_is_not_taken_in_time_is_given_up() {
    let mut driver = server(Config::default().close_timeout(5 * SECOND));
    fill(&mut driver, b"\xFF\xFF");
    assert!(matches!(run(&mut driver)[..], [Ended(End::Failed(_))]));
    assert!(driver.wants_write());
    assert_eq!(driver.deadline(SECOND), Some(6 * SECOND));
    driver.on_time(6 * SECOND);
    assert!(!driver.wants_write());
    assert_eq!(run(&mut driver), [Done]);
    assert_eq!(driver.pending(), b"", "it is dropped");
}

#[test]
fn before_a_clean_end_a_peer_that_takes_bytes_has_the_close_timeout_again() {
    let mut driver = server(Config::default().close_timeout(5 * SECOND));
    let (connection, out) = driver.connection().unwrap();
    connection.send(&[0; 5000][..], out).unwrap();
    fill(&mut driver, &to(Role::Server, CLOSE, b""));
    assert_eq!(run(&mut driver), [Closed(Initiator::Remote, 0)]);
    assert_eq!(driver.deadline(SECOND), Some(6 * SECOND));
    driver.sent(1024);
    assert_eq!(driver.deadline(2 * SECOND), Some(7 * SECOND));
}

#[test]
fn pongs_that_had_to_wait_follow_when_the_earlier_ones_have_left() {
    for role in ROLES {
        let mut driver = open(role, Config::default());
        for number in 0..100 {
            fill(&mut driver, &to(role, PING, &[number; 125]));
            assert_eq!(run(&mut driver), []);
        }
        let first = sent(role, &take(&mut driver));
        let (all, wire) = settle(&mut driver);
        assert!(all.is_empty() && !first.is_empty());
        assert_eq!(sent(role, &wire).last(), Some(&(PONG, vec![99; 125])));
    }
}

#[test]
fn after_a_failed_write_the_peers_close_is_still_read() {
    for role in ROLES {
        let mut driver = open(role, Config::default());
        let (connection, out) = driver.connection().unwrap();
        connection.send("lost", out).unwrap();
        driver.write_failed();
        assert!(!driver.wants_write() && driver.wants_read());
        let (connection, out) = driver.connection().unwrap();
        connection.send("lost too", out).unwrap();
        assert!(!driver.wants_write());
        fill(&mut driver, &to(role, TEXT, b"a"));
        assert_eq!(settle(&mut driver), (vec![Message(b"a".into())], vec![]));
        assert_eq!(driver.deadline(SECOND), None, "nothing waits to be taken");
        fill(&mut driver, &to(role, CLOSE, &close_payload(1000, b"")));
        let (all, wire) = settle(&mut driver);
        assert_eq!(all[0], Closed(Initiator::Remote, 1000));
        assert!(wire.is_empty());
        driver.eof();
        settle(&mut driver);
        assert!(driver.is_done());
    }
    let mut driver = Driver::server(Config::default());
    fill(&mut driver, b"POST / HTTP/1.1\r\nHost: a\r\n\r\n");
    run(&mut driver);
    driver.write_failed();
    assert_eq!(settle(&mut driver), (vec![Shutdown], vec![]));
    drains(&mut driver);
}

#[test]
fn a_silent_peer_is_pinged() {
    let mut driver = server(Config::default().ping_interval(30 * SECOND));
    driver.connection().unwrap().0.seed_keepalive([9; 32]);
    assert_eq!(driver.deadline(SECOND), Some(31 * SECOND));
    driver.on_time(31 * SECOND);
    let (all, wire) = settle(&mut driver);
    let frames = sent(Role::Server, &wire);
    assert!(matches!(&frames[..], [(PING, payload)] if payload.len() == 8) && all.is_empty());
    fill(&mut driver, &to(Role::Server, PONG, &frames[0].1));
    assert_eq!(settle(&mut driver), (vec![], vec![]));
    assert!(driver.deadline(40 * SECOND) > Some(60 * SECOND));
}

#[test]
fn two_drivers_carry_messages_of_any_size() {
    let config = Config::default().max_message_size(1 << 24);
    for size in [0, 125, 126, 65_535, 65_536, 3_000_000] {
        for step in [usize::MAX, 1000] {
            let mut server = Driver::server(config.clone());
            let mut client = Driver::client(&request(), config.clone(), SEED);
            let message = Seeded(size as u64).bytes(size);
            let mut came = None;
            while came.is_none() {
                carry(&mut client, &mut server, step);
                run(&mut server);
                carry(&mut server, &mut client, step);
                match client.poll() {
                    Some(DriverEvent::Opened(_)) => {
                        let (connection, out) = client.connection().unwrap();
                        connection.send(&message[..], out).unwrap();
                    }
                    Some(DriverEvent::Message { message, .. }) => came = Some(message.to_message()),
                    Some(other) => panic!("{other:?}"),
                    None => {}
                }
            }
            assert!(came.unwrap().as_bytes() == message, "{size}");
        }
    }
}

/// Carries at most `step` bytes, if there are any.
fn carry(from: &mut Driver, to: &mut Driver, step: usize) {
    if from.wants_write() && to.wants_read() {
        let (bytes, space) = (from.pending(), to.space());
        let n = bytes.len().min(space.len()).min(step);
        space[..n].copy_from_slice(&bytes[..n]);
        to.filled(n);
        from.sent(n);
    }
}

#[test]
fn while_the_peer_has_to_wait_the_driver_reads_nothing() {
    for role in ROLES {
        let limit = bowline::RateLimit::new().messages(1).burst(Duration::ZERO);
        let mut driver = open(role, Config::default().rate_limit(limit));
        assert_eq!(driver.deadline(SECOND), None);
        fill(&mut driver, &to(role, TEXT, b"Hello").repeat(2));
        assert_eq!(run(&mut driver), [Message(b"Hello".into())]);
        assert!(!driver.wants_read());
        assert_eq!(driver.deadline(SECOND), Some(2 * SECOND));
        driver.on_time(2 * SECOND);
        assert_eq!(run(&mut driver), [Message(b"Hello".into())]);
        driver.on_time(3 * SECOND);
        assert!(driver.wants_read());
    }
}
