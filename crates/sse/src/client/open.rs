//! One attempt: a connection, a request, and the head of the answer.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::pin::{Pin, pin};
use core::task::Context;
use core::time::Duration;
use std::boxed::Box;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use ::http::header::{ACCEPT, CACHE_CONTROL, HOST};
use ::http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::{End, InvalidRequest};
use crate::server::{CONTENT_TYPE, LAST_EVENT_ID};

/// What a connection is made of.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Io for S {}

pub(super) type Dialing = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send>>;

/// Opens a stream to the server.
pub(super) type Dial = Box<dyn FnMut() -> Dialing + Send>;

/// Dials a host and a port. All addresses of the name are tried in turn.
pub(super) fn tcp((host, port): (String, u16)) -> Dial {
    Box::new(move || {
        let host = host.clone();
        Box::pin(async move {
            let stream = TcpStream::connect((&host[..], port)).await?;
            stream.set_nodelay(true)?;
            let stream: Box<dyn Io> = Box::new(stream);
            Ok(stream)
        })
    })
}

/// The request, without what changes from attempt to attempt.
pub(super) struct Template(Request<Full<Bytes>>);

impl Template {
    pub(super) fn new(request: Request<Bytes>) -> Result<Self, InvalidRequest> {
        let (mut parts, body) = request.into_parts();
        if !matches!(parts.uri.scheme_str(), Some("http" | "https")) {
            return Err(InvalidRequest::Url);
        }
        // Credentials in a URL are no part of the host.
        let authority = parts.uri.authority().ok_or(InvalidRequest::Url)?.as_str();
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let host = HeaderValue::from_str(host).map_err(|_| InvalidRequest::Url)?;
        parts.headers.entry(HOST).or_insert(host);
        // 9.2.2: "User agents may set (`Accept`, `text/event-stream`) in request's header list. Set request's cache mode to
        // `no-store`."
        parts.headers.entry(ACCEPT).or_insert(HeaderValue::from_static(CONTENT_TYPE));
        parts.headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        // RFC 9112 §3.2.1: a server is sent the path and the query.
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = path.parse::<Uri>().map_err(|_| InvalidRequest::Url)?;
        Ok(Self(Request::from_parts(parts, Full::new(body))))
    }

    pub(super) fn method(&self) -> &Method {
        self.0.method()
    }

    pub(super) fn request(&self, last_event_id: &str) -> Request<Full<Bytes>> {
        let mut request = self.0.clone();
        // 9.2.3: "If the `EventSource` object's last event ID string is not the empty string: Let lastEventIDValue be the
        // `EventSource` object's last event ID string, encoded as UTF-8. Set (`Last-Event-ID`, lastEventIDValue) in request's
        // header list." An id with control characters cannot be a header.
        if !last_event_id.is_empty()
            && let Ok(id) = HeaderValue::from_bytes(last_event_id.as_bytes())
        {
            request.headers_mut().insert(LAST_EVENT_ID, id);
        }
        request
    }
}

type Http = Connection<TokioIo<Box<dyn Io>>, Full<Bytes>>;

/// A response whose head is a good one.
pub(super) struct Opened {
    pub(super) body: Incoming,
    /// Reads and writes for the body. `None` once it is over.
    connection: Option<Pin<Box<Http>>>,
    /// Without it the connection would take its last request for done.
    _sender: SendRequest<Full<Bytes>>,
}

impl Opened {
    /// Reads and writes. How it ends is told by the body.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && connection.as_mut().poll(cx).is_ready()
        {
            self.connection = None;
        }
    }
}

/// Why an attempt gave no events.
pub(super) struct Failure {
    pub(super) end: End,
    /// The request may have reached the server.
    pub(super) was_sent: bool,
}

pub(super) async fn open(
    dialing: Dialing,
    request: Request<Full<Bytes>>,
    timeout: Option<Duration>,
) -> Result<Opened, Failure> {
    let was_sent = AtomicBool::new(false);
    let attempt = async {
        let stream = dialing.await.map_err(End::unreachable)?;
        was_sent.store(true, Ordering::Relaxed);
        ask(stream, request).await
    };
    let result = match timeout {
        None => attempt.await,
        Some(timeout) => tokio::time::timeout(timeout, attempt).await.unwrap_or(Err(End::TimedOut)),
    };
    result.map_err(|end| Failure { end, was_sent: was_sent.load(Ordering::Relaxed) })
}

async fn ask(stream: Box<dyn Io>, request: Request<Full<Bytes>>) -> Result<Opened, End> {
    let (mut sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(End::unreachable)?;
    let mut connection = Some(Box::pin(connection));
    let response = {
        let mut answer = pin!(sender.send_request(request));
        core::future::poll_fn(|cx| {
            if let Some(http) = &mut connection
                && http.as_mut().poll(cx).is_ready()
            {
                connection = None;
            }
            answer.as_mut().poll(cx)
        })
        .await
        .map_err(End::unreachable)?
    };
    check(&response)?;
    Ok(Opened { body: response.into_body(), connection, _sender: sender })
}

/// Whether the answer is a stream of events.
///
/// 9.2.2: "if res's status is not 200, or if res's `Content-Type` is not `text/event-stream`, then fail the connection."
fn check<B>(response: &Response<B>) -> Result<(), End> {
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NO_CONTENT => return Err(End::Stopped),
        status => return Err(End::Refused(status)),
    }
    let Some(found) = response.headers().get(header::CONTENT_TYPE) else {
        return Err(End::NotEvents(None));
    };
    // Parameters do not matter, even invalid ones: the type alone is compared.
    let found = String::from_utf8_lossy(found.as_bytes());
    let essence = found.split(';').next().unwrap_or_default();
    if essence.trim_matches([' ', '\t']).eq_ignore_ascii_case(CONTENT_TYPE) {
        return Ok(());
    }
    Err(End::NotEvents(Some(found[..].to_owned())))
}
