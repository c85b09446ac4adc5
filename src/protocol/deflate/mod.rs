//! permessage-deflate (RFC 7692): settings, negotiation and the codec.
//!
//! A message is compressed as one DEFLATE stream that ends with an empty stored block, whose last four
//! bytes are not sent (§7.2.1). Only the window, the last bytes of the text, carries over from message to
//! message. So between messages a connection keeps only those. A small pool of each thread lends the tables
//! of the compressor.

#[cfg(feature = "deflate")]
mod deflater;
#[cfg(feature = "deflate")]
mod inflater;
#[cfg(feature = "deflate")]
mod negotiation;
#[cfg(feature = "deflate")]
mod pool;
#[cfg(feature = "deflate")]
mod settings;
#[cfg(feature = "deflate")]
mod window;

#[cfg(not(feature = "deflate"))]
mod absent;

#[cfg(not(feature = "deflate"))]
pub(crate) use absent::{
    Agreed, Deflating, Inflating, PreparedFrames, Side, accept, check, is_worth, offer,
};
#[cfg(feature = "deflate")]
pub(crate) use {
    deflater::{Deflating, PreparedFrames, is_worth},
    inflater::Inflating,
    negotiation::{Agreed, accept, check, offer},
    settings::Side,
};

#[cfg(feature = "deflate")]
pub use settings::Deflate;

/// A parameter of an extension as the header has it: its name, and its value, a token that may be
/// quoted.
pub(crate) type Parameter<'a> = (&'a [u8], Option<&'a [u8]>);

/// The name of the extension.
pub(crate) const NAME: &str = "permessage-deflate";

/// The most bytes that are inflated at once, and the most that wait in a message that is received in
/// parts.
pub(crate) const CHUNK: usize = 16 << 10;

/// What inflating came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Inflated {
    pub(crate) consumed: usize,
    pub(crate) produced: usize,
    /// The rule that the input broke, after what was produced.
    pub(crate) broken: Option<crate::protocol::error::Rule>,
}
