//! The origins and the hosts that a server accepts. Each is checked when the program names it.
//!
//! Otherwise an origin that no browser sends, such as `https://app.example/chat` or `*`, would silently allow
//! nobody.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;

use super::authority::{default_port, is_host, same_authority, same_name, split_port};
use super::config::Config;

/// The origins and the hosts that a server accepts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    any_origin: bool,
    null_origin: bool,
    origin_if: Option<Predicate>,
    /// [`Origin::parse`] can read each of them.
    origins: Vec<String>,
    hosts: Vec<String>,
}

impl Policy {
    /// The origin policy: a page of the server's own host and port, or one that was named.
    pub(crate) fn allows_origin(&self, origin: &[u8], host: &str) -> bool {
        if self.any_origin {
            return true;
        }
        let Ok(text) = core::str::from_utf8(origin) else {
            return false;
        };
        if self.null_origin && text == "null"
            || self.origin_if.as_ref().is_some_and(|predicate| (predicate.0)(text))
        {
            return true;
        }
        let Some(origin) = Origin::parse(text) else {
            return false;
        };
        if self
            .origins
            .iter()
            .filter_map(|text| Origin::parse(text))
            .any(|named| named.is_same(origin))
        {
            return true;
        }
        // http and https count as the same, because TLS may end at a proxy. A Host without a port means the
        // default port of the scheme that the browser used.
        let port = default_port(origin.scheme);
        port.is_some() && same_authority(origin.authority.as_bytes(), host.as_bytes(), port)
    }

    /// The host policy: any host if none was named.
    pub(crate) fn allows_host(&self, host: &str) -> bool {
        self.hosts.is_empty() || self.hosts.iter().any(|named| is_named(host, named))
    }
}

/// A function of the program that decides about an origin.
#[derive(Clone)]
struct Predicate(Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Predicate")
    }
}

/// Whether `host` has the name of `named`, and its port if it names one. A host without a port means the
/// default port of http or https.
fn is_named(host: &str, named: &str) -> bool {
    let (name, port) = split_port(named.as_bytes());
    match port {
        None | Some(b"") => same_name(name, split_port(host.as_bytes()).0),
        Some(_) => [80, 443]
            .into_iter()
            .any(|default| same_authority(host.as_bytes(), named.as_bytes(), Some(default))),
    }
}

/// The origin of pages: `scheme://host[:port]`, and nothing more (RFC 6454 §6.2).
#[derive(Clone, Copy, Debug)]
struct Origin<'a> {
    scheme: &'a str,
    /// Empty for `file://`, and for nothing else.
    authority: &'a str,
}

impl<'a> Origin<'a> {
    /// An origin as a browser sends it. `None` for `null` and for a malformed one.
    fn parse(origin: &'a str) -> Option<Self> {
        let (scheme, authority) = origin.split_once("://")?;
        let is_file = scheme.eq_ignore_ascii_case("file") && authority.is_empty();
        (is_file || is_host(authority.as_bytes())).then_some(Self { scheme, authority })
    }

    /// An origin as a program names it, or why no browser sends it.
    fn named(origin: &'a str) -> Result<Self, &'static str> {
        let origin = origin.trim_ascii();
        if origin == "*" {
            return Err("to allow every page, use allow_any_origin");
        }
        if origin.eq_ignore_ascii_case("null") {
            return Err(
                "any page can send null from a sandboxed frame, so to allow it is to allow every \
                page: use allow_null_origin or allow_any_origin",
            );
        }
        let Some((scheme, rest)) = origin.split_once("://") else {
            return Err("it has no scheme: write it as https://host or http://host:port");
        };
        check_scheme(scheme)?;
        // The address bar of a browser shows a slash at the end.
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if scheme.eq_ignore_ascii_case("file") {
            if !authority.is_empty() {
                return Err("browsers send file:// for the pages of every file");
            }
        } else {
            let is_web = default_port(scheme).is_some();
            check_host(authority, is_web)?;
        }
        Ok(Self { scheme, authority })
    }

    fn is_same(self, other: Self) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && same_authority(
                self.authority.as_bytes(),
                other.authority.as_bytes(),
                default_port(self.scheme),
            )
    }
}

