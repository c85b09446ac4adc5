//! The client's side: an `EventSource` on tokio that connects again. Sections 9.2.2 and 9.2.3 of the standard.

mod end;
mod open;
mod redirect;

use alloc::string::String;
use core::fmt;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::boxed::Box;
use std::hash::{BuildHasher, RandomState};
use std::io;

use ::http::Request;
use bowline::Reconnect;
use bowline::handshake::ClientRequest;
use bowline::protocol::Retries;
use bytes::Bytes;
use hyper::body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};

use self::open::{Dial, Failure, Opened, Template};
use self::redirect::{REDIRECTS, Rules};
use crate::{Event, Item, Limits, Parser};

pub use self::end::{End, InvalidRequest};
pub use self::redirect::Unfollowed;

/// A stream of events that goes on when its connection breaks.
///
/// Nothing is done before the first call of [`next`](Self::next). It connects, gives events, and when a response has ended or
/// broken off it waits and connects again with the `Last-Event-ID`. It stops for good when the server says so with status
/// 204, when the answer is no stream of events, or when the [policy](Self::reconnect) says so.
///
/// ```no_run
/// use bowline_sse::client::EventSource;
///
/// # async fn client() -> Result<(), Box<dyn std::error::Error>> {
/// let mut source = EventSource::get("http://127.0.0.1:9001/clock")?;
/// loop {
///     let event = source.next().await?; // The error says how it ended.
///     println!("{}: {}", event.event, event.data);
/// }
/// # }
/// ```
///
/// It speaks HTTP/1.1. `https` needs the feature `rustls` and a crypto provider: the features `ring` and `aws-lc-rs` bring one.
/// It connects with [`bowline::tokio::dial`], so it tries all addresses of a name and knows proxies: see [`dial`](Self::dial). It
/// follows [redirects](Self::redirects).
pub struct EventSource {
    template: Template,
    dial: Dial,
    limits: Limits,
    connect_timeout: Option<Duration>,
    idle_timeout: Option<Duration>,
    repeat: bool,
    rules: Rules,
    on_wait: Option<OnWait>,
    retries: Retries,
    /// The clock of `retries` begins here.
    start: Option<Instant>,
    last_event_id: String,
    /// What the server asked for.
    retry: Option<Duration>,
    /// The attempt under way, until its answer is a good one.
    attempt: Option<Attempt>,
    state: State,
}

/// An attempt: one request, and those that follow its redirects.
struct Attempt {
    /// When the head of the last answer has to be there.
    deadline: Option<Instant>,
    /// The request after a redirect.
    next: Option<Template>,
    followed: u32,
    /// One of its requests may have reached a server.
    was_sent: bool,
}

type OnWait = Box<dyn FnMut(&End, Duration) + Send>;

/// Where the source is. It lives here and not in a future, so that a future that is dropped loses nothing.
enum State {
    Waiting(Option<Pin<Box<Sleep>>>),
    Opening(Pin<Box<dyn Future<Output = Result<Opened, Failure>> + Send>>),
    Open(Box<Reading>),
    Over(End),
}

/// A response whose events are read.
struct Reading {
    opened: Opened,
    parser: Parser,
    /// What came and is not parsed yet.
    input: Bytes,
    /// Runs out if nothing comes.
    idle: Option<Pin<Box<Sleep>>>,
}

