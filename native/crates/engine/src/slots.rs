//! Message slots: where a complete, unread message lies, readable by JavaScript at pull time.

use crate::{
    layout::{NO_SLOT, SLOT_WORDS, SLOTS_PER_CALL, SLOTS_SHARED},
    overflow::Block,
    shared::Words,
};

/// Where the bytes of a message are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// In this receive buffer, at this offset of the ring region.
    Ring { buffer: u16, offset: u32 },
    /// At the start of this overflow block.
    Overflow(Block),
    /// Nowhere: the message is empty.
    Empty,
}

#[derive(Clone, Copy)]
struct Entry {
    next: u32,
    length: u32,
    /// Stream credit that its consumption returns to the peer.
    credit: u32,
    place: Place,
}

/// The slot table and the chains of waiting messages that run through it.
pub(crate) struct Slots {
    words: Words,
    entries: Vec<Entry>,
    free: Vec<u32>,
    capacity: usize,
}

impl Slots {
    /// A table for `calls` calls.
    pub(crate) fn new(calls: usize) -> std::io::Result<Self> {
        let capacity = calls * SLOTS_PER_CALL + SLOTS_SHARED;
        Ok(Self {
            words: Words::new(capacity * SLOT_WORDS)?,
            capacity,
            entries: Vec::new(),
            free: Vec::new(),
        })
    }

    pub(crate) fn words(&self) -> &Words {
        &self.words
    }

    pub(crate) fn live(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Whether a call with this many waiting messages may have one more: its own few are always
    /// there, the others as long as the shared ones last.
    #[inline]
    pub(crate) fn has_room(&self, waiting: u32) -> bool {
        (waiting as usize) < SLOTS_PER_CALL || self.live() < SLOTS_SHARED
    }

    /// Puts a message into a free slot; `None` when the table is full.
    #[inline]
    pub(crate) fn put(&mut self, place: Place, length: u32, credit: u32) -> Option<u32> {
        let entry = Entry {
            next: NO_SLOT,
            length,
            credit,
            place,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.entries[slot as usize] = entry;
                slot
            }
            None if self.entries.len() < self.capacity => {
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
            None => return None,
        };
        self.publish(slot);
        Some(slot)
    }

    fn publish(&self, slot: u32) {
        let Entry { length, place, .. } = self.entries[slot as usize];
        let (region, offset) = match place {
            Place::Ring { offset, .. } => (0, offset),
            Place::Overflow(block) => (block.region(), block.offset),
            Place::Empty => (0, 0),
        };
        self.words.set4(slot as usize, [region, offset, length, 0]);
    }

    /// Notes that the message came compressed. Such a message is never moved.
    pub(crate) fn mark_compressed(&self, slot: u32) {
        let mut words = self.words.get4(slot as usize);
        words[3] = 1;
        self.words.set4(slot as usize, words);
    }

    pub(crate) fn is_compressed(&self, slot: u32) -> bool {
        self.words.get4(slot as usize)[3] == 1
    }

    /// Moves a waiting message; JavaScript finds it at its new place when it pulls.
    pub(crate) fn relocate(&mut self, slot: u32, block: Block) {
        self.entries[slot as usize].place = Place::Overflow(block);
        self.publish(slot);
    }

    #[inline]
    pub(crate) fn place(&self, slot: u32) -> Place {
        self.entries[slot as usize].place
    }

    #[inline]
    pub(crate) fn length(&self, slot: u32) -> u32 {
        self.entries[slot as usize].length
    }

    #[inline]
    pub(crate) fn credit(&self, slot: u32) -> u32 {
        self.entries[slot as usize].credit
    }

    #[inline]
    pub(crate) fn next(&self, slot: u32) -> u32 {
        self.entries[slot as usize].next
    }

    #[inline]
    pub(crate) fn link(&mut self, slot: u32, next: u32) {
        self.entries[slot as usize].next = next;
    }

    #[inline]
    pub(crate) fn free(&mut self, slot: u32) {
        self.entries[slot as usize].place = Place::Empty;
        self.free.push(slot);
    }
}
