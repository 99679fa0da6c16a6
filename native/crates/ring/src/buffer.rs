//! The receive buffers: their memory, who owns each, and how much pressure there is.

mod group;
mod ledger;
mod level;

pub use group::BufferGroup;
pub(crate) use group::VECTOR;
pub use level::Level;
