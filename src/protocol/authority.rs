//! Hosts and ports as HTTP writes them (RFC 9110 §7.2), and how two of them compare.

use core::net::Ipv6Addr;

/// `uri-host [ ":" port ]` (RFC 9110 §7.2).
pub(crate) fn is_host(host: &[u8]) -> bool {
    let (name, port) = split_port(host);
    let name_is_valid = match name.first() {
        Some(b'[') => address(name).is_some(),
        // reg-name of RFC 3986 §3.2.2
        _ => {
            !name.is_empty()
                && name
                    .iter()
                    .all(|&b| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&b))
        }
    };
    name_is_valid && port.is_none_or(|port| port.is_empty() || parse_port(port).is_some())
}

/// Splits the port off, at a colon that is not inside brackets.
pub(crate) fn split_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    let after_address = authority.iter().rposition(|&byte| byte == b']').map_or(0, |at| at + 1);
    match authority[after_address..].iter().position(|&byte| byte == b':') {
        Some(at) => {
            let (name, port) = authority.split_at(after_address + at);
            (name, Some(&port[1..]))
        }
        None => (authority, None),
    }
}

fn parse_port(port: &[u8]) -> Option<u16> {
    if !port.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(port).ok()?.parse().ok()
}

pub(crate) fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => Some(80),
        _ if scheme.eq_ignore_ascii_case("https") => Some(443),
        _ => None,
    }
}

pub(crate) fn same_authority(a: &[u8], b: &[u8], default_port: Option<u16>) -> bool {
    let ((a_name, a_port), (b_name, b_port)) = (split_port(a), split_port(b));
    let port = |port: Option<&[u8]>| match port {
        None | Some(b"") => default_port,
        Some(port) => parse_port(port),
    };
    same_name(a_name, b_name) && port(a_port) == port(b_port)
}

/// RFC 5952 §2: one IPv6 address can be written in many ways.
pub(crate) fn same_name(a: &[u8], b: &[u8]) -> bool {
    a.eq_ignore_ascii_case(b)
        || address(a).is_some_and(|address_of_a| address(b) == Some(address_of_a))
}

/// The IPv6 address in brackets.
fn address(name: &[u8]) -> Option<Ipv6Addr> {
    let address = name.strip_prefix(b"[")?.strip_suffix(b"]")?;
    core::str::from_utf8(address).ok()?.parse().ok()
}
