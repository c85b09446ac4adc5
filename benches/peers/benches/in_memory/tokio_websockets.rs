//! tokio-websockets: `next`, and `feed` that flushes itself at 8 KiB.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio_websockets::{ClientBuilder, Message, ServerBuilder, WebSocketStream};

use crate::common::{Receive, Send, Sink, Work};
use crate::mock::{Mock, block_on};

pub struct Peer<'a> {
    ws: WebSocketStream<Mock<'a>>,
    payload: Bytes,
}

impl<'a> Peer<'a> {
    fn new(mock: Mock<'a>, work: &Work, masked: bool) -> Self {
        let ws = if masked {
            ClientBuilder::new().take_over(mock)
        } else {
            ServerBuilder::new().serve(mock)
        };
        Self { ws, payload: Bytes::copy_from_slice(&work.payload) }
    }

    pub fn receiver(work: &'a Work) -> Self {
        Self::new(Mock::source(work), work, false)
    }

    pub fn sender(work: &'a Work, masked: bool, sink: Sink) -> Self {
        Self::new(Mock::sink(work, sink), work, masked)
    }
}

impl Receive for Peer<'_> {
    fn receive(&mut self, count: u64, see: &mut impl FnMut(&[u8])) {
        block_on(async {
            for _ in 0..count {
                see(self.ws.next().await.unwrap().unwrap().as_payload());
            }
        });
    }
}

impl Send for Peer<'_> {
    fn send(&mut self, count: u64) {
        block_on(async {
            for _ in 0..count {
                self.ws.feed(Message::binary(self.payload.clone())).await.unwrap();
            }
            self.ws.flush().await.unwrap();
        });
    }

    fn into_sink(self) -> Sink {
        self.ws.into_inner().sink
    }
}
