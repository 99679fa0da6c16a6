//! HTTP/2 (RFC 9113) and HPACK (RFC 7541) as a state machine: bytes and the time go in, events and
//! bytes come out. No I/O, no clock, no threads, no unsafe code: the same input always gives the
//! same output.
#![forbid(unsafe_code)]

mod connection;
mod error;
mod event;
mod limits;
mod output;

pub use connection::{Connection, Field, Fields, GoAwayLast, Indexing, Role};
pub use error::{ConnectionError, ErrorKind, Initiator, OpenError, Reason};
pub use event::{Event, HeadersKind, StreamKey};
pub use limits::{Counters, Limits};
pub use output::Output;

/// Monotonic milliseconds, from any origin.
pub type Millis = u64;
