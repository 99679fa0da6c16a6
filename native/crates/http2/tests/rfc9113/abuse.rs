//! Section 10.5: attacks, each stopped by its limit and counted.

use crate::pair::*;
use millrace_http2::{Counters, Limits, Reason};

const CALM: Reason = Reason::ENHANCE_YOUR_CALM;

/// Feeds `bytes(i)` until the connection ends; returns how many it took.
fn until_cut(server: &mut Endpoint, maximum: u32, bytes: impl Fn(u32) -> Vec<u8>) -> u32 {
    for i in 0..maximum {
        server.feed(&bytes(i));
        if server.error.is_some() {
            return i;
        }
    }
    panic!("not cut after {maximum}");
}

fn counted(server: &Endpoint, counter: impl Fn(&Counters) -> u64) {
    let counters = server.connection.counters();
    assert_eq!(counter(counters), 1, "{counters:?}");
    assert_eq!(counters.connection_errors, 1);
}

#[test]
fn rapid_reset() {
    let mut server = Endpoint::server();
    let taken = until_cut(&mut server, 3_000, |i| {
        [request(2 * i + 1, 0), reset(2 * i + 1, Reason::CANCEL)].concat()
    });
    assert_eq!(taken, 1_000);
    // A thousand slots are held; none came beyond them.
    assert_eq!(server.connection.open_streams(), 1_000);
    counted(&server, |c| c.rapid_resets);
    server.assert_error(CALM, "rapid reset");
}

#[test]
fn rapid_reset_with_handlers_that_end_at_once() {
    let mut server = Endpoint::server();
    for i in 0.. {
        let id = 2 * i + 1;
        server.feed(&[request(id, 0), reset(id, Reason::CANCEL)].concat());
        server.connection.release(server.key(id));
        if server.error.is_some() {
            assert_eq!(i, 1_000);
            break;
        }
    }
    server.assert_error(CALM, "rapid reset");
}

#[test]
fn cancelling_at_a_human_pace_is_fine() {
    let mut server = Endpoint::server();
    for i in 0..5_000 {
        server.advance(31);
        let id = 2 * i + 1;
        server.feed(&[request(id, 0), reset(id, Reason::CANCEL)].concat());
        server.connection.release(server.key(id));
    }
    server.assert_fine("33 per second");
    // So is cancelling what was answered.
    let mut server = Endpoint::server();
    for i in 0..5_000 {
        let id = 2 * i + 1;
        server.feed(&request(id, 0));
        server.respond(id, &[(":status", "200")], false);
        server.feed(&reset(id, Reason::CANCEL));
        server.connection.release(server.key(id));
    }
    server.assert_fine("answered");
}

#[test]
fn finished_streams_pay_for_resets() {
    let mut server = Endpoint::server();
    let mut id = 1;
    for _ in 0..20_000 {
        // A hedged call: of two attempts one is answered, the other cancelled.
        server.feed(&request(id, END_STREAM));
        server.feed(&request(id + 2, END_STREAM));
        server.respond(id, &[(":status", "200")], true);
        server.feed(&reset(id + 2, Reason::CANCEL));
        server.connection.release(server.key(id));
        server.connection.release(server.key(id + 2));
        id += 4;
        server.keys.clear();
        server.output();
    }
    server.assert_fine("one in two");
}

#[test]
fn made_you_reset() {
    let mut server = Endpoint::server();
    let taken = until_cut(&mut server, 3_000, |i| {
        let id = 2 * i + 1;
        [request(id, 0), window_update(id, (1 << 31) - 1)].concat()
    });
    assert_eq!(taken, 1_000);
    counted(&server, |c| c.made_you_resets);
    server.assert_error(CALM, "by window overflow");
    let mut server = Endpoint::server();
    let taken = until_cut(&mut server, 3_000, |i| headers(2 * i + 1, 0, &[("x", "y")]));
    assert_eq!(taken, 1_000);
    assert_eq!(server.connection.open_streams(), 0);
    server.assert_error(CALM, "by malformed requests");
}

#[test]
fn streams_beyond_the_limit() {
    let limits = Limits {
        max_concurrent_streams: 1,
        ..Limits::default()
    };
    let mut server = Endpoint::server_with(limits);
    let taken = until_cut(&mut server, 3_000, |i| request(2 * i + 1, 0));
    assert_eq!(taken, 1_001);
    counted(&server, |c| c.refused_stream_floods);
}

