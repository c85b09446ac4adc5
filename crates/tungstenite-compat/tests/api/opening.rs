//! The opening handshake, both sides, over streams that block and streams that do not.

#![allow(clippy::result_large_err, reason = "the callbacks have the type of tungstenite")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use bowline_tungstenite::client::{IntoClientRequest, connect_with_config};
use bowline_tungstenite::error::{ProtocolError, SubProtocolError, UrlError};
use bowline_tungstenite::handshake::client::generate_request;
use bowline_tungstenite::handshake::server::{ErrorResponse, Request, Response, create_response};
use bowline_tungstenite::handshake::{derive_accept_key, server};
use bowline_tungstenite::http::{HeaderValue, StatusCode};
use bowline_tungstenite::protocol::WebSocketConfig;
use bowline_tungstenite::{
    ClientRequestBuilder, Error, HandshakeError, Message, accept, accept_hdr, client, connect,
};

use crate::wire::{Wire, frame};

const PROTOCOL: &str = "sec-websocket-protocol";

const REQUEST: &str = "GET /chat?room=1 HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
    Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Mine: yes\r\n\r\n";

/// Whether it is the error that is expected.
type Expected = fn(&Error) -> bool;

/// Serves one connection in a thread, and gives the URL.
fn serve<T: Send + 'static>(
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (String, thread::JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    (url, thread::spawn(move || serve(listener.accept().unwrap().0)))
}

/// A server that gives this answer, whatever it is asked.
fn answers(answer: String) -> (String, thread::JoinHandle<String>) {
    serve(move |mut socket| {
        let head = read_head(&mut socket);
        socket.write_all(answer.as_bytes()).unwrap();
        head
    })
}

fn read_head(socket: &mut TcpStream) -> String {
    let mut head = String::new();
    let mut byte = [0];
    while !head.ends_with("\r\n\r\n") {
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0].into());
    }
    head
}

#[test]
fn a_client_and_a_server_talk_and_see_what_the_other_said() {
    let (url, server) = serve(|socket| {
        let mut ws = accept_hdr(socket, |request: &Request, mut response: Response| {
            assert_eq!(request.uri().path(), "/");
            assert_eq!(request.headers()["authorization"], "Bearer s3cret");
            assert_eq!(request.headers()[PROTOCOL], "chat.v2, chat");
            let headers = response.headers_mut();
            headers.insert(PROTOCOL, HeaderValue::from_static("chat"));
            headers.append("x-server", HeaderValue::from_static("bowline"));
            Ok(response)
        })
        .unwrap();
        while let Ok(message) = ws.read() {
            if message.is_text() || message.is_binary() {
                ws.send(message).unwrap();
            }
        }
    });
    let request = ClientRequestBuilder::new(url.parse().unwrap())
        .with_header("Authorization", "Bearer s3cret")
        .with_sub_protocol("chat.v2")
        .with_sub_protocol("chat");
    let (mut ws, response) = connect(request).unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()[PROTOCOL], "chat");
    assert_eq!(response.headers()["x-server"], "bowline");
    for len in [0, 1, 125, 126, 70_000, 3_000_000] {
        let message = Message::binary(vec![b'x'; len]);
        ws.send(message.clone()).unwrap();
        assert_eq!(ws.read().unwrap(), message);
    }
    ws.close(None).unwrap();
    assert!(ws.read().unwrap().is_close());
    assert!(matches!(ws.read(), Err(Error::ConnectionClosed)));
    server.join().unwrap();
}

#[test]
fn a_callback_that_refuses_is_heard_by_the_client_with_its_text() {
    let refuse = |_: &Request, _: Response| {
        let mut refusal = ErrorResponse::new(Some("not you".into()));
        *refusal.status_mut() = StatusCode::FORBIDDEN;
        refusal.headers_mut().insert("x-why", HeaderValue::from_static("rank"));
        Err(refusal)
    };
    let (url, server) = serve(move |socket| accept_hdr(socket, refuse).map(drop).unwrap_err());
    let Err(Error::Http(response)) = connect(url) else { panic!("it was refused") };
    assert_eq!(response.status(), 403);
    assert_eq!(response.headers()["x-why"], "rank");
    assert_eq!(response.body().as_deref(), Some(&b"not you"[..]));
    let HandshakeError::Failure(Error::Http(own)) = server.join().unwrap() else { panic!() };
    assert_eq!((own.status().as_u16(), own.body().as_deref()), (403, Some(&b"not you"[..])));
}

