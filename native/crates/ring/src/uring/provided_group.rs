//! Receive buffers that operations provide (io_uring_prep_provide_buffers(3)), for kernels without
//! mapped rings of buffers, and the choice between both.

use std::io;
use std::sync::Arc;

use io_uring::opcode;

use super::buffer_ring::ReceiveRing;
use super::queue::{Kind, Queue, ReceiveGroup, Token};
use crate::buffer::Provision;
use crate::{BufferGroup, SharedMemory};

/// How the kernel learns of free receive buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupKind {
    /// By a ring in shared memory. Linux 5.19.
    Mapped,
    /// By operations. Linux 5.7.
    Provided,
}

/// The receive buffers as the kernel knows them.
pub(crate) enum ReceiveBuffers {
    Mapped(ReceiveRing),
    Provided(ProvidedGroup),
}

impl ReceiveBuffers {
    /// Registers what the kind needs; nothing is given to the kernel before
    /// [`ReceiveBuffers::publish`].
    ///
    /// # Errors
    /// As [`ReceiveRing::register`].
    pub(crate) fn new(
        kind: GroupKind,
        queue: &Queue,
        group: u16,
        target: &BufferGroup,
    ) -> io::Result<Self> {
        Ok(match kind {
            GroupKind::Mapped => Self::Mapped(ReceiveRing::register(queue, group, target)?),
            GroupKind::Provided => Self::Provided(ProvidedGroup::new(group, target)),
        })
    }

    pub(crate) fn group(&self) -> ReceiveGroup {
        match self {
            Self::Mapped(ring) => ring.group(),
            Self::Provided(group) => ReceiveGroup(group.group),
        }
    }

    /// Gives the returning buffers of `buffers` to the kernel.
    pub(crate) fn publish(&mut self, queue: &mut Queue, buffers: &mut BufferGroup) {
        match self {
            Self::Mapped(ring) => ring.publish(buffers),
            Self::Provided(group) => group.publish(queue, buffers),
        }
    }

    /// Books the completion of an operation that provided buffers; false if it failed.
    pub(crate) fn provided(&mut self, owner: u64, result: i32) -> bool {
        match self {
            Self::Mapped(_) => unreachable!("a mapped ring needs no operations"),
            Self::Provided(group) => group.provided(owner, result),
        }
    }

    /// Leaves the memory mapped for ever, because the kernel might still write to it.
    pub(crate) fn leak(&self) {
        match self {
            Self::Mapped(ring) => ring.leak(),
            Self::Provided(group) => std::mem::forget(Arc::clone(&group.target)),
        }
    }
}

/// Buffers that operations provide.
pub(crate) struct ProvidedGroup {
    group: u16,
    provision: Provision,
    /// The memory that the operations name; it lives as long as this.
    target: Arc<SharedMemory>,
}

impl ProvidedGroup {
    fn new(group: u16, target: &BufferGroup) -> Self {
        Self {
            group,
            provision: Provision::new(target.count()),
            target: Arc::clone(target.memory()),
        }
    }

    fn publish(&mut self, queue: &mut Queue, buffers: &mut BufferGroup) {
        assert!(
            Arc::ptr_eq(&self.target, buffers.memory()),
            "a group is provided from one memory"
        );
        buffers.publish(|buffer, _| self.provision.add(buffer));
        let length = buffers.buffer_bytes() as i32;
        self.provision.provide(buffers.free(), |(first, count)| {
            let token = Token {
                kind: Kind::Provide,
                owner: u64::from(first) | u64::from(count) << 16,
            };
            // The buffers lie in the group's mapping, which `target` keeps alive, or the driver
            // leaks it if the kernel did not answer in time. They were returning, so nobody reads
            // them.
            let address = buffers.address(first);
            let entry = opcode::ProvideBuffers::new(address, length, count, self.group, first);
            queue.push(token, entry.build());
        });
    }

    fn provided(&mut self, owner: u64, result: i32) -> bool {
        let run = (owner as u16, (owner >> 16) as u16);
        self.provision.taken(run, result)
    }
}
