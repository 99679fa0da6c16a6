//! The pool of send rings. Registering one takes a group number and pins a page, so they are made
//! when needed, leased to a connection for one send, and kept. It keeps the messages of vectored sends, too.

use crate::uring::{BufferRing, Message, Queue};

pub(crate) struct Pool {
    free: Vec<BufferRing>,
    /// Messages of vectored sends that are over.
    #[allow(clippy::vec_box)] // a message stays where it is: its header points into it
    messages: Vec<Box<Message>>,
    entries: u16,
    registered: u16,
    limit: u16,
    pub(crate) leases: u64,
    pub(crate) failures: u64,
}

/// Group numbers of send rings start here; 0 is the receive group.
const FIRST_GROUP: u16 = 1;
/// Messages kept for reuse at most, 1 KiB each.
const KEPT_MESSAGES: usize = 512;

impl Pool {
    pub(crate) fn new(entries: u16, limit: u16) -> Self {
        Self {
            free: Vec::new(),
            messages: Vec::new(),
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

    /// An empty message for a vectored send.
    pub(crate) fn message(&mut self) -> Box<Message> {
        self.messages.pop().unwrap_or_default()
    }

    /// Takes a message back that no send uses any more.
    pub(crate) fn give_back_message(&mut self, message: Box<Message>) {
        if self.messages.len() < KEPT_MESSAGES {
            self.messages.push(message);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;
    use crate::uring::Base;

    #[test]
    fn slow_peers_share_half_and_everybody_the_rest() {
        let Ok(queue) = Queue::new(Base::Linux6_0, &Options::default()) else {
            return eprintln!("skipped: io_uring is not allowed here");
        };
        let mut pool = Pool::new(8, 6);
        let mut slow: Vec<BufferRing> = Vec::new();
        while let Some(ring) = pool.lease(&queue, true) {
            slow.push(ring);
        }
        assert_eq!(slow.len(), 3);
        let mut quick: Vec<BufferRing> = Vec::new();
        while let Some(ring) = pool.lease(&queue, false) {
            quick.push(ring);
        }
        assert_eq!(quick.len(), 3);
        let groups = |rings: &[BufferRing]| rings.iter().map(BufferRing::group).collect::<Vec<_>>();
        assert_eq!([groups(&slow), groups(&quick)].concat(), [1, 2, 3, 4, 5, 6]);
        for ring in slow {
            pool.give_back_unclear(&queue, ring);
        }
        assert!(
            pool.lease(&queue, true).is_none(),
            "half is out, with quick peers"
        );
        quick.into_iter().for_each(|ring| pool.give_back(ring));
        assert!(pool.lease(&queue, true).is_some());
        assert_eq!((pool.leases, pool.failures), (7, 0));
    }
}
