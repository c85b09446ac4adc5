//! soketto: `receive_data` into a vector that is used again, and `send_binary`. It has no buffers: its examples put a
//! `BufReader` and a `BufWriter` around the stream.

use futures_util::io::{BufReader, BufWriter};
use soketto::connection::{Builder, Mode};

use crate::common::{Receive, Send, Sink, Work};
use crate::mock::{Handle, Mock, block_on};

type Stream<'a> = BufReader<BufWriter<Handle<'a>>>;

pub struct Peer<'a> {
    sender: soketto::Sender<Stream<'a>>,
    receiver: soketto::Receiver<Stream<'a>>,
    message: Vec<u8>,
    payload: &'a [u8],
    /// It does not give its stream back.
    stream: Handle<'a>,
}

impl<'a> Peer<'a> {
    fn new(mock: Mock<'a>, work: &'a Work, mode: Mode) -> Self {
        let stream = Handle::new(mock);
        let buffered = BufReader::new(BufWriter::new(stream.clone()));
        let (sender, receiver) = Builder::new(buffered, mode).finish();
        Self { sender, receiver, message: Vec::new(), payload: &work.payload, stream }
    }

    pub fn receiver(work: &'a Work) -> Self {
        Self::new(Mock::source(work), work, Mode::Server)
    }

    pub fn sender(work: &'a Work, masked: bool, sink: Sink) -> Self {
        let mode = if masked { Mode::Client } else { Mode::Server };
        Self::new(Mock::sink(work, sink), work, mode)
    }
}

impl Receive for Peer<'_> {
    fn receive(&mut self, count: u64, see: &mut impl FnMut(&[u8])) {
        block_on(async {
            for _ in 0..count {
                self.message.clear();
                self.receiver.receive_data(&mut self.message).await.unwrap();
                see(&self.message);
            }
        });
    }
}

impl Send for Peer<'_> {
    fn send(&mut self, count: u64) {
        block_on(async {
            for _ in 0..count {
                self.sender.send_binary(self.payload).await.unwrap();
            }
            self.sender.flush().await.unwrap();
        });
    }

    fn into_sink(self) -> Sink {
        drop((self.sender, self.receiver));
        self.stream.into_inner().sink
    }
}
