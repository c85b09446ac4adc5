//! Halves for two tasks, over the tokio adapter.

#![cfg(feature = "tokio")]

mod split;
mod support;

use support::over_tokio as adapter;
