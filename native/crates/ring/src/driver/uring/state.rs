//! What the driver knows of one socket.

use std::os::fd::OwnedFd;
use std::pin::Pin;

use socket2::SockAddr;

use crate::uring::{Outbox, ReceiveMode};

pub(super) struct Socket {
    pub(super) descriptor: Option<OwnedFd>,
    pub(super) mode: ReceiveMode,
    pub(super) receive: Receive,
    /// The poll before its receive is in flight.
    pub(super) polling: bool,
    /// It stands in `fresh` or `parked`.
    pub(super) queued: bool,
    /// Buffers that its receives filled lately, each.
    pub(super) filled: u32,
    /// Its receive was armed before.
    pub(super) armed_before: bool,
    /// Where the connect in flight goes to.
    pub(super) connecting: Option<Pin<Box<SockAddr>>>,
    pub(super) outbox: Outbox,
    /// The connection broke while sending.
    pub(super) send_failed: bool,
    pub(super) cancels: u32,
    pub(super) phase: Phase,
}

/// The receive side of a socket.
///
/// ```text
///            submit              last completion
///  Waiting ─────────▶ Armed ─────────────────────▶ Waiting (or Ended)
///     ▲ │ pause         │ pause
///     │ ▼               ▼          last completion
///     │ Paused ◀──── Cancelling ─────────────────▶ Paused (Waiting, if resumed meanwhile)
///     └───┘ resume
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receive {
    Waiting,
    Armed,
    Cancelling { resume: bool },
    Paused,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// The send in flight finishes, then the end is sent.
    Closing,
    /// Everything is cancelled, then the connection is reset.
    Aborting,
}

impl Socket {
    pub(super) fn new(descriptor: OwnedFd, mode: ReceiveMode) -> Self {
        Self {
            descriptor: Some(descriptor),
            mode,
            receive: Receive::Waiting,
            polling: false,
            queued: false,
            filled: 0,
            armed_before: false,
            connecting: None,
            outbox: Outbox::default(),
            send_failed: false,
            cancels: 0,
            phase: Phase::Open,
        }
    }
}

impl Socket {
    /// Whether something is in flight that has to be cancelled before it closes.
    pub(super) fn is_held_up(&self) -> bool {
        self.receive.in_flight()
            || self.polling
            || self.connecting.is_some()
            || (self.phase == Phase::Aborting && !self.outbox.is_idle())
    }
}

impl Receive {
    pub(super) fn in_flight(self) -> bool {
        matches!(self, Self::Armed | Self::Cancelling { .. })
    }
}
