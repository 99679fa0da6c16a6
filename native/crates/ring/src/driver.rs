//! The drivers and what they share: `uring` with its presets *bundle*, *ring* and *classic*, and
//! `portable`.

#[cfg(feature = "__fault")]
pub(crate) mod fault;
#[cfg(all(test, target_os = "linux"))]
mod models;
pub(crate) mod portable;
#[cfg(target_os = "linux")]
pub(crate) mod preset;
mod slab;
mod socket;
#[cfg(target_os = "linux")]
pub(crate) mod uring;

use crate::{Completion, SocketId};

/// The socket that a completion speaks of.
fn completion_socket(completion: &Completion) -> Option<SocketId> {
    match completion {
        Completion::Accepted { .. } | Completion::AcceptFailed { .. } => None,
        Completion::Connected { socket }
        | Completion::ConnectFailed { socket, .. }
        | Completion::Received { socket, .. }
        | Completion::ReceiveEnded { socket, .. }
        | Completion::Sent { socket, .. }
        | Completion::SendFailed { socket, .. }
        | Completion::Closed { socket } => Some(*socket),
    }
}
