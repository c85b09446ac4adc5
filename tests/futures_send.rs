//! What leaves when, over the adapter for `futures-io`.

#![cfg(all(feature = "tokio", feature = "futures-io"))]

mod send;
mod support;

use support::over_futures as adapter;
