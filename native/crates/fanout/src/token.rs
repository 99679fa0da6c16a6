//! Interned tokens: equal texts are equal numbers, for as long as somebody holds them.

use std::{collections::HashMap, sync::Arc};

/// A token's number.
pub(crate) type Token = u32;

#[derive(Debug, Default)]
pub(crate) struct Tokens {
    known: HashMap<Arc<str>, Token>,
    entries: Vec<Entry>,
    free: Vec<Token>,
}

#[derive(Debug)]
struct Entry {
    text: Arc<str>,
    holders: u32,
}

impl Tokens {
    /// The number of a text, which its holder releases once.
    pub(crate) fn hold(&mut self, text: &str) -> Token {
        if let Some(&token) = self.known.get(text) {
            self.entries[token as usize].holders += 1;
            return token;
        }
        let text: Arc<str> = text.into();
        let entry = Entry {
            text: Arc::clone(&text),
            holders: 1,
        };
        let token = match self.free.pop() {
            Some(token) => {
                self.entries[token as usize] = entry;
                token
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as Token
            }
        };
        self.known.insert(text, token);
        token
    }

    pub(crate) fn release(&mut self, token: Token) {
        let entry = &mut self.entries[token as usize];
        entry.holders -= 1;
        if entry.holders == 0 {
            self.known.remove(&entry.text);
            entry.text = Arc::default();
            self.free.push(token);
        }
    }

    /// How many different tokens are held.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.known.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_share_a_number_until_the_last_release() {
        let mut tokens = Tokens::default();
        let a = tokens.hold("a");
        let b = tokens.hold("b");
        assert_eq!(tokens.hold("a"), a);
        assert_ne!(a, b);
        tokens.release(a);
        assert_eq!(tokens.hold("a"), a);
        tokens.release(a);
        tokens.release(a);
        assert_eq!(tokens.count(), 1);
        assert_eq!(tokens.hold("c"), a, "a number is used again");
        assert_eq!(tokens.hold("b"), b);
    }
}
