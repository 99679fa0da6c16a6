//! Subscriptions, the topics that were published to lately, and who gets what.

use std::{collections::HashMap, sync::Arc};

use crate::{
    token::Token,
    topic::{Pattern, Topic},
    trie::{SubscriptionId, Trie},
};

/// Bounds of [`Routes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutesLimits {
    /// How many topics are known at a time, at least 1. Beyond it a topic that was not used lately is
    /// forgotten; it is known anew when it is asked for.
    pub topics_max: usize,
    /// How many matches are kept for all topics together. Beyond it those of topics not used lately
    /// are dropped, and found again when they are needed. One topic may have more alone.
    pub matches_max: usize,
}

impl Default for RoutesLimits {
    /// 10,000 topics, a million matches.
    fn default() -> Self {
        Self {
            topics_max: 10_000,
            matches_max: 1_000_000,
        }
    }
}

/// A known topic. What it named is never named by it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId {
    /// Its place, below [`RoutesLimits::topics_max`]: an index for a table of the caller's.
    pub index: u32,
    /// Tells it from earlier topics of the place; begins with 1.
    pub generation: u32,
}

/// Subscriptions by pattern, and the matches of known topics.
///
/// A publisher asks once for its topic's [`TopicId`] and then, for each event, for its
/// [`matches`](Routes::matches): while no subscription comes or goes, that compares two numbers and
/// answers a slice. It is sorted, so that indices walk the caller's memory forwards.
#[derive(Debug)]
pub struct Routes<S> {
    limits: RoutesLimits,
    trie: Trie<S>,
    ids: HashMap<Arc<str>, u32>,
    topics: Vec<Known<S>>,
    /// Where the search for a topic to forget continues.
    hand: usize,
    /// Sum of the lengths of all `matches`.
    matches_kept: usize,
    topics_forgotten: u64,
}

#[derive(Debug)]
struct Known<S> {
    text: Arc<str>,
    tokens: Box<[Token]>,
    generation: u32,
    /// Whether it was used since the hand passed by.
    used: bool,
    /// The trie's version when `matches` was found; `None` if there is none.
    version: Option<u64>,
    matches: Vec<S>,
}

impl<S: Copy + Ord> Routes<S> {
    /// Neither topics nor subscriptions.
    pub fn new(limits: RoutesLimits) -> Self {
        Self {
            limits,
            trie: Trie::new(),
            ids: HashMap::new(),
            topics: Vec::new(),
            hand: 0,
            matches_kept: 0,
            topics_forgotten: 0,
        }
    }

    /// Adds a subscription. A subscriber may have several, also with equal patterns, and is then among
    /// the matches as often.
    pub fn subscribe(&mut self, pattern: &Pattern, subscriber: S) -> SubscriptionId {
        self.trie.insert(pattern, subscriber)
    }

    /// Removes a subscription and answers its subscriber; `None` if it was removed before.
    pub fn unsubscribe(&mut self, id: SubscriptionId) -> Option<S> {
        self.trie.remove(id)
    }

    /// How many subscriptions there are.
    pub fn subscriptions(&self) -> usize {
        self.trie.len()
    }

    /// How many topics are known.
    pub fn topics(&self) -> usize {
        self.ids.len()
    }

    /// How many topics were forgotten because of [`RoutesLimits::topics_max`].
    pub fn topics_forgotten(&self) -> u64 {
        self.topics_forgotten
    }

    /// A number that changes with each subscription that comes or goes: while it is the same, so are
    /// the matches of every topic.
    pub fn version(&self) -> u64 {
        self.trie.version()
    }

    /// The name of a topic, which is known from now on.
    pub fn topic(&mut self, topic: Topic<'_>) -> TopicId {
        let index = match self.ids.get(topic.as_str()) {
            Some(&index) => index,
            None => self.add_topic(topic),
        };
        let known = &mut self.topics[index as usize];
        known.used = true;
        TopicId {
            index,
            generation: known.generation,
        }
    }

    /// The text of a topic; `None` if it was forgotten.
    pub fn text(&self, id: TopicId) -> Option<&Arc<str>> {
        self.known(id).map(|known| &known.text)
    }

    /// The subscribers of a topic in their order, once for each subscription; `None` if the topic was
    /// forgotten.
    pub fn matches(&mut self, id: TopicId) -> Option<&[S]> {
        let index = id.index as usize;
        let known = self
            .topics
            .get_mut(index)
            .filter(|known| known.generation == id.generation)?;
        known.used = true;
        if known.version != Some(self.trie.version()) {
            self.matches_kept -= known.matches.len();
            known.matches.clear();
            self.trie.matches(&known.tokens, &mut known.matches);
            known.matches.sort_unstable();
            known.version = Some(self.trie.version());
            self.matches_kept += known.matches.len();
            self.drop_matches(index);
        }
        Some(&self.topics[index].matches)
    }

    fn known(&self, id: TopicId) -> Option<&Known<S>> {
        self.topics
            .get(id.index as usize)
            .filter(|known| known.generation == id.generation)
    }

