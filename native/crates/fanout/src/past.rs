//! What the threads of a process share of retained events: the events themselves, the counter of their
//! sequences, and the durable groups that work through them.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    durable::{DeadLetter, Delivery, DurableCounters, DurableGroup, DurableOptions, MemberId},
    replay::Replays,
    store::{OutOfRange, Retained, Retention, Start, Store},
    topic::Pattern,
};

/// An event as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept<E> {
    /// Counts what was retained, in the order in which it was, from 1. It differs from the order of
    /// sequences where those come from elsewhere.
    pub arrival: u64,
    /// The event.
    pub event: E,
}

/// Where an event stands among those that are retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its sequence.
    pub sequence: u64,
    /// [`Kept::arrival`].
    pub arrival: u64,
}

/// What a [`Past`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// Events retained.
    pub events: usize,
    /// What they cost.
    pub bytes: usize,
    /// Events evicted so far.
    pub evicted: u64,
    /// The highest sequence so far; 0 before the first.
    pub last_sequence: u64,
}

/// What there is of durable groups, and what they have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durables {
    /// Groups, those without members included.
    pub groups: usize,
    /// Events in their hands.
    pub unsettled: usize,
    /// What those cost, an event once for each group.
    pub unsettled_bytes: usize,
    /// What has happened.
    pub counters: DurableCounters,
}

/// How many durable groups there may be, each of which costs memory until the process ends.
pub const GROUPS_MAX: usize = 1_000;

/// How many events one durable group has in its hands before it takes no new ones, beside what bounds
/// their bytes.
pub const UNSETTLED_MAX: usize = 65_536;

/// Retained events, for all threads. One lock guards them, another each durable group; neither is held
/// for longer than some thousand steps.
///
/// `now` is the wall clock in milliseconds for what is retained, since replays start at such times; for
/// durable groups it is any clock that only goes forward.
#[derive(Debug)]
pub struct Past<E> {
    state: Mutex<State<E>>,
    groups: Mutex<HashMap<Box<str>, Arc<Group<E>>>>,
    /// How many members of all groups are to be woken by the next event.
    hungry: AtomicUsize,
    /// Bytes of the events in the hands of all groups.
    unsettled_bytes_max: usize,
    /// How many groups have events in their hands.
    holding: AtomicUsize,
    /// How many groups wait for a larger share: those whose `needs` says so.
    held_back: AtomicUsize,
}

#[derive(Debug)]
pub(crate) struct State<E> {
    pub(crate) store: Store<Kept<E>>,
    /// The highest sequence given so far, by whomever.
    sequence: u64,
    pub(crate) arrival: u64,
    pub(crate) replays: Replays,
}

impl<E> State<E> {
    pub(crate) fn start(&mut self, now: u64, start: Start) -> Result<u64, OutOfRange> {
        self.store.expire(now);
        if let Start::Sequence(sequence) = start
            && self.sequence > 0
            && sequence > self.sequence + 1
        {
            return Err(OutOfRange {
                first: self.store.first_sequence().unwrap_or(1),
            });
        }
        self.store.start(start)
    }
}

impl<E: Clone> Past<E> {
    /// Nothing yet. `unsettled_bytes_max` is what durable groups may have in their hands: in equal shares
    /// for those that have something, of which each may have one event whatever its size. What a group
    /// has when others begin it keeps, but takes nothing new until that is less than its share.
    pub fn new(retention: Retention, unsettled_bytes_max: usize) -> Self {
        Self {
            state: Mutex::new(State {
                store: Store::new(retention),
                sequence: 0,
                arrival: 0,
                replays: Replays::default(),
            }),
            groups: Mutex::default(),
            hungry: AtomicUsize::new(0),
            unsettled_bytes_max,
            holding: AtomicUsize::new(0),
            held_back: AtomicUsize::new(0),
        }
    }

