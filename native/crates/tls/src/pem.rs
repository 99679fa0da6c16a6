//! Certificates and keys from PEM (RFC 7468), with errors that say what the text holds instead.

use rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::ConfigError;

/// All certificates of a text; `name` says in errors what it is.
pub(crate) fn certificates(
    text: &[u8],
    name: &str,
) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(text) {
        certificates.push(certificate.map_err(|error| {
            ConfigError::certificate(format!("{name} is not valid PEM: {}", describe(&error)))
        })?);
    }
    if certificates.is_empty() {
        return Err(ConfigError::certificate(format!(
            "{name} has no certificate{}; give PEM with -----BEGIN CERTIFICATE----- sections",
            instead(text)
        )));
    }
    Ok(certificates)
}

fn key(text: &[u8], name: &str) -> Result<PrivateKeyDer<'static>, ConfigError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| {
        ConfigError::key(match error {
            pem::Error::NoItemsFound if holds(text, "ENCRYPTED PRIVATE KEY") => format!(
                "{name} is protected by a password, which is not supported; decrypt it first: openssl pkey -in key.pem -out plain.pem"
            ),
            pem::Error::NoItemsFound => format!(
                "{name} has no private key{}; give PEM with a -----BEGIN PRIVATE KEY----- section (PKCS #8, or RSA and EC keys as OpenSSL writes them)",
                instead(text)
            ),
            other => format!("{name} is not valid PEM: {}", describe(&other)),
        })
    })
}

/// A chain with its key: they have to belong together, and each certificate has to be valid now.
///
/// `now` is in seconds since 1970.
pub(crate) fn certified(
    certificate: &[u8],
    key_text: &[u8],
    provider: &CryptoProvider,
    now: i64,
) -> Result<CertifiedKey, ConfigError> {
    let chain = certificates(certificate, "cert")?;
    for (position, certificate) in chain.iter().enumerate() {
        check_validity(certificate, position, now)?;
    }
    let key = key(key_text, "key")?;
    let signer = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| {
            ConfigError::key(format!(
                "key holds a key that cannot be used: {error}; use RSA of 2,048 bits or more, ECDSA P-256, P-384 or Ed25519"
            ))
        })?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(certified)
        }
        Err(rustls::Error::InconsistentKeys(_)) => Err(ConfigError::key(
            "key does not belong to the first certificate of cert; the server's own certificate has to come first in the chain, and the key has to be the one it was issued for".to_owned(),
        )),
        Err(error) => Err(ConfigError::certificate(format!(
            "the first certificate of cert cannot be used: {error}"
        ))),
    }
}

/// The authorities of a text.
pub(crate) fn authorities(text: &[u8]) -> Result<RootCertStore, ConfigError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(text, "ca")? {
        store.add(certificate).map_err(|error| {
            ConfigError::certificate(format!("ca has a certificate that cannot be used: {error}"))
        })?;
    }
    Ok(store)
}

fn check_validity(der: &CertificateDer<'_>, position: usize, now: i64) -> Result<(), ConfigError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| {
        ConfigError::certificate(format!(
            "certificate {} of cert cannot be parsed: {error}",
            position + 1
        ))
    })?;
    let validity = certificate.validity();
    let subject = certificate.subject();
    if now > validity.not_after.timestamp() {
        return Err(ConfigError::expired(format!(
            "certificate {} of cert ({subject}) expired at {}; every client would refuse it, so get a new one",
            position + 1,
            validity.not_after
        )));
    }
    if now < validity.not_before.timestamp() {
        return Err(ConfigError::expired(format!(
            "certificate {} of cert ({subject}) is valid from {} on only; check this machine's clock",
            position + 1,
            validity.not_before
        )));
    }
    Ok(())
}

/// What a text without the wanted section looks like.
fn instead(text: &[u8]) -> &'static str {
    if text.is_empty() {
        " (it is empty)"
    } else if holds(text, "PRIVATE KEY") {
        " (it holds a private key)"
    } else if holds(text, "BEGIN CERTIFICATE REQUEST") {
        " (it holds a certificate request)"
    } else if holds(text, "BEGIN CERTIFICATE") {
        " (it holds a certificate)"
    } else if text[0] == 0x30 {
        " (it seems to be DER, not PEM)"
    } else {
        ""
    }
}

fn holds(text: &[u8], marker: &str) -> bool {
    text.windows(marker.len())
        .any(|window| window == marker.as_bytes())
}

fn describe(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a section begins in a wrong way".to_owned(),
        other => other.to_string(),
    }
}