    fn add_topic(&mut self, topic: Topic<'_>) -> u32 {
        let index = if self.topics.len() < self.limits.topics_max.max(1) {
            self.topics.len()
        } else {
            self.forget_topic()
        };
        let text: Arc<str> = topic.as_str().into();
        let mut known = Known {
            text: Arc::clone(&text),
            tokens: self.trie.hold_topic(topic.tokens()),
            generation: 1,
            used: true,
            version: None,
            matches: Vec::new(),
        };
        self.ids.insert(text, index as u32);
        if index == self.topics.len() {
            self.topics.push(known);
        } else {
            known.generation = self.topics[index].generation.wrapping_add(1);
            self.topics[index] = known;
        }
        index as u32
    }

    /// Forgets one topic that was not used since the hand passed by it, and answers its place.
    fn forget_topic(&mut self) -> usize {
        loop {
            let index = self.advance();
            let known = &mut self.topics[index];
            if std::mem::take(&mut known.used) {
                continue;
            }
            self.ids.remove(&known.text);
            self.matches_kept -= known.matches.len();
            self.trie.release_topic(&known.tokens);
            self.topics_forgotten += 1;
            return index;
        }
    }

    /// Drops matches of other topics until those that are kept fit the limit.
    fn drop_matches(&mut self, except: usize) {
        while self.matches_kept > self.limits.matches_max
            && self.matches_kept > self.topics[except].matches.len()
        {
            let index = self.advance();
            let known = &mut self.topics[index];
            if index == except || std::mem::take(&mut known.used) {
                continue;
            }
            self.matches_kept -= known.matches.len();
            known.matches = Vec::new();
            known.version = None;
        }
    }

    fn advance(&mut self) -> usize {
        let index = self.hand;
        self.hand = (index + 1) % self.topics.len();
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::SyntaxLimits;

    const SYNTAX: SyntaxLimits = SyntaxLimits {
        bytes_max: 64,
        tokens_max: 8,
    };

    fn routes(topics_max: usize, matches_max: usize) -> Routes<u32> {
        Routes::new(RoutesLimits {
            topics_max,
            matches_max,
        })
    }

    fn topic(text: &str) -> Topic<'_> {
        Topic::parse(text, &SYNTAX).unwrap()
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text, &SYNTAX).unwrap()
    }

    #[test]
    fn matches_change_with_subscriptions() {
        let mut routes = routes(8, 100);
        let id = routes.topic(topic("a.b"));
        assert_eq!(routes.matches(id), Some(&[][..]));
        let all = routes.subscribe(&pattern(">"), 7);
        routes.subscribe(&pattern("a.*"), 3);
        routes.subscribe(&pattern("a.c"), 5);
        assert_eq!(routes.matches(id), Some(&[3, 7][..]));
        assert_eq!(routes.unsubscribe(all), Some(7));
        assert_eq!(routes.matches(id), Some(&[3][..]));
        assert_eq!(routes.topic(topic("a.b")), id);
        assert_eq!(routes.text(id).map(|text| &**text), Some("a.b"));
    }

    #[test]
    fn forgets_the_topic_that_was_not_used_lately() {
        let mut routes = routes(2, 100);
        routes.subscribe(&pattern("*"), 1);
        let a = routes.topic(topic("a"));
        let b = routes.topic(topic("b"));
        // All have been used: the hand passes by both, then takes the first.
        let c = routes.topic(topic("c"));
        assert_eq!(routes.matches(a), None);
        assert_eq!(routes.topics(), 2);
        assert_eq!(routes.matches(c), Some(&[1][..]));
        let d = routes.topic(topic("d"));
        assert_eq!(routes.matches(b), None, "b was not used since");
        assert_eq!(routes.matches(c), Some(&[1][..]));
        assert_eq!(routes.matches(d), Some(&[1][..]));
        assert_eq!(routes.topics_forgotten(), 2);
        assert_ne!(routes.topic(topic("a")), a);
    }

    #[test]
    fn keeps_no_more_matches_than_its_limit() {
        let mut routes = routes(10, 5);
        for subscriber in 0..3 {
            routes.subscribe(&pattern("*"), subscriber);
        }
        let ids: Vec<_> = ["a", "b", "c"].map(|text| routes.topic(topic(text))).into();
        for _ in 0..3 {
            for &id in &ids {
                assert_eq!(routes.matches(id), Some(&[0, 1, 2][..]));
                assert_eq!(routes.matches_kept, 3);
            }
        }
        for subscriber in 3..9 {
            routes.subscribe(&pattern("*"), subscriber);
        }
        assert_eq!(routes.matches(ids[1]).unwrap().len(), 9, "one alone may");
        assert_eq!(routes.matches_kept, 9);
    }

    #[test]
    fn topics_leave_no_tokens_behind() {
        let mut routes = routes(1, 10);
        for index in 0..100 {
            routes.topic(topic(&format!("a.{index}")));
        }
        assert_eq!(routes.trie.size(), (1, 2));
    }
}
