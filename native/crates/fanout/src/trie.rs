//! Patterns and their subscribers, as a trie over interned tokens.

use std::collections::HashMap;

use crate::{
    token::{Token, Tokens},
    topic::{Part, Pattern},
};

/// A subscription, for as long as it lasts. What it named is never named by it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId {
    index: u32,
    generation: u32,
}

/// Subscribers by pattern. A subscriber may be in it with several patterns, and with one pattern
/// several times; each insertion is a subscription of its own.
///
/// A node stands for the parts of a pattern so far. A topic's matches lie on the paths of its tokens
/// and of `*`, so that what a lookup costs depends on the patterns that could still match, not on
/// how many there are.
#[derive(Debug)]
pub(crate) struct Trie<S> {
    tokens: Tokens,
    nodes: Vec<Node<S>>,
    nodes_free: Vec<u32>,
    subscriptions: Vec<Subscription>,
    subscriptions_free: Vec<u32>,
    count: usize,
    version: u64,
}

#[derive(Debug)]
struct Node<S> {
    parent: u32,
    /// How the parent leads here; `None` is `*`.
    by: Option<Token>,
    children: HashMap<Token, u32>,
    /// The child by `*`, or the root, which is nobody's child.
    one: u32,
    /// Subscribers of the pattern that ends here.
    here: Vec<Subscriber<S>>,
    /// Subscribers of the pattern that continues with `>`.
    rest: Vec<Subscriber<S>>,
}

#[derive(Clone, Copy, Debug)]
struct Subscriber<S> {
    value: S,
    subscription: u32,
}

#[derive(Debug)]
struct Subscription {
    generation: u32,
    live: bool,
    node: u32,
    rest: bool,
    /// Where in the node's list it is.
    position: u32,
}

const ROOT: u32 = 0;

impl<S> Node<S> {
    fn new(parent: u32, by: Option<Token>) -> Self {
        Self {
            parent,
            by,
            children: HashMap::new(),
            one: ROOT,
            here: Vec::new(),
            rest: Vec::new(),
        }
    }

    fn list(&mut self, rest: bool) -> &mut Vec<Subscriber<S>> {
        if rest { &mut self.rest } else { &mut self.here }
    }

    fn is_unused(&self) -> bool {
        self.children.is_empty() && self.one == ROOT && self.here.is_empty() && self.rest.is_empty()
    }
}

impl<S: Copy> Trie<S> {
    /// A trie without subscriptions.
    pub(crate) fn new() -> Self {
        Self {
            tokens: Tokens::default(),
            nodes: vec![Node::new(ROOT, None)],
            nodes_free: Vec::new(),
            subscriptions: Vec::new(),
            subscriptions_free: Vec::new(),
            count: 0,
            version: 0,
        }
    }

    /// Adds a subscription.
    pub(crate) fn insert(&mut self, pattern: &Pattern, subscriber: S) -> SubscriptionId {
        let mut node = ROOT;
        let mut rest = false;
        for part in pattern.parts() {
            node = match part {
                Part::Exactly(text) => self.child(node, text),
                Part::One => self.child_by_one(node),
                Part::Rest => {
                    rest = true;
                    break;
                }
            };
        }
        let index = self.subscriptions_free.pop().unwrap_or_else(|| {
            self.subscriptions.push(Subscription {
                generation: 0,
                live: false,
                node: ROOT,
                rest: false,
                position: 0,
            });
            (self.subscriptions.len() - 1) as u32
        });
        let list = self.nodes[node as usize].list(rest);
        let subscription = &mut self.subscriptions[index as usize];
        subscription.live = true;
        subscription.node = node;
        subscription.rest = rest;
        subscription.position = list.len() as u32;
        list.push(Subscriber {
            value: subscriber,
            subscription: index,
        });
        self.count += 1;
        self.version += 1;
        SubscriptionId {
            index,
            generation: subscription.generation,
        }
    }

    /// Removes a subscription and answers its subscriber; `None` if it is not in the trie any more.
    pub(crate) fn remove(&mut self, id: SubscriptionId) -> Option<S> {
        let subscription = self.subscriptions.get_mut(id.index as usize)?;
        if !subscription.live || subscription.generation != id.generation {
            return None;
        }
        subscription.live = false;
        subscription.generation = subscription.generation.wrapping_add(1);
        let (node, rest, position) = (
            subscription.node,
            subscription.rest,
            subscription.position as usize,
        );
        let list = self.nodes[node as usize].list(rest);
        let removed = list.swap_remove(position);
        if let Some(moved) = list.get(position) {
            self.subscriptions[moved.subscription as usize].position = position as u32;
        } else if list.is_empty() {
            // Many may have gone; keep no memory for them.
            *list = Vec::new();
        }
        self.subscriptions_free.push(id.index);
        self.prune(node);
        self.count -= 1;
        self.version += 1;
        Some(removed.value)
    }

