//! Overflow memory: where unread inbound bytes live once they have left the receive ring.
//!
//! Blocks of two size classes per power of two are carved from segments of 1 MiB; a message beyond
//! 256 KiB has a segment of its own. Each segment is a region that JavaScript can see, announced
//! once and kept until the engine closes; the pages of an empty one go back to the system.

use std::{collections::VecDeque, io, sync::Arc};

use millrace_ring::SharedMemory;

use crate::shared;

const SEGMENT_BYTES: usize = 1024 * 1024;
const SMALLEST: usize = 64;
const LARGEST: usize = 256 * 1024;
const CLASSES: usize = 25;
const WARM_BYTES: usize = 8 * 1024 * 1024;

/// A span of one overflow segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    segment: u32,
    pub(crate) offset: u32,
    pub(crate) capacity: u32,
}

impl Block {
    /// The region number by which JavaScript knows the block's segment.
    pub(crate) fn region(self) -> u32 {
        self.segment + 1
    }
}

struct Segment {
    memory: Arc<SharedMemory>,
    /// Bytes of its blocks; the whole segment's where it holds one message.
    block_bytes: usize,
    free: Vec<u32>,
    carved: usize,
    live: usize,
    warm: bool,
}

impl Segment {
    fn has_room(&self) -> bool {
        !self.free.is_empty() || self.carved + self.block_bytes <= self.memory.len()
    }
}

/// The allocator. It keeps no budget; its owner asks that first.
pub(crate) struct Overflow {
    segments: Vec<Segment>,
    partial: [Vec<u32>; CLASSES],
    /// Empty segments: those that still have their pages are at the back, and are used first.
    empty: VecDeque<u32>,
    empty_large: VecDeque<u32>,
    warm_bytes: usize,
    used_bytes: u64,
    announced: usize,
}

fn class_of(length: usize) -> usize {
    let length = length.max(SMALLEST);
    let octave = (usize::BITS - (length - 1).leading_zeros()) as usize; // length <= 1 << octave
    let class = (octave - 6) * 2;
    if class > 0 && length <= (1 << octave) / 4 * 3 {
        class - 1
    } else {
        class
    }
}

fn class_bytes(class: usize) -> usize {
    if class.is_multiple_of(2) {
        SMALLEST << (class / 2)
    } else {
        (SMALLEST << class.div_ceil(2)) / 4 * 3
    }
}

impl Overflow {
    pub(crate) fn new() -> Self {
        Self {
            segments: Vec::new(),
            partial: std::array::from_fn(|_| Vec::new()),
            empty: VecDeque::new(),
            empty_large: VecDeque::new(),
            warm_bytes: 0,
            used_bytes: 0,
            announced: 0,
        }
    }

