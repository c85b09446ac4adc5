//! The header of the PROXY protocol. It means the same however it is cut, and whoever reads only what is missing reads
//! nothing of what follows it.
#![no_main]

use bowline::handshake::ProxyHeader;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let whole = ProxyHeader::decode(data);
    // By what is missing.
    let mut len = 0;
    let read = loop {
        let bytes = &data[..len];
        match ProxyHeader::decode(bytes) {
            Ok(None) => {}
            decided => break decided,
        }
        let missing = ProxyHeader::missing(bytes);
        assert!(missing > 0, "nothing is missing, and it is not whole");
        if len + missing > data.len() {
            break Ok(None);
        }
        len += missing;
    };
    match (whole, read) {
        (Ok(Some((header, size))), read) => {
            assert_eq!(read, Ok(Some((header, size))));
            assert_eq!(len, size, "too much was read");
            assert_eq!(ProxyHeader::missing(&data[..size]), 0);
        }
        // An error may show before all that is missing was read.
        (Err(error), Err(other)) => assert_eq!(error, other),
        (Err(_), other) => assert_eq!(other, Ok(None)),
        (Ok(None), other) => assert_eq!(other, Ok(None)),
    }
    // Byte by byte, no decision is taken back.
    let mut before = Ok(None);
    for len in 0..=data.len().min(600) {
        let now = ProxyHeader::decode(&data[..len]);
        if before != Ok(None) {
            assert_eq!(now, before, "after {len} bytes");
        }
        before = now;
    }
});
