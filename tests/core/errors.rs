//! The text of errors, word for word. Programs log it, and often it is all that their authors see.

use std::error::Error as _;

use crate::support::*;
use bowline::{
    Budget, CloseAnswer, CloseCode, Config, End, Message, MessageRef, ProtocolError, Refusal, Role,
    Rule, SendError, Timeout, Truncation,
};

#[test]
fn every_rule_has_a_text() {
    for (rule, text) in [
        (Rule::ReservedBits, "reserved bit set in a frame header"),
        (Rule::ReservedOpcode, "reserved opcode"),
        (Rule::Unmasked, "client frame is not masked"),
        (Rule::Masked, "server frame is masked"),
        (Rule::FragmentedControl, "fragmented control frame"),
        (Rule::ControlTooLong, "control frame longer than 125 bytes"),
        (Rule::NonMinimalLength, "length not in its shortest form"),
        (Rule::LengthOverflow, "length above 2^63-1"),
        (Rule::UnexpectedContinuation, "continuation frame with nothing to continue"),
        (Rule::ExpectedContinuation, "new message inside a fragmented message"),
        (Rule::InvalidUtf8, "text is not UTF-8"),
        (Rule::CloseLength, "Close payload of one byte"),
        (Rule::CloseCode, "close code not allowed on the wire"),
        (Rule::CloseReason, "close reason is not UTF-8"),
        (Rule::FrameTooBig, "frame exceeds max_frame_size"),
        (Rule::MessageTooBig, "message exceeds max_message_size"),
        (Rule::InvalidDeflate, "compressed message is malformed"),
        (Rule::InflateRatio, "compressed message inflates by more than max_ratio"),
        (
            Rule::TooManyFragments,
            "message with little payload has more fragments than max_fragments",
        ),
    ] {
        assert_eq!(rule.to_string(), text);
    }
}

/// The error of a server after a broken rule.
#[track_caller]
fn said(config: &Config, bytes: &[u8]) -> String {
    let mut side = Side::new(Role::Server, config.clone());
    let error: ProtocolError = side.try_receive(bytes).unwrap_err();
    let end = side.connection.end().unwrap();
    assert_eq!(end.to_string(), error.to_string());
    assert!(error.source().is_none() && end.source().is_none());
    error.to_string()
}

#[test]
fn a_broken_rule_says_its_section_its_numbers_and_its_place() {
    let head = |len| header(0x82, true, Form::SixtyFour, len);
    let close = |code| to(Role::Server, CLOSE, &close_payload(code, b"why"));
    let text = to(Role::Server, TEXT, b"Hello");
    let config = Config::default();
    let cases = [
        (vec![0xF1], "5.2: reserved bit set in a frame header (byte 0)"),
        ([&text[..], &[0x83]].concat(), "5.2: reserved opcode (byte 11)"),
        (
            head(5_242_881),
            "10.4: message of 5,242,881 bytes exceeds max_message_size of 1,048,576 (byte 0)",
        ),
        (
            [
                fragment_to(Role::Server, false, TEXT, &[b'x'; 1_000]),
                header(0x80, true, Form::SixtyFour, 1 << 20),
            ]
            .concat(),
            "10.4: message of 1,049,576 bytes exceeds max_message_size of 1,048,576 (byte 1008)",
        ),
        (
            head(u64::MAX >> 1),
            "10.4: message of 9,223,372,036,854,775,807 bytes exceeds max_message_size of 1,048,576 \
             (byte 0)",
        ),
        (close(1006), "7.4: close code 1006 is not allowed on the wire (byte 6)"),
        (close(0), "7.4: close code 0 is not allowed on the wire (byte 6)"),
        (
            [
                fragment_to(Role::Server, false, TEXT, b""),
                fragment_to(Role::Server, false, CONTINUATION, b"").repeat(1_100),
            ]
            .concat(),
            "10.4: message with little payload has more fragments than max_fragments of 1,024 (byte 6144)",
        ),
    ];
    for (bytes, text) in cases {
        assert_eq!(said(&config, &bytes), format!("peer violated RFC 6455 section {text}"));
    }
    // A limit that is beyond 4 GiB is not shown.
    let config = Config::default().max_message_size(5 << 30);
    let text = "10.4: message of 5,368,709,121 bytes exceeds max_message_size (byte 0)";
    assert_eq!(
        said(&config, &head((5 << 30) + 1)),
        format!("peer violated RFC 6455 section {text}")
    );
    let config = Config::default().max_frame_size(999);
    let text = "10.4: frame of 1,000 bytes exceeds max_frame_size of 999 (byte 0)";
    let bytes = to(Role::Server, TEXT, &[b'x'; 1_000]);
    assert_eq!(said(&config, &bytes), format!("peer violated RFC 6455 section {text}"));
}

