//! The client's side, and both sides together.

use crate::pair::*;
use millrace_http2::{GoAwayLast, HeadersKind, Initiator, Limits, OpenError, Reason, Role};
use proptest::prelude::*;

const STATUS: [(&str, &str); 1] = [(":status", "200")];

fn kinds(endpoint: &mut Endpoint) -> Vec<HeadersKind> {
    let seen = endpoint.take_seen().into_iter();
    seen.filter_map(|seen| match seen {
        Seen::Headers { kind, .. } => Some(kind),
        _ => None,
    })
    .collect()
}

#[test]
fn a_call_from_end_to_end() {
    let mut pair = Pair::new();
    assert_eq!(pair.client.take_seen(), [Seen::SettingsReceived]);
    assert_eq!(pair.server.take_seen(), [Seen::SettingsReceived]);
    let id = pair.client.open(&REQUEST, false);
    pair.client.send(id, b"question", true);
    pair.drive();
    let seen = pair.server.take_seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(
        seen[1],
        Seen::Data {
            stream: 1,
            bytes: b"question".to_vec(),
            end_stream: true
        }
    );
    pair.server.respond(id, &STATUS, false);
    pair.server.send(id, b"answer", false);
    pair.server.respond(id, &[("grpc-status", "0")], true);
    pair.drive();
    use HeadersKind::{Response, Trailers};
    let data = Seen::Data {
        stream: 1,
        bytes: b"answer".to_vec(),
        end_stream: false,
    };
    assert!(pair.client.seen.contains(&data));
    assert_eq!(kinds(&mut pair.client), [Response, Trailers]);
    for endpoint in [&mut pair.client, &mut pair.server] {
        endpoint.connection.release(endpoint.key(id));
        assert_eq!(endpoint.connection.open_streams(), 0);
        assert_eq!(endpoint.connection.counters().streams_finished, 1);
        assert!(endpoint.output().is_empty());
    }
}

#[test]
fn the_steady_state_of_grpc_is_a_byte_per_field() {
    let mut pair = Pair::new();
    let response = [(":status", "200"), ("content-type", "application/grpc")];
    let mut sizes = Vec::new();
    for _ in 0..3 {
        let id = pair.client.open(&REQUEST, true);
        pair.drive();
        pair.server.respond(id, &response, false);
        pair.server.respond(id, &[("grpc-status", "0")], true);
        let bytes = pair.server.raw_output();
        sizes = frames(&bytes).iter().map(|f| f.payload.len()).collect();
        pair.client.feed(&bytes);
    }
    assert_eq!(sizes, [2, 1]);
}

#[test]
fn informational_responses_come_before_the_final_one() {
    let mut client = Endpoint::client();
    let id = client.open(&REQUEST, false);
    client.feed(&headers(id, 0, &[(":status", "103"), ("link", "x")]));
    client.feed(&headers(id, 0, &[(":status", "100")]));
    client.feed(&headers(id, 0, &STATUS));
    client.feed(&headers(id, END_STREAM, &[("grpc-status", "0")]));
    use HeadersKind::{Informational, Response, Trailers};
    let expected = [Informational, Informational, Response, Trailers];
    assert_eq!(kinds(&mut client), expected);
    client.assert_fine("1xx");
}

#[test]
fn malformed_responses() {
    let status = |value| vec![(":status", value)];
    for (about, bytes) in [
        ("no :status", headers(1, 0, &[("x", "y")])),
        (
            "two",
            headers(1, 0, &[(":status", "200"), (":status", "200")]),
        ),
        ("not a number", headers(1, 0, &status("2x0"))),
        ("too short", headers(1, 0, &status("20"))),
        ("too low", headers(1, 0, &status("099"))),
        (
            "a pseudo of requests",
            headers(1, 0, &[(":status", "200"), (":path", "/")]),
        ),
        (
            "upper case",
            headers(1, 0, &[(":status", "200"), ("X", "y")]),
        ),
        (
            "connection",
            headers(1, 0, &[(":status", "200"), ("connection", "close")]),
        ),
        (
            "behind regular",
            headers(1, 0, &[("x", "y"), (":status", "200")]),
        ),
        ("101", headers(1, 0, &status("101"))),
        ("1xx at the end", headers(1, END_STREAM, &status("100"))),
        ("DATA before the head", data(1, 0, b"x")),
        (
            "trailers without the end",
            [headers(1, 0, &STATUS), headers(1, 0, &[("x", "y")])].concat(),
        ),
        (
            "content-length",
            [
                headers(1, 0, &[(":status", "200"), ("content-length", "1")]),
                data(1, END_STREAM, b""),
            ]
            .concat(),
        ),
    ] {
        let mut client = Endpoint::client();
        client.open(&REQUEST, true);
        client.output();
        client.feed(&bytes);
        let expected = Seen::Reset(1, Reason::PROTOCOL_ERROR, Initiator::Local);
        assert_eq!(client.seen.last(), Some(&expected), "{about}");
        client.assert_reset(1, Reason::PROTOCOL_ERROR, about);
    }
}

