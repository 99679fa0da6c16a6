//! When free buffers are provided to the kernel, and which of them at once, where that takes
//! operations. Pure: no memory, no kernel.
//!
//! An operation names neighbours, so it pays to wait until more of them are back. Meanwhile they
//! are free for the ledger and not known to the kernel; a receive that finds none of the others
//! ends with `ENOBUFS` and waits for the next turn.

#[derive(Debug)]
pub(crate) struct Provision {
    /// Buffers of the group.
    count: usize,
    /// Not known to the kernel.
    pending: Vec<u16>,
}

/// Neighbours: the first one and how many.
pub(crate) type Run = (u16, u16);

impl Provision {
    pub(crate) fn new(count: u32) -> Self {
        Self {
            count: count as usize,
            pending: Vec::with_capacity(count as usize),
        }
    }

    /// A buffer is free from now on.
    pub(crate) fn add(&mut self, buffer: u16) {
        self.pending.push(buffer);
    }

    /// Tells `provide` what to provide now, when `free` are free for the ledger: nothing, while it
    /// is little and the kernel has enough of others.
    pub(crate) fn provide(&mut self, free: u32, mut provide: impl FnMut(Run)) {
        let known = free as usize - self.pending.len();
        let few = self.pending.len() < (self.count / 8).max(1);
        if few && known >= self.count / 2 {
            return;
        }
        self.pending.sort_unstable();
        for run in self.pending.chunk_by(|one, next| one + 1 == *next) {
            provide((run[0], run.len() as u16));
        }
        self.pending.clear();
    }

    /// Books an operation's result: kernels answer with 0 or with how many they took, which may be
    /// fewer when memory is short. Returns whether they took all.
    pub(crate) fn taken(&mut self, (first, count): Run, result: i32) -> bool {
        let taken = match u16::try_from(result) {
            Err(_) => 0,
            Ok(0) => count,
            Ok(taken) => taken.min(count),
        };
        self.pending.extend(first + taken..first + count);
        taken == count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provided(provision: &mut Provision, free: u32) -> Vec<Run> {
        let mut runs = Vec::new();
        provision.provide(free, |run| runs.push(run));
        runs
    }

    #[test]
    fn neighbours_go_together_and_a_few_wait() {
        let mut provision = Provision::new(32);
        (0..32).for_each(|buffer| provision.add(buffer));
        assert_eq!(provided(&mut provision, 32), [(0, 32)]);
        [7, 5, 6]
            .into_iter()
            .for_each(|buffer| provision.add(buffer));
        assert_eq!(provided(&mut provision, 32), [], "29 are enough");
        provision.add(20);
        assert_eq!(provided(&mut provision, 32), [(5, 3), (20, 1)]);
        provision.add(9);
        assert_eq!(provided(&mut provision, 15), [(9, 1)], "the kernel has 14");
    }

    #[test]
    fn what_was_not_taken_is_provided_later() {
        let mut provision = Provision::new(16);
        assert!(provision.taken((0, 4), 0));
        assert!(provision.taken((4, 4), 4));
        assert!(!provision.taken((8, 4), 1));
        assert!(!provision.taken((14, 2), -libc::ENOMEM));
        assert_eq!(provided(&mut provision, 16), [(9, 3), (14, 2)]);
    }
}
