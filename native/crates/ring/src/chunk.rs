//! What is sent: slabs from a pool, or whole heap blocks by reference.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

/// Bytes of slabs kept for reuse at most; more are given back to the allocator.
const KEPT_BYTES: usize = 8 << 20;
/// What a slab takes beside its bytes, in the list and in the allocator.
const SLAB_OVERHEAD: usize = 48;

/// Bytes on their way out. A slab of a [`ChunkPool`] that is filled with [`Chunk::write`], a block of
/// its own made by [`Chunk::from_vec`], or a part of memory that others send, too, made by
/// [`Chunk::from_shared`] or [`Chunk::part_of`]. Its address never changes while it lives.
/// Dropping a slab gives it back to its pool. Not `Send`.
pub struct Chunk(Memory);

/// Where the bytes are. Chunks move from queue to queue, so this is small.
enum Memory {
    /// Never grown beyond its capacity, so that the address stays.
    Slab(Vec<u8>, Rc<Pool>),
    Owned(Vec<u8>),
    /// A part of what others hold.
    Shared(Arc<[u8]>, Range<usize>),
    /// A part of a chunk that others are parts of, too.
    Part(Rc<Chunk>, Range<usize>),
}

impl Chunk {
    /// A chunk that owns `bytes`, without a copy. It has no spare room.
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        Self(Memory::Owned(bytes))
    }

    /// A part of bytes that others hold, without a copy. It has no spare room and is never changed.
    /// Panics if there is no such part.
    pub fn from_shared(bytes: Arc<[u8]>, part: Range<usize>) -> Self {
        assert!(part.start <= part.end && part.end <= bytes.len());
        Self(Memory::Shared(bytes, part))
    }

    /// A part of another chunk's bytes, without a copy: that one is given back when the last part of it
    /// is gone. It has no spare room and is never changed. Panics if there is no such part.
    pub fn part_of(chunk: Rc<Chunk>, part: Range<usize>) -> Self {
        assert!(part.start <= part.end && part.end <= chunk.len());
        Self(Memory::Part(chunk, part))
    }

    /// Filled bytes.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// Bytes that [`Chunk::write`] still takes.
    pub fn spare(&self) -> usize {
        match &self.0 {
            Memory::Slab(bytes, pool) => pool.slab_bytes - bytes.len(),
            Memory::Owned(_) | Memory::Shared(..) | Memory::Part(..) => 0,
        }
    }

    /// Appends. Panics if `bytes` is longer than [`Chunk::spare`].
    pub fn write(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.spare(), "a chunk never grows");
        if let Memory::Slab(slab, _) = &mut self.0 {
            slab.extend_from_slice(bytes);
        }
    }

    /// Takes the last bytes back, so that `length` are left. Does nothing if there are fewer.
    pub fn truncate(&mut self, length: usize) {
        match &mut self.0 {
            Memory::Slab(bytes, _) | Memory::Owned(bytes) => bytes.truncate(length),
            Memory::Shared(_, part) | Memory::Part(_, part) => {
                part.end = part.end.min(part.start + length);
            }
        }
    }

    /// The filled bytes.
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Memory::Slab(bytes, _) | Memory::Owned(bytes) => bytes,
            Memory::Shared(bytes, part) => &bytes[part.clone()],
            Memory::Part(chunk, part) => &chunk.as_slice()[part.clone()],
        }
    }

    /// The filled bytes, to patch what was written; none of those that are shared.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Memory::Slab(bytes, _) | Memory::Owned(bytes) => bytes,
            Memory::Shared(..) | Memory::Part(..) => &mut [],
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if let Memory::Slab(bytes, pool) = &mut self.0 {
            pool.give_back(std::mem::take(bytes));
        }
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Chunk({} bytes, {} spare)",
            self.len(),
            self.spare()
        )
    }
}

/// A pool of equal slabs for one thread. Cloning shares it.
#[derive(Clone)]
pub struct ChunkPool {
    pool: Rc<Pool>,
}

