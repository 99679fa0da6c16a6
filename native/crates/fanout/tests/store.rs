//! What the store keeps and replays, against a list that forgets by the same rules.

use std::sync::Arc;

use millrace_fanout::{OutOfRange, Retained, Retention, Start, Store};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// Publishes after so many milliseconds; its sequence skips so many; of so many bytes.
    Push {
        after: u64,
        skip: u64,
        bytes: usize,
    },
    /// Publishes with a sequence so far before the newest, as another thread would.
    Late {
        behind: u64,
        bytes: usize,
    },
    Wait(u64),
    From(u64),
    At(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u64..20, 0u64..3, 0usize..40)
            .prop_map(|(after, skip, bytes)| Step::Push { after, skip, bytes }),
        2 => (0u64..6, 0usize..40).prop_map(|(behind, bytes)| Step::Late { behind, bytes }),
        1 => (0u64..80).prop_map(Step::Wait),
        2 => (0u64..60).prop_map(Step::From),
        2 => (0u64..400).prop_map(Step::At),
    ]
}

/// A list of everything that was ever taken, and where what is kept begins.
struct Model {
    all: Vec<Retained<u64>>,
    kept_from: usize,
    /// `None` before the first.
    first: Option<u64>,
}

impl Model {
    fn kept(&self) -> &[Retained<u64>] {
        &self.all[self.kept_from..]
    }

    fn evict(&mut self, now: u64, retention: &Retention) {
        loop {
            let kept = self.kept();
            let bytes: usize = kept.iter().map(|event| event.bytes).sum();
            let over = kept.len() > retention.count_max
                || (bytes > retention.bytes_max && kept.len() > 1)
                || kept
                    .first()
                    .is_some_and(|oldest| now > oldest.time + retention.age_ms_max);
            if !over {
                return;
            }
            self.first = Some(self.kept()[0].sequence + 1);
            self.kept_from += 1;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn keeps_and_replays_what_a_list_would(
        steps in prop::collection::vec(step(), 1..80),
        count_max in 1usize..20,
        bytes_max in 1usize..200,
        age_ms_max in 1u64..200,
    ) {
        let retention = Retention { count_max, bytes_max, age_ms_max };
        let mut store = Store::new(retention);
        let mut model = Model { all: Vec::new(), kept_from: 0, first: None };
        let (mut now, mut last) = (100, 0);
        for step in steps {
            let push = match step {
                Step::Push { after, skip, bytes } => {
                    now += after;
                    last += 1 + skip;
                    Some((last, bytes))
                }
                Step::Late { behind, bytes } if last > behind => Some((last - behind, bytes)),
                _ => None,
            };
            if let Some((sequence, bytes)) = push {
                let event = Retained {
                    sequence,
                    time: now,
                    topic: Arc::from("a"),
                    bytes,
                    event: sequence * 10,
                };
                let known = model.all.iter().any(|each| each.sequence == sequence);
                let too_late = model.kept_from > 0 && Some(sequence) < model.first;
                let kept = store.push(now, event.clone());
                prop_assert_eq!(kept, !known && !too_late);
                if kept {
                    let at = model.all.partition_point(|each| each.sequence < sequence);
                    prop_assert!(at >= model.kept_from);
                    let mut event = event;
                    if let Some(after) = model.all.get(at) {
                        event.time = event.time.min(after.time);
                    }
                    model.all.insert(at, event);
                    model.first = Some(model.first.map_or(sequence, |first| first.min(sequence)));
                    model.evict(now, &retention);
                }
            }
            match step {
                Step::Wait(duration) => {
                    now += duration;
                    store.expire(now);
                    model.evict(now, &retention);
                }
                Step::From(sequence) => {
                    let expected = match model.first {
                        Some(first) if sequence.max(1) < first => Err(OutOfRange { first }),
                        _ => Ok(sequence),
                    };
                    prop_assert_eq!(store.start(Start::Sequence(sequence)), expected);
                    let replayed: Vec<_> = store.from(sequence).cloned().collect();
                    let wanted: Vec<_> = model
                        .kept()
                        .iter()
                        .filter(|event| event.sequence >= sequence)
                        .cloned()
                        .collect();
                    prop_assert_eq!(replayed, wanted);
                    let one = model.kept().iter().find(|event| event.sequence == sequence);
                    prop_assert_eq!(store.get(sequence), one);
                }
                Step::At(time) => {
                    let lost = model.all[..model.kept_from].iter().any(|event| event.time >= time);
                    match store.start(Start::Time(time)) {
                        Err(error) => {
                            prop_assert!(lost);
                            prop_assert_eq!(Some(error.first), model.first);
                        }
                        Ok(sequence) => {
                            prop_assert!(!lost);
                            let replayed: Vec<_> = store.from(sequence).cloned().collect();
                            let wanted: Vec<_> = model
                                .kept()
                                .iter()
                                .filter(|event| event.time >= time)
                                .cloned()
                                .collect();
                            prop_assert_eq!(replayed, wanted);
                        }
                    }
                }
                _ => {}
            }
            prop_assert_eq!(store.len(), model.kept().len());
            prop_assert_eq!(store.is_empty(), model.kept().is_empty());
            let bytes: usize = model.kept().iter().map(|event| event.bytes).sum();
            prop_assert_eq!(store.bytes(), bytes);
            prop_assert_eq!(store.evicted(), model.kept_from as u64);
            prop_assert_eq!(store.first_sequence(), model.first);
            prop_assert_eq!(
                store.last_sequence(),
                model.kept().last().map(|event| event.sequence)
            );
            let earliest = store.start(Start::Earliest).unwrap();
            prop_assert_eq!(store.from(earliest).count(), model.kept().len());
            let latest = store.start(Start::Latest).unwrap();
            prop_assert_eq!(store.from(latest).count(), 0);
        }
    }
}
