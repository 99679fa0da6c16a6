//! The receive buffers: their memory, who owns each, and how much pressure there is.

mod group;
mod ledger;
mod level;
#[cfg(target_os = "linux")]
mod provision;

pub use group::BufferGroup;
pub(crate) use group::VECTOR;
#[cfg(target_os = "linux")]
pub(crate) use ledger::NotFree;
#[cfg(test)]
pub(crate) use ledger::{Ledger, State};
pub use level::Level;
#[cfg(target_os = "linux")]
pub(crate) use provision::Provision;