#[test]
fn a_refusal_with_a_status_of_success_opens_nothing() {
    let wire = Wire::with(REQUEST.as_bytes());
    let refuse = |_: &Request, _: Response| Err(ErrorResponse::new(None));
    let Err(HandshakeError::Failure(error)) = accept_hdr(wire.clone(), refuse) else { panic!() };
    assert!(matches!(error, Error::Protocol(ProtocolError::CustomResponseSuccessful)));
    assert!(wire.written().starts_with(b"HTTP/1.1 500 "));
}

#[test]
fn a_bad_request_has_a_typed_error_and_gets_an_answer() {
    use ProtocolError as P;
    let cases: [(&str, &str, u16, Expected); 9] = [
        ("GET", "POST", 405, |e| matches!(e, Error::Protocol(P::WrongHttpMethod))),
        ("HTTP/1.1", "HTTP/1.0", 505, |e| matches!(e, Error::Protocol(P::WrongHttpVersion))),
        ("Upgrade: websocket\r\n", "", 426, |e| {
            matches!(e, Error::Protocol(P::MissingUpgradeWebSocketHeader))
        }),
        ("keep-alive, Upgrade", "close", 426, |e| {
            matches!(e, Error::Protocol(P::MissingConnectionUpgradeHeader))
        }),
        ("Version: 13", "Version: 8", 426, |e| {
            matches!(e, Error::Protocol(P::MissingSecWebSocketVersionHeader))
        }),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 400, |e| {
            matches!(e, Error::Protocol(P::MissingSecWebSocketKey))
        }),
        ("dGhlIHNhbXBsZSBub25jZQ==", "short", 400, |e| {
            matches!(e, Error::Protocol(P::InvalidSecWebSocketKey))
        }),
        ("Host: example.com\r\n", "", 400, |e| matches!(e, Error::Protocol(P::InvalidHeader(_)))),
        ("X-Mine: yes", "no header", 400, |e| matches!(e, Error::Protocol(P::HttparseError(_)))),
    ];
    for (good, bad, status, expected) in cases {
        let wire = Wire::with(REQUEST.replacen(good, bad, 1).as_bytes());
        let Err(HandshakeError::Failure(error)) = accept(wire.clone()) else { panic!("{bad}") };
        assert!(expected(&error), "{bad:?} for {good:?}: {error:?}");
        let answer = String::from_utf8(wire.written()).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{good:?}: {answer}");
    }
    let wire = Wire::with(&REQUEST.as_bytes()[..50]);
    wire.end();
    let Err(HandshakeError::Failure(error)) = accept(wire) else { panic!() };
    assert!(matches!(error, Error::Protocol(P::HandshakeIncomplete)));
}

#[test]
fn a_handshake_goes_on_where_the_stream_blocked_on_either_side() {
    // The request comes byte by byte, and each byte of the answer has to wait.
    let wire = Wire::default();
    wire.0.borrow_mut().room = Some(0);
    let Err(HandshakeError::Interrupted(mut mid)) = accept(wire.clone()) else { panic!() };
    let mut rest = [REQUEST.as_bytes(), &frame(0x81, true, b"with the request")].concat();
    let mut answer = Vec::new();
    let mut server = loop {
        if !rest.is_empty() {
            wire.give(&[rest.remove(0)]);
        }
        wire.0.borrow_mut().room = Some(1);
        match mid.handshake() {
            Ok(ws) => break ws,
            Err(HandshakeError::Interrupted(again)) => mid = again,
            Err(HandshakeError::Failure(error)) => panic!("{error}"),
        }
        answer.extend(wire.written());
    };
    answer.extend(wire.written());
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    wire.give(&rest);
    assert_eq!(server.read().unwrap(), Message::text("with the request"));

    let wire = Wire::default();
    let Err(HandshakeError::Interrupted(mid)) = client("ws://example.com/", wire.clone()) else {
        panic!()
    };
    let request = String::from_utf8(wire.written()).unwrap();
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let answer = format!(
        "HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes()),
    );
    assert_eq!(mid.get_ref().get_ref().0.borrow().input.len(), 0);
    wire.give(answer.as_bytes());
    wire.give(&frame(0x81, false, b"with the answer"));
    let (mut ws, _) = mid.handshake().unwrap();
    assert_eq!(ws.read().unwrap(), Message::text("with the answer"));
}

