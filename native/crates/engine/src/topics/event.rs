//! Events, framed once for everybody, and the log that takes them to the subscribers of an engine.

use std::{
    cell::{Cell, OnceCell},
    rc::Rc,
    sync::Arc,
};

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
    start: usize,
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

/// Events that were published and not given to the subscribers of an engine yet, their bytes one after
/// the other.
pub(crate) struct Log {
    bytes: Vec<u8>,
    events: Vec<Logged>,
    addressed: Vec<Addressed>,
    /// The least of those that are not 0.
    first_arrival: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            events: Vec::new(),
            addressed: Vec::new(),
            first_arrival: u64::MAX,
        }
    }
}

/// Bytes and events from which a log is full.
const FULL_BYTES: usize = 1024 * 1024;
const FULL_EVENTS: usize = 4096;

/// What a log keeps of its memory when it is emptied.
const KEPT_BYTES: usize = 1024 * 1024;
const KEPT_EVENTS: usize = 16 * 1024;

impl Log {
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Whether its engine should take what is there before more is published.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL_BYTES || self.events.len() >= FULL_EVENTS
    }

    /// Appends an event for nobody yet.
    #[inline]
    pub(crate) fn push(&mut self, framed: &[u8], arrival: u64, kept: Option<&Arc<[u8]>>) {
        if arrival > 0 {
            self.first_arrival = self.first_arrival.min(arrival);
        }
        self.events.push(Logged {
            start: self.bytes.len(),
            arrival,
            kept: kept.cloned(),
            shared: OnceCell::new(),
        });
        self.bytes.extend_from_slice(framed);
    }

    /// Appends an event that is not retained, for nobody yet.
    #[inline]
    pub(crate) fn push_message(&mut self, message: &[u8]) {
        self.events.push(Logged {
            start: self.bytes.len(),
            arrival: 0,
            kept: None,
            shared: OnceCell::new(),
        });
        let mut prefix = [0; PREFIX];
        prefix[1..].copy_from_slice(&(message.len() as u32).to_be_bytes());
        self.bytes.extend_from_slice(&prefix);
        self.bytes.extend_from_slice(message);
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

    pub(crate) fn start(&self, event: usize) -> usize {
        self.events
            .get(event)
            .map_or(self.bytes.len(), |logged| logged.start)
    }

    /// The bytes of successive events.
    pub(crate) fn framed(&self, first: usize, end: usize) -> &[u8] {
        &self.bytes[self.start(first)..self.start(end)]
    }

    /// The event in memory that outlives the log.
    pub(crate) fn shared(&self, event: usize, waiting: &Rc<Cell<u64>>) -> &Rc<Shared> {
        let Logged { shared, kept, .. } = &self.events[event];
        shared.get_or_init(|| {
            let framed = kept
                .clone()
                .unwrap_or_else(|| self.framed(event, event + 1).into());
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
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
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
        let mut log = Log::default();
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
        assert_eq!(log.framed(1, 3), b"twothree");
    }

    #[test]
    fn what_waits_counts_once_and_until_the_last_is_gone() {
        let waiting = Rc::new(Cell::new(0));
        let mut log = Log::default();
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
