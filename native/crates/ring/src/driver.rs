//! The drivers, one file each, and what they share.

#[cfg(target_os = "linux")]
pub(crate) mod bundle;
#[cfg(feature = "__fault")]
pub(crate) mod fault;
pub(crate) mod portable;
mod slab;
mod socket;