/// Checks the scheme (RFC 3986 §3.1), and whether pages with it have an origin.
fn check_scheme(scheme: &str) -> Result<(), &'static str> {
    let is = |names: &[&str]| names.iter().any(|name| scheme.eq_ignore_ascii_case(name));
    let mut bytes = scheme.bytes();
    if !bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        || !bytes.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    {
        Err("its scheme is malformed: write it as https://host")
    } else if is(&["ws", "wss"]) {
        Err(
            "an origin is that of the page, not of the WebSocket: write it with http:// or https://",
        )
    } else if is(&["about", "blob", "data", "javascript"]) {
        Err("the pages of this scheme have the origin null")
    } else {
        Ok(())
    }
}

/// Checks whether a browser sends this host and port. `is_web`: http or https, whose hosts have one spelling.
fn check_host(authority: &str, is_web: bool) -> Result<(), &'static str> {
    let (name, _) = split_port(authority.as_bytes());
    if authority.contains(['/', '?', '#', '\\']) {
        Err("it ends after the host and the port: leave out the path and what follows")
    } else if authority.contains('@') {
        Err("it has no user: leave out what stands before the at sign")
    } else if authority.contains('*') {
        Err("patterns are not known: name each one")
    } else if authority.contains([',', ' ', ';']) {
        Err("only one is named at a time")
    } else if !authority.is_ascii() {
        Err("its host is not in ASCII: write the name in its xn-- form")
    } else if !authority.starts_with('[') && authority.matches(':').count() > 1 {
        Err("an IPv6 address needs brackets, as in [::1]:9001")
    } else if name.is_empty() {
        Err("it has no host")
    } else if !is_host(authority.as_bytes()) {
        Err("its host or its port is malformed")
    } else if authority.contains('%') {
        Err("its host is percent-encoded, and browsers decode it")
    } else if is_web && ends_in_a_number(name) && !is_ipv4(name) {
        Err("its host is a number, which browsers write as an IPv4 address, such as 127.0.0.1")
    } else {
        Ok(())
    }
}

/// Whether browsers take the host for an IPv4 address (WHATWG URL, "ends in a number").
fn ends_in_a_number(name: &[u8]) -> bool {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let last = name.rsplit(|&byte| byte == b'.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix(b"0x").or_else(|| last.strip_prefix(b"0X"));
    match hexadecimal {
        Some(digits) => digits.iter().all(u8::is_ascii_hexdigit),
        None => !last.is_empty() && last.iter().all(u8::is_ascii_digit),
    }
}

fn is_ipv4(name: &[u8]) -> bool {
    core::str::from_utf8(name).is_ok_and(|name| name.parse::<Ipv4Addr>().is_ok())
}

/// An origin or a host that the server named, but that no browser ever sends. It would allow nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidPolicy {
    /// For [`Config::try_allow_origin`]: what was named, and what is wrong with it.
    Origin(String, &'static str),
    /// For [`Config::try_allow_host`]: what was named, and what is wrong with it.
    Host(String, &'static str),
}

impl fmt::Display for InvalidPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Origin(named, why) => write!(f, "no browser sends the origin {named:?}: {why}"),
            Self::Host(named, why) => write!(f, "no browser sends the host {named:?}: {why}"),
        }
    }
}

impl core::error::Error for InvalidPolicy {}

impl Config {
    /// Server: also accept browsers' requests from pages of this origin: `scheme://host` or
    /// `scheme://host:port`. May be called repeatedly.
    ///
    /// Default: only pages of the server's own host and port, and clients that send no `Origin`, as they are no
    /// browsers. The origin is compared with `Host`, over http or https, because TLS may end at a proxy. Any
    /// page on the web can make its visitor's browser open a WebSocket with the visitor's cookies. This check
    /// stops it (RFC 6455 §10.2). Others get status 403.
    ///
    /// Case, the default port, one slash at the end and space around it are ignored. Some browsers send `file://`
    /// for the pages of files. `chrome-extension://` and the like are origins too.
    ///
    /// # Panics
    ///
    /// If no browser ever sends it: it has no scheme, a path, or a pattern, for example. It would allow nobody, and
    /// the server should not start. For an origin that is not written in the program, use
    /// [`try_allow_origin`](Self::try_allow_origin).
    #[track_caller]
    pub fn allow_origin(self, origin: impl Into<String>) -> Self {
        match self.try_allow_origin(origin) {
            Ok(config) => config,
            Err(error) => panic!("{error}"),
        }
    }

