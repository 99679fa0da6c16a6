//! What a subscribed call has not been sent yet, and what happens when that is too much.

use std::{
    cell::Cell,
    collections::VecDeque,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use millrace_fanout::past::Kept;

use super::{
    event::{FIELD_BYTES, PREFIX, Shared, field},
    space::Registration,
};
use crate::connection::Building;

/// What happens to events for a subscriber that has `max_pending` of them waiting already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowConsumer {
    /// They wait all the same, and publishers are told to wait; a subscriber that makes them wait for
    /// too long is cut off.
    Block,
    /// The oldest that waits is dropped.
    DropOldest,
    /// The new one is dropped.
    DropNewest,
    /// The subscription ends with RESOURCE_EXHAUSTED.
    Disconnect,
}

/// What publishers see of a subscriber, on whichever thread they are.
pub(crate) struct Standing {
    pub(crate) policy: SlowConsumer,
    pub(crate) max_pending: u32,
    /// Of a subscriber that blocks: events published for it that have not left.
    pending: AtomicU32,
    /// As many events wait as may.
    at_bound: AtomicBool,
    /// Of a subscriber that blocks: an event waits for which there was no memory, or no room on its way,
    /// and what waits has not come to its end since.
    short: AtomicBool,
    /// Of a subscriber that blocks: since when a publisher waits for it and nothing has left, plus 1; 0: none
    /// does.
    waited_since: AtomicU64,
    /// It was cut off, by its engine or by a publisher.
    cut: AtomicBool,
    /// What was retained up to this arrival comes from the past, or has come from there: everything while the past is
    /// read. Its end is written while nothing can be retained, so that whoever retains an event finds here whether
    /// the past has brought it.
    replayed: AtomicU64,
    /// Events that were dropped before they reached its engine, and that it was not told of.
    missed: AtomicU64,
    /// One of them was more than the policy admits.
    overrun: AtomicBool,
}

impl Standing {
    /// `replays`: it begins with the past.
    pub(crate) fn new(policy: SlowConsumer, max_pending: u32, replays: bool) -> Self {
        Self {
            policy,
            max_pending,
            pending: AtomicU32::new(0),
            at_bound: AtomicBool::new(false),
            short: AtomicBool::new(false),
            waited_since: AtomicU64::new(0),
            cut: AtomicBool::new(false),
            replayed: AtomicU64::new(if replays { u64::MAX } else { 0 }),
            missed: AtomicU64::new(0),
            overrun: AtomicBool::new(false),
        }
    }

    pub(crate) fn blocks(&self) -> bool {
        self.policy == SlowConsumer::Block
    }

    /// Whether a publisher has to wait for it, or, in a queue group, choose another.
    pub(crate) fn is_at_bound(&self) -> bool {
        if self.blocks() {
            self.room() == 0
        } else {
            self.at_bound.load(Ordering::Relaxed)
        }
    }

    /// For how long a publisher has waited for it, which waits now.
    pub(crate) fn waited(&self, now: u64) -> u64 {
        match self.waited_since.load(Ordering::Relaxed) {
            0 => {
                self.waited_since.store(now + 1, Ordering::Relaxed);
                0
            }
            since => (now + 1).saturating_sub(since),
        }
    }