    /// Keeps an event under its own sequence, or else the next. `make` is told which, and answers the
    /// event and what it costs. Durable groups are woken.
    ///
    /// `None`, and nothing is kept, if there is an event of this sequence already (sources may
    /// overlap), or it is older than what was evicted.
    pub fn retain(
        &self,
        now: u64,
        topic: &Arc<str>,
        sequence: Option<u64>,
        make: impl FnOnce(u64) -> (E, usize),
    ) -> Option<Placed> {
        let mut state = self.state();
        let sequence = sequence.unwrap_or(state.sequence + 1);
        let placed = Placed {
            sequence,
            arrival: state.arrival + 1,
        };
        let late = sequence <= state.sequence;
        if late && state.store.get(sequence).is_some() {
            return None;
        }
        let (event, bytes) = make(sequence);
        let kept = Kept {
            arrival: placed.arrival,
            event,
        };
        let taken = state.store.push(
            now,
            Retained {
                sequence,
                time: now,
                topic: Arc::clone(topic),
                bytes,
                event: kept,
            },
        );
        if !taken {
            return None;
        }
        state.sequence = state.sequence.max(sequence);
        state.arrival = placed.arrival;
        let first = state.store.first_sequence().unwrap_or(sequence);
        if late {
            let State { store, replays, .. } = &mut *state;
            replays.insert_late(sequence, topic, store);
        }
        drop(state);
        if late {
            for group in lock(&self.groups).values() {
                lock(&group.state)
                    .durable
                    .insert_late(sequence, topic, first);
            }
        }
        if self.hungry.load(Ordering::SeqCst) > 0 {
            self.wake();
        }
        Some(placed)
    }

    /// The sequence with which a start begins. Fails if an event that it asks for was evicted, and for
    /// a sequence beyond the next: then sequences were counted anew since it was seen. Before the first
    /// event any sequence is a start, for that event may come with its own.
    pub fn start(&self, now: u64, start: Start) -> Result<u64, OutOfRange> {
        self.state().start(now, start)
    }

    /// Evicts what is too old. By itself that happens with an event, and before a start is looked up.
    pub fn expire(&self, now: u64) {
        self.state().store.expire(now);
    }

    /// What is there now.
    pub fn levels(&self) -> Levels {
        let state = self.state();
        Levels {
            events: state.store.len(),
            bytes: state.store.bytes(),
            evicted: state.store.evicted(),
            last_sequence: state.sequence,
        }
    }

    /// Joins a durable group, which is made if there is none of that name; `now` is the wall clock. `wake` is called, on any
    /// thread and under locks, when a member that was given less than it asked for should ask again;
    /// it must not call back.
    ///
    /// # Errors
    /// As [`DurableError`] says; nothing has changed then.
    pub fn join(
        self: &Arc<Self>,
        now: u64,
        name: &str,
        asked: &Durable<'_>,
        wake: Waker,
    ) -> Result<Member<E>, DurableError> {
        let options = DurableOptions {
            ack_wait_ms: asked.ack_wait_ms,
            deliveries_max: asked.deliveries_max,
            unsettled_max: UNSETTLED_MAX,
        };
        let mut groups = lock(&self.groups);
        let group = match groups.get(name) {
            Some(group) => {
                let mut state = lock(&group.state);
                if state.durable.pattern() != asked.pattern {
                    return Err(DurableError::OtherPattern {
                        pattern: state.durable.pattern().clone(),
                    });
                }
                state.durable.configure(options);
                Arc::clone(group)
            }
            None => {
                if groups.len() >= GROUPS_MAX {
                    return Err(DurableError::TooMany);
                }
                let first = self
                    .start(now, asked.start)
                    .map_err(DurableError::OutOfRange)?;
                let group = Arc::new(Group {
                    state: Mutex::new(GroupState {
                        durable: DurableGroup::new(asked.pattern.clone(), first, options),
                        seats: Vec::new(),
                        holds: false,
                    }),
                    needs: AtomicUsize::new(usize::MAX),
                });
                groups.insert(name.into(), Arc::clone(&group));
                group
            }
        };
        drop(groups);
        let mut state = lock(&group.state);
        let id = state.durable.join();
        state.seats.push(Seat {
            id,
            hungry: false,
            unacknowledged_max: asked.unacknowledged_max,
            wake,
        });
        drop(state);
        Ok(Member {
            past: Arc::clone(self),
            group,
            id,
        })
    }

    /// The durable groups together.
    pub fn durables(&self) -> Durables {
        let groups = lock(&self.groups);
        let mut sum = Durables {
            groups: groups.len(),
            ..Durables::default()
        };
        for group in groups.values() {
            let durable = &lock(&group.state).durable;
            sum.unsettled += durable.unsettled();
            sum.unsettled_bytes += durable.unsettled_bytes();
            sum.counters = sum.counters + durable.counters();
        }
        sum
    }

    /// Wakes every member that waits for events.
    fn wake(&self) {
        for group in lock(&self.groups).values() {
            lock(&group.state).wake(&self.hungry);
        }
    }

