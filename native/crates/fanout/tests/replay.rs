//! What replays read, against a list of everything that was retained.

use std::{collections::BTreeMap, sync::Arc};

use millrace_fanout::{Past, Pattern, Piece, Replay, Retention, Start, SyntaxLimits};
use proptest::prelude::*;

const ROOMY: Retention = Retention {
    count_max: usize::MAX,
    bytes_max: usize::MAX,
    age_ms_max: u64::MAX,
};

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text, &SyntaxLimits::default()).unwrap()
}

fn publish(past: &Past<u64>, topic: &str, sequence: Option<u64>) -> bool {
    past.retain(0, &Arc::from(topic), sequence, |sequence| (sequence, 1))
        .is_some()
}

fn past(count_max: usize) -> Arc<Past<u64>> {
    let retention = Retention { count_max, ..ROOMY };
    Arc::new(Past::new(retention, usize::MAX))
}

fn begin(past: &Arc<Past<u64>>, start: Start) -> Replay<u64> {
    past.replay(0, start, pattern("a")).unwrap()
}

fn read(replay: &Replay<u64>, max: usize) -> (Vec<u64>, Piece) {
    let mut events = Vec::new();
    let mut ended = None;
    let piece = replay.read(max, &mut events, |arrival| ended = Some(arrival));
    assert_eq!(ended, piece.end.then_some(piece.arrival));
    (
        events.iter().map(|&(sequence, _)| sequence).collect(),
        piece,
    )
}

