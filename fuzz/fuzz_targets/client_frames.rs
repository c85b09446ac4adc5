//! Bytes from a server, to a client.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bowline_fuzz::frames(bowline::Role::Client, data));
