//! What each io_uring driver asks of the kernel. Receiving and sending are abilities of their own,
//! and a driver's name stands for one combination of them.

use crate::uring::{Base, GroupKind, ReceiveMode};

/// How sends are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendMode {
    /// In bundles from leased rings; vectored when no ring can be had. Linux 6.10.
    Bundle,
    /// An iovec at a time.
    Vectored,
}

/// One combination. Nothing of what it uses is newer than its kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Preset {
    pub(crate) name: &'static str,
    pub(crate) base: Base,
    pub(crate) group: GroupKind,
    pub(crate) receive: ReceiveMode,
    pub(crate) send: SendMode,
}

/// Linux 6.10: bundles both ways. Where bundled receives are not sound, with [`ReceiveMode::Multishot`].
pub(crate) const BUNDLE: Preset = Preset {
    name: "bundle",
    base: Base::Linux6_0,
    group: GroupKind::Mapped,
    receive: ReceiveMode::Bundle,
    send: SendMode::Bundle,
};

/// Linux 6.0: multishot receives from a mapped ring, a buffer per completion.
pub(crate) const RING: Preset = Preset {
    name: "ring",
    base: Base::Linux6_0,
    group: GroupKind::Mapped,
    receive: ReceiveMode::Multishot,
    send: SendMode::Vectored,
};

/// Linux 5.7: a receive for each filled buffer, which is provided again by an operation.
pub(crate) const CLASSIC: Preset = Preset {
    name: "classic",
    base: Base::Linux5_7,
    group: GroupKind::Provided,
    receive: ReceiveMode::Polled,
    send: SendMode::Vectored,
};