#[test]
fn continuation_flood() {
    let start = frame(HEADERS, 0, 1, &block(&REQUEST));
    for (fragment, frames) in [(&b"\x00\x01a\x01b"[..], 8), (b"", 4)] {
        let mut server = Endpoint::server();
        server.feed(&start);
        let taken = until_cut(&mut server, 100, |_| frame(CONTINUATION, 0, 1, fragment));
        assert_eq!(taken, frames);
        counted(&server, |c| c.continuation_floods);
        server.assert_error(CALM, "CONTINUATION");
    }
    let mut server = Endpoint::server();
    server.feed(&start);
    let taken = until_cut(&mut server, 100, |_| {
        frame(CONTINUATION, 0, 1, &[0; 16_384])
    });
    assert_eq!(taken, 1);
    counted(&server, |c| c.header_blocks_cut);
    server.assert_error(CALM, "CONTINUATION of size");
}

#[test]
fn oversized_lists_are_reported_without_their_fields() {
    let long = "v".repeat(5_000);
    for (copies, oversized, soft) in [(1, false, 0), (2, false, 1), (4, true, 0)] {
        let mut server = Endpoint::server();
        let mut fields = REQUEST.to_vec();
        fields.extend(vec![("x", long.as_str()); copies]);
        let bytes = block(&fields);
        let (first, rest) = bytes.split_at(bytes.len().min(16_384));
        let flags = if rest.is_empty() { 5 } else { 1 };
        server.feed(&frame(HEADERS, flags, 1, first));
        if !rest.is_empty() {
            server.feed(&frame(CONTINUATION, 4, 1, rest));
        }
        let Some(Seen::Headers {
            oversized: was,
            fields,
            ..
        }) = server.take_seen().pop()
        else {
            panic!("{:?}", server.error);
        };
        assert_eq!((was, fields.is_empty()), (oversized, oversized), "{copies}");
        let counters = server.connection.counters();
        assert_eq!(counters.header_lists_over_soft, soft);
        assert_eq!(counters.header_lists_oversized, u64::from(oversized));
        // It can be answered.
        server.respond(1, &[(":status", "200"), ("grpc-status", "8")], true);
        assert_eq!(server.output().len(), 1);
    }
}

#[test]
fn hpack_bomb() {
    let mut server = Endpoint::server();
    let value = "v".repeat(4_000);
    let mut bytes = block(&[("x", &value)]);
    bytes[0] = 0x40;
    bytes.extend([0xbe; 10_000]);
    server.feed(&frame(HEADERS, 5, 1, &bytes));
    counted(&server, |c| c.hpack_bombs);
    server.assert_error(CALM, "bomb");
    // Many tiny fields are reported as oversized.
    let mut server = Endpoint::server();
    server.feed(&frame(HEADERS, 5, 1, &[0x82; 1_000]));
    assert!(matches!(
        server.take_seen()[..],
        [Seen::Headers {
            oversized: true,
            ..
        }]
    ));
}

#[test]
fn floods_of_frames_that_cost_an_answer_or_nothing() {
    let ping = frame(PING, 0, 0, &[0; 8]);
    let limits = Limits {
        ping_strike_interval: None,
        ..Limits::default()
    };
    let mut server = Endpoint::server_with(limits);
    assert_eq!(until_cut(&mut server, 200, |_| ping.clone()), 100);
    counted(&server, |c| c.ping_floods);
    let mut server = Endpoint::server();
    // One SETTINGS came at the start.
    assert_eq!(until_cut(&mut server, 200, |_| settings(&[(4, 7)])), 49);
    counted(&server, |c| c.settings_floods);
    let mut server = Endpoint::server();
    server.feed(&settings(&[(9, 0); 32]));
    server.assert_fine("32 entries");
    server.feed(&settings(&[(9, 0); 33]));
    counted(&server, |c| c.settings_floods);
    let mut server = Endpoint::server();
    server.feed(&request(1, 0));
    assert_eq!(until_cut(&mut server, 200, |_| data(1, 0, b"")), 100);
    counted(&server, |c| c.empty_data_floods);
    assert_eq!(server.seen.len(), 1, "no event for empty DATA");
    let mut server = Endpoint::server();
    let priority = frame(PRIORITY, 0, 1, &[0; 5]);
    assert_eq!(until_cut(&mut server, 2_000, |_| priority.clone()), 1_000);
    counted(&server, |c| c.priority_floods);
    server.assert_error(CALM, "PRIORITY");
    for ignored in [
        frame(0x42, 0, 0, &[]),
        frame(PING, ACK, 0, &[0; 8]),
        frame(SETTINGS, ACK, 0, &[]),
        frame(GO_AWAY, 0, 0, &[0; 8]),
    ] {
        let mut server = Endpoint::server();
        assert_eq!(until_cut(&mut server, 2_000, |_| ignored.clone()), 1_000);
        counted(&server, |c| c.ignored_floods);
        server.assert_error(CALM, "without effect");
    }
}

