//! Durable groups: each event goes to one member, and again until somebody has acknowledged it.
//!
//! ```text
//!             take                acknowledge
//!  retained ───────▶ delivered ─────────────────▶ done
//!                     │     ▲
//!      reject, leave, │     │ take (attempt + 1)
//!      time-out       ▼     │
//!                     waiting
//!                     │ (instead, after the last attempt)
//!                     ▼
//!                    dead letter
//! ```

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    ops::Add,
};

use crate::{
    store::{Retained, Store},
    topic::Pattern,
};

/// What the members of a durable group agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurableOptions {
    /// For how long a delivery may stay unacknowledged before the event is delivered again.
    pub ack_wait_ms: u64,
    /// How often an event is delivered before it is a dead letter; 0: without a limit.
    pub deliveries_max: u32,
    /// How many events may be in the group's hands, delivered, waiting or dead, before it takes no
    /// new ones. [`DurableGroup::take`] is told how many bytes they may have.
    pub unsettled_max: usize,
}

/// A member of a durable group. What it named is never named by it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(u64);

/// An event given to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery<E> {
    /// By which it is acknowledged or rejected.
    pub sequence: u64,
    /// Counted over all members, from 1.
    pub attempt: u32,
    /// The event.
    pub event: E,
}

/// An event that was delivered as often as it may be, and acknowledged by nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter<E> {
    /// Its sequence.
    pub sequence: u64,
    /// How often it was delivered.
    pub attempts: u32,
    /// The event.
    pub event: E,
}

/// What has happened to a group's events so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DurableCounters {
    /// Deliveries, repeated ones included.
    pub delivered: u64,
    /// Deliveries of events that had been delivered before.
    pub redelivered: u64,
    /// Events that a member has acknowledged.
    pub acknowledged: u64,
    /// Deliveries that a member has rejected.
    pub rejected: u64,
    /// Deliveries whose time was up.
    pub timed_out: u64,
    /// Events that became dead letters.
    pub dead: u64,
    /// How often retention has evicted events that the group had not taken yet.
    pub overtaken: u64,
    /// How often it took no new events, since those in its hands were as many, or as large, as may be.
    pub held_back: u64,
}

impl Add for DurableCounters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            delivered: self.delivered + other.delivered,
            redelivered: self.redelivered + other.redelivered,
            acknowledged: self.acknowledged + other.acknowledged,
            rejected: self.rejected + other.rejected,
            timed_out: self.timed_out + other.timed_out,
            dead: self.dead + other.dead,
            overtaken: self.overtaken + other.overtaken,
            held_back: self.held_back + other.held_back,
        }
    }
}

/// A durable group: where it is in a [`Store`], and what its members have not acknowledged.
///
/// The caller decides how much a member may [`take`](Self::take), calls [`expire`](Self::expire) when
/// [`next_due`](Self::next_due) has come, and sees to what [`dead_letter`](Self::dead_letter) answers.
/// Events in the group's hands are kept by it, whatever retention does; events that it has not taken
/// are the store's, and are lost to it with them. It takes no new ones while those in its hands are as
/// many, or as large, as may be, but one whatever its size.
///
/// New events are taken in the order of their sequences, and those that wait go before them, lowest
/// first. So a member that is alone, neither rejects nor lets time run out, sees ascending sequences;
/// and one that joins after it left sees what was not acknowledged first.
#[derive(Debug)]
pub struct DurableGroup<E> {
    pattern: Pattern,
    options: DurableOptions,
    /// The first sequence that was not looked at yet.
    next: u64,
    /// Sequences that came late, behind `next`: to be taken like new ones.
    late: BTreeSet<u64>,
    unsettled: BTreeMap<u64, Unsettled<E>>,
    /// Those of `unsettled` that wait for a member.
    waiting: BTreeSet<u64>,
    /// Those of `unsettled` that are delivered, by when their time is up.
    due: BTreeSet<(u64, u64)>,
    /// With what each costs.
    dead: VecDeque<(DeadLetter<E>, usize)>,
    /// What `unsettled` and `dead` cost.
    bytes: usize,
    /// What the event costs for which there was no room when members would have been given it.
    held_back: Option<usize>,
    /// What each member was given and has not answered.
    members: HashMap<MemberId, BTreeSet<u64>>,
    members_named: u64,
    counters: DurableCounters,
}

