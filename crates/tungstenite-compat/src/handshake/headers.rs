//! Limits of a head.

/// The most header lines of a head.
pub const MAX_HEADERS: usize = 124;
