//! Who a peer is by its certificate.

use std::fmt::Write;

use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

/// What a verified certificate says of a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The subject's distinguished name, such as `CN=client, O=Example`; may be empty.
    pub subject: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// DNS names of the subjectAltName extension.
    pub dns_names: Vec<String>,
    /// URIs of it, such as SPIFFE ids.
    pub uris: Vec<String>,
    /// E-mail addresses of it.
    pub emails: Vec<String>,
    /// IP addresses of it.
    pub ip_addresses: Vec<String>,
    /// SHA-256 of the certificate: pairs of upper-case hexadecimal digits with colons.
    pub fingerprint: String,
    /// The serial number in hexadecimal digits.
    pub serial_number: String,
    /// When it begins to be valid and ends to be so, in seconds since 1970.
    pub valid_from: i64,
    /// See `valid_from`.
    pub valid_to: i64,
}

impl PeerIdentity {
    /// Reads a certificate; what cannot be read is left empty, since it was verified before.
    pub(crate) fn read(der: &[u8]) -> Self {
        let mut identity = Self {
            fingerprint: fingerprint(der),
            ..Self::default()
        };
        let Ok((_, certificate)) = X509Certificate::from_der(der) else {
            return identity;
        };
        identity.subject = certificate.subject().to_string();
        identity.issuer = certificate.issuer().to_string();
        identity.serial_number =
            certificate
                .raw_serial()
                .iter()
                .fold(String::new(), |mut digits, byte| {
                    let _ = write!(digits, "{byte:02X}");
                    digits
                });
        identity.valid_from = certificate.validity().not_before.timestamp();
        identity.valid_to = certificate.validity().not_after.timestamp();
        let Ok(Some(names)) = certificate.subject_alternative_name() else {
            return identity;
        };
        for name in &names.value.general_names {
            match name {
                GeneralName::DNSName(name) => identity.dns_names.push((*name).to_owned()),
                GeneralName::URI(uri) => identity.uris.push((*uri).to_owned()),
                GeneralName::RFC822Name(email) => identity.emails.push((*email).to_owned()),
                GeneralName::IPAddress(bytes) => identity.ip_addresses.extend(address(bytes)),
                _ => {}
            }
        }
        identity
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(bytes).to_string());
    }
    let bytes = <[u8; 16]>::try_from(bytes).ok()?;
    Some(std::net::Ipv6Addr::from(bytes).to_string())
}

fn fingerprint(der: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    let mut text = String::with_capacity(95);
    for (position, byte) in digest.as_ref().iter().enumerate() {
        if position > 0 {
            text.push(':');
        }
        let _ = write!(text, "{byte:02X}");
    }
    text
}
