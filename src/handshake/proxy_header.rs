//! The header that a load balancer puts before a connection: the PROXY protocol, versions 1 and 2.
//!
//! It says whose connection it passes on. Its document is "The PROXY protocol", of HAProxy.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

/// What version 1 begins with.
const TEXT: &[u8] = b"PROXY ";

/// What version 2 begins with.
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The shortest line: `PROXY UNKNOWN` and its end.
const SHORTEST: usize = 15;

/// The longest line. "a 107-byte buffer is always enough to store all the line".
const LONGEST_LINE: usize = 107;

/// Version 2 up to its length.
const FIXED: usize = 16;

/// The most bytes after that. The addresses take at most 216. Other fields may follow, such as those of TLS.
const LONGEST_REST: usize = 4 << 10;

/// Whose connection a load balancer passes on: the header of the PROXY protocol, versions 1 and 2.
///
/// ```
/// use bowline::handshake::ProxyHeader;
///
/// let bytes = b"PROXY TCP4 192.0.2.7 198.51.100.1 40312 443\r\nGET /chat HTTP/1.1\r\n";
/// let (header, len) = ProxyHeader::decode(bytes)?.expect("it is whole");
/// assert_eq!(header.source(), Some("192.0.2.7:40312".parse()?));
/// assert!(bytes[len..].starts_with(b"GET"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Anybody who can connect can send such a header. So expect it only where nobody but the load balancer can. And expect
/// it from every connection there: the document forbids to guess whether there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProxyHeader {
    ends: Option<(SocketAddr, SocketAddr)>,
}

/// Why bytes are no header of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyHeaderError {
    /// They begin in another way. Perhaps the connection does not come from the load balancer.
    Signature,
    /// An address, a port or a length is wrong, or something is missing.
    Malformed,
    /// A version or a command that does not exist.
    Version,
    /// Version 1 with more than 107 bytes, or version 2 with more than 4,112.
    TooLong,
}

impl ProxyHeader {
    /// Reads the header at the start of `bytes`, and gives its length. `None`: read more, at least
    /// [`missing`](Self::missing).
    ///
    /// # Errors
    ///
    /// As soon as the bytes show it. There is no answer to that: drop the connection.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, ProxyHeaderError> {
        if starts(bytes, TEXT) {
            text(bytes)
        } else if starts(bytes, BINARY) {
            binary(bytes)
        } else {
            Err(ProxyHeaderError::Signature)
        }
    }

    /// How many bytes more the header has for certain, if `bytes` are its start. Whoever reads only these takes nothing
    /// of what follows it, such as a TLS handshake. It is 0 once the header is whole.
    pub fn missing(bytes: &[u8]) -> usize {
        if bytes.len() < SHORTEST {
            return SHORTEST - bytes.len();
        }
        if starts(bytes, TEXT) {
            return match bytes {
                [.., b'\r', b'\n'] => 0,
                [.., b'\r'] => 1,
                _ => 2,
            };
        }
        let len = match bytes.get(FIXED - 2..FIXED) {
            Some(len) => FIXED + usize::from(u16::from_be_bytes([len[0], len[1]])),
            None => FIXED,
        };
        len.saturating_sub(bytes.len())
    }

    /// Who connected to the load balancer. `None` if it does not say: it connected by itself, to see whether the server
    /// is there, or its client has no IP address.
    pub fn source(&self) -> Option<SocketAddr> {
        self.ends.map(|(source, _)| source)
    }

    /// What the client connected to.
    pub fn destination(&self) -> Option<SocketAddr> {
        self.ends.map(|(_, destination)| destination)
    }
}

/// Whether `bytes` begin with `prefix`, as far as they have come.
fn starts(bytes: &[u8], prefix: &[u8]) -> bool {
    let len = bytes.len().min(prefix.len());
    bytes[..len] == prefix[..len]
}