/// What comes of an answer that selects `selected`, where these were offered.
fn negotiate(offered: &[&str], selected: Option<&str>, config: WebSocketConfig) -> Option<Error> {
    let selected = selected.map(|name| HeaderValue::from_str(name).unwrap());
    let (url, server) = serve(move |socket| {
        let ws = accept_hdr(socket, |_: &Request, mut response: Response| {
            if let Some(name) = selected {
                response.headers_mut().insert(PROTOCOL, name);
            }
            Ok(response)
        });
        ws.is_ok()
    });
    let mut request = ClientRequestBuilder::new(url.parse().unwrap());
    for name in offered {
        request = request.with_sub_protocol(*name);
    }
    let connected = connect_with_config(request, Some(config), 0);
    server.join().unwrap();
    connected.err()
}

#[test]
fn a_server_selects_a_subprotocol_that_was_offered_or_none() {
    use SubProtocolError as S;
    let lax = WebSocketConfig::default();
    let strict = WebSocketConfig::default().require_subprotocol(true);
    let failed = |offered: &[&str], selected, config| match negotiate(offered, selected, config) {
        None => None,
        Some(Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(why))) => Some(why),
        Some(other) => panic!("{other}"),
    };
    assert_eq!(failed(&["a", "b"], Some("b"), strict), None);
    assert_eq!(failed(&["a"], Some("b"), lax), Some(S::InvalidSubProtocol));
    assert_eq!(failed(&[], Some("b"), lax), Some(S::ServerSentSubProtocolNoneRequested));
    assert_eq!(failed(&["a"], None, lax), None);
    assert_eq!(failed(&["a"], None, strict), Some(S::NoSubProtocol));
    assert_eq!(failed(&[], None, strict), None);
}

#[test]
fn a_request_needs_no_headers_of_the_handshake_and_its_host_may_be_another() {
    for complete in [false, true] {
        let (url, server) = answers("HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n".into());
        let mut request = if complete {
            url.as_str().into_client_request().unwrap()
        } else {
            bowline_tungstenite::http::Request::get(&url).body(()).unwrap()
        };
        request.headers_mut().insert("host", HeaderValue::from_static("other.example:81"));
        request.headers_mut().append("cookie", HeaderValue::from_static("a=b"));
        let Err(Error::Http(response)) = connect(request) else { panic!() };
        assert_eq!(response.status(), 404);
        let head = server.join().unwrap().to_lowercase();
        for line in [
            "host: other.example:81",
            "cookie: a=b",
            "sec-websocket-version: 13",
            "upgrade: websocket",
        ] {
            assert_eq!(head.matches(line).count(), 1, "{line} in {head}");
        }
        assert_eq!(head.matches("sec-websocket-key: ").count(), 1, "{head}");
        assert!(!head.contains("user-agent"), "{head}");
    }
}

#[test]
fn what_is_no_url_of_a_websocket_is_refused_before_anything_is_sent() {
    let error = |url: &str| connect(url).map(|_| ()).unwrap_err();
    assert!(matches!(error("http://127.0.0.1:1/"), Error::Url(UrlError::UnsupportedUrlScheme)));
    assert!(matches!(error("/path"), Error::Url(UrlError::NoHostName)));
    assert!(matches!(error("ws://127.0.0.1:1/"), Error::Url(UrlError::UnableToConnect(_))));
    let mut post = "ws://127.0.0.1:1/".into_client_request().unwrap();
    *post.method_mut() = bowline_tungstenite::http::Method::POST;
    let error = connect(post).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Protocol(ProtocolError::WrongHttpMethod)));
    #[cfg(not(feature = "rustls-tls-webpki-roots"))]
    assert!(matches!(
        connect("wss://127.0.0.1:1/").map(|_| ()).unwrap_err(),
        Error::Url(UrlError::TlsFeatureNotEnabled)
    ));
}

