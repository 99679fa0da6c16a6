//! Retained events and durable groups, shared by threads.

use std::{
    collections::HashMap,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use millrace_fanout::{
    Delivery, Durable, DurableError, Durables, Kept, Member, Past, Pattern, Placed, Retention,
    Start, SyntaxLimits,
};

const ROOMY: Retention = Retention {
    count_max: usize::MAX,
    bytes_max: usize::MAX,
    age_ms_max: u64::MAX,
};

/// Long enough for a machine with other work; only a defect waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text, &SyntaxLimits::default()).unwrap()
}

fn publish(past: &Past<u64>, topic: &str, sequence: Option<u64>) -> Option<Placed> {
    past.retain(0, &Arc::from(topic), sequence, |sequence| (sequence, 1))
}

fn durable(pattern: &Pattern) -> Durable<'_> {
    Durable {
        pattern,
        start: Start::Earliest,
        ack_wait_ms: 1_000,
        deliveries_max: 2,
        unacknowledged_max: 10,
    }
}

/// A waker, and what is told by it.
fn bell() -> (Box<dyn Fn() + Send>, Receiver<()>) {
    let (ring, heard): (Sender<()>, _) = channel();
    let wake = move || {
        // Whoever does not listen any more is gone.
        let _ = ring.send(());
    };
    (Box::new(wake), heard)
}

fn sequences(deliveries: &mut Vec<Delivery<Kept<u64>>>) -> Vec<(u64, u32)> {
    deliveries
        .drain(..)
        .map(|delivery| (delivery.sequence, delivery.attempt))
        .collect()
}

#[test]
fn sequences_are_counted_or_taken_as_given() {
    let past = Past::new(ROOMY, usize::MAX);
    assert_eq!(publish(&past, "a", None).unwrap().sequence, 1);
    assert_eq!(publish(&past, "a", Some(7)).unwrap().sequence, 7);
    let late = publish(&past, "a", Some(5)).unwrap();
    assert_eq!((late.sequence, late.arrival), (5, 3));
    assert_eq!(publish(&past, "a", Some(7)), None, "it is there already");
    assert_eq!(publish(&past, "a", None).unwrap().sequence, 8);
    assert_eq!(past.levels().events, 4);
}

#[test]
fn a_start_beyond_the_next_event_is_of_another_count() {
    let past = Past::new(ROOMY, usize::MAX);
    assert_eq!(past.start(0, Start::Sequence(9)), Ok(9), "it may come as 9");
    publish(&past, "a", None);
    assert_eq!(past.start(0, Start::Sequence(2)), Ok(2));
    assert_eq!(past.start(0, Start::Sequence(3)).unwrap_err().first, 1);
}

#[test]
fn members_of_a_group_share_its_events_and_agree_on_its_pattern() {
    let past = Arc::new(Past::new(ROOMY, usize::MAX));
    let (all, some) = (pattern(">"), pattern("a"));
    let one = past.join(0, "group", &durable(&all), bell().0).unwrap();
    let two = past.join(0, "group", &durable(&all), bell().0).unwrap();
    assert_eq!(
        past.join(0, "group", &durable(&some), bell().0)
            .unwrap_err(),
        DurableError::OtherPattern {
            pattern: all.clone()
        }
    );
    for _ in 0..4 {
        publish(&past, "a", None);
    }
    let mut deliveries = Vec::new();
    assert!(one.take(0, 3, &mut deliveries));
    assert_eq!(sequences(&mut deliveries), [(1, 1), (2, 1), (3, 1)]);
    assert!(!two.take(0, 3, &mut deliveries));
    assert_eq!(sequences(&mut deliveries), [(4, 1)]);
    assert!(!two.acknowledge(1));
    assert!(one.acknowledge(1));
    drop(one);
    assert!(!two.take(0, 3, &mut deliveries));
    assert_eq!(sequences(&mut deliveries), [(2, 2), (3, 2)]);
    // The group stays when nobody is in it.
    drop(two);
    let letters = past.join(0, "group", &durable(&all), bell().0).unwrap();
    let dead: Vec<u64> = std::iter::from_fn(|| letters.dead_letter())
        .map(|letter| letter.sequence)
        .collect();
    assert_eq!(dead, [2, 3], "two deliveries are the most");
    assert!(!letters.take(0, 3, &mut deliveries));
    assert_eq!(sequences(&mut deliveries), [(4, 2)]);
    let Durables {
        groups, counters, ..
    } = past.durables();
    assert_eq!((groups, counters.acknowledged, counters.dead), (1, 1, 2));
}

#[test]
fn a_member_holds_no_more_than_it_may() {
    let past = Arc::new(Past::new(ROOMY, usize::MAX));
    let all = pattern(">");
    let member = past.join(0, "group", &durable(&all), bell().0).unwrap();
    for _ in 0..15 {
        publish(&past, "a", None);
    }
    let mut deliveries = Vec::new();
    assert!(!member.take(0, 100, &mut deliveries));
    assert_eq!(deliveries.len(), 10);
    assert!(!member.take(0, 100, &mut deliveries));
    assert_eq!(deliveries.len(), 10);
    assert!(member.acknowledge(4));
    assert!(!member.take(0, 100, &mut deliveries));
    assert_eq!(deliveries.len(), 11);
}

