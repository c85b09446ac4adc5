//! Frames as they are written: masked, compressed, Close.

use rand::Rng;

use super::{OpenFor, Sender};
use crate::memory::send_buf::SendBuf;
use crate::protocol::close::CloseCode;
use crate::protocol::deflate;
use crate::protocol::frame::{self, MAX_CONTROL, MAX_HEADER, Opcode};
use crate::protocol::mask;

impl Sender {
    /// A masking key for the next frame, or `None` for a server. RFC 6455 §5.3: "the client MUST pick a fresh
    /// masking key from the set of allowed 32-bit values."
    pub(super) fn key(&mut self) -> Option<[u8; 4]> {
        let private = self.private.as_mut().filter(|private| private.masks())?;
        Some(private.keys.next_u32().to_ne_bytes())
    }

    /// Whether this side is a client, which masks its frames (RFC 6455 §5.1).
    pub(super) fn masks(&self) -> bool {
        self.private.as_ref().is_some_and(|private| private.masks())
    }

    /// Whether a whole message is compressed: if that was agreed on, is wanted, and is worth it. RFC 7692 §6.1:
    /// "An endpoint MUST NOT set the "Per-Message Compressed" bit of control frames".
    #[inline]
    pub(super) fn compresses(&self, opcode: Opcode, len: usize) -> bool {
        self.side.is_some()
            && self.compression
            && !opcode.is_control()
            && deflate::is_worth(len, &self.config)
    }

    #[inline]
    pub(super) fn message_frame(&mut self, opcode: Opcode, payload: &[u8], out: &mut SendBuf) {
        if self.compresses(opcode, payload.len()) {
            self.compressed_frame(true, opcode, payload, out);
        } else {
            self.frame(true, opcode, payload, out);
        }
    }

    pub(super) fn compressed_frame(
        &mut self,
        fin: bool,
        opcode: Opcode,
        payload: &[u8],
        out: &mut SendBuf,
    ) {
        let key = self.key();
        let Some(side) = self.side else {
            return;
        };
        let Self { deflating, config, .. } = self;
        let before = out.len();
        out.append(|buffer| {
            let start = buffer.len();
            // The length of the header depends on that of the compressed payload, so leave room for the longest.
            buffer.extend_from_slice(&[0; MAX_HEADER]);
            let payload_start = buffer.len();
            deflating.deflate(side, payload, fin, config, buffer);
            if let Some(key) = key {
                mask::apply(&mut buffer[payload_start..], key);
            }
            let size = (buffer.len() - payload_start) as u64;
            // RFC 7692 §6.1: "set the "Per-Message Compressed" bit of the first frame".
            let first = opcode != Opcode::Continuation;
            let encoded = frame::encode(fin, first, opcode, size, key);
            let header = encoded.bytes();
            buffer.drain(start..payload_start - header.len());
            buffer[start..start + header.len()].copy_from_slice(header);
        });
        self.count((fin, opcode), payload.len(), out.len() - before, out);
    }

    #[inline]
    pub(super) fn frame(&mut self, fin: bool, opcode: Opcode, payload: &[u8], out: &mut SendBuf) {
        let key = self.key();
        let header = frame::encode(fin, false, opcode, payload.len() as u64, key);
        out.append(|buffer| {
            // One allocation. Without it, appending would double the buffer several times.
            buffer.reserve(MAX_HEADER + payload.len());
            header.append_to(buffer);
            match key {
                Some(key) => mask::append(buffer, payload, key),
                None => buffer.extend_from_slice(payload),
            }
        });
        self.count((fin, opcode), payload.len(), header.bytes().len() + payload.len(), out);
    }

    pub(super) fn close(&mut self, code: Option<CloseCode>, reason: &str, out: &mut SendBuf) {
        let mut payload = [0; MAX_CONTROL];
        let mut len = 0;
        if let Some(code) = code {
            len = 2 + reason.len();
            payload[..2].copy_from_slice(&code.get().to_be_bytes());
            payload[2..len].copy_from_slice(reason.as_bytes());
        }
        self.frame(true, Opcode::Close, &payload[..len], out);
        out.mark();
        self.count_close(code);
        self.close_sent = true;
        self.open_for = OpenFor::Pongs;
        self.set_gate();
    }
}
