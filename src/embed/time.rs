//! The deadline of an opening handshake, on the clock of tokio.

use core::future::Future;
use core::time::Duration;

use ::tokio::time::{Instant, timeout_at};

/// A clock that starts with the handshake.
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(&self) -> Duration {
        self.0.elapsed()
    }

    /// Waits for the future. Gives `None` if the deadline comes first.
    pub(super) async fn within<F: Future>(
        &self,
        deadline: Option<Duration>,
        future: F,
    ) -> Option<F::Output> {
        match deadline {
            Some(deadline) => timeout_at(self.0 + deadline, future).await.ok(),
            None => Some(future.await),
        }
    }
}
