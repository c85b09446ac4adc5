//! Compares the negotiation of compression (RFC 7692 §5, §7.1) with the rules as they are written. It has a second
//! parser.

use bowline::handshake::{
    Accept, ClientHandshake, ClientRequest, ConnectError, Request, RequestError, accept_key,
};
use bowline::{Config, Connection, Deflate, RecvBuf, Role, SendBuf};

use crate::support::inflate::Terms;
use crate::support::model::{self, Compression};
use crate::support::*;

const NAME: &str = "Sec-WebSocket-Extensions";

/// An extension's name and parameters, their values without quotes.
type Extension = (String, Vec<(String, Option<String>)>);

/// One offer or answer of permessage-deflate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Parameters {
    server_no_takeover: bool,
    client_no_takeover: bool,
    server_bits: Option<u8>,
    client_bits: Option<Option<u8>>,
}

/// RFC 6455 §9.1, character by character. `None` if the value does not follow it.
struct Parser<'a>(&'a [u8]);

impl Parser<'_> {
    fn list(lines: &[&[u8]]) -> Option<Vec<Extension>> {
        let joined = lines.join(&b", "[..]);
        let mut parser = Parser(&joined);
        let mut list = Vec::new();
        loop {
            // Empty elements are ignored (RFC 9110 §5.6.1).
            while parser.space() || parser.eat(b',') {}
            if parser.0.is_empty() {
                return Some(list);
            }
            list.push(parser.extension()?);
            if !parser.0.is_empty() && !parser.eat(b',') {
                return None;
            }
        }
    }

    fn extension(&mut self) -> Option<Extension> {
        let name = self.token()?;
        let mut parameters = Vec::new();
        self.space();
        while self.eat(b';') {
            self.space();
            let name = self.token()?;
            self.space();
            let mut value = None;
            if self.eat(b'=') {
                self.space();
                value = Some(self.value()?);
                self.space();
            }
            parameters.push((name, value));
        }
        Some((name, parameters))
    }

    fn value(&mut self) -> Option<String> {
        if !self.eat(b'"') {
            return self.token();
        }
        let mut value = String::new();
        while !self.eat(b'"') {
            self.eat(b'\\');
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value.push(byte.into());
        }
        let is_token = value.bytes().all(is_token_byte) && !value.is_empty();
        is_token.then_some(value)
    }

    fn token(&mut self) -> Option<String> {
        let len = self.0.iter().take_while(|&&byte| is_token_byte(byte)).count();
        let (token, rest) = self.0.split_at(len);
        self.0 = rest;
        (len > 0).then(|| String::from_utf8_lossy(token).into())
    }

    fn space(&mut self) -> bool {
        let spaces = self.0.iter().take_while(|byte| b" \t".contains(byte)).count();
        self.0 = &self.0[spaces..];
        spaces > 0
    }

    fn eat(&mut self, byte: u8) -> bool {
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte)
}

impl Parameters {
    /// `None` if a parameter is unknown, or is there twice, or has an invalid value.
    fn of(parameters: &[(String, Option<String>)]) -> Option<Self> {
        let bits = |value: &str| (8..=15).find(|bits| value == format!("{bits}"));
        let mut parsed = Self::default();
        for (i, (name, value)) in parameters.iter().enumerate() {
            if parameters[..i].iter().any(|(other, _)| other == name) {
                return None;
            }
            match (&name[..], value) {
                ("server_no_context_takeover", None) => parsed.server_no_takeover = true,
                ("client_no_context_takeover", None) => parsed.client_no_takeover = true,
                ("server_max_window_bits", Some(value)) => parsed.server_bits = Some(bits(value)?),
                ("client_max_window_bits", None) => parsed.client_bits = Some(None),
                ("client_max_window_bits", Some(value)) => {
                    parsed.client_bits = Some(Some(bits(value)?));
                }
                _ => return None,
            }
        }
        Some(parsed)
    }

    /// Every valid offer of the list.
    fn offers(list: &[Extension]) -> Vec<Self> {
        let named = list.iter().filter(|extension| extension.0 == "permessage-deflate");
        named.filter_map(|extension| Self::of(&extension.1)).collect()
    }

