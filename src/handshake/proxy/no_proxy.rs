//! The list of hosts that need no proxy.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

/// The hosts that are reached without a proxy: see [`Proxies::no_proxy`](super::Proxies::no_proxy).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NoProxy {
    all: bool,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    host: Host,
    /// If the entry names one.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// Without a dot at its start or its end.
    Name(String),
    /// The addresses that have the first bits of this one.
    Range(IpAddr, u32),
}

impl NoProxy {
    /// Reads a list. An entry that is none of the kinds matches nothing, as in curl.
    pub(super) fn parse(list: &str) -> Self {
        let entries = list.split(',').filter_map(|entry| {
            // What follows a blank is no part of the entry.
            Entry::parse(entry.split_ascii_whitespace().next()?)
        });
        Self { all: list == "*", entries: entries.collect() }
    }

    /// Whether the list has the host, which is a name or an address without brackets.
    pub(super) fn has(&self, host: &str, port: u16) -> bool {
        // A dot at the end says that a name is whole, and means nothing here.
        let host = host.strip_suffix('.').unwrap_or(host);
        let address = host.parse().ok();
        self.all || self.entries.iter().any(|entry| entry.matches(host, address, port))
    }
}

impl Entry {
    fn parse(entry: &str) -> Option<Self> {
        if let Some(host) = parse_range(entry) {
            return Some(Self { host, port: None });
        }
        let (host, port) = match entry.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                (Host::Range(address.parse().ok().filter(IpAddr::is_ipv6)?, 128), port)
            }
            None => {
                let (name, port) = entry.split_at(entry.find(':').unwrap_or(entry.len()));
                let host = match name.parse::<IpAddr>() {
                    Ok(address) => Host::Range(address, 32),
                    Err(_) => {
                        let name = name.strip_suffix('.').unwrap_or(name);
                        let name = name.strip_prefix('.').unwrap_or(name);
                        Host::Name((!name.is_empty()).then(|| name.into())?)
                    }
                };
                (host, port)
            }
        };
        let port = match port.strip_prefix(':') {
            Some(port) => Some(port.parse().ok()?),
            None if port.is_empty() => None,
            None => return None,
        };
        Some(Self { host, port })
    }

    fn matches(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        if self.port.is_some_and(|own| own != port) {
            return false;
        }
        match (&self.host, address) {
            (Host::Range(range, bits), Some(address)) => is_in(address, *range, *bits),
            (Host::Name(name), None) => is_below(host, name),
            _ => false,
        }
    }
}

/// An address, or a range `address "/" bits`.
fn parse_range(entry: &str) -> Option<Host> {
    let Some((address, bits)) = entry.split_once('/') else {
        let address: IpAddr = entry.parse().ok()?;
        return Some(Host::Range(address, width(address)));
    };
    let address = address.parse().ok()?;
    let is_number = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
    let bits = is_number.then(|| bits.parse().ok())??;
    (bits <= width(address)).then_some(Host::Range(address, bits))
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Whether the first bits of both are the same. Addresses of two families never are.
fn is_in(address: IpAddr, range: IpAddr, bits: u32) -> bool {
    match (address, range) {
        (IpAddr::V4(address), IpAddr::V4(range)) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            (address.to_bits() ^ range.to_bits()) & mask == 0
        }
        (IpAddr::V6(address), IpAddr::V6(range)) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            (address.to_bits() ^ range.to_bits()) & mask == 0
        }
        _ => false,
    }
}

/// Whether the name is the domain, or ends with it after a dot.
fn is_below(name: &str, domain: &str) -> bool {
    let Some(start) = name.len().checked_sub(domain.len()) else {
        return false;
    };
    // All of a URL's host is ASCII, but an entry may not be.
    name.is_char_boundary(start)
        && name[start..].eq_ignore_ascii_case(domain)
        && (start == 0 || name.as_bytes()[start - 1] == b'.')
}
