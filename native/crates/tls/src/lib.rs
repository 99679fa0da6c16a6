//! TLS as bytes in, bytes out, for both roles: no I/O, no clock of its own in a connection, and
//! nothing of the library that does the cryptography (rustls) in its interface, so that a new
//! release of that touches this crate alone.
//!
//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446), with HTTP/2 negotiated by ALPN (RFC 7301, RFC 9113
//! section 3.2) or no connection.

#![forbid(unsafe_code)]

mod client;
mod error;
mod identity;
mod pem;
mod server;
mod session;

pub use client::{ClientConfig, ClientOptions, Identity};
pub use error::{ConfigError, SessionError};
pub use identity::PeerIdentity;
pub use server::{ClientCertificate, ServerConfig, ServerOptions};
pub use session::Session;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// What both roles negotiate by ALPN.
const HTTP2: &[u8] = b"h2";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
