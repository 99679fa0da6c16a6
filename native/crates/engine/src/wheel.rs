//! Deadlines of many calls: a hashed timing wheel (Varghese and Lauck, 1987, scheme 6).
//!
//! Entries are removed lazily: the owner checks a due entry against the call it names.

const TICK_MS: u64 = 4;
const SLOTS: usize = 1024;

/// Calls by deadline, in ticks of four milliseconds, never early.
pub(crate) struct Wheel {
    slots: Vec<Vec<(u64, u32)>>,
    tick: u64,
    entries: usize,
    /// No entry is due before this tick.
    earliest: u64,
}

impl Wheel {
    pub(crate) fn new(now: u64) -> Self {
        Self {
            slots: vec![Vec::new(); SLOTS],
            tick: now / TICK_MS,
            entries: 0,
            earliest: u64::MAX,
        }
    }

    pub(crate) fn insert(&mut self, due: u64, call: u32) {
        let tick = due.div_ceil(TICK_MS).max(self.tick + 1);
        self.slots[tick as usize % SLOTS].push((tick, call));
        self.entries += 1;
        self.earliest = self.earliest.min(tick);
    }

    pub(crate) fn len(&self) -> usize {
        self.entries
    }

    /// Drops the entries of calls that are over.
    pub(crate) fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        for slot in &mut self.slots {
            slot.retain(|&(_, call)| keep(call));
        }
        self.recount();
    }

    fn recount(&mut self) {
        self.entries = self.slots.iter().map(Vec::len).sum();
        let ticks = self.slots.iter().flatten().map(|&(tick, _)| tick);
        self.earliest = ticks.min().unwrap_or(u64::MAX);
    }

    /// Moves every entry that is due into `out`.
    pub(crate) fn advance(&mut self, now: u64, out: &mut Vec<u32>) {
        let target = now / TICK_MS;
        if target < self.earliest {
            self.tick = self.tick.max(target);
            return;
        }
        let steps = target.saturating_sub(self.tick).min(SLOTS as u64);
        for step in 1..=steps {
            let slot = &mut self.slots[(self.tick + step) as usize % SLOTS];
            slot.retain(|&(tick, call)| {
                let due = tick <= target;
                if due {
                    out.push(call);
                }
                !due
            });
        }
        self.tick = self.tick.max(target);
        self.recount();
    }

    /// Milliseconds until something may be due.
    pub(crate) fn next(&self, now: u64) -> Option<u64> {
        (self.entries > 0).then(|| (self.earliest * TICK_MS).saturating_sub(now).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_due_once_and_never_early() {
        let mut wheel = Wheel::new(1000);
        wheel.insert(1010, 1);
        wheel.insert(1010 + 4096 * 3, 2);
        wheel.insert(900, 3);
        let mut out = Vec::new();
        wheel.advance(1003, &mut out);
        assert!(out.is_empty());
        wheel.advance(1005, &mut out);
        assert_eq!(out, [3]);
        wheel.advance(1011, &mut out);
        assert_eq!(out, [3]);
        wheel.advance(1012, &mut out);
        assert_eq!(out, [3, 1]);
        let mut now = 1012;
        while now < 1010 + 4096 * 3 {
            assert!(!out.contains(&2));
            now += wheel.next(now).unwrap();
            wheel.advance(now, &mut out);
        }
        assert_eq!(out, [3, 1, 2]);
        assert_eq!(wheel.next(now), None);
    }

    #[test]
    fn a_long_pause_delivers_everything() {
        let mut wheel = Wheel::new(0);
        for call in 0..5000 {
            wheel.insert(u64::from(call) * 3, call);
        }
        let mut out = Vec::new();
        wheel.advance(1_000_000, &mut out);
        out.sort_unstable();
        assert_eq!(out, (0..5000).collect::<Vec<_>>());
    }

    #[test]
    fn entries_of_calls_that_are_over_can_be_dropped() {
        let mut wheel = Wheel::new(0);
        for call in 0..1000 {
            wheel.insert(u64::MAX / 2 + u64::from(call), call);
        }
        wheel.insert(40, 1000);
        wheel.retain(|call| call >= 999);
        assert_eq!(wheel.len(), 2);
        assert_eq!(wheel.next(0), Some(40));
        let mut out = Vec::new();
        wheel.advance(40, &mut out);
        assert_eq!(out, [1000]);
        wheel.retain(|_| false);
        assert_eq!(wheel.next(40), None);
    }
}
