//! Bounds-checked access to the tables and bytes that JavaScript sees too.
//!
//! JavaScript and the engine run on one thread and never at the same time, so plain reads and
//! writes through raw pointers are enough; no Rust reference to this memory outlives a call. What
//! other threads may say, they say by [`show_word`].

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use millrace_ring::SharedMemory;

/// A table of `u32` words.
pub(crate) struct Words {
    memory: Arc<SharedMemory>,
    words: *mut u32,
    length: usize,
}

impl Words {
    pub(crate) fn new(length: usize) -> std::io::Result<Self> {
        let memory = SharedMemory::new(length * 4)?;
        let words = memory.as_ptr().cast::<u32>();
        Ok(Self {
            memory,
            words,
            length,
        })
    }

    pub(crate) fn memory(&self) -> Arc<SharedMemory> {
        Arc::clone(&self.memory)
    }

    #[inline]
    pub(crate) fn get(&self, index: usize) -> u32 {
        assert!(index < self.length);
        // SAFETY: the index is inside the mapping, which is page aligned and lives as long as self.
        unsafe { self.words.add(index).read() }
    }

    #[inline]
    pub(crate) fn set(&self, index: usize, value: u32) {
        assert!(index < self.length);
        // SAFETY: as in `get`; nobody else accesses the mapping while native code runs.
        unsafe { self.words.add(index).write(value) }
    }

    /// Reads the four words of a table entry.
    #[inline]
    pub(crate) fn get4(&self, entry: usize) -> [u32; 4] {
        let index = entry * 4;
        assert!(index + 4 <= self.length);
        // SAFETY: all four words are inside the mapping; `u32` arrays have the alignment of `u32`.
        unsafe { self.words.add(index).cast::<[u32; 4]>().read() }
    }

    /// Writes the four words of a table entry.
    #[inline]
    pub(crate) fn set4(&self, entry: usize, value: [u32; 4]) {
        let index = entry * 4;
        assert!(index + 4 <= self.length);
        // SAFETY: as in `get4`.
        unsafe { self.words.add(index).cast::<[u32; 4]>().write(value) }
    }
}

/// A span of shared bytes that is only looked at while nobody writes to it.
#[inline]
pub(crate) fn bytes(memory: &SharedMemory, offset: usize, length: usize) -> &[u8] {
    assert!(offset <= memory.len() && length <= memory.len() - offset);
    // SAFETY: the span is inside the mapping. It is a receive buffer that the kernel has given up,
    // an overflow block or the arena between two entries into JavaScript: nobody writes to it
    // while the slice lives, which the borrow of `memory` confines to the engine's own call.
    unsafe { std::slice::from_raw_parts(memory.as_ptr().add(offset), length) }
}

/// Copies bytes into shared memory.
#[inline]
pub(crate) fn copy_in(memory: &SharedMemory, offset: usize, source: &[u8]) {
    assert!(offset <= memory.len() && source.len() <= memory.len() - offset);
    // SAFETY: the target span is inside the mapping and belongs to one block of ours; `source`
    // may lie in another region but never in the same span.
    unsafe {
        std::ptr::copy_nonoverlapping(source.as_ptr(), memory.as_ptr().add(offset), source.len())
    }
}

/// Writes a word that JavaScript reads on another thread, whenever it likes.
pub(crate) fn show_word(memory: &SharedMemory, index: usize, value: u32) {
    assert!(index < memory.len() / 4);
    // SAFETY: the word is inside the mapping, which is page aligned, and native code never accesses it
    // but by this function.
    let word = unsafe { AtomicU32::from_ptr(memory.as_ptr().cast::<u32>().add(index)) };
    word.store(value, Ordering::Release);
}

/// Gives the pages of a mapping back to the system; it reads as zeros afterwards.
pub(crate) fn discard(memory: &SharedMemory) {
    // SAFETY: the mapping is ours, anonymous and holds no live block.
    unsafe { libc::madvise(memory.as_ptr().cast(), memory.len(), libc::MADV_DONTNEED) };
}
