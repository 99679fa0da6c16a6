//! What of the past a subscriber begins with, read in pieces while others publish.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    past::{Kept, Past, State},
    store::{OutOfRange, Start, Store},
    topic::Pattern,
};

/// What a piece of a replay has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// How many events of its topics were passed over since they are not retained any more. Of those that
    /// lie further back than some ten thousands of evicted events it is not known which topics they were
    /// of, nor whether there was one for each sequence: they all count.
    pub passed: u64,
    /// Whether there was nothing more: what comes later has an arrival above `arrival`, whatever its
    /// sequence. What was retained up to then has been read, if it is the replay's.
    pub end: bool,
    /// The arrival of the event that was retained last.
    pub arrival: u64,
}

/// How many events a piece passes over.
const SCANNED_MAX: usize = 4_096;

/// Where the replays are that have not come to their end.
#[derive(Debug, Default)]
pub(crate) struct Replays {
    cursors: HashMap<u64, Cursor>,
    /// By where they are.
    order: BTreeSet<(u64, u64)>,
    named: u64,
}

#[derive(Debug)]
struct Cursor {
    pattern: Pattern,
    /// The sequence with which it goes on.
    next: u64,
    /// Sequences below that came after it had passed them.
    late: BTreeSet<u64>,
    /// Those of them that were evicted again.
    late_passed: u64,
}

impl Replays {
    fn begin<E>(&mut self, next: u64, pattern: Pattern, store: &mut Store<E>) -> u64 {
        self.named += 1;
        self.order.insert((next, self.named));
        let cursor = Cursor {
            pattern,
            next,
            late: BTreeSet::new(),
            late_passed: 0,
        };
        self.cursors.insert(self.named, cursor);
        self.remember(store);
        self.named
    }

    /// Of what is evicted the store has to know the topics as long as there is a replay for which it
    /// counts.
    fn remember<E>(&self, store: &mut Store<E>) {
        store.remember(self.order.first().map(|&(next, _)| next));
    }

    fn end<E>(&mut self, number: u64, store: &mut Store<E>) {
        if let Some(cursor) = self.cursors.remove(&number) {
            self.order.remove(&(cursor.next, number));
            self.remember(store);
        }
    }

    /// An event was retained behind others with higher sequences: it is for those, too, that have passed
    /// its sequence.
    pub(crate) fn insert_late<E>(&mut self, sequence: u64, topic: &str, store: &Store<E>) {
        let first = store.first_sequence().unwrap_or(sequence);
        for &(_, number) in self.order.range((sequence + 1, 0)..) {
            if let Some(cursor) = self.cursors.get_mut(&number)
                && cursor.pattern.matches(topic)
            {
                // So that there are no more of them than are retained, while it is not read.
                let retained = cursor.late.split_off(&first);
                cursor.late_passed += cursor.late.len() as u64;
                cursor.late = retained;
                cursor.late.insert(sequence);
            }
        }
    }
}

impl<E: Clone> State<E> {
    fn read(&mut self, number: u64, max: usize, into: &mut Vec<(u64, Kept<E>)>) -> Piece {
        let Self { store, replays, .. } = self;
        let mut piece = Piece {
            passed: 0,
            end: true,
            arrival: self.arrival,
        };
        let Some(cursor) = replays.cursors.get_mut(&number) else {
            return piece;
        };
        let before = cursor.next;
        let full = into.len() + max;
        piece.passed = std::mem::take(&mut cursor.late_passed);
        while into.len() < full
            && let Some(sequence) = cursor.late.pop_first()
        {
            match store.get(sequence) {
                Some(retained) => into.push((sequence, retained.event.clone())),
                None => piece.passed += 1,
            }
        }
        piece.passed += store.forgotten_from(cursor.next);
        let mut scanned = 0;
        for (sequence, topic) in store.gone_from(cursor.next) {
            if scanned == SCANNED_MAX {
                piece.end = false;
                break;
            }
            scanned += 1;
            cursor.next = sequence + 1;
            piece.passed += u64::from(cursor.pattern.matches(topic));
        }
        if piece.end {
            cursor.next = cursor.next.max(store.first_sequence().unwrap_or(0));
            for retained in store.from(cursor.next) {
                if into.len() == full || scanned == SCANNED_MAX {
                    piece.end = false;
                    break;
                }
                scanned += 1;
                cursor.next = retained.sequence + 1;
                if cursor.pattern.matches(&retained.topic) {
                    into.push((retained.sequence, retained.event.clone()));
                }
            }
        }
        piece.end &= cursor.late.is_empty();
        let next = cursor.next;
        if piece.end {
            replays.order.remove(&(before, number));
            replays.cursors.remove(&number);
        } else if next != before {
            replays.order.remove(&(before, number));
            replays.order.insert((next, number));
        }
        replays.remember(store);
        piece
    }
}

/// Events of the past, for one reader. While it is not at its end, what is retained with a sequence that
/// it has passed is its, too.
#[derive(Debug)]
pub struct Replay<E: Clone> {
    past: Arc<Past<E>>,
    number: u64,
}

impl<E: Clone> Past<E> {
    /// Begins a replay; fails as [`Past::start`] does.
    pub fn replay(
        self: &Arc<Self>,
        now: u64,
        start: Start,
        pattern: Pattern,
    ) -> Result<Replay<E>, OutOfRange> {
        let mut state = self.state();
        let next = state.start(now, start)?;
        let State { store, replays, .. } = &mut *state;
        let number = replays.begin(next, pattern, store);
        drop(state);
        Ok(Replay {
            past: Arc::clone(self),
            number,
        })
    }
}

impl<E: Clone> Replay<E> {
    /// Appends the next events of its topics to `into`, at most `max`, with their sequences. At the end
    /// `ended` is told [`Piece::arrival`], under the lock: whoever retains an event later finds that done.
    pub fn read(
        &self,
        max: usize,
        into: &mut Vec<(u64, Kept<E>)>,
        ended: impl FnOnce(u64),
    ) -> Piece {
        let mut state = self.past.state();
        let piece = state.read(self.number, max, into);
        if piece.end {
            ended(piece.arrival);
        }
        piece
    }
}

impl<E: Clone> Drop for Replay<E> {
    fn drop(&mut self) {
        let mut state = self.past.state();
        let State { store, replays, .. } = &mut *state;
        replays.end(self.number, store);
    }
}
