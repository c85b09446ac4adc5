//! wtx: `read_frame`, which lends, and `write_frame`, one write for each. A client's `write_frame` masks the caller's
//! payload in place, so each message is a copy.

use std::io::Read;

use wtx::collection::Vector;
use wtx::rng::ChaCha20;
use wtx::stream::{StreamReader, StreamWriter};
use wtx::web_socket::{Frame, OpCode, WebSocketBuffer, WebSocketOwned, WebSocketPayloadOrigin};

use crate::common::{Receive, Send, Sink, Work};
use crate::mock::{Handle, Mock, block_on};

impl StreamReader for Handle<'_> {
    async fn read(&mut self, bytes: &mut [u8]) -> wtx::Result<usize> {
        Ok(self.get().read(bytes)?)
    }
}

impl StreamWriter for Handle<'_> {
    async fn write_all(&mut self, bytes: &[u8]) -> wtx::Result<()> {
        self.get().sink.write(bytes);
        Ok(())
    }

    async fn write_all_vectored(&mut self, bytes: &[&[u8]]) -> wtx::Result<()> {
        let sink = &mut self.get().sink;
        for bytes in bytes {
            sink.write(bytes);
        }
        Ok(())
    }
}

/// The caller chooses, and wtx says that it matters. This is as much as the bare loop reads.
const READ: usize = 32 << 10;

type WebSocket<'a, const CLIENT: bool> = WebSocketOwned<(), ChaCha20, Handle<'a>, CLIENT>;

fn open<const CLIENT: bool>(stream: Handle<'_>) -> WebSocket<'_, CLIENT> {
    let rng = ChaCha20::from_key(rand::random());
    let buffer = WebSocketBuffer::with_capacity(READ, 0, 0).unwrap();
    WebSocketOwned::new((), false, rng, stream, buffer)
}

pub struct Receiver<'a> {
    ws: WebSocket<'a, false>,
    /// For fragments.
    buffer: Vector<u8>,
}

impl<'a> Receiver<'a> {
    pub fn new(work: &'a Work) -> Self {
        Self { ws: open(Handle::new(Mock::source(work))), buffer: Vector::new() }
    }
}

impl Receive for Receiver<'_> {
    fn receive(&mut self, count: u64, see: &mut impl FnMut(&[u8])) {
        block_on(async {
            for _ in 0..count {
                let origin = WebSocketPayloadOrigin::Adaptive;
                let frame = self.ws.read_frame(&mut self.buffer, origin).await.unwrap();
                assert!(matches!(frame.op_code(), OpCode::Binary | OpCode::Text));
                see(frame.payload());
            }
        });
    }
}

enum Side<'a> {
    Client(WebSocket<'a, true>, Vec<u8>),
    Server(WebSocket<'a, false>),
}

pub struct Sender<'a> {
    side: Side<'a>,
    payload: Vec<u8>,
    /// It does not give its stream back.
    stream: Handle<'a>,
}

impl<'a> Sender<'a> {
    pub fn new(work: &'a Work, masked: bool, sink: Sink) -> Self {
        let stream = Handle::new(Mock::sink(work, sink));
        let side = if masked {
            Side::Client(open(stream.clone()), work.payload.clone())
        } else {
            Side::Server(open(stream.clone()))
        };
        Self { side, payload: work.payload.clone(), stream }
    }
}

impl Send for Sender<'_> {
    fn send(&mut self, count: u64) {
        block_on(async {
            for _ in 0..count {
                match &mut self.side {
                    Side::Client(ws, copy) => {
                        copy.copy_from_slice(&self.payload);
                        let mut frame = Frame::new_fin(OpCode::Binary, &mut copy[..]);
                        ws.write_frame(&mut frame).await.unwrap();
                    }
                    Side::Server(ws) => {
                        let mut frame = Frame::new_fin(OpCode::Binary, &mut self.payload[..]);
                        ws.write_frame(&mut frame).await.unwrap();
                    }
                }
            }
        });
    }

    fn into_sink(self) -> Sink {
        drop(self.side);
        self.stream.into_inner().sink
    }
}
