//! URLs, and Locations of redirects: the first line is a URL, the second a Location.
#![no_main]

use bowline::Config;
use bowline::handshake::{ClientHandshake, ClientRequest, ConnectError, Response};

fn check(request: &ClientRequest) {
    let url = request.url();
    let again = ClientRequest::new(&url).expect("what is given is a URL");
    assert_eq!(again.url(), url);
    assert_eq!(again.is_secure(), request.is_secure());
    assert_eq!((again.host(), again.port()), (request.host(), request.port()));
    assert_eq!((again.target(), again.authority()), (request.target(), request.authority()));
    assert!(request.target().starts_with('/'));
    assert!(request.target().bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(request.route().is_ok());
}

libfuzzer_sys::fuzz_target!(|data: &str| {
    let (url, location) = data.split_once('\n').unwrap_or((data, ""));
    let Ok(request) = ClientRequest::new(url) else {
        return;
    };
    check(&request);
    let request = request.redirects(1).bearer("secret").expect("a valid token");
    let (mut handshake, _) = ClientHandshake::start(&request, Config::default(), [7; 32]);
    let response = Response::received(302, [("Location", location)]);
    assert!(matches!(handshake.answer(response), Ok(None)));
    let ConnectError::Redirected(redirected) = handshake.refused() else {
        panic!("a 302 with a Location is a redirect");
    };
    let Ok(next) = request.follow(*redirected) else {
        return;
    };
    check(&next);
    assert!(next.is_secure() || !request.is_secure(), "out of TLS");
    let is_unix = |request: &ClientRequest| {
        request.url().starts_with(["ws+unix", "wss+unix"][usize::from(request.is_secure())])
    };
    assert!(!is_unix(&next) || is_unix(&request), "a Location never names a Unix socket");
    let origin = |request: &ClientRequest| {
        (request.is_secure(), request.host().to_ascii_lowercase(), request.port())
    };
    if origin(&next) != origin(&request) {
        let (_, headers) = ClientHandshake::start(&next, Config::default(), [7; 32]);
        assert_ne!(headers.get_str("Authorization"), Some("Bearer secret"));
    }
});
