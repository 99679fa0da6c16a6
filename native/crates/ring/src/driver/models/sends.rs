//! Sending: queued, committed, sent, short; and what the kernel does with what is committed.

use std::collections::VecDeque;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::{Step, explore};
use crate::Chunk;
use crate::driver::portable::Outgoing;
use crate::send::{Account, Outcome};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// From a leased ring, or vectored when there is none.
    Bundle,
    /// Vectored; the kernel goes on by itself, so that little is cut short.
    Ring,
    /// Vectored; a send ends where the socket's buffer is full.
    Classic,
}

#[test]
fn bundle() {
    explore("sends, bundle", Just(Kind::Bundle), run);
}

#[test]
fn ring() {
    explore("sends, ring", Just(Kind::Ring), run);
}

#[test]
fn classic() {
    explore("sends, classic", Just(Kind::Classic), run);
}

/// The portable driver keeps an account of its own.
#[test]
fn portable() {
    explore("sends, portable", Just(()), |(), schedule| {
        let mut outgoing = Outgoing::default();
        let mut lengths: VecDeque<usize> = VecDeque::new();
        let mut offset = 0;
        for (choice, one, other) in schedule {
            if lengths.is_empty() {
                let count = 1 + usize::from(*one) % 70;
                let length = |at: usize| (at * 31 + usize::from(*other)) % 90;
                let chunks = (0..count).map(|at| Chunk::from_vec(vec![0; length(at)]));
                outgoing.load(chunks);
                lengths.extend((0..count).map(length).filter(|length| *length > 0));
                continue;
            }
            let offered: usize = lengths.iter().take(64).sum::<usize>() - offset;
            let mut sent = match choice % 4 {
                0 => offered,
                _ => usize::from(*one) % (offered + 1),
            };
            outgoing.advance(sent);
            while let Some(first) = lengths.front()
                && sent >= first - offset
            {
                sent -= first - offset;
                offset = 0;
                lengths.pop_front();
            }
            offset += sent;
            let left: Vec<usize> = outgoing.chunks.iter().map(Chunk::len).collect();
            prop_assert_eq!(left, lengths.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(outgoing.offset, offset);
        }
        Ok(())
    });
}

/// One connection: what the driver's account says, and what the model knows.
struct Connection {
    account: Account,
    /// Entries that have not left, and how much of the first one has.
    lengths: VecDeque<u64>,
    offset: u64,
    /// A send is in flight: whether from a ring, and the entries that the kernel was given.
    flight: Option<(bool, usize)>,
    /// A send from a ring said that it goes on, though nothing was left.
    drained: bool,
}

impl Connection {
    fn new() -> Self {
        Self {
            account: Account::default(),
            lengths: VecDeque::new(),
            offset: 0,
            flight: None,
            drained: false,
        }
    }
}

fn run(kind: Kind, schedule: &[Step]) -> TestCaseResult {
    let mut connection = Connection::new();
    for (choice, one, other) in schedule {
        if connection.lengths.is_empty() && connection.flight.is_none() {
            connection.load(*one, *other);
        } else if connection.flight.is_none() {
            connection.start(kind, *choice)?;
        } else if connection.complete(kind, (*choice, *one, *other))? {
            connection = Connection::new();
        }
    }
    Ok(())
}

impl Connection {
    fn load(&mut self, one: u16, other: u16) {
        let count = 1 + usize::from(one) % 200;
        let largest = [20, 2000, 40_000, 600_000][usize::from(other) % 4];
        for at in 0..count {
            let length = 1 + (at as u32).wrapping_mul(2_654_435_761) % largest;
            self.account.push(length);
            self.lengths.push_back(u64::from(length));
        }
    }

    /// Starts a send of what is left over, or of what is committed now.
    fn start(&mut self, kind: Kind, choice: u8) -> TestCaseResult {
        let left_over = self.account.committed();
        prop_assert_eq!(self.account.offset() as u64, self.offset);
        prop_assert_eq!(left_over + self.account.waiting(), self.lengths.len());
        let ring = kind == Kind::Bundle && left_over == 0 && !choice.is_multiple_of(4);
        let most = match ring {
            true => [8, 64, 256][usize::from(choice) % 3],
            false => 64,
        };
        let entries = match left_over {
            0 => self.account.commit(most),
            left_over => left_over,
        };
        prop_assert!((1..=256).contains(&entries));
        if left_over == 0 {
            prop_assert!(entries <= most);
            let bytes: u64 = self.lengths.iter().take(entries).sum();
            prop_assert!(entries == 1 || bytes <= 256 * 1024);
        }
        self.flight = Some((ring, entries));
        Ok(())
    }

    /// The kernel completes; returns whether the connection is over.
    fn complete(&mut self, kind: Kind, (choice, one, other): Step) -> Result<bool, TestCaseError> {
        let Some((ring, entries)) = self.flight else {
            return Ok(false);
        };
        if self.drained {
            // It went on and found the ring empty: that is how such a send may end.
            let end = self.account.complete(-libc::ENOBUFS, false, true);
            prop_assert_eq!(end, (0, Outcome::Drained));
            self.drained = false;
            self.flight = None;
            return Ok(false);
        }
        let committed: u64 = self.lengths.iter().take(entries).sum::<u64>() - self.offset;
        match choice % 32 {
            0 => return self.breaks(-libc::ECONNRESET, Some(libc::ECONNRESET), ring),
            1 => return self.breaks(0, None, ring),
            2 if committed < i32::MAX as u64 - 1 => {
                return self.breaks(committed as i32 + 1, None, ring);
            }
            3 if ring => return self.breaks(-libc::ENOBUFS, None, ring),
            4 if ring => return self.breaks(-libc::EINTR, Some(libc::EINTR), ring),
            5 if ring && self.lengths[0] > 1 => {
                let inside = 1 + u64::from(one) % (self.lengths[0] - 1);
                return self.breaks(inside as i32, None, ring);
            }
            3..7 if !ring => {
                let error = [libc::EINTR, libc::EAGAIN][usize::from(one) % 2];
                let end = self.account.complete(-error, false, false);
                prop_assert_eq!(end, (0, Outcome::Again));
                self.flight = None;
                return Ok(false);
            }
            _ => {}
        }
        let bytes = if ring {
            let taken = 1 + usize::from(one) % entries;
            self.lengths.iter().take(taken).sum()
        } else if kind == Kind::Classic || choice % 32 == 7 {
            let share = u64::from(one) << 16 | u64::from(other);
            1 + share % committed
        } else {
            committed
        };
        self.sends(bytes, ring, entries, other.is_multiple_of(2))?;
        Ok(false)
    }

    /// So many bytes leave.
    fn sends(&mut self, bytes: u64, ring: bool, entries: usize, goes_on: bool) -> TestCaseResult {
        let mut left = bytes;
        let mut gone = 0;
        while let Some(first) = self.lengths.front()
            && left >= first - self.offset
            && left > 0
        {
            left -= first - self.offset;
            self.offset = 0;
            self.lengths.pop_front();
            gone += 1;
        }
        self.offset += left;
        let more = ring && goes_on;
        let all = gone == entries;
        let expected = match (more, all) {
            (true, _) => Outcome::Wait,
            (false, true) => Outcome::Drained,
            (false, false) => Outcome::Again,
        };
        let end = self.account.complete(bytes as i32, more, ring);
        prop_assert_eq!(end, (gone, expected));
        prop_assert_eq!(self.account.committed(), entries - gone);
        prop_assert_eq!(self.account.offset() as u64, self.offset);
        self.drained = more && all;
        self.flight = match (more, ring, all) {
            (true, ..) => Some((ring, entries - gone)),
            // A ring with entries in it is submitted again as it is.
            (false, true, false) => Some((ring, entries - gone)),
            _ => None,
        };
        Ok(())
    }

    /// The connection is over, with this error.
    fn breaks(
        &mut self,
        result: i32,
        error: Option<i32>,
        ring: bool,
    ) -> Result<bool, TestCaseError> {
        let (left, outcome) = self.account.complete(result, false, ring);
        prop_assert_eq!((left, outcome), (0, Outcome::Broken(error)));
        self.account.clear();
        prop_assert_eq!((self.account.committed(), self.account.waiting()), (0, 0));
        prop_assert_eq!(self.account.offset(), 0);
        Ok(true)
    }
}
