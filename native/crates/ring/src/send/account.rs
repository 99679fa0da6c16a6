//! What one connection has committed to the kernel and what of it has left. Pure: no memory, no
//! kernel.
//!
//! From a ring the kernel takes committed entries when it issues a send and cannot give them back,
//! and a short result carries no error number. So the account is kept in bytes against our own
//! total: whatever ends inside an entry means that the connection is broken. A send without a ring
//! may end anywhere, and the next one goes on from there; if the connection is broken, that one
//! says so.

use std::collections::VecDeque;

/// Entries committed at once at most: the places of a usual send ring.
pub(crate) const COMMIT_ENTRIES: usize = 256;
/// Bytes committed at once at most, but at least one entry; what is committed cannot be overtaken by
/// urgent frames.
pub(crate) const COMMIT_BYTES: u64 = 256 * 1024;

/// What follows from a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// More completions of this send come.
    Wait,
    /// The send ended early: from a ring between two entries, with entries still in it; without
    /// one anywhere. Submit what is left.
    Again,
    /// Everything committed has left.
    Drained,
    /// The connection is broken, and the send is over. `None`: the kernel gave no number.
    Broken(Option<i32>),
}

#[derive(Debug, Default)]
pub(crate) struct Account {
    /// Lengths of the entries that have not left, oldest first; never 0. Of the first one, what is
    /// left of it.
    lengths: VecDeque<u32>,
    /// Bytes of the first entry that have left.
    offset: u32,
    /// How many of them are committed.
    committed: usize,
    /// Bytes of the committed ones.
    committed_bytes: u64,
    broken: Option<Option<i32>>,
}

impl Account {
    /// Takes an entry in. Its length is not 0: the kernel does not get past an empty entry.
    pub(crate) fn push(&mut self, length: u32) {
        debug_assert!(length > 0);
        self.lengths.push_back(length);
    }

    /// Entries not committed yet.
    pub(crate) fn waiting(&self) -> usize {
        self.lengths.len() - self.committed
    }

    /// Entries committed and not gone.
    pub(crate) fn committed(&self) -> usize {
        self.committed
    }

    /// Bytes of the first entry that have left already.
    pub(crate) fn offset(&self) -> usize {
        self.offset as usize
    }

    /// Commits the next entries, at most `most`, and returns how many.
    pub(crate) fn commit(&mut self, most: usize) -> usize {
        debug_assert_eq!(self.committed, 0, "one send in flight");
        for length in self.lengths.iter().take(most.min(COMMIT_ENTRIES)) {
            let length = u64::from(*length);
            if self.committed > 0 && self.committed_bytes + length > COMMIT_BYTES {
                break;
            }
            self.committed += 1;
            self.committed_bytes += length;
        }
        self.committed
    }

