//! Sending: what was committed to the kernel and what has left, and the pool that send rings are
//! leased from.

mod account;
#[cfg(target_os = "linux")]
mod pool;

pub(crate) use account::{Account, Outcome};
#[cfg(target_os = "linux")]
pub(crate) use pool::Pool;