#[derive(Debug)]
struct Unsettled<E> {
    event: E,
    bytes: usize,
    /// How often it was delivered.
    attempts: u32,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Delivered {
        to: MemberId,
        due: u64,
    },
    /// It may still be acknowledged by the member that let its time run out.
    Waiting {
        late: Option<MemberId>,
    },
}

/// Why a delivery has failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failure {
    Rejected,
    TimedOut,
    Left,
}

/// How many events of other topics a [`DurableGroup::take`] passes over before it answers: a bound on
/// how long it takes.
const SCANNED_MAX: usize = 4_096;

impl<E: Clone> DurableGroup<E> {
    /// A group without members that begins with the sequence `first`.
    pub fn new(pattern: Pattern, first: u64, options: DurableOptions) -> Self {
        Self {
            pattern,
            options,
            next: first,
            late: BTreeSet::new(),
            unsettled: BTreeMap::new(),
            waiting: BTreeSet::new(),
            due: BTreeSet::new(),
            dead: VecDeque::new(),
            bytes: 0,
            held_back: None,
            members: HashMap::new(),
            members_named: 0,
            counters: DurableCounters::default(),
        }
    }

    /// Which topics' events it takes.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// Changes what holds for deliveries from now on.
    pub fn configure(&mut self, options: DurableOptions) {
        self.options = options;
    }

    /// Adds a member.
    pub fn join(&mut self) -> MemberId {
        self.members_named += 1;
        let member = MemberId(self.members_named);
        self.members.insert(member, BTreeSet::new());
        member
    }

    /// Removes a member. What it has not acknowledged waits for the others at once. Whether it was one.
    pub fn leave(&mut self, member: MemberId) -> bool {
        let Some(held) = self.members.remove(&member) else {
            return false;
        };
        for sequence in held {
            self.fail(sequence, Failure::Left);
        }
        true
    }

    /// How many members there are.
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// How many events a member was given and has not answered.
    pub fn held(&self, member: MemberId) -> usize {
        self.members.get(&member).map_or(0, BTreeSet::len)
    }

    /// Gives a member up to `max` events, appended to `into`: those that wait first, then new ones, as
    /// far as there is room for them in the group's hands, which may hold `bytes_max`. Whether there may
    /// be more for it, now.
    ///
    /// `expire` is called for the caller, so that nothing is given that is already due elsewhere.
    pub fn take(
        &mut self,
        now: u64,
        member: MemberId,
        max: usize,
        bytes_max: usize,
        store: &Store<E>,
        into: &mut Vec<Delivery<E>>,
    ) -> bool {
        self.expire(now);
        if !self.members.contains_key(&member) {
            return false;
        }
        let full = into.len() + max;
        let mut held_back = None;
        while into.len() < full {
            if held_back.is_none()
                && let Some(&late) = self.late.first()
                && self.waiting.first().is_none_or(|&waiting| late < waiting)
            {
                match store.get(late) {
                    Some(event) if !self.has_room(event.bytes, bytes_max) => {
                        held_back = Some(event.bytes);
                    }
                    retained => {
                        self.late.pop_first();
                        match retained {
                            Some(retained) => into.push(self.deliver_new(now, member, retained)),
                            None => self.counters.overtaken += 1,
                        }
                        continue;
                    }
                }
            }
            let Some(sequence) = self.waiting.pop_first() else {
                break;
            };
            self.counters.redelivered += 1;
            into.push(self.deliver(now, member, sequence));
        }
        // Before anything was evicted, what is first in the store is the first of all.
        if let Some(first) = store.first_sequence()
            && first > self.next
            && store.evicted() > 0
        {
            self.counters.overtaken += 1;
            self.next = first;
        }
        if into.len() == full {
            // Whether there is room was not found out.
            let has_new = store.last_sequence().is_some_and(|last| last >= self.next);
            return has_new || !self.waiting.is_empty() || !self.late.is_empty();
        }
        let mut more = false;
        if held_back.is_none() {
            for (scanned, retained) in store.from(self.next).enumerate() {
                if into.len() == full || scanned == SCANNED_MAX {
                    more = true;
                    break;
                }
                if self.pattern.matches(&retained.topic) {
                    if !self.has_room(retained.bytes, bytes_max) {
                        held_back = Some(retained.bytes);
                        break;
                    }
                    into.push(self.deliver_new(now, member, retained));
                }
                self.next = retained.sequence + 1;
            }
        }
        if held_back.is_some() && self.held_back.is_none() {
            self.counters.held_back += 1;
        }
        // While there is more, other members may still have to be told.
        if !more {
            self.held_back = held_back;
        }
        more
    }

