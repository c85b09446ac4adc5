//! Frames by themselves. A program seldom needs them.

pub mod coding;
mod utf8;

use std::fmt;
use std::io::{Cursor, ErrorKind, Read, Write};
use std::str::Utf8Error;

use bowline::RecvBuf;
use bowline::protocol::{FrameHeader as Layout, mask};
use bytes::{Bytes, BytesMut};

use self::coding::{CloseCode, Control, Data, OpCode};
pub use self::utf8::Utf8Bytes;
use crate::error::{CapacityError, Error, ProtocolError, Result};

/// The code and the reason of a Close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// The code.
    pub code: CloseCode,
    /// The reason.
    pub reason: Utf8Bytes,
}

impl fmt::Display for CloseFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.code)
    }
}

/// The header of a frame, without the length.
#[allow(missing_copy_implementations)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether the frame ends its message (FIN).
    pub is_final: bool,
    /// RSV1: the message is compressed.
    pub rsv1: bool,
    /// RSV2.
    pub rsv2: bool,
    /// RSV3.
    pub rsv3: bool,
    /// The opcode.
    pub opcode: OpCode,
    /// The masking key.
    pub mask: Option<[u8; 4]>,
}

impl Default for FrameHeader {
    fn default() -> Self {
        let opcode = OpCode::Control(Control::Close);
        Self { is_final: true, rsv1: false, rsv2: false, rsv3: false, opcode, mask: None }
    }
}

impl FrameHeader {
    /// Reads a header and the length of the payload. `None`: more bytes are needed, and none were taken.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::InvalidOpcode`] for a reserved opcode.
    pub fn parse(cursor: &mut Cursor<impl AsRef<[u8]>>) -> Result<Option<(Self, u64)>> {
        let start = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
        let bytes = cursor.get_ref().as_ref().get(start..).unwrap_or_default();
        let Some((layout, size)) = Layout::decode(bytes) else {
            return Ok(None);
        };
        let header = Self::of(&layout)?;
        cursor.set_position(cursor.position() + size as u64);
        Ok(Some((header, layout.len)))
    }

    fn of(layout: &Layout) -> Result<Self> {
        let opcode = OpCode::from(layout.opcode);
        if let OpCode::Data(Data::Reserved(number)) | OpCode::Control(Control::Reserved(number)) =
            opcode
        {
            return Err(ProtocolError::InvalidOpcode(number).into());
        }
        Ok(Self {
            is_final: layout.fin,
            rsv1: layout.rsv & 4 != 0,
            rsv2: layout.rsv & 2 != 0,
            rsv3: layout.rsv & 1 != 0,
            opcode,
            mask: layout.mask,
        })
    }

    fn layout(&self, len: u64) -> Layout {
        let rsv = u8::from(self.rsv1) << 2 | u8::from(self.rsv2) << 1 | u8::from(self.rsv3);
        Layout { fin: self.is_final, rsv, opcode: self.opcode.into(), mask: self.mask, len }
    }

    /// How many bytes the header takes before a payload of this length.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self, length: u64) -> usize {
        self.layout(length).encode().len()
    }

    /// Writes the header of a payload of this length.
    ///
    /// # Errors
    ///
    /// Those of `output`.
    pub fn format(&self, length: u64, output: &mut impl Write) -> Result<()> {
        Ok(output.write_all(&self.layout(length).encode())?)
    }
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    header: FrameHeader,
    payload: Bytes,
}

impl Frame {
    /// How many bytes it takes on the wire.
    pub fn len(&self) -> usize {
        self.header.len(self.payload.len() as u64) + self.payload.len()
    }

    /// Never: a frame has a header at least.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The header.
    pub fn header(&self) -> &FrameHeader {
        &self.header
    }

