//! Section 8: messages.

use crate::pair::*;
use millrace_http2::{HeadersKind, Initiator, Reason};

const OK: [(&str, &str); 4] = REQUEST;

fn with(extra: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [&OK[..], extra].concat()
}

fn without(name: &str) -> Vec<(&'static str, &'static str)> {
    OK.into_iter().filter(|field| field.0 != name).collect()
}

/// A malformed request never surfaces; its stream is reset and the next one is served.
#[test]
fn malformed_requests() {
    let mut cases = vec![
        ("no :method", without(":method")),
        ("no :scheme", without(":scheme")),
        ("no :path", without(":path")),
        ("empty list", vec![]),
        ("two :method", with(&[(":method", "POST")])),
        ("two :path", with(&[(":path", "/")])),
        ("two :authority", with(&[(":authority", "localhost")])),
        (":status", with(&[(":status", "200")])),
        ("unknown pseudo", with(&[(":protocol", "websocket")])),
        ("pseudo behind regular", [&[("a", "b")], &OK[..]].concat()),
        ("upper case", with(&[("X-a", "b")])),
        ("space in name", with(&[("x a", "b")])),
        ("colon in name", with(&[("x:a", "b")])),
        ("empty name", with(&[("", "b")])),
        ("NUL in value", with(&[("x", "a\0")])),
        ("LF in value", with(&[("x", "a\nb")])),
        ("CR in value", with(&[("x", "a\rb")])),
        ("space in front of value", with(&[("x", " a")])),
        ("tab behind value", with(&[("x", "a\t")])),
        ("te: gzip", with(&[("te", "gzip")])),
        ("content-length: x", with(&[("content-length", "x")])),
        ("content-length: -1", with(&[("content-length", "-1")])),
        ("empty content-length", with(&[("content-length", "")])),
        (
            "two content-lengths",
            with(&[("content-length", "1"), ("content-length", "2")]),
        ),
        ("another host", with(&[("host", "example.com")])),
        ("CONNECT with :path", {
            let mut fields = OK.to_vec();
            fields[0].1 = "CONNECT";
            fields
        }),
    ];
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "upgrade",
        "transfer-encoding",
    ] {
        cases.push(("connection-specific", with(&[(name, "x")])));
    }
    for (name, value) in [(":path", ""), (":method", ""), (":scheme", "")] {
        let mut fields = without(name);
        fields.insert(0, (name, value));
        cases.push(("empty pseudo", fields));
    }
    for (about, fields) in cases {
        let mut server = Endpoint::server();
        server.feed(&headers(1, 0, &fields));
        assert!(server.take_seen().is_empty(), "{about}");
        server.assert_reset(1, Reason::PROTOCOL_ERROR, about);
        server.feed(&data(1, END_STREAM, b"late"));
        server.feed(&request(3, 0));
        server.assert_fine(about);
        assert_eq!(server.take_seen().len(), 1, "{about}");
    }
}

#[test]
fn well_formed_requests() {
    let mut connect = without(":path");
    connect.retain(|field| field.0 != ":scheme");
    connect[0].1 = "CONNECT";
    for fields in [
        with(&[("te", "trailers"), ("content-type", "application/grpc")]),
        with(&[("host", "LOCALHOST"), ("x", ""), ("y", "\u{e9}")]),
        with(&[("content-length", "0"), ("content-length", "0")]),
        without(":authority"),
        connect,
    ] {
        let mut server = Endpoint::server();
        server.feed(&headers(1, END_STREAM, &fields));
        server.assert_fine("well-formed");
        assert_eq!(server.take_seen().len(), 1, "{fields:?}");
    }
}

/// The same malformed field is recognised when it comes from the dynamic table, and the memo of the
/// block before does not hide it.
#[test]
fn indexed_fields_are_judged_like_literal_ones() {
    let mut server = Endpoint::server();
    let mut first = block(&REQUEST);
    first.extend(b"\x40\x0aconnection\x01x");
    server.feed(&frame(HEADERS, 5, 1, &first));
    server.assert_reset(1, Reason::PROTOCOL_ERROR, "literal");
    let mut second = block(&REQUEST);
    second.push(0xbe);
    server.feed(&frame(HEADERS, 5, 3, &second));
    server.assert_reset(3, Reason::PROTOCOL_ERROR, "indexed");
}

