//! Attacks again: those that need more than a flood of one frame, and those of a server against its
//! client.

use crate::pair::*;
use millrace_http2::{Counters, GoAwayLast, Limits, Reason, Role};

const CALM: Reason = Reason::ENHANCE_YOUR_CALM;
const OK: [(&str, &str); 1] = [(":status", "200")];

/// Feeds `bytes(i)` until the connection ends; returns how many it took.
fn until_cut(endpoint: &mut Endpoint, maximum: u32, bytes: impl Fn(u32) -> Vec<u8>) -> u32 {
    for i in 0..maximum {
        endpoint.feed(&bytes(i));
        endpoint.connection.urgent().clear();
        if endpoint.error.is_some() {
            return i;
        }
    }
    panic!("not cut after {maximum}");
}

fn cut(endpoint: &mut Endpoint, reason: Reason, counter: impl Fn(&Counters) -> u64, about: &str) {
    let counters = *endpoint.connection.counters();
    assert_eq!(counter(&counters), 1, "{about}: {counters:?}");
    assert_eq!(counters.connection_errors, 1, "{about}");
    endpoint.assert_error(reason, about);
}

/// The six primitives of MadeYouReset (CVE-2025-8671): either the connection ends at once, which
/// resets nothing for free, or each reset is paid for.
#[test]
fn made_you_reset_by_each_of_its_primitives() {
    type Primitive = fn(u32) -> Vec<u8>;
    let at_once: [(&str, Primitive, Reason); 5] = [
        (
            "WINDOW_UPDATE of 0",
            |id| window_update(id, 0),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "PRIORITY of a wrong length",
            |id| frame(PRIORITY, 0, id, &[0; 4]),
            Reason::FRAME_SIZE_ERROR,
        ),
        (
            "PRIORITY on itself",
            |id| frame(PRIORITY, 0, id, &[&id.to_be_bytes()[..], &[0]].concat()),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "HEADERS after END_STREAM",
            |id| request(id, 0),
            Reason::STREAM_CLOSED,
        ),
        (
            "DATA after END_STREAM",
            |id| data(id, 0, b"x"),
            Reason::STREAM_CLOSED,
        ),
    ];
    for (about, primitive, reason) in at_once {
        let mut server = Endpoint::server();
        server.feed(&request(1, END_STREAM));
        server.feed(&primitive(1));
        server.assert_error(reason, about);
        assert_eq!(server.connection.counters().resets_provoked, 0, "{about}");
    }
    // The handlers end at once, so that no limit but the budget is in the way.
    let mut server = Endpoint::server();
    for i in 0.. {
        let id = 2 * i + 1;
        server.feed(&[request(id, END_STREAM), window_update(id, (1 << 31) - 1)].concat());
        if server.error.is_some() {
            assert_eq!(i, 1_000);
            break;
        }
        server.connection.release(server.key(id));
        server.keys.clear();
    }
    cut(&mut server, CALM, |c| c.made_you_resets, "window overflow");
}

/// CVE-2019-9516: names without a letter.
#[test]
fn empty_names_are_malformed_and_paid_for() {
    let mut server = Endpoint::server();
    let mut fields = REQUEST.to_vec();
    fields.push(("", ""));
    let taken = until_cut(&mut server, 3_000, |i| headers(2 * i + 1, 0, &fields));
    assert_eq!(taken, 1_000);
    assert_eq!(server.connection.open_streams(), 0);
    assert_eq!(server.connection.counters().header_lists_malformed, 1_001);
    cut(&mut server, CALM, |c| c.made_you_resets, "empty names");
}

#[test]
fn tiny_data() {
    let mut server = Endpoint::server();
    server.feed(&request(1, 0));
    let taken = until_cut(&mut server, 10_000, |_| data(1, 0, b"x"));
    assert_eq!(taken, 2_000);
    cut(&mut server, CALM, |c| c.tiny_data_floods, "tiny DATA");
    // Rests behind larger frames are fine, at any rate; so are whole messages, however short.
    let mut server = Endpoint::server();
    server.feed(&request(1, 0));
    for _ in 0..10_000 {
        server.feed(&data(1, 0, &[0; 1_000]));
        server.feed(&data(1, 0, &[0; 4]));
        server.connection.urgent().clear();
    }
    for _ in 0..10_000 {
        server.feed(&data(1, 0, &[0; 5]));
        server.connection.urgent().clear();
    }
    server.assert_fine("rests and empty messages");
}

