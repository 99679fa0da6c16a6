//! Sections 5.2, 6.5.2 and 6.9: windows.

use crate::pair::*;
use millrace_http2::{Initiator, Limits, Reason};

fn updates(endpoint: &mut Endpoint) -> Vec<(u32, u32)> {
    let written = endpoint.output();
    assert!(written.iter().all(|f| f.kind == WINDOW_UPDATE));
    written.iter().map(|f| (f.stream, f.number(0))).collect()
}

#[test]
fn data_takes_from_both_windows_and_credit_gives_back_in_quarters() {
    let mut server = Endpoint::server();
    server.credits = false;
    server.feed(&request(1, 0));
    let key = server.key(1);
    server.feed(&data(1, 0, &[0; 16_384]));
    assert_eq!(server.connection.receive_window(key), 49_152);
    assert_eq!(server.connection.connection_receive_window(), 49_151);
    server.connection.credit_stream(key, 16_382);
    server.connection.credit_connection(16_382);
    assert_eq!(updates(&mut server), []);
    server.connection.credit_stream(key, 2);
    server.connection.credit_connection(2);
    assert_eq!(updates(&mut server), [(1, 16_384), (0, 16_384)]);
    assert_eq!(server.connection.receive_window(key), 65_536);
    // Growing.
    server.connection.credit_stream(key, 100_000);
    assert_eq!(updates(&mut server), [(1, 100_000)]);
    server.connection.credit_stream(key, 10);
    server.connection.flush_stream_credit(key);
    assert_eq!(updates(&mut server), [(1, 10)]);
    server.connection.flush_stream_credit(key);
    assert_eq!(updates(&mut server), []);
}

#[test]
fn a_stream_that_has_ended_gets_no_credit() {
    let mut server = Endpoint::server();
    server.credits = false;
    server.feed(&request(1, 0));
    server.feed(&data(1, END_STREAM, &[0; 16_384]));
    server.connection.credit_stream(server.key(1), 16_384);
    server.connection.flush_stream_credit(server.key(1));
    assert_eq!(updates(&mut server), []);
}

#[test]
fn padding_is_credited_inside() {
    let mut server = Endpoint::server();
    server.credits = false;
    server.feed(&request(1, 0));
    for _ in 0..10 {
        server.feed(&frame(
            DATA,
            PADDED,
            1,
            &[&[255, 1][..], &[0; 255]].concat(),
        ));
    }
    server.connection.flush_connection_credit();
    server.connection.flush_stream_credit(server.key(1));
    assert_eq!(updates(&mut server), [(0, 2_560), (1, 2_560)]);
    assert_eq!(server.connection.receive_window(server.key(1)), 65_526);
    assert_eq!(server.connection.connection_receive_window(), 65_525);
}

#[test]
fn more_than_a_window_ends_the_connection() {
    let small = Limits {
        initial_window_bytes: 10,
        ..Limits::default()
    };
    let mut server = Endpoint::server_with(small.clone());
    server.feed(&request(1, 0));
    server.feed(&data(1, 0, &[0; 11]));
    server.assert_error(Reason::FLOW_CONTROL_ERROR, "stream");
    let mut server = Endpoint::server();
    server.credits = false;
    server.feed(&[request(1, 0), request(3, 0)].concat());
    for id in [1, 3, 1, 3] {
        assert_eq!(server.error, None);
        server.feed(&data(id, 0, &[0; 16_384]));
    }
    server.assert_error(Reason::FLOW_CONTROL_ERROR, "connection");
    // Before it has acknowledged our SETTINGS, the peer goes by the default.
    let mut server = Endpoint::new(millrace_http2::Role::Server, small);
    server.credits = false;
    server.feed(&[PREFACE, &settings(&[]), &request(1, 0)].concat());
    server.feed(&data(1, 0, &[0; 1_000]));
    server.assert_fine("not yet acknowledged");
    server.feed(&frame(SETTINGS, ACK, 0, &[]));
    server.feed(&data(1, 0, &[0; 1]));
    server.assert_error(Reason::FLOW_CONTROL_ERROR, "acknowledged");
}

#[test]
fn the_send_window_is_the_smaller_of_both() {
    let mut server = Endpoint::server();
    server.feed(&request(1, 0));
    server.feed(&request(3, 0));
    let (one, three) = (server.key(1), server.key(3));
    assert_eq!(server.connection.send_window(one), 65_535);
    server.send(1, &[0; 10_000], false);
    server.send(1, &[0; 100], false);
    server.connection.extend_data(one, 900);
    assert_eq!(server.connection.send_window(one), 54_535);
    assert_eq!(server.connection.send_window(three), 54_535);
    server.feed(&window_update(0, 1_000_000));
    assert_eq!(server.connection.send_window(one), 54_535);
    assert_eq!(server.connection.send_window(three), 65_535);
    server.feed(&window_update(3, 10));
    assert_eq!(server.connection.send_window(three), 65_545);
}