#[cfg(feature = "deflate")]
#[test]
fn a_compressed_message_that_is_too_big_says_the_limit() {
    let wire = {
        let config = Config::default().deflate(bowline::Deflate::default());
        let mut client = Side::extended(Role::Client, config, "permessage-deflate");
        client.connection.send(&vec![0; 2 << 20][..], &mut client.out).unwrap();
        client.take_out()
    };
    let said = |deflate: bowline::Deflate| {
        let config = Config::default().deflate(deflate);
        let mut server = Side::extended(Role::Server, config, "permessage-deflate");
        server.try_receive(&wire).unwrap_err().to_string()
    };
    assert_eq!(
        said(bowline::Deflate::default()),
        "peer violated RFC 6455 section 10.4: compressed message inflates to more than \
         max_message_size of 1,048,576 (byte 8)"
    );
    assert_eq!(
        said(bowline::Deflate::default().max_ratio(30)),
        "peer violated RFC 7692 section 9: compressed message inflates by more than max_ratio of 30 \
         (byte 8)"
    );
}

#[test]
fn every_refusal_has_a_text() {
    for (refusal, text) in [
        (Refusal::Closed, "the connection is closed for sending"),
        (Refusal::QueueFull, "max_send_queue bytes or more wait to be sent"),
        (Refusal::ControlTooLong, "the payload of a ping or pong exceeds 125 bytes"),
        (Refusal::MessageOpen, "a message is being sent in parts: finish it first"),
        (Refusal::PartMismatch, "the part is of another type than the message that it continues"),
        (Refusal::CloseCode, "the close code may not be sent"),
        (Refusal::CloseReasonTooLong, "the close reason exceeds 123 bytes"),
        (Refusal::OverBudget, "the memory_budget is used up: send again once what waits has left"),
    ] {
        assert_eq!(refusal.to_string(), text);
        let error = SendError::from(refusal);
        assert_eq!((error.refusal(), error.to_string()), (refusal, format!("not sent: {text}")));
        assert!(error.source().is_none());
    }
}

