//! What the asynchronous adapters share.

pub(crate) mod waiters;
