//! Compresses messages (RFC 7692 §7.2.1).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use std::sync::OnceLock;

use bytes::Bytes;

use zlib_rs::{Deflate as Zlib, DeflateFlush};

use super::CHUNK;
use super::pool::{self, Compressor, Shape, Ticket};
use super::settings::Side;
use super::window::Window;
use crate::protocol::config::Config;

/// The end of a flush, which is the rest of an empty stored block. RFC 7692 §7.2.1: "Remove 4 octets (that
/// are 0x00 0x00 0xff 0xff) from the tail end."
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// What the sending direction of a connection holds at the moment.
#[derive(Debug, Default)]
pub(crate) struct Deflating(Option<Box<Deflater>>);

/// Allocated for the first compressed message. Without context takeover it is allocated for each message.
struct Deflater {
    window: Window,
    /// Names the compressor that was used last.
    ticket: Option<Ticket>,
    /// Present while a message that is sent in parts is open.
    compressor: Option<Compressor>,
}

/// The compressed frames of a message that is sent on many connections: one for each size of window,
/// from 8 bits on.
#[derive(Default)]
pub(crate) struct PreparedFrames([OnceLock<Bytes>; 8]);

impl PreparedFrames {
    pub(crate) fn get(&self, side: Side, encode: impl FnOnce() -> Bytes) -> Bytes {
        let index = usize::from(side.window_bits.clamp(8, 15) - 8);
        self.0[index].get_or_init(encode).clone()
    }
}

/// Whether it is worth it to compress a message of this length.
pub(crate) fn is_worth(len: usize, config: &Config) -> bool {
    config.get().deflate.is_some_and(|settings| len >= settings.threshold)
}

impl Deflating {
    /// Appends the next part of the message to `out`, compressed and flushed. So the peer can inflate all of it.
    pub(crate) fn deflate(
        &mut self,
        side: Side,
        payload: &[u8],
        last: bool,
        config: &Config,
        out: &mut Vec<u8>,
    ) {
        let deflater = self.for_message(side);
        if !payload.is_empty() {
            let compressor = deflater.compressor.get_or_insert_with(|| {
                let shape = Shape::new(side, config);
                pool::take_compressor(shape, deflater.ticket.take(), &deflater.window)
            });
            deflater.window.push(payload);
            flush(&mut compressor.zlib, payload, out);
            if last {
                debug_assert!(out.ends_with(&TAIL));
                out.truncate(out.len() - TAIL.len());
            }
        } else if last {
            // RFC 7692 §7.2.3.6: when no data is left, "an empty uncompressed DEFLATE block can be built and
            // used for this purpose". It is one byte.
            out.push(0);
        }
        if last {
            if let Some(compressor) = deflater.compressor.take() {
                deflater.ticket = pool::give_back_compressor(compressor, side.takeover);
            }
            if !side.takeover {
                self.0 = None;
            }
        }
    }

    /// Appends a message that refers to no earlier one. It suits any connection with this size of window.
    pub(crate) fn deflate_alone(side: Side, payload: &[u8], config: &Config, out: &mut Vec<u8>) {
        let side = Side { takeover: false, ..side };
        Self::default().deflate(side, payload, true, config, out);
    }

    /// Tells that a message was sent that had been compressed alone. The peer has it in its window now.
    pub(crate) fn sent_alone(&mut self, side: Side, payload: &[u8]) {
        if side.takeover {
            let deflater = self.for_message(side);
            deflater.window.push(payload);
            // The compressor that was used last has not seen it.
            deflater.ticket = None;
        }
    }

    fn for_message(&mut self, side: Side) -> &mut Deflater {
        self.0.get_or_insert_with(|| {
            let window = Window::new(if side.takeover { 1 << side.window_bits } else { 0 });
            Box::new(Deflater { window, ticket: None, compressor: None })
        })
    }
}

/// Compresses all of `input` and flushes.
fn flush(zlib: &mut Zlib, mut input: &[u8], out: &mut Vec<u8>) {
    // Most messages shrink to less than half.
    let mut room = (input.len() / 2).clamp(64, CHUNK);
    loop {
        let len = out.len();
        out.resize(len + room, 0);
        let (consumed, produced) = (zlib.total_in(), zlib.total_out());
        let status = zlib.compress(input, &mut out[len..], DeflateFlush::SyncFlush);
        let produced = (zlib.total_out() - produced) as usize;
        input = &input[(zlib.total_in() - consumed) as usize..];
        out.truncate(len + produced);
        // If room is left, everything is written.
        if produced < room || status.is_err() {
            debug_assert!(input.is_empty() && status.is_ok());
            return;
        }
        room = CHUNK;
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater").field("window", &self.window).finish_non_exhaustive()
    }
}

impl Drop for Deflater {
    fn drop(&mut self) {
        if let Some(compressor) = self.compressor.take() {
            pool::give_back_compressor(compressor, false);
        }
    }
}
