//! The tokio adapter, for the tests that run over each asynchronous adapter.

#![allow(dead_code, unused_imports, reason = "each test file uses its own part of this")]

use std::future::Future;
use std::time::Duration;

pub(crate) use bowline::tokio::*;
use bowline::{Config, Role};
use tokio::runtime::{Builder, Handle, Runtime};

use super::stream::{self, Far};

pub(crate) type Io = stream::Io;

std::thread_local! {
    /// One for each thread that tests, until the process ends: timers outlive the call that started them. The clock is
    /// the real one.
    static RUNTIME: &'static Runtime = Box::leak(Box::new(runtime()));
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Makes this thread one that timers can be started on.
fn enter() {
    if Handle::try_current().is_err() {
        std::mem::forget(RUNTIME.with(|runtime| runtime.enter()));
    }
}

/// The stream as the adapter takes it.
pub(crate) fn wrap<S>(stream: S) -> S {
    enter();
    stream
}

pub(crate) fn io() -> (Io, Far) {
    enter();
    stream::io()
}

/// A WebSocket over such a stream.
pub(crate) fn open(role: Role, config: &Config) -> (WebSocket<Io>, Far) {
    enter();
    stream::open(role, config)
}

/// Runs on tokio, and fails instead of waiting for ever.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| *runtime).block_on(async {
        tokio::time::timeout(super::LONG, future).await.expect("it waits for ever")
    })
}

/// On a paused clock: nobody waits.
pub(crate) fn within_two_seconds<F: Future>(future: F) -> F::Output {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        tokio::time::timeout(Duration::from_secs(2), future).await.expect("it ends after a second")
    })
}
