//! The addresses of a host: they race, and each that fails says why (RFC 8305).

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::*;

/// An address that answers no connection. Its queue is full, so Linux drops the packets that would open one.
pub(crate) struct Silent {
    pub(crate) address: SocketAddr,
    _listener: Socket,
    _queued: Vec<TcpStream>,
}

impl Silent {
    pub(crate) fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut queued = Vec::new();
        for _ in 0..8 {
            match TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
                Ok(stream) => queued.push(stream),
                Err(_) => return Self { address, _listener: listener, _queued: queued },
            }
        }
        panic!("the queue is never full");
    }
}

#[test]
fn an_address_that_is_refused_does_not_delay_the_next() {
    let server = echo_server();
    for adapter in ADAPTERS {
        let dead: Vec<SocketAddr> = (0..5).map(|_| ([127, 0, 0, 1], free_port()).into()).collect();
        let request = request("ws://h/").connect_to([dead, vec![server]].concat());
        // Five delays of 250 ms would be longer.
        let config = Config::default().handshake_timeout(Duration::from_secs(1));
        assert_eq!(adapter.echo_with(&request, config).unwrap(), 101, "{adapter:?}");
    }
}

#[test]
fn an_address_without_an_answer_does_not_hold_up_the_others() {
    let (server, silent) = (echo_server(), Silent::new());
    for adapter in ADAPTERS {
        let request = request("ws://h/").connect_to([silent.address, server]);
        // It is far less than the time that a system waits for one address, and than half of the timeout.
        let start = Instant::now();
        assert_eq!(adapter.echo_with(&request, Config::default()).unwrap(), 101, "{adapter:?}");
        assert!(start.elapsed() < Duration::from_secs(5), "{adapter:?}: {:?}", start.elapsed());
    }
}

#[test]
fn each_address_that_failed_has_its_own_error() {
    let silent = Silent::new();
    let dead: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    for adapter in ADAPTERS {
        let request =
            request("ws://host.example/").connect_to([silent.address, dead]).timeout(SHORT);
        let error = adapter.echo(&request).unwrap_err();
        let unreachable = error.unreachable().unwrap_or_else(|| panic!("{adapter:?}: {error:?}"));
        let attempts: Vec<_> =
            unreachable.attempts().iter().map(|a| (a.address, a.error.kind())).collect();
        assert_eq!(
            attempts,
            [(dead, ErrorKind::ConnectionRefused), (silent.address, ErrorKind::TimedOut)],
            "{adapter:?}"
        );
        assert_eq!(unreachable.host(), "host.example");
        assert!(!unreachable.is_proxy() && unreachable.name_error().is_none());
        let text = error.to_string();
        assert!(text.starts_with("cannot connect to host.example: "), "{text}");
        for address in [dead, silent.address] {
            assert!(text.contains(&format!("{address}: ")), "{text}");
        }
        assert!(matches!(error, Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused));
    }
}

#[test]
fn a_single_address_without_an_answer_is_a_timeout_that_names_it() {
    let silent = Silent::new();
    for adapter in ADAPTERS {
        let request = request(format!("ws://{}/", silent.address)).timeout(SHORT);
        let error = adapter.echo(&request).unwrap_err();
        assert!(error.to_string().contains(&silent.address.to_string()), "{error}");
        assert!(matches!(error, Error::Io(error) if error.kind() == ErrorKind::TimedOut));
    }
}

#[test]
fn a_name_without_an_address_is_named() {
    for adapter in ADAPTERS {
        // RFC 6761 §6.4: `.invalid` has no address.
        let error = adapter.echo(&request("ws://nowhere.invalid/")).unwrap_err();
        let unreachable = error.unreachable().unwrap_or_else(|| panic!("{adapter:?}: {error:?}"));
        assert_eq!((unreachable.host(), unreachable.attempts().len()), ("nowhere.invalid", 0));
        assert!(unreachable.name_error().is_some());
        assert!(error.to_string().starts_with("cannot connect to nowhere.invalid: "), "{error}");
        // No address at all.
        let nowhere: &[SocketAddr] = &[];
        let error = adapter.echo(&request("ws://h/").connect_to(nowhere)).unwrap_err();
        assert!(error.unreachable().is_some_and(|found| found.attempts().is_empty()), "{error:?}");
    }
}

#[test]
fn the_requests_own_timeout_takes_the_place_of_the_configurations() {
    // It accepts and says nothing.
    let silent = serve(|mut socket| {
        read_head(&mut socket);
        let _ = socket.read(&mut [0]);
    });
    for adapter in ADAPTERS {
        let request = request(format!("ws://{silent}/")).timeout(SHORT);
        let never = Config::default().handshake_timeout(None);
        let error = adapter.echo_with(&request, never).unwrap_err();
        assert!(
            matches!(error, Error::Connect(bowline::handshake::ConnectError::TimedOut)),
            "{adapter:?}: {error:?}"
        );
    }
}
