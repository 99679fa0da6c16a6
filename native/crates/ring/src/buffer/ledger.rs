//! Who owns each buffer of a group, and in which order the kernel takes the free ones. Pure: no
//! memory, no kernel.
//!
//! The kernel takes buffers first in, first out, in the order in which they were published, which
//! is not the order of their numbers once they come back shuffled. A bundled completion names only
//! its first buffer and a byte count, so the ledger remembers for each published buffer which one
//! was published right after it. That link is per buffer and not per ring slot on purpose: a slot
//! is written again as soon as the kernel has passed it, which may be before the completion that
//! used it was read; a buffer's link is written again only after that completion gave it to us.

use std::cell::Cell;

/// Where a buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Published: the kernel may fill it.
    Free,
    /// Filled, ours to read.
    Held,
    /// Released, not published yet.
    Returning,
}

/// The kernel named a buffer that it cannot have filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotFree(pub(crate) u16);

#[derive(Debug)]
pub(crate) struct Ledger {
    states: Vec<State>,
    /// The buffer published right after this one.
    successors: Vec<u16>,
    /// Released buffers in the order of their release.
    returning: Vec<u16>,
    last_published: Option<u16>,
    /// The next buffer that is taken in order; meaningful to a driver that fills buffers itself.
    first: u16,
    free: u32,
    /// A cell, so that whoever may only look can start a new period.
    lowest_free: Cell<u32>,
    published_total: u64,
}

impl Ledger {
    /// A ledger of `count` buffers, all returning: the first [`Ledger::publish`] publishes them.
    pub(crate) fn new(count: u16) -> Self {
        Self {
            states: vec![State::Returning; usize::from(count)],
            successors: vec![0; usize::from(count)],
            returning: (0..count).collect(),
            last_published: None,
            first: 0,
            free: 0,
            lowest_free: Cell::new(u32::from(count)),
            published_total: 0,
        }
    }

    pub(crate) fn count(&self) -> u32 {
        self.states.len() as u32
    }

    /// Buffers that the kernel may fill.
    pub(crate) fn free(&self) -> u32 {
        self.free
    }

    pub(crate) fn returning(&self) -> u32 {
        self.returning.len() as u32
    }

    pub(crate) fn held(&self) -> u32 {
        self.count() - self.free - self.returning()
    }

    pub(crate) fn lowest_free(&self) -> u32 {
        self.lowest_free.get()
    }

    pub(crate) fn reset_lowest_free(&self) {
        self.lowest_free.set(self.free);
    }

    /// Buffers published since the start; the ring's tail is this, modulo 2¹⁶.
    #[cfg(test)]
    pub(crate) fn published_total(&self) -> u64 {
        self.published_total
    }

    pub(crate) fn has_published(&self) -> bool {
        self.last_published.is_some()
    }

    /// What the next [`Ledger::publish`] publishes, oldest first.
    pub(crate) fn to_publish(&self) -> &[u16] {
        &self.returning
    }

    pub(crate) fn state(&self, buffer: u16) -> Option<State> {
        self.states.get(usize::from(buffer)).copied()
    }

    /// The buffer after `buffer` in the order of publishing. Meaningful until `buffer` is released.
    pub(crate) fn successor(&self, buffer: u16) -> u16 {
        self.successors[usize::from(buffer)]
    }

    /// Takes one free buffer that was filled.
    pub(crate) fn take(&mut self, buffer: u16) -> Result<(), NotFree> {
        match self.states.get_mut(usize::from(buffer)) {
            Some(state) if *state == State::Free => *state = State::Held,
            _ => return Err(NotFree(buffer)),
        }
        self.first = self.successors[usize::from(buffer)];
        self.free -= 1;
        self.lowest_free.set(self.lowest_free.get().min(self.free));
        Ok(())
    }

