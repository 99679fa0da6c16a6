//! The syntax of topics and patterns.
//!
//! A topic is one token or more, separated by dots: `orders.eu.created`. A token is not empty, holds
//! neither `*` nor `>`, no white space and no control characters, and does not begin with `$`: such
//! names are kept for the system. Case matters. In a pattern a token may also be `*`, which stands
//! for exactly one token, and the last may be `>`, which stands for one token or more.

use std::fmt;

/// Bounds on topics and patterns alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyntaxLimits {
    /// Length in bytes of UTF-8, dots included.
    pub bytes_max: usize,
    /// How many tokens. It also bounds how deep matching descends.
    pub tokens_max: usize,
}

impl Default for SyntaxLimits {
    /// 256 bytes, 32 tokens.
    fn default() -> Self {
        Self {
            bytes_max: 256,
            tokens_max: 32,
        }
    }
}

/// A legal topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Topic<'text>(&'text str);

impl<'text> Topic<'text> {
    /// Takes a text for a topic, or says what is wrong with it.
    pub fn parse(text: &'text str, limits: &SyntaxLimits) -> Result<Self, Illegal> {
        check(text, limits, false).map_err(|reason| Illegal {
            of_pattern: false,
            reason,
        })?;
        Ok(Self(text))
    }

    /// The text that it was parsed from.
    pub fn as_str(self) -> &'text str {
        self.0
    }

    /// Its tokens, in order; there is at least one.
    pub fn tokens(self) -> impl Iterator<Item = &'text str> {
        self.0.split('.')
    }
}

/// A legal pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(Box<str>);

/// One position of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'text> {
    /// This token and no other.
    Exactly(&'text str),
    /// `*`: any one token.
    One,
    /// `>`: one token or more, up to the end.
    Rest,
}

impl Pattern {
    /// Takes a text for a pattern, or says what is wrong with it.
    pub fn parse(text: &str, limits: &SyntaxLimits) -> Result<Self, Illegal> {
        check(text, limits, true).map_err(|reason| Illegal {
            of_pattern: true,
            reason,
        })?;
        Ok(Self(text.into()))
    }

    /// The text that it was parsed from.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its parts, in order; there is at least one, and [`Part::Rest`] is the last if there is one.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.0.split('.').map(|token| match token {
            "*" => Part::One,
            ">" => Part::Rest,
            _ => Part::Exactly(token),
        })
    }

    /// Whether it matches a legal topic, given as its text. For few patterns and many topics, as in
    /// a replay; [`Routes`](crate::Routes) is for many patterns.
    pub fn matches(&self, topic: &str) -> bool {
        let mut tokens = topic.split('.');
        for part in self.parts() {
            match (part, tokens.next()) {
                (Part::Rest, Some(_)) => return true,
                (Part::One, Some(_)) => {}
                (Part::Exactly(expected), Some(token)) if token == expected => {}
                _ => return false,
            }
        }
        tokens.next().is_none()
    }
}

/// Why a text is no topic, or no pattern. It displays as a sentence that says where and what to do,
/// without the text itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Illegal {
    /// Whether a pattern was expected.
    pub of_pattern: bool,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong with a topic or pattern. Positions of tokens are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The text has no character.
    Empty,
    /// It is longer than the limit.
    TooLong {
        /// Its length in bytes.
        bytes: usize,
        /// [`SyntaxLimits::bytes_max`].
        limit: usize,
    },
    /// It has more tokens than the limit.
    TooManyTokens {
        /// [`SyntaxLimits::tokens_max`].
        limit: usize,
    },
    /// Nothing before the first dot, after the last, or between two.
    EmptyToken(usize),
    /// A token that begins with `$`.
    Reserved(usize),
    /// White space or a control character.
    Character(usize, char),
    /// `*` or `>` in a topic, or inside a longer token of a pattern.
    Wildcard(usize, char),
    /// `>` before the end of a pattern.
    RestNotLast(usize),
}

impl fmt::Display for Illegal {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.of_pattern { "pattern" } else { "topic" };
        match self.reason {
            Reason::Empty => write!(to, "the {name} is empty; give tokens separated by dots"),
            Reason::TooLong { bytes, limit } => {
                write!(to, "the {name} has {bytes} bytes, more than {limit}")
            }
            Reason::TooManyTokens { limit } => {
                write!(to, "the {name} has more than {limit} tokens")
            }
            Reason::EmptyToken(at) => {
                write!(
                    to,
                    "token {at} of the {name} is empty; separate tokens by single dots"
                )
            }
            Reason::Reserved(at) => write!(
                to,
                "token {at} of the {name} begins with $, which is kept for the system; choose another name"
            ),
            Reason::Character(at, character) => write!(
                to,
                "token {at} of the {name} has the character {character:?}; leave out white space and control characters"
            ),
            Reason::Wildcard(at, character) if self.of_pattern => write!(
                to,
                "token {at} of the pattern has {character} beside other characters; it has to be a token of its own"
            ),
            Reason::Wildcard(at, character) => write!(
                to,
                "token {at} of the topic has {character}, which only patterns may have"
            ),
            Reason::RestNotLast(at) => write!(
                to,
                "token {at} of the pattern is >, which has to be the last; use * for one token"
            ),
        }
    }
}

