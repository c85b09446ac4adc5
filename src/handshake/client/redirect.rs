//! Redirects (RFC 9110 §15.4): what they are, and when one is not followed.

use core::fmt;

use crate::handshake::refusal::show;
use crate::handshake::response::Response;

/// A redirect that was not followed: see [`ConnectError::Redirected`](super::ConnectError::Redirected).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirected {
    response: Response,
    why: Unfollowed,
}

/// Why a redirect was not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfollowed {
    /// The request allows none: see [`ClientRequest::redirects`](super::ClientRequest::redirects).
    Off,
    /// More than this many, which the request allows.
    TooMany(u32),
    /// It goes from `wss` to `ws`.
    Insecure,
    /// The `Location` is no URL of a WebSocket, or has credentials (RFC 9110 §4.2.4).
    Location,
    /// The program gave the stream, so nothing here can connect anew.
    GivenStream,
}

impl Redirected {
    /// Takes the response if it is a redirect that can be followed.
    pub(super) fn of(response: Response, why: Unfollowed) -> Result<Self, Response> {
        match response.is_redirect() {
            true => Ok(Self { response, why }),
            false => Err(response),
        }
    }

    pub(super) fn because(self, why: Unfollowed) -> Self {
        Self { why, ..self }
    }

    /// 301, 302, 303, 307 or 308.
    pub fn status(&self) -> u16 {
        self.response.status()
    }

    /// The `Location`, as the server sent it. It may be relative to the URL. Bytes that are not UTF-8 make it empty.
    pub fn location(&self) -> &str {
        self.location_text().unwrap_or_default()
    }

    pub(super) fn location_text(&self) -> Option<&str> {
        self.response.headers().get_str("Location")
    }

    /// Why it was not followed.
    pub fn why(&self) -> Unfollowed {
        self.why
    }

    /// The response, without its body, which nothing waits for.
    pub fn response(&self) -> &Response {
        &self.response
    }
}

impl fmt::Display for Redirected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server answered with status {}, which points to ", self.status())?;
        if self.response.repeats_query {
            f.write_str("a URL with the query of this one")?;
        } else {
            show(self.location(), f)?;
        }
        match self.why {
            Unfollowed::Off => f.write_str("; redirects are not followed"),
            Unfollowed::TooMany(1) => f.write_str("; the request allows 1 redirect"),
            Unfollowed::TooMany(n) => write!(f, "; the request allows {n} redirects"),
            Unfollowed::Insecure => f.write_str("; a redirect from wss to ws is never followed"),
            Unfollowed::Location => {
                f.write_str("; that is no URL of a WebSocket without credentials")
            }
            Unfollowed::GivenStream => {
                f.write_str("; redirects are not followed on a stream that the program gave")
            }
        }
    }
}

/// Whether another origin gets this header of the program after a redirect. A name does not tell whether a header holds a
/// secret. So only those that hold none are sent.
pub(super) fn is_kept_elsewhere(name: &str) -> bool {
    const HARMLESS: [&str; 6] =
        ["accept", "accept-language", "cache-control", "pragma", "user-agent", "dnt"];
    HARMLESS.iter().any(|harmless| name.eq_ignore_ascii_case(harmless))
}
