//! The spans and events of the feature `tracing`: their names, levels and fields.
//!
//! The fields of the span are those that OpenTelemetry's semantic conventions give to spans of HTTP. `otel.name`,
//! `otel.kind` and `otel.status_code` are what tracing-opentelemetry takes for the name, kind and status of a span. All numbers
//! are `i64` or `f64`: it makes text of unsigned ones.
//!
//! All is INFO: it comes once for each connection, and most programs log at that level. An end that is not normal is no
//! WARN. A peer alone brings about most of these, such as by losing its network, and must not fill a log of warnings.

use core::fmt::Debug;
use core::net::SocketAddr;
use core::time::Duration;
use std::format;
use std::string::{String, ToString};
use std::sync::Arc;

use ::tracing::field::Empty;
use ::tracing::{Level, Span};

use crate::adapter::Error;
use crate::handshake::{ClientRequest, ConnectError, ProxyError, Request, Response};
use crate::protocol::error::End;
use crate::protocol::recv::{Receiver, Role};
use crate::protocol::stats::Stats;

/// The methods that a span names. OpenTelemetry has `_OTHER` for the rest, so that a peer cannot make up names.
const METHODS: [&str; 9] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];

/// The span of an opening handshake, which all its parts share. There is none if nobody listens, so that it takes
/// no memory then.
#[derive(Clone, Debug)]
pub(crate) struct Handshake(Option<Arc<Told>>);

#[derive(Debug)]
struct Told {
    span: Span,
    role: Role,
}

impl Handshake {
    /// One that goes out over HTTP/1.1.
    pub(crate) fn client(request: &ClientRequest) -> Self {
        Self::of_client(request, "GET", "1.1")
    }

    #[cfg(feature = "http2")]
    pub(crate) fn client_over_http2(request: &ClientRequest) -> Self {
        Self::of_client(request, "CONNECT", "2")
    }

    fn of_client(request: &ClientRequest, method: &str, version: &str) -> Self {
        let span = ::tracing::info_span!(
            target: "bowline",
            "websocket.handshake",
            otel.name = method,
            otel.kind = "client",
            otel.status_code = Empty,
            http.request.method = method,
            url.full = Empty,
            server.address = request.host(),
            server.port = i64::from(request.port()),
            network.peer.address = Empty,
            network.peer.port = Empty,
            network.protocol.name = "http",
            network.protocol.version = version,
            http.response.status_code = Empty,
            "error.type" = Empty,
        );
        let handshake = Self::new(span, Role::Client);
        if let Some(told) = &handshake.0 {
            // The query may hold a token.
            let url = request.url();
            told.span.record("url.full", url.split('?').next());
        }
        handshake
    }

    /// One whose request is still to come.
    pub(crate) fn server() -> Self {
        let span = ::tracing::info_span!(
            target: "bowline",
            "websocket.handshake",
            otel.name = Empty,
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = Empty,
            url.path = Empty,
            server.address = Empty,
            server.port = Empty,
            network.peer.address = Empty,
            network.peer.port = Empty,
            network.protocol.name = "http",
            network.protocol.version = Empty,
            http.response.status_code = Empty,
            "error.type" = Empty,
        );
        Self::new(span, Role::Server)
    }

    fn new(span: Span, role: Role) -> Self {
        Self((!span.is_disabled()).then(|| Arc::new(Told { span, role })))
    }