impl std::error::Error for Illegal {}

fn check(text: &str, limits: &SyntaxLimits, pattern: bool) -> Result<(), Reason> {
    if text.is_empty() {
        return Err(Reason::Empty);
    }
    if text.len() > limits.bytes_max {
        return Err(Reason::TooLong {
            bytes: text.len(),
            limit: limits.bytes_max,
        });
    }
    let mut rest_at = None;
    for (index, token) in text.split('.').enumerate() {
        if index == limits.tokens_max {
            return Err(Reason::TooManyTokens {
                limit: limits.tokens_max,
            });
        }
        if let Some(at) = rest_at {
            return Err(Reason::RestNotLast(at));
        }
        let at = index + 1;
        if token.is_empty() {
            return Err(Reason::EmptyToken(at));
        }
        if pattern && token == "*" {
            continue;
        }
        if pattern && token == ">" {
            rest_at = Some(at);
            continue;
        }
        if token.starts_with('$') {
            return Err(Reason::Reserved(at));
        }
        for character in token.chars() {
            if character == '*' || character == '>' {
                return Err(Reason::Wildcard(at, character));
            }
            if character.is_whitespace() || character.is_control() {
                return Err(Reason::Character(at, character));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: SyntaxLimits = SyntaxLimits {
        bytes_max: 20,
        tokens_max: 4,
    };

    fn topic(text: &str) -> Result<(), Reason> {
        Topic::parse(text, &LIMITS)
            .map(|_| ())
            .map_err(|illegal| illegal.reason)
    }

    fn pattern(text: &str) -> Result<(), Reason> {
        Pattern::parse(text, &LIMITS)
            .map(|_| ())
            .map_err(|illegal| illegal.reason)
    }

    #[test]
    fn takes_what_is_legal() {
        for text in ["a", "a.b.c.d", "Ärger.übung", "a-b.c_d:1/2", "a$", "a.b$c"] {
            assert_eq!(topic(text), Ok(()), "{text}");
            assert_eq!(pattern(text), Ok(()), "{text}");
        }
        for text in ["*", ">", "*.*", "a.*.b", "a.>", "*.>"] {
            assert_eq!(pattern(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn says_what_is_illegal_and_where() {
        for (text, reason) in [
            ("", Reason::Empty),
            (".", Reason::EmptyToken(1)),
            ("a.", Reason::EmptyToken(2)),
            ("a..b", Reason::EmptyToken(2)),
            ("a.$b", Reason::Reserved(2)),
            ("$", Reason::Reserved(1)),
            ("a.b c", Reason::Character(2, ' ')),
            ("a\0", Reason::Character(1, '\0')),
            ("a\u{a0}", Reason::Character(1, '\u{a0}')),
            ("a.b*", Reason::Wildcard(2, '*')),
            ("a>", Reason::Wildcard(1, '>')),
            ("a.b.c.d.e", Reason::TooManyTokens { limit: 4 }),
            (
                "aaaaaaaaaaaaaaaaaaaaa",
                Reason::TooLong {
                    bytes: 21,
                    limit: 20,
                },
            ),
        ] {
            assert_eq!(topic(text), Err(reason), "{text:?}");
            assert_eq!(pattern(text), Err(reason), "{text:?}");
        }
        assert_eq!(topic("a.*"), Err(Reason::Wildcard(2, '*')));
        assert_eq!(topic(">"), Err(Reason::Wildcard(1, '>')));
        assert_eq!(pattern("a.>.b"), Err(Reason::RestNotLast(2)));
        assert_eq!(pattern(">.>"), Err(Reason::RestNotLast(1)));
    }

    #[test]
    fn a_sentence_names_the_token_and_the_remedy() {
        let illegal = Topic::parse("a.b*", &LIMITS).unwrap_err();
        assert_eq!(
            illegal.to_string(),
            "token 2 of the topic has *, which only patterns may have"
        );
        let illegal = Pattern::parse("a.b*", &LIMITS).unwrap_err();
        assert_eq!(
            illegal.to_string(),
            "token 2 of the pattern has * beside other characters; it has to be a token of its own"
        );
    }

    #[test]
    fn a_pattern_matches_token_by_token() {
        for (text, topic, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a", false),
            ("a", "a.b", false),
            ("a.b", "a.bb", false),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("*.b", "a.b", true),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a", true),
            ("*.>", "a", false),
            ("*.>", "a.b", true),
        ] {
            let pattern = Pattern::parse(text, &LIMITS).unwrap();
            assert_eq!(pattern.matches(topic), expected, "{text} {topic}");
        }
    }
}
