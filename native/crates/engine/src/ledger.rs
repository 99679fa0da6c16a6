//! What lies unread in the receive buffers, and which of them may stay there.

use std::collections::VecDeque;

/// One receive buffer while it is ours.
#[derive(Default)]
pub(crate) struct Buffer {
    /// Messages that lie in it, and one more while it is being parsed.
    pub(crate) references: u32,
    /// Bytes of those messages.
    pub(crate) live: u32,
    /// DATA bytes that came in it: credit that the connection gets when it returns.
    pub(crate) data_bytes: u32,
    pub(crate) connection: u32,
    pub(crate) serial: u32,
    /// How often it was filled: tells a later filling from this one.
    pub(crate) filling: u32,
    /// The batch in which it was filled.
    pub(crate) turn: u32,
    /// It stays in the ring beyond its batch and counts for its connection.
    pub(crate) held: bool,
    pub(crate) slots: Vec<u32>,
}

/// The buffers of a thread, with the order in which those that stay were filled.
pub(crate) struct Ledger {
    pub(crate) buffers: Vec<Buffer>,
    /// Filled in this batch.
    pub(crate) touched: Vec<u16>,
    /// Held buffers whose content has become thin.
    pub(crate) thin: Vec<u16>,
    /// Held buffers, oldest first, with their filling.
    pub(crate) held: VecDeque<(u16, u32)>,
    /// Buffers one connection may hold.
    pub(crate) share: u32,
    pub(crate) buffer_bytes: u32,
}

impl Ledger {
    pub(crate) fn new(count: u16, buffer_bytes: u32) -> Self {
        Self {
            buffers: (0..count).map(|_| Buffer::default()).collect(),
            touched: Vec::new(),
            thin: Vec::new(),
            held: VecDeque::new(),
            share: (u32::from(count) / 8).max(4),
            buffer_bytes,
        }
    }

    #[inline]
    pub(crate) fn fill(&mut self, number: u16, connection: u32, serial: u32, turn: u32) {
        let buffer = &mut self.buffers[number as usize];
        debug_assert_eq!(buffer.references, 0);
        buffer.references = 1;
        buffer.live = 0;
        buffer.data_bytes = 0;
        buffer.connection = connection;
        buffer.serial = serial;
        buffer.filling = buffer.filling.wrapping_add(1);
        buffer.turn = turn;
        buffer.held = false;
        buffer.slots.clear();
        self.touched.push(number);
    }

    /// A message of `length` bytes, named by `slot`, stays in the buffer for now.
    #[inline]
    pub(crate) fn add(&mut self, number: u16, slot: u32, length: u32) {
        let buffer = &mut self.buffers[number as usize];
        buffer.references += 1;
        buffer.live += length;
        buffer.slots.push(slot);
    }

    /// Takes a message (or the parser's hold, with length 0) off; true when nothing is left.
    #[inline]
    pub(crate) fn drop_reference(&mut self, number: u16, length: u32) -> bool {
        let buffer = &mut self.buffers[number as usize];
        debug_assert!(buffer.references > 0);
        buffer.references -= 1;
        buffer.live -= length;
        if buffer.references > 0 && buffer.held && Self::thin(buffer.live, self.buffer_bytes) {
            self.thin.push(number);
        }
        buffer.references == 0
    }

    /// Whether so few bytes are left that they should not pin the whole buffer.
    fn thin(live: u32, buffer_bytes: u32) -> bool {
        live < buffer_bytes / 4
    }

    pub(crate) fn is_thin(&self, number: u16) -> bool {
        Self::thin(self.buffers[number as usize].live, self.buffer_bytes)
    }

    /// Remembers a buffer that stays beyond its batch. Entries of buffers that have returned are
    /// dropped now and then, so that the queue stays as small as the ring.
    pub(crate) fn hold(&mut self, number: u16, filling: u32) {
        if self.held.len() > 4 * self.buffers.len() {
            let mut held = std::mem::take(&mut self.held);
            held.retain(|&(number, filling)| self.is_current(number, filling));
            self.held = held;
        }
        self.held.push_back((number, filling));
    }

    pub(crate) fn is_current(&self, number: u16, filling: u32) -> bool {
        let buffer = &self.buffers[number as usize];
        buffer.held && buffer.filling == filling
    }
}
