//! Events, framed once for everybody, and the log that takes them to the subscribers of an engine.

use std::{
    cell::{Cell, OnceCell},
    rc::Rc,
    sync::Arc,
};

use millrace_ring::{Chunk, ChunkPool};

/// Bytes of gRPC's message prefix.
pub(crate) const PREFIX: usize = 5;
/// Bytes of the longest field that is appended natively: a tag and a number.
pub(crate) const FIELD_BYTES: usize = 5 + 10;

/// The subscribers of one engine that get an event, as call references. Equal audiences of successive
/// events are the same memory as a rule, by which runs are found.
pub(crate) type Audience = Arc<[u32]>;

/// An event that waits for subscribers of one engine: its bytes count once, however many they are.
pub(crate) struct Shared {
    framed: Arc<[u8]>,
    waiting: Rc<Cell<u64>>,
}

impl Shared {
    pub(crate) fn new(framed: Arc<[u8]>, waiting: &Rc<Cell<u64>>) -> Rc<Self> {
        waiting.set(waiting.get() + framed.len() as u64);
        Rc::new(Self {
            framed,
            waiting: Rc::clone(waiting),
        })
    }

    /// gRPC's prefix and the message.
    #[inline]
    pub(crate) fn framed(&self) -> &Arc<[u8]> {
        &self.framed
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.waiting
            .set(self.waiting.get() - self.framed.len() as u64);
    }
}

/// Writes `tag` and `value` as a varint field; returns how many bytes that are.
pub(crate) fn field(tag: u32, value: u64, out: &mut [u8; FIELD_BYTES]) -> usize {
    let mut at = 0;
    for mut number in [u64::from(tag), value] {
        while number >= 0x80 {
            out[at] = number as u8 | 0x80;
            number >>= 7;
            at += 1;
        }
        out[at] = number as u8;
        at += 1;
    }
    at
}

/// An event of the log.
struct Logged {
    /// Where its bytes are.
    block: u32,
    start: u32,
    end: u32,
    /// Counts what is retained; 0 if it is not.
    arrival: u64,
    /// The same bytes, where they are in memory that outlives the log already.
    kept: Option<Arc<[u8]>>,
    /// Made when the first subscriber has to wait for it.
    shared: OnceCell<Rc<Shared>>,
}

/// Who gets which successive events of a log.
struct Addressed {
    first: u32,
    end: u32,
    audience: Audience,
}

/// Consecutive events for the same audience.
pub(crate) struct Run {
    pub(crate) first: usize,
    pub(crate) end: usize,
    pub(crate) audience: Audience,
}

/// Successive events of a log whose bytes lie one behind the other.
pub(crate) struct Stretch<'a> {
    pub(crate) block: &'a Rc<Chunk>,
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// The event behind the last of them.
    pub(crate) next: usize,
}

/// Events that were published and not given to the subscribers of an engine yet. Their bytes lie one
/// behind the other in blocks, which may outlive the log: who sends a part of one holds all of it.
pub(crate) struct Log {
    blocks: Vec<Rc<Chunk>>,
    pool: ChunkPool,
    /// Bytes of all blocks.
    bytes: usize,
    events: Vec<Logged>,
    addressed: Vec<Addressed>,
    /// The least of those that are not 0.
    first_arrival: u64,
}

/// Bytes and events from which a log is full.
const FULL_BYTES: usize = 1024 * 1024;
const FULL_EVENTS: usize = 4096;

/// Bytes of a block. Whoever sends a part of one holds all of it.
pub(crate) const BLOCK_BYTES: usize = 64 * 1024;

/// What a log keeps of its memory when it is emptied.
const KEPT_EVENTS: usize = 16 * 1024;

