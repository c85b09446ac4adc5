//! A server that asks clients for a certificate (RFC 8446 §4.3.2), as services do among themselves: who has one comes in, and
//! who has none is told why.

#![cfg(all(feature = "ring", feature = "tokio"))]

use super::connections::{ADAPTERS, echo, request, serve, talk};
use crate::support::tls::Authority;
use bowline::rustls::version::{TLS12, TLS13};
use bowline::rustls::{AlertDescription, ClientConfig, SupportedProtocolVersion};
use bowline::tls::TlsError;
use bowline::{Config, Error, Message, rustls};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

#[test]
fn a_server_that_demands_a_certificate_gets_it() {
    let authority = Authority::new();
    let say = [Message::from("Hello")];
    for version in VERSIONS {
        for accepting in ADAPTERS {
            for connecting in ADAPTERS {
                let tls = authority.server_for_members(&["localhost"], version);
                let (address, echo) = serve(move |socket| {
                    echo(accepting, tls, socket, |tls| tls.peer_certificates().unwrap()[0].clone())
                });
                let (config, certificate) = authority.member(&authority);
                let request = request("localhost", address, config);
                assert_eq!(talk(connecting, &request, Config::default(), &say).unwrap(), say);
                assert_eq!(echo.join().unwrap().as_ref(), certificate.as_ref());
            }
        }
    }
}

/// What each client adapter is told by a server of each adapter, which closes the connection at once.
#[track_caller]
fn assert_refused(
    authority: &Authority,
    client: &ClientConfig,
    version: &'static SupportedProtocolVersion,
    alerts: &[AlertDescription],
) {
    for accepting in ADAPTERS {
        for connecting in ADAPTERS {
            let tls = authority.server_for_members(&["localhost"], version);
            let (address, echo) = serve(move |socket| echo(accepting, tls, socket, |_| ()));
            let request = request("localhost", address, client.clone());
            let error = talk(connecting, &request, Config::default(), &[]).unwrap_err();
            let text = format!("{version:?}, {accepting:?}, {connecting:?}: {error:?}");
            let Error::Tls(TlsError::Rustls(rustls::Error::AlertReceived(alert))) = error else {
                panic!("{text}");
            };
            assert!(alerts.contains(&alert), "{text}");
            echo.join().unwrap_err();
        }
    }
}

#[test]
fn a_client_without_a_certificate_is_told_that_it_needs_one() {
    let authority = Authority::new();
    let client = authority.client();
    // RFC 8446 §4.4.2.4: "abort the handshake with a "certificate_required" alert".
    assert_refused(&authority, &client, &TLS13, &[AlertDescription::CertificateRequired]);
    // RFC 5246 §7.4.6: "a fatal handshake_failure alert".
    let alerts = [AlertDescription::HandshakeFailure, AlertDescription::CertificateRequired];
    assert_refused(&authority, &client, &TLS12, &alerts);
}

#[test]
fn a_client_whose_certificate_another_authority_signed_is_refused() {
    let authority = Authority::new();
    let (client, _) = authority.member(&Authority::new());
    // RFC 8446 §6.2: the certificate "could not be matched with a known trust anchor".
    for version in VERSIONS {
        assert_refused(&authority, &client, version, &[AlertDescription::UnknownCA]);
    }
}
