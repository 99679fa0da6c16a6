//! The dynamic table (RFC 7541 sections 2.3.2 and 4): all bytes in one buffer, oldest first.

use std::collections::VecDeque;

use super::field::Class;

/// What RFC 7541 section 4.1 adds to each entry.
pub(crate) const ENTRY_OVERHEAD: usize = 32;

struct Entry {
    /// Offset in the bytes ever appended; wraps.
    start: u32,
    name: u32,
    value: u32,
    class: Class,
}

impl Entry {
    fn size(&self) -> usize {
        self.name as usize + self.value as usize + ENTRY_OVERHEAD
    }
}

/// Grows with its use and not before, so that an idle connection costs what its peer has sent.
pub(crate) struct DynamicTable {
    entries: VecDeque<Entry>,
    bytes: Vec<u8>,
    /// Stream offset of `bytes[0]`.
    base: u32,
    size: usize,
    maximum: usize,
    revision: u32,
}

impl DynamicTable {
    pub(crate) fn new(maximum: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: Vec::new(),
            base: 0,
            size: 0,
            maximum,
            revision: 0,
        }
    }

    /// Changes whenever the meaning of an index may have changed.
    #[inline]
    pub(crate) fn revision(&self) -> u32 {
        self.revision
    }

    #[inline]
    pub(crate) fn maximum(&self) -> usize {
        self.maximum
    }

    #[cfg(test)]
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn set_maximum(&mut self, maximum: usize) {
        self.maximum = maximum;
        self.evict(0);
    }

    /// Name, value and class of entry `index`, 0 being the newest.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<(&[u8], &[u8], Class)> {
        let at = self.entries.len().checked_sub(index + 1)?;
        let entry = &self.entries[at];
        let (name, value) = self.slices(entry);
        Some((name, value, entry.class))
    }

    #[inline]
    fn slices(&self, entry: &Entry) -> (&[u8], &[u8]) {
        let start = entry.start.wrapping_sub(self.base) as usize;
        let middle = start + entry.name as usize;
        (
            &self.bytes[start..middle],
            &self.bytes[middle..middle + entry.value as usize],
        )
    }

    /// The newest entry with this name and value, and the newest with this name.
    #[inline]
    pub(crate) fn find(&self, name: &[u8], value: &[u8]) -> (Option<usize>, Option<usize>) {
        let mut by_name = None;
        for (index, entry) in self.entries.iter().rev().enumerate() {
            if entry.name as usize != name.len() {
                continue;
            }
            let (own_name, own_value) = self.slices(entry);
            if own_name != name {
                continue;
            }
            if own_value == value {
                return (Some(index), by_name);
            }
            by_name = by_name.or(Some(index));
        }
        (None, by_name)
    }

    /// An entry larger than the table empties it (RFC 7541 section 4.4).
    pub(crate) fn insert(&mut self, name: &[u8], value: &[u8], class: Class) {
        self.revision = self.revision.wrapping_add(1);
        let size = name.len() + value.len() + ENTRY_OVERHEAD;
        self.evict(size);
        if size > self.maximum {
            return;
        }
        self.make_room(name.len() + value.len());
        self.entries.push_back(Entry {
            start: self.base.wrapping_add(self.bytes.len() as u32),
            name: name.len() as u32,
            value: value.len() as u32,
            class,
        });
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.size += size;
    }

    fn evict(&mut self, needed: usize) {
        while self.size + needed > self.maximum {
            let Some(oldest) = self.entries.pop_front() else {
                return;
            };
            self.size -= oldest.size();
            self.revision = self.revision.wrapping_add(1);
        }
    }

    /// Moves the live bytes to the front once as many are dead, instead of growing.
    fn make_room(&mut self, needed: usize) {
        if self.bytes.len() + needed <= self.bytes.capacity() {
            return;
        }
        let dead = match self.entries.front() {
            Some(oldest) => oldest.start.wrapping_sub(self.base) as usize,
            None => self.bytes.len(),
        };
        if dead * 2 >= self.bytes.len() {
            self.bytes.drain(..dead);
            self.base = self.base.wrapping_add(dead as u32);
        }
    }
}
