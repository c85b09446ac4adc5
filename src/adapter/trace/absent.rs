//! The same functions without the feature `tracing`. They do nothing, and the types take no room.

use core::net::SocketAddr;
use core::time::Duration;

use crate::adapter::Error;
use crate::handshake::{ClientRequest, Request, Response};
use crate::protocol::error::End;
use crate::protocol::recv::Receiver;
use crate::protocol::stats::Stats;

#[derive(Clone, Debug)]
pub(crate) struct Handshake;

impl Handshake {
    #[inline(always)]
    pub(crate) fn client(_: &ClientRequest) -> Self {
        Self
    }

    #[cfg(feature = "http2")]
    #[inline(always)]
    pub(crate) fn client_over_http2(_: &ClientRequest) -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn server() -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn run<T>(&self, call: impl FnOnce() -> T) -> T {
        call()
    }

    #[cfg(feature = "tokio")]
    #[inline(always)]
    pub(crate) fn within<F: Future>(&self, future: F) -> impl Future<Output = F::Output> {
        future
    }

    #[inline(always)]
    pub(crate) fn asked(&self, _: &Request) {}

    #[inline(always)]
    pub(crate) fn peer(&self, _: impl FnOnce() -> Option<SocketAddr>) {}

    #[inline(always)]
    pub(crate) fn answered(&self, _: u16) {}

    #[inline(always)]
    pub(crate) fn failed(&self, _: &Error) {}

    #[inline(always)]
    pub(crate) fn opened<W>(&self, _: &Result<(W, Response), Error>) {}

    #[cfg(any(feature = "tokio", feature = "futures-io"))]
    #[inline(always)]
    pub(crate) fn opening<F: Future>(self, opening: F) -> F {
        opening
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened;

impl Opened {
    #[inline(always)]
    pub(crate) fn not_yet() -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn begin(&mut self, _: impl FnOnce() -> Duration) {}

    #[inline(always)]
    pub(crate) fn end(
        &mut self,
        _: impl FnOnce() -> Duration,
        _: &Receiver,
        _: Option<&End>,
        _: impl FnOnce(Duration) -> Option<Stats>,
    ) {
    }
}