impl EventSource {
    /// A source that asks with GET for this `http` or `https` URL.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn get(url: &str) -> Result<Self, InvalidRequest> {
        let request = Request::get(url).body(Bytes::new()).map_err(|_| InvalidRequest::Url)?;
        Self::new(request)
    }

    /// A source that sends this request, with its method, headers and body.
    ///
    /// `Host`, `Accept`, `Cache-Control`, and `Last-Event-ID` from the second time on, are added where the request has none
    /// of its own.
    ///
    /// A request whose method is not safe, such as POST, is not repeated once it may have reached the server: the server may
    /// have done what it asks for. See [`repeat`](Self::repeat).
    ///
    /// # Errors
    ///
    /// If the URL is not an absolute `http` or `https` URL, or an `https` one without the feature `rustls`.
    pub fn new(request: Request<Bytes>) -> Result<Self, InvalidRequest> {
        if !cfg!(feature = "rustls") && request.uri().scheme_str() == Some("https") {
            return Err(InvalidRequest::Tls);
        }
        Self::with(request, Dial::Own(None))
    }

    /// A source like [`new`](Self::new), over streams that the closure opens for each attempt, with TLS if they need it. The
    /// URL may be an `https` one. Its host and port are only sent. [`dial`](Self::dial) has no effect.
    ///
    /// ```no_run
    /// use bowline_sse::client::EventSource;
    /// use bowline_sse::http::Request;
    ///
    /// # fn client() -> Result<(), Box<dyn std::error::Error>> {
    /// let request = Request::get("http://localhost/feed").body(Default::default())?;
    /// let dial = || tokio::net::UnixStream::connect("/run/feed.sock");
    /// let source = EventSource::over(request, dial)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the URL is not absolute, or neither `http` nor `https`.
    pub fn over<F, Fut, S>(request: Request<Bytes>, mut dial: F) -> Result<Self, InvalidRequest>
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let dial = move || {
            let dialing = dial();
            let opening: open::Dialing = Box::pin(async move {
                let stream: Box<dyn open::Io> = Box::new(dialing.await?);
                Ok(stream)
            });
            opening
        };
        Self::with(request, Dial::Given(Box::new(dial)))
    }

    fn with(request: Request<Bytes>, dial: Dial) -> Result<Self, InvalidRequest> {
        let elsewhere = matches!(dial, Dial::Own(_));
        Ok(Self {
            template: Template::new(request)?,
            rules: Rules { most: REDIRECTS, insecure: false, elsewhere },
            attempt: None,
            dial,
            limits: Limits::default(),
            connect_timeout: Some(Duration::from_secs(10)),
            idle_timeout: None,
            repeat: false,
            on_wait: None,
            retries: Retries::new(Reconnect::default()),
            start: None,
            last_event_id: String::new(),
            retry: None,
            state: State::Waiting(None),
        })
    }

    /// Sets how to connect: through which proxy, with which TLS, from or to which address. Before each connection the closure
    /// gets a request for the host of the URL, and gives it back with what it wants. After a redirect the host may be another
    /// one. Look at [`host`](ClientRequest::host) if a setting, such as `connect_to` or a client certificate, is for one host.
    ///
    /// ```no_run
    /// use bowline_sse::bowline::handshake::Proxies;
    /// use bowline_sse::client::EventSource;
    ///
    /// # fn client() -> Result<(), Box<dyn std::error::Error>> {
    /// let proxies = Proxies::from_env();
    /// let source = EventSource::get("http://example.com/feed")?.dial(move |to| to.proxy(proxies.clone()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// These have an effect: [`proxy`](ClientRequest::proxy), `tls_config`, [`connect_to`](ClientRequest::connect_to),
    /// [`local_address`](ClientRequest::local_address), [`configure_socket`](ClientRequest::configure_socket), and
    /// [`timeout`](ClientRequest::timeout), which takes the place of [`connect_timeout`](Self::connect_timeout) until the stream
    /// is open. Headers are those of the request of [`new`](Self::new). A source of [`over`](Self::over) never calls this.
    pub fn dial(
        mut self,
        settings: impl FnMut(ClientRequest) -> ClientRequest + Send + 'static,
    ) -> Self {
        if let Dial::Own(own) = &mut self.dial {
            *own = Some(Box::new(settings));
        }
        self
    }

    /// Sets when to connect again, and when to give up.
    ///
    /// What the server asks for with `retry` is the shortest wait, and the wait of the policy comes on top (9.2.3: "Optionally,
    /// wait some more"). [`Reconnect::max_retry_after`] limits it. A response that ended, and did not break off, counts as
    /// close code 1001: with `on_close(1001..=1001, Then::Stop)` the source stops there. `max_session` has no effect.
    pub fn reconnect(mut self, policy: Reconnect) -> Self {
        self.retries = Retries::new(policy);
        self
    }

    /// Sets how long a line and an event may be. A stream that exceeds it stops the source.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets how long one attempt may take until the head of the answer is there. Default 10 s. `None` means no limit.
    pub fn connect_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.connect_timeout = timeout.into();
        self
    }

    /// Sets after how much silence a connection counts as broken. Default `None`: never.
    ///
    /// Any byte breaks the silence, a comment as well. Servers of this crate send one every 15 s. With 45 s, a connection that
    /// died without a word is noticed.
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = timeout.into();
        self
    }

    /// Repeats requests whose method is not safe too, such as POST. Default: no. It is for servers that know from
    /// `Last-Event-ID`, or from a key in the request, that they did this before.
    pub fn repeat(mut self, repeat: bool) -> Self {
        self.repeat = repeat;
        self
    }

    /// Sets how many redirects one attempt follows. Default 20, as browsers have it. With 0, a redirect stops the source. So
    /// does one that is not followed for another reason: see [`Unfollowed`].
    ///
    /// 301, 302, 303, 307 and 308 with a `Location` are redirects, and followed as the Fetch standard says:
    ///
    /// - After 303, and for a POST after 301 and 302, the next request is a GET without a body. Otherwise the method and the
    ///   body stay. A POST is sent again after 307 and 308, because the server says with these that it did nothing.
    /// - From `https` to `http` it takes [`insecure_redirects`](Self::insecure_redirects).
    /// - To another origin (scheme, host or port) few headers of the program are sent: `Accept`, `Accept-Language`,
    ///   `Cache-Control`, `DNT`, `Pragma`, `User-Agent`, and those that describe the body, such as `Content-Type`. A name does not
    ///   tell whether a header holds a secret. The `Last-Event-ID` and the body are sent.
    /// - All requests of an attempt together have [`connect_timeout`](Self::connect_timeout).
    /// - Each attempt begins at the URL of the source, after a permanent redirect too. Firefox does the same. Chromium goes on
    ///   with the last URL, because 9.2.3 fetches the same request again. But that one no longer has the headers of the program,
    ///   and it may go to a server that is gone.
    /// - A POST that was redirected was sent, so its end is final: see [`repeat`](Self::repeat).
    ///
    /// A source of [`over`](Self::over) follows redirects within its origin alone.
    pub fn redirects(mut self, most: u32) -> Self {
        self.rules.most = most;
        self
    }

    /// Follows redirects from `https` to `http` too. Default: no. Then anybody on the way can read the events, and send others.
    pub fn insecure_redirects(mut self, follow: bool) -> Self {
        self.rules.insecure = follow;
        self
    }

    /// Sets the last event id that an earlier source had. The first request sends it.
    pub fn resume(mut self, last_event_id: impl Into<String>) -> Self {
        self.last_event_id = last_event_id.into();
        self
    }

    /// Calls this before each wait, with the reason for it and its length.
    pub fn on_wait(mut self, call: impl FnMut(&End, Duration) + Send + 'static) -> Self {
        self.on_wait = Some(Box::new(call));
        self
    }

    /// The next event. It connects, waits and connects again as needed.
    ///
    /// It needs a tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    ///
    /// Why the source has stopped for good. From then on it gives the same.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time. Nothing is lost: what it did is kept in the source.
    pub async fn next(&mut self) -> Result<Event, End> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The id of the last event that was given, or that came without data. Empty if there is none.
    pub fn last_event_id(&self) -> &str {
        match &self.state {
            State::Open(reading) => reading.parser.last_event_id(),
            _ => &self.last_event_id,
        }
    }

    /// As [`next`](Self::next), for those who poll.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, End>> {
        loop {
            match &mut self.state {
                State::Waiting(wait) => {
                    if let Some(wait) = wait {
                        ready!(wait.as_mut().poll(cx));
                    }
                    self.begin();
                }
                State::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                    Ok(opened) => self.opened(opened),
                    Err(failure) => self.failed(failure),
                },
                State::Open(reading) => match ready!(reading.poll_event(cx, self.idle_timeout)) {
                    Ok(event) => return Poll::Ready(Ok(event)),
                    Err(end) => {
                        self.last_event_id = reading.parser.last_event_id().into();
                        self.retry = reading.parser.retry().or(self.retry);
                        self.ended(end, true);
                    }
                },
                State::Over(end) => return Poll::Ready(Err(end.clone())),
            }
        }
    }

    fn begin(&mut self) {
        let now = self.now();
        self.retries.start(now);
        let deadline = self.connect_timeout.and_then(|most| Instant::now().checked_add(most));
        self.ask(Attempt { deadline, next: None, followed: 0, was_sent: false });
    }

    /// Sends the next request of the attempt.
    fn ask(&mut self, attempt: Attempt) {
        let template = attempt.next.as_ref().unwrap_or(&self.template);
        let request = template.request(&self.last_event_id);
        let dialing = self.dial.dial(&template.url, attempt.deadline);
        let opening = open::open(dialing, request, attempt.deadline);
        self.attempt = Some(attempt);
        self.state = State::Opening(Box::pin(opening));
    }

    fn failed(&mut self, failure: Failure) {
        let Some(mut attempt) = self.attempt.take() else { return };
        match failure {
            Failure::Unsent(end) => self.ended(end, attempt.was_sent),
            Failure::Sent(end) => self.ended(end, true),
            Failure::Redirect(status, location) => {
                let from = attempt.next.as_ref().unwrap_or(&self.template);
                match self.rules.follow(from, attempt.followed, status, location.as_bytes()) {
                    Ok(next) => {
                        attempt.next = Some(next);
                        (attempt.followed, attempt.was_sent) = (attempt.followed + 1, true);
                        self.ask(attempt);
                    }
                    Err(why) => {
                        let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
                        self.ended(End::Redirected { status, location, why }, true);
                    }
                }
            }
        }
    }

    fn opened(&mut self, opened: Opened) {
        self.attempt = None;
        let now = self.now();
        self.retries.opened(now);
        let parser = Parser::new().limits(self.limits).resume(self.last_event_id.as_str());
        let idle = later(self.idle_timeout);
        self.state = State::Open(Box::new(Reading { opened, parser, input: Bytes::new(), idle }));
    }

    /// An attempt or a response is over. It is followed by another one, or the source stops.
    fn ended(&mut self, end: End, was_sent: bool) {
        let now = self.now();
        // RFC 9110 §9.2.2: "A client SHOULD NOT automatically retry a request with a non-idempotent method unless it has some
        // means to know that the request semantics are actually idempotent".
        let may_repeat = !was_sent || self.repeat || self.template.method.is_safe();
        let Some(outcome) = end.outcome().filter(|_| may_repeat) else {
            self.state = State::Over(end);
            return;
        };
        let random = RandomState::new().hash_one(());
        // 9.2.3: "Wait a delay equal to the reconnection time of the event source."
        let Ok(wait) = self.retries.retry(now, outcome, self.retry, random) else {
            self.state = State::Over(end);
            return;
        };
        let wait = wait.at.saturating_sub(now);
        if let Some(call) = &mut self.on_wait {
            call(&end, wait);
        }
        self.state = State::Waiting(later(wait));
    }

    fn now(&mut self) -> Duration {
        self.start.get_or_insert_with(Instant::now).elapsed()
    }
}

