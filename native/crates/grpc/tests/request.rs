//! Request heads, and the answers to those that are refused.

use millrace_grpc::content_type::ContentType;
use millrace_grpc::metadata::{Entry, is_ascii_value};
use millrace_grpc::{Accepted, Code, Encoding, Head, Rejection, message, timeout};
use proptest::prelude::*;

const PLAIN: [(&str, &str); 8] = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/millrace.echo.v1.Echo/Say"),
    (":authority", "localhost:50051"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
    ("user-agent", "grpc-node-js/1.14.7"),
    ("grpc-accept-encoding", "identity,deflate,gzip"),
];

fn entries<'a>(fields: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = Entry<'a>> {
    fields
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
}

/// The plain head with one field replaced, added (if it is not there) or taken away.
fn with(name: &'static str, value: Option<&'static str>) -> Vec<(&'static str, &'static str)> {
    let mut fields: Vec<_> = PLAIN.into_iter().filter(|field| field.0 != name).collect();
    fields.extend(value.map(|value| (name, value)));
    fields
}

#[test]
fn a_plain_call() {
    assert_eq!(
        Head::read(entries(&PLAIN)),
        Ok(Head {
            path: b"/millrace.echo.v1.Echo/Say",
            authority: Some(b"localhost:50051"),
            content_type: ContentType::Proto,
            timeout_ms: None,
            accepted: Accepted::read(b"identity,deflate,gzip"),
            encoding: Encoding::Identity,
            user_agent: Some(b"grpc-node-js/1.14.7"),
            te_trailers: true,
            has_metadata: false,
        })
    );
}

#[test]
fn what_a_head_may_say() {
    let fields = with("grpc-timeout", Some("1500u"));
    assert_eq!(Head::read(entries(&fields)).unwrap().timeout_ms, Some(2));
    let fields = with("x-trace", Some("7"));
    assert!(Head::read(entries(&fields)).unwrap().has_metadata);
    let fields = with("te", None);
    assert!(!Head::read(entries(&fields)).unwrap().te_trailers);
    let fields = with("grpc-encoding", Some("identity"));
    assert!(Head::read(entries(&fields)).is_ok());
    let fields = with("grpc-encoding", Some("gzip"));
    let head = Head::read(entries(&fields)).unwrap();
    assert_eq!(head.encoding, Encoding::Gzip);
    let fields = with("content-type", Some("application/grpc+json"));
    assert_eq!(
        Head::read(entries(&fields)).unwrap().content_type,
        ContentType::Json
    );
}

#[test]
fn what_is_refused() {
    let cases: [(&str, Option<&str>, Rejection); 10] = [
        (":method", Some("GET"), Rejection::MethodNotPost),
        (":method", None, Rejection::MethodNotPost),
        ("content-type", None, Rejection::UnsupportedMediaType),
        (
            "content-type",
            Some("text/html"),
            Rejection::UnsupportedMediaType,
        ),
        (":path", Some("a/b"), Rejection::MalformedPath),
        (":path", None, Rejection::MalformedPath),
        ("grpc-timeout", Some("soon"), Rejection::MalformedTimeout),
        ("grpc-timeout", Some(""), Rejection::MalformedTimeout),
        ("x-bin", Some("*"), Rejection::MalformedMetadata),
        (
            "grpc-encoding",
            Some("snappy"),
            Rejection::UnsupportedEncoding,
        ),
    ];
    for (name, value, rejection) in cases {
        let fields = with(name, value);
        assert_eq!(
            Head::read(entries(&fields)),
            Err(rejection),
            "{name} {value:?}"
        );
    }
}

const REJECTIONS: [Rejection; 10] = [
    Rejection::MethodNotPost,
    Rejection::UnsupportedMediaType,
    Rejection::MalformedPath,
    Rejection::MalformedTimeout,
    Rejection::MalformedMetadata,
    Rejection::UnsupportedEncoding,
    Rejection::UnknownMethod,
    Rejection::OversizedHeaders,
    Rejection::DeadlinePassed,
    Rejection::TooManyCalls,
];

#[test]
fn every_rejection_is_one_legal_block() {
    for rejection in REJECTIONS {
        let fields: Vec<_> = rejection.fields().collect();
        assert_eq!(fields[0].name, b":status");
        assert_eq!(fields[0].value, rejection.http_status());
        let find = |name: &[u8]| fields.iter().find(|field| field.name == name);
        let code = find(b"grpc-status").unwrap().value;
        assert_eq!(Code::from_bytes(code), rejection.code());
        assert_ne!(rejection.code(), Code::Ok);
        let text = find(b"grpc-message").unwrap().value;
        assert!(is_ascii_value(text) && !text.contains(&b'%'));
        assert_eq!(
            find(b"grpc-accept-encoding").is_some(),
            rejection == Rejection::UnsupportedEncoding
        );
    }
}

#[test]
fn a_foreign_client_gets_an_http_status() {
    assert_eq!(Rejection::UnsupportedMediaType.http_status(), b"415");
    assert_eq!(Rejection::MethodNotPost.http_status(), b"405");
    assert_eq!(Rejection::UnknownMethod.http_status(), b"200");
}

proptest! {
    #[test]
    fn reading_never_fails_otherwise(fields: Vec<(Vec<u8>, Vec<u8>)>) {
        let plain = entries(&PLAIN);
        let more = fields.iter().map(|(name, value)| (&name[..], &value[..]));
        let _ = Head::read(plain.chain(more));
    }

    #[test]
    fn a_message_survives_percent_encoding(text: String) {
        let mut encoded = Vec::new();
        message::encode(text.as_bytes(), &mut encoded);
        prop_assert!(is_ascii_value(&encoded));
        prop_assert_eq!(message::decode(&encoded), text);
    }

    #[test]
    fn a_timeout_is_never_shortened_and_hardly_lengthened(milliseconds in 0_u64..200_000_000_000) {
        let mut buffer = [0; timeout::ENCODED_BYTES_MAX];
        let parsed = timeout::parse(timeout::encode(milliseconds, &mut buffer)).unwrap();
        prop_assert!(parsed >= milliseconds);
        prop_assert!(parsed - milliseconds <= milliseconds / 1_000 + 1);
    }
}
