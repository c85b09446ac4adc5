//! sockudo-ws: its `Protocol` without a stream. Payloads are parts of the read buffer, and `encode_message` queues.

use bytes::{Bytes, BytesMut};
use sockudo_ws::protocol::Protocol;
use sockudo_ws::{CORK_BUFFER_SIZE, Config, Message, RECV_BUFFER_SIZE, Role};

use crate::common::{Receive, Send, Sink, Source, Work};

fn protocol(role: Role) -> Protocol {
    let config = Config::default();
    Protocol::new(role, config.max_frame_size, config.max_message_size)
}

pub struct Receiver<'a> {
    protocol: Protocol,
    source: Source<'a>,
    buffer: BytesMut,
    messages: Vec<Message>,
    /// The first of them that was not shown.
    next: usize,
}

impl<'a> Receiver<'a> {
    pub fn new(work: &'a Work) -> Self {
        Self {
            protocol: protocol(Role::Server),
            source: work.source(),
            buffer: BytesMut::with_capacity(RECV_BUFFER_SIZE),
            messages: Vec::new(),
            next: 0,
        }
    }
}

impl Receive for Receiver<'_> {
    fn receive(&mut self, count: u64, see: &mut impl FnMut(&[u8])) {
        let mut left = count;
        loop {
            let ready = &self.messages[self.next..];
            let now = ready.len().min(left as usize);
            ready[..now].iter().for_each(|message| see(message.as_bytes()));
            self.next += now;
            left -= now as u64;
            if left == 0 {
                return;
            }
            // Payloads keep the buffer, so they go first. Room is made as its stream makes it.
            self.messages.clear();
            self.next = 0;
            if self.buffer.capacity() - self.buffer.len() < 4096 {
                self.buffer.reserve(RECV_BUFFER_SIZE);
            }
            let room = self.buffer.capacity() - self.buffer.len();
            self.buffer.extend_from_slice(self.source.next(room));
            self.protocol.process_into(&mut self.buffer, &mut self.messages).unwrap();
        }
    }
}

pub struct Sender {
    protocol: Protocol,
    message: Message,
    queue: BytesMut,
    sink: Sink,
}

impl Sender {
    pub fn new(work: &Work, masked: bool, sink: Sink) -> Self {
        Self {
            protocol: protocol(if masked { Role::Client } else { Role::Server }),
            message: Message::Binary(Bytes::copy_from_slice(&work.payload)),
            queue: BytesMut::with_capacity(CORK_BUFFER_SIZE),
            sink,
        }
    }

    fn write(&mut self) {
        self.sink.write(&self.queue);
        self.queue.clear();
    }
}

impl Send for Sender {
    fn send(&mut self, count: u64) {
        for _ in 0..count {
            self.protocol.encode_message(&self.message, &mut self.queue).unwrap();
            if self.queue.len() >= CORK_BUFFER_SIZE {
                self.write();
            }
        }
        self.write();
    }

    fn into_sink(self) -> Sink {
        self.sink
    }
}
