//! The order in which the addresses of a host are tried, and when (RFC 8305, "Happy Eyeballs"). It opens no socket and
//! reads no clock.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::vec::Vec;

use super::unreachable::Attempt;

/// RFC 8305 §5: "One recommended value for a default delay is 250 milliseconds".
const DELAY: Duration = Duration::from_millis(250);

/// The addresses that wait, run and have failed. The first TCP connection wins, and TLS comes after.
#[derive(Debug)]
pub(crate) struct Race {
    waiting: VecDeque<SocketAddr>,
    running: Vec<SocketAddr>,
    failed: Vec<Attempt>,
    /// When the next one starts, although others run.
    next_at: Duration,
}

impl Race {
    pub(crate) fn new(addresses: &[SocketAddr]) -> Self {
        Self {
            waiting: in_turn(addresses),
            running: Vec::new(),
            failed: Vec::new(),
            next_at: Duration::ZERO,
        }
    }

    /// The next address, if one is to be tried now.
    pub(crate) fn start(&mut self, now: Duration) -> Option<SocketAddr> {
        if !self.running.is_empty() && now < self.next_at {
            return None;
        }
        let address = self.waiting.pop_front()?;
        self.running.push(address);
        self.next_at = now.saturating_add(DELAY);
        Some(address)
    }

    /// When to ask [`start`](Self::start) again, if nothing fails before.
    pub(crate) fn starts_at(&self) -> Option<Duration> {
        (!self.waiting.is_empty()).then_some(self.next_at)
    }

    /// An address failed. The next one starts at once.
    pub(crate) fn failed(&mut self, address: SocketAddr, error: io::Error) {
        self.running.retain(|&other| other != address);
        self.failed.push(Attempt::new(address, error));
        self.next_at = Duration::ZERO;
    }

    /// Whether no address is left.
    pub(crate) fn is_lost(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// All addresses. Those that still ran, or waited, had no time left.
    pub(crate) fn into_attempts(mut self) -> Vec<Attempt> {
        let late = self.running.into_iter().chain(self.waiting);
        self.failed.extend(late.map(|address| Attempt::new(address, ErrorKind::TimedOut.into())));
        self.failed
    }
}

/// RFC 8305 §4: "the client SHOULD modify the ordered list to interleave address families". It begins with the family
/// that the resolver has first. An address that is there twice is tried once.
fn in_turn(addresses: &[SocketAddr]) -> VecDeque<SocketAddr> {
    let starts_with_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (VecDeque<_>, VecDeque<_>) =
        addresses.iter().partition(|address| address.is_ipv6() == starts_with_v6);
    let mut ordered = VecDeque::with_capacity(addresses.len());
    while !(first.is_empty() && second.is_empty()) {
        for address in [first.pop_front(), second.pop_front()].into_iter().flatten() {
            if !ordered.contains(&address) {
                ordered.push_back(address);
            }
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec;

    const V4: [&str; 3] = ["192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80"];
    const V6: [&str; 2] = ["[2001:db8::1]:80", "[2001:db8::2]:80"];

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn families_take_turns_and_the_resolvers_first_begins() {
        let order = |texts: &[&str]| {
            in_turn(&addresses(texts)).iter().map(SocketAddr::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            order(&[V6[0], V6[1], V4[0], V4[1], V4[2]]),
            [V6[0], V4[0], V6[1], V4[1], V4[2]]
        );
        assert_eq!(order(&[V4[0], V4[1], V6[0]]), [V4[0], V6[0], V4[1]]);
        assert_eq!(order(&[V4[0], V4[0], V6[0], V4[0]]), [V4[0], V6[0]]);
        assert_eq!(order(&[]), Vec::<std::string::String>::new());
    }

    #[test]
    fn the_next_address_starts_after_the_delay_or_when_one_fails() {
        let all = addresses(&V4);
        let mut race = Race::new(&all);
        assert_eq!(race.start(ms(1000)), Some(all[0]));
        assert_eq!((race.start(ms(1000)), race.starts_at()), (None, Some(ms(1250))));
        assert_eq!(race.start(ms(1249)), None);
        race.failed(all[0], ErrorKind::ConnectionRefused.into());
        assert_eq!(race.start(ms(1010)), Some(all[1]), "at once");
        assert_eq!(race.starts_at(), Some(ms(1260)), "the delay begins anew");
        assert_eq!(race.start(ms(1260)), Some(all[2]));
        assert_eq!((race.start(ms(9000)), race.starts_at()), (None, None));
        race.failed(all[2], ErrorKind::ConnectionReset.into());
        assert!(!race.is_lost(), "one still runs");
        race.failed(all[1], ErrorKind::ConnectionReset.into());
        assert!(race.is_lost());

        let mut race = Race::new(&all);
        race.start(ms(1000));
        assert_eq!(race.start(ms(1250)), Some(all[1]));
        race.failed(all[1], ErrorKind::ConnectionRefused.into());
        assert_eq!(race.start(ms(1251)), Some(all[2]), "at once, although the first still runs");
    }

    #[test]
    fn at_the_end_each_address_has_its_error() {
        let all = addresses(&V4);
        let mut race = Race::new(&all);
        race.start(ms(0));
        race.failed(all[0], ErrorKind::ConnectionRefused.into());
        race.start(ms(0));
        let kinds: Vec<_> =
            race.into_attempts().iter().map(|a| (a.address, a.error.kind())).collect();
        assert_eq!(
            kinds,
            vec![
                (all[0], ErrorKind::ConnectionRefused),
                (all[1], ErrorKind::TimedOut),
                (all[2], ErrorKind::TimedOut)
            ]
        );
    }
}
