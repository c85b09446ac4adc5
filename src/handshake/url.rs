//! URLs of WebSockets (RFC 6455 §3), and what a redirect's Location makes of them (RFC 3986 §5).

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv6Addr;

use super::InvalidRequest;

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) secure: bool,
    /// Without the brackets and the zone of an IPv6 address.
    pub(crate) host: String,
    /// The interface of a link-local IPv6 address.
    pub(crate) zone: Option<Box<str>>,
    pub(crate) port: u16,
    /// Path and query. The path is at least `/`.
    pub(crate) target: String,
    /// The path of the Unix socket that the URL names in place of a host.
    pub(crate) unix: Option<Box<str>>,
}

/// `user:password` of a URL, decoded.
pub(crate) type Credentials = Option<Vec<u8>>;

impl Url {
    pub(crate) fn parse(url: &str) -> Result<(Self, Credentials), InvalidRequest> {
        Self::read(url).map_err(InvalidRequest::Url)
    }

    fn read(url: &str) -> Result<(Self, Credentials), &'static str> {
        check_bytes(url)?;
        let Some((scheme, rest)) = url.split_once(':') else {
            return Err("no scheme");
        };
        if let Some(secure) = is_secure_unix(scheme) {
            return Ok((Self::of_unix(secure, rest)?, None));
        }
        let Some(rest) = rest.strip_prefix("//") else {
            return Err("no scheme");
        };
        let secure = is_secure(scheme).ok_or("the scheme is none of ws, wss, http and https")?;
        let (authority, target) = split_target(rest);
        let authority = Authority::parse(authority)?;
        let url = Self {
            secure,
            host: authority.host.to_string(),
            zone: authority.zone.map(Box::from),
            port: authority.port.unwrap_or(default_port(secure)),
            target: as_target(target).into_owned(),
            unix: None,
        };
        Ok((url, authority.user.map(read_credentials).transpose()?))
    }

    /// `ws+unix:/path/to.sock:/target`, as Node.js's `ws` writes it. There is no standard.
    fn of_unix(secure: bool, rest: &str) -> Result<Self, &'static str> {
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        if !rest.starts_with('/') {
            return Err(
                "the path of a Unix socket begins with a slash, as in ws+unix:/run/chat.sock:/",
            );
        }
        let (path, target) = rest.split_once(':').unwrap_or((rest, ""));
        let path = percent_decode(path).and_then(|path| String::from_utf8(path).ok());
        let path = path.filter(|path| !path.contains('\0'));
        if !(target.is_empty() || target.starts_with(['/', '?'])) {
            return Err("what follows the colon after a Unix socket begins with a slash");
        }
        Ok(Self {
            secure,
            host: "localhost".to_string(),
            zone: None,
            port: default_port(secure),
            target: as_target(target).into_owned(),
            unix: Some(path.ok_or("percent-encoding in the path of the Unix socket")?.into()),
        })
    }

    /// The URL that a redirect's Location names (RFC 3986 §5.2, RFC 9110 §10.2.2). It may be relative to this one, and
    /// is a URL of a host: a Location never names a Unix socket.
    pub(crate) fn join(&self, location: &str) -> Result<Self, InvalidRequest> {
        // RFC 9110 §10.2.2: a Location may have a fragment, which is never sent.
        let location = location.split('#').next().unwrap_or_default();
        if has_scheme(location) {
            return Self::of_location(location);
        }
        if location.starts_with("//") {
            let scheme = if self.secure { "wss" } else { "ws" };
            return Self::of_location(&format!("{scheme}:{location}"));
        }
        check_bytes(location).map_err(InvalidRequest::Url)?;
        let (base, _) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let target = match location.split_once('?').unwrap_or((location, "")).0 {
            "" if location.is_empty() => self.target.clone(),
            "" => [base, location].concat(),
            path => {
                let query = &location[path.len()..];
                let folder = &base[..base.rfind('/').map_or(0, |at| at + 1)];
                let folder = if path.starts_with('/') { "" } else { folder };
                [&without_dots(&[folder, path].concat()), query].concat()
            }
        };
        Ok(Self { target, ..self.clone() })
    }

    fn of_location(location: &str) -> Result<Self, InvalidRequest> {
        match Self::parse(location)? {
            (url, None) if url.unix.is_none() => Ok(url),
            (_, None) => Err(InvalidRequest::Url("a redirect to a Unix socket")),
            // RFC 9110 §4.2.4: in a URI from an untrusted source, a recipient "SHOULD parse for userinfo and treat its
            // presence as an error".
            (_, Some(_)) => Err(InvalidRequest::Url("a redirect with credentials")),
        }
    }

    /// Whether requests to both go to the same origin (RFC 6454 §4).
    pub(crate) fn is_same_origin(&self, other: &Self) -> bool {
        self.secure == other.secure && self.is_same_place(other)
    }

    /// Whether both name the same host and port, or the same Unix socket.
    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        self.host.eq_ignore_ascii_case(&other.host)
            && (self.port, &self.zone, &self.unix) == (other.port, &other.zone, &other.unix)
    }

    /// The value of `Host`. RFC 6455 §4.1 item 4: with the port "when not using the default port".
    pub(crate) fn host_header(&self) -> HostHeader<'_> {
        HostHeader(self)
    }
}

