//! Topics and patterns of any text: what is legal means what its tokens say, and kept matches agree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_fanout::{Pattern, Routes, RoutesLimits, SyntaxLimits, Topic};

fn matches(pattern: &[&str], topic: &[&str]) -> bool {
    match (pattern, topic) {
        ([], []) => true,
        ([">"], [_, ..]) => true,
        (["*", pattern @ ..], [_, topic @ ..]) => matches(pattern, topic),
        ([part, pattern @ ..], [token, topic @ ..]) => part == token && matches(pattern, topic),
        _ => false,
    }
}

fuzz_target!(|data: &[u8]| {
    let limits = SyntaxLimits {
        bytes_max: 64,
        tokens_max: 8,
    };
    let texts: Vec<String> = data
        .split(|&byte| byte == b'\n')
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .collect();
    let mut patterns = Vec::new();
    let mut topics = Vec::new();
    for text in &texts {
        let pattern = Pattern::parse(text, &limits);
        let topic = Topic::parse(text, &limits);
        match (&pattern, &topic) {
            (Err(illegal), Err(_)) => assert!(!illegal.to_string().is_empty()),
            (Err(illegal), Ok(_)) => panic!("{text:?} is a topic, but no pattern: {illegal}"),
            (Ok(_), Err(_)) => assert!(text.contains(['*', '>'])),
            (Ok(pattern), Ok(_)) => assert!(pattern.matches(text)),
        }
        if pattern.is_ok() || topic.is_ok() {
            assert!(text.len() <= 64 && text.split('.').count() <= 8);
            assert!(
                text.split('.')
                    .all(|token| !token.is_empty() && !token.starts_with('$'))
            );
        }
        patterns.extend(pattern);
        topics.extend(topic);
    }

    let mut routes = Routes::new(RoutesLimits {
        topics_max: 3,
        matches_max: 5,
    });
    let ids: Vec<_> = patterns
        .iter()
        .enumerate()
        .map(|(number, pattern)| routes.subscribe(pattern, number))
        .collect();
    for (round, id) in ids.into_iter().enumerate() {
        for topic in &topics {
            let tokens: Vec<&str> = topic.tokens().collect();
            let expected: Vec<usize> = (round..patterns.len())
                .filter(|&number| {
                    let parts: Vec<&str> = patterns[number].as_str().split('.').collect();
                    let expected = matches(&parts, &tokens);
                    assert_eq!(patterns[number].matches(topic.as_str()), expected);
                    expected
                })
                .collect();
            let known = routes.topic(*topic);
            assert_eq!(routes.matches(known), Some(&expected[..]));
        }
        assert_eq!(routes.unsubscribe(id), Some(round));
        // Quadratic in the length of the input otherwise.
        if round == 8 {
            break;
        }
    }
});
