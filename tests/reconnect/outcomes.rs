//! The table of what is worth another attempt.

use std::io::{self, ErrorKind};

use bowline::handshake::{ClientHandshake, ClientRequest, SocksReply};
use bowline::handshake::{ConnectError, InvalidRequest, ProxyError, RequestError, Response};
use bowline::{
    CloseCode, Config, Connection, End, Error, Outcome, RecvBuf, Refusal, SendBuf, Then, Timeout,
    Truncation,
};

/// Whether each status is worth another attempt: all that RFC 9110 has, and some that it does not.
const STATUSES: &[(u16, bool)] = &[
    (200, false),
    (204, false),
    (300, false),
    (301, false),
    (302, false),
    (303, false),
    (304, false),
    (307, false),
    (308, false),
    (400, false),
    (401, false),
    (403, false),
    (404, false),
    (405, false),
    (406, false),
    (407, false),
    (408, true),
    (409, false),
    (410, false),
    (414, false),
    (421, false),
    (425, true),
    (426, false),
    (429, true),
    (431, false),
    (451, false),
    (500, true),
    (501, false),
    (502, true),
    (503, true),
    (504, true),
    (505, false),
    (507, true),
    (521, true),
    (599, true),
    (600, false),
    (999, false),
];

/// Whether each close code is worth another attempt.
const CODES: &[(u16, bool)] = &[
    (0, false),
    (999, false),
    (1000, false),
    (1001, true),
    (1002, false),
    (1003, false),
    (1004, false),
    (1005, true),
    (1006, true),
    (1007, false),
    (1008, false),
    (1009, false),
    (1010, false),
    (1011, true),
    (1012, true),
    (1013, true),
    (1014, true),
    (1015, false),
    (1016, false),
    (2999, false),
    (3000, false),
    (3999, false),
    (4000, false),
    (4999, false),
    (5000, false),
];

fn refused(status: u16) -> ConnectError {
    ConnectError::Refused(Box::new(Response::received::<&str, &str>(status, [])))
}

#[test]
fn each_status() {
    for &(status, expected) in STATUSES {
        let then = if expected { Then::BackOff } else { Then::Stop };
        assert_eq!(Outcome::Status(status).then(), then, "{status}");
        assert_eq!(Error::from(refused(status)).is_retryable(), expected, "{status}");
        let by_proxy = ProxyError::Refused(Box::new(Response::received::<&str, &str>(status, [])));
        assert_eq!(by_proxy.outcome(), Outcome::Status(status));
    }
}

#[test]
fn each_close_code() {
    for &(code, expected) in CODES {
        let then = if expected { Then::BackOff } else { Then::Stop };
        assert_eq!(Outcome::Closed(code.into()).then(), then, "{code}");
    }
}

/// The end of a client's connection after these bytes of the server, and perhaps a Close of its own before.
fn end_after(close: Option<u16>, bytes: &[u8]) -> End {
    let mut connection = Connection::client(Config::default(), [0; 32]);
    let (mut input, mut out) = (RecvBuf::with_unread(bytes), SendBuf::new());
    if let Some(code) = close {
        connection.start_close(code, "", &mut out).unwrap();
    }
    let _ = connection.advance(&mut input, &mut out);
    connection.end().unwrap().clone()
}

fn close_frame(code: u16) -> [u8; 4] {
    let [high, low] = code.to_be_bytes();
    [0x88, 2, high, low]
}

#[test]
fn the_close_of_the_peer_decides_by_its_code() {
    for &(code, expected) in CODES.iter().filter(|(code, _)| CloseCode::from(*code).is_sendable()) {
        let end = end_after(None, &close_frame(code));
        assert_eq!(end.outcome(), Outcome::Closed(code.into()));
        assert_eq!(end.is_retryable(), expected, "{code}");
        assert_eq!(Error::Ended(end).is_retryable(), expected, "{code}");
    }
    let without_a_code = end_after(None, &[0x88, 0]);
    assert_eq!(without_a_code.outcome(), Outcome::Closed(CloseCode::NO_STATUS));
    assert!(without_a_code.is_retryable());
}

#[test]
fn a_session_that_this_side_closed_may_be_opened_again_whatever_the_peer_answers() {
    for code in [1000, 1002, 1008, 4000] {
        let end = end_after(Some(code), &close_frame(code));
        assert_eq!(end.outcome(), Outcome::Local, "{code}");
        assert!(end.is_retryable());
    }
    assert_eq!(End::Unconfirmed.outcome(), Outcome::Local);
}

#[test]
fn ends_without_a_close() {
    for truncation in [Truncation::BetweenMessages, Truncation::InHeader, Truncation::InPayload] {
        assert_eq!(End::PeerGone(truncation).outcome(), Outcome::Network);
    }
    for timeout in [Timeout::Close, Timeout::Progress, Timeout::Send, Timeout::Keepalive] {
        assert_eq!(End::TimedOut(timeout).outcome(), Outcome::Network);
        assert!(End::TimedOut(timeout).is_retryable());
    }
    assert!(End::OverBudget.is_retryable());
    // A server's frame with a mask.
    let failed = end_after(None, &[0x81, 0x80, 0, 0, 0, 0]);
    assert_eq!(failed.outcome(), Outcome::Violation);
    assert!(!failed.is_retryable());
}

