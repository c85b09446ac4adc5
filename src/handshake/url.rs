//! `ws` and `wss` URLs (RFC 6455 §3).

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
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
    /// Path and query. The path is at least `/`.
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
        // RFC 3986 has no backslash. Browsers take it for a slash, so they would see another host.
        if rest.contains('\\') {
            return invalid("a backslash");
        }
        // RFC 6455 §3: "Fragment identifiers are meaningless in the context of WebSocket URIs and MUST NOT be used
        // on these URIs."
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
            Some((user, authority)) => (Some(read_credentials(user)?), authority),
            None => (None, authority),
        };
        let (host, port) = split_authority(authority)?;
        let port = read_port(port)?;
        Ok(Self {
            secure,
            credentials,
            host: host.to_string(),
            port: port.unwrap_or(default_port(secure)),
            target,
        })
    }

    /// The value of `Host`. RFC 6455 §4.1 item 4: with the port "when not using the default port".
    pub(crate) fn host_header(&self) -> HostHeader<'_> {
        HostHeader(self)
    }
}

/// Writes the value of `Host`: see [`Url::host_header`].
pub(crate) struct HostHeader<'a>(&'a Url);

impl fmt::Display for HostHeader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Url { secure, host, port, .. } = self.0;
        if host.contains(':') {
            write!(f, "[{host}]")?;
        } else {
            f.write_str(host)?;
        }
        if *port == default_port(*secure) { Ok(()) } else { write!(f, ":{port}") }
    }
}

/// `user:password`, decoded. RFC 7617 §2: it always has a colon, and the password may be empty.
fn read_credentials(user: &str) -> Result<Vec<u8>, InvalidRequest> {
    let Some(user) = percent_decode(user) else {
        return Err(InvalidRequest::Url("percent-encoding in the credentials"));
    };
    let colon = if user.contains(&b':') { &b""[..] } else { b":" };
    Ok([&user[..], colon].concat())
}

/// The host, without the brackets of an IPv6 address, and what follows it (RFC 3986 §3.2).
fn split_authority(authority: &str) -> Result<(&str, &str), InvalidRequest> {
    let invalid = |what| Err(InvalidRequest::Url(what));
    if let Some(rest) = authority.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return invalid("IPv6 address without its closing bracket");
        };
        if address.parse::<Ipv6Addr>().is_err() {
            return invalid("not an IPv6 address in the brackets");
        }
        return Ok((address, port));
    }
    if is_bare_address(authority) {
        return invalid("an IPv6 address needs brackets, as in ws://[::1]:9001/");
    }
    let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
    if host.is_empty() {
        return invalid("no host");
    }
    if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        return invalid("a character that a host name cannot have");
    }
    Ok((host, port))
}

/// `[ ":" port ]`. RFC 3986 §3.2.3: an empty port is the default one.
fn read_port(port: &str) -> Result<Option<u16>, InvalidRequest> {
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok(None),
        Some("") => Ok(None),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => match digits.parse() {
            Ok(0) | Err(_) => Err(InvalidRequest::Url("the port is not in 1 to 65535")),
            Ok(port) => Ok(Some(port)),
        },
        _ => Err(InvalidRequest::Url("the port is not a number")),
    }
}

/// Whether this is an IPv6 address without brackets, with or without a port (RFC 3986 §3.2.2).
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
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            let digit = |byte: u8| char::from(byte).to_digit(16);
            decoded.push((digit(digits[0])? * 16 + digit(digits[1])?) as u8);
            rest = after;
        } else {
            decoded.push(byte);
        }
    }
    Some(decoded)
}
