//! Which proxy a URL goes through: one that the program names, or those of the environment, as curl reads them.

use alloc::string::String;

use super::Proxy;
use super::no_proxy::NoProxy;
use crate::handshake::{ClientRequest, InvalidRequest};

/// Which proxy each URL goes through, for [`ClientRequest::proxy`].
///
/// ```
/// use bowline::handshake::{ClientRequest, Proxies, Proxy};
/// let office = Proxies::from(Proxy::new("http://proxy.example:3128")?).no_proxy("localhost,.example,10.0.0.0/8");
/// let request = ClientRequest::new("wss://chat.example/")?.proxy(office.clone());
/// assert_eq!(office.choose(&request)?, None, "the list has it");
/// # Ok::<(), bowline::handshake::InvalidRequest>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    ws: Choice,
    wss: Choice,
    no_proxy: NoProxy,
}

/// A variable that cannot be read is an error of the connections that it is for, and of no others.
#[derive(Clone, Debug)]
struct Choice(Result<Option<Proxy>, InvalidRequest>);

impl Default for Choice {
    fn default() -> Self {
        Self(Ok(None))
    }
}

/// The variables for each scheme, the first that is set counts. `HTTP_PROXY` is not among them: in a CGI program it is
/// what the client sent as the header `Proxy`.
const WS: [&str; 5] = ["ws_proxy", "WS_PROXY", "http_proxy", "all_proxy", "ALL_PROXY"];
const WSS: [&str; 6] =
    ["wss_proxy", "WSS_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];

impl Proxies {
    /// No proxy for any URL, as without this setting.
    pub fn none() -> Self {
        Self::default()
    }

    /// **The environment decides where the connection goes.** Use this in programs whose user sets the environment, and
    /// not in those that others can start with variables of their own.
    ///
    /// The variables are read here and now, by curl's rules:
    ///
    /// | URL | the first of these that is set and not empty |
    /// |---|---|
    /// | `ws` | `ws_proxy`, `WS_PROXY`, `http_proxy`, `all_proxy`, `ALL_PROXY` |
    /// | `wss` | `wss_proxy`, `WSS_PROXY`, `https_proxy`, `HTTPS_PROXY`, `all_proxy`, `ALL_PROXY` |
    /// | hosts without a proxy | `no_proxy`, `NO_PROXY`: see [`no_proxy`](Self::no_proxy) |
    ///
    /// `HTTP_PROXY` is never read: in a CGI program it is a header of the client. A value is a URL as
    /// [`Proxy::new`] takes it. One that is invalid fails the connections that it is for, when they are opened.
    ///
    /// ```no_run
    /// use bowline::handshake::{ClientRequest, Proxies};
    /// let request = ClientRequest::new("wss://example.com/chat")?.proxy(Proxies::from_env());
    /// let (mut ws, _) = bowline::blocking::connect_with(&request, bowline::Config::default())?;
    /// # Ok::<(), bowline::Error>(())
    /// ```
    #[cfg(feature = "std")]
    pub fn from_env() -> Self {
        // A value that is not UTF-8 is set, and is no URL.
        Self::from_variables(|name| Some(std::env::var_os(name)?.to_string_lossy().into_owned()))
    }

    /// Like [`from_env`](Self::from_env), with variables from elsewhere.
    ///
    /// ```
    /// use bowline::handshake::{ClientRequest, Proxies};
    /// let proxies = Proxies::from_variables(|name| match name {
    ///     "https_proxy" => Some("http://127.0.0.1:3128".into()),
    ///     "no_proxy" => Some("localhost, .internal".into()),
    ///     _ => None,
    /// });
    /// let chosen = |url: &str| proxies.choose(&ClientRequest::new(url)?).map(|proxy| proxy.is_some());
    /// assert!(chosen("wss://example.com/")?);
    /// assert!(!chosen("ws://example.com/")? && !chosen("wss://chat.internal/")?);
    /// # Ok::<(), bowline::handshake::InvalidRequest>(())
    /// ```
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&str]| {
            names.iter().find_map(|name| variable(name).filter(|value| !value.is_empty()))
        };
        let choice = |names: &[&str]| Choice(first(names).map(|url| Proxy::new(&url)).transpose());
        Self {
            ws: choice(&WS),
            wss: choice(&WSS),
            no_proxy: NoProxy::parse(&first(&NO_PROXY).unwrap_or_default()),
        }
    }

    /// The hosts that are reached without a proxy, in place of those of the environment: a list with commas.
    ///
    /// | entry | matches |
    /// |---|---|
    /// | `example.com` or `.example.com` | this name, and all names that end with it after a dot |
    /// | `192.0.2.1`, `::1` or `[::1]` | this address, where the URL has an address |
    /// | `10.0.0.0/8`, `fd00::/8` | the addresses of this range, where the URL has an address |
    /// | any of these but a range, with `:8080` | only with this port; IPv6 in brackets |
    /// | `*`, if it is all of the list | every host |
    ///
    /// Names are not resolved for this. It is what curl does, except that curl knows neither ports nor brackets.
    pub fn no_proxy(mut self, list: &str) -> Self {
        self.no_proxy = NoProxy::parse(list);
        self
    }

    /// The proxy for this request, if there is one.
    ///
    /// # Errors
    ///
    /// [`InvalidRequest::Proxy`] if the variable that names it is invalid.
    pub fn choose(&self, request: &ClientRequest) -> Result<Option<&Proxy>, InvalidRequest> {
        if self.no_proxy.has(request.host(), request.port()) {
            return Ok(None);
        }
        let choice = if request.is_secure() { &self.wss } else { &self.ws };
        choice.0.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }
}

impl From<Proxy> for Proxies {
    /// This proxy for every URL.
    fn from(proxy: Proxy) -> Self {
        let choice = Choice(Ok(Some(proxy)));
        Self { ws: choice.clone(), wss: choice, no_proxy: NoProxy::default() }
    }
}
