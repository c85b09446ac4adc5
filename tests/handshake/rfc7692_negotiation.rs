//! Offers and answers of permessage-deflate (RFC 7692 §5, §7.1). Without the feature `deflate` the last part is left out.

use crate::support::*;
use bowline::Config;
use bowline::handshake::ConnectError;

/// Parameters that neither an offer nor an answer may have (RFC 7692 §7): an offer with them is declined, and an answer is
/// refused. Numbers are those of the battery of attacks.
const BAD: &[&str] = &[
    "server_max_window_bits=1000",  // H50, K14
    "server_max_window_bits=010",   // H52
    "server_no_context_takeover=1", // H53
    "foo=1",                        // H55
    "foo",
    "Server_no_context_takeover",
    "server-no-context-takeover",
    "server_no_context_takeover; foo",
    "client_no_context_takeover=1",
    "client_no_context_takeover=true",
    "server_no_context_takeover=\"1\"",
    // K17: a parameter twice.
    "server_no_context_takeover; server_no_context_takeover",
    "client_no_context_takeover; client_no_context_takeover",
    "server_max_window_bits=12; server_max_window_bits=12",
    "client_max_window_bits=12; client_max_window_bits=12",
    "client_max_window_bits=12; client_max_window_bits=9",
    "server_max_window_bits=9; client_max_window_bits=9; server_max_window_bits=9",
    // Only the client's may be without a value, and that only in an offer.
    "server_max_window_bits",
];

/// Values that are no numbers from 8 to 15 without leading zeroes.
const BAD_BITS: &[&str] = &[
    "0",
    "1",
    "7",
    "16",
    "17",
    "20",
    "80",
    "99",
    "010",
    "08",
    "008",
    "012",
    "1000",
    "256",
    "264",
    "-9",
    "+9",
    "9.0",
    "9e0",
    "0x9",
    "1a",
    "a",
    "15a",
    "4294967305",
    "18446744073709551625",
    "\"16\"",
    "\"7\"",
    "\"010\"",
    "\"1\\6\"",
    "true",
    "'9'",
    "*",
];

/// All of the above with numbers in all places.
fn bad() -> impl Iterator<Item = String> {
    let bits = BAD_BITS.iter().flat_map(|bits| {
        [format!("server_max_window_bits={bits}"), format!("client_max_window_bits={bits}")]
    });
    BAD.iter().map(|bad| String::from(*bad)).chain(bits)
}

#[track_caller]
fn assert_refused(config: &Config, answers: &[&str]) {
    let error = handshake_client(config.clone(), answers).0.map(drop);
    assert_eq!(error, Err(ConnectError::Extension), "{answers:?}");
}

#[test]
fn a_server_without_compression_declines_every_offer() {
    let config = Config::default();
    let declines = |offers: &[&str]| {
        let answer = handshake_server(config.clone(), offers).1;
        assert_eq!(answer, None, "{offers:?}");
    };
    declines(&["permessage-deflate"]);
    declines(&["permessage-deflate; client_max_window_bits"]);
    declines(&[
        "permessage-deflate; server_max_window_bits=12, permessage-deflate",
        "permessage-deflate",
    ]);
    bad().for_each(|bad| declines(&[&format!("permessage-deflate; {bad}, permessage-deflate")]));
}

#[test]
fn a_client_without_compression_offers_none_and_refuses_every_answer() {
    let config = Config::default();
    assert_eq!(handshake_client(config.clone(), &[]).1, None);
    for answer in
        ["permessage-deflate", "permessage-deflate; server_max_window_bits=12", "foo", "", ","]
    {
        assert_refused(&config, &[answer]);
    }
    bad().for_each(|bad| assert_refused(&config, &[&format!("permessage-deflate; {bad}")]));
}

#[test]
fn a_connection_without_compression_fails_on_rsv1() {
    // RFC 6455 §5.2, RFC 7692 §6: nothing was agreed on that gives the bit a meaning.
    for role in ROLES {
        let bytes = deflate::marked(role, true, TEXT, &hex("f2 48 cd c9 c9 07 00"));
        let outcome = run(role, &bytes, &Config::default());
        outcome.assert_failed(bowline::Rule::ReservedBits, 0);
    }
}

