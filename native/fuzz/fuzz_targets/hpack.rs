//! HPACK through the connection that uses it: what one side encodes the other decodes, and any
//! bytes are the same field list, or the same error, however the block is cut into frames.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_http2::{Connection, Event, Field, Indexing, Limits, Reason, Role};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

type Owned = Vec<(Vec<u8>, Vec<u8>)>;

#[derive(Debug, PartialEq)]
enum Outcome {
    Fields(Owned),
    Oversized,
    Reset(Reason),
    Error(Reason),
    Nothing,
}

fn receive(connection: &mut Connection, mut input: &[u8]) -> Outcome {
    let mut outcome = Outcome::Nothing;
    loop {
        match connection.receive(input, 0) {
            Err(error) => return Outcome::Error(error.reason),
            Ok((consumed, event)) => {
                input = &input[consumed..];
                match event {
                    None => return outcome,
                    Some(Event::Headers {
                        stream, oversized, ..
                    }) => {
                        outcome = if oversized {
                            Outcome::Oversized
                        } else {
                            let owned =
                                |(name, value): (&[u8], &[u8])| (name.to_vec(), value.to_vec());
                            Outcome::Fields(connection.fields().map(owned).collect())
                        };
                        // Frees the slot, so that a long row of blocks is never refused.
                        connection.send_reset(stream, Reason::NO_ERROR);
                        connection.release(stream);
                    }
                    Some(Event::Reset { stream, reason, .. }) => {
                        outcome = Outcome::Reset(reason);
                        connection.release(stream);
                    }
                    Some(_) => {}
                }
            }
        }
    }
}

fn server() -> Connection {
    let mut server = Connection::new(Role::Server, Limits::default(), 0);
    receive(&mut server, PREFACE);
    receive(&mut server, EMPTY_SETTINGS);
    server
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Any bytes as header blocks: each in one frame, and each in two.
fn decode_anything(data: &[u8]) {
    let (mut one, mut two) = (server(), server());
    let mut rest = data;
    let mut stream = 1;
    while let Some((&[length, split], tail)) = rest.split_first_chunk::<2>() {
        let (block, tail) = tail.split_at(tail.len().min(usize::from(length)));
        rest = tail;
        let (first, second) = block.split_at(block.len().min(usize::from(split)));
        let mut whole = Vec::new();
        frame(HEADERS, END_STREAM | END_HEADERS, stream, block, &mut whole);
        let mut parts = Vec::new();
        frame(HEADERS, END_STREAM, stream, first, &mut parts);
        frame(CONTINUATION, END_HEADERS, stream, second, &mut parts);
        let outcome = receive(&mut one, &whole);
        assert_eq!(receive(&mut two, &parts), outcome);
        if matches!(outcome, Outcome::Error(_)) {
            return;
        }
        stream += 2;
    }
}

/// Requests made of the input, from a client of ours to a server of ours, over one pair of tables.
fn round_trip(data: &[u8]) {
    const NAMES: [&str; 8] = [
        "content-type",
        "te",
        "authorization",
        "x-request-id",
        "grpc-timeout",
        "a",
        "x-bin",
        "a-name-that-is-long-enough-to-be-worth-huffman-coding",
    ];
    let mut client = Connection::new(Role::Client, Limits::default(), 0);
    receive(&mut client, EMPTY_SETTINGS);
    let mut server = server();
    let mut rest = data;
    while !rest.is_empty() {
        let mut fields: Vec<(Vec<u8>, Vec<u8>, Indexing)> = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/a.B/C"),
        ]
        .map(|(name, value)| (name.into(), value.into(), Indexing::Index))
        .to_vec();
        while let Some((&[choice, length], tail)) = rest.split_first_chunk::<2>() {
            let (value, tail) = tail.split_at(tail.len().min(usize::from(length)));
            rest = tail;
            let indexing =
                [Indexing::Index, Indexing::Skip, Indexing::Never][usize::from(choice >> 4) % 3];
            // Field values carry no control characters and no space at either end.
            let mut value: Vec<u8> = value.iter().map(|byte| byte % 94 + 33).collect();
            let name = NAMES[usize::from(choice % 8)];
            if name == "te" {
                value = b"trailers".to_vec();
            }
            fields.push((name.into(), value, indexing));
            if choice >= 128 || fields.len() > 20 {
                break;
            }
        }
        if rest.len() < 2 {
            rest = &[];
        }
        let list: usize = fields
            .iter()
            .map(|(name, value, _)| name.len() + value.len() + 32)
            .sum();
        let borrowed = fields.iter().map(|(name, value, indexing)| Field {
            name,
            value,
            indexing: *indexing,
        });
        let mut wire = Vec::new();
        let Ok(stream) = client.open_stream(borrowed, true, &mut wire) else {
            return;
        };
        client.send_reset(stream, Reason::CANCEL);
        client.release(stream);
        match receive(&mut server, &wire) {
            Outcome::Fields(received) => {
                let sent: Owned = fields
                    .into_iter()
                    .map(|(name, value, _)| (name, value))
                    .collect();
                assert_eq!(received, sent);
            }
            Outcome::Oversized => assert!(list > 8 * 1024),
            outcome => panic!("a request of ours was refused: {outcome:?}"),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    match data.split_first() {
        Some((0..128, rest)) => decode_anything(rest),
        Some((_, rest)) => round_trip(rest),
        None => {}
    }
});
