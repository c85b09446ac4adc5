//! ws-tool: its blocking `FrameCodec` over its `BufStream`. `receive` lends, and `send` takes a slice.

use ws_tool::codec::{FrameCodec, FrameConfig};
use ws_tool::frame::OpCode;
use ws_tool::stream::BufStream;

use crate::common::{Receive, Send, Sink, Work};
use crate::mock::Mock;

pub struct Peer<'a> {
    codec: FrameCodec<BufStream<Mock<'a>>>,
    payload: &'a [u8],
}

impl<'a> Peer<'a> {
    fn new(mock: Mock<'a>, work: &'a Work, masked: bool) -> Self {
        let config = FrameConfig { mask_send_frame: masked, ..FrameConfig::default() };
        Self { codec: FrameCodec::new_with(BufStream::new(mock), config), payload: &work.payload }
    }

    pub fn receiver(work: &'a Work) -> Self {
        Self::new(Mock::source(work), work, false)
    }

    pub fn sender(work: &'a Work, masked: bool, sink: Sink) -> Self {
        Self::new(Mock::sink(work, sink), work, masked)
    }
}

impl Receive for Peer<'_> {
    fn receive(&mut self, count: u64, see: &mut impl FnMut(&[u8])) {
        for _ in 0..count {
            let (header, payload) = self.codec.receive().unwrap();
            assert!(matches!(header.code, OpCode::Binary | OpCode::Text));
            see(payload);
        }
    }
}

impl Send for Peer<'_> {
    fn send(&mut self, count: u64) {
        for _ in 0..count {
            self.codec.send(OpCode::Binary, self.payload).unwrap();
        }
        self.codec.flush().unwrap();
    }

    fn into_sink(self) -> Sink {
        let writer = self.codec.stream.0.into_inner().0;
        writer.into_inner().unwrap_or_else(|_| panic!("it was flushed")).sink
    }
}
