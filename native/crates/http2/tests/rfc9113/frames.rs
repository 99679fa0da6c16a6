//! Sections 4 and 6: the form of frames.

use crate::pair::*;
use millrace_http2::{Event, HeadersKind, Limits, Reason};

/// Each breaks one rule of the form on its own, on a connection with stream 1 open.
#[test]
fn malformed_frames_end_the_connection() {
    use Reason as R;
    let big = vec![0; 16_385];
    let fields = block(&REQUEST);
    let padded = |padding: u8| [&[padding][..], &fields].concat();
    for (about, bytes, reason) in [
        ("DATA on 0", data(0, 0, b"x"), R::PROTOCOL_ERROR),
        ("DATA too large", data(1, 0, &big), R::FRAME_SIZE_ERROR),
        (
            "padding of its size",
            frame(DATA, PADDED, 1, &[1]),
            R::PROTOCOL_ERROR,
        ),
        (
            "padding too long",
            frame(DATA, PADDED, 1, &[9, 0]),
            R::PROTOCOL_ERROR,
        ),
        (
            "padding without length",
            frame(DATA, PADDED, 1, &[]),
            R::FRAME_SIZE_ERROR,
        ),
        ("HEADERS on 0", request(0, 0), R::PROTOCOL_ERROR),
        (
            "HEADERS too large",
            frame(HEADERS, 4, 3, &big),
            R::FRAME_SIZE_ERROR,
        ),
        (
            "HEADERS padding too long",
            frame(HEADERS, 4 | PADDED, 3, &padded(fields.len() as u8 + 1)),
            R::PROTOCOL_ERROR,
        ),
        (
            "HEADERS without pad length",
            frame(HEADERS, 4 | PADDED, 3, &[]),
            R::FRAME_SIZE_ERROR,
        ),
        (
            "HEADERS too short for priority",
            frame(HEADERS, 4 | HAS_PRIORITY, 3, &[0; 4]),
            R::FRAME_SIZE_ERROR,
        ),
        (
            "PRIORITY on 0",
            frame(PRIORITY, 0, 0, &[0; 5]),
            R::PROTOCOL_ERROR,
        ),
        (
            "PRIORITY of 4",
            frame(PRIORITY, 0, 1, &[0; 4]),
            R::FRAME_SIZE_ERROR,
        ),
        (
            "PRIORITY on itself",
            frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0]),
            R::PROTOCOL_ERROR,
        ),
        ("RST_STREAM on 0", reset(0, R::CANCEL), R::PROTOCOL_ERROR),
        (
            "RST_STREAM of 3",
            frame(RST_STREAM, 0, 1, &[0; 3]),
            R::FRAME_SIZE_ERROR,
        ),
        (
            "SETTINGS on 1",
            frame(SETTINGS, 0, 1, &[]),
            R::PROTOCOL_ERROR,
        ),
        (
            "SETTINGS of 5",
            frame(SETTINGS, 0, 0, &[0; 5]),
            R::FRAME_SIZE_ERROR,
        ),
        (
            "SETTINGS ACK of 6",
            frame(SETTINGS, ACK, 0, &[0; 6]),
            R::FRAME_SIZE_ERROR,
        ),
        ("ENABLE_PUSH 2", settings(&[(2, 2)]), R::PROTOCOL_ERROR),
        (
            "window 2^31",
            settings(&[(4, 1 << 31)]),
            R::FLOW_CONTROL_ERROR,
        ),
        (
            "frame size 16383",
            settings(&[(5, 16_383)]),
            R::PROTOCOL_ERROR,
        ),
        ("frame size 0", settings(&[(5, 0)]), R::PROTOCOL_ERROR),
        (
            "frame size 2^24",
            settings(&[(5, 1 << 24)]),
            R::PROTOCOL_ERROR,
        ),
        (
            "PUSH_PROMISE",
            frame(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2]),
            R::PROTOCOL_ERROR,
        ),
        ("PING on 1", frame(PING, 0, 1, &[0; 8]), R::PROTOCOL_ERROR),
        ("PING of 7", frame(PING, 0, 0, &[0; 7]), R::FRAME_SIZE_ERROR),
        (
            "GOAWAY on 1",
            frame(GO_AWAY, 0, 1, &[0; 8]),
            R::PROTOCOL_ERROR,
        ),
        (
            "GOAWAY of 7",
            frame(GO_AWAY, 0, 0, &[0; 7]),
            R::FRAME_SIZE_ERROR,
        ),
        (
            "WINDOW_UPDATE of 3",
            frame(WINDOW_UPDATE, 0, 0, &[0; 3]),
            R::FRAME_SIZE_ERROR,
        ),
        ("WINDOW_UPDATE of 0", window_update(0, 0), R::PROTOCOL_ERROR),
        (
            "WINDOW_UPDATE of 0, stream",
            window_update(1, 0),
            R::PROTOCOL_ERROR,
        ),
        (
            "stray CONTINUATION",
            frame(CONTINUATION, 4, 1, &[]),
            R::PROTOCOL_ERROR,
        ),
        (
            "CONTINUATION on 0",
            frame(CONTINUATION, 4, 0, &[]),
            R::PROTOCOL_ERROR,
        ),
        (
            "unknown type too large",
            frame(0x42, 0, 0, &big),
            R::FRAME_SIZE_ERROR,
        ),
        (
            "broken block",
            frame(HEADERS, 5, 3, &[0x40]),
            R::COMPRESSION_ERROR,
        ),
    ] {
        let mut server = Endpoint::server();
        server.feed(&request(1, 0));
        server.feed(&bytes);
        server.assert_error(reason, about);
    }
}

