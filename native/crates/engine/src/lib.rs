//! Joins the I/O driver, HTTP/2 and gRPC for one thread, and presents them to JavaScript as
//! tables in shared memory ([`layout`]). Knows nothing of N-API: the binding drives it.

mod adopted_listener;
mod call;
mod client;
mod compression;
mod connection;
mod connections;
mod engine;
mod expiry;
mod handover;
mod header_list;
mod inbound;
pub mod layout;
mod ledger;
mod lifecycle;
mod linger;
mod listener;
mod notice;
mod operations;
mod options;
mod outbound;
mod overflow;
mod pressure;
mod retirement;
mod send_progress;
mod shared;
mod slots;
mod stats;
mod tls;
mod topics;
mod unix_listener;
mod unpacking;
mod wheel;

use std::fmt;

pub use adopted_listener::{listener_address, open_listener};
pub use call::{Method, MethodKind};
pub use client::Target;
pub use engine::{Collected, Engine, Views};
pub use millrace_http2::Limits as Http2Limits;
pub use millrace_ring::{DriverChoice, SharedMemory};
pub use millrace_tls::{
    ClientCertificate, ClientOptions as TlsClientOptions, Identity as TlsIdentity,
    ServerOptions as TlsServerOptions,
};
pub use notice::{Notice, Severity};
pub use options::{Options, Role};
pub use topics::{
    Past, Published, Retain, SlowConsumer, Start, Subscribe, Topics, TopicsError, TopicsOptions,
    Waker, wall_clock,
};

/// Why an engine could not be made or could not listen.
#[derive(Debug)]
pub struct EngineError {
    /// A stable `MILLRACE_*` code.
    pub code: &'static str,
    /// A sentence with the cause and the remedy.
    pub message: String,
}

impl fmt::Display for EngineError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for EngineError {}