impl Log {
    /// An empty log, whose blocks come from there.
    pub(crate) fn new(pool: ChunkPool) -> Self {
        Self {
            blocks: Vec::new(),
            pool,
            bytes: 0,
            events: Vec::new(),
            addressed: Vec::new(),
            first_arrival: u64::MAX,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Whether its engine should take what is there before more is published.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= FULL_BYTES || self.events.len() >= FULL_EVENTS
    }

    /// Appends an event for nobody yet.
    #[inline]
    pub(crate) fn push(&mut self, framed: &[u8], arrival: u64, kept: Option<&Arc<[u8]>>) {
        if arrival > 0 {
            self.first_arrival = self.first_arrival.min(arrival);
        }
        self.append(&[], framed, arrival, kept.cloned());
    }

    /// Appends an event that is not retained, for nobody yet.
    #[inline]
    pub(crate) fn push_message(&mut self, message: &[u8]) {
        let mut prefix = [0; PREFIX];
        prefix[1..].copy_from_slice(&(message.len() as u32).to_be_bytes());
        self.append(&prefix, message, 0, None);
    }

    #[inline]
    fn append(&mut self, prefix: &[u8], rest: &[u8], arrival: u64, kept: Option<Arc<[u8]>>) {
        let length = prefix.len() + rest.len();
        let start = match self.blocks.last_mut().and_then(Rc::get_mut) {
            Some(block) if block.spare() >= length => {
                let start = block.len();
                block.write(prefix);
                block.write(rest);
                start
            }
            _ => {
                self.begin_block(prefix, rest);
                0
            }
        };
        self.events.push(Logged {
            block: self.blocks.len() as u32 - 1,
            start: start as u32,
            end: (start + length) as u32,
            arrival,
            kept,
            shared: OnceCell::new(),
        });
        self.bytes += length;
    }

    fn begin_block(&mut self, prefix: &[u8], rest: &[u8]) {
        let block = if prefix.len() + rest.len() > BLOCK_BYTES {
            Chunk::from_vec([prefix, rest].concat())
        } else {
            let mut block = self.pool.take();
            block.write(prefix);
            block.write(rest);
            block
        };
        self.blocks.push(Rc::new(block));
    }

    /// The last events, so many, are for them, too.
    #[inline]
    pub(crate) fn address(&mut self, count: usize, audience: &Audience) {
        let end = self.events.len() as u32;
        let first = end - count as u32;
        match self.addressed.last_mut() {
            Some(last) if last.end == first && Arc::ptr_eq(&last.audience, audience) => {
                last.end = end;
            }
            _ => self.addressed.push(Addressed {
                first,
                end,
                audience: Arc::clone(audience),
            }),
        }
    }

    /// As many successive events as lie in one block and have at most so many bytes together.
    pub(crate) fn stretch(&self, first: usize, end: usize, most: usize) -> Stretch<'_> {
        let Logged { block, start, .. } = self.events[first];
        let fits = |event: &Logged| event.block == block && (event.end - start) as usize <= most;
        let candidates = &self.events[first..end];
        // All of them, as a rule.
        let count = match candidates.last() {
            Some(last) if fits(last) => candidates.len(),
            _ => candidates.partition_point(fits),
        };
        Stretch {
            block: &self.blocks[block as usize],
            start: start as usize,
            end: candidates[..count].last().map_or(start, |last| last.end) as usize,
            next: first + count,
        }
    }

    /// The bytes of an event.
    pub(crate) fn framed(&self, event: usize) -> &[u8] {
        let Logged {
            block, start, end, ..
        } = self.events[event];
        &self.blocks[block as usize].as_slice()[start as usize..end as usize]
    }

    /// The event in memory that outlives the log.
    pub(crate) fn shared(&self, event: usize, waiting: &Rc<Cell<u64>>) -> &Rc<Shared> {
        let Logged { shared, kept, .. } = &self.events[event];
        shared.get_or_init(|| {
            let framed = kept.clone().unwrap_or_else(|| self.framed(event).into());
            Shared::new(framed, waiting)
        })
    }

    /// Appends the runs to `into`.
    pub(crate) fn runs(&self, into: &mut Vec<Run>) {
        into.extend(self.addressed.iter().map(|addressed| Run {
            first: addressed.first as usize,
            end: addressed.end as usize,
            audience: Arc::clone(&addressed.audience),
        }));
    }

    pub(crate) fn arrival(&self, event: usize) -> u64 {
        self.events[event].arrival
    }

    /// Whether all that is retained of it came later than that.
    pub(crate) fn is_behind(&self, arrival: u64) -> bool {
        self.first_arrival > arrival
    }

