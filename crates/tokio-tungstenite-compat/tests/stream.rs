//! What programs of tokio-tungstenite count on.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bowline_tokio_tungstenite::tungstenite::error::ProtocolError;
use bowline_tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use bowline_tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use bowline_tokio_tungstenite::tungstenite::{Error, Message, http};
use bowline_tokio_tungstenite::{
    WebSocketStream, accept_async, accept_hdr_async, client_async, connect_async,
    connect_async_with_config,
};
use futures_util::stream::FusedStream;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;

type Ws = WebSocketStream<DuplexStream>;

async fn pair(buffer: usize) -> (Ws, Ws) {
    let (client, server) = duplex(buffer);
    let accept = accept_async(server);
    let (client, server) = tokio::join!(client_async("ws://example.com/", client), accept);
    (client.unwrap().0, server.unwrap())
}

#[tokio::test]
async fn messages_go_both_ways_through_streams_of_any_size() {
    for buffer in [1, 7, 64, 1 << 20] {
        let (mut client, mut server) = pair(buffer).await;
        for message in
            [Message::text("ä"), Message::binary(vec![7; 20_000]), Message::Ping("p".into())]
        {
            let sending = client.send(message.clone());
            let (sent, received) = tokio::join!(sending, server.next());
            sent.unwrap();
            assert_eq!(received.unwrap().unwrap(), message);
        }
        let (sent, received) = tokio::join!(server.send(Message::text("back")), async {
            assert!(client.next().await.unwrap().unwrap().is_pong());
            client.next().await
        });
        sent.unwrap();
        assert_eq!(received.unwrap().unwrap(), Message::text("back"));
    }
}

#[tokio::test]
async fn over_sockets_with_headers_a_refusal_and_settings() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        #[allow(clippy::result_large_err)]
        let choose = |request: &Request, response: Response| match request.uri().path() {
            "/" => Ok(response),
            _ => {
                let mut refusal = ErrorResponse::new(Some("not here".into()));
                *refusal.status_mut() = http::StatusCode::NOT_FOUND;
                Err(refusal)
            }
        };
        let (first, _) = listener.accept().await.unwrap();
        let Err(Error::Http(_)) = accept_hdr_async(first, choose).await else { panic!() };
        let (second, _) = listener.accept().await.unwrap();
        let (sender, receiver) = accept_hdr_async(second, choose).await.unwrap().split();
        let echoed =
            receiver.take_while(|m| std::future::ready(m.as_ref().is_ok_and(|m| !m.is_close())));
        echoed.forward(sender).await.unwrap();
    });
    let Err(Error::Http(response)) = connect_async(format!("{url}elsewhere")).await else {
        panic!()
    };
    assert_eq!(response.status(), 404);
    assert_eq!(response.body().as_deref(), Some(&b"not here"[..]));
    let config = WebSocketConfig::default().max_message_size(Some(10));
    let connected = connect_async_with_config(url, Some(config), true).await;
    let (mut ws, response) = connected.unwrap();
    assert_eq!(response.status(), 101);
    assert_eq!(ws.get_config().max_message_size, Some(10));
    ws.send(Message::text("0123456789")).await.unwrap();
    assert_eq!(ws.next().await.unwrap().unwrap(), Message::text("0123456789"));
    ws.send(Message::text("0123456789a")).await.unwrap();
    assert!(matches!(ws.next().await, Some(Err(Error::Capacity(_)))));
    assert!(ws.next().await.is_none());
    drop(ws);
    let _ = server.await;
}

#[tokio::test]
async fn the_stream_ends_after_close_and_after_the_first_error() {
    let (mut client, mut server) = pair(1 << 10).await;
    client.close(None).await.unwrap();
    assert_eq!(server.next().await.unwrap().unwrap(), Message::Close(None));
    assert!(server.next().await.is_none());
    assert!(server.is_terminated());
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Close(None));
    drop(server);
    assert!(client.next().await.is_none());
    assert!(matches!(client.close(None).await, Err(Error::AlreadyClosed)));

    let (client, mut server) = pair(1 << 10).await;
    drop(client);
    let error = server.next().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)));
    assert!(server.next().await.is_none());
}

