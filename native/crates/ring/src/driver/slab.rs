//! Numbered places for sockets and listeners. A place's generation changes whenever it is vacated,
//! so that an event of a former tenant is recognised.

use std::ops::{Index, IndexMut};

#[derive(Debug)]
pub(super) struct Slab<T> {
    places: Vec<Place<T>>,
    vacant: Vec<u32>,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    tenant: Option<T>,
}

/// Generations count modulo this, which leaves room for a kind in a 64-bit token.
const GENERATIONS: u32 = 1 << 24;

/// A place as one tenant knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl Key {
    /// The key in the low 56 bits.
    pub(super) fn to_bits(self) -> u64 {
        u64::from(self.index) | u64::from(self.generation) << 32
    }

    /// Reads the low 56 bits.
    pub(super) fn from_bits(bits: u64) -> Self {
        Self {
            index: bits as u32,
            generation: (bits >> 32) as u32 & (GENERATIONS - 1),
        }
    }
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self {
            places: Vec::new(),
            vacant: Vec::new(),
        }
    }

    pub(super) fn insert(&mut self, tenant: T) -> Key {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.places.push(Place {
                generation: 0,
                tenant: None,
            });
            self.places.len() as u32 - 1
        });
        let place = &mut self.places[index as usize];
        place.tenant = Some(tenant);
        Key {
            index,
            generation: place.generation,
        }
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        let place = self.places.get_mut(index as usize)?;
        let tenant = place.tenant.take()?;
        place.generation = (place.generation + 1) % GENERATIONS;
        self.vacant.push(index);
        Some(tenant)
    }

    /// The key of the present tenant of a place.
    pub(super) fn key(&self, index: u32) -> Option<Key> {
        let place = self.places.get(index as usize)?;
        place.tenant.as_ref()?;
        Some(Key {
            index,
            generation: place.generation,
        })
    }

    /// Whether the tenant that `key` names is still there.
    pub(super) fn holds(&self, key: Key) -> bool {
        self.key(key.index) == Some(key)
    }

    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.places.get(index as usize)?.tenant.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.places.get_mut(index as usize)?.tenant.as_mut()
    }

    pub(super) fn any(&self, test: impl FnMut(&T) -> bool) -> bool {
        let mut tenants = self.places.iter().filter_map(|place| place.tenant.as_ref());
        tenants.any(test)
    }

    /// The numbers of all tenants.
    pub(super) fn indices(&self) -> Vec<u32> {
        let places = 0..self.places.len() as u32;
        places.filter(|index| self.get(*index).is_some()).collect()
    }
}

/// Indexing is for numbers that the driver itself keeps; an unknown one is a bug and panics.
impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        self.get(index).expect("a place with a tenant")
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        self.get_mut(index).expect("a place with a tenant")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_former_tenant_is_recognised() {
        let mut slab = Slab::new();
        let first = slab.insert('a');
        assert_eq!(Key::from_bits(first.to_bits()), first);
        assert_eq!(slab.remove(first.index), Some('a'));
        assert_eq!(slab.remove(first.index), None);
        let second = slab.insert('b');
        assert_eq!(second.index, first.index);
        assert!(!slab.holds(first) && slab.holds(second));
        assert_eq!(Key::from_bits(second.to_bits() | 7 << 56), second);
        assert_eq!(slab.indices(), [0]);
    }
}
