//! Compressed bytes from a peer, to an end that agreed to them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bowline_fuzz::compressed::inflate(data));
