//! What counts over a whole process, whose tests take turns: the memory of both ends of a connection, and what a server
//! leaves behind in memory and descriptors.

#![cfg(feature = "tokio")]

#[path = "../support/counting.rs"]
mod counting;
#[path = "../support/mod.rs"]
mod support;

mod churn;
mod streaming;

/// One test at a time, since all are counted.
fn turn() -> std::sync::MutexGuard<'static, ()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
