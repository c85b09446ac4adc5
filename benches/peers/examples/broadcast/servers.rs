//! The servers: each sends a message that it receives to all connections.

use std::fmt::Display;
use std::future::{Future, Ready, ready};
use std::io::{Error, ErrorKind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bowline::tokio::{Broadcast, Delivery, SlowPeer};
use bytes::Bytes;
use fastwebsockets::{FragmentCollectorRead, Frame, OpCode, Payload, Role};
use futures_util::future::FutureExt;
use futures_util::{Sink, SinkExt, Stream, StreamExt, sink, stream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, UnboundedSender};

use crate::sockets::Result;
use crate::sockets::process;
use crate::sockets::servers::{BUFFER, answer, open, other};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// A plain write on each socket; trusts the peers.
    Bare,
    Bowline(SlowPeer),
    Tungstenite(Way),
    TokioWebsockets(Way),
    Fastwebsockets(Way),
    Yawc(Way),
    /// Its own pub/sub.
    Sockudo,
    /// C++, in a process of node.
    Uwebsockets,
}

/// How a message gets to a connection, if the library has no way of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Over a channel to its task, as the example server of tokio-tungstenite does it. The channels have no bounds:
    /// messages that a peer does not read are kept.
    Channel,
    /// The task that received it sends it to one connection after the other, and waits for each.
    Loop,
}

/// The servers, by their names in the tables and on the command line.
pub const ALL: &[(&str, Server)] = &[
    ("bare", Server::Bare),
    ("bowline", Server::Bowline(SlowPeer::Drop)),
    ("uwebsockets", Server::Uwebsockets),
    ("tungstenite", Server::Tungstenite(Way::Channel)),
    ("tungstenite-loop", Server::Tungstenite(Way::Loop)),
    ("tokio-websockets", Server::TokioWebsockets(Way::Channel)),
    ("tokio-websockets-loop", Server::TokioWebsockets(Way::Loop)),
    ("fastwebsockets", Server::Fastwebsockets(Way::Channel)),
    ("fastwebsockets-loop", Server::Fastwebsockets(Way::Loop)),
    ("yawc", Server::Yawc(Way::Channel)),
    ("yawc-loop", Server::Yawc(Way::Loop)),
    ("sockudo-ws", Server::Sockudo),
];

/// The servers that are also measured with a peer that does not read.
pub const POLICIES: &[(&str, Server)] = &[
    ("bowline-drop", Server::Bowline(SlowPeer::Drop)),
    ("bowline-skip", Server::Bowline(SlowPeer::Skip)),
    ("bowline-keep-newest", Server::Bowline(SlowPeer::KeepNewest)),
];

/// How many bytes the sockets of these servers hold. The system doubles it.
const SOCKET_BUFFER: usize = 64 << 10;

// What a bowline server can be asked.
pub const MEMBERS: &str = "members";
pub const LONGEST: &str = "longest";
pub const SENT: &str = "sent";
pub const KEPT: &str = "kept";
pub const SKIPPED: &str = "skipped";
pub const DROPPED: &str = "dropped";

/// Serves until nothing is asked any more.
pub fn serve(arguments: &[String]) -> ! {
    let [name, processor] = arguments else { panic!("which server, on which processor") };
    let named = |servers: &[(&str, Server)]| {
        servers.iter().find(|(known, _)| known == name).map(|(_, server)| *server)
    };
    let policy = named(POLICIES);
    let server = policy.or_else(|| named(ALL)).expect("a server");
    let listener = process::begin(processor);
    if policy.is_some() {
        // Accepted sockets have it too. Otherwise the buffer grows, and takes all that is sent.
        let socket = socket2::SockRef::from(&listener);
        socket.set_send_buffer_size(SOCKET_BUFFER).expect("a socket");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = {
        let _inside = runtime.enter();
        listener.set_nonblocking(true).unwrap();
        TcpListener::from_std(listener).unwrap()
    };
    runtime.block_on(run(server, listener))
}

async fn run(server: Server, listener: TcpListener) -> ! {
    if let Server::Bowline(slow) = server {
        let group = Broadcast::new(slow);
        let tally: &'static Tally = Box::leak(Box::default());
        let known = group.clone();
        process::answer(move |question| tally.answer(&known, question));
        let config = bowline::Config::default();
        let serve = |stream| bowline(stream, config.clone(), group.clone(), tally);
        accept(listener, serve).await
    }
    process::answer(|_| None);
    match server {
        Server::Bare => {
            let group = Group::default();
            accept(listener, |stream| bare(stream, group.clone())).await
        }
        Server::Tungstenite(way) => {
            let groups = Groups::default();
            accept(listener, |stream| tungstenite(stream, way, groups.clone())).await
        }
        Server::TokioWebsockets(way) => {
            let groups = Groups::default();
            accept(listener, |stream| tokio_websockets(stream, way, groups.clone())).await
        }
        Server::Fastwebsockets(way) => {
            let groups = Groups::default();
            accept(listener, |stream| fastwebsockets(stream, way, groups.clone())).await
        }
        Server::Yawc(way) => {
            let groups = Groups::default();
            accept(listener, |stream| yawc(stream, way, groups.clone())).await
        }
        Server::Sockudo => {
            let topics = Arc::new(sockudo_ws::PubSub::new());
            accept(listener, |stream| sockudo(stream, Arc::clone(&topics))).await
        }
        Server::Bowline(_) => unreachable!("it is above"),
        Server::Uwebsockets => panic!("it is another program"),
    }
}

async fn accept<F, E>(listener: TcpListener, serve: impl Fn(TcpStream) -> F) -> !
where
    F: Future<Output = std::result::Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
{
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        // The client ends its connections without a Close, so an error is no news.
        tokio::spawn(serve(stream).map(drop));
    }
}

