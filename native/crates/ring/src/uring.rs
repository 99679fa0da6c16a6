//! The unsafe corner: rings, registrations and entries shared with the kernel. Everything it offers
//! to the driver is safe to call in any order; what the kernel may still touch is owned here until
//! its completion was reaped, and leaked rather than freed if that never comes.
#![allow(unsafe_code)]

mod buffer_ring;
mod outbox;
mod provided_group;
mod queue;

pub(crate) use buffer_ring::BufferRing;
pub(crate) use outbox::{Message, Outbox, Sending, Way};
pub(crate) use provided_group::{GroupKind, ReceiveBuffers};
pub(crate) use queue::{Base, Kind, Queue, Reaped, ReceiveMode, Token, is_readable};