#[tokio::test]
async fn a_sink_that_is_closed_sends_close_and_takes_nothing_more() {
    let (client, mut server) = pair(1 << 10).await;
    let (mut sender, receiver) = client.split();
    sender.send(Message::text("last")).await.unwrap();
    SinkExt::close(&mut sender).await.unwrap();
    let error = sender.send(Message::text("late")).await.unwrap_err();
    assert!(matches!(error, Error::Protocol(ProtocolError::SendAfterClosing)));
    assert_eq!(server.next().await.unwrap().unwrap(), Message::text("last"));
    assert!(server.next().await.unwrap().unwrap().is_close());
    assert!(server.next().await.is_none());
    drop(server);
    let rest: Vec<_> = receiver.map(Result::unwrap).collect().await;
    assert_eq!(rest, [Message::Close(None)]);
}

#[tokio::test]
async fn a_connection_can_be_made_of_parts_and_taken_apart() {
    let (mut peer, stream) = duplex(1 << 10);
    let part = b"\x81\x83\0\0\0\0one".to_vec();
    let mut ws = WebSocketStream::from_partially_read(stream, part, Role::Server, None).await;
    peer.write_all(b"\x81\x83\0\0\0\0two").await.unwrap();
    assert_eq!(ws.next().await.unwrap().unwrap(), Message::text("one"));
    assert_eq!(ws.next().await.unwrap().unwrap(), Message::text("two"));
    let mut stream = ws.into_inner();
    stream.write_all(b"raw").await.unwrap();
    let mut raw = [0; 3];
    peer.read_exact(&mut raw).await.unwrap();
    assert_eq!(&raw, b"raw");
    let ws = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    assert_eq!(ws.get_config().max_message_size, Some(64 << 20));
}

#[tokio::test]
async fn a_dropped_receive_loses_nothing() {
    let (mut peer, stream) = duplex(1 << 10);
    let mut ws = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    let frame = b"\x81\x85\0\0\0\0whole";
    for byte in frame {
        let next = poll_fn(|cx| Poll::Ready(Pin::new(&mut ws).poll_next(cx))).await;
        assert!(next.is_pending());
        peer.write_all(&[*byte]).await.unwrap();
    }
    assert_eq!(ws.next().await.unwrap().unwrap(), Message::text("whole"));
}

