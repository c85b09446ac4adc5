//! What leaves when, over the tokio adapter.

#![cfg(feature = "tokio")]

mod send;
mod support;

use support::over_tokio as adapter;
