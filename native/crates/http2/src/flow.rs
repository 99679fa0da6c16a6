//! Flow-control windows (RFC 9113 section 6.9): arithmetic alone.

/// The largest window, and the largest increment.
pub(crate) const MAXIMUM: i64 = (1 << 31) - 1;

/// What every window starts with until SETTINGS say otherwise.
pub(crate) const DEFAULT: u32 = 65_535;

/// Credit that is announced however large the window is: half of the smallest window that the
/// protocol starts with.
const BATCH: u32 = 32_768;

/// What the peer may send us.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceiveWindow {
    /// Announced and not used. Negative only while a smaller SETTINGS_INITIAL_WINDOW_SIZE of ours
    /// is on its way.
    available: i64,
    /// Credited and not announced.
    pending: u32,
    /// The largest window so far.
    target: u32,
}

impl ReceiveWindow {
    pub(crate) fn new(size: u32) -> Self {
        Self {
            available: i64::from(size),
            pending: 0,
            target: size,
        }
    }

    #[inline]
    pub(crate) fn available(&self) -> i64 {
        self.available
    }

    /// The peer sent `bytes`; false if that is more than the window and `slack` admit.
    #[inline]
    pub(crate) fn take(&mut self, bytes: u32, slack: u32) -> bool {
        let left = self.available - i64::from(bytes);
        if left < -i64::from(slack) {
            return false;
        }
        self.available = left;
        true
    }

    /// Adds credit. Returns the increment to announce once it is worth a frame: a quarter of the
    /// largest window so far, but no more than `BATCH`, so that a window that was large and has been
    /// made small by withheld credit goes on.
    #[inline]
    pub(crate) fn credit(&mut self, bytes: u32) -> Option<u32> {
        self.pending = self.pending.saturating_add(bytes);
        if self.pending >= (self.target / 4).min(BATCH) {
            return self.flush();
        }
        None
    }

    /// Whatever has been credited and not announced.
    #[inline]
    pub(crate) fn flush(&mut self) -> Option<u32> {
        let increment = i64::from(self.pending).min(MAXIMUM - self.available.max(0));
        if increment <= 0 {
            return None;
        }
        self.pending -= increment as u32;
        self.available += increment;
        self.target = self.target.max(self.available.max(0) as u32);
        Some(increment as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_is_announced_by_quarters() {
        let mut window = ReceiveWindow::new(1_000);
        assert!(window.take(500, 0));
        assert_eq!(window.credit(249), None);
        assert_eq!(window.credit(1), Some(250));
        assert_eq!(window.available(), 750);
        assert!(!window.take(751, 0));
        assert!(window.take(751, 1));
    }

    #[test]
    fn a_large_window_is_announced_in_batches() {
        let mut window = ReceiveWindow::new(65_536);
        assert_eq!(window.credit(1 << 20), Some(1 << 20));
        assert!(window.take(1 << 20, 0));
        assert_eq!(window.credit(32_767), None);
        assert_eq!(window.credit(1), Some(32_768));
    }

    #[test]
    fn a_window_never_exceeds_the_maximum() {
        let mut window = ReceiveWindow::new(MAXIMUM as u32);
        assert_eq!(window.credit(u32::MAX), None);
        assert!(window.take(7, 0));
        assert_eq!(window.flush(), Some(7));
        assert_eq!(window.available(), MAXIMUM);
    }
}
