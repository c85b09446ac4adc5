//! permessage-deflate (RFC 7692): settings, negotiation and the codec.
//!
//! A message is compressed as one DEFLATE stream. It ends with an empty stored block, whose last four bytes
//! are not sent (RFC 7692 §7.2.1). Only the window, which is the last bytes of the text, carries over from
//! message to message. So a connection keeps only its window between messages. A small pool of each thread
//! lends the tables of the compressor.

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
    negotiation::{accept, check, offer},
    settings::Side,
};

#[cfg(feature = "deflate")]
pub use {negotiation::Agreed, settings::Deflate};

/// A parameter of an extension as it stands in the header: its name, and its value. The value is a token that
/// may be quoted.
pub(crate) type Parameter<'a> = (&'a [u8], Option<&'a [u8]>);

/// The name of the extension.
pub(crate) const NAME: &str = "permessage-deflate";

/// The most bytes that are inflated at once, and the most that wait in a message that is received in
/// parts.
pub(crate) const CHUNK: usize = 16 << 10;

/// The result of inflating.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Inflated {
    pub(crate) consumed: usize,
    pub(crate) produced: usize,
    /// The rule that the input broke after the produced bytes.
    pub(crate) broken: Option<crate::protocol::error::Rule>,
}
