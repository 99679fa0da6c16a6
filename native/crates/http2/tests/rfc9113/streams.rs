//! Section 5.1 and 5.4: states of streams, identifiers, concurrency, errors.

use crate::pair::*;
use millrace_http2::{GoAwayLast, Initiator, Limits, Reason};

#[test]
fn frames_on_idle_streams_end_the_connection() {
    for bytes in [
        data(1, 0, b"x"),
        reset(1, Reason::CANCEL),
        window_update(1, 1),
        frame(CONTINUATION, END_HEADERS, 1, &[]),
    ] {
        let mut server = Endpoint::server();
        server.feed(&bytes);
        server.assert_error(Reason::PROTOCOL_ERROR, &format!("{bytes:?}"));
    }
}

#[test]
fn frames_behind_the_end_of_a_stream_end_the_connection() {
    for (about, answered) in [("half closed", false), ("closed", true), ("released", true)] {
        for late in [
            data(1, 0, b"x"),
            data(1, END_STREAM, b""),
            request(1, END_STREAM),
        ] {
            let mut server = Endpoint::server();
            server.feed(&request(1, END_STREAM));
            if answered {
                server.respond(1, &[(":status", "200")], true);
            }
            if about == "released" {
                server.connection.release(server.key(1));
            }
            server.assert_fine(about);
            server.feed(&late);
            server.assert_error(Reason::STREAM_CLOSED, about);
        }
    }
}

#[test]
fn frames_behind_the_peers_own_reset_end_the_connection() {
    for late in [data(1, 0, b"x"), request(1, END_STREAM)] {
        let mut server = Endpoint::server();
        server.feed(&request(1, 0));
        server.feed(&reset(1, Reason::CANCEL));
        server.feed(&late);
        server.assert_error(Reason::STREAM_CLOSED, "after RST_STREAM");
    }
}

#[test]
fn window_updates_priorities_and_resets_may_follow_the_end() {
    for release in [false, true] {
        let mut server = Endpoint::server();
        server.feed(&request(1, END_STREAM));
        server.respond(1, &[(":status", "200")], true);
        if release {
            server.connection.release(server.key(1));
        }
        server.take_seen();
        server.feed(&window_update(1, 1));
        server.feed(&frame(PRIORITY, 0, 1, &[0; 5]));
        server.feed(&reset(1, Reason::CANCEL));
        server.assert_fine("late frames");
        assert!(server.take_seen().is_empty());
    }
}

/// What was on its way when we reset the stream is ignored, and its bytes are credited.
#[test]
fn late_frames_of_a_stream_that_we_reset_are_ignored() {
    for release in [false, true] {
        let mut server = Endpoint::server();
        server.feed(&request(1, 0));
        server.take_seen();
        server.connection.send_reset(server.key(1), Reason::CANCEL);
        if release {
            server.connection.release(server.key(1));
        }
        server.assert_reset(1, Reason::CANCEL, "ours");
        let window = server.connection.connection_receive_window();
        server.feed(&frame(
            DATA,
            PADDED,
            1,
            &[&[200][..], &[0; 16_000]].concat(),
        ));
        server.feed(&data(1, 0, &[0; 16_000]));
        // A literal with incremental indexing: the table has to learn it all the same.
        server.feed(&frame(HEADERS, 5, 1, b"\x40\x01a\x01b"));
        server.feed(&window_update(1, 10));
        server.feed(&reset(1, Reason::CANCEL));
        server.connection.flush_connection_credit();
        server.assert_fine("late frames");
        assert!(server.take_seen().is_empty());
        assert_eq!(server.connection.connection_receive_window(), window);
        server.feed(&frame(
            HEADERS,
            5,
            3,
            &[&block(&REQUEST)[..], &[0xbe]].concat(),
        ));
        let Some(Seen::Headers { fields, .. }) = server.seen.last() else {
            panic!("{:?}", server.error);
        };
        assert_eq!(fields[4], ("a".to_owned(), "b".to_owned()));
    }
}

#[test]
fn a_reset_in_the_middle_of_a_frame_credits_the_rest() {
    let mut server = Endpoint::server();
    server.credits = false;
    server.feed(&request(1, 0));
    let bytes = data(1, END_STREAM, &[0; 10_000]);
    server.feed(&bytes[..1_009]);
    server.connection.send_reset(server.key(1), Reason::CANCEL);
    server.feed(&bytes[1_009..]);
    server.connection.credit_connection(1_000);
    server.connection.flush_connection_credit();
    assert_eq!(server.connection.connection_receive_window(), 65_535);
    let delivered = server.take_seen().into_iter().map(|seen| match seen {
        Seen::Data { bytes, .. } => bytes.len(),
        _ => 0,
    });
    assert_eq!(delivered.sum::<usize>(), 1_000);
}

