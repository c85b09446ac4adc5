//! The head of a response, to a client. It gives the same wherever it is cut, and only the start of a refusal is kept.
#![no_main]

mod heads;

use bowline::handshake::{ClientHandshake, ClientRequest, ConnectError};
use bowline::{RecvBuf, SendBuf};
use heads::{Input, fill};

/// The key that the seed gives, so that the corpus can hold valid answers:
/// `Sec-WebSocket-Accept: MXHCaJPMZA/Ir6yhiiyxoBpnBAA=`.
const KEY: &str = "9pKJeIXAyyCj5M0QagsVvA==";

#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    subprotocol: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
    /// The bytes after the head.
    unread: Vec<u8>,
}

type Outcome = Result<Option<Seen>, ConnectError>;

fn run(input: &Input<'_>, pieces: &[&[u8]]) -> Outcome {
    let request = ClientRequest::new("ws://example.com/chat")
        .and_then(|request| request.subprotocol("chat")?.subprotocol("superchat"))
        .expect("a valid request");
    let mut out = SendBuf::new();
    let mut handshake = ClientHandshake::new(&request, input.config(), [7; 32], &mut out);
    let key = format!("\r\nSec-WebSocket-Key: {KEY}\r\n");
    let sent = String::from_utf8_lossy(out.pending());
    assert!(sent.contains(&key), "the corpus was made for another generator: {sent}");

    let mut buffer = RecvBuf::new();
    let mut outcome = Ok(None);
    for piece in pieces {
        fill(&mut buffer, piece);
        if matches!(outcome, Ok(None)) {
            outcome = handshake.read(&mut buffer);
        }
    }
    if input.ends() && matches!(outcome, Ok(None)) {
        buffer.eof();
        outcome = handshake.read(&mut buffer);
    }
    match outcome {
        Ok(None) => Ok(None),
        Ok(Some((connection, response))) => {
            assert!(connection.end().is_none() && response.body_bytes().is_empty());
            let headers = response.headers().iter();
            Ok(Some(Seen {
                status: response.status(),
                subprotocol: response.subprotocol().map(String::from),
                headers: headers.map(|(name, value)| (name.into(), value.into())).collect(),
                unread: buffer.unread().to_vec(),
            }))
        }
        Err(error) => {
            if let ConnectError::Refused(response) = &error {
                assert!((200..1_000).contains(&response.status()));
                assert!(response.body_bytes().len() <= 64 << 10);
                // A body consists of bytes that came.
                assert!(response.body_bytes().len() <= input.bytes.len());
            }
            let again = handshake.read(&mut buffer).map(|_| ());
            assert_eq!(again, Err(error.clone()), "errors stick");
            Err(error)
        }
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::new(data) else {
        return;
    };
    let [whole, cut, each] = input.ways();
    let expected = run(&input, &whole);
    if let Ok(Some(seen)) = &expected {
        assert_eq!(seen.status, 101);
    }
    assert_eq!(run(&input, &cut), expected);
    assert_eq!(run(&input, &each), expected);
});
