//! Apps, and their signatures: HMAC-SHA256 with the app's secret, in hex.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha2::Sha256;

/// How far the clock of a back end may be off.
const WINDOW: Duration = Duration::from_secs(600);

/// An app. Its channels are its own.
pub struct App {
    pub id: String,
    /// Public: clients connect with it.
    pub key: String,
    secret: String,
}

impl App {
    /// Signs a text.
    pub fn sign(&self, text: &str) -> String {
        hex::encode(self.mac(text).finalize().into_bytes())
    }

    /// Whether `KEY:SIGNATURE` is what this app says of a text. The comparison takes constant time.
    pub fn verifies(&self, auth: &str, text: &str) -> bool {
        auth.split_once(':')
            .is_some_and(|(key, signature)| key == self.key && self.has_signed(signature, text))
    }

    fn has_signed(&self, signature: &str, text: &str) -> bool {
        hex::decode(signature)
            .is_ok_and(|signature| self.mac(text).verify_slice(&signature).is_ok())
    }

    fn mac(&self, text: &str) -> Hmac<Sha256> {
        Hmac::<Sha256>::new_from_slice(self.secret.as_bytes())
            .expect("HMAC takes any length")
            .chain_update(text)
    }

    /// Checks the signature of a request to the HTTP API. Otherwise: what is wrong.
    pub fn check(
        &self,
        method: &str,
        path: &str,
        parameters: &BTreeMap<String, String>,
        body: &[u8],
        now: Duration,
    ) -> Result<(), &'static str> {
        let parameter = |name| parameters.get(name).map(String::as_str);
        if parameter("auth_key") != Some(&*self.key) {
            return Err("auth_key is not this app's");
        }
        if parameter("auth_version") != Some("1.0") {
            return Err("auth_version is not 1.0");
        }
        let time = parameter("auth_timestamp").and_then(|time| time.parse().ok());
        let time = Duration::from_secs(time.ok_or("auth_timestamp is not a time in seconds")?);
        if time.abs_diff(now) > WINDOW {
            return Err("auth_timestamp is more than 600 seconds off");
        }
        // Without it the body would not be signed.
        let digest = parameter("body_md5");
        if (digest.is_some() || !body.is_empty()) && digest != Some(&hex::encode(Md5::digest(body)))
        {
            return Err("body_md5 is not the body's");
        }
        let signature = parameter("auth_signature").unwrap_or_default();
        if !self.has_signed(signature, &request(method, path, parameters)) {
            return Err("auth_signature is wrong");
        }
        Ok(())
    }
}

/// `ID:KEY:SECRET`.
impl FromStr for App {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |part: &str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
            !part.is_empty() && part.bytes().all(allowed)
        };
        match text.splitn(3, ':').collect::<Vec<_>>()[..] {
            [id, key, secret] if plain(id) && plain(key) && !secret.is_empty() => {
                Ok(Self { id: id.into(), key: key.into(), secret: secret.into() })
            }
            _ => Err("an app is ID:KEY:SECRET, with letters, digits, - and _ in ID and KEY"),
        }
    }
}

/// Whether this can be the id of a connection. Check it before you sign for a client: with a colon in it, the signature would be valid for
/// another channel.
pub fn is_socket_id(id: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    id.split_once('.').is_some_and(|(a, b)| is_number(a) && is_number(b))
}

/// What is signed for a channel.
pub fn channel(socket_id: &str, channel: &str, channel_data: Option<&str>) -> String {
    match channel_data {
        Some(data) => format!("{socket_id}:{channel}:{data}"),
        None => format!("{socket_id}:{channel}"),
    }
}

/// What is signed for a user.
pub fn user(socket_id: &str, user_data: &str) -> String {
    format!("{socket_id}::user::{user_data}")
}