    /// Bytes that a block for `length` bytes takes from the budget.
    pub(crate) fn cost(length: usize) -> usize {
        if length <= LARGEST {
            class_bytes(class_of(length))
        } else {
            length.next_multiple_of(64 * 1024)
        }
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// Segments that JavaScript has not been told of, with their region numbers.
    pub(crate) fn take_announcements(&mut self) -> Vec<(u32, Arc<SharedMemory>)> {
        let fresh = (self.announced..self.segments.len())
            .map(|index| (index as u32 + 1, Arc::clone(&self.segments[index].memory)))
            .collect();
        self.announced = self.segments.len();
        fresh
    }

    pub(crate) fn has_announcements(&self) -> bool {
        self.announced < self.segments.len()
    }

    /// Takes a block of at least `length` bytes.
    ///
    /// # Errors
    /// The system's refusal to map another segment.
    pub(crate) fn take(&mut self, length: usize) -> io::Result<Block> {
        let (segment, offset) = if length <= LARGEST {
            self.take_small(class_of(length))?
        } else {
            (self.take_large(length)?, 0)
        };
        let bytes = self.segments[segment as usize].block_bytes;
        self.used_bytes += bytes as u64;
        Ok(Block {
            segment,
            offset: offset as u32,
            capacity: bytes as u32,
        })
    }

    fn take_small(&mut self, class: usize) -> io::Result<(u32, usize)> {
        let index = match self.partial[class].last() {
            Some(&index) => index,
            None => {
                let index = self.take_empty()?;
                let segment = &mut self.segments[index as usize];
                segment.block_bytes = class_bytes(class);
                segment.free.clear();
                segment.carved = 0;
                self.partial[class].push(index);
                index
            }
        };
        let segment = &mut self.segments[index as usize];
        let offset = segment.free.pop().map_or_else(
            || {
                let offset = segment.carved;
                segment.carved += segment.block_bytes;
                offset
            },
            |offset| offset as usize,
        );
        segment.live += 1;
        if !segment.has_room() {
            self.partial[class].pop();
        }
        Ok((index, offset))
    }

    fn take_empty(&mut self) -> io::Result<u32> {
        let Some(index) = self.empty.pop_back() else {
            return self.map(SEGMENT_BYTES);
        };
        self.leave_warm(index);
        Ok(index)
    }

    /// Whether a block for `length` bytes, at most 256 KiB, lies in a segment that JavaScript has
    /// been told of.
    pub(crate) fn is_known(&self, length: usize) -> bool {
        let known = |&index: &u32| (index as usize) < self.announced;
        match self.partial[class_of(length)].last() {
            Some(index) => known(index),
            None => self.empty.back().is_some_and(known),
        }
    }

    /// Has an empty segment at hand.
    ///
    /// # Errors
    /// The system's refusal to map one.
    pub(crate) fn reserve_spare(&mut self) -> io::Result<()> {
        if self.empty.is_empty() {
            let index = self.map(SEGMENT_BYTES)?;
            self.empty.push_back(index);
        }
        Ok(())
    }

    fn take_large(&mut self, length: usize) -> io::Result<u32> {
        let bytes = Self::cost(length);
        let reusable = self.empty_large.iter().rposition(|&index| {
            let capacity = self.segments[index as usize].memory.len();
            capacity >= bytes && capacity <= bytes * 2
        });
        let index = match reusable {
            _ if bytes == SEGMENT_BYTES && !self.empty.is_empty() => self.take_empty()?,
            Some(position) => {
                let index = self.empty_large.remove(position).expect("found above");
                self.leave_warm(index);
                index
            }
            None => self.map(bytes)?,
        };
        let segment = &mut self.segments[index as usize];
        segment.block_bytes = segment.memory.len();
        segment.live = 1;
        Ok(index)
    }

    fn map(&mut self, bytes: usize) -> io::Result<u32> {
        let memory = SharedMemory::new(bytes)?;
        self.segments.push(Segment {
            memory,
            block_bytes: bytes,
            free: Vec::new(),
            carved: 0,
            live: 0,
            warm: false,
        });
        Ok(self.segments.len() as u32 - 1)
    }

    fn leave_warm(&mut self, index: u32) {
        let segment = &mut self.segments[index as usize];
        if segment.warm {
            segment.warm = false;
            self.warm_bytes -= segment.memory.len();
        }
    }

    /// Gives a block back.
    pub(crate) fn give_back(&mut self, block: Block) {
        let segment = &mut self.segments[block.segment as usize];
        debug_assert!(segment.live > 0);
        self.used_bytes -= segment.block_bytes as u64;
        let had_room = segment.has_room();
        segment.live -= 1;
        if segment.block_bytes > LARGEST {
            self.retire(block.segment);
            return;
        }
        let class = class_of(segment.block_bytes);
        segment.free.push(block.offset);
        if segment.live == 0 {
            if had_room {
                self.partial[class].retain(|&index| index != block.segment);
            }
            self.retire(block.segment);
        } else if !had_room {
            self.partial[class].push(block.segment);
        }
    }

    fn retire(&mut self, index: u32) {
        let segment = &mut self.segments[index as usize];
        let bytes = segment.memory.len();
        let empty = if bytes == SEGMENT_BYTES {
            &mut self.empty
        } else {
            &mut self.empty_large
        };
        if self.warm_bytes + bytes <= WARM_BYTES {
            segment.warm = true;
            self.warm_bytes += bytes;
            empty.push_back(index);
        } else {
            shared::discard(&segment.memory);
            empty.push_front(index);
        }
    }

    pub(crate) fn bytes(&self, block: Block, length: usize) -> &[u8] {
        debug_assert!(length <= block.capacity as usize);
        shared::bytes(
            &self.segments[block.segment as usize].memory,
            block.offset as usize,
            length,
        )
    }

    /// Copies bytes into a block, behind its first `at` bytes.
    pub(crate) fn fill(&mut self, block: Block, at: usize, source: &[u8]) {
        debug_assert!(at + source.len() <= block.capacity as usize);
        shared::copy_in(
            &self.segments[block.segment as usize].memory,
            block.offset as usize + at,
            source,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn classes_cover_every_length_tightly() {
        for length in 1..=LARGEST {
            let class = class_of(length);
            assert!(class_bytes(class) >= length);
            assert!(
                class == 0 || class_bytes(class - 1) < length,
                "length {length}"
            );
        }
        assert_eq!(class_of(LARGEST), CLASSES - 1);
    }

    #[test]
    fn what_still_has_its_pages_is_used_first() {
        for length in [LARGEST, 2 * SEGMENT_BYTES] {
            let mut overflow = Overflow::new();
            let many = 3 * WARM_BYTES / length;
            let blocks: Vec<Block> = (0..many).map(|_| overflow.take(length).unwrap()).collect();
            for block in blocks {
                overflow.give_back(block);
            }
            for _ in 0..2 {
                let block = overflow.take(length).unwrap();
                overflow.fill(block, 0, b"page");
                overflow.give_back(block);
            }
            // What is given back to the system reads as zeros.
            let block = overflow.take(length).unwrap();
            assert_eq!(overflow.bytes(block, 4), b"page");
        }
    }

    proptest! {
        #[test]
        fn blocks_never_overlap(steps in proptest::collection::vec((1usize..400_000, any::<u16>()), 1..200)) {
            let mut overflow = Overflow::new();
            let mut live: Vec<(Block, u8, usize)> = Vec::new();
            for (number, (length, choice)) in steps.into_iter().enumerate() {
                if choice % 3 == 0 && !live.is_empty() {
                    let (block, mark, length) = live.swap_remove(choice as usize % live.len());
                    prop_assert!(overflow.bytes(block, length).iter().all(|&byte| byte == mark));
                    overflow.give_back(block);
                } else {
                    let block = overflow.take(length).unwrap();
                    overflow.fill(block, 0, &vec![number as u8; length]);
                    live.push((block, number as u8, length));
                }
            }
            for (block, mark, length) in live {
                prop_assert!(overflow.bytes(block, length).iter().all(|&byte| byte == mark));
                overflow.give_back(block);
            }
            prop_assert_eq!(overflow.used_bytes(), 0);
        }
    }
}
