//! A group of equal receive buffers in one shared mapping.
#![allow(unsafe_code)]

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use super::ledger::{Ledger, NotFree, State};
use super::level::Level;
use crate::SharedMemory;

/// The receive buffers of one driver: `count()` buffers of `buffer_bytes()` each, side by side.
/// Buffer `n` starts at `base() + n * buffer_bytes()`.
#[derive(Debug)]
pub struct BufferGroup {
    memory: Arc<SharedMemory>,
    buffer_bytes: u32,
    ledger: Ledger,
}

impl BufferGroup {
    /// Maps the memory; every buffer is returning and becomes free at the first publish.
    pub(crate) fn new(count: u16, buffer_bytes: u32) -> io::Result<Self> {
        let memory = SharedMemory::new(usize::from(count) * buffer_bytes as usize)?;
        Ok(Self {
            memory,
            buffer_bytes,
            ledger: Ledger::new(count),
        })
    }

    /// The mapping, to share it with JavaScript. Its length may exceed the buffers' by less than a
    /// page.
    pub fn memory(&self) -> &Arc<SharedMemory> {
        &self.memory
    }

    /// Address of buffer 0.
    pub fn base(&self) -> *mut u8 {
        self.memory.as_ptr()
    }

    /// Bytes of one buffer.
    pub fn buffer_bytes(&self) -> u32 {
        self.buffer_bytes
    }

    /// Number of buffers.
    pub fn count(&self) -> u32 {
        self.ledger.count()
    }

    /// Buffers that the kernel may fill now.
    pub fn free(&self) -> u32 {
        self.ledger.free()
    }

    /// Buffers with bytes of ours in them.
    pub fn held(&self) -> u32 {
        self.ledger.held()
    }

    /// The fewest free buffers since the start or the last [`BufferGroup::reset_lowest_free`].
    pub fn lowest_free(&self) -> u32 {
        self.ledger.lowest_free()
    }

    /// Starts a new period of [`BufferGroup::lowest_free`].
    pub fn reset_lowest_free(&self) {
        self.ledger.reset_lowest_free();
    }

    /// The pressure now. Released buffers count as available, since the next `submit` frees them.
    pub fn level(&self) -> Level {
        Level::of(self.count() - self.held(), self.count())
    }

    /// Whether the buffer is held.
    pub fn is_held(&self, buffer: u16) -> bool {
        self.ledger.state(buffer) == Some(State::Held)
    }

    /// Bytes `range` of a held buffer. Panics if the buffer is not held or the range leaves it.
    pub fn bytes(&self, buffer: u16, range: Range<u32>) -> &[u8] {
        assert!(self.is_held(buffer), "buffer {buffer} is not held");
        assert!(range.start <= range.end && range.end <= self.buffer_bytes);
        // SAFETY: the range lies in buffer `buffer` of the mapping, which `self` keeps alive. While
        // the buffer is held the kernel does not write to it, and it stays held during the borrow,
        // since releasing takes `&mut self`.
        unsafe {
            std::slice::from_raw_parts(
                self.address(buffer).add(range.start as usize),
                (range.end - range.start) as usize,
            )
        }
    }

