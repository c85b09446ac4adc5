//! One attempt: a connection, a request, and the head of the answer.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::pin::{Pin, pin};
use core::task::Context;
use std::boxed::Box;

use ::http::header::{ACCEPT, CACHE_CONTROL, HOST};
use ::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use bowline::Config;
use bowline::handshake::{ClientRequest, ConnectError};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use super::{End, InvalidRequest, redirect};
use crate::server::{CONTENT_TYPE, LAST_EVENT_ID};

/// What a connection is made of.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Io for S {}

pub(super) type Dialing = Pin<Box<dyn Future<Output = Result<Box<dyn Io>, bowline::Error>> + Send>>;

/// Opens streams to the server.
pub(super) enum Dial {
    /// As bowline does, with the settings of the program.
    Own(Option<Box<dyn FnMut(ClientRequest) -> ClientRequest + Send>>),
    /// As the program does.
    Given(Box<dyn FnMut() -> Dialing + Send>),
}

impl Dial {
    /// Begins to open a stream to the host of this URL.
    pub(super) fn dial(&mut self, url: &Uri, deadline: Option<Instant>) -> Dialing {
        match self {
            Self::Own(settings) => {
                let to = place(url).map(|to| match settings {
                    Some(settings) => settings(to),
                    None => to,
                });
                Box::pin(async move {
                    let now = Instant::now();
                    let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
                    let config = Config::default().handshake_timeout(left);
                    let stream: Box<dyn Io> = Box::new(bowline::tokio::dial(&to?, config).await?);
                    Ok(stream)
                })
            }
            Self::Given(dial) => {
                let dialing = dial();
                Box::pin(async move { in_time(deadline, dialing).await.unwrap_or_else(late) })
            }
        }
    }
}

fn late<T>() -> Result<T, bowline::Error> {
    Err(ConnectError::TimedOut.into())
}

/// `None` if the deadline comes first.
async fn in_time<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    match deadline {
        Some(deadline) => timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}

/// Where the stream for this URL goes. Only its scheme, host and port matter.
pub(super) fn place(url: &Uri) -> Result<ClientRequest, bowline::Error> {
    let (scheme, host) = (url.scheme_str().unwrap_or_default(), host(url));
    Ok(ClientRequest::new(&format!("{scheme}://{host}/"))?)
}

/// The host and the port, without credentials.
pub(super) fn host(url: &Uri) -> &str {
    let authority = url.authority().map_or("", |authority| authority.as_str());
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// The request, without what changes from attempt to attempt.
#[derive(Clone)]
pub(super) struct Template {
    pub(super) method: Method,
    /// An absolute URL, which may have credentials.
    pub(super) url: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Template {
    pub(super) fn new(request: Request<Bytes>) -> Result<Self, InvalidRequest> {
        let (parts, body) = request.into_parts();
        let is_http = matches!(parts.uri.scheme_str(), Some("http" | "https"));
        if !is_http || place(&parts.uri).is_err() {
            return Err(InvalidRequest::Url);
        }
        Ok(Self { method: parts.method, url: parts.uri, headers: parts.headers, body })
    }

    pub(super) fn request(&self, last_event_id: &str) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        // RFC 9112 §3.2.1: a server is sent the path and the query.
        let path = self.url.path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        if let Ok(host) = HeaderValue::from_str(host(&self.url)) {
            headers.entry(HOST).or_insert(host);
        }
        // 9.2.2: "User agents may set (`Accept`, `text/event-stream`) in request's header list. Set request's cache mode to
        // `no-store`."
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static(CONTENT_TYPE));
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        // 9.2.3: "If the `EventSource` object's last event ID string is not the empty string: Let lastEventIDValue be the
        // `EventSource` object's last event ID string, encoded as UTF-8. Set (`Last-Event-ID`, lastEventIDValue) in request's
        // header list." An id with control characters cannot be a header.
        if !last_event_id.is_empty()
            && let Ok(id) = HeaderValue::from_bytes(last_event_id.as_bytes())
        {
            headers.insert(LAST_EVENT_ID, id);
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

/// Why a request gave no events.
pub(super) enum Failure {
    /// No connection came about, and nothing was sent.
    Unsent(End),
    /// The request may have reached the server.
    Sent(End),
    /// The server answered that it is elsewhere.
    Redirect(StatusCode, HeaderValue),
}

pub(super) async fn open(
    dialing: Dialing,
    request: Request<Full<Bytes>>,
    deadline: Option<Instant>,
) -> Result<Opened, Failure> {
    let stream = match dialing.await {
        Ok(stream) => stream,
        Err(error) => return Err(Failure::Unsent(End::unreachable(error))),
    };
    let answer = in_time(deadline, ask(stream, request)).await;
    let (opened, response) = answer.unwrap_or(Err(End::TimedOut)).map_err(Failure::Sent)?;
    // Fetch, "HTTP-redirect fetch": "If locationURL is null, then return response." So its status counts then.
    if redirect::is_redirect(response.status())
        && let Some(location) = response.headers().get(header::LOCATION)
    {
        return Err(Failure::Redirect(response.status(), location.clone()));
    }
    check(&response).map_err(Failure::Sent)?;
    Ok(opened)
}

/// Sends the request, and gives the head of the answer.
async fn ask(
    stream: Box<dyn Io>,
    request: Request<Full<Bytes>>,
) -> Result<(Opened, Response<()>), End> {
    let (mut sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(End::unanswered)?;
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
        .map_err(End::unanswered)?
    };
    let (head, body) = response.into_parts();
    Ok((Opened { body, connection, _sender: sender }, Response::from_parts(head, ())))
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
