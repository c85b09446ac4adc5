//! tokio-tungstenite's names on bowline, for `[patch.crates-io]`: see the package `bowline-tokio-tungstenite`.

pub use bowline_tokio_tungstenite::*;
