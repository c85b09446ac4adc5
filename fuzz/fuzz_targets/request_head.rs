//! The head of a request, to a server. It gives the same wherever it is cut, and the answer is one HTTP response.
#![no_main]

mod heads;

use bowline::handshake::{Accept, Request, RequestError, Response, ServerHandshake};
use bowline::{RecvBuf, SendBuf};
use heads::{Input, fill};

#[derive(Debug, PartialEq)]
struct Seen {
    method: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    /// The bytes after the head.
    unread: Vec<u8>,
    upgrade: Result<Vec<(String, Vec<u8>)>, RequestError>,
}

type Outcome = Result<Option<Seen>, RequestError>;

fn headers(headers: &bowline::handshake::Headers) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.to_string(), value.to_vec())).collect()
}

/// All that a server does with a request.
fn upgrade(request: &Request, input: &Input<'_>) -> Result<Vec<(String, Vec<u8>)>, RequestError> {
    let upgrade = request.upgrade(&input.config())?;
    let offers: Vec<&str> = request.subprotocols().collect();
    let selected = request.select_subprotocol(&offers);
    assert_eq!(selected, offers.first().copied());
    let (_, response) =
        upgrade.accept(Accept::new().subprotocol(selected)).expect("it was offered");
    assert_eq!((response.status(), response.subprotocol()), (101, selected));
    assert_response(&response);
    Ok(headers(response.headers()))
}

fn look(request: &Request, input: &Input<'_>, unread: &[u8]) -> Seen {
    // Formatting never panics, whatever came.
    let _ = (request.path(), request.query(), request.origin(), request.cookie("a"));
    assert!(!request.host().is_empty());
    let shown = format!("{request:?}");
    assert!(shown.is_ascii() || !request.path().is_ascii());
    let again = Request::from_parts(request.method(), request.target(), request.headers().iter())
        .expect("what one parser took another may bring");
    assert_eq!(upgrade(&again, input), upgrade(request, input));
    Seen {
        method: request.method().to_string(),
        target: request.target().to_string(),
        headers: headers(request.headers()),
        unread: unread.to_vec(),
        upgrade: upgrade(request, input),
    }
}

fn run(input: &Input<'_>, pieces: &[&[u8]]) -> Outcome {
    let mut handshake = ServerHandshake::new(input.config());
    let mut buffer = RecvBuf::new();
    let mut outcome = Ok(None);
    for piece in pieces {
        fill(&mut buffer, piece);
        if !matches!(outcome, Ok(None)) {
            continue;
        }
        outcome = handshake.read(&mut buffer);
    }
    if input.ends() && matches!(outcome, Ok(None)) {
        buffer.eof();
        outcome = handshake.read(&mut buffer);
    }
    match outcome {
        Ok(None) => Ok(None),
        Ok(Some(request)) => Ok(Some(look(&request, input, buffer.unread()))),
        Err(error) => {
            assert_response(&error.response());
            assert_eq!(handshake.read(&mut buffer).map(|_| ()), Err(error), "errors stick");
            Err(error)
        }
    }
}

/// Asserts that the sent bytes are one HTTP response, and that nothing in them could be read as more.
fn assert_response(response: &Response) {
    let mut out = SendBuf::new();
    response.encode(&mut out);
    let sent: Vec<u8> = out.pending_slices().flatten().copied().collect();
    let end = sent.windows(4).position(|window| window == b"\r\n\r\n").expect("a head ends");
    let head = std::str::from_utf8(&sent[..end]).expect("a head of ours is text");
    let mut lines = head.split("\r\n");
    let status = format!("HTTP/1.1 {} ", response.status());
    assert!(lines.next().unwrap().starts_with(&status), "{head}");
    for line in lines.clone() {
        assert!(line.bytes().all(|byte| (b' '..0x7f).contains(&byte)), "{line:?}");
        assert!(line.contains(": "), "{line:?}");
    }
    let body = &sent[end + 4..];
    let length = lines.clone().find_map(|line| line.strip_prefix("Content-Length: "));
    match response.status() {
        101 => assert!(length.is_none() && body.is_empty()),
        _ => assert_eq!(length, Some(&body.len().to_string()[..])),
    }
    assert_eq!(lines.any(|line| line.starts_with("Connection: close")), response.status() != 101);
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::new(data) else {
        return;
    };
    let [whole, cut, each] = input.ways();
    let expected = run(&input, &whole);
    assert_eq!(run(&input, &cut), expected);
    assert_eq!(run(&input, &each), expected);
});