#[test]
fn a_change_of_the_initial_window_reaches_open_streams_and_may_make_windows_negative() {
    let mut server = Endpoint::server();
    server.feed(&window_update(0, 1_000_000));
    server.feed(&request(1, 0));
    let one = server.key(1);
    server.send(1, &[0; 1_000], false);
    server.take_seen();
    server.feed(&settings(&[(4, 500)]));
    assert_eq!(server.connection.send_window(one), 0);
    server.feed(&settings(&[(4, 1_000)]));
    assert_eq!(server.connection.send_window(one), 0);
    server.feed(&settings(&[(4, 999), (4, 1_001)]));
    assert_eq!(server.connection.send_window(one), 1);
    server.feed(&request(3, 0));
    assert_eq!(server.connection.send_window(server.key(3)), 1_001);
}

#[test]
fn windows_open_with_an_event_when_somebody_may_wait() {
    let opened = |server: &mut Endpoint| {
        let seen = server.take_seen();
        let opened = seen.into_iter().filter_map(|seen| match seen {
            Seen::WindowOpened(stream) => Some(stream),
            _ => None,
        });
        opened.collect::<Vec<_>>()
    };
    let mut server = Endpoint::server();
    server.feed(&[request(1, 0), request(3, 0)].concat());
    server.feed(&window_update(1, 5));
    server.feed(&window_update(0, 5));
    assert_eq!(opened(&mut server), [], "nobody has found it short");
    for _ in 0..4 {
        let length = server.connection.send_window(server.key(1)).min(16_384);
        server.send(1, &vec![0; length], false);
    }
    assert_eq!(server.connection.send_window(server.key(1)), 4);
    server.feed(&window_update(1, 5));
    assert_eq!(opened(&mut server), [Some(1)]);
    server.feed(&window_update(1, 5));
    assert_eq!(opened(&mut server), [], "said once");
    server.send(1, &[0; 4], false);
    assert_eq!(
        server.connection.send_window(server.key(3)),
        0,
        "the connection's"
    );
    server.feed(&window_update(3, 5));
    assert_eq!(opened(&mut server), []);
    server.feed(&window_update(0, 5));
    assert_eq!(opened(&mut server), [None]);
    server.feed(&settings(&[(4, 100_000)]));
    assert_eq!(opened(&mut server), [None], "all streams at once");
    server.feed(&settings(&[(4, 1)]));
    assert_eq!(opened(&mut server), []);
    // Positive is what counts.
    assert_eq!(server.connection.send_window(server.key(1)), 0);
    server.feed(&window_update(1, 10));
    assert_eq!(opened(&mut server), []);
    server.feed(&window_update(1, 100_000));
    assert_eq!(opened(&mut server), [Some(1)]);
}

#[test]
fn windows_above_the_maximum_are_errors() {
    const MAX: u32 = (1 << 31) - 1;
    let mut server = Endpoint::server();
    server.feed(&window_update(0, MAX));
    server.assert_error(Reason::FLOW_CONTROL_ERROR, "connection");
    let mut server = Endpoint::server();
    server.feed(&request(1, 0));
    server.take_seen();
    server.feed(&window_update(1, MAX));
    let expected = Seen::Reset(1, Reason::FLOW_CONTROL_ERROR, Initiator::Local);
    assert_eq!(server.take_seen(), [expected]);
    server.assert_reset(1, Reason::FLOW_CONTROL_ERROR, "stream");
    // Also on a stream on which we have nothing left to send.
    let mut client = Endpoint::client();
    client.open(&REQUEST, true);
    client.output();
    client.feed(&window_update(1, MAX));
    client.assert_reset(1, Reason::FLOW_CONTROL_ERROR, "half closed");
    let mut server = Endpoint::server();
    server.feed(&request(1, 0));
    server.feed(&window_update(1, 10));
    server.feed(&settings(&[(4, MAX - 10)]));
    server.assert_fine("just fits");
    server.feed(&settings(&[(4, MAX - 9)]));
    server.assert_error(Reason::FLOW_CONTROL_ERROR, "by SETTINGS");
    // A stream that is gone does not count.
    let mut server = Endpoint::server();
    server.feed(&request(1, 0));
    server.feed(&window_update(1, 10));
    server.connection.release(server.key(1));
    server.output();
    server.feed(&settings(&[(4, MAX)]));
    server.assert_fine("released");
}
