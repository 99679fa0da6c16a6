//! Which messages were published lately, by identifiers of their publishers.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// Identifiers, each kept for a while with the sequence of its event.
#[derive(Debug)]
pub struct Duplicates {
    window_ms: u64,
    count_max: usize,
    known: HashMap<Arc<str>, Claim>,
    /// In the order of their claims. What was released stays here until its time has come.
    order: VecDeque<(u64, Arc<str>)>,
    forgotten: u64,
}

#[derive(Debug)]
struct Claim {
    /// When; tells it from an earlier one in `order`.
    at: u64,
    sequence: u64,
}

impl Duplicates {
    /// Keeps an identifier for `window_ms`, and not more than `count_max` of them: beyond it the
    /// oldest are forgotten early, and counted.
    pub fn new(window_ms: u64, count_max: usize) -> Self {
        Self {
            window_ms,
            count_max,
            known: HashMap::new(),
            order: VecDeque::new(),
            forgotten: 0,
        }
    }

    /// Claims an identifier. `None` if it is new: the caller publishes, then calls
    /// [`settle`](Self::settle), or [`release`](Self::release) if that failed. Otherwise the sequence
    /// of the event that has it, or 0 while it is being published.
    pub fn claim(&mut self, now: u64, id: &str) -> Option<u64> {
        self.expire(now);
        if let Some(claim) = self.known.get(id) {
            return Some(claim.sequence);
        }
        while self.order.len() >= self.count_max.max(1) {
            self.forget_oldest();
        }
        let id: Arc<str> = id.into();
        self.order.push_back((now, Arc::clone(&id)));
        self.known.insert(
            id,
            Claim {
                at: now,
                sequence: 0,
            },
        );
        None
    }

    /// Says which sequence the event of a claimed identifier has got.
    pub fn settle(&mut self, id: &str, sequence: u64) {
        if let Some(claim) = self.known.get_mut(id) {
            claim.sequence = sequence;
        }
    }

    /// Gives up a claim: nothing was published.
    pub fn release(&mut self, id: &str) {
        self.known.remove(id);
    }

    /// How many identifiers are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// How many were forgotten before their time, because there were too many.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    fn expire(&mut self, now: u64) {
        while let Some((at, _)) = self.order.front()
            && now.saturating_sub(*at) >= self.window_ms
        {
            let (at, id) = self.order.pop_front().expect("there is a front");
            self.drop_claim(at, &id);
        }
    }

    fn forget_oldest(&mut self) {
        let Some((at, id)) = self.order.pop_front() else {
            return;
        };
        if self.drop_claim(at, &id) {
            self.forgotten += 1;
        }
    }

    /// Whether the claim was still there: it may have been released, and claimed anew.
    fn drop_claim(&mut self, at: u64, id: &Arc<str>) -> bool {
        let found = self.known.get(id).is_some_and(|claim| claim.at == at);
        if found {
            self.known.remove(id);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_new_once_within_the_window() {
        let mut duplicates = Duplicates::new(100, 10);
        assert_eq!(duplicates.claim(1_000, "a"), None);
        assert_eq!(duplicates.claim(1_001, "a"), Some(0));
        duplicates.settle("a", 5);
        assert_eq!(duplicates.claim(1_099, "a"), Some(5));
        assert_eq!(duplicates.claim(1_100, "a"), None);
    }

    #[test]
    fn what_was_released_is_new_again() {
        let mut duplicates = Duplicates::new(100, 10);
        assert_eq!(duplicates.claim(0, "a"), None);
        duplicates.release("a");
        assert_eq!(duplicates.claim(50, "a"), None);
        duplicates.settle("a", 3);
        assert_eq!(
            duplicates.claim(120, "a"),
            Some(3),
            "the released one's time does not end it"
        );
        assert_eq!(duplicates.claim(150, "a"), None);
    }

    #[test]
    fn beyond_the_bound_the_oldest_is_forgotten() {
        let mut duplicates = Duplicates::new(100, 2);
        for id in ["a", "b", "c"] {
            assert_eq!(duplicates.claim(0, id), None);
        }
        assert_eq!((duplicates.len(), duplicates.forgotten()), (2, 1));
        assert_eq!(duplicates.claim(0, "c"), Some(0));
        assert_eq!(duplicates.claim(0, "a"), None);
    }
}