#[test]
fn what_is_refused_says_its_numbers_and_what_to_do() {
    type Try = fn(&mut Side) -> Result<(), SendError>;
    let tries: [(Try, Refusal, &str); 10] = [
        (
            |side| side.connection.ping(&[0; 126], &mut side.out),
            Refusal::ControlTooLong,
            "payload of 126 bytes exceeds the 125 of a ping or pong",
        ),
        (
            |side| side.connection.send(MessageRef::Pong(&[0; 5_000]), &mut side.out),
            Refusal::ControlTooLong,
            "payload of 5,000 bytes exceeds the 125 of a ping or pong",
        ),
        (
            |side| side.connection.start_close(1006, "", &mut side.out),
            Refusal::CloseCode,
            "close code 1006 may not be sent: use 1000 to 1003, 1007 to 1014, or 3000 to 4999",
        ),
        (
            |side| side.connection.start_close(CloseCode::NO_STATUS, "x", &mut side.out),
            Refusal::CloseCode,
            "close code 1005 stands for a Close without a body: leave the reason empty",
        ),
        (
            |side| side.connection.start_close(1000, &"r".repeat(1_124), &mut side.out),
            Refusal::CloseReasonTooLong,
            "close reason of 1,124 bytes exceeds the 123 of a Close",
        ),
        (
            |_| CloseAnswer::new(5_000, "").map(drop),
            Refusal::CloseCode,
            "close code 5000 may not be sent: use 1000 to 1003, 1007 to 1014, or 3000 to 4999",
        ),
        (
            |side| {
                side.connection.send_part("a", false, &mut side.out)?;
                side.connection.send("b", &mut side.out)
            },
            Refusal::MessageOpen,
            "a message is being sent in parts: finish it first",
        ),
        (
            |side| {
                side.connection.send_part("a", false, &mut side.out)?;
                side.connection.send_part(&b"b"[..], true, &mut side.out)
            },
            Refusal::PartMismatch,
            "the part is of another type than the message that it continues",
        ),
        (
            |side| {
                side.connection.send(&*"x".repeat(1_025), &mut side.out)?;
                side.connection.send("y", &mut side.out)
            },
            Refusal::QueueFull,
            "max_send_queue of 1,024 bytes or more wait to be sent",
        ),
        (
            |side| {
                side.connection.start_close(1000, "", &mut side.out)?;
                side.connection.send("y", &mut side.out)
            },
            Refusal::Closed,
            "this side has sent Close, and nothing may follow it (RFC 6455 section 5.5.1)",
        ),
    ];
    for role in ROLES {
        for (attempt, refusal, text) in &tries {
            let mut side = Side::new(role, Config::default().max_send_queue(1 << 10));
            let error = attempt(&mut side).unwrap_err();
            assert_eq!(error.to_string(), format!("not sent: {text}"));
            assert_eq!(error.refusal(), *refusal);
        }
    }
    let mut side = Side::new(Role::Server, Config::default().memory_budget(&Budget::new(0)));
    let error = side.connection.send(&[0; 5_000][..], &mut side.out).unwrap_err();
    assert_eq!(
        error.to_string(),
        "not sent: the memory_budget is used up: send again once what waits has left"
    );
}

#[test]
fn a_send_after_the_end_says_how_the_connection_ended() {
    type Ending = fn(&mut Side);
    let endings: [(Ending, &str); 7] = [
        (
            |side| {
                let _ = side.try_receive(&to(side.role, CLOSE, &close_payload(4000, b"why")));
            },
            "closed by the peer, code 4000",
        ),
        (
            |side| {
                side.connection.start_close(1000, "", &mut side.out).unwrap();
                let _ = side.try_receive(&to(side.role, CLOSE, b""));
            },
            "closed by us, code 1005",
        ),
        (|side| side.eof(), "peer gone without Close"),
        (
            |side| assert!(side.try_receive(&[0xF1]).is_err()),
            "peer violated the protocol: reserved bit set in a frame header",
        ),
        (
            |side| {
                side.receive(&fragment_to(side.role, false, TEXT, b"begun"));
                let now = std::time::Duration::from_secs(100);
                let _ = side.connection.deadline(now, &side.input, &side.out);
                side.connection.on_time(2 * now, &side.input, &mut side.out);
            },
            "peer sent less than 1 KiB of a message within progress_timeout",
        ),
        (|side| side.connection.transport_failed(&side.input), "peer gone without Close"),
        (
            |side| {
                side.fill(&to(side.role, TEXT, b"x")[..1]);
                side.input.eof();
                let _ = side.advance();
            },
            "peer gone inside a frame header",
        ),
    ];
    for role in ROLES {
        for (ending, text) in endings {
            let mut side = Side::new(role, Config::default());
            ending(&mut side);
            let Side { connection, out, .. } = &mut side;
            let message = Message::from("late");
            let errors = [
                connection.send("late", out).unwrap_err(),
                connection.send(&[0; 70_000][..], out).unwrap_err(),
                connection.send_owned(message.clone(), out).unwrap_err(),
                connection.send_borrowed("late", out).map(drop).unwrap_err(),
                connection.send_prepared(&message.clone().into(), out).unwrap_err(),
                connection.send_part("late", true, out).unwrap_err(),
                connection.ping(b"late", out).unwrap_err(),
                connection.start_close(1000, "", out).unwrap_err(),
            ];
            for error in errors {
                assert_eq!(error.refusal(), Refusal::Closed);
                assert_eq!(
                    error.to_string(),
                    format!("not sent: the connection has ended: {text}")
                );
            }
            let (_, mut sender, _) = side.connection.into_halves();
            let error = sender.send("late", &mut side.out).unwrap_err();
            assert!(error.to_string().starts_with("not sent: "));
        }
    }
    // A sending half knows only what the receiving half told it.
    let (_, mut sender, _) = Side::new(Role::Server, Config::default()).connection.into_halves();
    sender.shut();
    let error = sender.send("late", &mut bowline::SendBuf::new()).unwrap_err();
    assert_eq!(error.to_string(), "not sent: the connection has ended");
}

