//! The tokio adapter, for the tests that run over each asynchronous adapter.

#![allow(dead_code, unused_imports, reason = "each test file uses its own part of this")]

pub(crate) use bowline::tokio::*;

pub(crate) use super::stream::{Io, io, open};

/// The stream as the adapter takes it.
pub(crate) fn wrap<S>(stream: S) -> S {
    stream
}
