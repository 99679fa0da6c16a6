//! The drivers, one file each.

#[cfg(target_os = "linux")]
pub(crate) mod bundle;
#[cfg(feature = "__fault")]
pub(crate) mod fault;
pub(crate) mod portable;