#[test]
fn every_end_has_a_text() {
    for (end, text) in [
        (End::PeerGone(Truncation::BetweenMessages), "peer gone without Close"),
        (End::PeerGone(Truncation::InHeader), "peer gone inside a frame header"),
        (End::PeerGone(Truncation::InPayload), "peer gone inside a frame"),
        (End::PeerGone(Truncation::InMessage), "peer gone inside a fragmented message"),
        (End::TimedOut(Timeout::Close), "peer did not answer Close within close_timeout"),
        (
            End::TimedOut(Timeout::Progress),
            "peer sent less than 1 KiB of a message within progress_timeout",
        ),
        (
            End::TimedOut(Timeout::Send),
            "peer took less than 1 KiB of what waits for it within send_timeout",
        ),
        (End::TimedOut(Timeout::Keepalive), "peer did not answer a ping within pong_timeout"),
        (End::OverBudget, "what the peer sent exceeds the memory_budget"),
        (End::Unconfirmed, "closed without waiting for the peer's Close"),
    ] {
        assert_eq!(end.to_string(), text);
        assert!(end.source().is_none());
    }
    // A reason cannot forge a line of a log.
    let mut side = Side::new(Role::Server, Config::default());
    side.receive(&to(Role::Server, CLOSE, &close_payload(4000, b"a\nb\x1b[31m")));
    let said = side.connection.end().unwrap().to_string();
    assert_eq!(said, r#"closed by the peer, code 4000, reason "a\nb\u{1b}[31m""#);
}

#[test]
fn errors_stay_small() {
    use std::mem::size_of;
    assert!(size_of::<SendError>() <= 48);
    assert!(size_of::<Result<(), SendError>>() <= 48);
    assert!(size_of::<ProtocolError>() <= 24);
    assert!(size_of::<End>() <= 32);
}

#[cfg(feature = "std")]
mod chains {
    use super::*;
    use bowline::Error;
    use bowline::handshake::{
        Accept, ClientRequest, ConnectError, InvalidRequest, RequestError, Response,
    };
    use std::io;

    /// Everything that a report of an error shows, as anyhow does it: the error and each source.
    fn report(error: &dyn std::error::Error) -> Vec<String> {
        let mut lines = vec![error.to_string()];
        let mut next = error.source();
        while let Some(error) = next {
            lines.push(error.to_string());
            next = error.source();
        }
        lines
    }

    #[track_caller]
    fn assert_no_repetition(error: &dyn std::error::Error) {
        let lines = report(error);
        for (i, line) in lines.iter().enumerate() {
            assert!(!line.is_empty());
            for before in &lines[..i] {
                assert!(!before.contains(line.as_str()), "{lines:?}");
            }
        }
    }

    /// An error with a source of its own.
    #[derive(Debug)]
    struct Outer;

    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("outer")
        }
    }

    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&Inner)
        }
    }

    #[derive(Debug)]
    struct Inner;

    impl std::fmt::Display for Inner {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("inner")
        }
    }

    impl std::error::Error for Inner {}

    fn errors() -> Vec<Error> {
        let failed = |bytes: &[u8]| {
            Side::new(Role::Server, Config::default()).try_receive(bytes).unwrap_err()
        };
        let invalid = |url| ClientRequest::new(url).unwrap_err();
        #[cfg_attr(not(feature = "rustls"), allow(unused_mut))]
        let mut errors: Vec<Error> = vec![
            io::Error::other(Outer).into(),
            io::Error::from(io::ErrorKind::ConnectionReset).into(),
            io::Error::from_raw_os_error(111).into(),
            End::Failed(failed(&[0xF1])).into(),
            End::PeerGone(Truncation::InHeader).into(),
            End::OverBudget.into(),
            End::Unconfirmed.into(),
            SendError::from(Refusal::QueueFull).into(),
            RequestError::ForeignOrigin.into(),
            RequestError::Malformed.into(),
            ConnectError::Gone.into(),
            ConnectError::Malformed.into(),
            invalid("nonsense").into(),
            invalid("ftp://example.com/").into(),
            InvalidRequest::Method.into(),
            Accept::new().header("a\n", "b").unwrap_err().into(),
            Response::new(200).header("a\n", "b").unwrap_err().into(),
            Error::TlsNotBuiltIn,
        ];
        #[cfg(feature = "rustls")]
        {
            use bowline::rustls;
            use bowline::tls::TlsError;
            let other = rustls::OtherError(std::sync::Arc::new(Outer));
            let certificate =
                rustls::CertificateError::Other(rustls::OtherError(std::sync::Arc::new(Outer)));
            errors.extend([
                Error::Tls(TlsError::NoProvider),
                Error::Tls(TlsError::NoRoots("why".into())),
                Error::Tls(TlsError::ServerName),
                Error::Tls(rustls::Error::HandshakeNotComplete.into()),
                Error::Tls(rustls::Error::Other(other).into()),
                Error::Tls(rustls::Error::InvalidCertificate(certificate).into()),
                io::Error::other(rustls::Error::DecryptError).into(),
            ]);
        }
        errors
    }

    #[test]
    fn no_line_of_a_report_repeats_another() {
        for error in errors() {
            assert_no_repetition(&error);
            match &error {
                Error::Io(error) => assert_no_repetition(error),
                Error::Ended(error) => assert_no_repetition(error),
                Error::Send(error) => assert_no_repetition(error),
                Error::Request(error) => assert_no_repetition(error),
                Error::Connect(error) => assert_no_repetition(error),
                Error::Invalid(error) => assert_no_repetition(error),
                #[cfg(feature = "rustls")]
                Error::Tls(error) => assert_no_repetition(error),
                _ => {}
            }
        }
        #[cfg(feature = "axum")]
        assert_no_repetition(&bowline::axum::WebSocketUpgradeRejection::Request(
            RequestError::ForeignOrigin,
        ));
    }

    #[test]
    fn an_adapters_error_says_what_the_error_in_it_says_and_keeps_its_source() {
        let error = Error::from(io::Error::other(Outer));
        assert_eq!(report(&error), ["outer", "inner"]);
        let end = End::PeerGone(Truncation::InHeader);
        assert_eq!(report(&Error::from(end.clone())), [end.to_string()]);
        let refused = SendError::from(Refusal::QueueFull);
        assert_eq!(report(&Error::from(refused.clone())), [refused.to_string()]);
        assert_eq!(
            Error::TlsNotBuiltIn.to_string(),
            "TLS is not built in: use the feature `rustls`, or open the WebSocket over a TLS stream"
        );
    }

    #[cfg(feature = "rustls")]
    #[test]
    fn every_tls_error_has_a_text() {
        use bowline::tls::TlsError;
        for (error, text) in [
            (
                TlsError::NoProvider,
                "TLS has no crypto provider: install one, or build bowline with its feature `ring` or `aws-lc-rs`",
            ),
            (TlsError::NoRoots(String::new()), "the platform has no root certificates"),
            (TlsError::NoRoots("why".into()), "the platform has no root certificates: why"),
            (TlsError::ServerName, "no certificate can be for the host of the URL"),
        ] {
            assert_eq!(error.to_string(), text);
        }
        let inner = bowline::rustls::Error::HandshakeNotComplete;
        let error = TlsError::from(inner.clone());
        assert_eq!(error.to_string(), format!("TLS: {inner}"));
    }
}