#[test]
fn the_same_indexed_block_means_the_same_fields_until_the_table_changes() {
    let mut server = Endpoint::server();
    // :path /x and :authority y into the table, then both by index, with static :method, :scheme.
    server.feed(&frame(HEADERS, 5, 1, b"\x83\x86\x44\x02/x\x41\x01y"));
    let fields = |server: &mut Endpoint| match server.take_seen().pop() {
        Some(Seen::Headers { fields, .. }) => fields,
        other => panic!("{other:?} {:?}", server.error),
    };
    let expected = fields(&mut server);
    for id in [3, 5, 7] {
        server.feed(&frame(HEADERS, 5, id, &[0x83, 0x86, 0xbf, 0xbe]));
        assert_eq!(fields(&mut server), expected);
    }
    // Another list in between.
    server.feed(&request(9, 0));
    server.feed(&headers(9, END_STREAM, &[("a", "b")]));
    server.take_seen();
    server.feed(&frame(HEADERS, 5, 11, &[0x83, 0x86, 0xbf, 0xbe]));
    assert_eq!(fields(&mut server), expected);
    // A new entry moves the indices: now they name :authority y and :path /z.
    server.feed(&frame(HEADERS, 5, 13, b"\x83\x86\xbe\x44\x02/z"));
    fields(&mut server);
    server.feed(&frame(HEADERS, 5, 15, &[0x83, 0x86, 0xbf, 0xbe]));
    let changed = fields(&mut server);
    assert_eq!(changed[2], (":authority".to_owned(), "y".to_owned()));
    assert_eq!(changed[3], (":path".to_owned(), "/z".to_owned()));
}

#[test]
fn trailers_end_the_stream_and_hold_no_pseudo_fields() {
    let mut server = Endpoint::server();
    server.feed(&request(1, 0));
    server.take_seen();
    server.feed(&headers(1, END_STREAM, &[("x", "y")]));
    let expected = Seen::Headers {
        stream: 1,
        kind: HeadersKind::Trailers,
        end_stream: true,
        oversized: false,
        fields: vec![("x".to_owned(), "y".to_owned())],
    };
    assert_eq!(server.take_seen(), [expected]);
    for (about, flags, fields) in [
        ("without END_STREAM", 0, ("x", "y")),
        ("pseudo", END_STREAM, (":path", "/")),
        ("status", END_STREAM, (":status", "200")),
        ("bad name", END_STREAM, ("X", "y")),
    ] {
        let mut server = Endpoint::server();
        server.feed(&request(1, 0));
        server.take_seen();
        server.feed(&headers(1, flags, &[fields]));
        let expected = Seen::Reset(1, Reason::PROTOCOL_ERROR, Initiator::Local);
        assert_eq!(server.take_seen(), [expected], "{about}");
        server.assert_reset(1, Reason::PROTOCOL_ERROR, about);
    }
}

#[test]
fn a_content_length_has_to_be_true() {
    let fields = with(&[("content-length", "5")]);
    let head = |flags| headers(1, flags, &fields);
    for (about, bytes, fine) in [
        (
            "exact",
            [head(0), data(1, 0, b"ab"), data(1, 1, b"cde")].concat(),
            true,
        ),
        (
            "exact, then empty",
            [head(0), data(1, 0, b"abcde"), data(1, 1, b"")].concat(),
            true,
        ),
        (
            "exact, then trailers",
            [head(0), data(1, 0, b"abcde"), headers(1, 1, &[("x", "y")])].concat(),
            true,
        ),
        ("none", head(END_STREAM), false),
        (
            "too much at once",
            [head(0), data(1, 0, b"abcdef")].concat(),
            false,
        ),
        (
            "too much",
            [head(0), data(1, 0, b"abc"), data(1, 0, b"def")].concat(),
            false,
        ),
        (
            "too little",
            [head(0), data(1, END_STREAM, b"abcd")].concat(),
            false,
        ),
        (
            "too little, then trailers",
            [head(0), data(1, 0, b"abcd"), headers(1, 1, &[("x", "y")])].concat(),
            false,
        ),
        (
            "padding does not count",
            [head(0), frame(DATA, PADDED | END_STREAM, 1, b"\x01abcd\0")].concat(),
            false,
        ),
    ] {
        let mut server = Endpoint::server();
        server.feed(&bytes);
        if fine {
            server.assert_fine(about);
        } else {
            server.assert_reset(1, Reason::PROTOCOL_ERROR, about);
        }
        server.connection.flush_connection_credit();
        assert_eq!(
            server.connection.connection_receive_window(),
            65_535,
            "{about}: all DATA is credited"
        );
    }
}

#[test]
fn a_head_that_depends_on_itself_is_malformed() {
    let mut server = Endpoint::server();
    let payload = [&[0, 0, 0, 1, 15][..], &block(&REQUEST)].concat();
    server.feed(&frame(HEADERS, END_HEADERS | HAS_PRIORITY, 1, &payload));
    server.assert_reset(1, Reason::PROTOCOL_ERROR, "depends on itself");
}
