//! What can be wrong, in words that say how to mend it.

use std::fmt;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

/// Certificates, keys or options that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// A stable `MILLRACE_TLS_*` code.
    pub code: &'static str,
    /// A sentence with the cause and the remedy.
    pub message: String,
}

impl ConfigError {
    pub(crate) fn certificate(message: String) -> Self {
        Self {
            code: "MILLRACE_TLS_CERTIFICATE",
            message,
        }
    }

    pub(crate) fn key(message: String) -> Self {
        Self {
            code: "MILLRACE_TLS_KEY",
            message,
        }
    }

    pub(crate) fn expired(message: String) -> Self {
        Self {
            code: "MILLRACE_TLS_EXPIRED",
            message,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

/// Why a connection cannot go on. An alert for the peer may be in the session's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionError {
    /// The peer speaks HTTP/1.x without TLS.
    PlaintextHttp1,
    /// The peer speaks HTTP/2 without TLS.
    PlaintextHttp2,
    /// The peer's first bytes are no TLS record.
    NotTls,
    /// The handshake failed, or a record was not what it has to be: a sentence for people.
    Failed(String),
}

impl fmt::Display for SessionError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::PlaintextHttp1 => "the peer speaks HTTP/1.x without TLS, and this side TLS",
            Self::PlaintextHttp2 => "the peer speaks HTTP/2 without TLS, and this side TLS",
            Self::NotTls => "the peer does not speak TLS, and this side does",
            Self::Failed(message) => message,
        })
    }
}

impl std::error::Error for SessionError {}

impl SessionError {
    pub(crate) fn from_rustls(error: &Error, handshaking: bool) -> Self {
        let place = if handshaking {
            "the TLS handshake failed"
        } else {
            "the TLS connection broke"
        };
        Self::Failed(format!("{place}: {}", describe(error)))
    }
}

fn describe(error: &Error) -> String {
    match error {
        Error::NoCertificatesPresented => "the client presented no certificate".to_owned(),
        Error::NoApplicationProtocol => {
            "the peer does not offer HTTP/2 by ALPN, which gRPC over TLS needs".to_owned()
        }
        Error::InvalidCertificate(cause) => match cause {
            CertificateError::UnknownIssuer => {
                "the peer's certificate is signed by none of the authorities that are trusted here (ca)".to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("the peer's certificate has expired ({cause})")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!("the peer's certificate is not valid yet ({cause}); compare the clocks")
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                format!("the peer's certificate is not for this purpose ({cause})")
            }
            other => format!("the peer's certificate is not valid: {other}"),
        },
        Error::AlertReceived(alert) => match alert {
            AlertDescription::UnknownCA => {
                "the peer does not trust the authority that signed this side's certificate (alert unknown_ca)".to_owned()
            }
            AlertDescription::CertificateExpired => {
                "the peer says that this side's certificate has expired (alert certificate_expired)".to_owned()
            }
            AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
                format!("the peer does not accept this side's certificate (alert {alert:?})")
            }
            AlertDescription::CertificateRequired => {
                "the peer asks for a certificate, and this side has none (alert certificate_required)".to_owned()
            }
            AlertDescription::NoApplicationProtocol => {
                "the peer does not speak HTTP/2 over TLS (alert no_application_protocol)".to_owned()
            }
            AlertDescription::ProtocolVersion => {
                "the peer speaks neither TLS 1.2 nor TLS 1.3 (alert protocol_version)".to_owned()
            }
            other => format!("the peer ended it with the alert {other:?}"),
        },
        Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            "the peer sent bytes that are no TLS record".to_owned()
        }
        other => other.to_string(),
    }
}
