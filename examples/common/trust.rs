//! Which certificates a client trusts, by its command line.

use std::sync::Arc;

use bowline::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use bowline::rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use bowline::rustls::pki_types::pem::PemObject;
use bowline::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use bowline::rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::Trust;

/// The configuration, unless the platform's certificates are to be trusted.
pub fn config(trust: &Trust) -> Result<Option<Arc<ClientConfig>>, String> {
    let provider = bowline::tls::crypto_provider().map_err(|error| error.to_string())?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    if trust.anything {
        let builder =
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anything(provider)));
        return Ok(Some(Arc::new(builder.with_no_client_auth())));
    }
    let Some(file) = &trust.ca else {
        return Ok(None);
    };
    let about = |error: &dyn std::fmt::Display| format!("--ca {}: {error}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| about(&error))? {
        let certificate = certificate.map_err(|error| about(&error))?;
        roots.add(certificate).map_err(|error| about(&error))?;
    }
    if roots.is_empty() {
        return Err(about(&"no certificate"));
    }
    Ok(Some(Arc::new(builder.with_root_certificates(roots).with_no_client_auth())))
}

/// Takes any certificate, and still checks that the server has its key.
#[derive(Debug)]
struct Anything(Arc<CryptoProvider>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
