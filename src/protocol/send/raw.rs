//! Frames that the program makes itself (RFC 6455 §5.2 to §5.5).

use super::Sender;
use crate::memory::send_buf::SendBuf;
use crate::protocol::close::CloseCode;
use crate::protocol::error::{Refusal, Refused, SendError};
use crate::protocol::frame::{MAX_CONTROL, Opcode};
use crate::protocol::recv::close_payload;

/// The program asks for a frame that may not be sent.
const NOT_SENT: Refused = Refused::Plain(Refusal::Frame);

impl Sender {
    /// Queues one frame as the program made it, for programs that choose fragments themselves. `opcode` is that of RFC
    /// 6455 §5.2. Messages are better sent with [`send`](Self::send). The frame is masked by a client, never compressed,
    /// and never cut at [`Config::max_send_frame`](crate::Config::max_send_frame).
    ///
    /// The order of fragments and the rules of control frames hold. A text in one frame has to be UTF-8. In fragments,
    /// which may be cut inside of a character, nobody checks it but the peer.
    ///
    /// ```
    /// use bowline::{Config, Connection, SendBuf};
    /// let mut server = Connection::server(Config::default());
    /// let mut out = SendBuf::new();
    /// server.send_frame(0x1, false, b"Hel", &mut out)?;
    /// server.send_frame(0x0, true, b"lo", &mut out)?;
    /// assert_eq!(out.pending(), b"\x01\x03Hel\x80\x02lo");
    /// # Ok::<(), bowline::SendError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The [`Refusal`](crate::Refusal), for example [`Refusal::Frame`](crate::Refusal::Frame); then nothing was queued.
    pub fn send_frame(
        &mut self,
        opcode: u8,
        fin: bool,
        payload: &[u8],
        out: &mut SendBuf,
    ) -> Result<(), SendError> {
        let opcode = Opcode::exactly(opcode).ok_or(NOT_SENT)?;
        self.has_room(payload.len(), out)?;
        self.check_frame(opcode, fin, payload)?;
        if opcode == Opcode::Close {
            let (code, reason) = close_payload(payload).map_err(|_| NOT_SENT)?;
            return self.start_close(code.unwrap_or(CloseCode::NO_STATUS), &reason, out);
        }
        self.afford(payload.len(), out)?;
        if !opcode.is_control() {
            self.open_compressed = false;
            self.open = if fin { None } else { self.open.or(Some(opcode)) };
            self.set_gate();
        }
        self.whole_frame((fin, false, opcode), payload, payload.len(), out);
        Ok(())
    }

    fn check_frame(&self, opcode: Opcode, fin: bool, payload: &[u8]) -> Result<(), Refused> {
        match (opcode, self.open) {
            // RFC 6455 §5.5: "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be
            // fragmented."
            (Opcode::Ping | Opcode::Pong | Opcode::Close, _) if !fin => Err(NOT_SENT),
            (Opcode::Ping | Opcode::Pong | Opcode::Close, _) if payload.len() > MAX_CONTROL => {
                Err(Refused::ControlTooLong(Refused::number(payload.len())))
            }
            // RFC 6455 §5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer".
            (Opcode::Close, _) if payload.len() == 1 => Err(NOT_SENT),
            // RFC 6455 §5.4: "The fragments of one message MUST NOT be interleaved between the fragments of another".
            (Opcode::Continuation, None) => Err(Refused::PartMismatch),
            (Opcode::Text | Opcode::Binary, Some(_)) => Err(Refused::MessageOpen),
            // The rest of a compressed stream is the compressor's.
            (Opcode::Continuation, Some(_)) if self.open_compressed => Err(Refused::PartMismatch),
            // RFC 6455 §5.6: "The "Payload data" is text data encoded as UTF-8."
            (Opcode::Text, None) if fin && core::str::from_utf8(payload).is_err() => Err(NOT_SENT),
            _ => Ok(()),
        }
    }
}
