//! The receive buffers: free, held, returning; and what the kernel does with the free ones.

use std::collections::VecDeque;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::{Step, explore};
use crate::buffer::{Ledger, Provision, State};

/// Bytes of a buffer.
const BYTES: u32 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A completion fills several buffers, in the order of the ring.
    Bundle,
    /// One buffer, in the order of the ring.
    Ring,
    /// One buffer, in any order; operations provide them, and may fail.
    Classic,
    /// The driver fills them itself, in order.
    Portable,
}

#[test]
fn bundle() {
    explore("buffers, bundle", settings(), |settings, schedule| {
        run(Kind::Bundle, settings, schedule)
    });
}

#[test]
fn ring() {
    explore("buffers, ring", settings(), |settings, schedule| {
        run(Kind::Ring, settings, schedule)
    });
}

#[test]
fn classic() {
    explore("buffers, classic", settings(), |settings, schedule| {
        run(Kind::Classic, settings, schedule)
    });
}

#[test]
fn portable() {
    explore("buffers, portable", settings(), |settings, schedule| {
        run(Kind::Portable, settings, schedule)
    });
}

/// The exponent of the count, and where the 16-bit positions of the ring start.
fn settings() -> impl Strategy<Value = (u32, u16)> {
    (1u32..7, prop_oneof![Just(0), 65_000u16..=u16::MAX])
}

/// Where a buffer is, as the model sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The kernel may fill it, or will be told so.
    Free,
    /// Filled, and its completion is not read.
    Unread,
    Held,
    Returning,
}

/// A completion: the buffers that it filled, and the bytes.
struct Filled {
    buffers: Vec<u16>,
    length: u32,
}

struct Model {
    kind: Kind,
    ledger: Ledger,
    provision: Provision,
    places: Vec<Place>,
    kernel: Kernel,
    unread: VecDeque<Filled>,
    held: Vec<u16>,
}

/// What the kernel knows: the ring's slots with head and tail, or a list.
struct Kernel {
    slots: Vec<u16>,
    head: u16,
    tail: u16,
    list: Vec<u16>,
    /// Operations that provide buffers and are not done.
    operations: VecDeque<(u16, u16)>,
}

fn run(kind: Kind, (exponent, start): (u32, u16), schedule: &[Step]) -> TestCaseResult {
    let count = 1u16 << exponent;
    let mut model = Model {
        kind,
        ledger: Ledger::new(count),
        provision: Provision::new(u32::from(count)),
        places: vec![Place::Returning; usize::from(count)],
        kernel: Kernel {
            slots: vec![u16::MAX; usize::from(count)],
            head: start,
            tail: start,
            list: Vec::new(),
            operations: VecDeque::new(),
        },
        unread: VecDeque::new(),
        held: Vec::new(),
    };
    model.publish()?;
    for (choice, one, other) in schedule {
        match choice % 16 {
            0..5 => model.fill(*one, *other),
            5..9 => model.read(usize::from(*one))?,
            9..12 => model.release(usize::from(*one)),
            12 | 13 => model.publish()?,
            _ => model.perform(*one % 4, usize::from(*other)),
        }
        model.check_counts()?;
    }
    model.drain()
}

impl Kernel {
    /// Buffers that it can fill now.
    fn known(&self) -> usize {
        usize::from(self.tail.wrapping_sub(self.head)) + self.list.len()
    }

    fn push(&mut self, buffer: u16) {
        let mask = self.slots.len() - 1;
        assert!(usize::from(self.tail.wrapping_sub(self.head)) < self.slots.len());
        self.slots[usize::from(self.tail) & mask] = buffer;
        self.tail = self.tail.wrapping_add(1);
    }

    fn pop(&mut self) -> u16 {
        let mask = self.slots.len() - 1;
        let buffer = self.slots[usize::from(self.head) & mask];
        self.head = self.head.wrapping_add(1);
        buffer
    }
}

impl Model {
    /// Bytes arrive; without a known buffer that is ENOBUFS, and nothing happens.
    fn fill(&mut self, one: u16, other: u16) {
        let known = self.kernel.known();
        if known == 0 {
            return;
        }
        let most = match self.kind {
            Kind::Bundle | Kind::Portable => 1 + usize::from(one) % 8,
            Kind::Ring | Kind::Classic => 1,
        };
        let buffers: Vec<u16> = (0..most.min(known))
            .map(|_| match self.kind {
                Kind::Classic => {
                    let any = usize::from(other) % self.kernel.list.len();
                    self.kernel.list.swap_remove(any)
                }
                _ => self.kernel.pop(),
            })
            .collect();
        for buffer in &buffers {
            self.places[usize::from(*buffer)] = Place::Unread;
        }
        // The last one is filled in part. Kernels before 6.0 name a buffer at the end, too.
        let empty = self.kind == Kind::Classic && one.is_multiple_of(16);
        let last = if empty {
            0
        } else {
            1 + u32::from(other) % BYTES
        };
        let length = (buffers.len() as u32 - 1) * BYTES + last;
        self.unread.push_back(Filled { buffers, length });
    }

