//! Events of the past: how many are kept, and from where they are replayed.

use std::{collections::VecDeque, fmt, sync::Arc};

/// What is kept. The oldest events go when one more would exceed a bound, so that a single event is
/// kept even if it alone is larger than `bytes_max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How many events.
    pub count_max: usize,
    /// How many bytes, as the caller counts them.
    pub bytes_max: usize,
    /// How old an event may be, in milliseconds.
    pub age_ms_max: u64,
}

/// A retained event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retained<E> {
    /// Unique in its store, and increasing from one event to the next; gaps are allowed.
    pub sequence: u64,
    /// When it was published, as its store sees it: not earlier than the one before.
    pub time: u64,
    /// The topic that it was published to.
    pub topic: Arc<str>,
    /// What it costs.
    pub bytes: usize,
    /// The event itself.
    pub event: E,
}

/// From where a replay starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With this sequence, or the next there is.
    Sequence(u64),
    /// With the first event that was published at this time or later.
    Time(u64),
    /// With the oldest event that is retained.
    Earliest,
    /// After the newest.
    Latest,
}

/// The start that was asked for is not retained any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange {
    /// The first sequence from which everything is retained: the earliest start.
    pub first: u64,
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            to,
            "events from there on are not retained any more; the first sequence that is retained is {}: start with it, or with the earliest",
            self.first
        )
    }
}

impl std::error::Error for OutOfRange {}

/// Retained events in the order of their sequences.
#[derive(Debug)]
pub struct Store<E> {
    retention: Retention,
    events: VecDeque<Retained<E>>,
    bytes: usize,
    /// From this sequence on everything is retained, or has not been published yet. `None` before the
    /// first event, which says where sequences begin.
    first: Option<u64>,
    /// Where sequences began: the lowest that was ever kept.
    origin: Option<u64>,
    /// When the newest of the events that were evicted was published.
    evicted_time: Option<u64>,
    evicted: u64,
    /// Of the events that were evicted last, from `remembers_from` on: their sequences and topics.
    gone: VecDeque<(u64, Arc<str>)>,
    /// `None`: nobody wants to know of them.
    remembers_from: Option<u64>,
    /// Below, what was evicted was forgotten since there was too much of it.
    forgotten_to: u64,
}

/// How many events that were evicted are remembered, each by a few words and its topic.
const GONE_MAX: usize = 65_536;

impl<E> Store<E> {
    /// An empty store, which takes any sequence for its first.
    pub fn new(retention: Retention) -> Self {
        Self {
            retention,
            events: VecDeque::new(),
            bytes: 0,
            first: None,
            origin: None,
            evicted_time: None,
            evicted: 0,
            gone: VecDeque::new(),
            remembers_from: None,
            forgotten_to: 0,
        }
    }

    /// Keeps an event, and evicts those that exceed a bound by it. Sequences may come slightly out of
    /// order, from several publishers: what is late is put in its place. Whether it was kept: not if
    /// its sequence is known, or from before what was evicted.
    ///
    /// `event.time` is moved to fit between its neighbours' if it does not: time never runs backwards
    /// in a store.
    pub fn push(&mut self, now: u64, mut event: Retained<E>) -> bool {
        if self.evicted > 0 && self.first.is_some_and(|first| event.sequence < first) {
            return false;
        }
        // Found from the back: it is the newest, or late by few.
        let position = self
            .events
            .iter()
            .rposition(|each| each.sequence <= event.sequence)
            .map_or(0, |index| index + 1);
        if let Some(before) = position.checked_sub(1).map(|index| &self.events[index]) {
            if before.sequence == event.sequence {
                return false;
            }
            event.time = event.time.max(before.time);
        }
        if let Some(after) = self.events.get(position) {
            event.time = event.time.min(after.time);
        }
        if let Some(evicted) = self.evicted_time {
            event.time = event.time.max(evicted);
        }
        for lowest in [&mut self.first, &mut self.origin] {
            *lowest = Some(lowest.map_or(event.sequence, |each| each.min(event.sequence)));
        }
        self.bytes += event.bytes;
        self.events.insert(position, event);
        self.expire(now);
        true
    }