    /// Whether a server may answer this to the offer.
    fn answers(&self, offer: &Self) -> bool {
        // §7.1.1.1
        (!offer.server_no_takeover || self.server_no_takeover)
            // §7.1.2.1
            && offer.server_bits.is_none_or(|most| self.server_bits.is_some_and(|bits| bits <= most))
            // §7.1.2.2
            && match (self.client_bits, offer.client_bits) {
                (None, _) => true,
                (Some(Some(bits)), Some(most)) => bits <= most.unwrap_or(15),
                _ => false,
            }
    }

    fn server(&self) -> Terms {
        terms(self.server_bits, self.server_no_takeover)
    }

    fn client(&self) -> Terms {
        terms(self.client_bits.flatten(), self.client_no_takeover)
    }
}

fn terms(bits: Option<u8>, no_takeover: bool) -> Terms {
    Terms { window: 1 << bits.unwrap_or(15), takeover: !no_takeover, strict: true }
}

/// The settings of a side, and its terms.
fn settings(bits: u8, more: u8) -> (Config, Terms, Terms) {
    let (server, client) = (9 + (bits & 7).min(6), 9 + (bits >> 3 & 7).min(6));
    let (no_server, no_client) = (bits & 64 != 0, bits & 128 != 0);
    let deflate = Deflate::default()
        .server_max_window_bits(server)
        .client_max_window_bits(client)
        .server_context_takeover(!no_server)
        .client_context_takeover(!no_client)
        .level(more % 10)
        .threshold(0);
    let config = Config::default().deflate((more & 128 == 0).then_some(deflate));
    (config, terms(Some(server), no_server), terms(Some(client), no_client))
}

/// What a server with these settings answers, checked against the offer.
fn server(config: &Config, lines: &[&[u8]], own: (Terms, Terms), on: bool) -> Option<Parameters> {
    let mut headers = vec![
        ("Host", &b"a"[..]),
        ("Upgrade", b"websocket"),
        ("Connection", b"Upgrade"),
        ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", b"13"),
    ];
    headers.extend(lines.iter().map(|line| (NAME, *line)));
    let request = Request::from_parts("GET", "/", headers).unwrap();
    let list = Parser::list(lines);
    let upgrade = match (request.upgrade(config), &list) {
        (Err(RequestError::Extensions), None) => return None,
        (Ok(upgrade), Some(_)) => upgrade,
        (other, list) => panic!("{other:?} for {list:?}"),
    };
    let (connection, response) = upgrade.accept(Accept::new()).unwrap();
    let answers: Vec<&[u8]> = response.headers().all(NAME).collect();
    let offers = Parameters::offers(&list.unwrap_or_default());
    // Each valid offer can be accepted.
    assert_eq!(answers.len(), usize::from(on && !offers.is_empty()));
    let answer = match Parser::list(&answers).unwrap().as_slice() {
        [] => None,
        [(name, parameters)] if name == "permessage-deflate" => Parameters::of(parameters),
        other => panic!("{other:?}"),
    };
    let Some(answer) = answer else {
        assert!(answers.is_empty(), "{answers:?} is no answer");
        sends(Role::Server, connection, None);
        return None;
    };
    assert!(answer.answers(&offers[0]), "{answer:?} to {offers:?}");
    assert!(answer.server().window <= own.0.window);
    assert!(own.0.takeover || answer.server_no_takeover);
    assert!(own.1.takeover || answer.client_no_takeover);
    if offers[0].client_bits.is_some() {
        assert!(answer.client().window <= own.1.window);
    }
    sends(Role::Server, connection, Some(answer.server()));
    Some(answer)
}

/// What a client offers.
fn offered(config: &Config) -> (ClientHandshake, String, Vec<String>) {
    let mut out = SendBuf::new();
    let request = ClientRequest::new("ws://a/").unwrap();
    let handshake = ClientHandshake::new(&request, config.clone(), [7; 32], &mut out);
    let sent = String::from_utf8(out.pending().to_vec()).unwrap();
    let values = |name: &str| -> Vec<String> {
        let lines = sent.split("\r\n");
        let of_name = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        of_name.map(String::from).collect()
    };
    (handshake, values("Sec-WebSocket-Key").remove(0), values(NAME))
}

