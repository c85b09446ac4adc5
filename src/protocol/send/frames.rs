//! Frames as they are written: masked, compressed, Close.

use alloc::vec::Vec;

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

    /// The most payload of a frame.
    #[inline]
    fn most(&self) -> usize {
        self.config.get().max_send_frame.unwrap_or(usize::MAX)
    }

    /// Whether a message of `len` bytes surely fits one frame, also if compression does nothing but add to it.
    #[inline]
    pub(super) fn fits_a_frame(&self, len: usize, is_compressed: bool) -> bool {
        // A compressor that finds nothing adds up to an eighth and some bytes, whatever its settings.
        let more = if is_compressed { len / 4 + 64 } else { 0 };
        len.saturating_add(more) <= self.most()
    }

    pub(super) fn compressed_frame(
        &mut self,
        fin: bool,
        opcode: Opcode,
        payload: &[u8],
        out: &mut SendBuf,
    ) {
        let Some(side) = self.side else {
            return;
        };
        if !self.fits_a_frame(payload.len(), true) {
            let mut compressed = Vec::new();
            self.deflating.deflate(side, payload, fin, &self.config, &mut compressed);
            self.fragments((fin, true, opcode), &compressed, payload.len(), out);
            return;
        }
        let key = self.key();
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
            let encoded = frame::encode(fin, is_marked(opcode), opcode, size, key);
            let header = encoded.bytes();
            buffer.drain(start..payload_start - header.len());
            buffer[start..start + header.len()].copy_from_slice(header);
        });
        self.count((fin, opcode), payload.len(), out.len() - before, out);
    }

    #[inline]
    pub(super) fn frame(&mut self, fin: bool, opcode: Opcode, payload: &[u8], out: &mut SendBuf) {
        if payload.len() > self.most() {
            self.fragments((fin, false, opcode), payload, payload.len(), out);
        } else {
            self.whole_frame((fin, false, opcode), payload, payload.len(), out);
        }
    }

    /// Queues what is too long for one frame. RFC 6455 §5.4: "an initial fragment with the FIN bit clear and an opcode
    /// other than 0, followed by zero or more fragments with the FIN bit clear and the opcode set to 0". `len` bytes of
    /// the program's are in `payload`.
    #[cold]
    fn fragments(
        &mut self,
        (fin, is_compressed, mut opcode): (bool, bool, Opcode),
        payload: &[u8],
        mut len: usize,
        out: &mut SendBuf,
    ) {
        let mut rest = payload;
        loop {
            let (chunk, after) = rest.split_at(rest.len().min(self.most()));
            let kind = (fin && after.is_empty(), is_compressed && is_marked(opcode), opcode);
            self.whole_frame(kind, chunk, core::mem::take(&mut len), out);
            if after.is_empty() {
                return;
            }
            (rest, opcode) = (after, Opcode::Continuation);
        }
    }

    #[inline]
    pub(super) fn whole_frame(
        &mut self,
        (fin, marked, opcode): (bool, bool, Opcode),
        payload: &[u8],
        len: usize,
        out: &mut SendBuf,
    ) {
        let key = self.key();
        let header = frame::encode(fin, marked, opcode, payload.len() as u64, key);
        out.append(|buffer| {
            // One allocation. Without it, appending would double the buffer several times.
            buffer.reserve(MAX_HEADER + payload.len());
            header.append_to(buffer);
            match key {
                Some(key) => mask::append(buffer, payload, key),
                None => buffer.extend_from_slice(payload),
            }
        });
        self.count((fin, opcode), len, header.bytes().len() + payload.len(), out);
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

/// Whether a frame of a compressed message is marked. RFC 7692 §6.1: "set the "Per-Message Compressed" bit of the first
/// frame".
fn is_marked(opcode: Opcode) -> bool {
    opcode != Opcode::Continuation
}
