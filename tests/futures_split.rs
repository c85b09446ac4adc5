//! Halves for two tasks, over the adapter for `futures-io`.

#![cfg(all(feature = "tokio", feature = "futures-io"))]

mod split;
mod support;

use support::over_futures as adapter;