    /// Evicts what exceeds a bound; by itself only [`push`](Self::push) does.
    pub fn expire(&mut self, now: u64) {
        while let Some(oldest) = self.events.front() {
            let over = self.events.len() > self.retention.count_max
                || (self.bytes > self.retention.bytes_max && self.events.len() > 1)
                || now.saturating_sub(oldest.time) > self.retention.age_ms_max;
            if !over {
                break;
            }
            let oldest = self.events.pop_front().expect("there is a front");
            self.bytes -= oldest.bytes;
            self.first = Some(oldest.sequence + 1);
            self.evicted_time = Some(oldest.time);
            self.evicted += 1;
            if self
                .remembers_from
                .is_some_and(|from| oldest.sequence >= from)
            {
                if self.gone.len() == GONE_MAX
                    && let Some((sequence, _)) = self.gone.pop_front()
                {
                    self.forgotten_to = sequence + 1;
                }
                self.gone.push_back((oldest.sequence, oldest.topic));
            }
        }
    }

    /// How many events are retained.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// What they cost together.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many were evicted.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// From this sequence on everything is retained, or has not been published yet: that of the oldest
    /// event, or the next after what was evicted. `None` before the first event.
    pub fn first_sequence(&self) -> Option<u64> {
        self.first
    }

    /// Which topics evicted events were of is wanted for those of this sequence and later ones, and for
    /// none that was evicted before it was first asked for.
    pub fn remember(&mut self, from: Option<u64>) {
        self.remembers_from = from;
        match from {
            Some(from) => {
                while self
                    .gone
                    .front()
                    .is_some_and(|&(sequence, _)| sequence < from)
                {
                    self.gone.pop_front();
                }
            }
            None => self.gone = VecDeque::new(),
        }
    }

    /// The sequences and topics of evicted events from a sequence on, as far as they are remembered.
    pub fn gone_from(&self, sequence: u64) -> impl Iterator<Item = (u64, &Arc<str>)> {
        let index = self.gone.partition_point(|&(each, _)| each < sequence);
        self.gone.range(index..).map(|(each, topic)| (*each, topic))
    }

    /// How many sequences from this one on were evicted, and forgotten for there being too many.
    pub fn forgotten_from(&self, sequence: u64) -> u64 {
        self.forgotten_to
            .saturating_sub(sequence.max(self.origin.unwrap_or(0)))
    }

    /// The newest sequence, if an event is retained.
    pub fn last_sequence(&self) -> Option<u64> {
        self.events.back().map(|event| event.sequence)
    }

    /// The sequence with which a start begins; events are those of [`from`](Self::from) it, and what
    /// is published later. Fails if an event that the start asks for was evicted, or was published before
    /// the first that this store was given. (A sequence of 0 is taken for 1.)
    pub fn start(&self, start: Start) -> Result<u64, OutOfRange> {
        let first = self.first.unwrap_or(0);
        let out_of_range = OutOfRange { first };
        let after_last = || {
            self.last_sequence()
                .map_or(first, |last| last.saturating_add(1))
        };
        match start {
            Start::Sequence(sequence) if sequence.max(1) < first => Err(out_of_range),
            Start::Sequence(sequence) => Ok(sequence),
            Start::Time(time) => match self.evicted_time {
                Some(evicted) if time <= evicted => Err(out_of_range),
                _ => {
                    let index = self.events.partition_point(|event| event.time < time);
                    Ok(self
                        .events
                        .get(index)
                        .map_or_else(after_last, |event| event.sequence))
                }
            },
            Start::Earliest => Ok(first),
            Start::Latest => Ok(after_last()),
        }
    }

    /// The events from a sequence on, this one included, in order. It costs a binary search and no
    /// memory, so that a replay in pieces asks anew for each: `from(last + 1).take(n)`.
    pub fn from(&self, sequence: u64) -> impl Iterator<Item = &Retained<E>> {
        let index = self.index(sequence);
        self.events.range(index..)
    }

    /// The event with this sequence.
    pub fn get(&self, sequence: u64) -> Option<&Retained<E>> {
        self.events
            .get(self.index(sequence))
            .filter(|event| event.sequence == sequence)
    }

    fn index(&self, sequence: u64) -> usize {
        self.events
            .partition_point(|event| event.sequence < sequence)
    }
}
