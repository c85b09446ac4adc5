//! fastwebsockets: `read_frame` with fragments collected, and `write_frame`, one write for each.

use fastwebsockets::{FragmentCollector, Frame, OpCode, Payload, Role, WebSocket};

use crate::common::{Receive, Send, Sink, Work};
use crate::mock::{Mock, block_on};

pub struct Peer<'a> {
    ws: FragmentCollector<Mock<'a>>,
    payload: &'a [u8],
}

impl<'a> Peer<'a> {
    fn new(mock: Mock<'a>, work: &'a Work, role: Role) -> Self {
        let ws = FragmentCollector::new(WebSocket::after_handshake(mock, role));
        Self { ws, payload: &work.payload }
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
                let frame = self.ws.read_frame().await.unwrap();
                assert!(matches!(frame.opcode, OpCode::Binary | OpCode::Text));
                see(&frame.payload);
            }
        });
    }
}

impl Send for Peer<'_> {
    fn send(&mut self, count: u64) {
        block_on(async {
            for _ in 0..count {
                let payload = Payload::Borrowed(self.payload);
                self.ws.write_frame(Frame::binary(payload)).await.unwrap();
            }
        });
    }

    fn into_sink(self) -> Sink {
        self.ws.into_inner().sink
    }
}