#[test]
fn redirects_are_followed_a_number_of_times_and_secrets_stay_at_their_origin() {
    let (there, target) = answers("HTTP/1.1 403 \r\nContent-Length: 0\r\n\r\n".into());
    let to = format!("HTTP/1.1 302 \r\nLocation: {there}moved\r\nContent-Length: 0\r\n\r\n");
    let (here, first) = answers(to);
    let request = |url: &str| {
        ClientRequestBuilder::new(url.parse().unwrap())
            .with_header("Authorization", "Bearer s3cret")
    };
    let Err(Error::Http(response)) = connect(request(&here)) else { panic!() };
    assert_eq!(response.status(), 403);
    assert!(first.join().unwrap().contains("s3cret"));
    let head = target.join().unwrap();
    assert!(head.starts_with("GET /moved HTTP/1.1\r\n") && !head.contains("s3cret"), "{head}");

    let (here, _) =
        answers("HTTP/1.1 302 \r\nLocation: /again\r\nContent-Length: 0\r\n\r\n".into());
    let Err(Error::Http(response)) = connect_with_config(here, None, 0) else { panic!() };
    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (302, &"/again".parse().unwrap())
    );
}

#[test]
fn an_answer_that_opens_nothing_has_a_typed_error() {
    use ProtocolError as P;
    let cases: [(&str, Expected); 4] = [
        ("Upgrade: h2c\r\nConnection: Upgrade\r\n", |e| {
            matches!(e, Error::Protocol(P::MissingUpgradeWebSocketHeader))
        }),
        ("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: no\r\n", |e| {
            matches!(e, Error::Protocol(P::SecWebSocketAcceptKeyMismatch))
        }),
        ("no header\r\n", |e| matches!(e, Error::Protocol(P::HttparseError(_)))),
        ("", |e| matches!(e, Error::Protocol(P::MissingUpgradeWebSocketHeader))),
    ];
    for (headers, expected) in cases {
        let (url, server) = answers(format!("HTTP/1.1 101 \r\n{headers}\r\n"));
        let error = connect(url).map(|_| ()).unwrap_err();
        assert!(expected(&error), "{headers:?}: {error:?}");
        server.join().unwrap();
    }
    let (url, server) = serve(drop);
    let error = connect(url).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Protocol(P::HandshakeIncomplete) | Error::Io(_)), "{error:?}");
    server.join().unwrap();
}

