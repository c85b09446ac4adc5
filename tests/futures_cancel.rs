//! Futures that are dropped before they are done, over the adapter for `futures-io`.

#![cfg(all(feature = "tokio", feature = "futures-io"))]

mod cancel;
mod support;

use support::over_futures as adapter;