#[cfg(feature = "deflate")]
mod with_compression {
    use bowline::handshake::{Request, RequestError};
    use bowline::{Deflate, Role};

    use super::*;

    /// One side of a setting or of what was said: window bits, whether context takeover is disallowed.
    #[derive(Clone, Copy, Debug)]
    struct Setting {
        server_bits: u8,
        client_bits: u8,
        server_alone: bool,
        client_alone: bool,
    }

    impl Setting {
        fn config(self) -> Config {
            let settings = Deflate::default()
                .server_max_window_bits(self.server_bits)
                .client_max_window_bits(self.client_bits)
                .server_context_takeover(!self.server_alone)
                .client_context_takeover(!self.client_alone);
            Config::default().deflate(settings)
        }
    }

    fn settings(bits: &[u8]) -> Vec<Setting> {
        let mut all = Vec::new();
        for &server_bits in bits {
            for &client_bits in bits {
                for alone in 0..4 {
                    let (server_alone, client_alone) = (alone & 1 != 0, alone & 2 != 0);
                    all.push(Setting { server_bits, client_bits, server_alone, client_alone });
                }
            }
        }
        all
    }

    /// An offer or an answer.
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Said {
        server_alone: bool,
        client_alone: bool,
        server_bits: Option<u8>,
        client_bits: Option<Option<u8>>,
    }

    impl Said {
        /// As a header has it, in one order of the parameters or the other.
        fn write(self, reversed: bool) -> String {
            let mut parameters = Vec::new();
            if self.server_alone {
                parameters.push("; server_no_context_takeover".into());
            }
            if self.client_alone {
                parameters.push("; client_no_context_takeover".into());
            }
            parameters
                .extend(self.server_bits.map(|bits| format!("; server_max_window_bits={bits}")));
            parameters.extend(self.client_bits.map(|bits| match bits {
                Some(bits) => format!("; client_max_window_bits={bits}"),
                None => "; client_max_window_bits".into(),
            }));
            if reversed {
                parameters.reverse();
            }
            format!("permessage-deflate{}", parameters.concat())
        }
    }

    /// Every combination of the parameters, with every value that they may have.
    fn everything_said() -> Vec<Said> {
        let bits: Vec<Option<u8>> = [None].into_iter().chain((8..=15).map(Some)).collect();
        let mut all = Vec::new();
        for alone in 0..4 {
            let (server_alone, client_alone) = (alone & 1 != 0, alone & 2 != 0);
            for &server_bits in &bits {
                all.push(Said { server_alone, client_alone, server_bits, client_bits: None });
                for &bits in &bits {
                    let client_bits = Some(bits);
                    all.push(Said { server_alone, client_alone, server_bits, client_bits });
                }
            }
        }
        all
    }

    #[test]
    fn a_server_answers_each_offer_as_its_settings_allow() {
        for setting in settings(&[9, 12, 15]) {
            let config = setting.config();
            let limit = |bits: u8| Some(bits).filter(|&bits| bits < 15);
            for (i, offer) in everything_said().into_iter().enumerate() {
                let expected = Said {
                    // §7.1.1.1, §7.1.1.2: whoever wants it gets it.
                    server_alone: offer.server_alone || setting.server_alone,
                    client_alone: offer.client_alone || setting.client_alone,
                    // §7.1.2.1: the same or smaller, and the server may limit itself unasked.
                    server_bits: match (offer.server_bits, limit(setting.server_bits)) {
                        (Some(theirs), Some(ours)) => Some(theirs.min(ours)),
                        (theirs, ours) => theirs.or(ours),
                    },
                    // §7.1.2.2: never if it was not offered.
                    client_bits: match (offer.client_bits, limit(setting.client_bits)) {
                        (None, _) | (Some(None), None) => None,
                        (Some(None), Some(ours)) => Some(Some(ours)),
                        (Some(Some(theirs)), ours) => Some(Some(theirs.min(ours.unwrap_or(15)))),
                    },
                };
                let (_, answer) = handshake_server(config.clone(), &[&offer.write(i % 2 == 0)]);
                assert_eq!(answer, Some(expected.write(false)), "{setting:?} {offer:?}");
            }
        }
    }