#[test]
fn what_a_server_may_not_do() {
    for (about, bytes, reason) in [
        (
            "push",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]),
            Reason::PROTOCOL_ERROR,
        ),
        ("enable push", settings(&[(2, 1)]), Reason::PROTOCOL_ERROR),
        (
            "open a stream",
            headers(2, 0, &STATUS),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "answer an idle stream",
            headers(3, 0, &STATUS),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "send on an idle stream",
            data(3, 0, b"x"),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "reset an idle stream",
            reset(3, Reason::CANCEL),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "credit an idle stream",
            window_update(2, 1),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "go on after the end",
            [headers(1, END_STREAM, &STATUS), data(1, 0, b"x")].concat(),
            Reason::STREAM_CLOSED,
        ),
    ] {
        let mut client = Endpoint::client();
        client.open(&REQUEST, false);
        client.feed(&bytes);
        client.assert_error(reason, about);
    }
    let mut client = Endpoint::new(Role::Client, Limits::default());
    client.raw_output();
    client.feed(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    assert!(client.error.is_some());
}

#[test]
fn the_servers_concurrency_limit_is_kept() {
    let mut client = Endpoint::client();
    client.feed(&settings(&[(3, 1)]));
    let id = client.open(&REQUEST, true);
    let open = |client: &mut Endpoint| {
        client
            .connection
            .open_stream(list(&REQUEST), true, &mut client.written)
    };
    client.output();
    assert_eq!(open(&mut client), Err(OpenError::TooManyStreams));
    assert!(client.output().is_empty());
    client.feed(&headers(id, END_STREAM, &STATUS));
    client.connection.release(client.key(id));
    assert!(open(&mut client).is_ok());
    let mut server = Endpoint::server();
    assert_eq!(open(&mut server), Err(OpenError::NotAClient));
}

#[test]
fn streams_above_a_goaway_are_given_back() {
    let mut client = Endpoint::client();
    for _ in 0..4 {
        client.open(&REQUEST, false);
    }
    client.feed(&frame(GO_AWAY, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0, b'x']));
    let refused = |id| Seen::Reset(id, Reason::REFUSED_STREAM, Initiator::Library);
    let expected = [Seen::GoAway(3, Reason::NO_ERROR), refused(5), refused(7)];
    assert_eq!(client.take_seen(), expected);
    assert!(!client.connection.is_open_for_send(client.key(5)));
    assert!(client.connection.is_open_for_send(client.key(3)));
    let again = client
        .connection
        .open_stream(list(&REQUEST), true, &mut client.written);
    assert_eq!(again, Err(OpenError::GoingAway));
    client.feed(&headers(3, END_STREAM, &STATUS));
    assert_eq!(client.take_seen().len(), 1);
    client.feed(&frame(GO_AWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]));
    assert_eq!(client.take_seen()[0], Seen::GoAway(1, Reason::NO_ERROR));
}

#[test]
fn a_graceful_drain_between_both() {
    let mut pair = Pair::new();
    let first = pair.client.open(&REQUEST, true);
    pair.drive();
    pair.server
        .connection
        .send_go_away(GoAwayLast::Max, Reason::NO_ERROR, b"");
    pair.server.connection.send_ping(*b"drained?");
    // The client had opened another one before it could know.
    let second = pair.client.open(&REQUEST, true);
    pair.drive();
    assert!(
        pair.server
            .seen
            .contains(&Seen::PingAcknowledged(*b"drained?"))
    );
    pair.server
        .connection
        .send_go_away(GoAwayLast::Real, Reason::NO_ERROR, b"");
    for id in [first, second] {
        pair.server.respond(id, &STATUS, true);
    }
    pair.drive();
    assert_eq!(kinds(&mut pair.client), [HeadersKind::Response; 2]);
}

#[test]
fn neither_side_of_a_drain_overtakes_itself() {
    // A client's answer to the PING says that its streams have arrived.
    let mut client = Endpoint::client();
    let opened = client.open(&REQUEST, true);
    client.feed(&frame(PING, 0, 0, b"drained?"));
    let written = client.output();
    let at = |kind| written.iter().position(|frame| frame.kind == kind);
    assert_eq!(written[at(HEADERS).unwrap()].stream, opened);
    assert!(at(HEADERS) < at(PING), "{written:?}");

    // And the server's PING asks about what was opened before its GOAWAY.
    let mut server = Endpoint::server();
    server
        .connection
        .send_go_away(GoAwayLast::Max, Reason::NO_ERROR, b"");
    server.connection.send_ping(*b"drained?");
    let kinds: Vec<u8> = server.output().iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds, [GO_AWAY, PING]);
}