#[derive(Clone, Debug)]
enum Step {
    Publish { matching: bool, skip: u64 },
    Late { behind: u64, matching: bool },
    Begin { back: u64 },
    Read { replay: usize, max: usize },
    End(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let any_replay = 0usize..3;
    prop_oneof![
        8 => (any::<bool>(), 0u64..3)
            .prop_map(|(matching, skip)| Step::Publish { matching, skip }),
        3 => (1u64..9, any::<bool>()).prop_map(|(behind, matching)| Step::Late { behind, matching }),
        2 => (0u64..30).prop_map(|back| Step::Begin { back }),
        5 => (any_replay.clone(), 0usize..6).prop_map(|(replay, max)| Step::Read { replay, max }),
        1 => any_replay.prop_map(Step::End),
    ]
}

/// A replay, and what it should read.
struct Reader {
    replay: Replay<u64>,
    from: u64,
    /// How much had been retained when it began.
    begun: u64,
    read: Vec<u64>,
    passed: u64,
    /// Up to where it has read, once it is at its end.
    end: Option<u64>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// Each event of its topics that was retained before its end is read once, or counted as passed over;
    /// whatever came late, and whatever the retention has evicted.
    #[test]
    fn every_event_is_read_or_counted_once(
        steps in prop::collection::vec(step(), 1..120),
        count_max in 1usize..20,
    ) {
        let past = past(count_max);
        // Arrivals and whether they match, by sequence.
        let mut all: BTreeMap<u64, (u64, bool)> = BTreeMap::new();
        let mut readers: Vec<Reader> = Vec::new();
        let (mut last, mut arrival) = (0, 0);
        for step in steps {
            let retained = match step {
                Step::Publish { matching, skip } => {
                    last += 1 + skip;
                    Some((last, matching))
                }
                Step::Late { behind, matching } if last > behind => Some((last - behind, matching)),
                _ => None,
            };
            if let Some((sequence, matching)) = retained
                && publish(&past, if matching { "a" } else { "b" }, Some(sequence))
            {
                arrival += 1;
                prop_assert!(all.insert(sequence, (arrival, matching)).is_none());
            }
            match step {
                Step::Begin { back } if readers.len() < 3 => {
                    let from = last.saturating_sub(back) + 1;
                    let first = past.start(0, Start::Earliest).unwrap();
                    let made = past.replay(0, Start::Sequence(from), pattern("a"));
                    prop_assert_eq!(made.is_ok(), from >= first);
                    if let Ok(replay) = made {
                        readers.push(Reader {
                            replay,
                            from,
                            begun: arrival,
                            read: Vec::new(),
                            passed: 0,
                            end: None,
                        });
                    }
                }
                Step::Read { replay, max } if replay < readers.len() => {
                    let reader = &mut readers[replay];
                    let (events, piece) = read(&reader.replay, max);
                    prop_assert!(events.len() <= max);
                    prop_assert_eq!(piece.arrival, arrival);
                    if reader.end.is_some() {
                        prop_assert_eq!((events.len(), piece.passed, piece.end), (0, 0, true));
                        continue;
                    }
                    reader.read.extend(events);
                    reader.passed += piece.passed;
                    reader.end = piece.end.then_some(arrival);
                }
                Step::End(replay) if replay < readers.len() => {
                    readers.remove(replay);
                }
                _ => {}
            }
        }
        for mut reader in readers {
            while reader.end.is_none() {
                let (events, piece) = read(&reader.replay, 2);
                prop_assert!(piece.end || !events.is_empty());
                reader.read.extend(events);
                reader.passed += piece.passed;
                reader.end = piece.end.then_some(arrival);
            }
            let wanted: Vec<u64> = all
                .iter()
                .filter(|&(&sequence, &(arrival, matching))| {
                    matching
                        && Some(arrival) <= reader.end
                        && (sequence >= reader.from || arrival > reader.begun)
                })
                .map(|(&sequence, _)| sequence)
                .collect();
            let mut found = reader.read.clone();
            found.sort_unstable();
            found.dedup();
            prop_assert_eq!(found.len(), reader.read.len(), "once");
            prop_assert!(found.iter().all(|sequence| wanted.contains(sequence)));
            prop_assert_eq!((found.len() as u64) + reader.passed, wanted.len() as u64);
            // In their order, but for those that came when it had passed them.
            let on_time: Vec<u64> = reader
                .read
                .iter()
                .copied()
                .filter(|sequence| {
                    let (arrival, _) = all[sequence];
                    all.range(sequence + 1..).all(|(_, &(later, _))| later > arrival)
                })
                .collect();
            prop_assert!(on_time.is_sorted(), "{:?}", reader.read);
        }
    }
}

#[test]
fn it_comes_in_pieces_and_says_where_what_is_live_begins() {
    let past = past(usize::MAX);
    for number in 0..10 {
        publish(&past, if number % 2 == 0 { "a" } else { "b" }, None);
    }
    let replay = begin(&past, Start::Sequence(3));
    let (first, piece) = read(&replay, 2);
    assert_eq!((first, piece.end), (vec![3, 5], false));
    let (second, piece) = read(&replay, 10);
    assert_eq!((second, piece.end, piece.arrival), (vec![7, 9], true, 10));
}

#[test]
fn what_comes_late_behind_it_is_read_too() {
    let past = past(usize::MAX);
    for sequence in [1, 2, 5, 6, 7] {
        publish(&past, "a", Some(sequence));
    }
    let replay = begin(&past, Start::Earliest);
    assert_eq!(read(&replay, 4).0, [1, 2, 5, 6]);
    publish(&past, "a", Some(3));
    publish(&past, "b", Some(4));
    let (events, piece) = read(&replay, 1);
    assert_eq!((events, piece.end), (vec![3], false));
    let (events, piece) = read(&replay, 9);
    assert_eq!((events, piece.end, piece.arrival), (vec![7], true, 7));
}

#[test]
fn what_came_late_and_is_gone_again_counts_as_passed_over() {
    let past = past(3);
    publish(&past, "a", Some(10));
    publish(&past, "a", Some(20));
    let replay = begin(&past, Start::Earliest);
    assert_eq!(read(&replay, 1).0, [10]);
    publish(&past, "a", Some(3));
    // Evicts that.
    publish(&past, "a", Some(5));
    let (events, piece) = read(&replay, 9);
    assert_eq!((events, piece.passed, piece.end), (vec![5, 20], 1, true));
}

#[test]
fn only_events_of_its_topics_count_as_passed_over() {
    let past = past(10);
    publish(&past, "a", None);
    let replay = begin(&past, Start::Earliest);
    for number in 0..100 {
        publish(&past, if number % 10 == 0 { "a" } else { "b" }, None);
    }
    // 1, 2, 12, … 82 are gone; 92 is there.
    let (events, piece) = read(&replay, 10);
    assert_eq!((events, piece.passed, piece.end), (vec![92], 10, true));

    publish(&past, "a", Some(5_000));
    let replay = begin(&past, Start::Sequence(5_000));
    for sequence in 5_001..5_020 {
        publish(&past, "b", Some(sequence * 10));
    }
    assert_eq!(read(&replay, 10).1.passed, 1, "no event was in the gaps");
}

#[test]
fn before_the_first_event_and_with_sequence_0_nothing_has_passed() {
    let past = past(1);
    let replay = begin(&past, Start::Earliest);
    publish(&past, "a", Some(5_000));
    assert_eq!(read(&replay, 10).1.passed, 0, "sequences begin with 5,000");
    let zero = self::past(1);
    publish(&zero, "a", None);
    let replay = begin(&zero, Start::Sequence(0));
    assert_eq!(read(&replay, 10).1.passed, 0, "0 is taken for 1");
}

#[test]
fn one_that_is_hopelessly_behind_costs_bounded_memory_and_counts_all() {
    const MANY: u64 = 100_000;
    let past = past(10);
    publish(&past, "a", None);
    let replay = begin(&past, Start::Earliest);
    for _ in 0..MANY {
        publish(&past, "b", None);
    }
    let mut passed = 0;
    loop {
        let (events, piece) = read(&replay, 10);
        assert_eq!(events, []);
        passed += piece.passed;
        if piece.end {
            break;
        }
    }
    assert!((1..MANY / 2).contains(&passed), "{passed}");
}
