//! Any split of the same bytes gives the same events and the same answers; any bytes at all give
//! no panic.

use crate::pair::*;
use millrace_http2::{Limits, Reason, Role};
use proptest::prelude::*;

/// Something of everything a well-behaved client sends.
fn session() -> Vec<u8> {
    let fields = block(&REQUEST);
    let (first, second) = fields.split_at(9);
    [
        PREFACE.to_vec(),
        settings(&[(4, 100), (1, 0), (0x99, 1)]),
        window_update(0, 1_000),
        request(1, 0),
        frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 9]),
        data(1, 0, b"hello"),
        frame(SETTINGS, ACK, 0, &[]),
        frame(DATA, PADDED, 1, b"\x03world\0\0\0"),
        frame(
            HEADERS,
            END_STREAM | PADDED,
            3,
            &[&[2][..], first, &[0, 0]].concat(),
        ),
        frame(CONTINUATION, END_HEADERS, 3, second),
        frame(PING, 0, 0, b"pingping"),
        data(1, 0, b""),
        window_update(1, 50),
        frame(0x77, 0, 5, b"whatever"),
        headers(1, END_STREAM, &[("x", "y")]),
        request(5, 0),
        frame(DATA, PADDED | END_STREAM, 5, b"\x04\0\0\0\0"),
        request(7, 0),
        reset(7, Reason::CANCEL),
        headers(9, 0, &[(":method", "GET")]),
        data(9, END_STREAM, b"late"),
        frame(GO_AWAY, 0, 0, b"\0\0\0\0\0\0\0\0bye"),
    ]
    .concat()
}

fn run(pieces: impl IntoIterator<Item = Vec<u8>>) -> (Vec<Seen>, Vec<u8>, Option<Reason>) {
    let mut server = Endpoint::new(Role::Server, Limits::default());
    let mut urgent = Vec::new();
    let mut ordered = Vec::new();
    for piece in pieces {
        server.feed(&piece);
        urgent.append(server.connection.urgent());
        ordered.append(server.connection.ordered());
    }
    urgent.append(&mut ordered);
    (server.seen, urgent, server.error.map(|error| error.reason))
}

#[test]
fn split_at_every_byte() {
    let bytes = session();
    let whole = run([bytes.clone()]);
    assert_eq!(whole.2, None);
    assert_eq!(whole.0.len(), 10, "{:#?}", whole.0);
    for at in 0..=bytes.len() {
        let (left, right) = bytes.split_at(at);
        assert_eq!(run([left.to_vec(), right.to_vec()]), whole, "at {at}");
    }
    assert_eq!(run(bytes.iter().map(|b| vec![*b])), whole, "byte by byte");
}

fn pieces_of(bytes: &[u8], cuts: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|w| bytes[w[0]..w[1]].to_vec()).collect()
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let stream = prop_oneof![Just(0u32), Just(1), Just(3), Just(5), Just(2), any::<u32>()];
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        Just(block(&REQUEST)),
        Just(vec![0; 4]),
        Just(vec![0, 0, 0, 1]),
        Just(vec![0; 8]),
    ];
    prop_oneof![
        3 => (0u8..11, any::<u8>(), stream, payload)
            .prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload)),
        1 => (0u32..8, 0u8..2).prop_map(|(n, flags)| request(2 * n + 1, flags)),
        1 => (0u32..8, 0u8..2).prop_map(|(n, flags)| data(2 * n + 1, flags, b"some data")),
        1 => (0u32..8, 1u32..1_000).prop_map(|(n, bytes)| window_update(n, bytes)),
    ]
}

proptest! {
    /// Valid and invalid frames in any order: the verdict does not hang on the split.
    #[test]
    fn any_frames_split_anywhere(
        frames in prop::collection::vec(any_frame(), 0..30),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let bytes = [PREFACE.to_vec(), settings(&[]), frames.concat()].concat();
        prop_assert_eq!(run(pieces_of(&bytes, &cuts)), run([bytes]));
    }

    #[test]
    fn any_bytes_give_no_panic(
        role in prop_oneof![Just(Role::Server), Just(Role::Client)],
        start in any::<bool>(),
        bytes in prop::collection::vec(any::<u8>(), 0..500),
    ) {
        let mut endpoint = match (role, start) {
            (Role::Server, true) => Endpoint::server(),
            (Role::Client, true) => Endpoint::client(),
            (role, false) => Endpoint::new(role, Limits::default()),
        };
        endpoint.feed(&bytes);
    }

    /// What was not consumed for an event is given again, and nothing is lost or doubled.
    #[test]
    fn data_arrives_whole(
        lengths in prop::collection::vec(0usize..3_000, 1..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let mut server = Endpoint::server();
        server.feed(&request(1, 0));
        server.take_seen();
        let mut sent = Vec::new();
        let mut bytes = Vec::new();
        for (i, length) in lengths.iter().enumerate() {
            let payload: Vec<u8> = (0..*length).map(|n| (n * 31 + i) as u8).collect();
            bytes.extend(data(1, 0, &payload));
            sent.extend(payload);
        }
        bytes.extend(data(1, END_STREAM, b""));
        for piece in pieces_of(&bytes, &cuts) {
            server.feed(&piece);
        }
        let expected = Seen::Data { stream: 1, bytes: sent, end_stream: true };
        prop_assert_eq!(server.take_seen(), vec![expected]);
    }
}
