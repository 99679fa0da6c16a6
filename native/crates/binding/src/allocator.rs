//! What glibc's allocator does with the memory of messages that are gone.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) use glibc::keep_what_comes_back;

/// Other allocators have thresholds of their own, or none.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn keep_what_comes_back() {}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::sync::Once;

    /// Free bytes at the end of a heap from which they are returned to the system: twice what
    /// JavaScript frees at once when it collects the copies of `bytes`.
    const TRIM_BYTES: libc::c_int = 16 << 20;
    /// Larger blocks are mapped one by one: beyond the largest message that is received by default.
    const MAP_BYTES: libc::c_int = 8 << 20;
    /// Whoever sets one of these has chosen.
    const CHOSEN: [&str; 4] = [
        "GLIBC_TUNABLES",
        "MALLOC_TRIM_THRESHOLD_",
        "MALLOC_MMAP_THRESHOLD_",
        "MALLOC_TOP_PAD_",
    ];

    /// Raises the thresholds of mallopt(3) for this process. By default glibc returns free memory from
    /// 128 KiB on, and what V8 allocates for `bytes` is freed in blocks of megabytes: the pages of
    /// every message were faulted in again.
    pub(crate) fn keep_what_comes_back() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            if CHOSEN.iter().any(|name| std::env::var_os(name).is_some()) {
                return;
            }
            // SAFETY: mallopt(3) takes two numbers, and may be called at any time from any thread.
            unsafe {
                libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_BYTES);
                libc::mallopt(libc::M_MMAP_THRESHOLD, MAP_BYTES);
            }
        });
    }
}
