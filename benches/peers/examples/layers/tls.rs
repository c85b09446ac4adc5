//! TLS with a certificate made at the start: the servers of servers.rs over it, and the client's end.

use std::process::Command;
use std::sync::Arc;

use bowline::rustls::pki_types::pem::PemObject;
use bowline::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use bowline::rustls::{ClientConfig, RootCertStore, ServerConfig};
use bowline::tokio_rustls::{TlsAcceptor, TlsConnector, client};
use tokio::net::TcpStream;

use crate::sockets::Result;
use crate::sockets::process::{self, Process};
use crate::sockets::servers::{self, Server, Shared, other};

/// The first argument of a server's process.
pub const SERVE: &str = "serve-tls";

const NAME: &str = "localhost";

/// A certificate and its key, as PEM.
pub struct Identity {
    certificate: String,
    key: String,
}

impl Identity {
    pub fn new() -> Self {
        let made = rcgen::generate_simple_self_signed([NAME.to_string()]).expect("a certificate");
        Self { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("a certificate")
    }

    fn acceptor(&self) -> TlsAcceptor {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key");
        let config = ServerConfig::builder_with_provider(bowline::tls::crypto_provider().unwrap())
            .with_safe_default_protocol_versions()
            .and_then(|it| {
                it.with_no_client_auth().with_single_cert(vec![self.certificate()], key)
            });
        Arc::new(config.expect("a configuration")).into()
    }

    pub async fn connect(&self, stream: TcpStream) -> Result<client::TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate()).map_err(other)?;
        let config = ClientConfig::builder_with_provider(bowline::tls::crypto_provider().unwrap())
            .with_safe_default_protocol_versions()
            .map_err(other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(NAME).map_err(other)?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

/// Starts this program again, as a server.
pub fn start(server: Server, identity: &Identity) -> Result<Process> {
    let mut command = Command::new(std::env::current_exe()?);
    Process::run(command.args([SERVE, server.name(), &identity.certificate, &identity.key]))
}

/// The process of a server.
pub fn serve(arguments: &[String]) -> ! {
    let [name, certificate, key] = arguments else { panic!("which server, with which identity") };
    let server = Server::named(name).expect("a server");
    let acceptor = Identity { certificate: certificate.clone(), key: key.clone() }.acceptor();
    let listener = process::begin("0");
    process::answer(|_| None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let shared = Shared::default();
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            let (acceptor, shared) = (acceptor.clone(), shared.clone());
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.expect("TLS");
                servers::spawn(server, stream, &shared);
            });
        }
    })
}
