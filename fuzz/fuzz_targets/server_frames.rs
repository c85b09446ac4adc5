//! Bytes from a client, to a server.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bowline_fuzz::frames(bowline::Role::Server, data));