/// What is signed for a request. The parameters are in order, and not escaped.
fn request(method: &str, path: &str, parameters: &BTreeMap<String, String>) -> String {
    let signed = parameters.iter().filter(|(name, _)| *name != "auth_signature");
    let pairs: Vec<_> =
        signed.map(|(name, value)| format!("{}={value}", name.to_lowercase())).collect();
    format!("{method}\n{path}\n{}", pairs.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The app of Pusher's documentation.
    fn app() -> App {
        "3:278d425bdf160c739803:7ad3773142a6692b25b8".parse().expect("an app")
    }

    #[test]
    fn channels_are_signed_as_pusher_documents_it() {
        assert_eq!(
            app().sign(&channel("1234.1234", "private-foobar", None)),
            "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"
        );
        let data = r#"{"user_id":10,"user_info":{"name":"Mr. Pusher"}}"#;
        assert_eq!(
            app().sign(&channel("1234.1234", "presence-foobar", Some(data))),
            "afaed3695da2ffd16931f457e338e6c9f2921fa133ce7dac49f529792be6304c"
        );
    }

    #[test]
    fn users_are_signed_as_pusher_documents_it() {
        assert_eq!(
            app().sign(&user("1234.1234", r#"{"id":"12345"}"#)),
            "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba"
        );
    }

    const BODY: &str = r#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;
    const AT: Duration = Duration::from_secs(1353088179);

    fn parameters() -> BTreeMap<String, String> {
        [
            ("auth_key", "278d425bdf160c739803"),
            ("auth_timestamp", "1353088179"),
            ("auth_version", "1.0"),
            ("body_md5", "ec365a775a4cd0599faeb73354201b6f"),
            ("auth_signature", "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into()
    }

    fn check(parameters: &BTreeMap<String, String>, now: Duration) -> Result<(), &'static str> {
        app().check("POST", "/apps/3/events", parameters, BODY.as_bytes(), now)
    }

    #[test]
    fn requests_are_signed_as_pusher_documents_it() {
        for off in [0, 600] {
            let off = Duration::from_secs(off);
            assert_eq!(check(&parameters(), AT + off), Ok(()));
            assert_eq!(check(&parameters(), AT - off), Ok(()));
        }
    }

    #[test]
    fn a_request_that_is_changed_is_refused() {
        let off = Duration::from_secs(601);
        assert!(check(&parameters(), AT + off).is_err());
        assert!(check(&parameters(), AT - off).is_err());
        for (name, value) in [
            ("auth_key", "other"),
            ("auth_timestamp", "1353088178"),
            ("auth_timestamp", "now"),
            ("auth_version", "1.1"),
            ("body_md5", "00000000000000000000000000000000"),
            ("auth_signature", "da45"),
            ("auth_signature", "no hex"),
            ("auth_signature", ""),
            ("more", "1"),
        ] {
            let mut changed = parameters();
            changed.insert(name.into(), value.into());
            assert!(check(&changed, AT).is_err(), "{name}={value}");
            changed.remove(name);
            assert!(name == "more" || check(&changed, AT).is_err(), "without {name}");
        }
        let app = app();
        let refused = |method, path, body: &str| {
            app.check(method, path, &parameters(), body.as_bytes(), AT).is_err()
        };
        assert!(refused("PUT", "/apps/3/events", BODY));
        assert!(refused("POST", "/apps/3/batch_events", BODY));
        assert!(refused("POST", "/apps/3/events", ""));
    }

    #[test]
    fn a_body_that_is_not_signed_is_refused() {
        let app = app();
        let mut unsigned = parameters();
        unsigned.remove("body_md5");
        let signature = app.sign(&request("POST", "/apps/3/events", &unsigned));
        unsigned.insert("auth_signature".into(), signature);
        assert_eq!(app.check("POST", "/apps/3/events", &unsigned, b"", AT), Ok(()));
        assert!(app.check("POST", "/apps/3/events", &unsigned, b"{}", AT).is_err());
    }

    #[test]
    fn a_signature_counts_with_its_key_alone() {
        let app = app();
        let signature = app.sign("text");
        assert!(app.verifies(&format!("278d425bdf160c739803:{signature}"), "text"));
        assert!(!app.verifies(&format!("278d425bdf160c739803:{signature}"), "other"));
        assert!(!app.verifies(&format!("other:{signature}"), "text"));
        assert!(!app.verifies(&signature, "text"));
    }

    #[test]
    fn apps_are_read() {
        let app: App = "1:key:a:b".parse().expect("an app");
        assert_eq!((&*app.id, &*app.key, &*app.secret), ("1", "key", "a:b"));
        for wrong in ["", "1", "1:key", "1:key:", ":key:s", "1::s", "a b:key:s", "1:k/y:s"] {
            assert!(wrong.parse::<App>().is_err(), "{wrong}");
        }
    }
}
