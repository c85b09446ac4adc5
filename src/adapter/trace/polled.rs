//! The span of an opening handshake in tasks: it is entered for the time of each poll, and never across one.

use core::future::{Future, poll_fn};
use core::pin::Pin;
use std::boxed::Box;

use super::Handshake;
use crate::adapter::Error;
use crate::handshake::Response;

impl Handshake {
    /// A client's handshake, from here to its result.
    pub(crate) async fn opening<W, F>(self, mut opening: Pin<Box<F>>) -> F::Output
    where
        F: Future<Output = Result<(W, Response), Error>>,
    {
        let result = poll_fn(|cx| self.run(|| opening.as_mut().poll(cx))).await;
        self.opened(&result);
        result
    }

    /// Polls a future within the span.
    #[cfg(feature = "tokio")]
    pub(crate) async fn within<F: Future>(&self, future: F) -> F::Output {
        let mut future = core::pin::pin!(future);
        poll_fn(|cx| self.run(|| future.as_mut().poll(cx))).await
    }
}
