//! Redirects over real sockets: each hop is a connection of its own, and all have one deadline.

use std::time::Instant;

use bowline::handshake::{ConnectError, Unfollowed};

use super::*;

/// A server that answers with a redirect to this place. It keeps the connection open, and its body has no length.
fn redirecting(status: u16, location: String) -> SocketAddr {
    serve(move |mut socket| {
        read_head(&mut socket);
        let answer = format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\n\r\nmoved");
        let _ = socket.write_all(answer.as_bytes());
        let _ = socket.read(&mut [0]);
    })
}

#[test]
fn a_redirect_is_followed_to_another_server_if_the_request_allows_it() {
    let server = echo_server();
    for status in [301, 302, 303, 307, 308] {
        let first = redirecting(status, format!("http://{server}/there"));
        for adapter in ADAPTERS {
            let url = format!("ws://{first}/");
            // No time is spent on waiting for the body.
            let start = Instant::now();
            assert_eq!(adapter.echo(&request(&url).redirects(1)).unwrap(), 101, "{adapter:?}");
            assert!(start.elapsed() < LONG / 2);
            match adapter.echo(&request(&url)).unwrap_err() {
                Error::Connect(ConnectError::Redirected(redirected)) => {
                    assert_eq!(redirected.status(), status);
                    assert_eq!(redirected.location(), format!("http://{server}/there"));
                    assert_eq!(redirected.why(), Unfollowed::Off);
                }
                other => panic!("{adapter:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn ten_hops_are_ten_and_a_loop_ends() {
    let server = echo_server();
    let (counting, heads) = http_server(move |head| {
        let n: u32 = head.split(' ').nth(1).unwrap()[1..].parse().unwrap();
        let location = if n == 9 { format!("ws://{server}/") } else { format!("/{}", n + 1) };
        format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")
    });
    let (looping, loops) =
        http_server(|_| "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".into());
    for adapter in ADAPTERS {
        let count = |heads: &Receiver<String>| heads.try_iter().count();
        let there = request(format!("ws://{counting}/0"));
        assert_eq!(adapter.echo(&there.clone().redirects(10)).unwrap(), 101, "{adapter:?}");
        assert_eq!(count(&heads), 10);
        let error = adapter.echo(&there.redirects(9)).unwrap_err();
        assert!(error.to_string().ends_with("the request allows 9 redirects"), "{error}");
        assert_eq!(count(&heads), 10);
        let error = adapter.echo(&request(format!("ws://{looping}/")).redirects(5)).unwrap_err();
        assert!(error.to_string().ends_with("the request allows 5 redirects"), "{error}");
        assert_eq!(count(&loops), 6, "{adapter:?}");
    }
}

#[test]
fn all_hops_together_have_one_deadline() {
    // Each hop takes a third of the time.
    let slow = serve(|mut socket| {
        read_head(&mut socket);
        thread::sleep(SHORT / 3);
        let _ = socket.write_all(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n");
    });
    for adapter in ADAPTERS {
        let endless = request(format!("ws://{slow}/")).redirects(u32::MAX).timeout(SHORT);
        let error = adapter.echo(&endless).unwrap_err();
        assert!(
            matches!(&error, Error::Connect(ConnectError::TimedOut))
                || error.unreachable().is_some_and(|found| found.attempts().len() == 1),
            "{adapter:?}: {error:?}"
        );
    }
}

#[test]
fn a_stream_of_the_programs_own_is_not_redirected() {
    let first = redirecting(302, "/there".into());
    let allowed = request(format!("ws://{first}/")).redirects(5);
    let stream = TcpStream::connect(first).unwrap();
    let error = blocking::connect_over(stream, &allowed, Config::default()).map(drop).unwrap_err();
    match error {
        Error::Connect(ConnectError::Redirected(redirected)) => {
            assert_eq!(redirected.why(), Unfollowed::GivenStream);
        }
        other => panic!("{other:?}"),
    }
}