    /// Takes what a completion filled: `length` bytes, in buffers of `buffer_bytes` from `first` on
    /// in the order in which they were published. `filled` learns each with its bytes.
    pub(crate) fn take_filled(
        &mut self,
        first: u16,
        length: u32,
        buffer_bytes: u32,
        mut filled: impl FnMut(u16, u32),
    ) -> Result<(), NotFree> {
        let mut left = length;
        let mut buffer = first;
        while left > 0 {
            self.take(buffer)?;
            let bytes = left.min(buffer_bytes);
            filled(buffer, bytes);
            left -= bytes;
            buffer = self.successor(buffer);
        }
        Ok(())
    }

    /// The buffer that is filled next, for a driver that takes buffers in order itself.
    pub(crate) fn first(&self) -> Option<u16> {
        (self.free > 0).then_some(self.first)
    }

    /// Gives a held buffer back. Panics if it is not held.
    pub(crate) fn release(&mut self, buffer: u16) {
        let state = &mut self.states[usize::from(buffer)];
        assert!(
            *state == State::Held,
            "buffer {buffer} is released but {state:?}"
        );
        *state = State::Returning;
        self.returning.push(buffer);
    }

    /// Publishes what is returning, oldest first; `write` is called for each. Returns how many.
    pub(crate) fn publish(&mut self, mut write: impl FnMut(u16)) -> u32 {
        let count = self.returning.len() as u32;
        for index in 0..self.returning.len() {
            let buffer = self.returning[index];
            write(buffer);
            match self.last_published {
                Some(last) => self.successors[usize::from(last)] = buffer,
                None => self.first = buffer,
            }
            // Nothing was free, so what is published now is taken next.
            if self.free == 0 && index == 0 {
                self.first = buffer;
            }
            self.last_published = Some(buffer);
            self.states[usize::from(buffer)] = State::Free;
            self.free += 1;
        }
        self.published_total += u64::from(count);
        self.returning.clear();
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[test]
    fn starts_with_everything_returning() {
        let mut ledger = Ledger::new(4);
        assert_eq!(
            (ledger.free(), ledger.returning(), ledger.held()),
            (0, 4, 0)
        );
        let mut order = Vec::new();
        assert_eq!(ledger.publish(|buffer| order.push(buffer)), 4);
        assert_eq!(order, [0, 1, 2, 3]);
        assert_eq!((ledger.free(), ledger.lowest_free()), (4, 4));
    }

    #[test]
    fn a_buffer_cannot_be_taken_twice() {
        let mut ledger = Ledger::new(2);
        ledger.publish(|_| {});
        ledger.take(1).unwrap();
        assert_eq!(ledger.take(1), Err(NotFree(1)));
        assert_eq!(ledger.take(9), Err(NotFree(9)));
    }

    #[test]
    #[should_panic(expected = "released but Free")]
    fn a_free_buffer_cannot_be_released() {
        let mut ledger = Ledger::new(2);
        ledger.publish(|_| {});
        ledger.release(0);
    }

    #[test]
    fn a_walk_survives_that_its_slots_were_used_again() {
        // Bundle [0, 1] of one socket completes after buffers 2 and 3 of another have already come
        // back, so that the kernel's slots 0 and 1 hold 3 and 2 by then.
        let mut ledger = Ledger::new(4);
        ledger.publish(|_| {});
        ledger.take(2).unwrap();
        ledger.take(3).unwrap();
        ledger.release(3);
        ledger.release(2);
        ledger.publish(|_| {});
        assert_eq!(ledger.successor(0), 1);
        ledger.take(0).unwrap();
        ledger.take(1).unwrap();
        assert_eq!(ledger.successor(3), 2);
    }

    /// The kernel's side: a ring of slots with a head and a 16-bit tail, and completions that are
    /// read later and, between sockets, out of order.
    struct Kernel {
        slots: Vec<u16>,
        head: u16,
        tail: u16,
        unread: VecDeque<Vec<u16>>,
    }

    impl Kernel {
        fn publish(&mut self, buffer: u16) {
            let mask = self.slots.len() - 1;
            assert!(usize::from(self.tail.wrapping_sub(self.head)) < self.slots.len());
            self.slots[usize::from(self.tail) & mask] = buffer;
            self.tail = self.tail.wrapping_add(1);
        }

        fn fill(&mut self, count: usize) {
            let mask = self.slots.len() - 1;
            let mut bundle = Vec::new();
            while bundle.len() < count && self.head != self.tail {
                bundle.push(self.slots[usize::from(self.head) & mask]);
                self.head = self.head.wrapping_add(1);
            }
            if !bundle.is_empty() {
                self.unread.push_back(bundle);
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Fill(usize),
        Read(usize),
        Release(usize),
        Publish,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (1usize..6).prop_map(Step::Fill),
            (0usize..4).prop_map(Step::Read),
            any::<usize>().prop_map(Step::Release),
            any::<usize>().prop_map(Step::Release),
            Just(Step::Publish),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_a_model_of_the_kernel(
            exponent in 1u32..6,
            steps in proptest::collection::vec(step(), 0..400),
        ) {
            let count = 1u16 << exponent;
            let mut ledger = Ledger::new(count);
            let mut kernel = Kernel {
                slots: vec![u16::MAX; usize::from(count)],
                head: 0,
                tail: 0,
                unread: VecDeque::new(),
            };
            let mut held: Vec<u16> = Vec::new();
            ledger.publish(|buffer| kernel.publish(buffer));
            for step in steps {
                match step {
                    Step::Fill(buffers) => kernel.fill(buffers),
                    Step::Read(which) if which < kernel.unread.len() => {
                        let bundle = kernel.unread.remove(which).unwrap();
                        let mut buffer = bundle[0];
                        for (index, expected) in bundle.iter().enumerate() {
                            if index > 0 {
                                buffer = ledger.successor(buffer);
                            }
                            prop_assert_eq!(buffer, *expected);
                            prop_assert_eq!(ledger.take(buffer), Ok(()));
                            held.push(buffer);
                        }
                    }
                    Step::Read(_) => {}
                    Step::Release(which) => {
                        if !held.is_empty() {
                            ledger.release(held.swap_remove(which % held.len()));
                        }
                    }
                    Step::Publish => {
                        ledger.publish(|buffer| kernel.publish(buffer));
                    }
                }
                prop_assert_eq!(ledger.held() as usize, held.len());
                let unread: usize = kernel.unread.iter().map(Vec::len).sum();
                let in_ring = usize::from(kernel.tail.wrapping_sub(kernel.head));
                prop_assert_eq!(ledger.free() as usize, in_ring + unread);
                prop_assert!(ledger.lowest_free() <= ledger.free());
                prop_assert_eq!(ledger.published_total() as u16, kernel.tail);
            }
        }

        #[test]
        fn a_driver_that_fills_in_order_sees_the_order_of_publishing(
            exponent in 1u32..5,
            steps in proptest::collection::vec(step(), 0..300),
        ) {
            let mut ledger = Ledger::new(1 << exponent);
            let mut queue: VecDeque<u16> = VecDeque::new();
            let mut held: Vec<u16> = Vec::new();
            ledger.publish(|buffer| queue.push_back(buffer));
            for step in steps {
                match step {
                    Step::Fill(_) | Step::Read(_) => {
                        prop_assert_eq!(ledger.first(), queue.front().copied());
                        if let Some(buffer) = queue.pop_front() {
                            ledger.take(buffer).unwrap();
                            held.push(buffer);
                        }
                    }
                    Step::Release(which) => {
                        if !held.is_empty() {
                            ledger.release(held.swap_remove(which % held.len()));
                        }
                    }
                    Step::Publish => {
                        ledger.publish(|buffer| queue.push_back(buffer));
                    }
                }
            }
        }
    }
}