    #[test]
    fn a_server_may_decide_for_one_client() {
        let headers = [
            ("Host", "a"),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Extensions", "permessage-deflate"),
        ];
        let request = bowline::handshake::Request::from_parts("GET", "/", headers).unwrap();
        let answer = |server: Config, one: Config| {
            let accept = bowline::handshake::Accept::new().config(one);
            let (connection, response) = request.upgrade(&server).unwrap().accept(accept).unwrap();
            assert_eq!(connection.config().get().max_message_size, 7);
            response.headers().get("Sec-WebSocket-Extensions").is_some()
        };
        let one = |config: Config| config.max_message_size(7);
        assert!(!answer(generous(), one(Config::default())));
        assert!(answer(Config::default(), one(generous())));
    }

    fn generous() -> Config {
        Config::default().deflate(Deflate::high_compression())
    }

    fn answer_to(offers: &[&str]) -> Option<String> {
        handshake_server(generous(), offers).1
    }

    #[test]
    fn a_server_reads_values_in_quotes_and_white_space_as_rfc_6455_writes_them() {
        // H58
        for written in [
            "server_max_window_bits=\"12\"",
            "server_max_window_bits=\"\\12\"",
            "server_max_window_bits=\"1\\2\"",
            "server_max_window_bits=\"\\1\\2\"",
            "server_max_window_bits = 12",
            "server_max_window_bits\t=\t\"12\"",
            "  server_max_window_bits=12  ",
        ] {
            let expected = Some("permessage-deflate; server_max_window_bits=12".into());
            assert_eq!(
                answer_to(&[&format!("permessage-deflate;{written}")]),
                expected,
                "{written}"
            );
            let spaced = format!(" permessage-deflate \t;\t {written} , ,");
            assert_eq!(answer_to(&[&spaced]), expected, "{written}");
        }
    }

    #[test]
    fn a_server_declines_a_bad_offer_and_says_nothing_of_it() {
        for bad in bad() {
            let bad = format!("permessage-deflate; {bad}");
            assert_eq!(answer_to(&[&bad]), None, "{bad}");
            // H56: the next offer is taken, wherever it stands.
            let good = "permessage-deflate; client_no_context_takeover";
            let accepted = Some(good.into());
            assert_eq!(answer_to(&[&format!("{bad}, {good}")]), accepted, "{bad}");
            assert_eq!(answer_to(&[&bad, good]), accepted, "{bad}");
            assert_eq!(answer_to(&[&format!("foo, {bad}"), "bar; a=b", good]), accepted, "{bad}");
            assert_eq!(answer_to(&[&format!("{good}, {bad}")]), accepted, "{bad}");
            // A good parameter does not make up for a bad one.
            assert_eq!(answer_to(&[&format!("{bad}; client_max_window_bits=12")]), None, "{bad}");
        }
    }

    #[test]
    fn a_server_takes_the_first_offer_that_it_can() {
        for (offers, expected) in [
            (
                &["permessage-deflate; server_max_window_bits=10, permessage-deflate"][..],
                "; server_max_window_bits=10",
            ),
            (&["permessage-deflate, permessage-deflate; server_max_window_bits=10"], ""),
            (&["permessage-deflate", "permessage-deflate; server_no_context_takeover"], ""),
            // §7.1.3
            (
                &[
                    "permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate; client_max_window_bits",
                ],
                "; server_max_window_bits=10",
            ),
        ] {
            assert_eq!(
                answer_to(offers),
                Some(format!("permessage-deflate{expected}")),
                "{offers:?}"
            );
        }
    }

    #[test]
    fn other_extensions_are_not_answered() {
        // H49, and names that begin or end alike.
        for offer in [
            "constructor, __proto__, hasOwnProperty",
            "x-webkit-deflate-frame",
            "permessage-bzip2",
            "deflate",
            "permessage-deflate2",
            "permessage",
            "xpermessage-deflate",
            "",
            ", ,",
        ] {
            assert_eq!(answer_to(&[offer]), None, "{offer}");
            let both = [offer, "permessage-deflate"];
            assert_eq!(answer_to(&both), Some("permessage-deflate".into()), "{offer}");
        }
    }

