//! What the servers on TLS share: their options, and a certificate made at the start.

use std::path::PathBuf;
use std::sync::Arc;

use bowline::rustls::ServerConfig;
use bowline::rustls::pki_types::PrivateKeyDer;
use bowline::tokio_rustls::TlsAcceptor;
use bowline::{Config, Deflate};
use lexopt::prelude::*;

use super::{fail, help};

/// What a server on TLS is told on the command line.
pub struct TlsOptions {
    pub listen: String,
    pub certificate: Option<PathBuf>,
    pub config: Config,
}

impl TlsOptions {
    pub fn parse(program: &str, text: &str) -> Self {
        match Self::try_parse(text) {
            Ok(options) => options,
            Err(error) => fail(program, 2, format_args!("{error}; see --help")),
        }
    }

    fn try_parse(text: &str) -> Result<Self, lexopt::Error> {
        let mut options =
            Self { listen: "127.0.0.1:9001".into(), certificate: None, config: Config::default() };
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("listen") => options.listen = arguments.value()?.parse()?,
                Long("certificate") => options.certificate = Some(arguments.value()?.into()),
                Long("any-origin") => options.config = options.config.allow_any_origin(),
                Long("deflate") => options.config = options.config.deflate(Deflate::default()),
                Short('h') | Long("help") => help(text),
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(options)
    }

    /// TLS with a new certificate, for these versions of HTTP; writes the certificate where that is wanted.
    pub fn acceptor(
        &self,
        alpn: &[&str],
    ) -> Result<TlsAcceptor, Box<dyn std::error::Error + Send + Sync>> {
        let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
        let made = rcgen::generate_simple_self_signed(names)?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
        let mut config = ServerConfig::builder_with_provider(bowline::tls::crypto_provider()?)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)?;
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        if let Some(file) = &self.certificate {
            std::fs::write(file, made.cert.pem())?;
        }
        Ok(Arc::new(config).into())
    }
}