    /// The driver reads a completion. Those of several sockets may be read in any order, but a
    /// driver that fills buffers itself takes them at once.
    fn read(&mut self, which: usize) -> TestCaseResult {
        let which = match self.kind {
            Kind::Portable => 0,
            _ if self.unread.is_empty() => return Ok(()),
            _ => which % self.unread.len(),
        };
        let Some(filled) = self.unread.remove(which) else {
            return Ok(());
        };
        let mut expected = filled.buffers.iter().copied();
        if filled.length == 0 {
            let buffer = filled.buffers[0];
            prop_assert_eq!(self.ledger.take(buffer), Ok(()));
            self.ledger.release(buffer);
            self.places[usize::from(buffer)] = Place::Returning;
            return Ok(());
        }
        let mut left = filled.length;
        let mut wrong = None;
        if self.kind == Kind::Portable {
            prop_assert_eq!(self.ledger.first(), Some(filled.buffers[0]));
        }
        let taken =
            self.ledger
                .take_filled(filled.buffers[0], filled.length, BYTES, |buffer, bytes| {
                    if expected.next() != Some(buffer) || bytes != left.min(BYTES) {
                        wrong = Some((buffer, bytes));
                    }
                    left -= bytes;
                    self.places[usize::from(buffer)] = Place::Held;
                    self.held.push(buffer);
                });
        prop_assert_eq!(
            (taken, wrong, left, expected.next()),
            (Ok(()), None, 0, None)
        );
        Ok(())
    }

    fn release(&mut self, which: usize) {
        if !self.held.is_empty() {
            let buffer = self.held.swap_remove(which % self.held.len());
            self.ledger.release(buffer);
            self.places[usize::from(buffer)] = Place::Returning;
        }
    }

    /// What a submit does: returning buffers are free, and the kernel is told.
    fn publish(&mut self) -> TestCaseResult {
        let mut wrong = None;
        let (kernel, places) = (&mut self.kernel, &mut self.places);
        let (kind, provision) = (self.kind, &mut self.provision);
        self.ledger.publish(|buffer| {
            let place = &mut places[usize::from(buffer)];
            if *place != Place::Returning {
                wrong = Some((buffer, *place));
            }
            *place = Place::Free;
            match kind {
                Kind::Classic => provision.add(buffer),
                _ => kernel.push(buffer),
            }
        });
        if kind == Kind::Classic {
            let free = self.ledger.free();
            provision.provide(free, |run| kernel.operations.push_back(run));
        }
        prop_assert_eq!(wrong, None);
        Ok(())
    }

    /// The kernel does an operation that provides buffers: all of it, a part, or nothing.
    fn perform(&mut self, outcome: u16, part: usize) {
        let Some((first, count)) = self.kernel.operations.pop_front() else {
            return;
        };
        let (taken, result) = match outcome {
            0 => (count, 0),
            1 => (count, i32::from(count)),
            2 if count > 1 => {
                let taken = 1 + part as u16 % (count - 1);
                (taken, i32::from(taken))
            }
            _ => (0, -libc::ENOMEM),
        };
        for buffer in first..first + taken {
            assert!(
                !self.kernel.list.contains(&buffer),
                "{buffer} is known twice"
            );
            self.kernel.list.push(buffer);
        }
        let all = self.provision.taken((first, count), result);
        assert_eq!(all, taken == count);
    }

    fn check_counts(&self) -> TestCaseResult {
        let unread: usize = self.unread.iter().map(|filled| filled.buffers.len()).sum();
        let free = self.ledger.free() as usize;
        prop_assert_eq!(self.ledger.held() as usize, self.held.len());
        prop_assert!(self.kernel.known() + unread <= free);
        if self.kind != Kind::Classic {
            prop_assert_eq!(self.kernel.known() + unread, free);
        }
        prop_assert!(self.ledger.lowest_free() as usize <= free);
        let total = self.ledger.free() + self.ledger.held() + self.ledger.returning();
        prop_assert_eq!(total, self.ledger.count());
        Ok(())
    }

    /// Everything is read, released and given back: the kernel knows every buffer once.
    fn drain(&mut self) -> TestCaseResult {
        for buffer in 0..self.ledger.count() as u16 {
            let expected = match self.places[usize::from(buffer)] {
                Place::Free | Place::Unread => State::Free,
                Place::Held => State::Held,
                Place::Returning => State::Returning,
            };
            prop_assert_eq!(self.ledger.state(buffer), Some(expected));
        }
        while !self.unread.is_empty() {
            self.read(0)?;
        }
        while !self.held.is_empty() {
            self.release(0);
        }
        // What waits for company goes once the kernel has too few of others.
        for _ in 0..self.ledger.count() {
            self.publish()?;
            while !self.kernel.operations.is_empty() {
                self.perform(0, 0);
            }
        }
        let count = self.ledger.count() as usize;
        let waiting = count - self.kernel.known();
        if self.kind == Kind::Classic {
            prop_assert!(waiting < (count / 8).max(1), "{} wait for ever", waiting);
        } else {
            prop_assert_eq!(waiting, 0);
        }
        self.check_counts()
    }
}