    /// It is cut off; whether it was not before.
    pub(crate) fn cut(&self) -> bool {
        !self.cut.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Whether an event comes from the past, or has come from there; to be asked after it was retained. An
    /// arrival of 0 is that of an event which is not.
    pub(crate) fn replays(&self, arrival: u64) -> bool {
        arrival > 0 && arrival <= self.replayed.load(Ordering::Relaxed)
    }

    /// An event for it did not get as far as its engine, and does not come from the past.
    pub(crate) fn miss(&self) {
        self.missed.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether there are such events that it has not been told of.
    pub(crate) fn has_missed(&self) -> bool {
        self.missed.load(Ordering::Relaxed) > 0
    }

    /// The same where the subscriber has to go.
    pub(crate) fn overrun(&self) {
        self.overrun.store(true, Ordering::Release);
    }

    pub(crate) fn is_overrun(&self) -> bool {
        self.overrun.load(Ordering::Acquire)
    }

    /// Of a subscriber that blocks: how many more events may be published for it.
    pub(crate) fn room(&self) -> u32 {
        if self.short.load(Ordering::SeqCst) {
            return 0;
        }
        self.max_pending
            .saturating_sub(self.pending.load(Ordering::SeqCst))
    }

    /// So many events are on their way to a subscriber that blocks.
    pub(crate) fn give(&self, count: u32) {
        self.pending.fetch_add(count, Ordering::SeqCst);
    }

    /// An event for it waits for which there is no memory, or had no room on its way.
    pub(crate) fn run_short(&self) {
        self.short.store(true, Ordering::SeqCst);
    }

    /// Nothing waits any more; whether publishers waited for memory.
    fn relieve(&self) -> bool {
        self.short.load(Ordering::Relaxed) && self.short.swap(false, Ordering::SeqCst)
    }

    /// Who waits for it begins to count anew.
    fn progress(&self) {
        if self.waited_since.load(Ordering::Relaxed) != 0 {
            self.waited_since.store(0, Ordering::Relaxed);
        }
    }

    /// So many have left; whether publishers need not wait any more.
    fn take(&self, count: u32) -> bool {
        let before = self.pending.fetch_sub(count, Ordering::SeqCst);
        before >= self.max_pending && before.wrapping_sub(count) < self.max_pending
    }
}

/// An event that waits.
struct Waiting {
    event: Rc<Shared>,
    /// How many were dropped before it, behind the one before.
    dropped: u64,
    /// It was published, rather than read from the past.
    live: bool,
}

/// What a subscriber gets of the past, before what is published.
pub(crate) type Replay = millrace_fanout::Replay<Arc<[u8]>>;

/// Pieces from which on a reference costs less than a copy: that is a chunk of its own, and one more
/// for what comes behind it.
pub(crate) const SHARED_BYTES: usize = 8 * 1024;

/// Events that a replay has read ahead.
const REPLAY_AHEAD: usize = 32;

/// What became of an event that could not leave at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Waits,
    /// One was dropped: this, or the oldest.
    Dropped,
    /// The subscriber has to go.
    Overrun,
}

/// The subscription of a call.
pub(crate) struct Feed {
    /// None once nothing more is to come.
    pub(crate) registration: Option<Registration>,
    pub(crate) standing: Arc<Standing>,
    /// Its space, by its place among those of the engine.
    pub(crate) joined: usize,
    /// The runs of a log that are for it, while the log is given out.
    pub(crate) runs: Vec<u32>,
    waiting: VecDeque<Waiting>,
    /// Bytes of the first of them that have left already.
    offset: usize,
    /// Dropped behind the last that waits.
    dropped: u64,
    /// While there is one, what is published comes from it.
    replay: Option<Replay>,
    /// What was retained up to then came from the past.
    replayed: u64,
    /// The tag of the field that says so; 0: there is none.
    dropped_tag: u32,
    /// Since when as many wait as may; of those that block.
    pub(crate) bound_since: Option<u64>,
}

impl Feed {
    pub(crate) fn new(
        registration: Registration,
        joined: usize,
        dropped_tag: u32,
        replay: Option<Replay>,
    ) -> Self {
        Self {
            standing: Arc::clone(registration.standing()),
            registration: Some(registration),
            joined,
            runs: Vec::new(),
            waiting: VecDeque::new(),
            offset: 0,
            dropped: 0,
            replay,
            replayed: 0,
            dropped_tag,
            bound_since: None,
        }
    }

    /// Whether nothing is to be sent before something is published.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.replay.is_none()
    }

    #[inline]
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(crate) fn is_replaying(&self) -> bool {
        self.replay.is_some()
    }

    /// Nothing more is to come.
    pub(crate) fn close(&mut self) {
        self.registration = None;
        self.replay = None;
    }

    /// Whether all that was retained up to an arrival has come, or will come, from the past.
    #[inline]
    pub(crate) fn replays(&self, arrival: u64) -> bool {
        arrival > 0 && (self.replay.is_some() || arrival <= self.replayed)
    }

    /// Up to which arrival events may have come from the past.
    #[inline]
    pub(crate) fn replayed(&self) -> u64 {
        if self.replay.is_some() {
            u64::MAX
        } else {
            self.replayed
        }
    }

    /// Has events of the past wait, a few at a time. Answers how many were not there any more.
    pub(crate) fn read_past(
        &mut self,
        memory: &Rc<Cell<u64>>,
        scratch: &mut Vec<(u64, Kept<Arc<[u8]>>)>,
    ) -> u64 {
        let most = REPLAY_AHEAD.min(self.standing.max_pending as usize);
        if self.waiting.len() >= most.div_ceil(2) {
            return 0;
        }
        let Some(replay) = &self.replay else {
            return 0;
        };
        let replayed = &self.standing.replayed;
        let piece = replay.read(most - self.waiting.len(), scratch, |arrival| {
            replayed.store(arrival, Ordering::Relaxed);
        });
        if piece.end {
            self.replay = None;
            self.replayed = piece.arrival;
        }
        self.dropped += piece.passed;
        self.count_missed();
        for (_, Kept { event, .. }) in scratch.drain(..) {
            self.waiting.push_back(Waiting {
                event: Shared::new(event, memory),
                dropped: std::mem::take(&mut self.dropped),
                live: false,
            });
        }
        self.show_bound();
        piece.passed
    }

    /// Whether events may leave without passing by here.
    #[inline]
    pub(crate) fn is_clear(&self) -> bool {
        self.is_idle() && self.dropped == 0
    }

    /// Events that wait, but for one that has left in part.
    pub(crate) fn pending(&self) -> usize {
        self.waiting.len() - usize::from(self.offset > 0)
    }

