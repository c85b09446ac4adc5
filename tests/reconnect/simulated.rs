//! Clients and servers in simulated time, over many seeds. `SEEDS` says how many; `.ci/full` has 100,000.

use std::time::Duration;

use bowline::protocol::{Never, Retries};
use bowline::{Outcome, Reconnect, Then};

const HOUR: Duration = Duration::from_secs(3_600);

fn seeds() -> u64 {
    std::env::var("SEEDS").ok().map_or(2_000, |text| text.parse().unwrap())
}

fn secs(n: f64) -> Duration {
    Duration::from_secs_f64(n)
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// From `from` to `to` seconds.
    fn secs(&mut self, from: f64, to: f64) -> Duration {
        secs(from + (to - from) * (self.next() as f64 / u64::MAX as f64))
    }

    fn outcome(&mut self) -> Outcome {
        const CODES: [u16; 8] = [1000, 1001, 1005, 1006, 1008, 1011, 1013, 4200];
        match self.below(4) {
            0 => Outcome::Network,
            1 => Outcome::Status([401, 429, 500, 503][self.below(4) as usize]),
            2 => Outcome::Local,
            _ => Outcome::Closed(CODES[self.below(8) as usize].into()),
        }
    }

    fn policy(&mut self) -> Reconnect {
        let policy = Reconnect::default()
            .first_delay(self.secs(0.0, 5.0))
            .spread(self.secs(0.0, 20.0))
            .factor(1.0 + self.below(40) as f64 / 10.0)
            .max_delay(self.secs(0.1, 60.0))
            .min_uptime(self.secs(0.0, 30.0))
            .busy_delay(self.secs(0.0, 30.0))
            .max_retry_after(self.secs(0.0, 600.0));
        if self.below(2) == 0 { policy.on_close_by_hundreds() } else { policy }
    }
}

/// Whatever the server does, and however often the program nudges, or goes on after a stop.
#[test]
fn no_client_is_faster_than_its_budget() {
    for seed in 0..seeds() {
        let mut random = Random(seed);
        let budget = 1 + random.below(40) as usize;
        let policy = random.policy().attempts_per_hour(budget as u32);
        let mut retries = Retries::new(policy);
        let (mut now, mut attempts) = (Duration::ZERO, Vec::new());
        while attempts.len() < 5 * budget + 5 {
            attempts.push(now);
            retries.start(now);
            if random.below(2) == 0 {
                retries.opened(now);
                now += random.secs(0.0, 20.0);
            }
            let asked = (random.below(4) == 0).then(|| random.secs(0.0, 10.0));
            let wait = retries.retry(now, random.outcome(), asked, random.next());
            let wait = wait.unwrap_or_else(|_| retries.anyway(now, random.next()));
            assert!(wait.at >= now && wait.earliest >= now, "seed {seed}");
            now = if random.below(2) == 0 { wait.nudged(now).at } else { wait.at };
        }
        for window in attempts.windows(budget + 1) {
            assert!(window[budget] - window[0] >= HOUR, "seed {seed}: {window:?}");
        }
    }
}

/// However long the server was away, and for whatever reason that passes.
#[test]
fn every_client_is_back_within_the_longest_delay_once_the_server_is_there() {
    for seed in 0..seeds() {
        let mut random = Random(seed);
        let max = random.secs(1.0, 60.0);
        let policy = random.policy().max_delay(max).attempts_per_hour(None);
        let mut retries = Retries::new(policy);
        let back = random.secs(0.0, 2_000.0);
        let mut now = Duration::ZERO;
        retries.start(now);
        retries.opened(now);
        loop {
            let passing = [Outcome::Network, Outcome::Status(502), Outcome::Closed(1001.into())];
            let outcome = passing[random.below(3) as usize];
            let wait = retries.retry(now, outcome, None, random.next()).unwrap();
            assert!(wait.at - now <= max, "seed {seed}");
            now = wait.at;
            retries.start(now);
            if now >= back {
                break;
            }
        }
        assert!(now - back <= max, "seed {seed}: {:?} late", now - back);
    }
}

