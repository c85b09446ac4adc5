//! The opening handshake over the tokio adapter.

#![cfg(feature = "tokio")]

mod opening;
mod support;

use std::future::Future;
use std::time::Duration;

use support::over_tokio as adapter;

/// On a paused clock: nobody waits.
fn within_two_seconds<F: Future>(future: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(2), future).await.expect("it ends after a second")
    })
}
