//! Rings of provided buffers: memory shared with the kernel, which takes entries at its head while
//! we add them at the tail (io_uring_register_buf_ring(3)).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::queue::{Queue, ReceiveGroup};
use crate::{BufferGroup, SharedMemory};

/// `struct io_uring_buf`. The last field of the first entry is the ring's tail.
#[repr(C)]
struct Entry {
    address: u64,
    length: u32,
    buffer: u16,
    tail: AtomicU16,
}

const _: () = assert!(size_of::<Entry>() == size_of::<BufRingEntry>() && size_of::<Entry>() == 16);

/// One registered ring of buffers.
pub(crate) struct BufferRing {
    memory: Arc<SharedMemory>,
    entries: u16,
    group: u16,
    /// The next place to write; what is before it and at or after the published tail is unseen.
    tail: u16,
}

impl BufferRing {
    /// Registers a ring of `entries` places, a power of two, as group `group`.
    ///
    /// # Errors
    /// `EINVAL`: no such feature (before 5.19) or a bad count. `EEXIST`: the group exists.
    /// `ENOMEM`: `RLIMIT_MEMLOCK`.
    pub(crate) fn register(queue: &Queue, group: u16, entries: u16) -> io::Result<Self> {
        let memory = SharedMemory::new(usize::from(entries) * size_of::<Entry>())?;
        let ring = Self {
            memory,
            entries,
            group,
            tail: 0,
        };
        ring.register_again(queue)?;
        Ok(ring)
    }

    fn register_again(&self, queue: &Queue) -> io::Result<()> {
        let address = self.memory.as_ptr() as u64;
        // SAFETY: the memory is page aligned, zeroed or rewritten, as long as the entries say, and
        // the kernel pins its pages, so that it may even be unmapped before it is unregistered.
        unsafe {
            let submitter = queue.ring().submitter();
            submitter.register_buf_ring_with_flags(address, self.entries, self.group, 0)
        }
    }

    pub(crate) fn group(&self) -> u16 {
        self.group
    }

    /// Forgets every entry on both sides, after a send left it unclear what the kernel took.
    pub(crate) fn reset(&mut self, queue: &Queue) -> io::Result<()> {
        queue.ring().submitter().unregister_buf_ring(self.group)?;
        self.tail = 0;
        self.publish();
        self.register_again(queue)
    }

    /// Writes the next entry; the kernel sees it at [`BufferRing::publish`].
    ///
    /// # Safety
    /// `length` bytes at `address` stay valid until the kernel has given the buffer back or the
    /// ring is unregistered, and nothing else uses them meanwhile. No more than `entries` are in
    /// the ring.
    pub(super) unsafe fn add(&mut self, address: *const u8, length: u32, buffer: u16) {
        let place = usize::from(self.tail & (self.entries - 1));
        // SAFETY: the place lies inside the mapping. The kernel does not own it: fewer than
        // `entries` are in the ring. Every field is written, since the kernel may have changed it,
        // except the one that is the tail in the first entry.
        unsafe {
            let entry = self.memory.as_ptr().cast::<Entry>().add(place);
            (&raw mut (*entry).address).write(address as u64);
            (&raw mut (*entry).length).write(length);
            (&raw mut (*entry).buffer).write(buffer);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel what was added, with one store.
    pub(crate) fn publish(&self) {
        // SAFETY: the first entry lies inside the mapping and is aligned; its tail is only ever
        // accessed as an atomic.
        let tail = unsafe { &(*self.memory.as_ptr().cast::<Entry>()).tail };
        tail.store(self.tail, Ordering::Release);
    }
}

/// The ring of receive buffers.
pub(crate) struct ReceiveRing {
    ring: BufferRing,
    /// The memory that the entries point into; it lives as long as this.
    target: Arc<SharedMemory>,
}

impl ReceiveRing {
    pub(crate) fn register(queue: &Queue, group: u16, target: &BufferGroup) -> io::Result<Self> {
        let ring = BufferRing::register(queue, group, target.count() as u16)?;
        Ok(Self {
            ring,
            target: Arc::clone(target.memory()),
        })
    }

    pub(crate) fn group(&self) -> ReceiveGroup {
        ReceiveGroup(self.ring.group())
    }

    /// Gives the returning buffers of `buffers` to the kernel.
    pub(crate) fn publish(&mut self, buffers: &mut BufferGroup) {
        assert!(
            Arc::ptr_eq(&self.target, buffers.memory()),
            "a ring serves one group"
        );
        let length = buffers.buffer_bytes();
        let ring = &mut self.ring;
        let published = buffers.publish(|buffer, address| {
            // SAFETY: the buffer lies in the group's mapping, which `target` keeps alive, or the
            // driver leaks it if the kernel did not answer in time. It was returning, so nobody
            // reads it. A group of `count` buffers has at most `count` in the ring.
            unsafe { ring.add(address, length, buffer) };
        });
        if published > 0 {
            ring.publish();
        }
    }

    /// Leaves the memory mapped for ever, because the kernel might still write to it.
    pub(crate) fn leak(&self) {
        std::mem::forget(Arc::clone(&self.target));
    }
}