    /// Wakes the members of groups that were held back, and for which the share of each is enough now
    /// that one group less has events in its hands.
    fn share_out(&self) {
        if self.held_back.load(Ordering::SeqCst) == 0 {
            return;
        }
        let share = self.unsettled_bytes_max / self.holding.load(Ordering::SeqCst).max(1);
        for group in lock(&self.groups).values() {
            if group.needs.load(Ordering::SeqCst) <= share {
                group.settle(&mut lock(&group.state), self);
            }
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State<E>> {
        lock(&self.state)
    }
}

/// Called when a member should ask again.
pub type Waker = Box<dyn Fn() + Send>;

/// How a member wants its durable group, and its own part in it.
#[derive(Clone, Copy, Debug)]
pub struct Durable<'pattern> {
    /// Which topics: the same for all members.
    pub pattern: &'pattern Pattern,
    /// Where a group begins that does not exist yet.
    pub start: Start,
    /// [`DurableOptions::ack_wait_ms`], for the group from now on.
    pub ack_wait_ms: u64,
    /// [`DurableOptions::deliveries_max`], for the group from now on.
    pub deliveries_max: u32,
    /// How many deliveries this member may hold unacknowledged; it gets no more until it answers some.
    pub unacknowledged_max: usize,
}

/// Why somebody cannot join a durable group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DurableError {
    /// The group exists with another pattern.
    OtherPattern {
        /// This one.
        pattern: Pattern,
    },
    /// The start is not retained.
    OutOfRange(OutOfRange),
    /// There are [`GROUPS_MAX`] groups.
    TooMany,
}

impl fmt::Display for DurableError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherPattern { pattern } => write!(
                to,
                "the group exists with the pattern {}; give the same, or another group",
                pattern.as_str()
            ),
            Self::OutOfRange(error) => error.fmt(to),
            Self::TooMany => write!(
                to,
                "there are {GROUPS_MAX} durable groups, as many as may be; use the name of one of them"
            ),
        }
    }
}

impl std::error::Error for DurableError {}

#[derive(Debug)]
struct Group<E> {
    state: Mutex<GroupState<E>>,
    /// The least share at which it takes the event that was held back; `usize::MAX`: none was, or it is not
    /// bytes that it is short of. Written under the lock.
    needs: AtomicUsize,
}

#[derive(Debug)]
struct GroupState<E> {
    durable: DurableGroup<Kept<E>>,
    seats: Vec<Seat>,
    /// Whether it counts in [`Past::holding`].
    holds: bool,
}

struct Seat {
    id: MemberId,
    /// It was given less than it asked for, and was not woken since.
    hungry: bool,
    unacknowledged_max: usize,
    wake: Waker,
}

impl fmt::Debug for Seat {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Seat")
            .field("id", &self.id)
            .field("hungry", &self.hungry)
            .finish_non_exhaustive()
    }
}

impl<E: Clone> GroupState<E> {
    fn wake(&mut self, hungry: &AtomicUsize) {
        for seat in &mut self.seats {
            if std::mem::take(&mut seat.hungry) {
                hungry.fetch_sub(1, Ordering::SeqCst);
                (seat.wake)();
            }
        }
    }

    /// How many bytes it may have in its hands.
    fn share(&self, past: &Past<E>) -> usize {
        let others = past.holding.load(Ordering::SeqCst) - usize::from(self.holds);
        past.unsettled_bytes_max / (others + 1)
    }

    /// After something may have been put back for any member.
    fn wake_if_waiting(&mut self, hungry: &AtomicUsize) {
        if self.durable.waiting() > 0 {
            self.wake(hungry);
        }
    }
}

impl<E: Clone> Group<E> {
    /// After something may have come into its hands, or gone, or its share has grown: its members are woken
    /// if there is room now for what was held back. Whether the share of the others has grown by it:
    /// [`Past::share_out`] sees to them, under no group's lock.
    fn settle(&self, state: &mut GroupState<E>, past: &Past<E>) -> bool {
        let holds = state.durable.unsettled() > 0;
        let held = std::mem::replace(&mut state.holds, holds);
        match (held, holds) {
            (false, true) => past.holding.fetch_add(1, Ordering::SeqCst),
            (true, false) => past.holding.fetch_sub(1, Ordering::SeqCst),
            _ => 0,
        };
        // What it needs is shown before it looks at its share: a share that grows afterwards is not missed.
        self.show_needs(state, past);
        if state.durable.has_room_again(state.share(past)) {
            state.wake(&past.hungry);
            self.show_needs(state, past);
        }
        held && !holds
    }

    fn show_needs(&self, state: &GroupState<E>, past: &Past<E>) {
        let needs = state.durable.needs().unwrap_or(usize::MAX);
        if needs == self.needs.load(Ordering::Relaxed) {
            return;
        }
        match (self.needs.swap(needs, Ordering::SeqCst), needs) {
            (_, usize::MAX) => past.held_back.fetch_sub(1, Ordering::SeqCst),
            (usize::MAX, _) => past.held_back.fetch_add(1, Ordering::SeqCst),
            _ => 0,
        };
    }
}