impl ChunkPool {
    /// A pool of slabs of `slab_bytes` each; none is allocated before it is taken.
    pub fn new(slab_bytes: usize) -> Self {
        let pool = Pool {
            slab_bytes,
            free: RefCell::new(Vec::new()),
            taken: Cell::new(0),
        };
        Self {
            pool: Rc::new(pool),
        }
    }

    /// An empty slab, reused where there is one.
    pub fn take(&self) -> Chunk {
        let slab = self.pool.free.borrow_mut().pop();
        let bytes = slab.unwrap_or_else(|| Vec::with_capacity(self.pool.slab_bytes));
        self.pool.taken.set(self.pool.taken.get() + 1);
        Chunk(Memory::Slab(bytes, Rc::clone(&self.pool)))
    }

    /// Bytes of a slab.
    pub fn slab_bytes(&self) -> usize {
        self.pool.slab_bytes
    }

    /// Slabs that are out now.
    pub fn taken(&self) -> usize {
        self.pool.taken.get()
    }
}

struct Pool {
    slab_bytes: usize,
    free: RefCell<Vec<Vec<u8>>>,
    taken: Cell<usize>,
}

impl Pool {
    fn give_back(&self, mut slab: Vec<u8>) {
        self.taken.set(self.taken.get() - 1);
        let mut free = self.free.borrow_mut();
        if free.len() * (self.slab_bytes + SLAB_OVERHEAD) < KEPT_BYTES {
            slab.clear();
            free.push(slab);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slab_is_reused_at_the_same_address() {
        let pool = ChunkPool::new(64);
        let mut chunk = pool.take();
        chunk.write(b"hello");
        assert_eq!((chunk.len(), chunk.spare(), pool.taken()), (5, 59, 1));
        let address = chunk.as_slice().as_ptr();
        drop(chunk);
        assert_eq!(pool.taken(), 0);
        let again = pool.take();
        assert!(again.is_empty());
        assert_eq!(again.as_slice().as_ptr(), address);
    }

    #[test]
    fn writing_to_the_last_byte_does_not_move_a_slab() {
        let pool = ChunkPool::new(16);
        let mut chunk = pool.take();
        chunk.write(&[1; 8]);
        let address = chunk.as_slice().as_ptr();
        chunk.write(&[2; 8]);
        assert_eq!(chunk.as_slice().as_ptr(), address);
        assert_eq!(chunk.spare(), 0);
    }

    #[test]
    #[should_panic(expected = "never grows")]
    fn writing_beyond_the_spare_room_panics() {
        ChunkPool::new(4).take().write(&[0; 5]);
    }

    #[test]
    fn a_shared_part_is_read_where_it_lies() {
        let bytes: Arc<[u8]> = b"abcdef".as_slice().into();
        let mut chunk = Chunk::from_shared(Arc::clone(&bytes), 1..5);
        assert_eq!((chunk.len(), chunk.spare()), (4, 0));
        assert_eq!(chunk.as_slice().as_ptr(), bytes[1..].as_ptr());
        chunk.truncate(2);
        assert_eq!(chunk.as_slice(), b"bc");
        assert!(chunk.as_mut_slice().is_empty());
        drop(chunk);
        assert_eq!(Arc::strong_count(&bytes), 1);
    }

    #[test]
    fn a_slab_is_given_back_when_its_last_part_is_gone() {
        let pool = ChunkPool::new(64);
        let mut slab = pool.take();
        slab.write(b"abcdef");
        let slab = Rc::new(slab);
        let first = Chunk::part_of(Rc::clone(&slab), 0..3);
        let second = Chunk::part_of(slab, 2..6);
        assert_eq!((first.as_slice(), first.spare()), (&b"abc"[..], 0));
        drop(first);
        assert_eq!((second.as_slice(), pool.taken()), (&b"cdef"[..], 1));
        drop(second);
        assert_eq!(pool.taken(), 0);
    }

    #[test]
    fn a_block_of_its_own_has_no_spare_room() {
        let mut bytes = Vec::with_capacity(100);
        bytes.extend_from_slice(b"abc");
        let mut chunk = Chunk::from_vec(bytes);
        assert_eq!(chunk.spare(), 0);
        chunk.as_mut_slice()[0] = b'x';
        assert_eq!(chunk.as_slice(), b"xbc");
    }
}