#[test]
fn nothing_may_come_between_the_frames_of_a_header_block() {
    let start = frame(HEADERS, END_STREAM, 1, &block(&REQUEST));
    for between in [
        data(1, 0, b"x"),
        request(3, 0),
        frame(PRIORITY, 0, 1, &[0; 5]),
        frame(PING, 0, 0, &[0; 8]),
        frame(0x42, 0, 1, &[]),
        frame(CONTINUATION, END_HEADERS, 3, &[]),
    ] {
        let mut server = Endpoint::server();
        server.feed(&start);
        server.feed(&between);
        server.assert_error(Reason::PROTOCOL_ERROR, &format!("{between:?}"));
    }
}

#[test]
fn a_block_may_be_spread_over_continuations() {
    let mut server = Endpoint::server();
    let fields = block(&REQUEST);
    let (first, rest) = fields.split_at(7);
    let (second, third) = rest.split_at(20);
    server.feed(&frame(HEADERS, END_STREAM, 1, first));
    server.feed(&frame(CONTINUATION, 0, 1, second));
    assert!(server.take_seen().is_empty());
    server.feed(&frame(CONTINUATION, END_HEADERS, 1, third));
    let fields = REQUEST.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
    let expected = Seen::Headers {
        stream: 1,
        kind: HeadersKind::Request,
        end_stream: true,
        oversized: false,
        fields,
    };
    assert_eq!(server.take_seen(), [expected]);
}

#[test]
fn padding_and_priority_surround_the_fragment() {
    let mut server = Endpoint::server();
    let mut payload = vec![3, 0, 0, 0, 9, 15];
    payload.extend(block(&REQUEST));
    payload.extend([0; 3]);
    server.feed(&frame(
        HEADERS,
        END_HEADERS | PADDED | HAS_PRIORITY,
        1,
        &payload,
    ));
    server.assert_fine("padded");
    assert_eq!(server.seen.len(), 1);
    // Padding that fills all of the payload leaves an empty block.
    server.feed(&frame(
        HEADERS,
        END_HEADERS | PADDED | END_STREAM,
        1,
        &[2, 0, 0],
    ));
    server.assert_fine("empty trailers");
    assert_eq!(server.seen.len(), 2);
}