/// The URL, without its credentials.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        if let Some(path) = &self.unix {
            // A path with two slashes at its start would be taken for an authority.
            let slashes = if path.starts_with("//") { "//" } else { "" };
            write!(f, "{scheme}+unix:{slashes}")?;
            for &byte in path.as_bytes() {
                match byte {
                    b'%' | b':' | b'?' | b'#' | b'\\' => write!(f, "%{byte:02X}")?,
                    byte if byte.is_ascii_graphic() => write!(f, "{}", char::from(byte))?,
                    byte => write!(f, "%{byte:02X}")?,
                }
            }
            return write!(f, ":{}", self.target);
        }
        write!(f, "{scheme}://")?;
        match &self.zone {
            Some(zone) => write!(f, "[{}%25{zone}]", self.host)?,
            None if self.host.contains(':') => write!(f, "[{}]", self.host)?,
            None => f.write_str(&self.host)?,
        }
        if self.port != default_port(self.secure) {
            write!(f, ":{}", self.port)?;
        }
        f.write_str(&self.target)
    }
}

/// Writes the value of `Host`: see [`Url::host_header`].
pub(crate) struct HostHeader<'a>(&'a Url);

impl fmt::Display for HostHeader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // RFC 6874 §1: a zone has "no meaning outside that node", so it is not sent.
        let Url { secure, host, port, .. } = self.0;
        if host.contains(':') {
            write!(f, "[{host}]")?;
        } else {
            f.write_str(host)?;
        }
        if *port == default_port(*secure) { Ok(()) } else { write!(f, ":{port}") }
    }
}

/// `[ userinfo "@" ] host [ ":" port ]` (RFC 3986 §3.2).
pub(crate) struct Authority<'a> {
    /// Not decoded.
    pub(crate) user: Option<&'a str>,
    /// Without the brackets and the zone of an IPv6 address.
    pub(crate) host: &'a str,
    pub(crate) zone: Option<&'a str>,
    /// RFC 3986 §3.2.3: an empty port is the default one.
    pub(crate) port: Option<u16>,
}

impl<'a> Authority<'a> {
    pub(crate) fn parse(authority: &'a str) -> Result<Self, &'static str> {
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, authority),
        };
        let (host, zone, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (address, port) =
                    rest.split_once(']').ok_or("IPv6 address without its closing bracket")?;
                let (address, zone) = split_zone(address)?;
                (address, zone, port)
            }
            None => {
                let (host, port) = split_name(authority)?;
                (host, None, port)
            }
        };
        Ok(Self { user, host, zone, port: read_port(port)? })
    }
}

fn is_secure(scheme: &str) -> Option<bool> {
    // WHATWG WebSockets: `new WebSocket("https://...")` is the same as with `wss:`.
    match scheme {
        _ if scheme.eq_ignore_ascii_case("ws") || scheme.eq_ignore_ascii_case("http") => {
            Some(false)
        }
        _ if scheme.eq_ignore_ascii_case("wss") || scheme.eq_ignore_ascii_case("https") => {
            Some(true)
        }
        _ => None,
    }
}

fn is_secure_unix(scheme: &str) -> Option<bool> {
    match scheme {
        _ if scheme.eq_ignore_ascii_case("ws+unix") => Some(false),
        _ if scheme.eq_ignore_ascii_case("wss+unix") => Some(true),
        _ => None,
    }
}