    /// Address of the buffer's first byte.
    pub(crate) fn address(&self, buffer: u16) -> *mut u8 {
        debug_assert!(u32::from(buffer) < self.count());
        // SAFETY: a buffer's number is below the count, so the offset stays inside the mapping.
        unsafe {
            self.base()
                .add(usize::from(buffer) * self.buffer_bytes as usize)
        }
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn take(&mut self, buffer: u16) -> Result<(), NotFree> {
        self.ledger.take(buffer)
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn take_filled(
        &mut self,
        first: u16,
        length: u32,
        filled: impl FnMut(u16, u32),
    ) -> Result<(), NotFree> {
        self.ledger
            .take_filled(first, length, self.buffer_bytes, filled)
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn returning(&self) -> u32 {
        self.ledger.returning()
    }

    /// Gives a held buffer back. Builds that poison fill it, so that a late reader is noticed, and a
    /// late writer at the next [`BufferGroup::publish`].
    pub(crate) fn release(&mut self, buffer: u16) {
        self.ledger.release(buffer);
        if POISONS {
            // SAFETY: the buffer is inside the mapping and returning: neither the kernel nor a
            // reader of ours may touch it.
            unsafe {
                self.address(buffer)
                    .write_bytes(POISON, self.buffer_bytes as usize);
            }
        }
    }

    /// Publishes what is returning; `write` learns each buffer's number and address.
    ///
    /// Panics in builds that poison if somebody has written to a buffer since its release: JavaScript
    /// through the shared memory, or a kernel that still fills what it has given away.
    pub(crate) fn publish(&mut self, mut write: impl FnMut(u16, *mut u8)) -> u32 {
        // At first all are returning, and none was released.
        if POISONS && self.ledger.has_published() {
            for &buffer in self.ledger.to_publish() {
                // SAFETY: the buffer is inside the mapping. Should somebody write to it after all,
                // which is what this looks for, only the answer is uncertain.
                let bytes = unsafe {
                    std::slice::from_raw_parts(self.address(buffer), self.buffer_bytes as usize)
                };
                // Compared with itself moved by one, which is fast without optimisation, too.
                if bytes[0] != POISON || bytes[1..] != bytes[..bytes.len() - 1] {
                    let intact = bytes.iter().take_while(|byte| **byte == POISON).count();
                    panic!("buffer {buffer} was written to at {intact} after its release");
                }
            }
        }
        let base = self.memory.as_ptr();
        let buffer_bytes = self.buffer_bytes as usize;
        self.ledger.publish(|buffer| {
            write(
                buffer,
                base.wrapping_add(usize::from(buffer) * buffer_bytes),
            );
        })
    }

    /// Reads from a non-blocking socket into the next free buffers, at most `most` and at most
    /// [`VECTOR`], with one system call. The filled buffers are held afterwards, and `filled`
    /// learns each with its length. Returns the bytes read (0: end of stream) and the room offered.
    pub(crate) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        most: usize,
        mut filled: impl FnMut(u16, u32),
    ) -> io::Result<(usize, usize)> {
        let mut numbers = [0u16; VECTOR];
        let mut slices = [libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        }; VECTOR];
        let mut count = 0;
        let mut next = self.ledger.first();
        let limit = most.min(VECTOR).min(self.free() as usize);
        while let Some(buffer) = next.filter(|_| count < limit) {
            numbers[count] = buffer;
            slices[count].iov_base = self.address(buffer).cast();
            slices[count].iov_len = self.buffer_bytes as usize;
            count += 1;
            next = Some(self.ledger.successor(buffer));
        }
        let room = count * self.buffer_bytes as usize;
        // SAFETY: each slice is a whole buffer of the mapping that is free. This driver, not the
        // kernel, fills this group, so nobody else reads or writes those buffers.
        let received = unsafe { libc::readv(socket.as_raw_fd(), slices.as_ptr(), count as i32) };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        let mut left = received;
        for buffer in numbers.into_iter().take(count) {
            if left == 0 {
                break;
            }
            let length = left.min(self.buffer_bytes as usize);
            let taken = self.ledger.take(buffer);
            debug_assert!(taken.is_ok(), "only free buffers were offered");
            filled(buffer, length as u32);
            left -= length;
        }
        Ok((received, room))
    }
}

/// Buffers of one vectored receive.
pub(crate) const VECTOR: usize = 4;

/// Whether released buffers are poisoned: in debug builds, and in those that fail on purpose.
const POISONS: bool = cfg!(any(debug_assertions, feature = "__fault"));
/// What they are filled with.
const POISON: u8 = 0xdb;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_receive_spans_buffers_in_order_and_wraps() {
        let mut group = BufferGroup::new(4, 8).unwrap();
        group.publish(|_, _| {});
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(b"0123456789abcdefghi").unwrap();
        let mut filled = Vec::new();
        let done = group.receive(far.as_fd(), 9, |buffer, length| {
            filled.push((buffer, length))
        });
        assert_eq!(done.unwrap(), (19, 32));
        assert_eq!(filled, [(0, 8), (1, 8), (2, 3)]);
        assert_eq!(group.bytes(1, 0..8), b"89abcdef");
        assert_eq!(group.bytes(2, 1..3), b"hi");
        group.release(1);
        group.release(0);
        assert_eq!((group.free(), group.held()), (1, 1));
        group.publish(|_, _| {});
        near.write_all(b"ABCDEFGHIJKLMNOPQ").unwrap();
        filled.clear();
        group
            .receive(far.as_fd(), 4, |buffer, length| {
                filled.push((buffer, length))
            })
            .unwrap();
        assert_eq!(filled, [(3, 8), (1, 8), (0, 1)]);
        assert_eq!(group.lowest_free(), 0);
        drop(near);
        group.release(0);
        group.publish(|_, _| {});
        let end = group.receive(far.as_fd(), 4, |_, _| {
            panic!("nothing is filled at the end")
        });
        assert_eq!(end.unwrap().0, 0);
    }

    #[test]
    #[should_panic(expected = "not held")]
    fn a_released_buffer_cannot_be_read() {
        let mut group = BufferGroup::new(2, 8).unwrap();
        group.publish(|_, _| {});
        group.take(0).unwrap();
        group.release(0);
        group.bytes(0, 0..1);
    }
    #[test]
    #[should_panic(expected = "buffer 1 was written to at 5 after its release")]
    fn who_writes_to_a_released_buffer_is_noticed() {
        let mut group = BufferGroup::new(2, 8).unwrap();
        group.publish(|_, _| {});
        group.take(0).unwrap();
        group.take(1).unwrap();
        // SAFETY: the byte lies in the mapping, and nobody else uses it.
        unsafe { group.address(1).add(5).write(0) };
        group.release(0);
        group.release(1);
        // SAFETY: as above.
        unsafe { group.address(1).add(5).write(0) };
        group.publish(|_, _| {});
    }
}