    #[test]
    fn an_offer_that_is_malformed_refuses_the_request() {
        // RFC 6455 §9.1: not a matter of this extension. It declines nothing, it fails.
        for offer in [
            "permessage-deflate; server_max_window_bits=",
            "permessage-deflate; server_max_window_bits=\"\"",
            "permessage-deflate; server_max_window_bits=\"12",
            "permessage-deflate; server_max_window_bits=12\"",
            "permessage-deflate; server_max_window_bits=1\\2",
            "permessage-deflate; server_max_window_bits=\"1\\\\2\"",
            "permessage-deflate; server_max_window_bits=\"12\\\"",
            "permessage-deflate; server_max_window_bits=1 2",
            "permessage-deflate; server_max_window_bits==12",
            "permessage-deflate; ",
            "permessage-deflate;; client_max_window_bits",
            "permessage-deflate client_max_window_bits",
        ] {
            let request = Request::from_parts(
                "GET",
                "/",
                [
                    ("Host", "a"),
                    ("Upgrade", "websocket"),
                    ("Connection", "Upgrade"),
                    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
                    ("Sec-WebSocket-Version", "13"),
                    ("Sec-WebSocket-Extensions", "permessage-deflate"),
                    ("Sec-WebSocket-Extensions", offer),
                ],
            )
            .unwrap();
            let refusal = request.upgrade(&generous()).map(|_| ()).unwrap_err();
            assert_eq!(refusal, RequestError::Extensions, "{offer}");
        }
    }

    #[test]
    fn any_number_of_offers_is_answered() {
        // H59 has a thousand. Were each compared with all before it, this would not end.
        for (count, bad) in [(1_000, "foo"), (20_000, "server_max_window_bits=7")] {
            let bad = format!("permessage-deflate; {bad}, ").repeat(count);
            assert_eq!(answer_to(&[&bad]), None);
            assert_eq!(
                answer_to(&[&format!("{bad}permessage-deflate")]),
                Some("permessage-deflate".into())
            );
            let long =
                format!("permessage-deflate{}", "; server_no_context_takeover".repeat(count));
            assert_eq!(answer_to(&[&long]), None);
        }
    }

    #[test]
    fn a_client_offers_what_its_settings_want() {
        for setting in settings(&[9, 10, 11, 12, 13, 14, 15]) {
            let (connection, offer) = handshake_client(setting.config(), &[]);
            let limit = |bits: u8| Some(bits).filter(|&bits| bits < 15);
            let mut said = Said {
                server_alone: setting.server_alone,
                client_alone: setting.client_alone,
                server_bits: limit(setting.server_bits),
                // Always there: a server may limit what it has to hold.
                client_bits: Some(limit(setting.client_bits)),
            };
            let mut expected = said.write(false);
            if setting.server_bits < 15 || setting.client_bits < 15 {
                // §7.1.3: a server that cannot limit itself, or not us so far, declines the first alone.
                (said.server_bits, said.client_bits) = (None, Some(None));
                expected = format!("{expected}, {}", said.write(false));
            }
            assert_eq!(offer, Some(expected), "{setting:?}");
            // Nothing agreed on is no error (§5.1).
            assert!(connection.is_ok());
        }
    }

