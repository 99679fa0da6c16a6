//! HTTP/2 (RFC 9113) and HPACK (RFC 7541) as a state machine, for both roles.
//!
//! Bytes and the time go in, events and bytes come out. There is no I/O, no clock, no thread and no
//! unsafe code here: the same calls always give the same results. In steady state nothing is
//! allocated per frame; DATA is passed through as ranges of the caller's own input.
//!
//! [`Connection`] tells how to drive it; [`Limits`] is the table of everything a peer may not do
//! without bound.
//!
//! It does not push, does not act on priorities, has no trailers of its own making, and knows
//! nothing of what the streams carry.
#![forbid(unsafe_code)]

mod budget;
mod connection;
mod error;
mod event;
mod flow;
mod frame;
mod hpack;
mod limits;
mod output;
mod stream;
mod timer;

pub use connection::{Connection, Expired, GoAwayLast, Role};
pub use error::{ConnectionError, ErrorKind, Initiator, OpenError, Reason};
pub use event::{Event, HeadersKind, StreamKey};
pub use hpack::{Field, Fields, Indexing};
pub use limits::{Counters, Limits};
pub use output::Output;

/// Monotonic milliseconds, from any origin.
pub type Millis = u64;
