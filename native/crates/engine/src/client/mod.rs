//! The client's side of an engine: connections that are opened, and calls that are made on them.

pub(crate) mod address;
mod calls;
mod deadline;
mod link;
mod timers;

pub(crate) use calls::ClientCall;
pub(crate) use link::Link;
pub use link::Target;
