//! What the passing of time brings.

use crate::pair::*;
use millrace_http2::{ErrorKind, Expired, Limits, Reason, Role};

#[test]
fn a_silent_peer_is_cut_after_ten_seconds() {
    let mut server = Endpoint::new(Role::Server, Limits::default());
    assert_eq!(server.connection.next_timeout(), Some(10_000));
    server.advance(9_999);
    assert_eq!(server.error, None);
    server.advance(1);
    assert_eq!(server.error.map(|e| e.kind), Some(ErrorKind::Timeout));
    assert!(server.output().is_empty(), "no HTTP/2 before the preface");
    assert_eq!(server.connection.counters().handshake_timeouts, 1);
    assert_eq!(server.connection.next_timeout(), None);
    let mut server = Endpoint::new(Role::Server, Limits::default());
    server.feed(PREFACE);
    server.advance(10_000);
    server.assert_error(Reason::SETTINGS_TIMEOUT, "no SETTINGS");
}

#[test]
fn settings_have_to_be_acknowledged() {
    let mut server = Endpoint::new(Role::Server, Limits::default());
    server.advance(5_000);
    server.feed(&[PREFACE, &settings(&[])].concat());
    server.advance(9_999);
    assert_eq!(server.error, None);
    server.advance(1);
    server.assert_error(Reason::SETTINGS_TIMEOUT, "no acknowledgement");
}

#[test]
fn a_header_block_has_to_end() {
    let starts = [
        frame(HEADERS, 0, 1, &block(&REQUEST)),
        request(1, 0)[..12].to_vec(),
    ];
    for start in starts {
        let mut server = Endpoint::server();
        server.feed(&start);
        server.advance(9_999);
        assert_eq!(server.error, None);
        server.advance(1);
        server.assert_error(Reason::ENHANCE_YOUR_CALM, "open block");
    }
    let mut server = Endpoint::server();
    server.feed(&request(1, 0)[..12]);
    server.advance(9_000);
    server.feed(&request(1, 0)[12..]);
    server.advance(9_000);
    server.assert_fine("in time");
}

#[test]
fn a_silent_peer_is_asked_and_cut_without_an_answer() {
    let limits = Limits {
        keepalive_interval: Some(60_000),
        ..Limits::default()
    };
    let mut server = Endpoint::server_with(limits);
    server.advance(30_000);
    server.feed(&request(1, 0));
    server.advance(30_000);
    assert!(server.output().is_empty(), "30 s of silence only");
    server.advance(30_000);
    let asked = server.output();
    assert_eq!(asked[0].kind, PING);
    server.advance(10_000);
    server.feed(&frame(PING, ACK, 0, &asked[0].payload));
    assert_eq!(server.take_seen().len(), 1, "not the caller's PING");
    server.advance(10_000);
    server.assert_fine("answered");
    server.advance(50_000);
    let asked = server.output();
    server.feed(&frame(PING, ACK, 0, &asked[0].payload));
    server.advance(20_000);
    server.assert_fine("answered at once");
    server.advance(40_000);
    assert_eq!(server.output()[0].kind, PING);
    server.advance(19_999);
    assert_eq!(server.error, None);
    server.advance(1);
    assert_eq!(
        server.error.map(|e| e.kind),
        Some(ErrorKind::KeepaliveTimeout)
    );
}

#[test]
fn an_idle_connection_is_reported_if_so_configured() {
    let limits = Limits {
        max_connection_idle: Some(1_000),
        ..Limits::default()
    };
    let mut server = Endpoint::server_with(limits);
    server.advance(500);
    server.feed(&request(1, END_STREAM));
    server.advance(60_000);
    server.assert_fine("a stream is open");
    server.respond(1, &[(":status", "200")], true);
    server.connection.release(server.key(1));
    server.output();
    server.advance(999);
    server.assert_fine("not yet");
    server.advance(2_000);
    server.advance(1_000);
    assert_eq!(server.expired, [Expired::Idle]);
    server.assert_fine("to end it is for the caller");
    assert_eq!(server.connection.counters().idle_closes, 1);
    server.feed(&request(3, END_STREAM));
    assert_eq!(server.take_seen().len(), 2, "still served");
    let mut server = Endpoint::server();
    server.advance(6_000_000);
    server.assert_fine("off by default");
    assert_eq!(server.expired, []);
}

#[test]
fn an_old_connection_is_reported_and_so_is_the_end_of_its_grace() {
    let limits = Limits {
        max_connection_age: Some(10_000),
        max_connection_age_grace: Some(3_000),
        ..Limits::default()
    };
    let mut server = Endpoint::server_with(limits.clone());
    server.feed(&request(1, 0));
    server.advance(9_999);
    assert_eq!(server.expired, []);
    server.advance(1);
    assert_eq!(server.expired, [Expired::Age]);
    server.advance(2_999);
    assert_eq!(server.expired, [Expired::Age]);
    server.advance(1);
    assert_eq!(server.expired, [Expired::Age, Expired::AgeGrace]);
    server.assert_fine("to end it is for the caller");
    server.advance(6_000_000);
    assert_eq!(server.expired.len(), 2, "each once");
    let counters = server.connection.counters();
    assert_eq!((counters.age_closes, counters.age_grace_closes), (1, 1));
    let endless = Limits {
        max_connection_age_grace: None,
        ..limits
    };
    let mut server = Endpoint::server_with(endless);
    server.feed(&request(1, 0));
    server.advance(6_000_000);
    assert_eq!(server.expired, [Expired::Age]);
}