#[test]
fn what_is_unknown_is_ignored() {
    let mut server = Endpoint::server();
    server.feed(&frame(0x42, 0xff, 7, &[1, 2, 3]));
    server.feed(&frame(PRIORITY, 0, 9, &[0, 0, 0, 1, 16]));
    server.feed(&settings(&[(0xf0f0, 7), (3, 5)]));
    // Undefined flags and the reserved bit.
    server.feed(&frame(
        HEADERS,
        END_HEADERS | 0xd2 & !PADDED,
        1 | 1 << 31,
        &block(&REQUEST),
    ));
    server.assert_fine("unknown");
    assert_eq!(server.seen.len(), 1);
}

#[test]
fn data_is_passed_through_without_its_padding() {
    let mut server = Endpoint::server();
    server.feed(&request(1, 0));
    server.take_seen();
    server.feed(&frame(DATA, PADDED, 1, &[2, b'a', b'b', 0, 0]));
    server.feed(&data(1, 0, b"cd"));
    server.feed(&frame(DATA, PADDED | END_STREAM, 1, &[1, 0]));
    let expected = Seen::Data {
        stream: 1,
        bytes: b"abcd".to_vec(),
        end_stream: true,
    };
    assert_eq!(server.take_seen(), [expected]);
}

#[test]
fn data_comes_in_pieces_as_it_arrives() {
    let mut server = Endpoint::server();
    server.feed(&request(1, 0));
    let bytes = data(1, END_STREAM, &[7; 1_000]);
    let receive = |server: &mut Endpoint, input: &[u8]| {
        let (consumed, event) = server.connection.receive(input, 0).expect("no error");
        assert_eq!(consumed, input.len());
        event
    };
    let piece = |event| match event {
        Some(Event::Data {
            start,
            length,
            end_stream,
            ..
        }) => (start, length, end_stream),
        other => panic!("{other:?}"),
    };
    assert_eq!(piece(receive(&mut server, &bytes[..109])), (9, 100, false));
    assert_eq!(
        piece(receive(&mut server, &bytes[109..609])),
        (0, 500, false)
    );
    assert_eq!(receive(&mut server, &[]), None);
    assert_eq!(piece(receive(&mut server, &bytes[609..])), (0, 400, true));
}

#[test]
fn pings_are_answered_and_acknowledgements_reported() {
    let mut server = Endpoint::server();
    server.feed(&frame(PING, 0, 0, b"12345678"));
    assert_eq!(server.output(), frames(&frame(PING, ACK, 0, b"12345678")));
    server.feed(&frame(PING, ACK, 0, b"unasked!"));
    assert!(server.take_seen().is_empty());
    server.connection.send_ping(*b"abcdefgh");
    assert_eq!(server.output(), frames(&frame(PING, 0, 0, b"abcdefgh")));
    server.feed(&frame(PING, ACK, 0, b"abcdefgh"));
    assert_eq!(server.take_seen(), [Seen::PingAcknowledged(*b"abcdefgh")]);
}

#[test]
fn a_large_block_of_ours_is_split() {
    let mut pair = Pair::with(
        Limits {
            header_list_hard_bytes: 1 << 20,
            header_block_bytes: 1 << 20,
            ..Limits::default()
        },
        Limits::default(),
    );
    pair.client.open(&REQUEST, true);
    pair.drive();
    let long = "~".repeat(40_000);
    let fields = [(":status", "200"), ("x", &long)];
    pair.server.respond(1, &fields, true);
    let written = pair.server.output();
    let shape: Vec<_> = written.iter().map(|f| (f.kind, f.flags)).collect();
    let expected = [
        (HEADERS, END_STREAM),
        (CONTINUATION, 0),
        (CONTINUATION, END_HEADERS),
    ];
    assert_eq!(shape, expected);
    assert!(written.iter().all(|f| f.payload.len() <= 16_384));
    for f in written {
        pair.client
            .feed(&frame(f.kind, f.flags, f.stream, &f.payload));
    }
    let Some(Seen::Headers { fields, .. }) = pair.client.seen.last() else {
        panic!("{:?}", pair.client.error);
    };
    assert_eq!(fields[1].1, long);
}
