//! tungstenite's names on bowline, for `[patch.crates-io]`: see the package `bowline-tungstenite`.

pub use bowline_tungstenite::*;
