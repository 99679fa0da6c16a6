//! Abuse budgets: how often a thing may happen.

use crate::Millis;

/// Tokens that come back with time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    /// Thousandths of a token.
    thousandths: u64,
    refilled: Millis,
}

impl Bucket {
    /// A bucket with so many tokens.
    pub(crate) fn new(tokens: u32, now: Millis) -> Self {
        Self {
            thousandths: u64::from(tokens) * 1_000,
            refilled: now,
        }
    }

    /// Takes a token; false if there is none.
    pub(crate) fn take(&mut self, burst: u32, per_second: u32, now: Millis) -> bool {
        let elapsed = now.saturating_sub(self.refilled);
        self.refilled = now;
        // A token per second is a thousandth per millisecond.
        let refill = elapsed.saturating_mul(u64::from(per_second));
        self.thousandths = self
            .thousandths
            .saturating_add(refill)
            .min(u64::from(burst) * 1_000);
        match self.thousandths.checked_sub(1_000) {
            Some(rest) => {
                self.thousandths = rest;
                true
            }
            None => false,
        }
    }

    /// Gives a token back, up to the burst.
    pub(crate) fn give(&mut self, burst: u32) {
        self.thousandths = (self.thousandths + 1_000).min(u64::from(burst) * 1_000);
    }
}

/// Happenings in the current second, counted from the first of them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Second {
    started: Millis,
    count: u64,
}

impl Second {
    /// Counts one more; `count` starts anew when a second has passed. Returns the count, and
    /// whether it is the first of its second.
    pub(crate) fn add(&mut self, now: Millis) -> (u64, bool) {
        let fresh = self.count == 0 || now.saturating_sub(self.started) >= 1_000;
        if fresh {
            self.started = now;
            self.count = 0;
        }
        self.count += 1;
        (self.count, fresh)
    }
}

/// How much a total has grown since the second before the current one began: what a peer sends
/// answers what happened a little earlier.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Recent {
    before: u64,
    at_start: u64,
}

impl Recent {
    /// A new second begins.
    pub(crate) fn turn(&mut self, total: u64) {
        self.before = self.at_start;
        self.at_start = total;
    }

    pub(crate) fn since(&self, total: u64) -> u64 {
        total - self.before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_refills_with_time_and_no_further_than_its_burst() {
        let mut bucket = Bucket::new(2, 0);
        assert!(bucket.take(2, 10, 0) && bucket.take(2, 10, 0));
        assert!(!bucket.take(2, 10, 99));
        assert!(bucket.take(2, 10, 100));
        assert!(bucket.take(2, 10, 10_000) && bucket.take(2, 10, 10_000));
        assert!(!bucket.take(2, 10, 10_000));
        bucket.give(2);
        assert!(bucket.take(2, 10, 10_000));
    }

    #[test]
    fn a_second_starts_anew() {
        let mut second = Second::default();
        assert_eq!(second.add(5), (1, true));
        assert_eq!(second.add(1_004), (2, false));
        assert_eq!(second.add(1_005), (1, true));
    }
}
