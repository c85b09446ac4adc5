//! Futures that are dropped before they are done, over the tokio adapter.

#![cfg(feature = "tokio")]

mod cancel;
mod support;

use support::over_tokio as adapter;