#[test]
fn who_is_hungry_is_woken_once() {
    let past = Arc::new(Past::new(ROOMY, usize::MAX));
    let all = pattern(">");
    let (wake, woken) = bell();
    let member = past.join(0, "group", &durable(&all), wake).unwrap();
    let mut deliveries = Vec::new();
    publish(&past, "a", None);
    assert!(woken.try_recv().is_err(), "it has not asked");
    assert!(!member.take(0, 1, &mut deliveries));
    publish(&past, "a", None);
    assert!(woken.try_recv().is_err(), "it was given what it asked for");
    assert!(!member.take(0, 5, &mut deliveries));
    publish(&past, "a", None);
    publish(&past, "a", None);
    assert_eq!(woken.try_iter().count(), 1);

    let (wake, woken) = bell();
    let other = past.join(0, "group", &durable(&all), wake).unwrap();
    assert!(!other.take(0, 5, &mut deliveries));
    assert_eq!(deliveries.len(), 4);
    assert!(member.reject(1));
    assert_eq!(woken.try_iter().count(), 1, "what is put back is for it");
    assert!(!other.take(0, 5, &mut deliveries));
    assert_eq!(member.expire(1_000), None);
    assert_eq!(woken.try_iter().count(), 1);
    drop(member);
}

#[test]
fn groups_share_the_bytes_that_they_may_hold() {
    let past = Arc::new(Past::new(ROOMY, 10));
    let all = pattern(">");
    for _ in 0..30 {
        publish(&past, "a", None);
    }
    let ask = |member: &Member<u64>, count| {
        let mut deliveries = Vec::new();
        assert!(!member.take(0, count, &mut deliveries));
        sequences(&mut deliveries).len()
    };
    let roomy = Durable {
        unacknowledged_max: 100,
        ..durable(&all)
    };
    let (wake, woken) = bell();
    let first = past.join(0, "first", &roomy, wake).unwrap();
    let second = past.join(0, "second", &roomy, bell().0).unwrap();
    assert_eq!(ask(&first, 20), 10, "alone it has all");
    assert_eq!(ask(&second, 20), 5, "a half");
    let held = past.durables();
    assert_eq!((held.unsettled, held.unsettled_bytes), (15, 15));
    assert_eq!(held.counters.held_back, 2);
    for sequence in 1..=5 {
        assert!(first.acknowledge(sequence));
        assert_eq!(woken.try_iter().count(), 0, "it has a half still");
    }
    assert!(first.acknowledge(6));
    assert_eq!(woken.try_iter().count(), 1);
    assert_eq!(ask(&first, 20), 1);
    for sequence in 1..=5 {
        assert!(second.acknowledge(sequence));
    }
    // Nothing is left of the other's.
    assert!(first.acknowledge(7));
    assert_eq!(woken.try_iter().count(), 1);
    assert_eq!(ask(&first, 20), 6);
    assert_eq!(past.durables().unsettled_bytes, 10);
}

#[test]
fn a_group_whose_share_grows_is_woken_when_it_does() {
    let past = Arc::new(Past::new(ROOMY, 12));
    let all = pattern(">");
    for _ in 0..30 {
        publish(&past, "a", None);
    }
    let asked = Durable {
        unacknowledged_max: 100,
        deliveries_max: 1,
        ..durable(&all)
    };
    let take = |member: &Member<u64>| {
        let mut deliveries = Vec::new();
        assert!(!member.take(0, 20, &mut deliveries));
        sequences(&mut deliveries).len()
    };
    let (wake, woken) = bell();
    let heard = || woken.try_iter().count();
    let group = |name| past.join(0, name, &asked, bell().0).unwrap();
    let (second, third) = (group("second"), group("third"));
    let waits = past.join(0, "waits", &asked, wake).unwrap();
    let mut deliveries = Vec::new();
    second.take(0, 1, &mut deliveries);
    third.take(0, 2, &mut deliveries);
    assert_eq!(take(&waits), 4, "a third");
    assert_eq!(heard(), 0);
    assert!(second.acknowledge(1));
    assert_eq!(heard(), 1, "a half is its now");
    assert_eq!(take(&waits), 2);
    assert!(third.acknowledge(1));
    assert_eq!(heard(), 0, "the third group holds something still");
    // What is dead is held until somebody has taken it.
    assert!(third.reject(2));
    assert_eq!(heard(), 0);
    assert!(third.dead_letter().is_some());
    assert_eq!(heard(), 1, "it is alone");
    assert_eq!(take(&waits), 6);
    // Whoever waits for more than there would be is left alone.
    second.take(0, 1, &mut deliveries);
    assert!(second.acknowledge(2));
    assert_eq!(heard(), 0);
}

