//! The client's side: whom it trusts, and who it is.

use std::{fmt, sync::Arc};

use rustls::{RootCertStore, pki_types::ServerName, sign::SingleCertAndKey};

use crate::{ConfigError, HTTP2, Session, pem, provider, server::now};

/// A certificate chain with its key, both PEM.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The chain, the own certificate first.
    pub certificate: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
}

impl fmt::Debug for Identity {
    /// Without the key: what is printed ends up in logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// What a client may choose. There is no way to skip the verification of servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientOptions {
    /// The authorities to trust, PEM; without them those of the system.
    pub authorities: Option<Vec<u8>>,
    /// Presented to servers that ask.
    pub identity: Option<Identity>,
}

/// A client's checked configuration; one is shared by all connections with the same options.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    inner: Arc<rustls::ClientConfig>,
}

impl ClientConfig {
    /// Reads and checks authorities, certificate and key.
    ///
    /// # Errors
    /// `MILLRACE_TLS_CERTIFICATE`, `MILLRACE_TLS_KEY` or `MILLRACE_TLS_EXPIRED`, naming the option.
    pub fn new(options: &ClientOptions) -> Result<Self, ConfigError> {
        let provider = provider();
        let store = match &options.authorities {
            Some(text) => pem::authorities(text)?,
            None => system_authorities()?,
        };
        let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| ConfigError::certificate(error.to_string()))?
            .with_root_certificates(store);
        let mut config = match &options.identity {
            Some(identity) => {
                let certified =
                    pem::certified(&identity.certificate, &identity.key, &provider, now())?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![HTTP2.to_vec()];
        Ok(Self {
            inner: Arc::new(config),
        })
    }

    /// A new connection to a server that has to prove to be `server_name`, a DNS name or an IP
    /// address. The first flight is in its output.
    ///
    /// # Errors
    /// The name is neither.
    pub fn session(&self, server_name: &str) -> Result<Session, ConfigError> {
        let bare = server_name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'))
            .unwrap_or(server_name);
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| ConfigError {
            code: "MILLRACE_TLS_NAME",
            message: format!(
                "the server name {server_name:?} is neither a DNS name nor an IP address; give the name in its certificate as serverName"
            ),
        })?;
        rustls::ClientConnection::new(Arc::clone(&self.inner), name)
            .map(|connection| Session::new(connection.into()))
            .map_err(|error| ConfigError::certificate(error.to_string()))
    }
}

fn system_authorities() -> Result<RootCertStore, ConfigError> {
    let mut store = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        let cause = found
            .errors
            .first()
            .map_or_else(String::new, |error| format!(" ({error})"));
        return Err(ConfigError::certificate(format!(
            "this system has no certificate authorities{cause}; install them (Debian, Ubuntu: apt-get install ca-certificates) or give ca"
        )));
    }
    Ok(store)
}