    /// Calls with the span as the current one. The call must not wait.
    pub(crate) fn run<T>(&self, call: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(told) => told.span.in_scope(call),
            None => call(),
        }
    }

    /// The request has come.
    pub(crate) fn asked(&self, request: &Request) {
        let Some(Told { span, .. }) = self.0.as_deref() else {
            return;
        };
        let known = METHODS.contains(&request.method());
        span.record("otel.name", if known { request.method() } else { "HTTP" });
        span.record("http.request.method", if known { request.method() } else { "_OTHER" });
        span.record("url.path", request.path());
        let is_http2 = request.protocol().is_some();
        span.record("network.protocol.version", if is_http2 { "2" } else { "1.1" });
        let (name, port) = split_host(request.host());
        span.record("server.address", name);
        if let Some(port) = port {
            span.record("server.port", i64::from(port));
        }
        self.peer(|| request.peer_addr());
    }

    /// What the connection goes to, if that is known: a proxy, if there is one.
    pub(crate) fn peer(&self, peer: impl FnOnce() -> Option<SocketAddr>) {
        if let Some(Told { span, .. }) = self.0.as_deref()
            && let Some(peer) = peer()
        {
            span.record("network.peer.address", ::tracing::field::display(peer.ip()));
            span.record("network.peer.port", i64::from(peer.port()));
        }
    }

    /// The response has this status.
    pub(crate) fn answered(&self, status: u16) {
        let Some(Told { span, role }) = self.0.as_deref() else {
            return;
        };
        span.record("http.response.status_code", i64::from(status));
        // A 4xx is an error of the client, and none of the server that finds it.
        if *role == Role::Server && status >= 500 {
            span.record("otel.status_code", "ERROR");
        }
    }

    /// There is no WebSocket.
    pub(crate) fn failed(&self, error: &Error) {
        let Some(Told { span, role }) = self.0.as_deref() else {
            return;
        };
        span.record("error.type", &kind(error)[..]);
        // For a request, the status decided. If there was none, the client is gone.
        if *role == Role::Client || !matches!(error, Error::Request(_) | Error::Invalid(_)) {
            span.record("otel.status_code", "ERROR");
        }
    }

    /// A client has its result.
    pub(crate) fn opened<W>(&self, result: &Result<(W, Response), Error>) {
        match result {
            Ok((_, response)) => self.answered(response.status()),
            Err(error) => {
                match error {
                    Error::Connect(ConnectError::Refused(response)) => {
                        self.answered(response.status());
                    }
                    Error::Connect(ConnectError::Redirected(redirected)) => {
                        self.answered(redirected.status());
                    }
                    _ => {}
                }
                self.failed(error);
            }
        }
    }
}

/// A host without its port and without a user name, which only a request with a whole URL can have.
fn split_host(host: &str) -> (&str, Option<u16>) {
    let host = host.rsplit('@').next().unwrap_or_default();
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
            (name, port.parse().ok())
        }
        _ => (host, None),
    }
}

/// One word for an error, as a metric would have it: a status, or the name of a variant.
fn kind(error: &Error) -> String {
    match error {
        Error::Io(error) => name_of(error.kind()),
        Error::Request(error) => name_of(error),
        Error::Connect(ConnectError::Refused(response)) => response.status().to_string(),
        Error::Connect(ConnectError::Redirected(redirected)) => redirected.status().to_string(),
        Error::Connect(error) => name_of(error),
        Error::Proxy { error: ProxyError::Refused(_), .. } => "ProxyRefused".into(),
        Error::Proxy { error: ProxyError::Unauthorized(_), .. } => "ProxyUnauthorized".into(),
        Error::Proxy { error, .. } => format!("Proxy{}", name_of(error)),
        #[cfg(feature = "rustls")]
        Error::ProxyTls { .. } => "ProxyTls".into(),
        #[cfg(feature = "rustls")]
        Error::Tls(_) => "Tls".into(),
        Error::Invalid(_) => "Invalid".into(),
        Error::TlsNotBuiltIn => "TlsNotBuiltIn".into(),
        Error::TimedOut => "TimedOut".into(),
        Error::Ended(end) => end.label().into(),
        Error::Send(_) => "Send".into(),
    }
}

