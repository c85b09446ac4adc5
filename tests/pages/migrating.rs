//! The programs of docs/migrating-from-tungstenite.md, bowline's side of them; the other side is in `benches/peers`.

#![cfg(feature = "tokio")]

#[path = "../migrating/client.rs"]
mod client;
#[path = "../migrating/server.rs"]
mod server;

use std::time::Duration;

use bowline::Error;
use bowline::handshake::ConnectError;
use tokio::net::TcpListener;

/// No wait of a test lasts longer; a hang fails.
const LONG: Duration = Duration::from_secs(20);

/// Asks the server of the guide, with its client.
async fn ask(
    path: &str,
    questions: &'static [&'static str],
) -> Result<(Vec<String>, Option<u16>), Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("ws://{}{path}", listener.local_addr().expect("an address"));
    tokio::spawn(server::serve(listener));
    let asking = tokio::task::spawn_blocking(move || client::ask(&url, questions));
    tokio::time::timeout(LONG, asking).await.expect("it ends in time").expect("no panic")
}

#[test]
fn the_programs_stand_in_the_guide() {
    let guide = include_str!("../../docs/migrating-from-tungstenite.md");
    for (kind, program) in [
        ("rust,ignore", include_str!("../../benches/peers/tests/migrating/server.rs")),
        ("rust", include_str!("../migrating/server.rs")),
        ("rust,ignore", include_str!("../../benches/peers/tests/migrating/client.rs")),
        ("rust", include_str!("../migrating/client.rs")),
    ] {
        let block = format!("```{kind}\n{program}```\n");
        assert!(guide.contains(&block), "not in the guide:\n{program}");
    }
}

#[tokio::test]
async fn questions_are_answered() {
    let answers = ask("/shout", &["one", "grüße"]).await.expect("answers");
    assert_eq!(answers, (vec!["ONE".into(), "GRÜSSE".into()], None));
}

#[tokio::test]
async fn the_server_closes_with_its_code() {
    let answers = ask("/shout", &["one", "bye", "two"]).await.expect("answers");
    assert_eq!(answers, (vec!["ONE".into()], Some(4000)));
}

#[tokio::test]
async fn another_path_is_refused() {
    match ask("/", &[]).await {
        Err(Error::Connect(ConnectError::Refused(response))) => {
            assert_eq!((response.status(), response.body_bytes()), (404, &b"not here\n"[..]));
        }
        other => panic!("{other:?}"),
    }
}

/// Every name of bowline's that the guide has a line for, but methods.
#[cfg(all(feature = "rustls", feature = "webpki-roots"))]
#[allow(unused_imports)]
mod names {
    use bowline::End::{Closed, Failed, PeerGone, TimedOut};
    use bowline::Error::{Connect, Ended, Invalid, Io, Request, Send, Tls, TlsNotBuiltIn};
    use bowline::Refusal::{self, QueueFull};
    use bowline::Rule::{
        CloseLength, ControlTooLong, ExpectedContinuation, FragmentedControl, FrameTooBig, Masked,
        MessageTooBig, ReservedBits, ReservedOpcode, UnexpectedContinuation, Unmasked,
    };
    use bowline::blocking::{BlockingStream, MaybeTls, Plain, TlsStream, client, connect_with};
    use bowline::handshake::{
        Accept, ClientHandshake, ClientRequest, ConnectError, InvalidRequest, RequestError,
        Response, ServerHandshake,
    };
    use bowline::tls::with_webpki_roots;
    use bowline::tokio::{Incoming, RecvHalf, SendHalf, Server, WebSocket, accept, connect};
    use bowline::{Connection, Progress, RecvBuf, SendBuf, Text, tokio_rustls};
}
