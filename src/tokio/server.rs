//! Limits and an orderly end for a server: which connections it accepts, and how it closes them all.

use core::fmt;
use core::future::{Future, poll_fn};
use core::net::SocketAddr;
use core::pin::{Pin, pin};
use core::task::Poll;
use core::time::Duration;
use std::boxed::Box;
use std::io;
use std::sync::{Arc, Mutex};

use ::tokio::io::{AsyncRead, AsyncWrite};

use super::group::{Admission, Group, Seat, Shutdown, lock, spawn};
use super::handler::{Ended, HandlerResult};
use super::listener::Listener;
use super::{Incoming, WebSocket, now, read_proxy_header, within};
use crate::handshake::{Accept, Request, RequestError, Response};
use crate::protocol::config::Config;
use crate::protocol::stats::Stats;

/// How long to wait after an accept that failed for lack of file descriptors. Connections that end give them back.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// After this many failures in a row, whatever they are, the listener itself may be broken.
const MOST_FAILURES: u32 = 100;

/// A server of WebSockets with bounds, which can be shut down in an orderly way.
///
/// It runs a task for each connection. Beyond its limits a client gets status 503 with `Retry-After`. If too many
/// clients are being refused, new connections wait in the listener. A clone is another handle of the same server.
///
/// ```no_run
/// use bowline::tokio::Server;
/// # #[tokio::main] async fn main() -> std::io::Result<()> {
/// let server = Server::new(bowline::Config::default()).max_connections(5_000);
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:9001").await?;
/// let running = server.clone();
/// tokio::spawn(async move {
///     let echo = |mut ws: bowline::tokio::WebSocket<_>, _request| async move {
///         while let Ok(Some(message)) = ws.recv().await {
///             if ws.send(message).await.is_err() { break }
///         }
///     };
///     running.run(listener, echo).await
/// });
/// tokio::signal::ctrl_c().await?;
/// println!("{:?}", server.shutdown(std::time::Duration::from_secs(10)).await);
/// # Ok(())
/// # }
/// ```
///
/// Handlers need no code for the shutdown. The Close begins below them, while they wait in `recv`, and `recv`
/// then gives `None`. A handler may split the WebSocket, or move it to another task. A connection counts until
/// its task has ended and its receiving side is dropped.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    config: Config,
    group: Group,
    settings: Mutex<Settings>,
}

#[derive(Clone)]
struct Settings {
    choose: Choose,
    proxy_protocol: bool,
}

/// What decides on a request.
#[derive(Clone)]
enum Choose {
    Now(Arc<dyn Fn(&Request) -> Decision + Send + Sync>),
    Later(Arc<dyn Fn(Request) -> Deciding + Send + Sync>),
}

type Decision = Result<Accept, Response>;

type Deciding = Pin<Box<dyn Future<Output = Decision> + Send>>;

/// Whether an accept failed because the process or the machine has run out of something. Any other error belongs to
/// one connection, such as one that its client aborted.
fn is_exhausted(error: &io::Error) -> bool {
    // ENFILE, EMFILE, ENOMEM and ENOBUFS, on Linux, the BSDs and Windows. `ErrorKind` has no name for most.
    const EXHAUSTED: [i32; 7] = [23, 24, 12, 105, 55, 10_024, 10_055];
    error.kind() == io::ErrorKind::OutOfMemory
        || error.raw_os_error().is_some_and(|code| EXHAUSTED.contains(&code))
}

impl Server {
    /// A server whose connections have these settings. It admits every valid request that keeps to the
    /// origin policy.
    pub fn new(config: Config) -> Self {
        let settings = Settings {
            choose: Choose::Now(Arc::new(|_| Ok(Accept::new()))),
            proxy_protocol: false,
        };
        Self(Arc::new(Inner { config, group: Group::new(), settings: Mutex::new(settings) }))
    }

    /// How many connections there may be, including those in their opening handshake. More get status 503. The
    /// limit holds from now on, for all handles. Connections that are open stay.
    ///
    /// The [`Config`] bounds the memory of each connection. A [`Budget`](crate::Budget) in it
    /// ([`Config::memory_budget`]) bounds that of all together.
    ///
    /// Default 10,000. Each needs a file descriptor, and refusals need up to
    /// [`max_handshakes`](Self::max_handshakes) more. Stay below the limit of the process.
    pub fn max_connections(self, count: usize) -> Self {
        let _ = self.0.group.clone().max_connections(count);
        self
    }

