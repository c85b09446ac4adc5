//! JSON as services send it: lists of records with ids, names, mails, numbers and times.
//!
//! Messages are similar but never the same. With windows of 15 bits and context takeover, zlib-rs compresses
//! them at level 6 to 24 % (1 KiB) and 21 % (16 KiB).

use std::fmt::Write;

use super::Numbers;

const FIRST_NAMES: [&str; 32] = [
    "Anna", "Ben", "Carla", "David", "Elena", "Felix", "Greta", "Hassan", "Ida", "Jonas", "Keiko",
    "Liam", "Maria", "Noah", "Olga", "Pedro", "Quinn", "Rosa", "Samir", "Tessa", "Uwe", "Vera",
    "Wei", "Xenia", "Yusuf", "Zoe", "Amara", "Bjarne", "Chloe", "Dmitri", "Emre", "Fatima",
];

const LAST_NAMES: [&str; 32] = [
    "Andersson",
    "Bauer",
    "Costa",
    "Dubois",
    "Eriksen",
    "Fischer",
    "Garcia",
    "Haddad",
    "Ivanov",
    "Jansen",
    "Kowalski",
    "Lopez",
    "Moreau",
    "Nakamura",
    "Okafor",
    "Petrov",
    "Quispe",
    "Rossi",
    "Schmidt",
    "Tanaka",
    "Ulrich",
    "Varga",
    "Weber",
    "Xu",
    "Yilmaz",
    "Zhang",
    "Almeida",
    "Brandt",
    "Chen",
    "Diallo",
    "Eklund",
    "Farkas",
];

const HOSTS: [&str; 4] = ["example.com", "example.org", "mail.example.net", "corp.example"];

const STATES: [&str; 4] = ["active", "pending", "suspended", "closed"];

const TAGS: [&str; 8] = ["new", "vip", "trial", "annual", "monthly", "blocked", "beta", "partner"];

const WORDS: [&str; 24] = [
    "please",
    "call",
    "before",
    "delivery",
    "customer",
    "asked",
    "for",
    "invoice",
    "by",
    "mail",
    "second",
    "floor",
    "left",
    "a",
    "message",
    "with",
    "neighbour",
    "returns",
    "on",
    "Monday",
    "prefers",
    "evening",
    "visits",
    "only",
];

/// The start and the end of every message, around a list of records and a note that fills it up.
const BEGIN: &str = "{\"type\":\"customers\",\"items\":[";
const CURSOR: &str = "],\"next\":\"";
const NOTE: &str = "\",\"note\":\"";
const END: &str = "\"}";

/// Messages that continue each other: ids and times only rise.
pub struct Records {
    numbers: Numbers,
    id: u64,
    time: u64,
}

impl Records {
    /// Other records for each seed.
    pub fn new(seed: u64) -> Self {
        let mut numbers = Numbers::seeded(seed);
        let id = 100_000 + numbers.below(800_000);
        let time = numbers.below(20_000_000);
        Self { numbers, id, time }
    }

    /// A message of exactly `len` bytes.
    pub fn message(&mut self, len: usize) -> String {
        let mut message = String::with_capacity(len + 512);
        message.push_str(BEGIN);
        let mut records = 0;
        loop {
            let before = message.len();
            if records > 0 {
                message.push(',');
            }
            self.record(&mut message);
            if message.len() + CURSOR.len() + 8 + NOTE.len() + END.len() > len {
                message.truncate(before);
                break;
            }
            records += 1;
        }
        write!(message, "{CURSOR}{:08x}{NOTE}", self.numbers.below(1 << 32)).unwrap();
        while message.len() + END.len() < len {
            message.push_str(self.numbers.of(&WORDS));
            message.push(' ');
        }
        message.truncate(len - END.len());
        message.push_str(END);
        message
    }

    fn record(&mut self, out: &mut String) {
        let n = &mut self.numbers;
        self.id += 1 + n.below(9);
        self.time += n.below(7200);
        let (id, reference) = (self.id, n.below(1 << 20));
        let (first, last) = (n.of(&FIRST_NAMES), n.of(&LAST_NAMES));
        let (user, domain, host) = (first.to_lowercase(), last.to_lowercase(), n.of(&HOSTS));
        let (status, euros, cents) = (n.of(&STATES), n.below(5000), n.below(100));
        let latitude = (n.below(90), n.below(1_000_000));
        let longitude = (n.below(180), n.below(1_000_000));
        let (second, minute, hour) = (self.time % 60, self.time / 60 % 60, self.time / 3600 % 24);
        let (day, month) = (1 + self.time / 86_400 % 28, 1 + self.time / 86_400 / 28 % 12);
        let tags = (n.of(&TAGS), n.of(&TAGS));
        write!(out, r#"{{"id":{id},"ref":"{reference:05x}","name":"{first} {last}","#).unwrap();
        write!(out, r#""email":"{user}.{domain}@{host}","status":"{status}","#).unwrap();
        write!(out, r#""balance":{euros}.{cents:02},"#).unwrap();
        write!(out, r#""latitude":{}.{:06},"#, latitude.0, latitude.1).unwrap();
        write!(out, r#""longitude":{}.{:06},"#, longitude.0, longitude.1).unwrap();
        write!(out, r#""created_at":"2026-{month:02}-{day:02}T{hour:02}:"#).unwrap();
        write!(out, r#"{minute:02}:{second:02}Z","tags":["{}","{}"]}}"#, tags.0, tags.1).unwrap();
    }
}