    /// Has an event wait, as far as the policy lets it; `full`: there is no memory for more.
    pub(crate) fn push(&mut self, event: &Rc<Shared>, full: bool) -> Outcome {
        self.count_missed();
        let at_bound = self.pending() >= self.standing.max_pending as usize;
        let mut outcome = Outcome::Waits;
        if at_bound || full {
            let policy = self.standing.policy;
            match policy {
                SlowConsumer::Block => {
                    if full {
                        self.standing.run_short();
                    }
                }
                SlowConsumer::Disconnect => return Outcome::Overrun,
                SlowConsumer::DropOldest if self.drop_oldest() => outcome = Outcome::Dropped,
                SlowConsumer::DropOldest | SlowConsumer::DropNewest => {
                    self.dropped += 1;
                    return Outcome::Dropped;
                }
            }
        }
        self.waiting.push_back(Waiting {
            event: Rc::clone(event),
            dropped: std::mem::take(&mut self.dropped),
            live: true,
        });
        self.show_bound();
        outcome
    }

    /// The next event says what had no room on its way.
    fn count_missed(&mut self) {
        if self.standing.has_missed() {
            self.dropped += self.standing.missed.swap(0, Ordering::Relaxed);
        }
    }

    /// Drops the oldest that has not begun to leave, if there is one.
    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.waiting.remove(usize::from(self.offset > 0)) else {
            return false;
        };
        let dropped = oldest.dropped + 1;
        match self.waiting.get_mut(usize::from(self.offset > 0)) {
            Some(next) => next.dropped += dropped,
            None => self.dropped += dropped,
        }
        true
    }

    fn show_bound(&self) {
        let at_bound = self.pending() >= self.standing.max_pending as usize;
        if self.standing.at_bound.load(Ordering::Relaxed) != at_bound {
            self.standing.at_bound.store(at_bound, Ordering::Relaxed);
        }
    }

    /// Bytes of the first event that have not left, its own `dropped` field included; 0 if none waits.
    fn front_bytes(&self) -> usize {
        self.waiting
            .front()
            .map_or(0, |front| self.bytes_of(front).saturating_sub(self.offset))
    }

    fn bytes_of(&self, waiting: &Waiting) -> usize {
        waiting.event.framed().len() + self.suffix(waiting.dropped, &mut [0; FIELD_BYTES])
    }

    /// The field that says how many were dropped; its length.
    fn suffix(&self, dropped: u64, out: &mut [u8; FIELD_BYTES]) -> usize {
        if dropped == 0 || self.dropped_tag == 0 {
            0
        } else {
            field(self.dropped_tag, dropped, out)
        }
    }

    /// How many bytes the next frame may have: whole events, as far as they fit into `most`, or a part
    /// of the first.
    pub(crate) fn next_frame(&self, most: usize) -> usize {
        let mut length = self.front_bytes().min(most);
        for waiting in self.waiting.iter().skip(1) {
            let next = length + self.bytes_of(waiting);
            if next > most || length == most {
                break;
            }
            length = next;
        }
        length
    }

    /// Writes the next `length` bytes; returns how many events are complete with them, and how many of
    /// those were published rather than read from the past.
    pub(crate) fn write(&mut self, mut length: usize, building: &mut Building) -> (u32, u32) {
        let (mut complete, mut live) = (0, 0);
        while length > 0
            && let Some(front) = self.waiting.front()
        {
            let mut suffix = [0; FIELD_BYTES];
            let suffix_bytes = self.suffix(front.dropped, &mut suffix);
            let framed = front.event.framed();
            let total = framed.len() + suffix_bytes;
            let piece = length.min(total - self.offset);
            if suffix_bytes == 0 && piece >= SHARED_BYTES {
                building.share(framed, self.offset..self.offset + piece);
            } else if suffix_bytes == 0 {
                building.write(&framed[self.offset..self.offset + piece]);
            } else {
                let mut prefix = [0; PREFIX];
                prefix[1..].copy_from_slice(&((total - PREFIX) as u32).to_be_bytes());
                let mut start = self.offset;
                let end = self.offset + piece;
                let mut at = 0;
                for part in [&prefix[..], &framed[PREFIX..], &suffix[..suffix_bytes]] {
                    if start < at + part.len() && start < end {
                        let to = end.min(at + part.len());
                        building.write(&part[start - at..to - at]);
                        start = to;
                    }
                    at += part.len();
                }
            }
            length -= piece;
            if self.offset + piece == total {
                live += u32::from(front.live);
                complete += 1;
                self.waiting.pop_front();
                self.offset = 0;
            } else {
                self.offset += piece;
            }
        }
        self.show_bound();
        (complete, live)
    }

    /// So many events have left; whether publishers that waited for this subscriber may go on.
    pub(crate) fn left(&mut self, count: u32, now: u64) -> bool {
        if !self.standing.blocks() {
            return false;
        }
        let relieved = self.waiting.is_empty() && self.standing.relieve();
        if relieved || count > 0 {
            self.standing.progress();
        }
        if count == 0 {
            return relieved;
        }
        self.bound_since = None;
        let wakes = self.standing.take(count) || relieved;
        // More may wait than one makes room for, and nothing is published that would say so again.
        self.time_bound(now);
        wakes
    }

    /// From now on publishers wait for this subscriber, if they do.
    pub(crate) fn time_bound(&mut self, now: u64) {
        if self.bound_since.is_none() && self.standing.blocks() && self.standing.is_at_bound() {
            self.bound_since = Some(now);
        }
    }
}
