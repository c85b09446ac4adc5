//! bowline's adapters: `recv` (or `recv_borrowed`) and `feed`.

use bowline::blocking::{self, Plain};
use bowline::bytes::Bytes;
use bowline::{Config, Connection, Message, RecvBuf, tokio};

use crate::common::{Receive, Send, Sink, Work};
use crate::mock::{Mock, block_on};

fn connection(masked: bool) -> Connection {
    if masked {
        Connection::client(Config::default(), [7; 32])
    } else {
        Connection::server(Config::default())
    }
}

pub struct Blocking<'a> {
    ws: blocking::WebSocket<Plain<Mock<'a>>>,
    payload: Bytes,
}

impl<'a> Blocking<'a> {
    fn new(mock: Mock<'a>, work: &Work, masked: bool) -> Self {
        let stream = Plain(mock);
        let ws = blocking::WebSocket::from_connection(stream, connection(masked), RecvBuf::new())
            .unwrap();
        Self { ws, payload: Bytes::copy_from_slice(&work.payload) }
    }

    pub fn receiver(work: &'a Work) -> Self {
        Self::new(Mock::source(work), work, false)
    }

    pub fn sender(work: &'a Work, masked: bool, sink: Sink) -> Self {
        Self::new(Mock::sink(work, sink), work, masked)
    }
}

impl Receive for Blocking<'_> {
    fn receive(&mut self, count: u64, see: &mut impl FnMut(&[u8])) {
        for _ in 0..count {
            see(self.ws.recv().unwrap().unwrap().as_bytes());
        }
    }
}

impl Send for Blocking<'_> {
    fn send(&mut self, count: u64) {
        for _ in 0..count {
            self.ws.feed(Message::Binary(self.payload.clone())).unwrap();
        }
        self.ws.flush().unwrap();
    }

    fn into_sink(self) -> Sink {
        self.ws.into_inner().unwrap().0.0.sink
    }
}

pub struct Tokio<'a> {
    ws: tokio::WebSocket<Mock<'a>>,
    payload: Bytes,
}

impl<'a> Tokio<'a> {
    fn new(mock: Mock<'a>, work: &Work, masked: bool) -> Self {
        let ws = tokio::WebSocket::from_connection(mock, connection(masked), RecvBuf::new());
        Self { ws, payload: Bytes::copy_from_slice(&work.payload) }
    }

    pub fn receiver(work: &'a Work) -> Self {
        Self::new(Mock::source(work), work, false)
    }

    pub fn sender(work: &'a Work, masked: bool, sink: Sink) -> Self {
        Self::new(Mock::sink(work, sink), work, masked)
    }
}

impl Receive for Tokio<'_> {
    fn receive(&mut self, count: u64, see: &mut impl FnMut(&[u8])) {
        block_on(async {
            for _ in 0..count {
                see(self.ws.recv().await.unwrap().unwrap().as_bytes());
            }
        });
    }
}

impl Send for Tokio<'_> {
    fn send(&mut self, count: u64) {
        block_on(async {
            for _ in 0..count {
                self.ws.feed(Message::Binary(self.payload.clone())).await.unwrap();
            }
            self.ws.flush().await.unwrap();
        });
    }

    fn into_sink(self) -> Sink {
        block_on(self.ws.into_inner()).unwrap().0.sink
    }
}

pub struct TokioBorrowed<'a>(Tokio<'a>);

impl<'a> TokioBorrowed<'a> {
    pub fn receiver(work: &'a Work) -> Self {
        Self(Tokio::receiver(work))
    }
}

impl Receive for TokioBorrowed<'_> {
    fn receive(&mut self, count: u64, see: &mut impl FnMut(&[u8])) {
        block_on(async {
            for _ in 0..count {
                see(self.0.ws.recv_borrowed().await.unwrap().unwrap().0.as_bytes());
            }
        });
    }
}