    /// Books a completion: `result` bytes or a negative `errno`; `more` if this send goes on;
    /// `ring` if it takes its entries from a ring. Returns how many entries have left, and what
    /// follows.
    pub(crate) fn complete(&mut self, result: i32, more: bool, ring: bool) -> (usize, Outcome) {
        let mut left = 0;
        match u64::try_from(result) {
            // Nothing was taken, and nothing is wrong with the connection.
            Err(_) if !ring && matches!(-result, libc::EINTR | libc::EAGAIN) => {}
            Err(_) => self.broken = self.broken.or(Some(Some(-result))),
            Ok(bytes) if bytes > self.committed_bytes => self.broken = Some(None),
            Ok(mut bytes) => {
                self.committed_bytes -= bytes;
                while self.committed > 0 && bytes >= u64::from(self.lengths[0]) {
                    bytes -= u64::from(self.lengths[0]);
                    self.lengths.pop_front();
                    self.offset = 0;
                    self.committed -= 1;
                    left += 1;
                }
                let stuck = !more && self.committed > 0 && result == 0;
                if stuck || (ring && bytes > 0) {
                    self.broken = self.broken.or(Some(None));
                } else if bytes > 0 {
                    self.lengths[0] -= bytes as u32;
                    self.offset += bytes as u32;
                }
            }
        }
        if result == -libc::ENOBUFS {
            // The ring ran empty. After everything has left that is how a send may end. Otherwise
            // the send before this one took the entries and lost them: it broke between two
            // entries, which looks as if it only had to go on.
            self.broken = (self.committed > 0).then_some(None);
        }
        let outcome = match (more, self.broken) {
            (true, _) => Outcome::Wait,
            (false, Some(error)) => Outcome::Broken(error),
            (false, None) if self.committed == 0 => Outcome::Drained,
            (false, None) => Outcome::Again,
        };
        (left, outcome)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self {
            lengths: std::mem::take(&mut self.lengths),
            ..Self::default()
        };
        self.lengths.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn account(lengths: &[u32]) -> Account {
        let mut account = Account::default();
        lengths.iter().for_each(|length| account.push(*length));
        account
    }

    #[test]
    fn commits_by_entries_and_by_bytes_but_at_least_one() {
        assert_eq!(account(&[1; 300]).commit(512), 256);
        assert_eq!(account(&[1; 100]).commit(8), 8);
        assert_eq!(account(&[16 * 1024; 20]).commit(64), 16);
        assert_eq!(account(&[1 << 30, 1]).commit(64), 1);
    }

    #[test]
    fn a_bundle_that_ends_between_entries_goes_on() {
        let mut account = account(&[10, 20, 30]);
        account.commit(64);
        assert_eq!(account.complete(10, true, true), (1, Outcome::Wait));
        assert_eq!(account.complete(20, false, true), (1, Outcome::Again));
        assert_eq!(account.complete(30, false, true), (1, Outcome::Drained));
        assert_eq!((account.waiting(), account.committed()), (0, 0));
    }

    #[test]
    fn a_short_result_is_a_broken_connection() {
        let mut inside = account(&[10, 20]);
        inside.commit(64);
        assert_eq!(inside.complete(15, false, true), (1, Outcome::Broken(None)));
        let mut failed = account(&[10]);
        failed.commit(64);
        assert_eq!(
            failed.complete(-104, false, true),
            (0, Outcome::Broken(Some(104)))
        );
        let mut nothing = account(&[10]);
        nothing.commit(64);
        assert_eq!(nothing.complete(0, false, true), (0, Outcome::Broken(None)));
        let mut nonsense = account(&[10]);
        nonsense.commit(64);
        assert_eq!(
            nonsense.complete(11, false, true),
            (0, Outcome::Broken(None))
        );
    }

    #[test]
    fn without_a_ring_a_short_result_goes_on_from_there() {
        let mut account = account(&[10, 20, 30]);
        account.commit(64);
        assert_eq!(account.complete(13, false, false), (1, Outcome::Again));
        assert_eq!((account.committed(), account.offset()), (2, 3));
        for error in [libc::EINTR, libc::EAGAIN] {
            assert_eq!(account.complete(-error, false, false), (0, Outcome::Again));
        }
        assert_eq!(account.complete(5, false, false), (0, Outcome::Again));
        assert_eq!((account.committed(), account.offset()), (2, 8));
        assert_eq!(account.complete(12, false, false), (1, Outcome::Again));
        assert_eq!((account.committed(), account.offset()), (1, 0));
        assert_eq!(account.complete(30, false, false), (1, Outcome::Drained));
        let mut interrupted = super::tests::account(&[10]);
        interrupted.commit(64);
        assert_eq!(
            interrupted.complete(-libc::EINTR, false, true),
            (0, Outcome::Broken(Some(libc::EINTR))),
            "the entries of a ring are gone"
        );
    }

    #[test]
    fn a_break_is_told_when_the_send_is_over() {
        let mut account = account(&[10, 20]);
        account.commit(64);
        assert_eq!(account.complete(5, true, true), (0, Outcome::Wait));
        assert_eq!(
            account.complete(-104, false, true),
            (0, Outcome::Broken(None))
        );
    }

    #[test]
    fn an_empty_ring_is_the_end_only_if_everything_has_left() {
        let mut drained = account(&[10]);
        drained.commit(64);
        assert_eq!(drained.complete(10, true, true), (1, Outcome::Wait));
        assert_eq!(
            drained.complete(-libc::ENOBUFS, false, true),
            (0, Outcome::Drained)
        );
        let mut lost = account(&[10]);
        lost.commit(64);
        assert_eq!(
            lost.complete(-libc::ENOBUFS, false, true),
            (0, Outcome::Broken(None))
        );
    }

    proptest! {
        /// A kernel that takes bundles of any size and ends sends from a ring between entries at
        /// whim, others anywhere, and now and then breaks inside an entry of a ring.
        #[test]
        fn agrees_with_a_model_of_the_kernel(
            lengths in proptest::collection::vec(1u32..40_000, 1..300),
            ring in any::<bool>(),
            whims in proptest::collection::vec((1usize..70, any::<bool>(), 0u8..40), 1..400),
        ) {
            let mut account = account(&lengths);
            let total: u64 = lengths.iter().map(|l| u64::from(*l)).sum();
            let mut sent = 0u64;
            let mut whims = whims.into_iter().cycle();
            let mut next = 0;
            'sends: while next < lengths.len() {
                let count = account.commit(64);
                prop_assert!(count >= 1);
                let bytes: u64 = lengths[next..next + count].iter().map(|l| u64::from(*l)).sum();
                prop_assert!(count == 1 || bytes <= COMMIT_BYTES);
                let end = next + count;
                let mut inside = 0;
                while next < end {
                    let (entries, goes_on, fate) = whims.next().unwrap();
                    let taken = entries.min(end - next);
                    let whole: u64 = lengths[next..next + taken].iter().map(|l| u64::from(*l)).sum();
                    let mut bundle = whole - inside;
                    if ring && fate == 0 && lengths[next] > 1 {
                        let (left, outcome) = account.complete(1, false, ring);
                        prop_assert_eq!((left, outcome), (0, Outcome::Broken(None)));
                        break 'sends;
                    }
                    // Without a ring it may stop inside the last entry.
                    let last = u64::from(lengths[next + taken - 1]);
                    let missing = if ring || bundle < 2 { 0 } else { u64::from(fate) % last.min(bundle) };
                    bundle -= missing;
                    let left_now = if missing > 0 { taken - 1 } else { taken };
                    next += left_now;
                    inside = if missing > 0 { last - missing } else { 0 };
                    sent += bundle;
                    let more = ring && goes_on && next < end;
                    let (left, outcome) = account.complete(bundle as i32, more, ring);
                    prop_assert_eq!(left, left_now);
                    prop_assert_eq!(account.committed(), end - next);
                    prop_assert_eq!(account.offset() as u64, inside);
                    let expected = match (more, next == end) {
                        (true, _) => Outcome::Wait,
                        (false, true) => Outcome::Drained,
                        (false, false) => Outcome::Again,
                    };
                    prop_assert_eq!(outcome, expected);
                }
            }
            if next == lengths.len() {
                prop_assert_eq!(sent, total);
            }
        }
    }
}