    #[test]
    fn a_client_offers_by_default_what_browsers_offer() {
        // Some servers refuse other offers with 400, and others agree to them but never answer a message.
        let browsers = "permessage-deflate; client_max_window_bits";
        let limited = |server: &str, client: &str| {
            format!("permessage-deflate{server}; client_max_window_bits{client}, {browsers}")
        };
        let alone = "; server_no_context_takeover; client_no_context_takeover";
        for (settings, expected) in [
            (Deflate::default(), browsers.into()),
            (Deflate::new(), browsers.into()),
            (
                Deflate::default().level(9).memory_level(9).threshold(0).max_ratio(9),
                browsers.into(),
            ),
            (Deflate::high_compression(), browsers.into()),
            (Deflate::low_memory(), format!("permessage-deflate{alone}; client_max_window_bits")),
            // Windows are offered by choice, each by its own.
            (
                Deflate::default().server_max_window_bits(12),
                limited("; server_max_window_bits=12", ""),
            ),
            (Deflate::default().client_max_window_bits(10), limited("", "=10")),
            (
                Deflate::default().server_max_window_bits(9).client_max_window_bits(9),
                limited("; server_max_window_bits=9", "=9"),
            ),
            (Deflate::default().server_max_window_bits(15), browsers.into()),
            (Deflate::default().client_max_window_bits(15), browsers.into()),
            // And so is the bare word, whatever else was chosen.
            (Deflate::default().bare_offer(true), "permessage-deflate".into()),
            (Deflate::low_memory().bare_offer(true), "permessage-deflate".into()),
            (
                Deflate::default().server_max_window_bits(9).bare_offer(true),
                "permessage-deflate".into(),
            ),
            (Deflate::default().bare_offer(true).bare_offer(false), browsers.into()),
        ] {
            let config = Config::default().deflate(settings);
            assert_eq!(handshake_client(config, &[]).1, Some(expected), "{settings:?}");
        }
    }

    #[test]
    fn every_answer_that_fits_the_default_offer_opens() {
        // §7.1.1.1, §7.1.1.2, §7.1.2.1: a server may name what the client did not; §7.1.2.2: and limit the client.
        for (settings, limits_client) in [
            (Deflate::default(), true),
            (Deflate::high_compression(), true),
            (Deflate::default().bare_offer(true), false),
            (Deflate::low_memory().bare_offer(true), false),
        ] {
            for answer in everything_said() {
                let fits = match answer.client_bits {
                    None => true,
                    // An answer has a value, and there is none to what was not offered.
                    Some(bits) => bits.is_some() && limits_client,
                };
                let config = Config::default().deflate(settings);
                let (result, _) = handshake_client(config, &[&answer.write(false)]);
                let expected = if fits { Ok(()) } else { Err(ConnectError::Extension) };
                assert_eq!(result.map(drop), expected, "{settings:?} {answer:?}");
            }
        }
    }

    #[test]
    fn a_server_still_limits_windows_by_default() {
        // Its memory is what counts, and §7.1.2.1 lets it limit itself unasked.
        for (offer, answer) in [
            ("; client_max_window_bits", "; server_max_window_bits=12; client_max_window_bits=12"),
            ("", "; server_max_window_bits=12"),
        ] {
            let config = Config::default().deflate(Deflate::default().bare_offer(true));
            let offer = format!("permessage-deflate{offer}");
            let (_, found) = handshake_server(config, &[&offer]);
            assert_eq!(found, Some(format!("permessage-deflate{answer}")));
        }
    }

    #[test]
    fn settings_beyond_what_a_window_can_have_count_as_the_nearest() {
        for (bits, nearest) in [(0, 9), (7, 9), (8, 9), (16, 15), (255, 15)] {
            let config = |bits| {
                let settings =
                    Deflate::default().server_max_window_bits(bits).client_max_window_bits(bits);
                Config::default().deflate(settings)
            };
            let offer = |bits| handshake_client(config(bits), &[]).1;
            assert_eq!(offer(bits), offer(nearest));
            let answer = |bits| {
                handshake_server(config(bits), &["permessage-deflate; client_max_window_bits"]).1
            };
            assert_eq!(answer(bits), answer(nearest));
        }
    }

    #[test]
    fn a_client_takes_an_answer_if_and_only_if_it_fits_the_offer() {
        for setting in settings(&[9, 12, 15]) {
            let config = setting.config();
            for (i, answer) in everything_said().into_iter().enumerate() {
                // §7.1.1.1: what the client asked for is in the answer.
                let fits = (answer.server_alone || !setting.server_alone)
                    // §7.1.2.2: an answer has a value. The offer's is a hint, and §7.1.2.1's window is whatever the server
                    // likes: it may have taken the second offer.
                    && answer.client_bits != Some(None);
                let (result, _) = handshake_client(config.clone(), &[&answer.write(i % 2 == 0)]);
                let expected = if fits { Ok(()) } else { Err(ConnectError::Extension) };
                assert_eq!(result.map(drop), expected, "{setting:?} {answer:?}");
            }
        }
    }