    /// The same for an origin that comes from elsewhere, such as the command line.
    ///
    /// ```
    /// use bowline::Config;
    /// let config = Config::default().try_allow_origin("https://app.example")?;
    /// let error = config.try_allow_origin("app.example").unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "no browser sends the origin \"app.example\": \
    ///      it has no scheme: write it as https://host or http://host:port",
    /// );
    /// # Ok::<(), bowline::InvalidPolicy>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy::Origin`] with what is wrong.
    pub fn try_allow_origin(self, origin: impl Into<String>) -> Result<Self, InvalidPolicy> {
        let named = origin.into();
        let origin = match Origin::named(&named) {
            Ok(Origin { scheme, authority }) => alloc::format!("{scheme}://{authority}"),
            Err(why) => return Err(InvalidPolicy::Origin(named, why)),
        };
        Ok(self.with(|s| s.policy.origins.push(origin)))
    }

    /// Server: also accept browsers' requests whose origin this function takes, such as those of all subdomains. It gets
    /// the `Origin` as the browser sent it. It is asked in addition to the other rules. The last call counts.
    ///
    /// ```
    /// let config = bowline::Config::default().allow_origin_if(|origin| {
    ///     origin.strip_prefix("https://").is_some_and(|host| host.ends_with(".example.com"))
    /// });
    /// ```
    ///
    /// Compare whole hosts, or what follows a dot: `ends_with("example.com")` also takes `https://evil-example.com`.
    pub fn allow_origin_if(
        self,
        is_allowed: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        let predicate = Predicate(Arc::new(is_allowed));
        self.with(|s| s.policy.origin_if = Some(predicate))
    }

    /// Server: also accept browsers' requests whose origin is `null`, which some browsers send for the pages of files.
    /// Any page on the web can send it from a sandboxed frame. So this is right only where
    /// [`allow_any_origin`](Self::allow_any_origin) would be.
    pub fn allow_null_origin(self) -> Self {
        self.with(|s| s.policy.null_origin = true)
    }

    /// Server: accept browsers' requests from any origin. This is right for public data, and if something other
    /// than cookies or the network authorises requests.
    pub fn allow_any_origin(self) -> Self {
        self.with(|s| s.policy.any_origin = true)
    }

    /// Server: accept only requests for this host, `name` or `name:port`, and for other hosts that are named in
    /// this way. May be called repeatedly. Without a port, any port will do. Others get status 421.
    ///
    /// Default: any host. Name yours if the network is what protects the server, as on localhost. An attacker can
    /// give the name of a page the address of your server (DNS rebinding). `Host` and `Origin` then agree on the
    /// attacker's name, so the origin policy does not stop the page.
    ///
    /// # Panics
    ///
    /// If it is no host, such as a URL or a pattern. For one that is not written in the program, use
    /// [`try_allow_host`](Self::try_allow_host).
    #[track_caller]
    pub fn allow_host(self, host: impl Into<String>) -> Self {
        match self.try_allow_host(host) {
            Ok(config) => config,
            Err(error) => panic!("{error}"),
        }
    }

    /// The same for a host that comes from elsewhere, such as the command line.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy::Host`] with what is wrong.
    pub fn try_allow_host(self, host: impl Into<String>) -> Result<Self, InvalidPolicy> {
        let named = host.into();
        let host = named.trim_ascii();
        let checked =
            if host.contains("://") { Err("leave out the scheme") } else { check_host(host, true) };
        match checked {
            Ok(()) => {
                let host = host.to_string();
                Ok(self.with(|s| s.policy.hosts.push(host)))
            }
            Err(why) => Err(InvalidPolicy::Host(named, why)),
        }
    }
}
