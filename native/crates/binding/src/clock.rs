//! One clock for what threads share.

use std::sync::LazyLock;
use std::time::Instant;

/// Milliseconds on a clock that only goes forward, the same on all threads.
pub(crate) fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_millis() as u64
}
