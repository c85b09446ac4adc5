//! Compressed bytes from a peer, to an endpoint that agreed to compression.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bowline_fuzz::compressed::inflate(data));
