//! `Retry-After` in both forms (RFC 9110 §10.2.3), and the three forms of a date (§5.6.7).

use std::time::Duration;

use bowline::Error;
use bowline::handshake::{ConnectError, Response};

/// 08:49:37 on 6 November 1994.
const THEN: u64 = 784_111_777;

fn read(value: &str, unix_now: u64) -> Option<u64> {
    let response = Response::received(503, [("Retry-After", value)]);
    response.retry_after(Duration::from_secs(unix_now)).map(|wait| wait.as_secs())
}

#[test]
fn seconds() {
    assert_eq!(read("0", THEN), Some(0));
    assert_eq!(read("120", THEN), Some(120));
    assert_eq!(read("007", THEN), Some(7));
    assert_eq!(read("18446744073709551615", THEN), Some(u64::MAX));
    assert_eq!(read("18446744073709551616", THEN), Some(Duration::MAX.as_secs()));
}

#[test]
fn each_form_of_a_date() {
    for date in [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun Nov 06 08:49:37 1994",
    ] {
        assert_eq!(read(date, THEN - 60), Some(60), "{date}");
        assert_eq!(read(date, THEN), Some(0), "{date}");
        assert_eq!(read(date, THEN + 60), Some(0), "{date}");
    }
}

#[test]
fn dates_of_all_kinds() {
    for (date, seconds) in [
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Thu, 31 Dec 1970 23:59:59 GMT", 31_535_999),
        ("Tue, 29 Feb 2000 12:00:00 GMT", 951_825_600),
        ("Wed, 01 Mar 2000 12:00:00 GMT", 951_912_000),
        ("Thu, 29 Feb 2024 00:00:00 GMT", 1_709_164_800),
        ("Mon, 01 Mar 2100 00:00:00 GMT", 4_107_542_400),
        // A leap second.
        ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
    ] {
        assert_eq!(read(date, 0), Some(seconds), "{date}");
    }
    assert_eq!(read("Wed, 31 Dec 1969 23:59:59 GMT", 0), None);
}

/// "more than 50 years in the future" is the past.
#[test]
fn a_year_of_two_digits_is_near() {
    const DAY: u64 = 86_400;
    // Noon of 1 July 2026, and of 1 July 2099.
    let (now, later) = (1_782_907_200, 4_086_590_400);
    assert_eq!(read("Saturday, 04-Jul-26 12:00:00 GMT", now), Some(3 * DAY));
    assert!(read("Saturday, 04-Jul-76 12:00:00 GMT", now) > Some(49 * 365 * DAY));
    assert_eq!(read("Monday, 04-Jul-77 12:00:00 GMT", now), Some(0));
    assert!(read("Saturday, 04-Jul-05 12:00:00 GMT", later) > Some(5 * 365 * DAY));
}

#[test]
fn what_is_neither_is_ignored() {
    for value in [
        "",
        " ",
        "-1",
        "+1",
        "1.5",
        "1 s",
        "soon",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 32 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 06 Nov 1994 08:00:61 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sonntag, 06-Nov-94 08:49:37 GMT",
        "So, 06 Nov 1994 08:49:37 GMT",
        "Sund, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sunday Nov  6 08:49:37 1994",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov  6 08:49:37 199x",
    ] {
        assert_eq!(read(value, THEN), None, "{value:?}");
    }
}

/// Two headers say two things, so neither counts.
#[test]
fn two_headers_are_none() {
    let twice = Response::received(503, [("Retry-After", "1"), ("retry-after", "2")]);
    assert_eq!(twice.retry_after(Duration::ZERO), None);
    assert_eq!(Response::new(503).retry_after(Duration::ZERO), None);
}

#[test]
fn an_error_knows_what_the_server_asks_for() {
    let busy = Response::received(503, [("Retry-After", "7")]);
    let error = Error::from(ConnectError::Refused(Box::new(busy)));
    assert_eq!(error.retry_after(Duration::ZERO), Some(Duration::from_secs(7)));
    assert_eq!(Error::from(ConnectError::Gone).retry_after(Duration::ZERO), None);
}
