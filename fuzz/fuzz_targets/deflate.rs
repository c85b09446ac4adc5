//! Messages that are sent compressed, to bowline and to a naive inflater.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bowline_fuzz::compressed::deflate(data));