/// Whether a client with these settings accepts the answer, which has to fit its offer.
fn client(config: &Config, lines: &[&[u8]], own: (Terms, Terms), on: bool) -> bool {
    let (mut handshake, key, offers) = offered(config);
    let offers: Vec<&[u8]> = offers.iter().map(|offer| offer.as_bytes()).collect();
    let offers = Parser::list(&offers).expect("an offer is a list");
    let named = offers.len();
    let offers = Parameters::offers(&offers);
    assert!(offers.len() == named && on != offers.is_empty(), "{offers:?}");

    let accept = accept_key(&key);
    let mut response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
    )
    .into_bytes();
    for line in lines {
        response.extend([NAME.as_bytes(), b": ", line, b"\r\n"].concat());
    }
    response.extend(b"\r\n");
    let mut input = RecvBuf::new();
    for piece in response.chunks(1024) {
        input.space()[..piece.len()].copy_from_slice(piece);
        input.filled(piece.len());
    }
    let answer = match Parser::list(lines).as_deref() {
        Some([(name, parameters)]) if name == "permessage-deflate" => Parameters::of(parameters),
        _ => None,
    };
    let fits = answer.is_some_and(|answer| offers.iter().any(|offer| answer.answers(offer)));
    match handshake.read(&mut input) {
        Ok(Some((connection, _))) => {
            assert!(lines.is_empty() || fits, "{answer:?} to {offers:?}");
            let terms = answer.map(|answer| {
                let terms = answer.client();
                // Whatever the answer allows, a client keeps to its own settings.
                Terms {
                    window: terms.window.min(own.1.window),
                    takeover: terms.takeover && own.1.takeover,
                    ..terms
                }
            });
            sends(Role::Client, connection, terms);
            true
        }
        Err(ConnectError::Extension) => {
            assert!(!lines.is_empty());
            assert!(!fits, "{answer:?} to {offers:?}");
            false
        }
        other => panic!("{other:?}"),
    }
}

/// Sent messages keep to the terms.
fn sends(role: Role, connection: Connection, terms: Option<Terms>) {
    let mut side = Side::of(role, connection);
    let letters = Seeded(7).bytes(300);
    let messages = [&letters[..20], &letters, &letters[..20]].map(binary);
    for message in &messages {
        side.connection.send(message, &mut side.out).unwrap();
    }
    let wire = side.take_out();
    assert_eq!(wire[0] & 0x40 != 0, terms.is_some());
    let peer = if role == Role::Server { Role::Client } else { Role::Server };
    let settings =
        model::Settings { report: true, max_message: 1 << 20, max_frame: None, max_fragments: 1 };
    let compression = terms.map(|terms| Compression { terms, max_ratio: None });
    model::receive_compressed(peer, &wire, settings, compression).assert_delivers(&messages);
}

/// The value of the header, with a line of the input for each of its lines. It is a client's offer to a server, and a
/// server's answer to a client. Also what our client and our server say to each other.
pub fn extensions(data: &[u8]) {
    let [ours, more, theirs, header @ ..] = data else {
        return;
    };
    if !header.iter().all(|byte| matches!(byte, b'\n' | b'\t' | b' '..=b'~' | 0x80..)) {
        return;
    }
    let lines: Vec<&[u8]> = header.split(|&byte| byte == b'\n').collect();
    // More make a head too big.
    if lines.len() > 50 {
        return;
    }
    let (config, own_server, own_client) = settings(*ours, *more);
    let (own, on) = ((own_server, own_client), more & 128 == 0);
    server(&config, &lines, own, on);
    client(&config, &lines, own, on);

    // A client accepts every answer of a server to its offer.
    let (others, other_server, other_client) = settings(*theirs, more & 127);
    let (_, _, offers) = offered(&others);
    let offers: Vec<&[u8]> = offers.iter().map(|offer| offer.as_bytes()).collect();
    let answer = server(&config, &offers, own, on);
    assert_eq!(answer.is_some(), on);
    let request = handshake(Role::Server, config, &String::from_utf8_lossy(offers[0])).1;
    let request: Vec<&[u8]> = request.iter().map(|answer| answer.as_bytes()).collect();
    assert!(client(&others, &request, (other_server, other_client), true));
}