    /// Whether members were given less than there is, and there is room for more of it now. Answers so
    /// once.
    pub fn has_room_again(&mut self, bytes_max: usize) -> bool {
        let again = self
            .held_back
            .is_some_and(|bytes| self.has_room(bytes, bytes_max));
        if again {
            self.held_back = None;
        }
        again
    }

    /// How many bytes the group would have to be allowed for [`has_room_again`](Self::has_room_again) to
    /// answer so; `None` if nothing was held back, or bytes are not what it is short of.
    pub fn needs(&self) -> Option<usize> {
        let bytes = self.held_back?;
        (self.unsettled() < self.options.unsettled_max).then(|| self.bytes.saturating_add(bytes))
    }

    /// Tells the group of an event whose sequence came late, behind some that it may have taken already:
    /// if so, it is taken with the next. `first` is the first sequence that is retained: late ones below
    /// are lost.
    pub fn insert_late(&mut self, sequence: u64, topic: &str, first: u64) {
        let known = self.unsettled.contains_key(&sequence);
        if sequence < self.next && !known && self.pattern.matches(topic) {
            // So that there are no more of them than are retained, while nobody takes any.
            let retained = self.late.split_off(&first);
            self.counters.overtaken += self.late.len() as u64;
            self.late = retained;
            self.late.insert(sequence);
        }
    }

    /// An event is done with. `false`, and nothing happens, if it is not this member's, or not any more.
    /// What has timed out is its until somebody else was given it.
    pub fn acknowledge(&mut self, member: MemberId, sequence: u64) -> bool {
        let Some(unsettled) = self.unsettled.get(&sequence) else {
            return false;
        };
        match unsettled.state {
            State::Delivered { to, due } if to == member => {
                self.due.remove(&(due, sequence));
                self.release(member, sequence);
            }
            State::Waiting { late: Some(late) } if late == member => {
                self.waiting.remove(&sequence);
            }
            _ => return false,
        }
        if let Some(settled) = self.unsettled.remove(&sequence) {
            self.bytes -= settled.bytes;
        }
        self.counters.acknowledged += 1;
        true
    }

    /// An event is to be delivered again at once, to any member. `false`, and nothing happens, if it is
    /// not this member's, or not any more.
    pub fn reject(&mut self, member: MemberId, sequence: u64) -> bool {
        match self.unsettled.get(&sequence).map(|one| one.state) {
            Some(State::Delivered { to, due }) if to == member => {
                self.due.remove(&(due, sequence));
                self.release(member, sequence);
                self.counters.rejected += 1;
                self.fail(sequence, Failure::Rejected);
                true
            }
            _ => false,
        }
    }