impl Reading {
    fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        idle_timeout: Option<Duration>,
    ) -> Poll<Result<Event, End>> {
        loop {
            let mut rest = &self.input[..];
            let item = self.parser.read(&mut rest);
            let taken = self.input.len() - rest.len();
            drop(self.input.split_to(taken));
            match item.map_err(End::TooLong)? {
                Some(Item::Event(event)) => return Poll::Ready(Ok(event)),
                Some(Item::Comment(_)) => continue,
                None => {}
            }
            self.opened.drive(cx);
            match Pin::new(&mut self.opened.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.input = data;
                    }
                    self.idle = later(idle_timeout);
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(End::cut(error))),
                Poll::Ready(None) => {
                    let unfinished = self.parser.is_unfinished();
                    return Poll::Ready(Err(End::Ended { unfinished }));
                }
                Poll::Pending => {
                    let Some(idle) = &mut self.idle else { return Poll::Pending };
                    ready!(idle.as_mut().poll(cx));
                    return Poll::Ready(Err(End::Silent));
                }
            }
        }
    }
}

/// A timer, unless the time never comes.
fn later(time: impl Into<Option<Duration>>) -> Option<Pin<Box<Sleep>>> {
    Some(Box::pin(sleep_until(Instant::now().checked_add(time.into()?)?)))
}

impl fmt::Debug for EventSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSource").field("method", &self.template.method).finish_non_exhaustive()
    }
}