/// One group asks for more in the moment in which another gives up its share.
#[test]
fn no_growth_of_a_share_is_missed() {
    const ROUNDS: u64 = 2_000;
    let past = Arc::new(Past::new(ROOMY, 4));
    let all = pattern(">");
    for _ in 0..ROUNDS * 4 {
        publish(&past, "a", None);
    }
    let (wake, woken) = bell();
    let waits = past.join(0, "waits", &durable(&all), wake).unwrap();
    let leaves = past.join(0, "leaves", &durable(&all), bell().0).unwrap();
    let mut deliveries = Vec::new();
    for _ in 0..ROUNDS {
        leaves.take(0, 1, &mut deliveries);
        let own = sequences(&mut deliveries)[0].0;
        let together = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                together.wait();
                assert!(leaves.acknowledge(own));
            });
            together.wait();
            waits.take(0, 10, &mut deliveries);
        });
        if deliveries.len() < 4 {
            assert_eq!(deliveries.len(), 2, "a half");
            woken.try_recv().expect("it is woken");
            waits.take(0, 10, &mut deliveries);
        }
        let held = sequences(&mut deliveries);
        assert_eq!(held.len(), 4, "all");
        for (sequence, _) in held {
            assert!(waits.acknowledge(sequence));
        }
        while woken.try_recv().is_ok() {}
    }
}

/// Members come and go on their threads, reject and forget, while others publish.
#[test]
fn threads_lose_nothing() {
    const PUBLISHERS: usize = 3;
    const EVENTS: usize = 2_000;
    let past = Arc::new(Past::new(ROOMY, usize::MAX));
    let all = pattern(">");
    let acknowledged: Mutex<HashMap<u64, u32>> = Mutex::default();
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for consumer in 0..3u64 {
            let (past, all, acknowledged, done) = (&past, &all, &acknowledged, &done);
            scope.spawn(move || {
                let mut life = 0;
                while done.load(Ordering::SeqCst) < PUBLISHERS * EVENTS {
                    life += 1;
                    let (wake, woken) = bell();
                    let asked = Durable {
                        deliveries_max: 0,
                        ack_wait_ms: u64::MAX,
                        ..durable(all)
                    };
                    let member = past.join(0, "group", &asked, wake).unwrap();
                    let mut deliveries = Vec::new();
                    for round in 0.. {
                        let more = member.take(0, 7, &mut deliveries);
                        for delivery in deliveries.drain(..) {
                            let number =
                                delivery.sequence + u64::from(delivery.attempt) * 3 + consumer;
                            if number % 11 == 0 {
                                assert!(member.reject(delivery.sequence));
                            } else {
                                assert!(member.acknowledge(delivery.sequence));
                                *acknowledged
                                    .lock()
                                    .unwrap()
                                    .entry(delivery.sequence)
                                    .or_default() += 1;
                                done.fetch_add(1, Ordering::SeqCst);
                            }
                        }
                        // The last member to be hungry hears of the end by nobody: it looks now and then.
                        if done.load(Ordering::SeqCst) == PUBLISHERS * EVENTS {
                            return;
                        }
                        if round % 20 == life % 20 {
                            // Leaves with what it was given last.
                            member.take(0, 5, &mut deliveries);
                            break;
                        }
                        if !more {
                            let _ = woken.recv_timeout(Duration::from_millis(20));
                        }
                    }
                }
            });
        }
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|_| {
                let past = &past;
                scope.spawn(move || {
                    for _ in 0..EVENTS {
                        publish(past, "a", None).unwrap();
                    }
                })
            })
            .collect();
        for publisher in publishers {
            publisher.join().unwrap();
        }
    });
    let acknowledged = acknowledged.into_inner().unwrap();
    assert_eq!(acknowledged.len(), PUBLISHERS * EVENTS);
    assert!(acknowledged.values().all(|&count| count == 1));
}

/// A member that waits for nothing but its waker misses no event.
#[test]
fn no_wake_up_is_lost() {
    const EVENTS: u64 = 20_000;
    let past = Arc::new(Past::new(ROOMY, usize::MAX));
    let all = pattern(">");
    let (wake, woken) = bell();
    let member = past.join(0, "group", &durable(&all), wake).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..EVENTS {
                publish(&past, "a", None).unwrap();
            }
        });
        let mut deliveries = Vec::new();
        let mut last = 0;
        while last < EVENTS {
            let more = member.take(0, 10, &mut deliveries);
            let given = deliveries.len();
            for delivery in deliveries.drain(..) {
                assert_eq!(delivery.sequence, last + 1);
                last += 1;
                assert!(member.acknowledge(delivery.sequence));
            }
            if !more && given < 10 && last < EVENTS {
                woken.recv_timeout(PATIENCE).expect("it is woken");
            }
        }
    });
}
