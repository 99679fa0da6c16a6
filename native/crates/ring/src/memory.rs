//! Memory that several owners share: the driver, the kernel and JavaScript.
#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

/// A zeroed, page-aligned anonymous mapping, unmapped when its last owner lets go. It hands out a
/// pointer and no reference: whoever reads or writes through it answers for that.
#[derive(Debug)]
pub struct SharedMemory {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: the value is an address and a length that never change; unmapping may happen on any
// thread. Access to the bytes goes through the raw pointer, under the accessor's own rules.
unsafe impl Send for SharedMemory {}
// SAFETY: as above; no method changes the value or touches the bytes.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// Maps `bytes`, rounded up to whole pages and at least one. Pages are backed when touched.
    ///
    /// # Errors
    /// What `mmap` says, usually `ENOMEM`.
    pub fn new(bytes: usize) -> io::Result<Arc<Self>> {
        let page = page_bytes();
        let length = bytes
            .max(1)
            .checked_next_multiple_of(page)
            .ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice; no existing
        // memory is concerned.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(address.cast::<u8>())
            .ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        Ok(Arc::new(Self { base, length }))
    }

    /// The first byte. Valid for `len()` bytes as long as an owner exists.
    pub fn as_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Length in bytes, a multiple of the page size.
    #[allow(clippy::len_without_is_empty)] // a mapping is never empty
    pub fn len(&self) -> usize {
        self.length
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: this is the mapping made in `new`, and the last owner is letting go of it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.length) };
    }
}

fn page_bytes() -> usize {
    // SAFETY: sysconf reads a constant.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_zeroed_aligned_and_whole_pages() {
        let memory = SharedMemory::new(5000).unwrap();
        assert_eq!(memory.len() % page_bytes(), 0);
        assert!(memory.len() >= 5000);
        assert_eq!(memory.as_ptr() as usize % page_bytes(), 0);
        // SAFETY: the mapping is ours alone and `len()` bytes long.
        let bytes = unsafe { std::slice::from_raw_parts(memory.as_ptr(), memory.len()) };
        assert!(bytes.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn an_impossible_size_is_an_error() {
        assert!(SharedMemory::new(usize::MAX).is_err());
    }
}