/// The connections. None leaves while there are messages.
struct Group<T>(Arc<Mutex<Vec<T>>>);

impl<T> Default for Group<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for Group<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Group<T> {
    fn join(&self, member: T) {
        self.0.lock().unwrap().push(member);
    }

    fn each(&self, run: impl FnMut(&T)) {
        self.0.lock().unwrap().iter().for_each(run);
    }
}

async fn bare(mut stream: TcpStream, group: Group<Arc<TcpStream>>) -> Result<()> {
    open(&mut stream).await?;
    let stream = Arc::new(stream);
    group.join(Arc::clone(&stream));
    let (mut buffer, mut filled) = (vec![0; BUFFER], 0);
    loop {
        stream.readable().await?;
        match stream.try_read(&mut buffer[filled..]) {
            Ok(0) => return Ok(()),
            Ok(n) => filled += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        let (read, frames) = answer(&mut buffer[..filled]);
        if frames > 0 {
            let frames = &buffer[..frames];
            group.each(|peer| assert_eq!(peer.try_write(frames).ok(), Some(frames.len())));
        }
        buffer.copy_within(read..filled, 0);
        filled -= read;
    }
}

/// What became of all messages.
#[derive(Default)]
struct Tally {
    sent: AtomicU64,
    kept: AtomicU64,
    skipped: AtomicU64,
    dropped: AtomicU64,
}

impl Tally {
    fn add(&self, delivery: &Delivery) {
        let add = |to: &AtomicU64, n: usize| {
            to.fetch_add(n as u64, Ordering::Relaxed);
        };
        add(&self.sent, delivery.sent);
        add(&self.kept, delivery.kept);
        add(&self.skipped, delivery.skipped);
        add(&self.dropped, delivery.dropped);
    }

    fn answer(&self, group: &Broadcast, question: &str) -> Option<u64> {
        let count = match question {
            MEMBERS => return Some(group.len() as u64),
            LONGEST => return Some(group.queued().into_iter().max().unwrap_or(0) as u64),
            SENT => &self.sent,
            KEPT => &self.kept,
            SKIPPED => &self.skipped,
            DROPPED => &self.dropped,
            _ => return None,
        };
        Some(count.load(Ordering::Relaxed))
    }
}

async fn bowline(
    stream: TcpStream,
    config: bowline::Config,
    group: Broadcast,
    tally: &Tally,
) -> std::result::Result<(), bowline::Error> {
    let (sender, mut receiver) = bowline::tokio::accept(stream, config).await?.split();
    let _member = group.join(&sender);
    while let Some(message) = receiver.recv().await? {
        tally.add(&group.send(message).await);
    }
    Ok(())
}

type SharedSink<M> = Arc<tokio::sync::Mutex<Pin<Box<dyn Sink<M, Error = Error> + Send>>>>;

/// Channels to the connections, or the connections' sinks.
struct Groups<M> {
    channels: Group<UnboundedSender<M>>,
    sinks: Group<SharedSink<M>>,
}

impl<M> Default for Groups<M> {
    fn default() -> Self {
        Self { channels: Group::default(), sinks: Group::default() }
    }
}

impl<M> Clone for Groups<M> {
    fn clone(&self) -> Self {
        Self { channels: self.channels.clone(), sinks: self.sinks.clone() }
    }
}

async fn serve_both<M: Clone + Send + 'static>(
    incoming: impl Stream<Item = M> + Send,
    outgoing: impl Sink<M, Error = Error> + Send + 'static,
    way: Way,
    groups: Groups<M>,
) -> Result<()> {
    match way {
        Way::Channel => {
            let (sender, mut receiver) = mpsc::unbounded_channel();
            groups.channels.join(sender);
            let receiving = incoming.for_each(|message| {
                groups.channels.each(|channel| drop(channel.send(message.clone())));
                ready(())
            });
            // The example has both in one task, where sending also polls the receiving side.
            let sending = tokio::spawn(async move {
                let mut outgoing = pin!(outgoing);
                while let Some(message) = receiver.recv().await {
                    if outgoing.send(message).await.is_err() {
                        break;
                    }
                }
            });
            receiving.await;
            sending.abort();
        }
        Way::Loop => {
            groups.sinks.join(Arc::new(tokio::sync::Mutex::new(Box::pin(outgoing))));
            let mut incoming = pin!(incoming);
            while let Some(message) = incoming.next().await {
                let mut sinks = Vec::new();
                groups.sinks.each(|sink| sinks.push(Arc::clone(sink)));
                for sink in sinks {
                    sink.lock().await.send(message.clone()).await?;
                }
            }
        }
    }
    Ok(())
}

