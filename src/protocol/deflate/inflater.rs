//! Inflates compressed messages, a chunk at a time (RFC 7692 §7.2.2).

use alloc::boxed::Box;
use core::fmt;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::settings::Side;
use super::window::Window;
use super::{Inflated, pool};
use crate::protocol::config::Config;
use crate::protocol::error::Rule;

/// The memory of an inflater, in bytes.
const INFLATER: usize = 46 << 10;

/// A message may have this many final blocks, in addition to one for each frame. No compressor writes more,
/// and each costs as much work as a message.
const MAX_FINAL_BLOCKS: u32 = 16;

/// Any message may inflate to this many bytes, whatever the ratio: a short message may be all zeros.
const FREE: u64 = 64 << 10;

/// What the receiving direction of a connection holds at the moment.
#[derive(Debug, Default)]
pub(crate) struct Inflating(Option<Box<Inflater>>);

/// Allocated for the first compressed message. Without context takeover it is allocated for each message.
struct Inflater {
    window: Window,
    takeover: bool,
    /// Present from the first byte of a message until the message ends or a final block does. The first byte
    /// after a final block brings it back.
    zlib: Option<Inflate>,
    final_blocks: u32,
    inflated: u64,
    frame_offset: u64,
    unmasked: usize,
}

impl Inflating {
    /// A frame of a compressed message begins; its payload is at `offset`.
    pub(crate) fn begin_frame(&mut self, peer: Side, offset: u64) {
        let inflater = self.0.get_or_insert_with(|| {
            Box::new(Inflater {
                window: Window::new(if peer.takeover { 1 << peer.window_bits } else { 0 }),
                takeover: peer.takeover,
                zlib: None,
                final_blocks: 0,
                inflated: 0,
                frame_offset: 0,
                unmasked: 0,
            })
        });
        inflater.frame_offset = offset;
    }

    /// Where the payload of the frame under way begins.
    pub(crate) fn frame_offset(&self) -> u64 {
        self.0.as_ref().map_or(0, |inflater| inflater.frame_offset)
    }

    /// How many bytes the message under way has inflated to.
    pub(crate) fn inflated(&self) -> u64 {
        self.0.as_ref().map_or(0, |inflater| inflater.inflated)
    }

    /// The memory of zlib's state, which a message under way takes in addition to its text.
    pub(crate) fn kept(&self) -> usize {
        match &self.0 {
            Some(inflater) if inflater.zlib.is_some() => INFLATER,
            _ => 0,
        }
    }

    /// How many bytes of the input are already unmasked. They are not always inflated at once.
    pub(crate) fn unmasked(&self) -> usize {
        self.0.as_ref().map_or(0, |inflater| inflater.unmasked)
    }

    pub(crate) fn set_unmasked(&mut self, n: usize) {
        if let Some(inflater) = &mut self.0 {
            inflater.unmasked = n;
        }
    }

    /// How many bytes more the message under way may inflate to, if it takes `wire` bytes on the wire.
    pub(crate) fn allowance(&self, wire: u64, config: &Config) -> u64 {
        match config.get().deflate.and_then(|settings| settings.max_ratio) {
            Some(ratio) => {
                let most = wire.saturating_mul(ratio.into()).saturating_add(FREE);
                most.saturating_sub(self.inflated())
            }
            None => u64::MAX,
        }
    }

    /// Inflates as much of `input` as `output` has room for. `frames` is how many frames the message has.
    pub(crate) fn inflate(&mut self, input: &[u8], output: &mut [u8], frames: u32) -> Inflated {
        match &mut self.0 {
            Some(inflater) => inflater.inflate(input, output, frames),
            None => Inflated::default(),
        }
    }

    /// Ends the message. It must end where a block ends.
    pub(crate) fn finish(&mut self) -> Result<(), Rule> {
        let Some(inflater) = &mut self.0 else {
            return Ok(());
        };
        let result = inflater.finish();
        if !inflater.takeover {
            self.0 = None;
        }
        result
    }
}

impl Inflater {
    fn inflate(&mut self, input: &[u8], output: &mut [u8], frames: u32) -> Inflated {
        if self.zlib.is_none() && input.is_empty() {
            return Inflated::default();
        }
        let zlib = self.zlib.get_or_insert_with(|| pool::take_inflater(&self.window));
        let (consumed, produced) = (zlib.total_in(), zlib.total_out());
        let status = zlib.decompress(input, output, InflateFlush::NoFlush);
        let consumed = (zlib.total_in() - consumed) as usize;
        let produced = (zlib.total_out() - produced) as usize;
        self.inflated += produced as u64;
        self.window.push(&output[..produced]);
        let broken = match status {
            Ok(Status::Ok | Status::BufError) => None,
            // A final block ends the text for zlib, but not the message. RFC 7692 §7.2.1: "The next DEFLATE
            // block follows the padded data if any." It starts a new text.
            Ok(Status::StreamEnd) => {
                self.zlib.take().into_iter().for_each(pool::give_back_inflater);
                self.final_blocks += 1;
                let most = MAX_FINAL_BLOCKS.saturating_add(frames);
                (self.final_blocks > most).then_some(Rule::InvalidDeflate)
            }
            Err(_) => Some(Rule::InvalidDeflate),
        };
        Inflated { consumed, produced, broken }
    }

    fn finish(&mut self) -> Result<(), Rule> {
        (self.final_blocks, self.inflated) = (0, 0);
        // Nothing came since the last end: the message is empty, or it ended with a final block.
        let Some(mut zlib) = self.zlib.take() else {
            return Ok(());
        };
        // RFC 7692 §7.2.2: "Append 4 octets of 0x00 0x00 0xff 0xff to the tail end of the payload of the
        // message." An empty final block follows. It shows whether zlib is between two blocks now.
        const END: [u8; 6] = [0x00, 0x00, 0xff, 0xff, 0x03, 0x00];
        let (consumed, produced) = (zlib.total_in(), zlib.total_out());
        let status = zlib.decompress(&END, &mut [0], InflateFlush::NoFlush);
        let consumed = zlib.total_in() - consumed;
        let produced = zlib.total_out() - produced;
        pool::give_back_inflater(zlib);
        match (status, consumed, produced) {
            // If zlib takes only four bytes, the block that the peer left open was itself a final one.
            (Ok(Status::StreamEnd), 4 | 6, 0) => Ok(()),
            _ => Err(Rule::InvalidDeflate),
        }
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater")
            .field("window", &self.window)
            .field("inflated", &self.inflated)
            .finish_non_exhaustive()
    }
}

impl Drop for Inflater {
    fn drop(&mut self) {
        self.zlib.take().into_iter().for_each(pool::give_back_inflater);
    }
}
