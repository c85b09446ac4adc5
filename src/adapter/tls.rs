//! TLS with rustls, for `wss` URLs: what a client trusts, and why TLS failed.
//!
//! `connect` verifies the server's certificate for the host of the URL, which may be an IP address. It trusts
//! the root certificates of the platform. To trust an authority of your own, make a [`ClientConfig`] and give it
//! to the request:
//!
//! ```no_run
//! use std::sync::Arc;
//! use bowline::handshake::ClientRequest;
//! use bowline::rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
//!
//! # fn connect(ca: CertificateDer<'static>) -> Result<(), Box<dyn std::error::Error>> {
//! let mut roots = RootCertStore::empty();
//! roots.add(ca)?;
//! let provider = bowline::tls::crypto_provider()?;
//! let tls = ClientConfig::builder_with_provider(provider)
//!     .with_safe_default_protocol_versions()?
//!     .with_root_certificates(roots)
//!     .with_no_client_auth();
//! let request = ClientRequest::new("wss://chat.internal/")?.tls_config(Arc::new(tls));
//! let (mut ws, _) = bowline::blocking::connect_with(&request, bowline::Config::default())?;
//! # Ok(())
//! # }
//! ```
//!
//! # Client certificates
//!
//! A server may ask each client for a certificate (mutual TLS). The client shows its own like this:
//!
//! ```no_run
//! use std::sync::Arc;
//! use bowline::handshake::ClientRequest;
//! use bowline::rustls::{ClientConfig, RootCertStore};
//! use bowline::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
//!
//! # fn connect() -> Result<(), Box<dyn std::error::Error>> {
//! let mut roots = RootCertStore::empty();
//! roots.add(CertificateDer::from_pem_file("authority.pem")?)?;
//! let chain = CertificateDer::pem_file_iter("client.pem")?.collect::<Result<Vec<_>, _>>()?;
//! let key = PrivateKeyDer::from_pem_file("client.key")?;
//! let tls = ClientConfig::builder_with_provider(bowline::tls::crypto_provider()?)
//!     .with_safe_default_protocol_versions()?
//!     .with_root_certificates(roots)
//!     .with_client_auth_cert(chain, key)?;
//! let request = ClientRequest::new("wss://chat.internal/")?.tls_config(Arc::new(tls));
//! let (mut ws, _) = bowline::blocking::connect_with(&request, bowline::Config::default())?;
//! # Ok(())
//! # }
//! ```
//!
//! The server names the authority whose certificates it takes, and finds the client's in the connection:
//!
//! ```no_run
//! use std::net::TcpListener;
//! use std::sync::Arc;
//! use bowline::blocking::{self, TlsStream};
//! use bowline::rustls::server::WebPkiClientVerifier;
//! use bowline::rustls::{RootCertStore, ServerConfig, ServerConnection};
//! use bowline::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
//!
//! # fn serve(listener: TcpListener) -> Result<(), Box<dyn std::error::Error>> {
//! let provider = bowline::tls::crypto_provider()?;
//! let mut members = RootCertStore::empty();
//! members.add(CertificateDer::from_pem_file("authority.pem")?)?;
//! let verifier =
//!     WebPkiClientVerifier::builder_with_provider(members.into(), provider.clone()).build()?;
//! let chain = CertificateDer::pem_file_iter("server.pem")?.collect::<Result<Vec<_>, _>>()?;
//! let tls = ServerConfig::builder_with_provider(provider)
//!     .with_safe_default_protocol_versions()?
//!     .with_client_cert_verifier(verifier)
//!     .with_single_cert(chain, PrivateKeyDer::from_pem_file("server.key")?)?;
//!
//! let (socket, _) = listener.accept()?;
//! let stream = TlsStream::new(ServerConnection::new(Arc::new(tls))?, socket);
//! let mut ws = blocking::accept(stream, bowline::Config::default())?;
//! if let Some([first, ..]) = ws.get_ref().connection().peer_certificates() {
//!     println!("a certificate of {} bytes", first.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! On tokio, `TlsAcceptor` takes the same configuration, and `ws.get_ref().get_ref().1` is the connection. A client
//! without a certificate that the server takes gets [`TlsError::Rustls`] with the server's alert
//! ([`rustls::Error::AlertReceived`]). In TLS 1.3 a client has finished its handshake before the server looks at
//! the certificate. So `connect` fails when it reads the answer to its request.
//!
//! # Crypto provider
//!
//! rustls does its cryptography with a provider. The provider is the one that the program installed
//! ([`CryptoProvider::install_default`]), otherwise aws-lc-rs with the feature `aws-lc-rs`, otherwise ring with the
//! feature `ring`. Without any, `connect` gives [`TlsError::NoProvider`].
//!
//! With the feature `aws-lc-rs`, the key exchange that a client offers first is X25519MLKEM768. It combines X25519 with
//! ML-KEM. So a recorded connection stays secret, even from a quantum computer. ring has no such key exchange.

