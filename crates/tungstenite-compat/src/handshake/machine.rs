//! What holds the stream during a handshake.

use std::io::{Read, Write};

/// The stream of a handshake that has begun.
#[derive(Debug)]
pub struct HandshakeMachine<Stream> {
    stream: Stream,
}

impl<Stream> HandshakeMachine<Stream> {
    pub(super) fn new(stream: Stream) -> Self
    where
        Stream: Read + Write,
    {
        Self { stream }
    }

    /// The stream.
    pub fn get_ref(&self) -> &Stream {
        &self.stream
    }

    /// The stream. Reading from it, or writing to it, tears the handshake.
    pub fn get_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    pub(super) fn into_inner(self) -> Stream {
        self.stream
    }
}
