//! embedded-websocket: `read` from one slice to another, and `write`, with buffers of the caller.

use embedded_websocket::{
    Error, WebSocketClient, WebSocketSendMessageType, WebSocketServer, WebSocketState,
};
use rand::rngs::ThreadRng;

use crate::common::floor::WRITE_FROM;
use crate::common::{Receive, Send, Sink, Source, Work};

/// The caller chooses. This is as much as the bare loop reads.
const READ: usize = 32 << 10;

/// The longest header.
const HEADER: usize = 14;

pub struct Receiver<'a> {
    ws: WebSocketServer,
    source: Source<'a>,
    buffer: Vec<u8>,
    read: usize,
    filled: usize,
    message: Vec<u8>,
}

impl<'a> Receiver<'a> {
    pub fn new(work: &'a Work) -> Self {
        let mut ws = WebSocketServer::new_server();
        ws.state = WebSocketState::Open;
        let message = vec![0; work.payload.len()];
        Self { ws, source: work.source(), buffer: vec![0; READ], read: 0, filled: 0, message }
    }
}

impl Receive for Receiver<'_> {
    fn receive(&mut self, count: u64, see: &mut impl FnMut(&[u8])) {
        let (mut left, mut len) = (count, 0);
        while left > 0 {
            let unread = &self.buffer[self.read..self.filled];
            let found = match unread {
                [] => Err(Error::ReadFrameIncomplete),
                _ => self.ws.read(unread, &mut self.message[len..]),
            };
            match found {
                Ok(found) => {
                    self.read += found.len_from;
                    len += found.len_to;
                    if found.end_of_message {
                        see(&self.message[..len]);
                        len = 0;
                        left -= 1;
                    }
                }
                // The rest is a part of a header.
                Err(Error::ReadFrameIncomplete) => {
                    self.buffer.copy_within(self.read..self.filled, 0);
                    self.filled -= self.read;
                    self.read = 0;
                    self.filled += self.source.read(&mut self.buffer[self.filled..]);
                }
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}

enum Side {
    Client(WebSocketClient<ThreadRng>),
    Server(WebSocketServer),
}

pub struct Sender<'a> {
    side: Side,
    payload: &'a [u8],
    queue: Vec<u8>,
    queued: usize,
    sink: Sink,
}

impl<'a> Sender<'a> {
    pub fn new(work: &'a Work, masked: bool, sink: Sink) -> Self {
        let side = if masked {
            let mut ws = WebSocketClient::new_client(rand::thread_rng());
            ws.state = WebSocketState::Open;
            Side::Client(ws)
        } else {
            let mut ws = WebSocketServer::new_server();
            ws.state = WebSocketState::Open;
            Side::Server(ws)
        };
        let queue = vec![0; WRITE_FROM + HEADER + work.payload.len()];
        Self { side, payload: &work.payload, queue, queued: 0, sink }
    }

    fn write(&mut self) {
        self.sink.write(&self.queue[..self.queued]);
        self.queued = 0;
    }
}

impl Send for Sender<'_> {
    fn send(&mut self, count: u64) {
        let binary = WebSocketSendMessageType::Binary;
        for _ in 0..count {
            let to = &mut self.queue[self.queued..];
            let written = match &mut self.side {
                Side::Client(ws) => ws.write(binary, true, self.payload, to),
                Side::Server(ws) => ws.write(binary, true, self.payload, to),
            };
            self.queued += written.unwrap();
            if self.queued >= WRITE_FROM {
                self.write();
            }
        }
        self.write();
    }

    fn into_sink(self) -> Sink {
        self.sink
    }
}