#[derive(Clone, Debug)]
enum Action {
    Open {
        end: bool,
    },
    Send {
        from_client: bool,
        stream: u8,
        length: u16,
        end: bool,
    },
    Respond {
        stream: u8,
        end: bool,
    },
    Reset {
        from_client: bool,
        stream: u8,
    },
    Release {
        from_client: bool,
        stream: u8,
    },
    Drive,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        2 => any::<bool>().prop_map(|end| Action::Open { end }),
        4 => (any::<bool>(), any::<u8>(), 0u16..20_000, any::<bool>()).prop_map(
            |(from_client, stream, length, end)| Action::Send { from_client, stream, length, end }
        ),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(stream, end)| Action::Respond { stream, end }),
        1 => (any::<bool>(), any::<u8>())
            .prop_map(|(from_client, stream)| Action::Reset { from_client, stream }),
        1 => (any::<bool>(), any::<u8>())
            .prop_map(|(from_client, stream)| Action::Release { from_client, stream }),
        3 => Just(Action::Drive),
    ]
}

proptest! {
    /// Whatever two callers do that keep to the rules, in whatever order it crosses on the wire,
    /// neither side finds fault with the other, and all of the connection's credit comes back.
    #[test]
    fn two_of_us_never_quarrel(actions in prop::collection::vec(action(), 0..120)) {
        let mut pair = Pair::new();
        let mut open: Vec<u32> = Vec::new();
        for action in actions {
            match action {
                Action::Open { end } => {
                    if open.len() < 200 {
                        open.push(pair.client.open(&REQUEST, end));
                    }
                }
                Action::Send { from_client, stream, length, end } => {
                    let Some((endpoint, id)) = pick(&mut pair, from_client, stream) else {
                        continue;
                    };
                    let key = endpoint.key(id);
                    let length = usize::from(length)
                        .min(endpoint.connection.send_window(key))
                        .min(endpoint.connection.max_frame_size());
                    let answered = from_client || endpoint.connection.token(key) == Some(1);
                    if endpoint.connection.is_open_for_send(key) && answered && (length > 0 || end) {
                        endpoint.send(id, &vec![7; length], end);
                    }
                }
                Action::Respond { stream, end } => {
                    if let Some((endpoint, id)) = pick(&mut pair, false, stream) {
                        let key = endpoint.key(id);
                        if endpoint.connection.token(key) == Some(0) {
                            endpoint.connection.set_token(key, 1);
                            endpoint.respond(id, &STATUS, end);
                        }
                    }
                }
                Action::Reset { from_client, stream } => {
                    if let Some((endpoint, id)) = pick(&mut pair, from_client, stream) {
                        endpoint.connection.send_reset(endpoint.key(id), Reason::CANCEL);
                    }
                }
                Action::Release { from_client, stream } => {
                    if let Some((endpoint, id)) = pick(&mut pair, from_client, stream) {
                        endpoint.connection.release(endpoint.key(id));
                    }
                }
                Action::Drive => pair.drive(),
            }
        }
        pair.drive();
        prop_assert_eq!(pair.client.error, None);
        prop_assert_eq!(pair.server.error, None);
        for endpoint in [&mut pair.client, &mut pair.server] {
            for (_, key) in endpoint.keys.clone() {
                endpoint.connection.release(key);
            }
            prop_assert_eq!(endpoint.connection.open_streams(), 0);
        }
        pair.drive();
        for endpoint in [&mut pair.client, &mut pair.server] {
            endpoint.connection.flush_connection_credit();
            prop_assert_eq!(endpoint.connection.connection_receive_window(), 65_535);
            prop_assert_eq!(endpoint.error, None);
        }
    }
}

fn pick(pair: &mut Pair, from_client: bool, choice: u8) -> Option<(&mut Endpoint, u32)> {
    let endpoint = if from_client {
        &mut pair.client
    } else {
        &mut pair.server
    };
    let live: Vec<u32> = endpoint
        .keys
        .iter()
        .filter(|(_, key)| endpoint.connection.token(*key).is_some())
        .map(|(id, _)| *id)
        .collect();
    let id = *live.get(usize::from(choice) % live.len().max(1))?;
    Some((endpoint, id))
}
