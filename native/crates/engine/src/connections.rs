//! The connections of a thread: a table by the numbers that the driver gives to their sockets.

use std::ops::Range;

use crate::connection::Connection;

#[derive(Default)]
pub(crate) struct Connections {
    entries: Vec<Option<Box<Connection>>>,
}

impl Connections {
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&Connection> {
        self.entries.get(index as usize)?.as_deref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Connection> {
        self.entries.get_mut(index as usize)?.as_deref_mut()
    }

    /// The entry has to be empty: the driver gives a number again only when its socket is closed.
    pub(crate) fn insert(&mut self, index: u32, connection: Box<Connection>) {
        let at = index as usize;
        if self.entries.len() <= at {
            self.entries.resize_with(at + 1, || None);
        }
        debug_assert!(self.entries[at].is_none());
        self.entries[at] = Some(connection);
    }

    pub(crate) fn take(&mut self, index: u32) -> Option<Box<Connection>> {
        self.entries.get_mut(index as usize)?.take()
    }

    /// Of all entries, also of the empty ones.
    pub(crate) fn indices(&self) -> Range<u32> {
        0..self.entries.len() as u32
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.entries.iter().flatten().map(Box::as_ref)
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}