    /// How many subscriptions there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// A number that changes with each insertion and removal: while it is the same, so are the matches
    /// of every topic.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Appends the subscribers whose pattern matches the topic, in no particular order. `topic` was
    /// made by [`Trie::hold_topic`] of this trie.
    pub(crate) fn matches(&self, topic: &[Token], into: &mut Vec<S>) {
        self.collect(ROOT, topic, into);
    }

    /// The tokens of a topic; they stay valid until [`Trie::release_topic`].
    pub(crate) fn hold_topic<'text>(
        &mut self,
        tokens: impl Iterator<Item = &'text str>,
    ) -> Box<[Token]> {
        tokens.map(|token| self.tokens.hold(token)).collect()
    }

    pub(crate) fn release_topic(&mut self, tokens: &[Token]) {
        for &token in tokens {
            self.tokens.release(token);
        }
    }

    /// The depth of the recursion is the number of the topic's tokens, which its syntax bounds.
    fn collect(&self, node: u32, topic: &[Token], into: &mut Vec<S>) {
        let node = &self.nodes[node as usize];
        let Some((token, tail)) = topic.split_first() else {
            into.extend(node.here.iter().map(|subscriber| subscriber.value));
            return;
        };
        into.extend(node.rest.iter().map(|subscriber| subscriber.value));
        if let Some(&child) = node.children.get(token) {
            self.collect(child, tail, into);
        }
        if node.one != ROOT {
            self.collect(node.one, tail, into);
        }
    }

    fn child(&mut self, node: u32, text: &str) -> u32 {
        let token = self.tokens.hold(text);
        if let Some(&child) = self.nodes[node as usize].children.get(&token) {
            // The node holds its token already.
            self.tokens.release(token);
            return child;
        }
        let child = self.add_node(node, Some(token));
        self.nodes[node as usize].children.insert(token, child);
        child
    }

    fn child_by_one(&mut self, node: u32) -> u32 {
        let child = self.nodes[node as usize].one;
        if child != ROOT {
            return child;
        }
        let child = self.add_node(node, None);
        self.nodes[node as usize].one = child;
        child
    }

    fn add_node(&mut self, parent: u32, by: Option<Token>) -> u32 {
        let node = Node::new(parent, by);
        match self.nodes_free.pop() {
            Some(index) => {
                self.nodes[index as usize] = node;
                index
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as u32
            }
        }
    }

    /// Gives back a node that leads nowhere, and its parents that then lead nowhere.
    fn prune(&mut self, mut index: u32) {
        while index != ROOT && self.nodes[index as usize].is_unused() {
            let Node { parent, by, .. } = self.nodes[index as usize];
            match by {
                Some(token) => {
                    self.nodes[parent as usize].children.remove(&token);
                    self.tokens.release(token);
                }
                None => self.nodes[parent as usize].one = ROOT,
            }
            self.nodes[index as usize] = Node::new(ROOT, None);
            self.nodes_free.push(index);
            index = parent;
        }
    }

    /// How many nodes and tokens are in use; 1 and 0 without subscriptions and topics.
    #[cfg(test)]
    pub(crate) fn size(&self) -> (usize, usize) {
        (
            self.nodes.len() - self.nodes_free.len(),
            self.tokens.count(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::SyntaxLimits;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text, &SyntaxLimits::default()).unwrap()
    }

    #[test]
    fn what_was_inserted_and_removed_leaves_nothing() {
        let mut trie = Trie::new();
        let ids: Vec<_> = ["a.b", "a.b", "a.*.c", ">", "a.>", "*.*.*"]
            .into_iter()
            .enumerate()
            .map(|(subscriber, text)| trie.insert(&pattern(text), subscriber))
            .collect();
        assert_eq!(trie.len(), 6);
        for (subscriber, &id) in ids.iter().enumerate() {
            let version = trie.version();
            assert_eq!(trie.remove(id), Some(subscriber));
            assert_ne!(trie.version(), version);
            assert_eq!(trie.remove(id), None);
        }
        assert_eq!(trie.len(), 0);
        assert_eq!(trie.size(), (1, 0));
        trie.insert(&pattern("a"), 9);
        assert!(ids.iter().all(|&id| trie.remove(id).is_none()));
    }
}