#[test]
fn the_parts_of_a_handshake_can_be_had_alone() {
    assert_eq!(derive_accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let mut request = "ws://example.com/chat".into_client_request().unwrap();
    *request.uri_mut() = "/chat".parse().unwrap();
    let response = create_response(&request).unwrap();
    assert_eq!(response.status(), 101);
    let key = request.headers()["sec-websocket-key"].as_bytes();
    assert_eq!(response.headers()["sec-websocket-accept"], derive_accept_key(key));
    let mut bytes = Vec::new();
    server::write_response(&mut bytes, &response).unwrap();
    assert!(bytes.starts_with(b"HTTP/1.1 101 ") && bytes.ends_with(b"\r\n\r\n"));
    let request = "ws://example.com/chat".into_client_request().unwrap();
    let (bytes, key) = generate_request(request).unwrap();
    assert!(String::from_utf8(bytes).unwrap().contains(&format!("Sec-WebSocket-Key: {key}\r\n")));
}

#[cfg(feature = "deflate")]
mod compressed {
    use bowline_tungstenite::Deflate;
    use bowline_tungstenite::client::client_with_config;
    use bowline_tungstenite::compression::{Offer, Scope};
    use bowline_tungstenite::protocol::Role;
    use bowline_tungstenite::{WebSocket, http};

    use super::*;

    fn config(on: bool) -> WebSocketConfig {
        WebSocketConfig::default().compression(on.then(Deflate::default))
    }

    /// What the client gets of a message that compresses well, and how many bytes that were.
    fn received(server: bool, client: bool) -> (Option<HeaderValue>, usize) {
        let text = "again and ".repeat(100);
        let (url, thread) = serve(move |socket| {
            let mut ws =
                bowline_tungstenite::accept_with_config(socket, Some(config(server))).unwrap();
            let message = ws.read().unwrap();
            let mut socket = ws.get_ref().try_clone().unwrap();
            ws.send(message).unwrap();
            let mut rest = Vec::new();
            socket.read_to_end(&mut rest).unwrap();
        });
        let socket = TcpStream::connect(&url[5..url.len() - 1]).unwrap();
        let (mut ws, response) = client_with_config(&url, socket, Some(config(client))).unwrap();
        ws.send(Message::text(&text)).unwrap();
        let mut peeked = [0; 2000];
        // All of a message of this size comes at once over loopback, compressed or not.
        let n = ws.get_ref().peek(&mut peeked).unwrap();
        assert_eq!(ws.read().unwrap(), Message::text(&text));
        drop(ws);
        thread.join().unwrap();
        (response.headers().get("sec-websocket-extensions").cloned(), n)
    }

    #[test]
    fn messages_are_compressed_if_both_sides_ask_for_it() {
        let (agreed, n) = received(true, true);
        assert!(agreed.unwrap().to_str().unwrap().starts_with("permessage-deflate"));
        assert!(n < 200, "{n} bytes");
        for (server, client) in [(true, false), (false, true), (false, false)] {
            let (agreed, n) = received(server, client);
            assert_eq!(agreed, None);
            assert!(n > 1000, "{n} bytes");
        }
    }

    fn request(offer: Option<&str>) -> http::Request<()> {
        let mut request = "ws://example.com/".into_client_request().unwrap();
        if let Some(offer) = offer {
            let name = "sec-websocket-extensions";
            request.headers_mut().insert(name, HeaderValue::from_str(offer).unwrap());
        }
        *request.uri_mut() = "/".parse().unwrap();
        request
    }

    #[test]
    fn settings_that_are_made_where_the_request_is_answered_carry_what_was_agreed_on() {
        let offer = Offer::of(&request(Some("permessage-deflate")), Deflate::default()).unwrap();
        let mut scope = Scope::new(offer.clone());
        let mut response = http::Response::builder().status(101).body(()).unwrap();
        // As an extractor does, and later, elsewhere, the task that has the socket.
        let config = scope.enter(WebSocketConfig::default);
        let second = scope.enter(WebSocketConfig::default);
        scope.answer(&mut response);
        let answer = response.headers()["sec-websocket-extensions"].to_str().unwrap().to_string();
        assert!(answer.starts_with("permessage-deflate"), "{answer}");
        let text = "again and ".repeat(100);
        let mut sizes = [config, second, WebSocketConfig::default()].map(|config| {
            let wire = Wire::default();
            let mut ws = WebSocket::from_raw_socket(wire.clone(), Role::Server, Some(config));
            ws.send(Message::text(&text)).unwrap();
            wire.written().len()
        });
        assert!(sizes[0] < 200, "{sizes:?}");
        assert!(sizes[1] > 1000 && sizes[2] > 1000, "one request, one WebSocket: {sizes:?}");
        sizes.sort_unstable();

        // Nothing is promised that no WebSocket would keep.
        let mut response = http::Response::builder().status(101).body(()).unwrap();
        Scope::new(offer.clone()).answer(&mut response);
        assert!(response.headers().is_empty());
        let mut scope = Scope::new(offer);
        scope.enter(WebSocketConfig::default);
        let mut refusal = http::Response::builder().status(403).body(()).unwrap();
        scope.answer(&mut refusal);
        assert!(refusal.headers().is_empty());
    }

    #[test]
    fn a_request_without_an_offer_that_can_be_taken_has_none() {
        for offer in [None, Some("x-other"), Some("permessage-deflate; unknown")] {
            assert!(Offer::of(&request(offer), Deflate::default()).is_none(), "{offer:?}");
        }
        let mut plain = request(Some("permessage-deflate"));
        plain.headers_mut().remove("upgrade");
        assert!(Offer::of(&plain, Deflate::default()).is_none());
    }
}
