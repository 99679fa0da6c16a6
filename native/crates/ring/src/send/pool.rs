//! The pool of send rings. Registering one takes a group number and pins a page, so they are made
//! when needed, leased to a connection for one send, and kept.

use crate::uring::{BufferRing, Queue};

pub(crate) struct Pool {
    free: Vec<BufferRing>,
    entries: u16,
    registered: u16,
    limit: u16,
    pub(crate) leases: u64,
    pub(crate) failures: u64,
}

/// Group numbers of send rings start here; 0 is the receive group.
const FIRST_GROUP: u16 = 1;

impl Pool {
    pub(crate) fn new(entries: u16, limit: u16) -> Self {
        Self {
            free: Vec::new(),
            entries,
            registered: 0,
            limit,
            leases: 0,
            failures: 0,
        }
    }

    /// Entries of one ring.
    pub(crate) fn entries(&self) -> usize {
        usize::from(self.entries)
    }

    /// An empty ring, or none if all are leased. A peer that was slow to read holds its ring for
    /// long, so such peers together get at most half of the pool.
    pub(crate) fn lease(&mut self, queue: &Queue, slow_peer: bool) -> Option<BufferRing> {
        let available = self.free.len() + usize::from(self.limit - self.registered);
        if slow_peer && available <= usize::from(self.limit) / 2 {
            return None;
        }
        let ring = self.free.pop().or_else(|| self.grow(queue))?;
        self.leases += 1;
        Some(ring)
    }

    fn grow(&mut self, queue: &Queue) -> Option<BufferRing> {
        if self.registered == self.limit {
            return None;
        }
        match BufferRing::register(queue, FIRST_GROUP + self.registered, self.entries) {
            Ok(ring) => {
                self.registered += 1;
                Some(ring)
            }
            // Usually RLIMIT_MEMLOCK. What there is must do; the rest is sent without a ring.
            Err(_) => {
                self.failures += 1;
                self.limit = self.registered;
                None
            }
        }
    }

    /// Takes a ring back that everything has left.
    pub(crate) fn give_back(&mut self, ring: BufferRing) {
        self.free.push(ring);
    }

    /// Takes a ring back of which nobody knows what the kernel took.
    pub(crate) fn give_back_unclear(&mut self, queue: &Queue, mut ring: BufferRing) {
        match ring.reset(queue) {
            Ok(()) => self.free.push(ring),
            Err(_) => self.failures += 1,
        }
    }
}
