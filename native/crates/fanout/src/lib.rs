//! Publish and subscribe without the wire: who gets an event, and what is kept of the past.
//!
//! Nothing here does I/O, reads a clock, or starts a thread: time is a parameter, in milliseconds,
//! and the same calls give the same answers. Only [`past`] knows that there are threads, and locks. The crate knows neither how events are encoded nor how
//! subscribers are reached: an event is whatever the caller keeps (`E`, as a rule a reference to
//! shared bytes), a subscriber is a small value of the caller's (`S`, as a rule an index).
//!
//! - [`topic`]: the syntax of topics and patterns, and whether one matches the other;
//! - [`routes::Routes`]: subscriptions and known topics. The matches of a topic are kept until a
//!   subscription comes or goes, so that publishing to a known topic compares a number and walks an
//!   array. Beneath it is a trie over interned tokens;
//! - [`store::Store`]: the events retained, bounded by count, bytes and age, and replayed from a
//!   sequence, a time or the earliest;
//! - [`durable::DurableGroup`]: members that share the work and acknowledge it, at least once;
//! - [`past::Past`]: store and durable groups as the threads of a process share them;
//! - [`replay::Replay`]: what of the past a subscriber begins with, while others publish;
//! - [`duplicates::Duplicates`]: the identifiers of messages that were published lately.
//!
#![forbid(unsafe_code)]

pub mod duplicates;
pub mod durable;
pub mod past;
pub mod replay;
pub mod routes;
pub mod store;
mod token;
pub mod topic;
mod trie;

pub use duplicates::Duplicates;
pub use durable::{DeadLetter, Delivery, DurableCounters, DurableGroup, DurableOptions, MemberId};
pub use past::{Durable, DurableError, Durables, Kept, Levels, Member, Past, Placed};
pub use replay::{Piece, Replay};
pub use routes::{Routes, RoutesLimits, TopicId};
pub use store::{OutOfRange, Retained, Retention, Start, Store};
pub use topic::{Illegal, Pattern, SyntaxLimits, Topic};
pub use trie::SubscriptionId;