/// grpc-go measures the product of bandwidth and delay by a PING for the DATA it receives, at once
/// and again: a thousand a second on a fast path.
#[test]
fn a_ping_for_each_data_frame_is_no_flood() {
    let mut server = Endpoint::server();
    server.feed(&request(1, 0));
    server.respond(1, &OK, false);
    let ping = frame(PING, 0, 0, &[0; 8]);
    for _ in 0..1_000 {
        server.send(1, b"xx", false);
        server.feed(&ping);
        server.output();
    }
    server.assert_fine("PINGs for DATA");
    server.advance(2_000);
    let limits = Limits {
        ping_strike_interval: None,
        ..Limits::default()
    };
    let mut server = Endpoint::server_with(limits);
    assert_eq!(until_cut(&mut server, 200, |_| ping.clone()), 100);
    cut(&mut server, CALM, |c| c.ping_floods, "PINGs for nothing");
}

/// CVE-2019-9511: who gives credit by the byte gets a frame for each byte, for a while.
#[test]
fn credit_by_the_byte() {
    let mut server = Endpoint::server();
    server.feed(&settings(&[(4, 0)]));
    server.feed(&request(1, 0));
    server.respond(1, &OK, false);
    let mut sent = 0;
    while server.error.is_none() && sent < 100 {
        server.feed(&window_update(1, 1));
        if server.error.is_none() {
            server.send(1, b"x", false);
            sent += 1;
        }
    }
    assert_eq!(sent, 9);
    cut(&mut server, CALM, |c| c.window_update_floods, "a drip");
}

#[test]
fn a_changing_initial_window() {
    let mut server = Endpoint::server();
    for i in 0..100 {
        server.feed(&request(2 * i + 1, 0));
    }
    let taken = until_cut(&mut server, 100, |i| settings(&[(4, i * 1_000)]));
    assert_eq!(taken, 49);
    cut(&mut server, CALM, |c| c.settings_floods, "churn");
    let mut server = Endpoint::server();
    server.feed(&request(1, 0));
    server.feed(&window_update(1, (1 << 31) - 1 - 65_535));
    server.feed(&settings(&[(4, 65_536)]));
    cut(
        &mut server,
        Reason::FLOW_CONTROL_ERROR,
        |c| c.flow_control_errors,
        "a window too large",
    );
}

#[test]
fn wrong_huffman_codes_and_settings() {
    for (about, value) in [("EOS", &[0xff; 4][..]), ("padding", &[0xff, 0xff])] {
        let mut block = vec![0x00, 0x01, b'x', 0x80 | value.len() as u8];
        block.extend(value);
        let mut server = Endpoint::server();
        server.feed(&frame(HEADERS, END_HEADERS, 1, &block));
        let reason = Reason::COMPRESSION_ERROR;
        cut(&mut server, reason, |c| c.compression_errors, about);
    }
    // CVE-2026-33814: a frame size of 0 would be split without end.
    for mut endpoint in [Endpoint::server(), Endpoint::client()] {
        endpoint.feed(&settings(&[(5, 0)]));
        let reason = Reason::PROTOCOL_ERROR;
        cut(&mut endpoint, reason, |c| c.settings_invalid, "frames of 0");
    }
}

