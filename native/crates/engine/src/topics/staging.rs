//! The memory into which JavaScript encodes what it publishes: a head, a table, and messages.
//!
//! Events that are not retained are queued there, and published together at the end of the turn or when
//! there is no room: a crossing for all of them. What JavaScript has to know of an event at once lies in
//! the head, or is asked for once for each topic ([`Staging::found`]).

use std::{io, ops::Range, sync::Arc};

use millrace_ring::SharedMemory;

use crate::{
    layout::{
        TOPICS_BYTES, TOPICS_EVENT_CAPACITY, TOPICS_EVENT_COUNT, TOPICS_EVENT_WORDS,
        TOPICS_EVENTS_AT, TOPICS_FOUND_DELIVERED, TOPICS_FOUND_VERSION, TOPICS_MESSAGES_AT,
        TOPICS_SEQUENCE, TOPICS_SEQUENCE_GIVEN, TOPICS_USED, TOPICS_VERSION,
    },
    shared,
};

#[derive(Clone)]
pub(crate) struct Staging(Arc<SharedMemory>);

impl Staging {
    pub(crate) fn new() -> io::Result<Self> {
        SharedMemory::new(TOPICS_BYTES).map(Self)
    }

    pub(crate) fn memory(&self) -> Arc<SharedMemory> {
        Arc::clone(&self.0)
    }

    /// Says that subscriptions have come or gone; from any thread.
    pub(crate) fn show_version(&self, version: u64) {
        shared::show_word(&self.0, TOPICS_VERSION, version as u32);
    }

    /// Says who gets the events of the topic that was asked for.
    pub(crate) fn found(&self, version: u64, delivered: u32) {
        self.set(TOPICS_FOUND_VERSION, version as u32);
        self.set(TOPICS_FOUND_DELIVERED, delivered);
    }

    /// The sequence that the event which is published next brings along; 0: none.
    pub(crate) fn given(&self) -> u64 {
        u64::from(self.word(TOPICS_SEQUENCE_GIVEN))
            | u64::from(self.word(TOPICS_SEQUENCE_GIVEN + 1)) << 32
    }

    /// Says which sequence the event that was published last has.
    pub(crate) fn sequenced(&self, sequence: u64) {
        self.set(TOPICS_SEQUENCE, sequence as u32);
        self.set(TOPICS_SEQUENCE + 1, (sequence >> 32) as u32);
    }

    /// The message that lies behind those of the queue.
    pub(crate) fn message(&self, length: u32) -> &[u8] {
        let start = TOPICS_MESSAGES_AT + self.word(TOPICS_USED) as usize;
        shared::bytes(&self.0, start, length as usize)
    }

    /// Empties the queue, whose events stay readable until JavaScript runs.
    pub(crate) fn take(&self) -> Queued<'_> {
        let count = (self.word(TOPICS_EVENT_COUNT) as usize).min(TOPICS_EVENT_CAPACITY);
        self.set(TOPICS_EVENT_COUNT, 0);
        self.set(TOPICS_USED, 0);
        Queued {
            staging: self,
            next: 0,
            count,
            at: TOPICS_MESSAGES_AT,
        }
    }

    fn word(&self, index: usize) -> u32 {
        let bytes = shared::bytes(&self.0, index * 4, 4);
        bytes.try_into().map_or(0, u32::from_ne_bytes)
    }

    fn set(&self, index: usize, value: u32) {
        shared::copy_in(&self.0, index * 4, &value.to_ne_bytes());
    }
}

/// Events of a queue that was taken.
pub(crate) struct Queued<'a> {
    staging: &'a Staging,
    next: usize,
    count: usize,
    at: usize,
}

impl<'a> Queued<'a> {
    /// The next events that have the same topic, and its number.
    pub(crate) fn run(&mut self) -> Option<(u32, Messages<'a>)> {
        if self.next == self.count {
            return None;
        }
        let topic = self.topic(self.next);
        let first = self.next;
        while self.next < self.count && self.topic(self.next) == topic {
            self.next += 1;
        }
        let messages = Messages {
            staging: self.staging,
            events: first..self.next,
            at: self.at,
        };
        self.at = messages
            .clone()
            .fold(self.at, |at, message| at + message.len());
        Some((topic, messages))
    }

    fn topic(&self, event: usize) -> u32 {
        self.staging
            .word(TOPICS_EVENTS_AT + event * TOPICS_EVENT_WORDS)
    }
}

/// The messages of successive events.
#[derive(Clone)]
pub(crate) struct Messages<'a> {
    staging: &'a Staging,
    events: Range<usize>,
    at: usize,
}

impl<'a> Iterator for Messages<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let event = self.events.next()?;
        let row = TOPICS_EVENTS_AT + event * TOPICS_EVENT_WORDS;
        let length = self.staging.word(row + 1) as usize;
        let message = shared::bytes(&self.staging.0, self.at, length);
        self.at += length;
        Some(message)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.events.size_hint()
    }
}

impl ExactSizeIterator for Messages<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(staging: &Staging, topic: u32, message: &[u8]) {
        let (count, used) = (staging.word(TOPICS_EVENT_COUNT), staging.word(TOPICS_USED));
        let row = TOPICS_EVENTS_AT + count as usize * TOPICS_EVENT_WORDS;
        staging.set(row, topic);
        staging.set(row + 1, message.len() as u32);
        shared::copy_in(&staging.0, TOPICS_MESSAGES_AT + used as usize, message);
        staging.set(TOPICS_EVENT_COUNT, count + 1);
        staging.set(TOPICS_USED, used + message.len() as u32);
    }

    fn taken(staging: &Staging) -> Vec<(u32, Vec<Vec<u8>>)> {
        let mut queued = staging.take();
        std::iter::from_fn(|| queued.run())
            .map(|(topic, messages)| (topic, messages.map(<[u8]>::to_vec).collect()))
            .collect()
    }

    #[test]
    fn what_is_queued_comes_in_runs_of_one_topic_and_once() {
        let staging = Staging::new().unwrap();
        assert!(taken(&staging).is_empty());
        for (topic, message) in [
            (7, &b"one"[..]),
            (7, b""),
            (7, b"two"),
            (8, b"three"),
            (7, b"4"),
        ] {
            queue(&staging, topic, message);
        }
        assert_eq!(staging.message(0), b"");
        let expected = vec![
            (7, vec![b"one".to_vec(), Vec::new(), b"two".to_vec()]),
            (8, vec![b"three".to_vec()]),
            (7, vec![b"4".to_vec()]),
        ];
        assert_eq!(taken(&staging), expected);
        assert!(taken(&staging).is_empty());
    }

    #[test]
    fn sequences_have_two_words() {
        let staging = Staging::new().unwrap();
        staging.sequenced(0x1_2345_6789);
        assert_eq!(staging.word(TOPICS_SEQUENCE), 0x2345_6789);
        assert_eq!(staging.word(TOPICS_SEQUENCE + 1), 1);
        staging.set(TOPICS_SEQUENCE_GIVEN, 5);
        staging.set(TOPICS_SEQUENCE_GIVEN + 1, 2);
        assert_eq!(staging.given(), 0x2_0000_0005);
    }
}
