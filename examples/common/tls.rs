//! What the servers on TLS share: a certificate made at the start.

use std::path::Path;
use std::sync::Arc;

use bowline::rustls::pki_types::PrivateKeyDer;
use bowline::rustls::{CommonState, ServerConfig};
use bowline::tokio_rustls::TlsAcceptor;

use super::about;

/// TLS with a new certificate, for these versions of HTTP. The certificate is written to the file.
pub fn acceptor(
    alpn: &[&str],
    certificate: Option<&Path>,
) -> Result<TlsAcceptor, Box<dyn std::error::Error + Send + Sync>> {
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let mut config = ServerConfig::builder_with_provider(bowline::tls::crypto_provider()?)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    if let Some(file) = certificate {
        std::fs::write(file, made.cert.pem())
            .map_err(about(format_args!("cannot write the certificate to {}", file.display())))?;
    }
    Ok(Arc::new(config).into())
}

/// The version of TLS and the key exchange that a connection agreed on.
pub fn agreed(tls: &CommonState) -> String {
    match (tls.protocol_version(), tls.negotiated_key_exchange_group()) {
        (Some(version), Some(group)) => format!("{version:?} with {:?}", group.name()),
        _ => "TLS before its handshake".into(),
    }
}
