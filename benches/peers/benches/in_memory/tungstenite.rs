//! tungstenite: `read`, and `write` that flushes itself at 128 KiB.

use tungstenite::protocol::Role;
use tungstenite::{Bytes, Message, WebSocket};

use crate::common::{Receive, Send, Sink, Work};
use crate::mock::Mock;

pub struct Peer<'a> {
    ws: WebSocket<Mock<'a>>,
    payload: Bytes,
}

impl<'a> Peer<'a> {
    fn new(mock: Mock<'a>, work: &Work, role: Role) -> Self {
        let ws = WebSocket::from_raw_socket(mock, role, None);
        Self { ws, payload: Bytes::copy_from_slice(&work.payload) }
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
        for _ in 0..count {
            match self.ws.read().unwrap() {
                Message::Binary(data) => see(&data),
                Message::Text(text) => see(text.as_bytes()),
                other => panic!("{other:?}"),
            }
        }
    }
}

impl Send for Peer<'_> {
    fn send(&mut self, count: u64) {
        for _ in 0..count {
            self.ws.write(Message::Binary(self.payload.clone())).unwrap();
        }
        self.ws.flush().unwrap();
    }

    fn into_sink(self) -> Sink {
        self.ws.into_inner().sink
    }
}