    #[test]
    fn a_client_refuses_what_no_answer_may_have() {
        for config in [generous(), Config::default().deflate(Deflate::default())] {
            bad().for_each(|bad| assert_refused(&config, &[&format!("permessage-deflate; {bad}")]));
            for answers in [
                // K13
                &["permessage-foo"][..],
                &["foo; bar=1"],
                &["permessage-deflate-2"],
                &["Permessage-Deflate"],
                // K16: the same twice, in one line or two.
                &["permessage-deflate, permessage-deflate"],
                &["permessage-deflate", "permessage-deflate"],
                &["permessage-deflate; server_max_window_bits=9, permessage-deflate"],
                // Two, of which one was not offered.
                &["permessage-deflate, foo"],
                &["foo, permessage-deflate"],
                &["permessage-deflate", "foo"],
                &["foo", "permessage-deflate"],
                // An empty value.
                &[""],
                &[","],
                &["", ""],
                // Malformed (RFC 6455 §9.1).
                &["permessage-deflate; server_max_window_bits="],
                &["permessage-deflate; server_max_window_bits=\"\""],
                &["permessage-deflate; server_max_window_bits=\"9"],
                &["permessage-deflate; server_max_window_bits=9\""],
                &["permessage-deflate; server_max_window_bits=1 0"],
                &["permessage-deflate; server_max_window_bits==9"],
                &["permessage-deflate; server_max_window_bits=1\\2"],
                &["permessage-deflate; server_max_window_bits=\"1\\\\2\""],
                &["permessage-deflate; server_max_window_bits=\"12\\\""],
                &["permessage-deflate;"],
                &["permessage-deflate;; server_max_window_bits=9"],
                &["permessage-deflate server_no_context_takeover"],
            ] {
                assert_refused(&config, answers);
            }
        }
    }

    #[test]
    fn a_client_reads_an_answer_over_lines_and_in_quotes() {
        for answers in [
            &["permessage-deflate"][..],
            &[" permessage-deflate ;\tserver_max_window_bits = \"10\" "],
            &["permessage-deflate; server_max_window_bits=\"1\\0\""],
            // Empty elements and lines are no extensions (RFC 9110 §5.6.1).
            &["", "permessage-deflate"],
            &["permessage-deflate", ""],
            &[", permessage-deflate,,"],
        ] {
            let result = handshake_client(generous(), answers).0;
            assert!(result.is_ok(), "{answers:?}: {result:?}");
        }
    }

    #[test]
    fn what_a_client_offers_a_server_of_any_setting_answers_as_that_client_takes_it() {
        let all = settings(&[9, 12, 15]);
        for client in &all {
            let (_, offer) = handshake_client(client.config(), &[]);
            for server in &all {
                let (connection, answer) =
                    handshake_server(server.config(), &[&offer.clone().unwrap()]);
                let answer = answer.unwrap();
                let (other, _) = handshake_client(client.config(), &[&answer]);
                // And they understand each other, both ways, twice.
                let mut server = Side::of(Role::Server, connection);
                let mut client = Side::of(Role::Client, other.expect(&answer));
                for message in ["a message ".repeat(20), "another message ".repeat(20)] {
                    client.connection.send(&*message, &mut client.out).unwrap();
                    let wire = client.take_out();
                    assert_eq!(wire[0], 0xC1, "it is compressed");
                    server.receive(&wire);
                    server.connection.send(&*message, &mut server.out).unwrap();
                    let wire = server.take_out();
                    assert_eq!(wire[0], 0xC1, "it is compressed");
                    client.receive(&wire);
                    assert_eq!(server.events.pop(), Some(text(&message)), "{answer}");
                    assert_eq!(client.events.pop(), Some(text(&message)), "{answer}");
                }
            }
        }
    }
}
