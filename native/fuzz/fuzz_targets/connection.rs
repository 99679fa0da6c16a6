//! A peer may send anything, cut anywhere: the same events come out, in bounds and in order.
#![no_main]

mod pieces;

use libfuzzer_sys::fuzz_target;
use millrace_http2::{
    Connection, Event, Field, HeadersKind, Indexing, Limits, Reason, Role, StreamKey,
};
use pieces::pieces;
use std::collections::HashMap;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// What the caller saw, without what depends on where the input was cut.
#[derive(Debug, PartialEq)]
enum Seen {
    Headers {
        stream: u32,
        kind: HeadersKind,
        end_stream: bool,
        oversized: bool,
        fields: Vec<(Vec<u8>, Vec<u8>)>,
    },
    Data {
        stream: u32,
        bytes: Vec<u8>,
        end_stream: bool,
    },
    Other(Event),
    Error(Reason, &'static str),
}

#[derive(Debug, PartialEq)]
struct Outcome {
    seen: Vec<Seen>,
    open_streams: usize,
    connection_window: i64,
}

fn request() -> impl Iterator<Item = Field<'static>> {
    let field = |(name, value): (&'static str, &'static str)| Field {
        name: name.as_bytes(),
        value: value.as_bytes(),
        indexing: Indexing::Index,
    };
    [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/a.B/C"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    .into_iter()
    .map(field)
}

/// A request's header block: static table entries, and literals that are not indexed.
const REQUEST_BLOCK: &[u8] = b"\x83\x86\x04\x06/a.B/C\x0f\x10\x10application/grpc";

/// Frames made of the input: a byte each for type, flags, stream and payload length, and the
/// payload. With its highest bit set the type stands for a HEADERS frame with a good block.
fn frames(mut rest: &[u8], out: &mut Vec<u8>) {
    while let Some((&[kind, flags, stream, length], tail)) = rest.split_first_chunk::<4>() {
        let (payload, tail) = if kind >= 0x80 {
            (REQUEST_BLOCK, tail)
        } else {
            tail.split_at(tail.len().min(usize::from(length)))
        };
        let kind = if kind >= 0x80 { 1 } else { kind % 11 };
        out.extend_from_slice(&[0, 0, payload.len() as u8, kind, flags]);
        out.extend_from_slice(&u32::from(stream % 16).to_be_bytes());
        out.extend_from_slice(payload);
        rest = tail;
    }
}

/// What an engine does when a peer has ended its stream: credit what came, answer, let go.
fn answer(connection: &mut Connection, stream: StreamKey, role: Role, received: usize) {
    connection.credit_connection(received as u32);
    connection.flush_connection_credit();
    if role == Role::Server && connection.is_open_for_send(stream) {
        let mut out = Vec::new();
        connection.send_headers(stream, request().skip(4), false, &mut out);
        let length = connection.send_window(stream).min(100);
        out.extend_from_slice(&connection.data_head(stream, length, false));
        out.resize(out.len() + length, 0);
        connection.send_headers(stream, request().skip(5), true, &mut out);
        assert!(!connection.is_open_for_send(stream));
    }
    connection.release(stream);
    assert_eq!(connection.token(stream), None);
}

fn drive<'a>(role: Role, pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut connection = Connection::new(role, Limits::default(), 0);
    if role == Role::Client {
        let mut out = Vec::new();
        for end_stream in [true, false, false] {
            let _ = connection.open_stream(request(), end_stream, &mut out);
        }
    }
    let mut seen: Vec<Seen> = Vec::new();
    // A stream that has ended may not speak again.
    let mut ended: HashMap<StreamKey, bool> = HashMap::new();
    let mut received: HashMap<StreamKey, usize> = HashMap::new();
    'input: for mut piece in pieces {
        loop {
            let (consumed, event) = match connection.receive(piece, 0) {
                Ok(found) => found,
                Err(error) => {
                    seen.push(Seen::Error(error.reason, error.message));
                    break 'input;
                }
            };
            assert!(consumed <= piece.len());
            let Some(event) = event else {
                assert_eq!(consumed, piece.len());
                break;
            };
            match event {
                Event::Headers {
                    stream,
                    kind,
                    end_stream,
                    oversized,
                } => {
                    let fields: Vec<_> = connection
                        .fields()
                        .map(|(name, value)| (name.to_vec(), value.to_vec()))
                        .collect();
                    assert!(!oversized || fields.is_empty());
                    assert!(kind != HeadersKind::Trailers || end_stream);
                    assert!(!fields.iter().any(|(name, _)| name.is_empty()
                        || name.iter().any(|byte| byte.is_ascii_uppercase())));
                    let over = ended.insert(stream, end_stream);
                    assert_ne!(over, Some(true), "headers behind the end of a stream");
                    seen.push(Seen::Headers {
                        stream: connection.stream_id(stream),
                        kind,
                        end_stream,
                        oversized,
                        fields,
                    });
                    if end_stream {
                        let bytes = received.remove(&stream).unwrap_or(0);
                        answer(&mut connection, stream, role, bytes);
                    }
                }
                Event::Data {
                    stream,
                    start,
                    length,
                    end_stream,
                } => {
                    assert!(start + length <= consumed);
                    assert!(length > 0 || end_stream);
                    let over = ended.insert(stream, end_stream);
                    assert_eq!(over, Some(false), "data outside of a message");
                    assert!(connection.receive_window(stream) >= 0);
                    *received.entry(stream).or_default() += length;
                    let id = connection.stream_id(stream);
                    let payload = &piece[start..start + length];
                    match seen.last_mut() {
                        Some(Seen::Data {
                            stream: last,
                            bytes,
                            end_stream: end,
                        }) if *last == id => {
                            bytes.extend_from_slice(payload);
                            *end = end_stream;
                        }
                        _ => seen.push(Seen::Data {
                            stream: id,
                            bytes: payload.to_vec(),
                            end_stream,
                        }),
                    }
                    if end_stream {
                        let bytes = received.remove(&stream).unwrap_or(0);
                        answer(&mut connection, stream, role, bytes);
                    }
                }
                Event::Reset { stream, .. } => {
                    ended.insert(stream, true);
                    seen.push(Seen::Other(event));
                    connection.release(stream);
                }
                _ => seen.push(Seen::Other(event)),
            }
            piece = &piece[consumed..];
        }
    }
    Outcome {
        seen,
        open_streams: connection.open_streams(),
        connection_window: connection.connection_receive_window(),
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&[mode, ref sizes @ ..], bytes)) = data.split_first_chunk::<5>() else {
        return;
    };
    let role = if mode & 1 == 0 {
        Role::Server
    } else {
        Role::Client
    };
    // Mostly past the preface, for a fuzzer hardly ever guesses it.
    let mut input = Vec::new();
    if mode & 2 == 0 {
        if role == Role::Server {
            input.extend_from_slice(PREFACE);
        }
        input.extend_from_slice(EMPTY_SETTINGS);
    }
    if mode & 4 == 0 {
        frames(bytes, &mut input);
    } else {
        input.extend_from_slice(bytes);
    }
    let whole = drive(role, std::iter::once(&input[..]));
    let cut = drive(role, pieces(&input, sizes));
    assert_eq!(cut, whole);
});