/// The name of a variant, without what is in it.
fn name_of(error: impl Debug) -> String {
    let text = format!("{error:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().into()
}

/// Since when a connection is open, in microseconds on the adapter's clock, and one more. Zero: not yet, or its end was told. So
/// each end is told once. 56 bits last for 2,000 years, and fit beside a `bool`: a blocking WebSocket is no byte larger.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened([u8; 7]);

impl Opened {
    pub(crate) fn not_yet() -> Self {
        Self([0; 7])
    }

    pub(crate) fn begin(&mut self, now: impl FnOnce() -> Duration) {
        let [bytes @ .., _] = (now().as_micros() as u64).saturating_add(1).to_le_bytes();
        self.0 = bytes;
    }

    /// When it began, the first time.
    fn take(&mut self) -> Option<Duration> {
        let mut bytes = [0; 8];
        bytes[..7].copy_from_slice(&core::mem::take(&mut self.0));
        Some(Duration::from_micros(u64::from_le_bytes(bytes).checked_sub(1)?))
    }

    /// Tells the end, if that was not done. `None`: the program dropped the connection while it was open. `sent` are
    /// the numbers of the sending side, if they can be had without a wait.
    pub(crate) fn end(
        &mut self,
        now: impl FnOnce() -> Duration,
        receiver: &Receiver,
        end: Option<&End>,
        sent: impl FnOnce(Duration) -> Option<Stats>,
    ) {
        let Some(since) = self.take() else {
            return;
        };
        if !::tracing::enabled!(target: "bowline", Level::INFO) {
            return;
        }
        let now = now();
        let open = now.saturating_sub(since);
        let counts = receiver.config().get().stats;
        let received = counts.then(|| receiver.stats(now).received);
        let sent = counts.then(|| sent(now)).flatten().map(|all| all.sent);
        // Without the reason, which is the peer's text. The code is a number.
        let role = match receiver.role() {
            Role::Client => "client",
            Role::Server => "server",
        };
        ::tracing::info!(
            target: "bowline",
            {
                websocket.role = role,
                websocket.end = end.map_or("dropped", End::label),
                websocket.close.code = end.map(|end| i64::from(end.code().get())),
                duration = open.as_secs_f64(),
                websocket.received.messages = received.map(|all| all.messages as i64),
                websocket.received.payload_bytes = received.map(|all| all.payload_bytes as i64),
                websocket.received.wire_bytes = received.map(|all| all.wire_bytes as i64),
                websocket.sent.messages = sent.map(|all| all.messages as i64),
                websocket.sent.payload_bytes = sent.map(|all| all.payload_bytes as i64),
                websocket.sent.wire_bytes = sent.map(|all| all.wire_bytes as i64),
            },
            "websocket ended"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::boxed::Box;

    use super::*;
    use crate::handshake::RequestError;

    #[test]
    fn a_host_is_split_from_its_port_and_loses_a_user() {
        assert_eq!(split_host("example.com"), ("example.com", None));
        assert_eq!(split_host("example.com:8080"), ("example.com", Some(8080)));
        assert_eq!(split_host("[2001:db8::1]:80"), ("[2001:db8::1]", Some(80)));
        assert_eq!(split_host("[2001:db8::1]"), ("[2001:db8::1]", None));
        assert_eq!(split_host("user:secret@example.com:80"), ("example.com", Some(80)));
        assert_eq!(split_host("example.com:"), ("example.com", None));
    }

    #[test]
    fn a_connection_is_open_from_its_beginning_until_its_end_was_told() {
        let mut opened = Opened::not_yet();
        assert_eq!(opened.take(), None);
        let [zero, days] = [0, 10_000 * 86_400].map(Duration::from_secs);
        for since in [zero, Duration::from_micros(1), days] {
            opened.begin(|| since);
            assert_eq!(opened.take(), Some(since));
            assert_eq!(opened.take(), None);
        }
    }

    #[test]
    fn an_error_is_one_word_without_what_is_in_it() {
        let refused = Response::new(403).body("secret");
        let error = Error::Connect(ConnectError::Refused(Box::new(refused)));
        assert_eq!(kind(&error), "403");
        assert_eq!(kind(&RequestError::ForeignOrigin.into()), "ForeignOrigin");
        assert_eq!(kind(&ConnectError::TimedOut.into()), "TimedOut");
        let io = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "secret");
        assert_eq!(kind(&io.into()), "ConnectionRefused");
        assert_eq!(name_of(Some("secret")), "Some");
    }
}
