//! What the trie and its kept matches answer is what each pattern says for itself.

use std::collections::BTreeMap;

use millrace_fanout::{
    Pattern, Routes, RoutesLimits, SubscriptionId, SyntaxLimits, Topic, TopicId,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Subscribe(String),
    /// Of the subscriptions that there were, the one at this place (modulo their number).
    Unsubscribe(usize),
    Publish(String),
    /// Of the names that were given, the one at this place.
    PublishAgain(usize),
}

/// Few different tokens, so that much matches.
fn token() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[abc]", 1 => "[a-c]{2}", 1 => r"[äß!]\$"]
}

fn topic() -> impl Strategy<Value = String> {
    prop::collection::vec(token(), 1..6).prop_map(|tokens| tokens.join("."))
}

fn pattern() -> impl Strategy<Value = String> {
    let part = prop_oneof![3 => token(), 2 => Just("*".to_owned())];
    (prop::collection::vec(part, 0..6), any::<bool>()).prop_map(|(mut parts, rest)| {
        if rest || parts.is_empty() {
            parts.push(">".to_owned());
        }
        parts.join(".")
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => pattern().prop_map(Step::Subscribe),
        2 => any::<usize>().prop_map(Step::Unsubscribe),
        3 => topic().prop_map(Step::Publish),
        3 => any::<usize>().prop_map(Step::PublishAgain),
    ]
}

/// Token by token, from the definition.
fn matches_naively(pattern: &[&str], topic: &[&str]) -> bool {
    match (pattern, topic) {
        ([], []) => true,
        ([">"], [_, ..]) => true,
        (["*", pattern @ ..], [_, topic @ ..]) => matches_naively(pattern, topic),
        ([part, pattern @ ..], [token, topic @ ..]) => {
            part == token && matches_naively(pattern, topic)
        }
        _ => false,
    }
}

fn split(text: &str) -> Vec<&str> {
    text.split('.').collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn matches_are_those_of_a_naive_matcher(
        steps in prop::collection::vec(step(), 1..80),
        topics_max in 1usize..12,
        matches_max in 0usize..40,
    ) {
        let syntax = SyntaxLimits::default();
        let mut routes: Routes<u32> = Routes::new(RoutesLimits { topics_max, matches_max });
        let mut model: BTreeMap<u32, (String, SubscriptionId)> = BTreeMap::new();
        let mut gone: Vec<SubscriptionId> = Vec::new();
        let mut names: Vec<(String, TopicId)> = Vec::new();
        let mut next = 0;
        for step in steps {
            match step {
                Step::Subscribe(text) => {
                    let pattern = Pattern::parse(&text, &syntax).unwrap();
                    // Not in the order of insertion, to see that matches are sorted.
                    let subscriber = next ^ 5;
                    next += 1;
                    let id = routes.subscribe(&pattern, subscriber);
                    prop_assert!(!gone.contains(&id));
                    model.insert(subscriber, (text, id));
                }
                Step::Unsubscribe(place) => {
                    if let Some(&subscriber) = model.keys().nth(place % model.len().max(1)) {
                        let (_, id) = model.remove(&subscriber).unwrap();
                        prop_assert_eq!(routes.unsubscribe(id), Some(subscriber));
                        prop_assert_eq!(routes.unsubscribe(id), None);
                        gone.push(id);
                    }
                }
                Step::Publish(text) => {
                    let id = routes.topic(Topic::parse(&text, &syntax).unwrap());
                    names.push((text, id));
                }
                Step::PublishAgain(place) => {
                    if let Some((text, id)) = names.get(place % names.len().max(1)) {
                        let expected: Vec<u32> = model
                            .iter()
                            .filter(|(_, (pattern, _))| matches_naively(&split(pattern), &split(text)))
                            .map(|(&subscriber, _)| subscriber)
                            .collect();
                        for (pattern, _) in model.values() {
                            let parsed = Pattern::parse(pattern, &syntax).unwrap();
                            prop_assert_eq!(
                                parsed.matches(text),
                                matches_naively(&split(pattern), &split(text))
                            );
                        }
                        if let Some(matches) = routes.matches(*id) {
                            prop_assert_eq!(matches, &expected[..]);
                        } else {
                            // Forgotten: it has another name then.
                            prop_assert!(routes.text(*id).is_none());
                            let id = routes.topic(Topic::parse(text, &syntax).unwrap());
                            prop_assert_eq!(routes.matches(id), Some(&expected[..]));
                        }
                    }
                }
            }
            prop_assert_eq!(routes.subscriptions(), model.len());
            prop_assert!(routes.topics() <= topics_max);
        }
    }
}
