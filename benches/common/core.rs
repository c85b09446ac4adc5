//! bowline's core, driven as its documentation says.

use bowline::bytes::Bytes;
use bowline::{Config, Connection, Message, Progress, RecvBuf, SendBuf};

use super::floor::WRITE_FROM;
use super::{Receive, Send, Sink, Source, Work};

/// Lends each message.
pub struct Borrowed<'a>(Receiving<'a>);

/// Takes each message.
pub struct Owned<'a>(Receiving<'a>);

struct Receiving<'a> {
    connection: Connection,
    input: RecvBuf,
    out: SendBuf,
    source: Source<'a>,
}

impl<'a> Receiving<'a> {
    fn new(work: &'a Work) -> Self {
        Self {
            connection: Connection::server(Config::default()),
            input: RecvBuf::new(),
            out: SendBuf::new(),
            source: work.source(),
        }
    }

    #[inline]
    fn event(&mut self) {
        loop {
            match self.connection.advance(&mut self.input, &mut self.out).unwrap() {
                Progress::Event => return,
                Progress::NeedInput => {
                    let n = self.source.read(self.input.space());
                    self.input.filled(n);
                }
                Progress::Ended => unreachable!("nobody closes"),
            }
        }
    }
}

impl<'a> Borrowed<'a> {
    pub fn new(work: &'a Work) -> Self {
        Self(Receiving::new(work))
    }
}

impl Receive for Borrowed<'_> {
    fn receive(&mut self, count: u64, see: &mut impl FnMut(&[u8])) {
        for _ in 0..count {
            self.0.event();
            see(self.0.input.event().unwrap().as_bytes());
        }
    }
}

impl<'a> Owned<'a> {
    pub fn new(work: &'a Work) -> Self {
        Self(Receiving::new(work))
    }
}

impl Receive for Owned<'_> {
    fn receive(&mut self, count: u64, see: &mut impl FnMut(&[u8])) {
        for _ in 0..count {
            self.0.event();
            see(self.0.input.take_event().unwrap().as_bytes());
        }
    }
}

/// `send`: copies the payload; writes when 16 KiB are queued.
pub struct Copied<'a>(Sending<'a>);

/// `send_owned`, with a payload that has other references.
pub struct Shared<'a>(Sending<'a>, Bytes);

/// `send_borrowed`, with one vectored write for each message.
pub struct Vectored<'a>(Sending<'a>);

struct Sending<'a> {
    connection: Connection,
    out: SendBuf,
    payload: &'a [u8],
    sink: Sink,
}

impl<'a> Sending<'a> {
    fn new(work: &'a Work, masked: bool, sink: Sink) -> Self {
        let connection = if masked {
            Connection::client(Config::default(), [7; 32])
        } else {
            Connection::server(Config::default())
        };
        Self { connection, out: SendBuf::new(), payload: &work.payload, sink }
    }

    /// Slice by slice, as one vectored write would take them.
    #[inline]
    fn write(&mut self) {
        while !self.out.is_empty() {
            let n = self.out.pending_slices().map(|slice| self.sink.write(slice)).sum();
            self.out.sent(n);
        }
    }

    #[inline]
    fn write_from(&mut self, queued: usize) {
        if self.out.len() >= queued {
            self.write();
        }
    }
}

impl<'a> Copied<'a> {
    pub fn new(work: &'a Work, masked: bool, sink: Sink) -> Self {
        Self(Sending::new(work, masked, sink))
    }
}

impl Send for Copied<'_> {
    fn send(&mut self, count: u64) {
        let this = &mut self.0;
        for _ in 0..count {
            this.connection.send(this.payload, &mut this.out).unwrap();
            this.write_from(WRITE_FROM);
        }
        this.write();
    }

    fn into_sink(self) -> Sink {
        self.0.sink
    }
}

impl<'a> Shared<'a> {
    pub fn new(work: &'a Work, masked: bool, sink: Sink) -> Self {
        let payload = Bytes::copy_from_slice(&work.payload);
        Self(Sending::new(work, masked, sink), payload)
    }
}

impl Send for Shared<'_> {
    fn send(&mut self, count: u64) {
        let this = &mut self.0;
        for _ in 0..count {
            let message = Message::Binary(self.1.clone());
            this.connection.send_owned(message, &mut this.out).unwrap();
            this.write_from(WRITE_FROM);
        }
        this.write();
    }

    fn into_sink(self) -> Sink {
        self.0.sink
    }
}

impl<'a> Vectored<'a> {
    pub fn new(work: &'a Work, masked: bool, sink: Sink) -> Self {
        Self(Sending::new(work, masked, sink))
    }
}

impl Send for Vectored<'_> {
    fn send(&mut self, count: u64) {
        let this = &mut self.0;
        for _ in 0..count {
            let mut frame = this.connection.send_borrowed(this.payload, &mut this.out).unwrap();
            let n = frame.slices().map(|slice| this.sink.write(slice)).sum();
            frame.sent(n);
        }
    }

    fn into_sink(self) -> Sink {
        self.0.sink
    }
}
