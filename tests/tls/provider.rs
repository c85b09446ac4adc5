//! The feature `rustls` without `ring` and `aws-lc-rs`: a program that installed no crypto provider gets a typed error.

#![cfg(all(
    feature = "rustls",
    feature = "tokio",
    not(any(feature = "ring", feature = "aws-lc-rs"))
))]

use bowline::tls::TlsError;
use bowline::{Error, blocking, tokio};

#[test]
fn without_a_crypto_provider_there_is_a_typed_error() {
    let url = "wss://127.0.0.1:1/";
    let runtime = ::tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for error in
        [blocking::connect(url).unwrap_err(), runtime.block_on(tokio::connect(url)).unwrap_err()]
    {
        assert!(matches!(error, Error::Tls(TlsError::NoProvider)), "{error}");
        assert!(error.to_string().contains("`ring`"), "{error}");
    }
}
