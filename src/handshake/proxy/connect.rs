//! CONNECT, the client's side (RFC 9110 §9.3.6).

use alloc::boxed::Box;
use core::fmt;
use core::net::Ipv6Addr;
use core::time::Duration;

use super::{Proxy, ProxyError};
use crate::handshake::client::{MAX_INTERIM, USER_AGENT, parse};
use crate::handshake::head::{self, HeadReader, Headers};
use crate::handshake::key;
use crate::handshake::refusal::Refusal;
use crate::memory::recv_buf::RecvBuf;
use crate::memory::send_buf::SendBuf;
use crate::protocol::config::Config;

/// Asks an HTTP proxy for a connection.
pub(super) struct HttpConnect {
    config: Config,
    reader: HeadReader,
    interim: u8,
    refusal: Option<Refusal>,
}

impl HttpConnect {
    /// Queues the request.
    pub(super) fn start(
        proxy: &Proxy,
        host: &str,
        port: u16,
        config: Config,
        out: &mut SendBuf,
    ) -> Self {
        let authority = Authority(host, port);
        let mut headers = Headers::default();
        // RFC 9110 §7.2: Host is the authority of the target, which for CONNECT has a port always.
        headers.push_text("Host", &authority);
        if proxy.headers.get("User-Agent").is_none() {
            headers.push("User-Agent", USER_AGENT.as_bytes());
        }
        if let (Some(user), None) = (&proxy.user, proxy.headers.get("Proxy-Authorization")) {
            let credentials = key::basic_credentials(&[&user.name[..], &user.password].join(&b':'));
            headers.push("Proxy-Authorization", credentials.as_bytes());
        }
        let headers = headers.with(&proxy.headers, |_| true);
        head::write_head(format_args!("CONNECT {authority} HTTP/1.1"), &headers, out);
        Self { config, reader: HeadReader::of_response(), interim: 0, refusal: None }
    }

    /// Takes what has come. Whether the proxy has connected. What follows its head is the first of the server's bytes.
    pub(super) fn read(&mut self, input: &mut RecvBuf) -> Result<bool, ProxyError> {
        loop {
            if let Some(refusal) = &mut self.refusal {
                return if refusal.read(input) { Err(self.refused()) } else { Ok(false) };
            }
            let Some(end) = self.reader.find_end(input.unread(), &self.config)? else {
                return Ok(false);
            };
            let response = parse(&input.unread()[..end], self.reader.lines);
            let response = response.ok_or(ProxyError::Malformed)?;
            input.skip(end);
            self.reader = HeadReader::of_response();
            match response.status() {
                // RFC 9110 §9.3.6: "A client MUST ignore any Content-Length or Transfer-Encoding header fields
                // received in a successful response to CONNECT."
                200..=299 => return Ok(true),
                100 | 102..=199 if self.interim < MAX_INTERIM => self.interim += 1,
                100 | 102..=199 => return Err(ProxyError::TooManyInterim),
                _ => self.refusal = Some(Refusal::new(response)),
            }
        }
    }

    /// The refusal, with as much of its body as has come.
    pub(super) fn refused(&mut self) -> ProxyError {
        let Some(refusal) = self.refusal.take() else {
            return ProxyError::TimedOut;
        };
        let response = Box::new(refusal.into_response());
        match response.status() {
            407 => ProxyError::Unauthorized(response),
            _ => ProxyError::Refused(response),
        }
    }

    /// When the body of a refusal has had its time.
    pub(super) fn deadline(&mut self, now: Duration) -> Option<Duration> {
        Some(self.refusal.as_mut()?.deadline(now))
    }
}

/// `uri-host ":" port` (RFC 9112 §3.2.3).
struct Authority<'a>(&'a str, u16);

impl fmt::Display for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(host, port) = self;
        match host.parse::<Ipv6Addr>() {
            Ok(_) => write!(f, "[{host}]:{port}"),
            Err(_) => write!(f, "{host}:{port}"),
        }
    }
}