/// When each client opens a session, after a server has ended all sessions and was away for a time.
fn arrivals(
    clients: usize,
    seed: u64,
    policy: &Reconnect,
    outcome: Outcome,
    away: Duration,
) -> Vec<Duration> {
    let mut random = Random(seed);
    let arrival = |_| {
        let mut retries = Retries::new(policy.clone());
        retries.start(Duration::ZERO);
        retries.opened(Duration::ZERO);
        let lost = HOUR;
        let mut wait = retries.retry(lost, outcome, None, random.next());
        loop {
            let now = wait.unwrap().at;
            if now >= lost + away {
                return now - lost;
            }
            retries.start(now);
            wait = retries.retry(now, Outcome::Network, None, random.next());
        }
    };
    let mut all: Vec<_> = (0..clients).map(arrival).collect();
    all.sort();
    all
}

/// The most that come within 100 ms, wherever these begin.
fn most_at_once(arrivals: &[Duration]) -> usize {
    let tenth = Duration::from_millis(100);
    let within = |from: usize| arrivals[from..].partition_point(|&at| at < arrivals[from] + tenth);
    (0..arrivals.len()).map(within).max().unwrap()
}

#[test]
fn a_thousand_clients_of_a_server_that_restarts_do_not_come_together() {
    let policy = Reconnect::default();
    for seed in 0..(seeds() / 200).max(10) {
        for outcome in
            [Outcome::Network, Outcome::Closed(1001.into()), Outcome::Closed(1012.into())]
        {
            for away in [0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 300.0] {
                let arrivals = arrivals(1_000, seed, &policy, outcome, secs(away));
                let most = most_at_once(&arrivals);
                assert!(most <= 30, "seed {seed}, away for {away} s: {most} at once");
            }
        }
    }
}

/// What docs/reconnecting.md says of more clients: the spread and the longest delay grow with their number.
#[test]
fn five_thousand_clients_need_five_times_the_default() {
    let policy = Reconnect::default().spread(secs(60.0)).max_delay(secs(150.0));
    for seed in 0..10 {
        for away in [0.0, 1.0, 10.0, 60.0] {
            let closed = Outcome::Closed(1001.into());
            let most = most_at_once(&arrivals(5_000, seed, &policy, closed, secs(away)));
            assert!(most <= 30, "seed {seed}, away for {away} s: {most} at once");
        }
    }
}

/// RFC 6455 §7.2.3 calls 0 to 5 s a reasonable first delay.
#[test]
fn five_seconds_are_too_few_for_a_thousand_clients() {
    let policy = Reconnect::default().spread(secs(5.0));
    let too_many = |&seed: &u64| {
        let closed = Outcome::Closed(1001.into());
        most_at_once(&arrivals(1_000, seed, &policy, closed, Duration::ZERO)) > 30
    };
    assert!((0..100).filter(too_many).count() > 80);
}

/// How often a client connects in this time to a server that accepts and at once closes.
fn connections(seed: u64, policy: &Reconnect, code: u16, time: Duration) -> usize {
    let mut random = Random(seed);
    let mut retries = Retries::new(policy.clone());
    let (mut now, mut connections) = (Duration::ZERO, 0);
    while now < time {
        connections += 1;
        retries.start(now);
        retries.opened(now);
        match retries.retry(now, Outcome::Closed(code.into()), None, random.next()) {
            Ok(wait) => now = wait.at,
            Err(never) => {
                assert_eq!(never, Never::Outcome(Outcome::Closed(code.into())));
                break;
            }
        }
    }
    connections
}

#[test]
fn a_server_that_closes_with_1008_gets_one_connection() {
    for seed in 0..seeds() {
        assert_eq!(connections(seed, &Reconnect::default(), 1008, HOUR), 1);
    }
}

/// Opening a session does not reset the wait.
#[test]
fn a_server_that_accepts_and_closes_is_not_asked_all_the_time() {
    let stubborn = Reconnect::default().on_close(1000..=4999, Then::AtOnce);
    for (policy, code) in [(&Reconnect::default(), 1011), (&stubborn, 1008), (&stubborn, 4200)] {
        let (mut sum, n) = (0, seeds().min(1_000));
        for seed in 0..n {
            let in_an_hour = connections(seed, policy, code, HOUR);
            assert!(in_an_hour <= 360, "seed {seed}: {in_an_hour} in an hour");
            sum += connections(seed, policy, code, Duration::from_secs(60));
        }
        let mean = sum as f64 / n as f64;
        assert!(mean < 8.0, "{mean} connections in a minute on average");
    }
}