    /// How many opening handshakes there may be at a time, at least 1. More get status 503, at most as many at a
    /// time. Beyond that, connections wait in the listener.
    ///
    /// Default 1,000. A handshake takes up to
    /// [`Config::handshake_timeout`](crate::Config::handshake_timeout), and holds the bytes of its head.
    pub fn max_handshakes(self, count: usize) -> Self {
        self.0.group.set_max_handshakes(count);
        self
    }

    /// Decides on each request. `choose` gives what to accept it with (a subprotocol, headers, settings of its own), or
    /// the response to refuse it with. Without this, every path is served. It must not block. The client's address is
    /// in [`Request::peer_addr`].
    pub fn on_request(
        self,
        choose: impl Fn(&Request) -> Result<Accept, Response> + Send + Sync + 'static,
    ) -> Self {
        lock(&self.0.settings).choose = Choose::Now(Arc::new(choose));
        self
    }

    /// Like [`on_request`](Self::on_request), for a decision that takes some time, as a look into a database does. It
    /// has a [`Config::handshake_timeout`](crate::Config::handshake_timeout) of its own, and the client gets status 503
    /// after that.
    ///
    /// ```no_run
    /// use bowline::handshake::{Accept, Request, Response};
    /// use bowline::tokio::Server;
    ///
    /// # async fn is_known(token: &str) -> bool { !token.is_empty() }
    /// let server = Server::new(bowline::Config::default()).on_request_async(
    ///     |request: Request| async move {
    ///         let token = request.cookie("token").unwrap_or_default();
    ///         if is_known(token).await { Ok(Accept::new()) } else { Err(Response::new(401)) }
    ///     },
    /// );
    /// ```
    pub fn on_request_async<F>(self, choose: impl Fn(Request) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Accept, Response>> + Send + 'static,
    {
        let choose = move |request| -> Deciding { Box::pin(choose(request)) };
        lock(&self.0.settings).choose = Choose::Later(Arc::new(choose));
        self
    }

    /// Calls this at the end of each WebSocket that opens from now on: the one place for logs, metrics and spans. See
    /// [`Ended`] for what it is told. It runs in the task that ends, so it must not block. The connection counts until
    /// it returns. A panic of it ends nothing but the call.
    ///
    /// ```
    /// let server = bowline::tokio::Server::new(bowline::Config::default()).on_end(|ended| {
    ///     match (&ended.result, ended.end) {
    ///         (Err(error), _) => eprintln!("a handler failed: {error}"),
    ///         (Ok(()), Some(end)) => println!("open for {:?}: {end}", ended.duration),
    ///         (Ok(()), None) => println!("open for {:?}, dropped", ended.duration),
    ///     }
    /// });
    /// ```
    ///
    /// Default: nothing is called, and nothing is kept for it.
    pub fn on_end(self, on_end: impl Fn(&Ended<'_>) + Send + Sync + 'static) -> Self {
        let _ = self.0.group.clone().on_end(on_end);
        self
    }

    /// Whether each connection of [`run`](Self::run) begins with a header of the PROXY protocol, version 1 or 2, as load
    /// balancers send it. [`Request::peer_addr`] is the address that it tells. A connection without such a header is
    /// dropped. The header has as much time as the request.
    ///
    /// Default `false`. Turn it on only if nobody but the load balancer can connect: everybody else could claim any
    /// address. For streams that go to [`serve`](Self::serve), call [`read_proxy_header`] before TLS.
    pub fn proxy_protocol(self, on: bool) -> Self {
        lock(&self.0.settings).proxy_protocol = on;
        self
    }

    /// Accepts connections until [`shutdown`](Self::shutdown) begins, and gives each WebSocket, with its
    /// request, to a handler in a task of its own. The listener is a `TcpListener` or a `UnixListener` of tokio.
    /// TCP connections get `TCP_NODELAY`. If accepting fails for lack of file descriptors or memory, it tries again
    /// after 100 ms. A connection that was aborted before it was accepted costs no such wait.
    ///
    /// Dropping the future only stops accepting. The file of a Unix socket is left to the program.
    ///
    /// ```no_run
    /// # #[cfg(unix)]
    /// # async fn run() -> std::io::Result<()> {
    /// let listener = tokio::net::UnixListener::bind("/run/chat/socket")?;
    /// let server = bowline::tokio::Server::new(bowline::Config::default());
    /// server.run(listener, |mut ws, _request| async move {
    ///     while let Ok(Some(message)) = ws.recv().await {
    ///         let _ = ws.feed(message).await; // recv gives the error again
    ///     }
    /// }).await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn run<L, H, F>(&self, listener: L, handler: H)
    where
        L: Listener,
        H: Fn(WebSocket<L::Stream>, Request) -> F + Clone + Send + 'static,
        F: Future<Output: HandlerResult> + Send + 'static,
    {
        let mut failures = 0;
        let mut stopped = pin!(self.0.group.stopped());
        loop {
            let accepted = poll_fn(|cx| {
                if stopped.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                listener.poll_accept(cx).map(Some)
            });
            match accepted.await {
                None => return,
                Some(Ok((stream, peer))) => {
                    failures = 0;
                    let is_proxied = lock(&self.0.settings).proxy_protocol;
                    let opening = async move {
                        let mut stream = L::prepare(stream)?;
                        if !is_proxied {
                            return Ok((stream, peer));
                        }
                        let header = read_proxy_header(&mut stream).await?;
                        Ok((stream, header.source().or(peer)))
                    };
                    self.serve_opening(opening, handler.clone()).await;
                }
                Some(Err(error)) if is_exhausted(&error) || failures == MOST_FAILURES => {
                    failures = 0;
                    ::tokio::time::sleep(ACCEPT_AGAIN).await;
                }
                Some(Err(_)) => failures += 1,
            }
        }
    }

    /// Serves one connection over any stream in a task of its own, as [`run`](Self::run) does with each.
    /// `stream` may take some time, as a TLS handshake does. It counts as a part of the opening handshake, with
    /// a [`Config::handshake_timeout`](crate::Config::handshake_timeout) of its own. If you have the stream
    /// already, pass `std::future::ready(Ok(stream))`.
    ///
    /// The future is done when the task has begun. That is at once, unless too many clients are being refused.
    /// Dropping the future before that drops the stream. After [`shutdown`](Self::shutdown) has begun, the
    /// stream is dropped.
    ///
    #[cfg_attr(feature = "rustls", doc = "```no_run")]
    #[cfg_attr(not(feature = "rustls"), doc = "```ignore")]
    /// # async fn run(
    /// #     listener: tokio::net::TcpListener,
    /// #     tls: bowline::tokio_rustls::TlsAcceptor,
    /// # ) -> std::io::Result<()> {
    /// use bowline::tokio::Server;
    ///
    /// let server = Server::new(bowline::Config::default());
    /// loop {
    ///     let (stream, _) = listener.accept().await?;
    ///     server.serve(tls.accept(stream), |mut ws, _request| async move {
    ///         while let Ok(Some(message)) = ws.recv().await {
    ///             let _ = ws.feed(message).await; // recv gives the error again
    ///         }
    ///     }).await;
    /// }
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn serve<S, H, F>(
        &self,
        stream: impl Future<Output = io::Result<S>> + Send + 'static,
        handler: H,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        H: FnOnce(WebSocket<S>, Request) -> F + Send + 'static,
        F: Future<Output: HandlerResult> + Send + 'static,
    {
        self.serve_opening(async { Ok((stream.await?, None)) }, handler).await;
    }

    /// Like [`serve`](Self::serve), for a client whose address is known: [`Request::peer_addr`] gives it.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn serve_from<S, H, F>(
        &self,
        peer: SocketAddr,
        stream: impl Future<Output = io::Result<S>> + Send + 'static,
        handler: H,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        H: FnOnce(WebSocket<S>, Request) -> F + Send + 'static,
        F: Future<Output: HandlerResult> + Send + 'static,
    {
        self.serve_opening(async move { Ok((stream.await?, Some(peer))) }, handler).await;
    }

    async fn serve_opening<S, H, F>(
        &self,
        stream: impl Future<Output = io::Result<(S, Option<SocketAddr>)>> + Send + 'static,
        handler: H,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        H: FnOnce(WebSocket<S>, Request) -> F + Send + 'static,
        F: Future<Output: HandlerResult> + Send + 'static,
    {
        match self.0.group.admit().await {
            Admission::Stopped => {}
            Admission::Refuse(seat) => {
                let refusing = refuse(self.0.config.clone(), stream);
                spawn(seat, |_| refusing);
            }
            Admission::Enter(seat) => {
                let server = self.clone();
                spawn(seat, |seat| async move {
                    let Some((mut ws, request)) = Box::pin(open(server, &seat, stream)).await
                    else {
                        return;
                    };
                    seat.supervise(&mut ws);
                    let handling = handler(ws, request);
                    seat.returned(handling.await);
                });
            }
        }
    }

    /// How many connections are open. Those in their opening handshake do not count.
    pub fn connections(&self) -> usize {
        self.0.group.connections()
    }

    /// The numbers of all connections that count, as of their last wait for input: see [`Group::stats`].
    pub fn stats(&self) -> Stats {
        self.0.group.stats()
    }

    /// Shuts down. The server accepts no more connections, and sends Close 1001 to all (RFC 6455 §7.4.1). It
    /// waits until the peers have answered and the handlers have returned, at most `grace`. A client whose
    /// request arrives within a second gets status 503. One that is in the opening handshake for longer is
    /// dropped. Messages that the peers sent before their own Close still reach the handlers.
    ///
    /// Then it aborts the handlers that are left, and so drops their connections. A WebSocket that a handler
    /// gave to another task ends too: `recv` there says so.
    ///
    /// A peer that does not answer is left after [`Config::close_timeout`](crate::Config::close_timeout). So a
    /// longer `grace` only gives more time to handlers.
    ///
    /// Dropping the future leaves the connections as they are. Call it again to go on.
    pub async fn shutdown(&self, grace: Duration) -> Shutdown {
        self.0.group.shutdown(grace).await
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("group", &self.0.group).finish_non_exhaustive()
    }
}

/// The opening handshake. A client that fails in it got an answer, and nothing else is done with it.
async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    server: Server,
    seat: &Seat,
    stream: impl Future<Output = io::Result<(S, Option<SocketAddr>)>>,
) -> Option<(WebSocket<S>, Request)> {
    let config = &server.0.config;
    let incoming = read(config.clone(), stream).await?;
    let choose = lock(&server.0.settings).choose.clone();
    let accept = match incoming.told().within(choose.decide(incoming.request(), config)).await {
        Ok(accept) => accept,
        Err(response) => {
            let _ = incoming.respond(&response).await;
            return None;
        }
    };
    // From here on a shutdown closes the connection and does not drop it: the client may know that it is open
    // before the handler does.
    let admit = || match seat.opened() {
        true => Ok(()),
        false => Err(RequestError::Unavailable),
    };
    incoming.accept_if(accept, admit).await.ok()
}

impl Choose {
    async fn decide(&self, request: &Request, config: &Config) -> Decision {
        match self {
            Self::Now(choose) => choose(request),
            Self::Later(choose) => {
                let deciding = choose(request.clone());
                let late = || Err(RequestError::Unavailable.response());
                within(deadline(config), deciding).await.unwrap_or_else(late)
            }
        }
    }
}

async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(
    config: Config,
    stream: impl Future<Output = io::Result<(S, Option<SocketAddr>)>>,
) {
    if let Some(incoming) = Box::pin(read(config, stream)).await {
        let _ = incoming.respond(&RequestError::Unavailable.response()).await;
    }
}

async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    config: Config,
    stream: impl Future<Output = io::Result<(S, Option<SocketAddr>)>>,
) -> Option<Incoming<S>> {
    let (stream, peer) = within(deadline(&config), stream).await?.ok()?;
    let mut incoming = Incoming::read(stream, config).await.ok()?;
    incoming.set_peer_addr(peer);
    Some(incoming)
}

/// When a step of the opening handshake that begins now has to be done.
fn deadline(config: &Config) -> Option<Duration> {
    config.get().handshake_timeout.map(|timeout| now().saturating_add(timeout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lack_of_descriptors_or_memory_lets_a_server_pause() {
        for code in [23, 24, 12, 105] {
            assert!(is_exhausted(&io::Error::from_raw_os_error(code)), "{code}");
        }
        // ECONNABORTED, ECONNRESET, EPROTO, EHOSTUNREACH, EPERM, EINTR.
        for code in [103, 104, 71, 113, 1, 4] {
            assert!(!is_exhausted(&io::Error::from_raw_os_error(code)), "{code}");
        }
        assert!(!is_exhausted(&io::ErrorKind::ConnectionAborted.into()));
    }
}
