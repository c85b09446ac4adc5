//! web-socket: `recv` over a `BufReader`, for it reads each header by itself, and `send`, one write for each.

use tokio::io::BufReader;
use web_socket::{DataType, Event, WebSocket};

use crate::common::{Receive, Send, Sink, Work};
use crate::mock::{Mock, block_on};

pub struct Peer<'a> {
    ws: WebSocket<BufReader<Mock<'a>>>,
    payload: &'a [u8],
}

impl<'a> Peer<'a> {
    pub fn receiver(work: &'a Work) -> Self {
        let ws = WebSocket::server(BufReader::new(Mock::source(work)));
        Self { ws, payload: &work.payload }
    }

    pub fn sender(work: &'a Work, masked: bool, sink: Sink) -> Self {
        let stream = BufReader::new(Mock::sink(work, sink));
        let ws = if masked { WebSocket::client(stream) } else { WebSocket::server(stream) };
        Self { ws, payload: &work.payload }
    }
}

impl Receive for Peer<'_> {
    fn receive(&mut self, count: u64, see: &mut impl FnMut(&[u8])) {
        block_on(async {
            for _ in 0..count {
                match self.ws.recv().await.unwrap() {
                    Event::Data { ty: DataType::Complete(_), data } => see(&data),
                    other => panic!("{other:?}"),
                }
            }
        });
    }
}

impl Send for Peer<'_> {
    fn send(&mut self, count: u64) {
        block_on(async {
            for _ in 0..count {
                self.ws.send(self.payload).await.unwrap();
            }
            self.ws.flash().await.unwrap();
        });
    }

    fn into_sink(self) -> Sink {
        self.ws.stream.into_inner().sink
    }
}
