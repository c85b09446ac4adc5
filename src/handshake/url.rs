//! `ws` and `wss` URLs (RFC 6455 §3).

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use super::InvalidRequest;

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) secure: bool,
    /// `user:password`, decoded.
    pub(crate) credentials: Option<Vec<u8>>,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query, with a path at least `/`.
    pub(crate) target: String,
}

impl Url {
    pub(crate) fn parse(url: &str) -> Result<Self, InvalidRequest> {
        let invalid = |what| Err(InvalidRequest::Url(what));
        let Some((scheme, rest)) = url.split_once("://") else {
            return invalid("no scheme");
        };
        let secure = match scheme {
            _ if scheme.eq_ignore_ascii_case("ws") => false,
            _ if scheme.eq_ignore_ascii_case("wss") => true,
            _ if scheme.eq_ignore_ascii_case("http") => {
                return invalid("the scheme is http: use ws:// in its place");
            }
            _ if scheme.eq_ignore_ascii_case("https") => {
                return invalid("the scheme is https: use wss:// in its place");
            }
            _ => return invalid("the scheme is neither ws nor wss"),
        };
        // RFC 3986 has none; browsers take it for a slash, and would see another host.
        if rest.contains('\\') {
            return invalid("a backslash");
        }
        if rest.contains('#') {
            return invalid("a fragment is not allowed (RFC 6455 section 3)");
        }
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return invalid("a byte that must be percent-encoded, or a host name not in ASCII");
        }
        let (authority, target) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let target = match target.strip_prefix('?') {
            Some(_) => ["/", target].concat(),
            None if target.is_empty() => "/".to_string(),
            None => target.to_string(),
        };
        let (credentials, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => {
                let Some(user) = percent_decode(user) else {
                    return invalid("percent-encoding in the credentials");
                };
                // RFC 7617: always with a colon, and the password may be empty.
                let colon = if user.contains(&b':') { &b""[..] } else { b":" };
                (Some([&user[..], colon].concat()), authority)
            }
            None => (None, authority),
        };
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let Some((address, port)) = rest.split_once(']') else {
                    return invalid("IPv6 address without its closing bracket");
                };
                if address.parse::<Ipv6Addr>().is_err() {
                    return invalid("not an IPv6 address in the brackets");
                }
                (address, port)
            }
            None => {
                if is_bare_address(authority) {
                    return invalid("an IPv6 address needs brackets, as in ws://[::1]:9001/");
                }
                let (host, port) =
                    authority.split_at(authority.find(':').unwrap_or(authority.len()));
                if host.is_empty() {
                    return invalid("no host");
                }
                if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
                {
                    return invalid("a character that a host name cannot have");
                }
                (host, port)
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                match digits.parse() {
                    Ok(0) | Err(_) => return invalid("the port is not in 1 to 65535"),
                    Ok(port) => Some(port),
                }
            }
            _ => return invalid("the port is not a number"),
        };
        Ok(Self {
            secure,
            credentials,
            host: host.to_string(),
            port: port.unwrap_or(default_port(secure)),
            target,
        })
    }

    /// The value of `Host`: without the port if it is the scheme's own (RFC 6455 §4.1).
    pub(crate) fn host_header(&self) -> String {
        let mut value = if self.host.contains(':') {
            ["[", &self.host, "]"].concat()
        } else {
            self.host.clone()
        };
        if self.port != default_port(self.secure) {
            value.push(':');
            value.push_str(&self.port.to_string());
        }
        value
    }
}

/// Whether it is an IPv6 address without brackets, with a port or without (RFC 3986 §3.2.2).
fn is_bare_address(authority: &str) -> bool {
    let without_port = authority.rsplit_once(':').map_or("", |(address, _)| address);
    [authority, without_port].iter().any(|address| address.parse::<Ipv6Addr>().is_ok())
}

fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte == b'%' {
            let (digits, behind) = rest.split_at_checked(2)?;
            let digit = |byte: u8| char::from(byte).to_digit(16);
            decoded.push((digit(digits[0])? * 16 + digit(digits[1])?) as u8);
            rest = behind;
        } else {
            decoded.push(byte);
        }
    }
    Some(decoded)
}
