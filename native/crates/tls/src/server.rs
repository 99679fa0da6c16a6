//! The server's side: its certificate, and whom it lets in.

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::SingleCertAndKey,
};

use crate::{ConfigError, HTTP2, Session, pem, provider};

/// Whether clients have to say who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificate {
    /// They are not asked.
    #[default]
    None,
    /// They are asked; one that presents a certificate has to present a valid one.
    Request,
    /// Without a valid certificate there is no connection.
    Require,
}

/// What a server needs. The texts are PEM.
#[derive(Clone, Default)]
pub struct ServerOptions {
    /// The chain, the server's own certificate first.
    pub certificate: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
    /// The authorities that clients' certificates have to be signed by.
    pub authorities: Option<Vec<u8>>,
    /// Whether clients are asked for one.
    pub client_certificate: ClientCertificate,
}

impl fmt::Debug for ServerOptions {
    /// Without the key: what is printed ends up in logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ServerOptions")
            .field("client_certificate", &self.client_certificate)
            .finish_non_exhaustive()
    }
}

/// A server's checked configuration; one is shared by all of its connections.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    inner: Arc<rustls::ServerConfig>,
}

impl ServerConfig {
    /// Reads and checks certificates and key.
    ///
    /// # Errors
    /// `MILLRACE_TLS_CERTIFICATE`, `MILLRACE_TLS_KEY` or `MILLRACE_TLS_EXPIRED`, naming the option.
    pub fn new(options: &ServerOptions) -> Result<Self, ConfigError> {
        let provider = provider();
        let certified = pem::certified(&options.certificate, &options.key, &provider, now())?;
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| ConfigError::certificate(error.to_string()))?;
        let builder = match verifier(options, provider)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![HTTP2.to_vec()];
        Ok(Self {
            inner: Arc::new(config),
        })
    }

    /// A new connection.
    ///
    /// # Errors
    /// What the library refuses; a checked configuration gives it no cause to.
    pub fn session(&self) -> Result<Session, ConfigError> {
        rustls::ServerConnection::new(Arc::clone(&self.inner))
            .map(|connection| Session::new(connection.into()))
            .map_err(|error| ConfigError::certificate(error.to_string()))
    }
}

fn verifier(
    options: &ServerOptions,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, ConfigError> {
    if options.client_certificate == ClientCertificate::None {
        return Ok(None);
    }
    let Some(authorities) = &options.authorities else {
        return Err(ConfigError::certificate(
            "clientCertificate needs ca, the authorities that sign the clients' certificates"
                .to_owned(),
        ));
    };
    let store = pem::authorities(authorities)?;
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider);
    let builder = if options.client_certificate == ClientCertificate::Request {
        builder.allow_unauthenticated()
    } else {
        builder
    };
    builder
        .build()
        .map(Some)
        .map_err(|error| ConfigError::certificate(format!("ca cannot be used: {error}")))
}

pub(crate) fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs() as i64)
}