#[test]
fn floods_are_judged_per_second() {
    let mut server = Endpoint::server();
    for _ in 0..10 {
        for _ in 0..40 {
            server.feed(&settings(&[]));
        }
        server.output();
        server.advance(1_000);
    }
    server.assert_fine("40 SETTINGS per second");
}

#[test]
fn window_update_drip() {
    let mut server = Endpoint::server();
    server.feed(&request(1, 0));
    // 5 + 2 x (1 open + 1 opened) of the formula.
    assert_eq!(until_cut(&mut server, 200, |_| window_update(1, 1)), 9);
    counted(&server, |c| c.window_update_floods);
    let mut server = Endpoint::server();
    server.feed(&request(1, 0));
    for _ in 0..100 {
        server.send(1, b"x", false);
        for _ in 0..20 {
            server.feed(&window_update(1, 1));
        }
    }
    server.assert_fine("what was sent may be acknowledged");
    server.advance(1_000);
    for _ in 0..1_000 {
        server.feed(&window_update(0, 1));
    }
    server.assert_fine("a little later, too");
    server.advance(1_000);
    let taken = until_cut(&mut server, 200, |_| window_update(0, 1));
    assert!(taken < 20, "{taken}");
}

#[test]
fn too_many_pings() {
    let ping = frame(PING, 0, 0, &[0; 8]);
    let mut server = Endpoint::server();
    assert_eq!(until_cut(&mut server, 10, |_| ping.clone()), 3);
    let written = server.output();
    let last = written.last().expect("a GOAWAY");
    assert_eq!(&last.payload[8..], b"too_many_pings");
    assert_eq!(server.connection.counters().ping_strikes, 3);
    // Patience, or traffic of ours, is rewarded.
    let mut server = Endpoint::server();
    server.feed(&request(1, 0));
    for _ in 0..10 {
        server.feed(&ping);
        server.advance(300_000);
    }
    for _ in 0..90 {
        server.feed(&ping);
        server.feed(&ping);
        server.send(1, b"x", false);
        server.advance(100);
    }
    server.assert_fine("forgiven");
    // Without a stream it takes more patience, unless it is allowed.
    let limits = Limits {
        pings_without_streams: true,
        ..Limits::default()
    };
    for (limits, interval, fine) in [
        (Limits::default(), 300_000, false),
        (Limits::default(), 7_200_000, true),
        (limits, 300_000, true),
    ] {
        let mut server = Endpoint::server_with(Limits {
            keepalive_interval: None,
            ..limits
        });
        for _ in 0..10 {
            server.feed(&ping);
            server.advance(interval);
        }
        assert_eq!(server.error.is_none(), fine, "every {interval} ms");
    }
}

#[test]
fn a_peer_that_does_not_read_its_answers() {
    let limits = Limits {
        control_bytes: 1_000,
        ping_strike_interval: None,
        ..Limits::default()
    };
    let mut server = Endpoint::server_with(limits);
    let taken = until_cut(&mut server, 100, |_| frame(PING, 0, 0, &[0; 8]));
    assert!((58..60).contains(&taken), "{taken}");
    counted(&server, |c| c.control_overflows);
}

/// A peer that had many small frames under way when we reset its stream has done nothing wrong.
#[test]
fn late_data_in_small_frames_is_no_flood() {
    let mut server = Endpoint::server();
    server.feed(&request(1, 0));
    server.connection.release(server.key(1));
    server.output();
    for _ in 0..50_000 {
        server.feed(&data(1, 0, b"x"));
        server.connection.urgent().clear();
    }
    server.assert_fine("late");
    assert_eq!(until_cut(&mut server, 200, |_| data(1, 0, b"")), 100);
    counted(&server, |c| c.empty_data_floods);
}

/// Nor has one that answers our early end of each stream by a reset.
#[test]
fn a_reset_per_closed_stream_is_no_flood() {
    let mut server = Endpoint::server();
    for i in 0..20_000 {
        let id = 2 * i + 1;
        server.feed(&request(id, 0));
        server.respond(id, &[(":status", "200")], true);
        server.connection.release(server.key(id));
        server.feed(&reset(id, Reason::NO_ERROR));
        server.keys.clear();
        server.output();
    }
    server.assert_fine("a reset each");
}
