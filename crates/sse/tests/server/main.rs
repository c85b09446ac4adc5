//! The server's side: what goes into a body and when, and what a client of axum sees on its socket.

mod body;
mod served;

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bowline_sse::Event;
use futures_util::Stream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

type Sent = Result<Event, Infallible>;

/// A stream that gives what a test sends to it, and tells when it is dropped.
struct Source {
    events: UnboundedReceiver<Sent>,
    _alive: oneshot::Sender<()>,
}

/// The second gives an error as soon as the stream is dropped.
fn source() -> (UnboundedSender<Sent>, oneshot::Receiver<()>, Source) {
    let (sender, events) = unbounded_channel();
    let (alive, dropped) = oneshot::channel();
    (sender, dropped, Source { events, _alive: alive })
}

impl Stream for Source {
    type Item = Sent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Sent>> {
        self.events.poll_recv(cx)
    }
}
