//! The header that a load balancer puts before a connection.

use bowline::handshake::{ProxyHeader, ProxyHeaderError};
use std::net::SocketAddr;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2 with this command, family and rest.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &len, rest].concat()
}

fn ipv4(more: &[u8]) -> Vec<u8> {
    [&[192, 0, 2, 7, 198, 51, 100, 1, 0x9D, 0x78, 0x01, 0xBB][..], more].concat()
}

fn address(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

/// Reads as an adapter does: never more than is certainly there. Gives the header and how much was read.
fn careful(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyHeaderError> {
    let mut read = 0;
    loop {
        if let Some((header, len)) = ProxyHeader::decode(&bytes[..read])? {
            assert_eq!(len, read, "it read more than the header");
            return Ok(Some((header, read)));
        }
        let missing = ProxyHeader::missing(&bytes[..read]);
        assert!(missing > 0);
        read += missing;
        if read > bytes.len() {
            return Ok(None);
        }
    }
}

#[test]
fn a_header_says_who_connected() {
    let ipv6 =
        [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1], &[0; 15], &[1], &[0, 80, 1, 187]].concat();
    let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
    assert_eq!(long.len(), 107);
    let headers: [(&[u8], Option<SocketAddr>, Option<SocketAddr>); 11] = [
        (
            b"PROXY TCP4 192.0.2.7 198.51.100.1 40312 443\r\n",
            address("192.0.2.7:40312"),
            address("198.51.100.1:443"),
        ),
        (
            b"PROXY TCP6 2001:db8::1 ::1 0 65535\r\n",
            address("[2001:db8::1]:0"),
            address("[::1]:65535"),
        ),
        (b"PROXY UNKNOWN\r\n", None, None),
        (b"PROXY UNKNOWN ff::1 ff::2 1 2\r\n", None, None),
        (long.as_bytes(), None, None),
        (&binary(0x21, 0x11, &ipv4(b"")), address("192.0.2.7:40312"), address("198.51.100.1:443")),
        // Other fields follow the addresses.
        (
            &binary(0x21, 0x11, &ipv4(b"\x04\0\x02hi")),
            address("192.0.2.7:40312"),
            address("198.51.100.1:443"),
        ),
        (&binary(0x21, 0x21, &ipv6), address("[2001:db8::1]:80"), address("[::1]:443")),
        // The load balancer's own connection: what the family says does not count.
        (&binary(0x20, 0x11, b""), None, None),
        (&binary(0x21, 0x00, b"\x04\0\0"), None, None),
        (&binary(0x21, 0x31, &[0; 216]), None, None),
    ];
    for (bytes, source, destination) in headers {
        let (header, len) = ProxyHeader::decode(bytes).unwrap().expect("it is whole");
        assert_eq!(
            (header.source(), header.destination(), len),
            (source, destination, bytes.len())
        );
        // With the bytes that follow, and without reading any of them.
        let more = [bytes, b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(ProxyHeader::decode(&more), Ok(Some((header, len))));
        assert_eq!(careful(&more), Ok(Some((header, len))));
        // Byte by byte.
        for end in 0..bytes.len() {
            assert_eq!(ProxyHeader::decode(&bytes[..end]), Ok(None), "{end} of {bytes:?}");
            assert!(ProxyHeader::missing(&bytes[..end]) <= bytes.len() - end);
        }
    }
}

#[test]
fn what_is_no_header_is_refused_at_its_first_wrong_byte() {
    use ProxyHeaderError::*;
    let long = [b"PROXY UNKNOWN ".as_slice(), &[b'f'; 93]].concat();
    let cases: [(&[u8], ProxyHeaderError); 21] = [
        (b"G", Signature),
        (b"PROXZ", Signature),
        (b"p", Signature),
        (b"\x16", Signature),
        (b"\r\n\r\n\0\r\nQUIX", Signature),
        (&binary(0x11, 0x11, b"")[..13], Version),
        (&binary(0x22, 0x11, b"")[..13], Version),
        (&binary(0x21, 0x41, b""), Malformed),
        (&binary(0x21, 0x13, b""), Malformed),
        (&binary(0x21, 0x11, &ipv4(b"")[..11])[..16], Malformed),
        (&binary(0x21, 0x21, &[0; 35])[..16], Malformed),
        (&binary(0x21, 0x11, &[0; 4097])[..16], TooLong),
        (&long, TooLong),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 40312 443\n", Malformed),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 40312\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 40312 443 1\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 40312 65536\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 040 443\r\n", Malformed),
        (b"PROXY TCP4 ::1 ::1 1 2\r\n", Malformed),
        (b"PROXY TCP6 192.0.2.7 192.0.2.7 1 2\r\n", Malformed),
        (b"PROXY UDP4 192.0.2.7 192.0.2.7 1 2\r\n", Malformed),
    ];
    for (bytes, error) in cases {
        assert_eq!(ProxyHeader::decode(bytes), Err(error), "{bytes:?}");
        assert_eq!(ProxyHeader::decode(&bytes[..bytes.len() - 1]), Ok(None), "{bytes:?}");
    }
}
