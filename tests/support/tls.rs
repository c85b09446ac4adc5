//! A certificate authority made for one test, and what servers and clients need of it.

#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bowline::rustls::crypto::{CryptoProvider, ring};
use bowline::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use bowline::rustls::server::WebPkiClientVerifier;
use bowline::rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

pub(crate) fn ring_provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Of the servers and clients.
    provider: Arc<CryptoProvider>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::with_provider(ring_provider())
    }

    pub(crate) fn with_provider(provider: Arc<CryptoProvider>) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        // Or one would be taken for another that lies.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test {}", COUNT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, provider }
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server that shows a certificate for these names.
    pub(crate) fn server(&self, names: &[&str]) -> ServerConfig {
        self.server_with(self::names(names))
    }

    pub(crate) fn expired_server(&self, names: &[&str]) -> ServerConfig {
        let mut params = self::names(names);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        self.server_with(params)
    }

    fn server_with(&self, params: CertificateParams) -> ServerConfig {
        let (certificate, key) = self.sign(params);
        showing(&self.provider, certificate, key)
    }

    /// The same, for clients alone that show a certificate of this authority.
    pub(crate) fn server_for_members(
        &self,
        names: &[&str],
        version: &'static SupportedProtocolVersion,
    ) -> ServerConfig {
        let mut members = RootCertStore::empty();
        members.add(self.certificate()).unwrap();
        let provider = &self.provider;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(members.into(), Arc::clone(provider));
        let (certificate, key) = self.sign(self::names(names));
        ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![certificate], key)
            .unwrap()
    }

    /// A client that trusts this authority, and shows a certificate that `by` has signed.
    pub(crate) fn member(&self, by: &Authority) -> (ClientConfig, CertificateDer<'static>) {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate()).unwrap();
        let (certificate, key) = by.sign(names(&["member"]));
        let config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate.clone()], key)
            .unwrap();
        (config, certificate)
    }

    /// A certificate with these parameters and a new key.
    fn sign(&self, params: CertificateParams) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }

    /// A client that trusts this authority and no other.
    pub(crate) fn client(&self) -> ClientConfig {
        self.client_with_provider(Arc::clone(&self.provider))
    }

    pub(crate) fn client_with_provider(&self, provider: Arc<CryptoProvider>) -> ClientConfig {
        trusting(&provider, self.certificate())
    }
}

/// A server whose certificate nobody but itself has signed, and a client that trusts this one alone.
pub(crate) fn self_signed(names: &[&str]) -> (ServerConfig, ClientConfig) {
    let key = KeyPair::generate().unwrap();
    let certificate = self::names(names).self_signed(&key).unwrap();
    let certificate = certificate.der().clone();
    let provider = ring_provider();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    (showing(&provider, certificate.clone(), key), trusting(&provider, certificate))
}

/// What a certificate for these names says.
fn names(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(|&name| name.into()).collect::<Vec<_>>()).unwrap()
}

fn showing(
    provider: &Arc<CryptoProvider>,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> ServerConfig {
    ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap()
}

fn trusting(provider: &Arc<CryptoProvider>, certificate: CertificateDer<'static>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}
