//! The streams of a connection: a slab with generations, and a table from identifier to slot.

use super::Stream;
use crate::event::StreamKey;

struct Slot {
    generation: u32,
    stream: Option<Stream>,
}

#[derive(Default)]
pub(crate) struct Store {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_id: IdTable,
}

impl Store {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.by_id.length
    }

    pub(crate) fn insert(&mut self, stream: Stream) -> StreamKey {
        let id = stream.id;
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize].stream = Some(stream);
                index
            }
            None => {
                self.slots.push(Slot {
                    generation: 0,
                    stream: Some(stream),
                });
                self.slots.len() as u32 - 1
            }
        };
        self.by_id.insert(id, index);
        StreamKey {
            index,
            generation: self.slots[index as usize].generation,
        }
    }

    /// The key dies with it.
    pub(crate) fn remove(&mut self, key: StreamKey) -> Option<Stream> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let stream = slot.stream.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index);
        self.by_id.remove(stream.id);
        Some(stream)
    }

    #[inline]
    pub(crate) fn get(&self, key: StreamKey) -> Option<&Stream> {
        let slot = self.slots.get(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        slot.stream.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: StreamKey) -> Option<&mut Stream> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        slot.stream.as_mut()
    }

    #[inline]
    pub(crate) fn find(&self, id: u32) -> Option<StreamKey> {
        let index = self.by_id.find(id)?;
        Some(StreamKey {
            index,
            generation: self.slots[index as usize].generation,
        })
    }

    /// The streams from slot `start` on.
    pub(crate) fn iter_from(&self, start: usize) -> impl Iterator<Item = (StreamKey, &Stream)> {
        self.slots
            .iter()
            .enumerate()
            .skip(start)
            .filter_map(|(index, slot)| {
                let key = StreamKey {
                    index: index as u32,
                    generation: slot.generation,
                };
                slot.stream.as_ref().map(|stream| (key, stream))
            })
    }
}

/// Open addressing with linear probing, at most half full; identifier 0 marks an empty place.
#[derive(Default)]
struct IdTable {
    places: Vec<(u32, u32)>,
    length: usize,
}

impl IdTable {
    /// Where the search for `id` starts. The multiplication spreads consecutive identifiers, and
    /// those a peer has chosen to collide.
    #[inline]
    fn home(&self, id: u32) -> usize {
        let shift = 32 - self.places.len().trailing_zeros();
        (id.wrapping_mul(0x9e37_79b1) >> shift) as usize
    }

    #[inline]
    fn find(&self, id: u32) -> Option<u32> {
        if self.length == 0 {
            return None;
        }
        let mask = self.places.len() - 1;
        let mut at = self.home(id);
        loop {
            match self.places[at] {
                (0, _) => return None,
                (own, index) if own == id => return Some(index),
                _ => at = (at + 1) & mask,
            }
        }
    }

    fn insert(&mut self, id: u32, index: u32) {
        if (self.length + 1) * 2 > self.places.len() {
            let larger = (self.places.len() * 2).max(8);
            let old = std::mem::replace(&mut self.places, vec![(0, 0); larger]);
            for (id, index) in old.into_iter().filter(|place| place.0 != 0) {
                self.place(id, index);
            }
        }
        self.place(id, index);
        self.length += 1;
    }

    fn place(&mut self, id: u32, index: u32) {
        let mask = self.places.len() - 1;
        let mut at = self.home(id);
        while self.places[at].0 != 0 {
            at = (at + 1) & mask;
        }
        self.places[at] = (id, index);
    }

    fn remove(&mut self, id: u32) {
        let mask = self.places.len() - 1;
        let mut at = self.home(id);
        while self.places[at].0 != id {
            if self.places[at].0 == 0 {
                return;
            }
            at = (at + 1) & mask;
        }
        // Move back what had probed past the place that becomes empty.
        let mut hole = at;
        loop {
            at = (at + 1) & mask;
            let (other, _) = self.places[at];
            if other == 0 {
                break;
            }
            let distance_from_home = at.wrapping_sub(self.home(other)) & mask;
            if distance_from_home >= (at.wrapping_sub(hole) & mask) {
                self.places[hole] = self.places[at];
                hole = at;
            }
        }
        self.places[hole] = (0, 0);
        self.length -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in prop::collection::vec((any::<bool>(), 1u32..60), 0..200)) {
            let mut store = Store::default();
            let mut model: HashMap<u32, StreamKey> = HashMap::new();
            for (insert, id) in steps {
                if insert && !model.contains_key(&id) {
                    model.insert(id, store.insert(Stream::new(id, 0)));
                } else if !insert && let Some(key) = model.remove(&id) {
                    prop_assert_eq!(store.remove(key).map(|s| s.id), Some(id));
                    prop_assert!(store.get(key).is_none() && store.remove(key).is_none());
                }
                prop_assert_eq!(store.len(), model.len());
                for probe in 1..60 {
                    prop_assert_eq!(store.find(probe), model.get(&probe).copied());
                }
            }
            prop_assert_eq!(store.iter_from(0).count(), model.len());
        }
    }
}