/// Whether the reference begins with a scheme, which is all that makes it absolute (RFC 3986 §4.2, §3.1).
fn has_scheme(reference: &str) -> bool {
    let Some((scheme, _)) = reference.split_once(':') else {
        return false;
    };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn check_bytes(url: &str) -> Result<(), &'static str> {
    // RFC 3986 has no backslash. Browsers take it for a slash, so they would see another host.
    if url.contains('\\') {
        return Err("a backslash");
    }
    // RFC 6455 §3: "Fragment identifiers are meaningless in the context of WebSocket URIs and MUST NOT be used
    // on these URIs."
    if url.contains('#') {
        return Err("a fragment is not allowed (RFC 6455 section 3)");
    }
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a byte that must be percent-encoded, or a host name not in ASCII");
    }
    Ok(())
}

/// The authority, and the path and query after it.
fn split_target(rest: &str) -> (&str, &str) {
    match rest.find(['/', '?']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    }
}

/// Path and query with a path of at least `/`.
fn as_target(target: &str) -> Cow<'_, str> {
    match target {
        "" => "/".into(),
        _ if target.starts_with('?') => ["/", target].concat().into(),
        _ => target.into(),
    }
}

/// The path without its segments `.` and `..` (RFC 3986 §5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    ["/", &kept.join("/")].concat()
}

/// `user:password`, decoded. RFC 7617 §2: it always has a colon, and the password may be empty.
fn read_credentials(user: &str) -> Result<Vec<u8>, &'static str> {
    let user = percent_decode(user).ok_or("percent-encoding in the credentials")?;
    let colon = if user.contains(&b':') { &b""[..] } else { b":" };
    Ok([&user[..], colon].concat())
}

/// An IPv6 address, and its zone. RFC 6874 §2: `IPv6addrz = IPv6address "%25" ZoneID`.
fn split_zone(address: &str) -> Result<(&str, Option<&str>), &'static str> {
    let (address, zone) = match address.split_once('%') {
        None => (address, None),
        Some((address, zone)) => {
            let zone = zone.strip_prefix("25").filter(|zone| !zone.is_empty());
            let zone = zone.ok_or("the zone of an IPv6 address is written %25eth0")?;
            (address, Some(zone))
        }
    };
    if address.parse::<Ipv6Addr>().is_err() {
        return Err("not an IPv6 address in the brackets");
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    match zone {
        Some(zone) if !zone.bytes().all(is_name) => Err("a character that no zone has"),
        zone => Ok((address, zone)),
    }
}

/// A name or an IPv4 address, and what follows it.
fn split_name(authority: &str) -> Result<(&str, &str), &'static str> {
    if is_bare_address(authority) {
        return Err("an IPv6 address needs brackets, as in ws://[::1]:9001/");
    }
    let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
    if host.is_empty() {
        return Err("no host");
    }
    if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        return Err("a character that a host name cannot have");
    }
    Ok((host, port))
}

/// `[ ":" port ]`. RFC 3986 §3.2.3: an empty port is the default one.
fn read_port(port: &str) -> Result<Option<u16>, &'static str> {
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok(None),
        Some("") => Ok(None),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => match digits.parse() {
            Ok(0) | Err(_) => Err("the port is not in 1 to 65535"),
            Ok(port) => Ok(Some(port)),
        },
        _ => Err("the port is not a number"),
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

/// `None` if a percent sign has no two digits after it.
fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let (decoded, is_valid) = decode(text);
    is_valid.then_some(decoded)
}

/// A percent sign without two digits after it stays as it is.
pub(super) fn percent_decode_leniently(text: &str) -> Vec<u8> {
    decode(text).0
}

/// What the text stands for, and whether each percent sign has two digits after it.
fn decode(text: &str) -> (Vec<u8>, bool) {
    let (mut decoded, mut is_valid) = (Vec::with_capacity(text.len()), true);
    let mut rest = text.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let escaped = match *after {
            [high, low, ..] if byte == b'%' => digit(high).zip(digit(low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                decoded.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            None => {
                decoded.push(byte);
                is_valid &= byte != b'%';
            }
        }
    }
    (decoded, is_valid)
}
