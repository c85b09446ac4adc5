//! The answer of an HTTP proxy to CONNECT. It means the same wherever it is cut.
#![no_main]

mod heads;
mod tunnels;

use heads::Input;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some(input) = Input::new(data) {
        tunnels::check("http://user:secret@proxy", &input);
    }
});