/// A member of a durable group; it leaves when it is dropped.
#[derive(Debug)]
pub struct Member<E: Clone> {
    past: Arc<Past<E>>,
    group: Arc<Group<E>>,
    id: MemberId,
}

impl<E: Clone> Member<E> {
    /// Asks for up to `max` events, appended to `into`. Whether there are more for it at once; if not,
    /// and it was given less than it asked for, it is woken when it should ask again. While it holds
    /// as many as it may, it should ask again after an answer.
    pub fn take(&self, now: u64, max: usize, into: &mut Vec<Delivery<Kept<E>>>) -> bool {
        let mut state = lock(&self.group.state);
        let share = state.share(&self.past);
        let GroupState { durable, seats, .. } = &mut *state;
        let Some(seat) = seats.iter_mut().find(|seat| seat.id == self.id) else {
            return false;
        };
        let room = seat
            .unacknowledged_max
            .saturating_sub(durable.held(self.id));
        let most = max.min(room);
        if most == 0 {
            return false;
        }
        // Before the store is looked at: what comes after that wakes it.
        if !std::mem::replace(&mut seat.hungry, true) {
            self.past.hungry.fetch_add(1, Ordering::SeqCst);
        }
        let before = into.len();
        let more = durable.take(now, self.id, most, share, &self.past.state().store, into);
        let given = into.len() - before;
        if more || given == most {
            seat.hungry = false;
            self.past.hungry.fetch_sub(1, Ordering::SeqCst);
        }
        self.group.settle(&mut state, &self.past);
        // Its own that have timed out may be for others.
        state.wake_if_waiting(&self.past.hungry);
        more && (most == max || given < most)
    }

    /// [`DurableGroup::acknowledge`]
    pub fn acknowledge(&self, sequence: u64) -> bool {
        let mut state = lock(&self.group.state);
        let its_own = state.durable.acknowledge(self.id, sequence);
        if its_own && self.group.settle(&mut state, &self.past) {
            drop(state);
            self.past.share_out();
        }
        its_own
    }

    /// [`DurableGroup::reject`]
    pub fn reject(&self, sequence: u64) -> bool {
        let mut state = lock(&self.group.state);
        let its_own = state.durable.reject(self.id, sequence);
        state.wake_if_waiting(&self.past.hungry);
        its_own
    }

    /// Has what was delivered too long ago wait for members again. When there is something to do next.
    pub fn expire(&self, now: u64) -> Option<u64> {
        let mut state = lock(&self.group.state);
        state.durable.expire(now);
        state.wake_if_waiting(&self.past.hungry);
        state.durable.next_due()
    }

    /// Leaves: what it has not acknowledged waits for others, or is dead, at once. It is given nothing
    /// any more, but may still take dead letters.
    pub fn leave(&self) {
        let mut state = lock(&self.group.state);
        state.durable.leave(self.id);
        if let Some(place) = state.seats.iter().position(|seat| seat.id == self.id) {
            let seat = state.seats.swap_remove(place);
            if seat.hungry {
                self.past.hungry.fetch_sub(1, Ordering::SeqCst);
            }
        }
        state.wake_if_waiting(&self.past.hungry);
    }

    /// [`DurableGroup::dead_letter`]
    pub fn dead_letter(&self) -> Option<DeadLetter<Kept<E>>> {
        let mut state = lock(&self.group.state);
        let letter = state.durable.dead_letter();
        if letter.is_some() && self.group.settle(&mut state, &self.past) {
            drop(state);
            self.past.share_out();
        }
        letter
    }
}

impl<E: Clone> Drop for Member<E> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// What a lock guards is whole between any two statements that could panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::SyntaxLimits;

    #[test]
    fn nothing_is_retained_while_a_replay_tells_its_end() {
        let past = Arc::new(Past::new(
            Retention {
                count_max: 10,
                bytes_max: 10,
                age_ms_max: 10,
            },
            10,
        ));
        let pattern = Pattern::parse("a", &SyntaxLimits::default()).unwrap();
        let replay = past.replay(0, Start::Earliest, pattern).unwrap();
        past.retain(0, &Arc::from("a"), None, |sequence| (sequence, 1));
        let mut told = None;
        let piece = replay.read(10, &mut Vec::new(), |arrival| {
            told = Some((arrival, past.state.try_lock().is_err()));
        });
        assert_eq!(told, Some((piece.arrival, true)));
        assert!(past.state.try_lock().is_ok());
    }
}