#[test]
fn errors_of_the_handshake() {
    for error in [ConnectError::TimedOut, ConnectError::Gone] {
        assert_eq!(error.outcome(), Outcome::Network);
        assert!(Error::from(error).is_retryable());
    }
    for error in [
        ConnectError::Malformed,
        ConnectError::HeadTooBig,
        ConnectError::TooManyInterim,
        ConnectError::NotUpgraded,
        ConnectError::WrongAccept,
        ConnectError::Extension,
        ConnectError::Subprotocol,
        ConnectError::Body,
        ConnectError::NotEnabled,
    ] {
        assert_eq!(error.outcome(), Outcome::Violation);
        assert!(!Error::from(error).is_retryable());
    }
}

#[test]
fn a_redirect_that_was_not_followed_stops() {
    let request = ClientRequest::new("ws://example.com/").unwrap();
    let (mut handshake, _) = ClientHandshake::start(&request, Config::default(), [7; 32]);
    let response = Response::received(302, [("Location", "/there")]);
    assert!(matches!(handshake.answer(response), Ok(None)));
    let error = handshake.refused();
    assert!(matches!(error, ConnectError::Redirected(_)));
    assert_eq!(error.outcome(), Outcome::Status(302));
    assert!(!Error::from(error).is_retryable());
}

#[test]
fn errors_of_a_proxy() {
    let unauthorized =
        ProxyError::Unauthorized(Box::new(Response::received::<&str, &str>(407, [])));
    for (error, expected) in [
        (unauthorized, Outcome::Status(407)),
        (ProxyError::NoMethod, Outcome::Proxy),
        (ProxyError::BadCredentials, Outcome::Proxy),
        (ProxyError::Malformed, Outcome::Violation),
        (ProxyError::HeadTooBig, Outcome::Violation),
        (ProxyError::TooManyInterim, Outcome::Violation),
        (ProxyError::EarlyBytes, Outcome::Violation),
        (ProxyError::Gone, Outcome::Network),
        (ProxyError::TimedOut, Outcome::Network),
        (ProxyError::Socks(SocksReply::Failure), Outcome::Network),
        (ProxyError::Socks(SocksReply::NotAllowed), Outcome::Proxy),
        (ProxyError::Socks(SocksReply::NetworkUnreachable), Outcome::Network),
        (ProxyError::Socks(SocksReply::HostUnreachable), Outcome::Network),
        (ProxyError::Socks(SocksReply::ConnectionRefused), Outcome::Network),
        (ProxyError::Socks(SocksReply::TtlExpired), Outcome::Network),
        (ProxyError::Socks(SocksReply::CommandNotSupported), Outcome::Proxy),
        (ProxyError::Socks(SocksReply::AddressNotSupported), Outcome::Proxy),
        (ProxyError::Socks(SocksReply::Ident(93)), Outcome::Proxy),
        (ProxyError::Socks(SocksReply::Other(99)), Outcome::Network),
    ] {
        assert_eq!(error.outcome(), expected, "{error}");
        let is_retryable = expected == Outcome::Network;
        assert_eq!(expected.is_retryable(), is_retryable, "{error}");
    }
}

#[test]
fn errors_of_the_socket() {
    for kind in [
        ErrorKind::ConnectionRefused,
        ErrorKind::ConnectionReset,
        ErrorKind::ConnectionAborted,
        ErrorKind::BrokenPipe,
        ErrorKind::UnexpectedEof,
        ErrorKind::NotConnected,
        ErrorKind::HostUnreachable,
        ErrorKind::NetworkUnreachable,
        ErrorKind::NetworkDown,
        ErrorKind::AddrNotAvailable,
        ErrorKind::TimedOut,
        ErrorKind::WouldBlock,
        ErrorKind::NotFound,
        ErrorKind::Other,
    ] {
        assert!(Error::from(io::Error::from(kind)).is_retryable(), "{kind:?}");
    }
    for kind in [ErrorKind::InvalidInput, ErrorKind::Unsupported, ErrorKind::PermissionDenied] {
        assert!(!Error::from(io::Error::from(kind)).is_retryable(), "{kind:?}");
    }
}

#[test]
fn what_the_program_did_wrong_stops() {
    assert_eq!(Error::from(InvalidRequest::Method).outcome(), Outcome::Invalid);
    assert!(!Error::from(InvalidRequest::Method).is_retryable());
    assert!(!Error::TlsNotBuiltIn.is_retryable());
}

/// The connection is still there, so there is nothing to retry.
#[test]
fn what_ends_no_connection_is_not_retryable() {
    assert!(!Error::TimedOut.is_retryable());
    assert!(!Error::Send(Refusal::QueueFull.into()).is_retryable());
    assert!(!Error::Request(RequestError::TimedOut).is_retryable());
}

#[cfg(feature = "rustls")]
#[test]
fn certificates_stop() {
    use bowline::rustls::CertificateError::UnknownIssuer;
    use bowline::tls::TlsError;
    let untrusted = bowline::rustls::Error::InvalidCertificate(UnknownIssuer);
    for error in [TlsError::Rustls(untrusted), TlsError::NoRoots(String::new())] {
        assert_eq!(Error::Tls(error.clone()).outcome(), Outcome::Tls);
        assert!(!Error::Tls(error).is_retryable());
    }
}