#[test]
fn a_hostile_server() {
    let start = || {
        let mut client = Endpoint::client();
        client.open(&REQUEST, false);
        client
    };
    let ping = frame(PING, 0, 0, &[0; 8]);
    let mut client = start();
    assert_eq!(until_cut(&mut client, 200, |_| ping.clone()), 100);
    cut(&mut client, CALM, |c| c.ping_floods, "PING");
    let mut client = start();
    assert_eq!(until_cut(&mut client, 200, |_| settings(&[])), 49);
    cut(&mut client, CALM, |c| c.settings_floods, "SETTINGS");
    let mut client = start();
    client.feed(&headers(1, 0, &OK));
    assert_eq!(until_cut(&mut client, 200, |_| data(1, 0, b"")), 100);
    cut(&mut client, CALM, |c| c.empty_data_floods, "empty DATA");
    let mut client = start();
    client.feed(&headers(1, 0, &OK));
    assert_eq!(until_cut(&mut client, 5_000, |_| data(1, 0, b"x")), 2_000);
    cut(&mut client, CALM, |c| c.tiny_data_floods, "tiny DATA");
    let mut client = start();
    assert!(until_cut(&mut client, 200, |_| window_update(1, 1)) < 20);
    cut(&mut client, CALM, |c| c.window_update_floods, "credit");
    let mut client = start();
    let priority = frame(PRIORITY, 0, 1, &[0; 5]);
    assert!(until_cut(&mut client, 3_000, |_| priority.clone()) < 1_300);
    cut(&mut client, CALM, |c| c.priority_floods, "PRIORITY");
    let mut client = start();
    let early = headers(1, 0, &[(":status", "103")]);
    assert!(until_cut(&mut client, 3_000, |_| early.clone()) < 1_300);
    cut(&mut client, CALM, |c| c.ignored_floods, "1xx");
    let mut client = start();
    client.feed(&frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]));
    let reason = Reason::PROTOCOL_ERROR;
    cut(&mut client, reason, |c| c.pushes_refused, "PUSH_PROMISE");
    let mut client = start();
    client.feed(&frame(HEADERS, 0, 1, &block(&OK)));
    let taken = until_cut(&mut client, 100, |_| frame(CONTINUATION, 0, 1, b""));
    assert_eq!(taken, 4);
    cut(&mut client, CALM, |c| c.continuation_floods, "CONTINUATION");
    let mut client = start();
    let value = "v".repeat(4_000);
    let mut bomb = block(&[("x", &value)]);
    bomb[0] = 0x40;
    bomb.extend([0xbe; 1_000]);
    client.feed(&frame(HEADERS, END_HEADERS, 1, &bomb));
    cut(&mut client, CALM, |c| c.hpack_bombs, "bomb");
    let mut client = start();
    client.feed(&frame(HEADERS, 0, 1, &block(&OK)));
    client.advance(10_000);
    cut(&mut client, CALM, |c| c.header_block_timeouts, "slowloris");
    let mut client = start();
    client.feed(&data(1, 0, &[0; 100]));
    assert_eq!(client.connection.counters().resets_provoked, 1);
    assert!(client.error.is_none(), "it costs its stream alone");
}

/// The peer decodes what stands before the acknowledgement with the old size of the table, and what
/// stands behind it with the new one.
#[test]
fn the_acknowledgement_stands_between_old_and_new_header_blocks() {
    let mut server = Endpoint::server();
    server.feed(&request(1, 0));
    server.feed(&request(3, 0));
    let fields = [(":status", "200"), ("x-of-the-table", "value")];
    server.respond(1, &fields, false);
    server.feed(&settings(&[(1, 0)]));
    server.respond(3, &fields, false);
    server.feed(&settings(&[(1, 4_096)]));
    let kinds: Vec<_> = server
        .output()
        .iter()
        .map(|frame| (frame.kind, frame.flags & ACK, frame.stream))
        .collect();
    assert_eq!(
        kinds,
        [
            (HEADERS, 0, 1),
            (SETTINGS, ACK, 0),
            (HEADERS, 0, 3),
            (SETTINGS, ACK, 0)
        ]
    );
}

#[test]
fn a_drain_before_the_preface_waits_for_our_settings() {
    let mut server = Endpoint::new(Role::Server, Limits::default());
    server
        .connection
        .send_go_away(GoAwayLast::Max, Reason::NO_ERROR, b"");
    server.connection.send_ping(*b"draining");
    assert!(server.output().is_empty(), "nothing before the preface");
    server.feed(PREFACE);
    let kinds: Vec<_> = server.output().iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds, [SETTINGS, GO_AWAY, PING]);
    server.assert_fine("a drain");
}