    /// Has what was delivered too long ago wait for a member again.
    pub fn expire(&mut self, now: u64) {
        while let Some(&(due, sequence)) = self.due.first()
            && due <= now
        {
            self.due.pop_first();
            if let Some(State::Delivered { to, .. }) =
                self.unsettled.get(&sequence).map(|one| one.state)
            {
                self.release(to, sequence);
            }
            self.counters.timed_out += 1;
            self.fail(sequence, Failure::TimedOut);
        }
    }

    /// When [`expire`](Self::expire) has something to do next.
    pub fn next_due(&self) -> Option<u64> {
        self.due.first().map(|&(due, _)| due)
    }

    /// The oldest dead letter, which is the caller's from now on.
    pub fn dead_letter(&mut self) -> Option<DeadLetter<E>> {
        let (letter, bytes) = self.dead.pop_front()?;
        self.bytes -= bytes;
        Some(letter)
    }

    /// How many dead letters were not taken yet.
    pub fn dead_letters(&self) -> usize {
        self.dead.len()
    }

    /// How many events are in the group's hands: delivered, waiting, or dead and not taken yet.
    pub fn unsettled(&self) -> usize {
        self.unsettled.len() + self.dead.len()
    }

    /// What those cost.
    pub fn unsettled_bytes(&self) -> usize {
        self.bytes
    }

    /// How many wait for a member.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// What has happened so far.
    pub fn counters(&self) -> DurableCounters {
        self.counters
    }

    fn has_room(&self, bytes: usize, bytes_max: usize) -> bool {
        let unsettled = self.unsettled();
        unsettled == 0
            || unsettled < self.options.unsettled_max
                && self.bytes.saturating_add(bytes) <= bytes_max
    }

    /// Takes an event into the group's hands, and gives it to a member.
    fn deliver_new(&mut self, now: u64, member: MemberId, retained: &Retained<E>) -> Delivery<E> {
        self.bytes += retained.bytes;
        self.unsettled.insert(
            retained.sequence,
            Unsettled {
                event: retained.event.clone(),
                bytes: retained.bytes,
                attempts: 0,
                state: State::Waiting { late: None },
            },
        );
        self.deliver(now, member, retained.sequence)
    }

    fn deliver(&mut self, now: u64, member: MemberId, sequence: u64) -> Delivery<E> {
        let due = now.saturating_add(self.options.ack_wait_ms);
        let unsettled = self
            .unsettled
            .get_mut(&sequence)
            .expect("what waits is unsettled");
        unsettled.attempts += 1;
        unsettled.state = State::Delivered { to: member, due };
        self.due.insert((due, sequence));
        self.members
            .get_mut(&member)
            .expect("only members are delivered to")
            .insert(sequence);
        self.counters.delivered += 1;
        Delivery {
            sequence,
            attempt: unsettled.attempts,
            event: unsettled.event.clone(),
        }
    }

    fn release(&mut self, member: MemberId, sequence: u64) {
        if let Some(held) = self.members.get_mut(&member) {
            held.remove(&sequence);
        }
    }

    /// A delivery has failed, and neither its member nor `due` knows it any more, unless that left.
    fn fail(&mut self, sequence: u64, failure: Failure) {
        let Some(unsettled) = self.unsettled.get_mut(&sequence) else {
            return;
        };
        let mut late = None;
        if let State::Delivered { to, due } = unsettled.state {
            self.due.remove(&(due, sequence));
            late = (failure == Failure::TimedOut).then_some(to);
        }
        let deliveries_max = self.options.deliveries_max;
        if deliveries_max == 0 || unsettled.attempts < deliveries_max {
            unsettled.state = State::Waiting { late };
            self.waiting.insert(sequence);
            return;
        }
        if let Some(unsettled) = self.unsettled.remove(&sequence) {
            self.counters.dead += 1;
            let letter = DeadLetter {
                sequence,
                attempts: unsettled.attempts,
                event: unsettled.event,
            };
            self.dead.push_back((letter, unsettled.bytes));
        }
    }
}
