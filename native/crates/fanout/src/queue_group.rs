//! Of several subscribers that share the events of a subscription, who gets the next.

/// The members of a queue group, in the order in which they take turns.
#[derive(Clone, Debug)]
pub struct QueueGroup<M> {
    members: Vec<M>,
    /// Whose turn it is.
    next: usize,
}

impl<M> Default for QueueGroup<M> {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            next: 0,
        }
    }
}

impl<M: Copy + PartialEq> QueueGroup<M> {
    /// Adds a member, whose turn comes after all others have had theirs.
    pub fn join(&mut self, member: M) {
        self.members.insert(self.next, member);
        self.next += 1;
        if self.next == self.members.len() {
            self.next = 0;
        }
    }

    /// Removes a member; whether it was one. Who is next stays so.
    pub fn leave(&mut self, member: M) -> bool {
        let Some(position) = self.members.iter().position(|&each| each == member) else {
            return false;
        };
        self.members.remove(position);
        if position < self.next {
            self.next -= 1;
        }
        if self.next == self.members.len() {
            self.next = 0;
        }
        true
    }

    /// The members, in no order that means anything.
    pub fn members(&self) -> &[M] {
        &self.members
    }

    /// Who gets the next event: whose turn it is, or the first after it that is not at its bound. If
    /// all are, it is whose turn it is, and what then happens to the event is for its policy to say.
    /// `None` without members.
    pub fn choose(&mut self, at_bound: impl Fn(M) -> bool) -> Option<M> {
        let count = self.members.len();
        let chosen = (self.next..count)
            .chain(0..self.next)
            .find(|&index| !at_bound(self.members[index]))
            .unwrap_or(self.next);
        let member = *self.members.get(chosen)?;
        self.next = (chosen + 1) % count;
        Some(member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(members: impl IntoIterator<Item = u32>) -> QueueGroup<u32> {
        let mut group = QueueGroup::default();
        for member in members {
            group.join(member);
        }
        group
    }

    fn turns(group: &mut QueueGroup<u32>, count: usize) -> Vec<u32> {
        (0..count)
            .map(|_| group.choose(|_| false).unwrap())
            .collect()
    }

    #[test]
    fn members_take_turns() {
        let mut group = group([1, 2, 3]);
        assert_eq!(turns(&mut group, 7), [1, 2, 3, 1, 2, 3, 1]);
        group.join(4);
        assert_eq!(turns(&mut group, 5), [2, 3, 1, 4, 2]);
        assert!(group.leave(3));
        assert!(!group.leave(3));
        assert_eq!(turns(&mut group, 4), [1, 4, 2, 1]);
    }

    #[test]
    fn who_is_at_its_bound_is_passed_over_unless_all_are() {
        let mut group = group([1, 2, 3]);
        assert_eq!(group.choose(|member| member == 1), Some(2));
        assert_eq!(group.choose(|member| member != 2), Some(2));
        assert_eq!(group.choose(|_| true), Some(3));
        assert_eq!(group.choose(|_| true), Some(1));
    }

    #[test]
    fn the_last_may_leave() {
        let mut group = group([1, 2]);
        assert_eq!(turns(&mut group, 1), [1]);
        assert!(group.leave(2));
        assert!(group.leave(1));
        assert_eq!(group.choose(|_| false), None);
        group.join(5);
        assert_eq!(turns(&mut group, 2), [5, 5]);
    }
}
