//! The feature `aws-lc-rs`: the key exchange that is offered first is a hybrid with ML-KEM, and both roles agree on it.

#![cfg(all(feature = "aws-lc-rs", feature = "ring", feature = "tokio"))]

use std::sync::Arc;

use super::connections::{ADAPTERS, echo, request, serve, talk};
use crate::support::tls::{Authority, ring_provider};
use bowline::rustls::NamedGroup;
use bowline::rustls::crypto::CryptoProvider;
use bowline::tls::crypto_provider;
use bowline::{Config, Message};

/// The key exchange of each pair of adapters.
fn agreed(client: &Arc<CryptoProvider>, server: &Arc<CryptoProvider>) -> Vec<Option<NamedGroup>> {
    let say = [Message::from("Hello")];
    let mut groups = Vec::new();
    for accepting in ADAPTERS {
        for connecting in ADAPTERS {
            let authority = Authority::with_provider(Arc::clone(server));
            let tls = authority.server(&["localhost"]);
            let (address, echo) = serve(move |socket| {
                echo(accepting, tls, socket, |tls| {
                    tls.negotiated_key_exchange_group().map(|group| group.name())
                })
            });
            let request =
                request("localhost", address, authority.client_with_provider(Arc::clone(client)));
            assert_eq!(talk(connecting, &request, Config::default(), &say).unwrap(), say);
            groups.push(echo.join().unwrap());
        }
    }
    groups
}

#[test]
fn our_client_and_our_server_agree_on_a_hybrid_key_exchange() {
    let provider = crypto_provider().unwrap();
    assert_eq!(provider.kx_groups[0].name(), NamedGroup::X25519MLKEM768);
    assert_eq!(agreed(&provider, &provider), [Some(NamedGroup::X25519MLKEM768); 4]);
}

#[test]
fn a_peer_without_it_still_connects() {
    let provider = crypto_provider().unwrap();
    assert_eq!(agreed(&provider, &ring_provider()), [Some(NamedGroup::X25519); 4]);
    assert_eq!(agreed(&ring_provider(), &provider), [Some(NamedGroup::X25519); 4]);
}
