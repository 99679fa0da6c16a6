//! Sending: what was committed to the kernel and what has left, and the pool that send rings are
//! leased from.

mod account;
mod pool;

pub(crate) use account::{Account, Outcome};
pub(crate) use pool::Pool;
