//! The table of crates/tungstenite-compat/README.md: what tungstenite does, and what its names on bowline do.

mod original {
    use ::tungstenite as tt;
    include!("compat/cases.rs");
}

mod compat {
    use ::bowline_tungstenite as tt;
    include!("compat/cases.rs");
}

/// Holds both libraries against what the table says of them.
macro_rules! differ {
    ($call:ident($($argument:expr),*): $theirs:expr => $ours:expr) => {
        assert_eq!(original::$call($($argument),*), $theirs, "tungstenite");
        assert_eq!(compat::$call($($argument),*), $ours, "bowline-tungstenite");
    };
}

/// The same in both.
macro_rules! agree {
    ($call:ident($($argument:expr),*): $both:expr) => {
        differ!($call($($argument),*): $both => $both);
    };
}

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
fn a_peer_that_breaks_a_rule_is_told() {
    for (bytes, error) in [
        (&b"\xc1\x80\0\0\0\0"[..], "NonZeroReservedBits"),
        (b"\x83\x80\0\0\0\0", "InvalidOpcode"),
        (b"\x09\x80\0\0\0\0", "FragmentedControlFrame"),
        (b"\x80\x80\0\0\0\0", "UnexpectedContinueFrame"),
        (b"\x81\x81\0\0\0\0\xff", "Utf8"),
        (b"\x81\x00", "UnmaskedFrameFromClient"),
    ] {
        let (theirs, ours) = (format!("{error}, nothing sent"), format!("{error}, Close sent"));
        differ!(server_reads(bytes): theirs => ours);
    }
    agree!(server_reads(b"\x88\x80\0\0\0\0"): "Close, Close sent");
    agree!(server_reads(b""): "ResetWithoutClosingHandshake, nothing sent");
}

#[test]
fn what_the_rfc_refuses_is_refused() {
    let long = b"\x81\xfe\0\x01\0\0\0\0x";
    differ!(server_reads(long): "ResetWithoutClosingHandshake, nothing sent" => "Io, Close sent");
    let many = b"\x01\x80\0\0\0\0".iter().chain(b"\0\x80\0\0\0\0".iter().cycle().take(6 * 1100));
    let many: Vec<u8> = many.copied().collect();
    differ!(server_reads(&many): "ResetWithoutClosingHandshake, nothing sent" => "Io, Close sent");
    differ!(sends_ping(126): "ok" => "ControlFrameTooBig");
    agree!(sends_ping(125): "ok");
    differ!(sends_close(1006, ""): "ok" => "InvalidCloseSequence");
    differ!(sends_close(1000, &"x".repeat(124)): "ok" => "InvalidCloseSequence");
    agree!(sends_close(1000, "bye"): "ok");
    differ!(sends_reserved_opcode(): "ok" => "Io");
    differ!(sends_stray_continuation(): "ok" => "Io");
    for accept in [false, true] {
        agree!(reads_unmasked(accept): if accept { "ok" } else { "UnmaskedFrameFromClient" });
    }
}

#[test]
fn a_bad_request_gets_an_answer_and_frames_may_come_with_a_good_one() {
    agree!(accepts(REQUEST): "ok, 101");
    let of = |good: &str, bad: &str| REQUEST.replacen(good, bad, 1);
    let post = of("GET", "POST");
    differ!(accepts(&post): "WrongHttpMethod, no answer" => "WrongHttpMethod, 405");
    let old = of("Version: 13", "Version: 8");
    differ!(accepts(&old): "MissingSecWebSocketVersionHeader, no answer" => "MissingSecWebSocketVersionHeader, 426");
    differ!(accepts(&of("Host: example.com\r\n", "")): "ok, 101" => "InvalidHeader, 400");
    differ!(accepts(&of(KEY, &KEY.repeat(2))): "ok, 101" => "InvalidSecWebSocketKey, 400");
    let body = of("\r\n\r\n", "\r\nContent-Length: 1\r\n\r\n");
    differ!(accepts(&body): "ok, 101" => "Io, 400");
    let with_frame = format!("{REQUEST}\u{1}");
    differ!(accepts(&with_frame): "JunkAfterRequest, no answer" => "ok, 101");
}

#[test]
fn a_client_takes_what_the_rfc_allows_and_no_more() {
    const UPGRADE: &str = "Connection: Upgrade\r\n";
    agree!(connects(None, UPGRADE): "ok");
    let listed = "Connection: keep-alive, Upgrade\r\n";
    differ!(connects(None, listed): "MissingConnectionUpgradeHeader" => "ok");
    let extension = format!("{UPGRADE}Sec-WebSocket-Extensions: permessage-deflate\r\n");
    differ!(connects(None, &extension): "ok" => "InvalidHeader");
    differ!(connects(Some("chat"), UPGRADE): "SecWebSocketSubProtocolError" => "ok");
    let other = format!("{UPGRADE}Sec-WebSocket-Protocol: other\r\n");
    agree!(connects(Some("chat"), &other): "SecWebSocketSubProtocolError");
    differ!(sends_bare_request(): "InvalidHeader" => "ok");
    differ!(sends_credentials(): "true, false" => "true, true");
}
