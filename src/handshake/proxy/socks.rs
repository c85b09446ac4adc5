//! SOCKS 5 (RFC 1928, RFC 1929) and SOCKS 4a, the client's side.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::{Credentials, LONGEST, Proxy, ProxyError, ProxyScheme, SocksReply};
use crate::handshake::InvalidRequest;
use crate::memory::recv_buf::RecvBuf;
use crate::memory::send_buf::SendBuf;

/// What is read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// RFC 1928 §3: the method that the proxy selected.
    Method,
    /// RFC 1929 §2: whether it takes the credentials.
    Credentials,
    /// RFC 1928 §6: whether it has connected.
    Reply,
    /// The reply of SOCKS 4.
    Reply4,
}

/// Asks a SOCKS proxy for a connection.
pub(super) struct Socks {
    step: Step,
    user: Option<Credentials>,
    /// The request, which follows the methods.
    request: Vec<u8>,
}

/// RFC 1928 §3.
const NO_AUTHENTICATION: u8 = 0;
const PASSWORD: u8 = 2;

impl Socks {
    /// Queues the first message.
    pub(super) fn start(
        proxy: &Proxy,
        host: &str,
        port: u16,
        out: &mut SendBuf,
    ) -> Result<Self, InvalidRequest> {
        // RFC 1928 §5: in DOMAINNAME, "the first octet of the address field contains the number of octets of name".
        if host.is_empty() || host.len() > LONGEST {
            return Err(InvalidRequest::Proxy("SOCKS takes names of 1 to 255 bytes"));
        }
        let user = proxy.user.clone();
        if proxy.scheme() == ProxyScheme::Socks4a {
            let name = user.map(|user| user.name).unwrap_or_default();
            queue(out, &request4(&name, host, port));
            return Ok(Self { step: Step::Reply4, user: None, request: Vec::new() });
        }
        match user {
            Some(_) => queue(out, &[5, 2, NO_AUTHENTICATION, PASSWORD]),
            None => queue(out, &[5, 1, NO_AUTHENTICATION]),
        }
        Ok(Self { step: Step::Method, user, request: request5(host, port) })
    }

    /// Takes what has come, and queues what follows. Whether the proxy has connected.
    pub(super) fn read(
        &mut self,
        input: &mut RecvBuf,
        out: &mut SendBuf,
    ) -> Result<bool, ProxyError> {
        loop {
            let unread = input.unread();
            match self.step {
                Step::Method => match *unread {
                    [5, method, ..] => {
                        self.take_method(method, out)?;
                        input.skip(2);
                    }
                    [] | [5] => return Ok(false),
                    _ => return Err(ProxyError::Malformed),
                },
                Step::Credentials => match *unread {
                    // RFC 1929 §2: "A STATUS field of X'00' indicates success." The version is 1, and some proxies
                    // send 5.
                    [1 | 5, 0, ..] => {
                        input.skip(2);
                        self.step = Step::Reply;
                        queue(out, &self.request);
                    }
                    [1 | 5, _, ..] => return Err(ProxyError::BadCredentials),
                    [] | [1 | 5] => return Ok(false),
                    _ => return Err(ProxyError::Malformed),
                },
                Step::Reply => {
                    let length = reply_length(unread)?;
                    return Ok(length.is_some_and(|length| {
                        input.skip(length);
                        true
                    }));
                }
                Step::Reply4 => {
                    let code = match *unread {
                        [0, code, _, _, _, _, _, _, ..] => code,
                        // A refusal is known by its second byte.
                        [0, code, ..] if code != 90 => code,
                        [] | [0, ..] => return Ok(false),
                        _ => return Err(ProxyError::Malformed),
                    };
                    return match code {
                        90 => {
                            input.skip(8);
                            Ok(true)
                        }
                        91 => Err(ProxyError::Socks(SocksReply::Failure)),
                        92 | 93 => Err(ProxyError::Socks(SocksReply::Ident(code))),
                        code => Err(ProxyError::Socks(SocksReply::Other(code))),
                    };
                }
            }
        }
    }

    fn take_method(&mut self, method: u8, out: &mut SendBuf) -> Result<(), ProxyError> {
        match (method, &self.user) {
            (NO_AUTHENTICATION, _) => {
                self.step = Step::Reply;
                queue(out, &self.request);
            }
            (PASSWORD, Some(user)) => {
                self.step = Step::Credentials;
                // Both lengths are checked where the URL is read.
                let mut message = Vec::from([1, user.name.len() as u8]);
                message.extend_from_slice(&user.name);
                message.push(user.password.len() as u8);
                message.extend_from_slice(&user.password);
                queue(out, &message);
            }
            // RFC 1928 §3: "If the selected METHOD is X'FF', none of the methods listed by the client are acceptable".
            // A proxy that selects one that was not offered wants that one.
            _ => return Err(ProxyError::NoMethod),
        }
        Ok(())
    }
}

fn queue(out: &mut SendBuf, message: &[u8]) {
    out.append(|buffer| buffer.extend_from_slice(message));
}

/// CONNECT (1) to an address: RFC 1928 §4.
fn request5(host: &str, port: u16) -> Vec<u8> {
    let mut request = Vec::from([5, 1, 0]);
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(1);
            request.extend_from_slice(&address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(4);
            request.extend_from_slice(&address.octets());
        }
        // The length is checked before.
        Err(_) => {
            request.extend_from_slice(&[3, host.len() as u8]);
            request.extend_from_slice(host.as_bytes());
        }
    }
    request.extend_from_slice(&port.to_be_bytes());
    request
}

/// CONNECT (1) of SOCKS 4. An IPv4 address is sent as one. A name, or an IPv6 address as text, follows the invalid
/// address 0.0.0.1, which is the extension 4a.
fn request4(user: &[u8], host: &str, port: u16) -> Vec<u8> {
    let mut request = Vec::from([4, 1]);
    request.extend_from_slice(&port.to_be_bytes());
    let address = match host.parse() {
        Ok(IpAddr::V4(address)) => Some(address),
        _ => None,
    };
    request.extend_from_slice(&address.map_or([0, 0, 0, 1], |address| address.octets()));
    request.extend_from_slice(user);
    request.push(0);
    if address.is_none() {
        request.extend_from_slice(host.as_bytes());
        request.push(0);
    }
    request
}

/// The length of the reply of SOCKS 5, once it is complete. Its address is of no use here, but may be of any type
/// (RFC 1928 §6).
fn reply_length(reply: &[u8]) -> Result<Option<usize>, ProxyError> {
    let address = match *reply {
        // A refusal is known by its second byte, whatever else the proxy sends.
        [5, code, ..] if code != 0 => return Err(ProxyError::Socks(SocksReply::of_socks5(code))),
        [5, 0, _, 1, ..] => 4,
        [5, 0, _, 4, ..] => 16,
        [5, 0, _, 3, length, ..] => 1 + usize::from(length),
        [] | [5] | [5, 0] | [5, 0, _] | [5, 0, _, 3] => return Ok(None),
        _ => return Err(ProxyError::Malformed),
    };
    let length = 4 + address + 2;
    Ok((reply.len() >= length).then_some(length))
}