/// Counts how often a task is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Woken {
    fn times(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn both_tasks_are_woken_when_a_stream_that_was_full_takes_bytes() {
    for reader_first in [false, true] {
        let (mut peer, stream) = duplex(64);
        let mut ws = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        let (reader, writer) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
        let (read_waker, write_waker) = (Waker::from(reader.clone()), Waker::from(writer.clone()));
        let mut sink = Pin::new(&mut ws);
        sink.as_mut().start_send(Message::binary(vec![1; 1000])).unwrap();
        // A ping, whose pong the reader wants to write as well.
        peer.write_all(b"\x89\x80\0\0\0\0").await.unwrap();
        let write = |sink: &mut Pin<&mut Ws>| {
            sink.as_mut().poll_flush(&mut Context::from_waker(&write_waker)).map(Result::unwrap)
        };
        let read = |sink: &mut Pin<&mut Ws>| {
            sink.as_mut()
                .poll_next(&mut Context::from_waker(&read_waker))
                .map(|m| m.unwrap().unwrap())
        };
        if reader_first {
            assert!(read(&mut sink).is_ready());
            assert!(read(&mut sink).is_pending());
            assert!(write(&mut sink).is_pending());
        } else {
            assert!(write(&mut sink).is_pending());
            assert!(read(&mut sink).is_ready());
            assert!(read(&mut sink).is_pending());
        }
        let before = writer.times();
        let mut room = [0; 64];
        peer.read_exact(&mut room).await.unwrap();
        assert!(writer.times() > before, "the reader's waker does not take the writer's place");
        // To the end, as the tasks would.
        let mut rest = Vec::new();
        while write(&mut sink).is_pending() {
            let n = peer.read(&mut room).await.unwrap();
            rest.extend_from_slice(&room[..n]);
        }
        assert!(rest.len() + 64 + 64 >= 1004 + 2);
    }
}

#[tokio::test]
async fn a_sink_waits_while_its_stream_is_full_and_goes_on() {
    let (mut peer, stream) = duplex(16);
    let config = WebSocketConfig::default().write_buffer_size(0);
    let mut ws = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    ws.feed(Message::binary(vec![1; 100])).await.unwrap();
    {
        let second = ws.feed(Message::binary(vec![2; 100]));
        tokio::pin!(second);
        let first_poll = poll_fn(|cx| Poll::Ready(second.as_mut().poll(cx))).await;
        assert!(first_poll.is_pending(), "the first one has not left");
        let mut all = vec![0; 102];
        let (fed, read) = tokio::join!(second, peer.read_exact(&mut all));
        fed.unwrap();
        read.unwrap();
        assert_eq!(all[2..], [1; 100]);
    }
    let reading = async {
        let mut all = vec![0; 102];
        peer.read_exact(&mut all).await.unwrap();
        all
    };
    let (flushed, all) = tokio::join!(ws.flush(), reading);
    flushed.unwrap();
    assert_eq!(all[2..], [2; 100]);
}

#[cfg(feature = "tower")]
#[tokio::test]
async fn the_layer_compresses_the_websockets_of_a_service() {
    use std::convert::Infallible;
    use std::sync::Mutex;

    use bowline_tokio_tungstenite::layer::CompressionLayer;
    use bowline_tokio_tungstenite::tungstenite::Deflate;
    use tower_layer::Layer;
    use tower_service::Service;

    /// As axum's extractor: it makes its settings while it answers, after a wait.
    #[derive(Clone)]
    struct App(Arc<Mutex<Option<WebSocketConfig>>>);
    impl Service<http::Request<()>> for App {
        type Response = http::Response<()>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<http::Response<()>, Infallible>>>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: http::Request<()>) -> Self::Future {
            let settings = self.0.clone();
            Box::pin(async move {
                tokio::task::yield_now().await;
                *settings.lock().unwrap() = Some(WebSocketConfig::default());
                Ok(http::Response::builder().status(101).body(()).unwrap())
            })
        }
    }

    for offers in [false, true] {
        let settings = Arc::default();
        let mut service =
            CompressionLayer::new(Deflate::default()).layer(App(Arc::clone(&settings)));
        let mut request = http::Request::get("/")
            .header("host", "example.com")
            .header("upgrade", "websocket")
            .header("connection", "upgrade")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        if offers {
            request = request.header("sec-websocket-extensions", "permessage-deflate");
        }
        poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
        let response = service.call(request.body(()).unwrap()).await.unwrap();
        assert_eq!(response.headers().contains_key("sec-websocket-extensions"), offers);
        let (mut peer, stream) = duplex(1 << 16);
        let config = settings.lock().unwrap().take();
        let mut ws = WebSocketStream::from_raw_socket(stream, Role::Server, config).await;
        ws.send(Message::text("again and ".repeat(100))).await.unwrap();
        drop(ws);
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes.len() < 200, offers, "{} bytes", bytes.len());
    }
}

#[test]
fn a_websocket_can_go_to_other_threads_and_is_small() {
    use bowline_tokio_tungstenite::MaybeTlsStream;
    use tokio::net::TcpStream;

    fn shared<T: Send + Sync + Unpin + 'static>() {}
    fn task<T: Send>(_: impl Future<Output = T> + Send) {}
    shared::<WebSocketStream<MaybeTlsStream<TcpStream>>>();
    task(connect_async("ws://127.0.0.1:1/"));
    assert!(size_of::<Ws>() <= 400, "{} bytes", size_of::<Ws>());
}