    pub(crate) fn clear(&mut self) {
        self.first_arrival = u64::MAX;
        self.blocks.clear();
        self.bytes = 0;
        self.events.clear();
        self.events.shrink_to(KEPT_EVENTS);
        self.addressed.clear();
        self.addressed.shrink_to(KEPT_EVENTS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_a_varint_behind_its_tag() {
        let mut out = [0; FIELD_BYTES];
        assert_eq!(field(4 << 3, 1, &mut out), 2);
        assert_eq!(out[..2], [32, 1]);
        assert_eq!(field(0x1fff_ffff << 3, u64::MAX, &mut out), FIELD_BYTES);
        assert_eq!(field(100 << 3, 300, &mut out), 4);
        assert_eq!(out[..4], [0xa0, 6, 0xac, 2]);
    }

    #[test]
    fn runs_are_of_successive_events_for_the_same_audience() {
        let (a, b): (Audience, Audience) = ([1, 2].into(), [3].into());
        let mut log = Log::new(ChunkPool::new(BLOCK_BYTES));
        for (bytes, audiences) in [
            (&b"one"[..], vec![&a]),
            (b"two", vec![&a]),
            (b"three", vec![&b, &a]),
            (b"four", vec![&a]),
        ] {
            log.push(bytes, 0, None);
            for audience in audiences {
                log.address(1, audience);
            }
        }
        let mut runs = Vec::new();
        log.runs(&mut runs);
        let found: Vec<_> = runs
            .iter()
            .map(|run| (run.first, run.end, run.audience.len()))
            .collect();
        assert_eq!(found, [(0, 2, 2), (2, 3, 1), (2, 4, 2)]);
        let stretch = log.stretch(1, 4, 8);
        let bytes = &stretch.block.as_slice()[stretch.start..stretch.end];
        assert_eq!((bytes, stretch.next), (&b"twothree"[..], 3));
        assert_eq!(log.stretch(1, 4, 2).next, 1);
        assert_eq!(log.framed(3), b"four");
    }

    #[test]
    fn events_that_are_sent_outlive_the_log_and_are_not_written_over() {
        let pool = ChunkPool::new(BLOCK_BYTES);
        let mut log = Log::new(pool.clone());
        log.push(&[1; BLOCK_BYTES - 1], 0, None);
        log.push_message(b"next block");
        let stretch = log.stretch(0, 2, usize::MAX);
        assert_eq!((stretch.end, stretch.next), (BLOCK_BYTES - 1, 1));
        let sent = Chunk::part_of(Rc::clone(stretch.block), 0..2);
        log.clear();
        assert_eq!(pool.taken(), 1);
        log.push(&[2; 2], 0, None);
        assert_eq!((sent.as_slice(), log.framed(0)), (&[1, 1][..], &[2, 2][..]));
        drop(sent);
        log.clear();
        assert_eq!(pool.taken(), 0);
    }

    #[test]
    fn an_event_larger_than_a_block_lies_alone() {
        let mut log = Log::new(ChunkPool::new(BLOCK_BYTES));
        log.push(b"before", 0, None);
        log.push_message(&[7; BLOCK_BYTES]);
        log.push(b"behind", 0, None);
        let stretch = log.stretch(1, 3, usize::MAX);
        assert_eq!(
            (stretch.end - stretch.start, stretch.next),
            (BLOCK_BYTES + PREFIX, 2)
        );
        assert_eq!(log.stretch(1, 3, BLOCK_BYTES).next, 1);
        assert_eq!(log.framed(2), b"behind");
    }

    #[test]
    fn what_waits_counts_once_and_until_the_last_is_gone() {
        let waiting = Rc::new(Cell::new(0));
        let mut log = Log::new(ChunkPool::new(BLOCK_BYTES));
        log.push(b"12345", 0, None);
        let first = Rc::clone(log.shared(0, &waiting));
        let second = Rc::clone(log.shared(0, &waiting));
        assert_eq!(waiting.get(), 5);
        log.clear();
        drop(first);
        assert_eq!(waiting.get(), 5);
        drop(second);
        assert_eq!(waiting.get(), 0);
    }
}
