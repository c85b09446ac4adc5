//! Offers and answers of compression.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bowline_fuzz::extensions::extensions(data));
