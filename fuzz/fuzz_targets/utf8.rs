//! Text in one frame and in fragments, against the standard library.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bowline_fuzz::utf8(data));
