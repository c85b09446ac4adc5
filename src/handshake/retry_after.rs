//! `Retry-After` (RFC 9110 §10.2.3): seconds, or a date (§5.6.7).

use core::time::Duration;

const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

const DAYS: [&[u8]; 7] =
    [b"Sunday", b"Monday", b"Tuesday", b"Wednesday", b"Thursday", b"Friday", b"Saturday"];

/// How long the value asks to wait from `unix_now` on. `None` if it has neither form.
pub(super) fn parse(value: &[u8], unix_now: Duration) -> Option<Duration> {
    // RFC 9110 §10.2.3: "delay-seconds = 1*DIGIT".
    if !value.is_empty() && value.iter().all(u8::is_ascii_digit) {
        let seconds = value.iter().try_fold(0_u64, |sum, digit| {
            sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        });
        return Some(seconds.map_or(Duration::MAX, Duration::from_secs));
    }
    let date = Date::parse(value, unix_now.as_secs())?.unix_seconds()?;
    Some(Duration::from_secs(date).saturating_sub(unix_now))
}

struct Date {
    year: u64,
    /// From 1.
    month: u64,
    day: u64,
    seconds: u64,
}

impl Date {
    /// RFC 9110 §5.6.7: "A recipient that parses a timestamp value in an HTTP field MUST accept all three HTTP-date
    /// formats."
    fn parse(value: &[u8], unix_now: u64) -> Option<Self> {
        let space = value.iter().position(|&byte| byte == b' ')?;
        let (name, rest) = (&value[..space], &value[space + 1..]);
        match name.split_last()? {
            (b',', name) if name.len() == 3 => Self::imf(is_day(name, false).then_some(rest)?),
            (b',', name) => Self::rfc850(is_day(name, true).then_some(rest)?, unix_now),
            _ => Self::asctime(is_day(name, false).then_some(rest)?),
        }
    }

    /// `06 Nov 1994 08:49:37 GMT`
    fn imf(rest: &[u8]) -> Option<Self> {
        let [d1, d0, b' ', m @ .., b' ', b'G', b'M', b'T'] = rest else { return None };
        let (month, rest) = m.split_at_checked(4)?;
        let (year, time) = rest.split_at_checked(5)?;
        let year = number(year.strip_suffix(b" ")?)?;
        Self::of(year, month.strip_suffix(b" ")?, number(&[*d1, *d0])?, time)
    }

    /// `06-Nov-94 08:49:37 GMT`
    fn rfc850(rest: &[u8], unix_now: u64) -> Option<Self> {
        let [d1, d0, b'-', m2, m1, m0, b'-', y1, y0, b' ', time @ .., b' ', b'G', b'M', b'T'] =
            rest
        else {
            return None;
        };
        // RFC 9110 §5.6.7: "Recipients of a timestamp value in rfc850-date format, which uses a two-digit year, MUST
        // interpret a timestamp that appears to be more than 50 years in the future as representing the most recent year
        // in the past that had the same last two digits."
        // The seconds of a mean year.
        let now = 1970 + unix_now / 31_556_952;
        let latest = now + 50;
        let year = latest / 100 * 100 + number(&[*y1, *y0])?;
        let year = if year > latest { year - 100 } else { year };
        Self::of(year, &[*m2, *m1, *m0], number(&[*d1, *d0])?, time)
    }

    /// `Nov  6 08:49:37 1994`
    fn asctime(rest: &[u8]) -> Option<Self> {
        let [m2, m1, m0, b' ', d1, d0, b' ', time @ .., b' ', y3, y2, y1, y0] = rest else {
            return None;
        };
        let d1 = if *d1 == b' ' { b'0' } else { *d1 };
        let year = number(&[*y3, *y2, *y1, *y0])?;
        Self::of(year, &[*m2, *m1, *m0], number(&[d1, *d0])?, time)
    }

    fn of(year: u64, month: &[u8], day: u64, time: &[u8]) -> Option<Self> {
        let [h1, h0, b':', m1, m0, b':', s1, s0] = time else { return None };
        let (hour, minute) = (number(&[*h1, *h0])?, number(&[*m1, *m0])?);
        let second = number(&[*s1, *s0])?;
        let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
        // A second of 60 is a leap second.
        let is_valid = (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
        let seconds = hour * 3600 + minute * 60 + second;
        is_valid.then_some(Self { year, month, day, seconds })
    }

    /// The seconds since 1970. `None` before.
    fn unix_seconds(&self) -> Option<u64> {
        // The year begins in March here, so that the day of a leap year is its last.
        let (year, month) = match self.month {
            1 | 2 => (self.year.checked_sub(1)?, self.month + 9),
            month => (self.year, month - 3),
        };
        let days = year * 365 + year / 4 - year / 100 + year / 400;
        let days = days + (month * 153 + 2) / 5 + self.day - 1;
        Some(days.checked_sub(719_468)? * 86_400 + self.seconds)
    }
}

/// Whether this is the name of a day, whole or its first three letters. Which day it is does not matter.
fn is_day(name: &[u8], is_whole: bool) -> bool {
    DAYS.iter().any(|day| name == if is_whole { day } else { &day[..3] })
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'))
    })
}
