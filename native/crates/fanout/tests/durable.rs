//! A durable group against a table of what should have become of each event.

use std::{collections::BTreeMap, sync::Arc};

use millrace_fanout::{
    DeadLetter, Delivery, DurableGroup, DurableOptions, MemberId, Pattern, Retained, Retention,
    Start, Store, SyntaxLimits,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Publish {
        matching: bool,
        skip: u64,
    },
    Late {
        behind: u64,
        matching: bool,
    },
    Join,
    Leave(usize),
    Take {
        member: usize,
        max: usize,
    },
    /// Of what the member holds (or somebody else, or nobody), the one at this place.
    Acknowledge {
        member: usize,
        place: usize,
    },
    Reject {
        member: usize,
        place: usize,
    },
    Wait(u64),
    TakeDeadLetters,
}

fn step() -> impl Strategy<Value = Step> {
    let any_member = 0usize..4;
    prop_oneof![
        6 => (prop::bool::weighted(0.8), 0u64..3)
            .prop_map(|(matching, skip)| Step::Publish { matching, skip }),
        1 => (1u64..5, any::<bool>()).prop_map(|(behind, matching)| Step::Late { behind, matching }),
        2 => Just(Step::Join),
        1 => any_member.clone().prop_map(Step::Leave),
        6 => (any_member.clone(), 0usize..6).prop_map(|(member, max)| Step::Take { member, max }),
        5 => (any_member.clone(), 0usize..12)
            .prop_map(|(member, place)| Step::Acknowledge { member, place }),
        2 => (any_member, 0usize..12).prop_map(|(member, place)| Step::Reject { member, place }),
        3 => (0u64..60).prop_map(Step::Wait),
        1 => Just(Step::TakeDeadLetters),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// Its topic does not match.
    Foreign,
    New,
    Delivered {
        to: MemberId,
        due: u64,
    },
    Waiting {
        late: Option<MemberId>,
    },
    Acknowledged,
    Dead,
    Buried,
}

struct Model {
    options: DurableOptions,
    bytes_max: usize,
    /// Every event by its sequence: what became of it, and how often it was delivered.
    events: BTreeMap<u64, (Fate, u32)>,
    now: u64,
    graves: Vec<u64>,
}

impl Model {
    fn fail(&mut self, sequence: u64, late: Option<MemberId>) {
        let (fate, attempts) = self.events.get_mut(&sequence).unwrap();
        if *attempts == self.options.deliveries_max {
            *fate = Fate::Dead;
            self.graves.push(sequence);
        } else {
            *fate = Fate::Waiting { late };
        }
    }

    fn expire(&mut self) {
        let mut late: Vec<(u64, u64, MemberId)> = self
            .events
            .iter()
            .filter_map(|(&sequence, &(fate, _))| match fate {
                Fate::Delivered { to, due } if due <= self.now => Some((due, sequence, to)),
                _ => None,
            })
            .collect();
        late.sort();
        for (_, sequence, member) in late {
            self.fail(sequence, Some(member));
        }
    }

    /// What is in the group's hands.
    fn unsettled(&self) -> impl Iterator<Item = u64> {
        self.events
            .iter()
            .filter(|(_, (fate, _))| {
                matches!(
                    fate,
                    Fate::Delivered { .. } | Fate::Waiting { .. } | Fate::Dead
                )
            })
            .map(|(&sequence, _)| sequence)
    }

    fn unsettled_bytes(&self) -> usize {
        self.unsettled().map(bytes).sum()
    }

    fn has_room(&self, sequence: u64) -> bool {
        let count = self.unsettled().count();
        count == 0
            || count < self.options.unsettled_max
                && self.unsettled_bytes() + bytes(sequence) <= self.bytes_max
    }

    /// The lowest of those that nobody was given, and for which there is room.
    fn next_new(&self) -> Option<u64> {
        let (&sequence, _) = self
            .events
            .iter()
            .find(|(_, (fate, _))| *fate == Fate::New)?;
        self.has_room(sequence).then_some(sequence)
    }

    /// What a member should be given, as sequences and attempts: the lowest first. What is new is behind
    /// all that waits, unless its sequence came late.
    fn take(&mut self, member: MemberId, max: usize) -> Vec<(u64, u32)> {
        self.expire();
        let mut given = Vec::new();
        while given.len() < max {
            let waiting = self
                .events
                .iter()
                .find(|(_, (fate, _))| matches!(fate, Fate::Waiting { .. }))
                .map(|(&sequence, _)| sequence);
            let Some(next) = self.next_new().into_iter().chain(waiting).min() else {
                break;
            };
            given.push((next, self.deliver(member, next)));
        }
        given
    }

    /// Whether a member that takes now is given something.
    fn has_more(&self) -> bool {
        let mut fates = self.events.values().map(|(fate, _)| fate);
        fates.any(|fate| matches!(fate, Fate::Waiting { .. })) || self.next_new().is_some()
    }

    fn deliver(&mut self, member: MemberId, sequence: u64) -> u32 {
        let due = self.now + self.options.ack_wait_ms;
        let (fate, attempts) = self.events.get_mut(&sequence).unwrap();
        *fate = Fate::Delivered { to: member, due };
        *attempts += 1;
        *attempts
    }

    fn held(&self, member: MemberId) -> Vec<u64> {
        self.events
            .iter()
            .filter(|(_, (fate, _))| match fate {
                Fate::Delivered { to, .. } => *to == member,
                Fate::Waiting { late } => *late == Some(member),
                _ => false,
            })
            .map(|(&sequence, _)| sequence)
            .collect()
    }
}

/// What an event costs.
fn bytes(sequence: u64) -> usize {
    sequence as usize % 13
}

fn retained(sequence: u64, matching: bool, time: u64) -> Retained<u64> {
    Retained {
        sequence,
        time,
        topic: Arc::from(if matching { "jobs.a" } else { "other" }),
        bytes: bytes(sequence),
        event: sequence * 7,
    }
}

fn roomy<E>() -> Store<E> {
    Store::new(Retention {
        count_max: usize::MAX,
        bytes_max: usize::MAX,
        age_ms_max: u64::MAX,
    })
}

fn pattern() -> Pattern {
    Pattern::parse("jobs.>", &SyntaxLimits::default()).unwrap()
}

fn given(deliveries: &[Delivery<u64>]) -> Vec<(u64, u32)> {
    deliveries
        .iter()
        .map(|delivery| {
            assert_eq!(delivery.event, delivery.sequence * 7);
            (delivery.sequence, delivery.attempt)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_event_is_acknowledged_or_a_dead_letter(
        steps in prop::collection::vec(step(), 1..120),
        ack_wait_ms in 1u64..100,
        deliveries_max in 0u32..4,
        unsettled_max in 1usize..20,
        bytes_max in 0usize..150,
    ) {
        let options = DurableOptions { ack_wait_ms, deliveries_max, unsettled_max };
        let mut store = roomy();
        let mut group = DurableGroup::new(pattern(), 0, options);
        let mut model = Model {
            options,
            bytes_max,
            events: BTreeMap::new(),
            now: 1_000,
            graves: Vec::new(),
        };
        let mut members: Vec<MemberId> = Vec::new();
        let mut last = 0;
        let mut acknowledged = 0;
        let mut late = false;
        for step in steps {
            match step {
                Step::Publish { matching, skip } => {
                    last += 1 + skip;
                    prop_assert!(store.push(model.now, retained(last, matching, model.now)));
                    let fate = if matching { Fate::New } else { Fate::Foreign };
                    model.events.insert(last, (fate, 0));
                }
                Step::Late { behind, matching } => {
                    if let Some(sequence) = last.checked_sub(behind)
                        && sequence > 0
                        && !model.events.contains_key(&sequence)
                    {
                        let event = retained(sequence, matching, model.now);
                        prop_assert!(store.push(model.now, event.clone()));
                        group.insert_late(sequence, &event.topic, 0);
                        late = true;
                        let fate = if matching { Fate::New } else { Fate::Foreign };
                        model.events.insert(sequence, (fate, 0));
                    }
                }
                Step::Join if members.len() < 4 => members.push(group.join()),
                Step::Leave(place) if place < members.len() => {
                    let member = members.remove(place);
                    for sequence in model.held(member) {
                        if matches!(model.events[&sequence].0, Fate::Delivered { .. }) {
                            model.fail(sequence, None);
                        }
                    }
                    prop_assert!(group.leave(member));
                    prop_assert!(!group.leave(member));
                }
                Step::Take { member, max } if member < members.len() => {
                    let mut deliveries = Vec::new();
                    let more = group.take(
                        model.now,
                        members[member],
                        max,
                        bytes_max,
                        &store,
                        &mut deliveries,
                    );
                    let expected = model.take(members[member], max);
                    prop_assert_eq!(given(&deliveries), expected);
                    prop_assert!(more || max == 0 || !model.has_more());
                }
                Step::Acknowledge { member, place } if member < members.len() => {
                    let held = model.held(members[member]);
                    // Beyond what it holds: something that is not its own.
                    let sequence = held.get(place).copied().unwrap_or(place as u64);
                    let its_own = held.contains(&sequence);
                    prop_assert_eq!(group.acknowledge(members[member], sequence), its_own);
                    prop_assert!(!group.acknowledge(members[member], sequence));
                    if its_own {
                        acknowledged += 1;
                        model.events.get_mut(&sequence).unwrap().0 = Fate::Acknowledged;
                    }
                }
                Step::Reject { member, place } if member < members.len() => {
                    let held = model.held(members[member]);
                    let sequence = held.get(place).copied().unwrap_or(place as u64);
                    let its_own = model.events.get(&sequence).is_some_and(|(fate, _)| {
                        matches!(fate, Fate::Delivered { to, .. } if *to == members[member])
                    });
                    prop_assert_eq!(group.reject(members[member], sequence), its_own);
                    if its_own {
                        model.fail(sequence, None);
                    }
                }
                Step::Wait(duration) => {
                    model.now += duration;
                    group.expire(model.now);
                    model.expire();
                    let due = model.events.values().filter_map(|(fate, _)| match fate {
                        Fate::Delivered { due, .. } => Some(*due),
                        _ => None,
                    });
                    prop_assert_eq!(group.next_due(), due.min());
                }
                Step::TakeDeadLetters => {
                    while let Some(letter) = group.dead_letter() {
                        let sequence = letter.sequence;
                        prop_assert_eq!(letter, DeadLetter {
                            sequence,
                            attempts: deliveries_max,
                            event: sequence * 7,
                        });
                        prop_assert_eq!(model.graves.remove(0), sequence);
                        model.events.get_mut(&sequence).unwrap().0 = Fate::Buried;
                    }
                    prop_assert!(model.graves.is_empty());
                }
                _ => {}
            }
            prop_assert_eq!(group.dead_letters(), model.graves.len());
            prop_assert_eq!(group.counters().acknowledged, acknowledged);
            prop_assert_eq!(group.unsettled(), model.unsettled().count());
            prop_assert_eq!(group.unsettled_bytes(), model.unsettled_bytes());
            prop_assert!(group.unsettled() <= unsettled_max);
            prop_assert!(group.unsettled() <= 1 || group.unsettled_bytes() <= bytes_max);
        }

        // A member that comes and acknowledges gets the rest, lowest first but for what was waiting.
        for member in members {
            for sequence in model.held(member) {
                if matches!(model.events[&sequence].0, Fate::Delivered { .. }) {
                    model.fail(sequence, None);
                }
            }
            group.leave(member);
        }
        let member = group.join();
        let mut rest = Vec::new();
        loop {
            while let Some(letter) = group.dead_letter() {
                model.events.get_mut(&letter.sequence).unwrap().0 = Fate::Buried;
            }
            let mut deliveries = Vec::new();
            group.take(model.now, member, 3, bytes_max, &store, &mut deliveries);
            prop_assert_eq!(given(&deliveries), model.take(member, 3));
            if deliveries.is_empty() {
                break;
            }
            for delivery in deliveries {
                prop_assert!(group.acknowledge(member, delivery.sequence));
                model.events.get_mut(&delivery.sequence).unwrap().0 = Fate::Acknowledged;
                rest.push(delivery.sequence);
            }
        }
        prop_assert!(late || rest.is_sorted(), "ascending once nobody rejects: {:?}", rest);
        prop_assert_eq!(group.unsettled(), 0);
        let counters = group.counters();
        prop_assert_eq!(
            counters.acknowledged + counters.dead,
            model.events.values().filter(|(fate, _)| *fate != Fate::Foreign).count() as u64,
            "every matching event is acknowledged or dead, once"
        );
    }
}

fn group(deliveries_max: u32) -> (DurableGroup<u64>, Store<u64>) {
    let options = DurableOptions {
        ack_wait_ms: 100,
        deliveries_max,
        unsettled_max: 100,
    };
    (DurableGroup::new(pattern(), 0, options), roomy())
}

fn take(
    group: &mut DurableGroup<u64>,
    now: u64,
    member: MemberId,
    store: &Store<u64>,
) -> Vec<(u64, u32)> {
    let mut deliveries = Vec::new();
    group.take(now, member, 10, usize::MAX, store, &mut deliveries);
    given(&deliveries)
}

#[test]
fn begins_where_it_is_told_to() {
    let (_, mut store) = group(0);
    for sequence in 1..=3 {
        store.push(0, retained(sequence, true, 0));
    }
    let options = DurableOptions {
        ack_wait_ms: 100,
        deliveries_max: 0,
        unsettled_max: 100,
    };
    let first = store.start(Start::Latest).unwrap();
    let mut group = DurableGroup::new(pattern(), first, options);
    let member = group.join();
    assert_eq!(take(&mut group, 0, member, &store), []);
    store.push(0, retained(4, true, 0));
    assert_eq!(take(&mut group, 0, member, &store), [(4, 1)]);
}

#[test]
fn what_timed_out_may_be_acknowledged_until_it_is_given_to_another() {
    let (mut group, mut store) = group(0);
    for sequence in 1..=2 {
        store.push(0, retained(sequence, true, 0));
    }
    let slow = group.join();
    let other = group.join();
    assert_eq!(take(&mut group, 0, slow, &store), [(1, 1), (2, 1)]);
    group.expire(100);
    assert_eq!(group.waiting(), 2);
    assert!(!group.acknowledge(other, 1));
    assert!(group.acknowledge(slow, 1));
    assert_eq!(take(&mut group, 100, other, &store), [(2, 2)]);
    assert!(!group.acknowledge(slow, 2));
    assert!(group.acknowledge(other, 2));
    assert_eq!(group.unsettled(), 0);
}

#[test]
fn keeps_what_it_holds_whatever_retention_does_and_counts_what_it_lost() {
    let options = DurableOptions {
        ack_wait_ms: 100,
        deliveries_max: 0,
        unsettled_max: 100,
    };
    let mut store = Store::new(Retention {
        count_max: 2,
        bytes_max: usize::MAX,
        age_ms_max: u64::MAX,
    });
    let mut group = DurableGroup::new(pattern(), 0, options);
    let member = group.join();
    store.push(0, retained(1, true, 0));
    assert_eq!(take(&mut group, 0, member, &store), [(1, 1)]);
    for sequence in 2..=5 {
        store.push(0, retained(sequence, true, 0));
    }
    group.reject(member, 1);
    assert_eq!(
        take(&mut group, 0, member, &store),
        [(1, 2), (4, 1), (5, 1)]
    );
    assert_eq!(group.counters().overtaken, 1);
}

#[test]
fn a_pattern_that_matches_little_does_not_hold_up_its_caller() {
    let (mut group, mut store) = group(0);
    for sequence in 1..=10_000 {
        store.push(0, retained(sequence, sequence == 10_000, 0));
    }
    let member = group.join();
    let mut deliveries = Vec::new();
    let mut calls = 1;
    while group.take(0, member, 1, usize::MAX, &store, &mut deliveries) && deliveries.is_empty() {
        calls += 1;
    }
    assert_eq!(given(&deliveries), [(10_000, 1)]);
    assert!(calls > 1);
}

#[test]
fn what_is_held_is_bounded_by_bytes_but_for_one_event() {
    let mut store = roomy();
    let (mut group, _) = group(0);
    for (sequence, bytes) in [(1, 500), (2, 40), (3, 60), (4, 1)] {
        store.push(
            0,
            Retained {
                bytes,
                ..retained(sequence, true, 0)
            },
        );
    }
    let member = group.join();
    let take = |group: &mut DurableGroup<u64>| {
        let mut deliveries = Vec::new();
        group.take(0, member, 10, 100, &store, &mut deliveries);
        given(&deliveries)
    };
    assert_eq!(take(&mut group), [(1, 1)], "one may be larger");
    assert_eq!(
        (group.unsettled_bytes(), group.counters().held_back),
        (500, 1)
    );
    assert!(!group.has_room_again(100));
    assert!(group.reject(member, 1));
    assert_eq!(take(&mut group), [(1, 2)]);
    assert!(group.acknowledge(member, 1));
    assert!(group.has_room_again(100));
    assert!(!group.has_room_again(100), "it was said");
    assert_eq!(take(&mut group), [(2, 1), (3, 1)]);
    assert_eq!(
        (group.unsettled_bytes(), group.counters().held_back),
        (100, 2)
    );
    assert!(group.acknowledge(member, 2));
    assert!(group.has_room_again(100));
    assert_eq!(take(&mut group), [(4, 1)]);
    assert_eq!(
        (group.unsettled_bytes(), group.counters().held_back),
        (61, 2)
    );
}

#[test]
fn what_comes_late_is_no_more_than_is_retained() {
    let mut store = Store::new(Retention {
        count_max: 3,
        bytes_max: usize::MAX,
        age_ms_max: u64::MAX,
    });
    let (mut group, _) = group(0);
    let member = group.join();
    store.push(0, retained(10, true, 0));
    assert_eq!(take(&mut group, 0, member, &store), [(10, 1)]);
    for sequence in [3, 5] {
        store.push(0, retained(sequence, true, 0));
        group.insert_late(sequence, "jobs.a", store.first_sequence().unwrap());
    }
    // Evicts the first of them.
    store.push(0, retained(7, true, 0));
    group.insert_late(7, "jobs.a", store.first_sequence().unwrap());
    assert_eq!(group.counters().overtaken, 1);
    assert_eq!(group.unsettled(), 1);
    store.push(0, retained(11, true, 0));
    assert_eq!(take(&mut group, 0, member, &store), [(7, 1), (11, 1)]);
    assert_eq!(group.counters().overtaken, 2);
    assert_eq!(group.counters().redelivered, 0);
}
