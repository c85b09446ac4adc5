//! Conversions between the types of the `http` crate and those of `handshake`, and nothing else.

use alloc::borrow::Cow;
use alloc::string::ToString;
use alloc::vec::Vec;

use ::http::request::Parts;
use ::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};

use crate::handshake::{ClientRequest, Headers, InvalidRequest, Request, RequestError, Response};

impl<B> TryFrom<&::http::Request<B>> for Request {
    type Error = RequestError;

    /// Takes a request that another server has read, with any body. With the feature `http2` it can also be
    /// an extended CONNECT, as hyper and `h2` give it.
    ///
    /// ```
    /// use bowline::handshake::{Accept, Request};
    /// # let http_request = http::Request::get("/chat")
    /// #     .header("Host", "example.com")
    /// #     .header("Upgrade", "websocket")
    /// #     .header("Connection", "Upgrade")
    /// #     .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    /// #     .header("Sec-WebSocket-Version", "13")
    /// #     .body(())?;
    /// let config = bowline::Config::default();
    /// let request = Request::try_from(&http_request)?;
    /// let (connection, response) = request.upgrade(&config)?.accept(Accept::new())?;
    /// let response: http::Response<Vec<u8>> = response.into();
    /// # assert_eq!(response.status(), 101);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RequestError::Method`], [`RequestError::NotUpgrade`] and [`RequestError::Protocol`] come first. The
    /// first two mean an ordinary request, which may be answered like any other. The version of HTTP is
    /// checked next, and then the rules for any request ([`RequestError::Host`], [`RequestError::Body`],
    /// [`RequestError::Target`], and in HTTP/2 [`RequestError::ConnectionHeader`]).
    /// [`upgrade`](Request::upgrade) checks the rest. The answer to each error is
    /// [`RequestError::response`].
    fn try_from(request: &::http::Request<B>) -> Result<Self, RequestError> {
        let (method, uri) = (request.method(), request.uri());
        checked(request.version(), read(method, uri, request.headers(), request.extensions()))
    }
}

impl TryFrom<&Parts> for Request {
    type Error = RequestError;

    /// As from a whole request.
    ///
    /// # Errors
    ///
    /// As from a whole request.
    fn try_from(parts: &Parts) -> Result<Self, RequestError> {
        checked(parts.version, read_parts(parts))
    }
}

/// The request, with nothing checked.
pub(crate) fn read_parts(parts: &Parts) -> Request {
    read(&parts.method, &parts.uri, &parts.headers, &parts.extensions)
}

fn read(method: &Method, uri: &Uri, headers: &HeaderMap, extensions: &Extensions) -> Request {
    match protocol(extensions) {
        Some(protocol) if *method == Method::CONNECT => Request::from_extended_connect_unchecked(
            protocol,
            uri.scheme_str().unwrap_or_default(),
            uri.authority().map_or("", |authority| authority.as_str()),
            uri.path_and_query().map_or("", |path| path.as_str()),
            headers,
        ),
        _ => {
            let target = match uri.path_and_query() {
                Some(path) if uri.authority().is_none() => Cow::Borrowed(path.as_str()),
                _ => Cow::Owned(uri.to_string()),
            };
            Request::from_parts_unchecked(method.as_str(), &target, headers)
        }
    }
}

/// The `:protocol` of an extended CONNECT.
#[cfg(feature = "http2")]
fn protocol(extensions: &Extensions) -> Option<&str> {
    let of_hyper = extensions.get::<::hyper::ext::Protocol>().map(|protocol| protocol.as_str());
    of_hyper.or_else(|| Some(extensions.get::<::h2::ext::Protocol>()?.as_str()))
}

#[cfg(not(feature = "http2"))]
fn protocol(_: &Extensions) -> Option<&str> {
    None
}

pub(crate) fn checked(version: Version, request: Request) -> Result<Request, RequestError> {
    request.check(match version {
        Version::HTTP_09 => (0, 9),
        Version::HTTP_10 => (1, 0),
        Version::HTTP_11 => (1, 1),
        Version::HTTP_2 => (2, 0),
        _ => (3, 0),
    })?;
    Ok(request)
}

/// A response that was received, without its body.
#[cfg(feature = "hyper")]
pub(crate) fn received<B>(response: &::http::Response<B>) -> Response {
    Response::received(response.status().as_u16(), response.headers())
}

/// The response as a value of the `http` crate.
pub(crate) fn response(response: Response) -> ::http::Response<Vec<u8>> {
    let (status, headers, body) = response.into_parts();
    let mut response = ::http::Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    put(&headers, response.headers_mut());
    response
}

/// A field that passed our checks passes these too, because both follow RFC 9110.
pub(crate) fn put(fields: &Headers, headers: &mut HeaderMap) {
    for (name, value) in fields.iter() {
        let value = match value {
            // Each opening handshake has these two values, so they are not copied.
            b"websocket" => Ok(HeaderValue::from_static("websocket")),
            b"Upgrade" => Ok(HeaderValue::from_static("Upgrade")),
            value => HeaderValue::from_bytes(value),
        };
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), value) {
            // It fails only beyond 32,768 names, which no response has.
            let _ = headers.try_append(name, value);
        }
    }
}

impl<B: From<Vec<u8>>> From<Response> for ::http::Response<B> {
    /// Makes the response that another server sends. The body can be any type that is made from bytes
    /// (`Vec<u8>`, `Bytes`, `Full`, axum's `Body`); `map` gives other types. That server writes
    /// `Connection: close` and `Content-Length` itself.
    fn from(response: Response) -> Self {
        self::response(response).map(B::from)
    }
}

impl<B> TryFrom<&::http::Request<B>> for ClientRequest {
    type Error = InvalidRequest;

    /// Takes the URL and the headers. `Sec-WebSocket-Protocol` becomes the offer of subprotocols, and
    /// `Origin` the origin. The rest of the handshake is added when the request is sent. The body is ignored.
    ///
    /// ```
    /// use bowline::handshake::ClientRequest;
    /// let request = http::Request::get("wss://example.com/chat")
    ///     .header("Cookie", "session=abc")
    ///     .header("Sec-WebSocket-Protocol", "chat.v2, chat")
    ///     .body(())?;
    /// let request = ClientRequest::try_from(&request)?;
    /// # assert_eq!(request.host(), "example.com");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ClientRequest::new`] and its setters: a URL that is not absolute, or a header of the
    /// handshake's own, such as `Sec-WebSocket-Key` or `Host`. A method other than GET.
    fn try_from(request: &::http::Request<B>) -> Result<Self, InvalidRequest> {
        if request.method() != Method::GET {
            return Err(InvalidRequest::Method);
        }
        let mut result = Self::new(&request.uri().to_string())?;
        for (name, value) in request.headers() {
            let name = name.as_str();
            let value = core::str::from_utf8(value.as_bytes())
                .map_err(|_| InvalidRequest::Header(name.into()))?;
            result = match name {
                "sec-websocket-protocol" => value
                    .split(',')
                    .map(str::trim)
                    .filter(|offer| !offer.is_empty())
                    .try_fold(result, Self::subprotocol)?,
                "origin" => result.origin(value)?,
                _ => result.header(name, value)?,
            };
        }
        Ok(result)
    }
}
