//! Topics: events that are framed once and sent to every subscribed call, without JavaScript.
//!
//! - [`space`]: what all threads share of the topics of one name, above all who has subscribed to what;
//! - [`desk`]: where a thread publishes ([`Topics`]): finds out who gets an event, and appends it to the
//!   log of their engine;
//! - [`staging`]: what it publishes, as JavaScript has encoded it;
//! - [`event`]: that log, and events that wait;
//! - [`lane`]: how an event gets to an engine of another thread;
//! - [`feed`]: what waits for one subscriber, and what happens when that is too much;
//! - [`fan_out`]: the engine's part: from the log into the send chunks of connections.
//!
//! A subscriber whose connection has room and whose stream has window costs the head of a frame and a
//! copy. Whoever has not gets references to the events, which the engine frames when it may.

mod desk;
mod event;
mod fan_out;
mod feed;
mod lane;
mod space;
mod staging;

use std::{fmt, sync::Arc};

use millrace_fanout::Retention;

pub use desk::{Published, Retain, Topics, wall_clock};
pub(crate) use fan_out::Hub;
pub(crate) use feed::Feed;
pub use feed::SlowConsumer;
pub use millrace_fanout::store::Start;
pub use space::{Subscribe, Waker};

/// What topics retain: events framed as subscribers get them, with gRPC's prefix and their sequence.
pub type Past = millrace_fanout::Past<Arc<[u8]>>;

/// How the topics of a name are. Field numbers are those of the message type; 0: it has no such field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicsOptions {
    /// The tag of the field with the sequence: number × 8.
    pub sequence_tag: u32,
    /// The tag of the field with the number of events that were dropped before.
    pub dropped_tag: u32,
    /// What is kept for replays and durable groups; `None`: nothing.
    pub retention: Option<Retention>,
    /// How long a subscriber may make publishers wait, in milliseconds.
    pub block_timeout_ms: u64,
    /// Topics whose subscribers are known at a time.
    pub topics: u32,
    /// Subscriptions there may be.
    pub subscriptions: u32,
    /// Length of a topic or pattern, in bytes.
    pub pattern_bytes: u32,
    /// Bytes of the events that durable groups have in their hands, all of them together.
    pub unacknowledged_bytes: u64,
}

impl Default for TopicsOptions {
    fn default() -> Self {
        Self {
            sequence_tag: 0,
            dropped_tag: 0,
            retention: None,
            block_timeout_ms: 30_000,
            topics: 10_000,
            subscriptions: 100_000,
            pattern_bytes: 256,
            unacknowledged_bytes: 64 * 1024 * 1024,
        }
    }
}

/// Why there are no such topics, or a subscription is none.
#[derive(Clone, Debug)]
pub struct TopicsError {
    /// A stable `MILLRACE_*` code.
    pub code: &'static str,
    /// A sentence with the cause and the remedy.
    pub message: String,
}

impl fmt::Display for TopicsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for TopicsError {}