use core::fmt;
use std::format;
use std::string::{String, ToString};
use std::sync::{Arc, OnceLock};
use std::vec;
use std::vec::Vec;

use ::rustls::crypto::CryptoProvider;
use ::rustls::pki_types::ServerName;
use ::rustls::{ClientConfig, RootCertStore};

/// Why TLS failed, at the start or later.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TlsError {
    /// There is no crypto provider: the program installed none, and the features `aws-lc-rs` and `ring` are off.
    NoProvider,
    /// The platform has no usable root certificates. The text says why, if the platform did.
    NoRoots(String),
    /// The host of the URL is neither an IP address nor a name that a certificate can have.
    ServerName,
    /// rustls failed, because of the certificate ([`rustls::Error::InvalidCertificate`] says what is wrong with
    /// it), an alert from the peer, or bytes that are no TLS.
    Rustls(::rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProvider => f.write_str(
                "TLS has no crypto provider: install one, or build bowline with its feature `ring` or `aws-lc-rs`",
            ),
            Self::NoRoots(why) if why.is_empty() => {
                f.write_str("the platform has no root certificates")
            }
            Self::NoRoots(why) => write!(f, "the platform has no root certificates: {why}"),
            Self::ServerName => f.write_str("no certificate can be for the host of the URL"),
            Self::Rustls(error) => {
                write!(f, "TLS: {error}")?;
                // The server answered the TLS hello with something else, as an HTTP server does.
                if let ::rustls::Error::InvalidMessage(_) = error {
                    f.write_str(
                        "; the server may not speak TLS on this port: try ws:// in the URL",
                    )?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // `Display` already shows the text of the error itself.
            Self::Rustls(error) => error.source(),
            _ => None,
        }
    }
}

impl From<::rustls::Error> for TlsError {
    fn from(error: ::rustls::Error) -> Self {
        Self::Rustls(error)
    }
}

/// The crypto provider that `connect` uses: the one that the program installed, otherwise aws-lc-rs with the feature
/// `aws-lc-rs`, otherwise ring with the feature `ring`.
///
/// # Errors
///
/// [`TlsError::NoProvider`].
pub fn crypto_provider() -> Result<Arc<CryptoProvider>, TlsError> {
    if let Some(provider) = CryptoProvider::get_default() {
        return Ok(Arc::clone(provider));
    }
    #[cfg(feature = "aws-lc-rs")]
    return Ok(Arc::new(::rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    return Ok(Arc::new(::rustls::crypto::ring::default_provider()));
    #[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
    Err(TlsError::NoProvider)
}

/// The default of `connect`. It trusts the platform's root certificates (on Unix also the files that
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` name). They are read once in a process, when they are first needed. Call
/// this at the start to read them then.
///
/// # Errors
///
/// [`TlsError::NoProvider`], [`TlsError::NoRoots`]. After an error, the next call tries again.
pub fn with_platform_roots() -> Result<Arc<ClientConfig>, TlsError> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let provider = crypto_provider()?;
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // The store of a platform may hold certificates that cannot be parsed.
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let mut why: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        if ignored > 0 {
            why.push(format!("{ignored} cannot be parsed"));
        }
        return Err(TlsError::NoRoots(why.join("; ")));
    }
    let config = trusting(roots, provider)?;
    Ok(Arc::clone(CONFIG.get_or_init(|| config)))
}

/// Trusts Mozilla's root certificates, as of the version of the crate `webpki-roots`. It is for systems without
/// root certificates, such as a container that has only the program. Keep the value: TLS sessions can be
/// resumed only with the same one.
///
/// # Errors
///
/// [`TlsError::NoProvider`].
#[cfg(feature = "webpki-roots")]
pub fn with_webpki_roots() -> Result<Arc<ClientConfig>, TlsError> {
    trusting(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(), crypto_provider()?)
}

fn trusting(
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The name that the server, or the proxy, has to prove.
pub(crate) fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(host.to_string()).map_err(|_| TlsError::ServerName)
}

/// Gives a new TLS connection the bytes that came before it was made.
pub(crate) fn give_first(
    connection: &mut ::rustls::ClientConnection,
    mut bytes: &[u8],
) -> std::io::Result<()> {
    while !bytes.is_empty() && connection.read_tls(&mut bytes)? > 0 {}
    Ok(())
}

/// The only protocol for a WebSocket that an HTTP/1.1 request opens (RFC 7301). The program's configuration may
/// name others for other uses.
pub(crate) fn alpn() -> Vec<Vec<u8>> {
    vec![b"http/1.1".to_vec()]
}