    /// The header, to be changed.
    pub fn header_mut(&mut self) -> &mut FrameHeader {
        &mut self.header
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The payload, without a copy.
    pub fn into_payload(self) -> Bytes {
        self.payload
    }

    /// The payload as text, without a copy.
    ///
    /// # Errors
    ///
    /// If it is not UTF-8.
    pub fn into_text(self) -> Result<Utf8Bytes, Utf8Error> {
        self.payload.try_into()
    }

    /// The payload as text.
    ///
    /// # Errors
    ///
    /// If it is not UTF-8.
    pub fn to_text(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(&self.payload)
    }

    /// A frame with a message, or a part of one.
    pub fn message(data: impl Into<Bytes>, opcode: OpCode, is_final: bool) -> Self {
        Self::from_payload(FrameHeader { is_final, opcode, ..FrameHeader::default() }, data.into())
    }

    /// A pong.
    pub fn pong(data: impl Into<Bytes>) -> Self {
        Self::message(data, OpCode::Control(Control::Pong), true)
    }

    /// A ping.
    pub fn ping(data: impl Into<Bytes>) -> Self {
        Self::message(data, OpCode::Control(Control::Ping), true)
    }

    /// A Close.
    pub fn close(close: Option<CloseFrame>) -> Self {
        let payload = close.map(|CloseFrame { code, reason }| {
            [&u16::from(code).to_be_bytes()[..], reason.as_bytes()].concat()
        });
        Self::message(payload.unwrap_or_default(), OpCode::Control(Control::Close), true)
    }

    /// A frame of these parts.
    pub fn from_payload(header: FrameHeader, payload: Bytes) -> Self {
        Self { header, payload }
    }

    /// Writes the frame. With a masking key, it is masked.
    ///
    /// # Errors
    ///
    /// Those of `output`.
    pub fn format(self, output: &mut impl Write) -> Result<()> {
        self.header.format(self.payload.len() as u64, output)?;
        let mut payload = BytesMut::from(self.payload);
        mask(&mut payload, self.header.mask.unwrap_or_default());
        Ok(output.write_all(&payload)?)
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fin = if self.header.is_final { "the last" } else { "a" };
        write!(f, "{fin} frame of {}, {} bytes of payload", self.header.opcode, self.payload.len())
    }
}

/// Frames on a stream, without the rules of a connection.
#[derive(Debug)]
pub struct FrameSocket<Stream> {
    stream: Stream,
    input: RecvBuf,
    /// Read, and not yet given.
    read: BytesMut,
    out: Vec<u8>,
}

impl<Stream> FrameSocket<Stream> {
    /// Frames on this stream.
    pub fn new(stream: Stream) -> Self {
        Self::from_partially_read(stream, Vec::new())
    }

    /// The same, where some bytes were read already.
    pub fn from_partially_read(stream: Stream, part: Vec<u8>) -> Self {
        let (read, out) = (BytesMut::from(&part[..]), Vec::new());
        Self { stream, input: RecvBuf::new(), read, out }
    }

    /// The stream, and the bytes that were read and not given.
    pub fn into_inner(self) -> (Stream, BytesMut) {
        (self.stream, self.read)
    }

    /// The stream.
    pub fn get_ref(&self) -> &Stream {
        &self.stream
    }

    /// The stream. Reading from it, or writing to it, tears frames.
    pub fn get_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }
}

impl<Stream: Read> FrameSocket<Stream> {
    /// The next frame, unmasked. `None`: the stream ended between two frames, or in one.
    ///
    /// # Errors
    ///
    /// A payload of more than `max_size` bytes, a reserved opcode, and the errors of the stream.
    pub fn read(&mut self, max_size: Option<usize>) -> Result<Option<Frame>> {
        loop {
            if let Some((layout, size)) = Layout::decode(&self.read) {
                let max_size = max_size.unwrap_or(usize::MAX);
                let len = usize::try_from(layout.len).unwrap_or(usize::MAX);
                if len > max_size {
                    return Err(CapacityError::MessageTooLong { size: len, max_size }.into());
                }
                let header = FrameHeader::of(&layout)?;
                if self.read.len() - size >= len {
                    let _ = self.read.split_to(size);
                    let mut payload = self.read.split_to(len);
                    mask(&mut payload, layout.mask.unwrap_or_default());
                    return Ok(Some(Frame::from_payload(header, payload.freeze())));
                }
            }
            match self.stream.read(self.input.space()) {
                Ok(0) => return Ok(None),
                Ok(n) => {
                    self.input.filled(n);
                    self.read.extend_from_slice(self.input.unread());
                    self.input.discard();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl<Stream: Write> FrameSocket<Stream> {
    /// Writes a frame and flushes.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn send(&mut self, frame: Frame) -> Result<()> {
        self.write(frame)?;
        self.flush()
    }

    /// Queues a frame, and writes what is queued.
    ///
    /// # Errors
    ///
    /// Those of the stream. The frame stays queued then.
    pub fn write(&mut self, frame: Frame) -> Result<()> {
        frame.format(&mut self.out)?;
        self.write_out()
    }

    /// Writes what is queued, and flushes the stream.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn flush(&mut self) -> Result<()> {
        self.write_out()?;
        Ok(self.stream.flush()?)
    }

    fn write_out(&mut self) -> Result<()> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(0) => return Err(Error::Io(ErrorKind::WriteZero.into())),
                Ok(n) => drop(self.out.drain(..n)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