async fn tungstenite(
    stream: TcpStream,
    way: Way,
    groups: Groups<tungstenite::Message>,
) -> Result<()> {
    let ws = tokio_tungstenite::accept_async(stream).await.map_err(other)?;
    let (outgoing, incoming) = ws.split();
    let incoming = incoming.filter_map(|message| ready(message.ok())).filter(is_data);
    fn is_data(message: &tungstenite::Message) -> Ready<bool> {
        ready(message.is_text() || message.is_binary())
    }
    serve_both(incoming, outgoing.sink_map_err(other), way, groups).await
}

async fn tokio_websockets(
    stream: TcpStream,
    way: Way,
    groups: Groups<tokio_websockets::Message>,
) -> Result<()> {
    let accepted = tokio_websockets::ServerBuilder::new().accept(stream).await;
    let (outgoing, incoming) = accepted.map_err(other)?.1.split();
    let incoming = incoming.filter_map(|message| ready(message.ok())).filter(is_data);
    fn is_data(message: &tokio_websockets::Message) -> Ready<bool> {
        ready(message.is_text() || message.is_binary())
    }
    serve_both(incoming, outgoing.sink_map_err(other), way, groups).await
}

async fn fastwebsockets(mut stream: TcpStream, way: Way, groups: Groups<Bytes>) -> Result<()> {
    open(&mut stream).await?;
    let ws = fastwebsockets::WebSocket::after_handshake(stream, Role::Server);
    let (reader, writer) = ws.split(TcpStream::into_split);
    let reader = FragmentCollectorRead::new(reader);
    let incoming = stream::unfold(reader, async |mut reader| {
        loop {
            let mut no_replies = |_| ready(Result::Ok(()));
            let frame = reader.read_frame(&mut no_replies).await.ok()?;
            match frame.opcode {
                OpCode::Close => return None,
                OpCode::Text | OpCode::Binary => {
                    return Some((Bytes::copy_from_slice(&frame.payload), reader));
                }
                _ => {}
            }
        }
    });
    let outgoing = sink::unfold(writer, async |mut writer, payload: Bytes| {
        let frame = Frame::binary(Payload::Borrowed(&payload));
        writer.write_frame(frame).await.map_err(other)?;
        Ok(writer)
    });
    serve_both(incoming, outgoing, way, groups).await
}

async fn yawc(mut stream: TcpStream, way: Way, groups: Groups<yawc::Frame>) -> Result<()> {
    use yawc::{Options, Role, WebSocket};
    open(&mut stream).await?;
    let ws = WebSocket::from_stream(stream, Role::Server, Options::default()).map_err(other)?;
    let (outgoing, incoming) = ws.split();
    let incoming = incoming
        .filter(|frame| ready(matches!(frame.opcode(), yawc::OpCode::Text | yawc::OpCode::Binary)));
    serve_both(incoming, outgoing.sink_map_err(other), way, groups).await
}

/// As its example `pubsub_echo`.
async fn sockudo(mut stream: TcpStream, topics: Arc<sockudo_ws::PubSub>) -> Result<()> {
    use sockudo_ws::{Config, Message, WebSocketStream};
    const TOPIC: &str = "all";
    open(&mut stream).await?;
    // The client answers no pings.
    let config = Config::builder().auto_ping(false).idle_timeout(0).build();
    let (mut reader, mut writer) = WebSocketStream::server(stream, config).split();
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let subscriber = topics.create_subscriber(sender);
    topics.subscribe(subscriber, TOPIC);
    loop {
        tokio::select! {
            message = reader.next() => match message {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    topics.publish(TOPIC, message);
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => {}
            },
            Some(message) = receiver.recv() => writer.send(message).await.map_err(other)?,
        }
    }
    topics.remove_subscriber(subscriber);
    Ok(())
}
