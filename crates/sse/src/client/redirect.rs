//! Redirects, as the Fetch standard follows them ("HTTP-redirect fetch"). 9.2.2 of HTML leaves them to it.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::fmt;

use ::http::header::{
    ACCEPT, ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_LOCATION, CONTENT_TYPE, DNT, HeaderName, PRAGMA, TRANSFER_ENCODING, USER_AGENT,
};
use ::http::{HeaderMap, Method, StatusCode, Uri};
use bytes::Bytes;

use super::open::{Template, place};

/// How many redirects are followed by default.
///
/// Fetch, "HTTP-redirect fetch": "If request's redirect count is 20, then return a network error."
pub(super) const REDIRECTS: u32 = 20;

/// Why a redirect was not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfollowed {
    /// It is one more than this many, which `EventSource::redirects` allows.
    TooMany(u32),
    /// It goes from `https` to `http`: see `EventSource::insecure_redirects`.
    Insecure,
    /// The `Location` is no URL with `http` or `https`, or has credentials (RFC 9110 §4.2.4: a recipient "SHOULD parse for
    /// userinfo and treat its presence as an error").
    Location,
    /// It goes to another scheme, host or port, and the program opens the streams: see `EventSource::over`.
    Elsewhere,
}

impl fmt::Display for Unfollowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany(0) => f.write_str("the source follows none: see EventSource::redirects"),
            Self::TooMany(most) => {
                write!(f, "the source follows {most}: see EventSource::redirects")
            }
            Self::Insecure => f.write_str("it goes from https to http"),
            Self::Location => f.write_str("that is no http or https URL, or one with credentials"),
            Self::Elsewhere => {
                f.write_str("it goes to another server, and the program opens the streams")
            }
        }
    }
}

/// What the program allows.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub(super) most: u32,
    pub(super) insecure: bool,
    /// Whether streams to another origin can be opened.
    pub(super) elsewhere: bool,
}

/// Fetch, "Statuses": "A redirect status is a status that is 301, 302, 303, 307, or 308."
pub(super) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

impl Rules {
    /// The request that follows `from`, when `followed` redirects were followed before.
    pub(super) fn follow(
        self,
        from: &Template,
        followed: u32,
        status: StatusCode,
        location: &[u8],
    ) -> Result<Template, Unfollowed> {
        if followed >= self.most {
            return Err(Unfollowed::TooMany(self.most));
        }
        let url = join(&from.url, location).ok_or(Unfollowed::Location)?;
        let is_secure = |url: &Uri| url.scheme_str() == Some("https");
        if is_secure(&from.url) && !is_secure(&url) && !self.insecure {
            return Err(Unfollowed::Insecure);
        }
        let is_elsewhere = origin(&from.url) != origin(&url);
        if is_elsewhere && !self.elsewhere {
            return Err(Unfollowed::Elsewhere);
        }
        let mut next = Template { url, ..from.clone() };
        // Fetch, "HTTP-redirect fetch": "If one of the following is true: internalResponse's status is 301 or 302 and request's
        // method is `POST`; internalResponse's status is 303 and request's method is not `GET` or `HEAD`; then: Set request's
        // method to `GET` and request's body to null. For each headerName of request-body-header name, delete headerName from
        // request's header list."
        let becomes_get = match status.as_u16() {
            301 | 302 => from.method == Method::POST,
            303 => from.method != Method::GET && from.method != Method::HEAD,
            _ => false,
        };
        if becomes_get {
            (next.method, next.body) = (Method::GET, Bytes::new());
            next.headers = only(&next.headers, |name| !is_of_body(name));
        }
        // Fetch deletes `Authorization` where the origin changes, and a browser has no other secrets in headers. Here each
        // header is the program's, and a name does not tell whether it holds a secret.
        if is_elsewhere {
            next.headers = only(&next.headers, |name| is_harmless(name) || is_of_body(name));
        }
        Ok(next)
    }
}