#[test]
fn identifiers_are_odd_and_rise() {
    let mut server = Endpoint::server();
    server.feed(&request(2, 0));
    server.assert_error(Reason::PROTOCOL_ERROR, "even");
    let mut server = Endpoint::server();
    server.feed(&request(5, 0));
    server.assert_fine("skipping is allowed");
    server.feed(&request(3, 0));
    server.assert_error(Reason::PROTOCOL_ERROR, "lower");
    // A skipped stream is closed.
    let mut server = Endpoint::server();
    server.feed(&request(5, 0));
    server.feed(&window_update(3, 1));
    server.assert_fine("implicitly closed");
    server.feed(&data(3, 0, b"x"));
    server.assert_error(Reason::STREAM_CLOSED, "implicitly closed");
}

#[test]
fn streams_beyond_the_limit_are_refused_until_release() {
    let limits = Limits {
        max_concurrent_streams: 2,
        ..Limits::default()
    };
    let mut server = Endpoint::server_with(limits);
    for id in [1, 3] {
        server.feed(&request(id, END_STREAM));
    }
    // Neither the end of a stream nor its reset gives the slot back.
    server.respond(1, &[(":status", "200")], true);
    server.feed(&reset(3, Reason::CANCEL));
    server.output();
    server.take_seen();
    server.feed(&request(5, 0));
    assert!(server.take_seen().is_empty());
    server.assert_reset(5, Reason::REFUSED_STREAM, "beyond");
    server.feed(&data(5, END_STREAM, b"late"));
    server.assert_fine("data of a refused stream");
    assert_eq!(server.connection.open_streams(), 2);
    server.connection.release(server.key(3));
    assert_eq!(server.connection.open_streams(), 1);
    server.feed(&request(7, 0));
    assert_eq!(server.take_seen().len(), 1);
    assert_eq!(server.connection.counters().streams_refused, 1);
}

#[test]
fn release_resets_what_is_open() {
    let mut server = Endpoint::server();
    server.feed(&request(1, 0));
    server.feed(&request(3, 0));
    server.output();
    server.connection.release(server.key(1));
    server.assert_reset(1, Reason::CANCEL, "unanswered");
    server.respond(3, &[(":status", "200")], true);
    server.output();
    server.connection.release(server.key(3));
    server.assert_reset(3, Reason::NO_ERROR, "answered early");
    server.connection.release(server.key(3));
    server.assert_fine("twice");
}

#[test]
fn a_released_key_reaches_nobody() {
    let mut server = Endpoint::server();
    server.feed(&request(1, 0));
    let old = server.key(1);
    server.connection.set_token(old, 7);
    assert_eq!(server.connection.token(old), Some(7));
    server.connection.release(old);
    server.feed(&request(3, 0));
    let new = server.key(3);
    assert_eq!(new.index(), old.index());
    assert_ne!(new, old);
    assert_eq!(server.connection.token(old), None);
    assert_eq!(server.connection.token(new), Some(0));
    assert_eq!(server.connection.stream_id(old), 0);
    assert_eq!(server.connection.send_window(old), 0);
    server.output();
    server.connection.send_reset(old, Reason::CANCEL);
    server.connection.release(old);
    server.assert_fine("stale key");
    assert_eq!(server.connection.open_streams(), 1);
}

#[test]
fn a_reset_of_the_peer_is_reported_once() {
    let mut server = Endpoint::server();
    server.feed(&[request(1, 0), reset(1, Reason(0x99))].concat());
    let seen = server.take_seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1], Seen::Reset(1, Reason(0x99), Initiator::Remote));
    server.feed(&reset(1, Reason::CANCEL));
    assert!(server.take_seen().is_empty());
    assert!(!server.connection.is_open_for_send(server.key(1)));
    assert!(server.connection.is_remote_closed(server.key(1)));
    server.respond(1, &[(":status", "200")], true);
    server.connection.send_reset(server.key(1), Reason::CANCEL);
    assert!(
        server.output().is_empty(),
        "nothing is sent on a reset stream"
    );
}

#[test]
fn a_graceful_end_takes_two_steps() {
    let mut server = Endpoint::server();
    server.feed(&request(1, 0));
    server
        .connection
        .send_go_away(GoAwayLast::Max, Reason::NO_ERROR, b"");
    let written = server.output();
    assert_eq!(
        (written[0].kind, written[0].number(0)),
        (GO_AWAY, (1 << 31) - 1)
    );
    server.feed(&request(3, 0));
    assert_eq!(server.take_seen().len(), 2, "still accepted");
    server
        .connection
        .send_go_away(GoAwayLast::Real, Reason::NO_ERROR, b"bye");
    let written = server.output();
    assert_eq!(written[0].number(0), 3);
    assert_eq!(&written[0].payload[8..], b"bye");
    server.feed(&[request(5, 0), data(5, END_STREAM, b"x")].concat());
    server.assert_fine("ignored");
    assert!(server.take_seen().is_empty());
    server.feed(&data(3, END_STREAM, b"x"));
    assert_eq!(server.take_seen().len(), 1, "accepted streams go on");
    server
        .connection
        .send_go_away(GoAwayLast::Max, Reason::NO_ERROR, b"");
    assert_eq!(server.output()[0].number(0), 3, "never raised");
}