/// Version 1: one line.
fn text(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyHeaderError> {
    let bytes = &bytes[..bytes.len().min(LONGEST_LINE)];
    let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else {
        return if bytes.len() == LONGEST_LINE { Err(ProxyHeaderError::TooLong) } else { Ok(None) };
    };
    let line = bytes[..end].strip_suffix(b"\r").ok_or(ProxyHeaderError::Malformed)?;
    let fields = line.strip_prefix(TEXT).ok_or(ProxyHeaderError::Malformed)?;
    let fields = core::str::from_utf8(fields).map_err(|_| ProxyHeaderError::Malformed)?;
    let ends = ends_of(fields).ok_or(ProxyHeaderError::Malformed)?;
    Ok(Some((ProxyHeader { ends }, end + 1)))
}

/// The family, both addresses and both ports.
fn ends_of(fields: &str) -> Option<Option<(SocketAddr, SocketAddr)>> {
    let mut fields = fields.split(' ');
    let address: fn(&str) -> Option<IpAddr> = match fields.next()? {
        "TCP4" => |text| Ipv4Addr::from_str(text).ok().map(IpAddr::V4),
        "TCP6" => |text| Ipv6Addr::from_str(text).ok().map(IpAddr::V6),
        // "the receiver must ignore anything presented before the CRLF".
        "UNKNOWN" => return Some(None),
        _ => return None,
    };
    let (source, destination) = (address(fields.next()?)?, address(fields.next()?)?);
    let (from, to) = (port(fields.next()?)?, port(fields.next()?)?);
    if fields.next().is_some() {
        return None;
    }
    Some(Some((SocketAddr::new(source, from), SocketAddr::new(destination, to))))
}

/// "represented as a decimal integer in the range [0..65535]"; "the leading zero is not accepted".
fn port(digits: &str) -> Option<u16> {
    let is_plain = digits == "0" || !digits.starts_with(['0', '+']);
    digits.parse().ok().filter(|_| is_plain)
}

/// Version 2: a fixed part, addresses, and fields that are skipped.
fn binary(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyHeaderError> {
    // The highest four bits are the version, the lowest four the command: LOCAL or PROXY.
    let is_local = match bytes.get(12) {
        None => return Ok(None),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Err(ProxyHeaderError::Version),
    };
    let Some(&[family, high, low]) = bytes.get(13..FIXED).and_then(<[u8]>::first_chunk) else {
        return Ok(None);
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    // TCP over IPv4 or IPv6. Other families have no address that is of use here, and have to be accepted.
    let size = match family {
        0x11 => 4,
        0x21 => 16,
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => 0,
        _ => return Err(ProxyHeaderError::Malformed),
    };
    let has_address = !is_local && size > 0;
    if has_address && len < 2 * size + 4 {
        return Err(ProxyHeaderError::Malformed);
    }
    if len > LONGEST_REST {
        return Err(ProxyHeaderError::TooLong);
    }
    let Some(rest) = bytes.get(FIXED..FIXED + len) else {
        return Ok(None);
    };
    let ends = has_address.then(|| {
        let (source, after) = rest.split_at(size);
        let (destination, ports) = after.split_at(size);
        let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
        (SocketAddr::new(ip(source), port(0)), SocketAddr::new(ip(destination), port(2)))
    });
    Ok(Some((ProxyHeader { ends }, FIXED + len)))
}

/// An address of 4 or 16 bytes.
fn ip(bytes: &[u8]) -> IpAddr {
    match <[u8; 4]>::try_from(bytes) {
        Ok(four) => four.into(),
        Err(_) => <[u8; 16]>::try_from(bytes).map_or(Ipv6Addr::UNSPECIFIED.into(), IpAddr::from),
    }
}

impl fmt::Display for ProxyHeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signature => {
                "the connection does not begin with a header of the PROXY protocol: is it from the load balancer?"
            }
            Self::Malformed => "malformed header of the PROXY protocol",
            Self::Version => "unknown version or command of the PROXY protocol",
            Self::TooLong => {
                "header of the PROXY protocol with more than 107 bytes (version 1) or 4,112 (version 2)"
            }
        })
    }
}

impl core::error::Error for ProxyHeaderError {}