fn only(headers: &HeaderMap, is_kept: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let kept = headers.iter().filter(|(name, _)| is_kept(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn is_of_body(name: &HeaderName) -> bool {
    let names = [
        CONTENT_ENCODING,
        CONTENT_LANGUAGE,
        CONTENT_LENGTH,
        CONTENT_LOCATION,
        CONTENT_TYPE,
        TRANSFER_ENCODING,
    ];
    names.contains(name)
}

fn is_harmless(name: &HeaderName) -> bool {
    [ACCEPT, ACCEPT_LANGUAGE, CACHE_CONTROL, DNT, PRAGMA, USER_AGENT].contains(name)
}

/// Scheme, host and port.
fn origin(url: &Uri) -> (Option<&str>, String, u16) {
    let default = if url.scheme_str() == Some("https") { 443 } else { 80 };
    let host = url.host().unwrap_or_default().to_ascii_lowercase();
    (url.scheme_str(), host, url.port_u16().unwrap_or(default))
}

/// The URL that a Location names (RFC 3986 §5.2.2). It may be relative to `base`.
fn join(base: &Uri, location: &[u8]) -> Option<Uri> {
    let location = escape(location);
    // A fragment is never sent.
    let location = location.split('#').next().unwrap_or_default();
    let (scheme, rest) = match split_scheme(location) {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        None => (base.scheme_str()?.to_owned(), location),
    };
    if rest.len() != location.len() && !rest.starts_with("//") {
        return None;
    }
    let (authority, target) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())),
        None => (super::open::host(base), rest),
    };
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    let is_relative = !rest.starts_with("//") && !path.starts_with('/');
    let base_path = base.path();
    let path = match path {
        "" if is_relative => base_path.to_owned(),
        path if is_relative => {
            let folder = &base_path[..base_path.rfind('/').map_or(0, |at| at + 1)];
            without_dots(&format!("{folder}{path}"))
        }
        path => without_dots(path),
    };
    let query = match (query, base.query()) {
        ("", Some(query)) if target.is_empty() && is_relative => format!("?{query}"),
        _ => query.to_owned(),
    };
    let url: Uri = format!("{scheme}://{authority}{path}{query}").parse().ok()?;
    let is_http = matches!(url.scheme_str(), Some("http" | "https"));
    (is_http && !authority.contains('@') && place(&url).is_ok()).then_some(url)
}

/// The bytes that no URL has, percent-encoded, as the URL standard encodes them in paths and queries.
fn escape(location: &[u8]) -> String {
    let mut text = String::with_capacity(location.len());
    for &byte in location {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                text.push_str(&format!("%{byte:02X}"));
            }
            0x21..=0x7e => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// RFC 3986 §3.1: a scheme is "ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )".
fn split_scheme(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    is_scheme.then_some((scheme, rest))
}

/// RFC 3986 §5.2.4, for a path that begins with a slash or is empty.
fn without_dots(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => out.truncate(out.rfind('/').unwrap_or(0)),
            other => {
                out.push('/');
                out.push_str(other);
                continue;
            }
        }
        if is_last {
            out.push('/');
        }
    }
    if out.is_empty() { "/".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(location: &str) -> Option<String> {
        let base = "http://a:81/b/c/d;p?q".parse().unwrap();
        join(&base, location.as_bytes()).map(|url| format!("{url}"))
    }

    /// RFC 3986 §5.4, what a Location for HTTP can be.
    #[test]
    fn a_location_may_be_relative() {
        for (location, expected) in [
            ("http://h/g", "http://h/g"),
            ("HTTPS://H:1/", "https://H:1/"),
            ("http://h", "http://h/"),
            ("http://h?y", "http://h/?y"),
            ("//g", "http://g/"),
            ("/g", "http://a:81/g"),
            ("g", "http://a:81/b/c/g"),
            ("./g", "http://a:81/b/c/g"),
            ("g/", "http://a:81/b/c/g/"),
            ("?y", "http://a:81/b/c/d;p?y"),
            ("g?y", "http://a:81/b/c/g?y"),
            ("#s", "http://a:81/b/c/d;p?q"),
            ("", "http://a:81/b/c/d;p?q"),
            ("g#s", "http://a:81/b/c/g"),
            (".", "http://a:81/b/c/"),
            ("..", "http://a:81/b/"),
            ("../g", "http://a:81/b/g"),
            ("../../../g", "http://a:81/g"),
            ("/./g", "http://a:81/g"),
            ("/../g", "http://a:81/g"),
            ("g.", "http://a:81/b/c/g."),
            ("./g/.", "http://a:81/b/c/g/"),
            ("g/../h", "http://a:81/b/c/h"),
            ("g?y/../x", "http://a:81/b/c/g?y/../x"),
            ("http://h/a/../b?c/..", "http://h/b?c/.."),
            ("/g\u{fc} {x}", "http://a:81/g%C3%BC%20%7Bx%7D"),
            ("/a:b", "http://a:81/a:b"),
        ] {
            assert_eq!(joined(location).as_deref(), Some(expected), "{location:?}");
        }
    }

    #[test]
    fn a_location_is_a_url_of_a_host_without_credentials() {
        for location in [
            "ftp://h/",
            "file:///etc/passwd",
            "ws+unix:/run/x:/",
            "mailto:a@b",
            "http:g",
            "http:/g",
            "http://",
            "https://:80/",
            "http://user@h/",
            "//user:secret@h/",
            "http://h:99999/",
            "http://\u{fc}/",
        ] {
            assert_eq!(joined(location), None, "{location:?}");
        }
    }
}
