//! The answers of a SOCKS proxy. They mean the same wherever they are cut.
#![no_main]

mod heads;
mod tunnels;

use heads::Input;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&kind, data)) = data.split_first() else {
        return;
    };
    if let Some(input) = Input::new(data) {
        let proxies = ["socks5://proxy", "socks5h://user:secret@proxy", "socks4a://user@proxy"];
        tunnels::check(proxies[usize::from(kind) % proxies.len()], &input);
    }
});
