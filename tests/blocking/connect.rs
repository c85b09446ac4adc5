//! What a client of the blocking adapter takes from the system: addresses and entropy.

#![cfg(feature = "std")]

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener};

use crate::support::*;
use bowline::blocking;
use bowline::handshake::{ClientRequest, accept_key};
use bowline::{Config, Error};

#[test]
fn the_key_of_each_handshake_and_the_mask_of_each_frame_are_new() {
    // RFC 6455 §4.1: "The nonce MUST be selected randomly for each connection." §5.3: the masking key "MUST be derived
    // from a strong source of entropy". A seed that is not the system's gives the same ones on every connection.
    const CONNECTIONS: usize = 8;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let server = spawn(move || {
        let (mut keys, mut masks) = (HashSet::new(), HashSet::new());
        for _ in 0..CONNECTIONS {
            let mut socket = listener.accept().unwrap().0;
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                socket.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            let request = String::from_utf8(request).unwrap();
            let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
            let key = key.unwrap();
            let response = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Accept: {}\r\n\r\n",
                accept_key(key)
            );
            socket.write_all(response.as_bytes()).unwrap();
            // Two empty messages: each is a header of two bytes and a mask.
            let mut wire = [0; 12];
            socket.read_exact(&mut wire).unwrap();
            keys.insert(key.to_string());
            masks.extend([wire[2..6].to_vec(), wire[8..12].to_vec()]);
        }
        (keys, masks)
    });
    for _ in 0..CONNECTIONS {
        let mut ws = blocking::connect(&url).unwrap();
        ws.send("").unwrap();
        ws.send("").unwrap();
    }
    let (keys, masks) = server.wait("the server");
    assert_eq!((keys.len(), masks.len()), (CONNECTIONS, 2 * CONNECTIONS));
}

#[test]
fn a_connection_that_is_refused_names_the_address() {
    // A port that was free just now.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("ws://{host}:{}/", address.port());
        let error = in_time("connect", move || blocking::connect(&url).map(drop).unwrap_err());
        let text = error.to_string();
        match error {
            Error::Io(error) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused),
            other => panic!("{other:?}"),
        }
        assert!(text.contains(&format!(":{}", address.port())), "{text}");
        if host == "127.0.0.1" {
            assert!(text.starts_with(&format!("cannot connect to {address}: ")), "{text}");
        } else {
            assert!(text.contains("(localhost)"), "{text}");
        }
    }
}

#[test]
fn a_handshake_timeout_of_any_length_is_taken() {
    use std::time::Duration;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = spawn(move || {
        for socket in listener.incoming().take(4) {
            drop(blocking::accept(socket.unwrap(), Config::default()));
        }
    });
    for host in ["127.0.0.1", "localhost"] {
        for timeout in [Duration::MAX, Duration::from_nanos(u64::MAX)] {
            let request = ClientRequest::new(&format!("ws://{host}:{port}/")).unwrap();
            let config = Config::default().handshake_timeout(timeout);
            in_time("connect", move || {
                blocking::connect_with(&request, config).map(drop).unwrap();
            });
        }
    }
    server.wait("the server");
    let request = ClientRequest::new("ws://127.0.0.1:1/").unwrap();
    let config = Config::default().handshake_timeout(Duration::ZERO);
    assert!(blocking::connect_with(&request, config).is_err());
}
