//! yawc: `next`, and `feed` that flushes itself at its boundary. It validates text only if it is told to.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use yawc::{Frame, OpCode, Options, Role, WebSocket};

use crate::common::{Receive, Send, Sink, Work};
use crate::mock::{Handle, Mock, block_on};

pub struct Peer<'a> {
    ws: WebSocket<Handle<'a>>,
    payload: Bytes,
    /// It does not give its stream back.
    stream: Handle<'a>,
}

impl<'a> Peer<'a> {
    fn new(mock: Mock<'a>, work: &Work, role: Role) -> Self {
        let stream = Handle::new(mock);
        let options =
            if work.is_text { Options::default().with_utf8() } else { Options::default() };
        let ws = WebSocket::from_stream(stream.clone(), role, options).unwrap();
        Self { ws, payload: Bytes::copy_from_slice(&work.payload), stream }
    }

    pub fn receiver(work: &'a Work) -> Self {
        Self::new(Mock::source(work), work, Role::Server)
    }

    pub fn sender(work: &'a Work, masked: bool, sink: Sink) -> Self {
        let role = if masked { Role::Client } else { Role::Server };
        Self::new(Mock::sink(work, sink), work, role)
    }
}

impl Receive for Peer<'_> {
    fn receive(&mut self, count: u64, see: &mut impl FnMut(&[u8])) {
        block_on(async {
            for _ in 0..count {
                let frame = self.ws.next().await.unwrap();
                assert!(matches!(frame.opcode(), OpCode::Binary | OpCode::Text));
                see(frame.payload());
            }
        });
    }
}

impl Send for Peer<'_> {
    fn send(&mut self, count: u64) {
        block_on(async {
            for _ in 0..count {
                self.ws.feed(Frame::binary(self.payload.clone())).await.unwrap();
            }
            self.ws.flush().await.unwrap();
        });
    }

    fn into_sink(self) -> Sink {
        drop(self.ws);
        self.stream.into_inner().sink
    }
}
