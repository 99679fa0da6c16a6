//! A stream of messages is the same whatever way it is cut, and what was read is what was written.
#![no_main]

mod pieces;

use libfuzzer_sys::fuzz_target;
use millrace_grpc::deframe::{GrpcError, PREFIX_BYTES};
use millrace_grpc::{Deframer, Step};
use pieces::pieces;

const LIMIT: usize = 1 << 12;

#[derive(Debug, PartialEq)]
struct Outcome {
    messages: Vec<(bool, Vec<u8>)>,
    end: Result<(), GrpcError>,
}

fn deframe<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut deframer = Deframer::new(LIMIT);
    let mut messages: Vec<(bool, Vec<u8>)> = Vec::new();
    for mut piece in pieces {
        loop {
            if deframer.remaining() > 0 {
                let count = deframer.take(piece.len());
                let (_, payload) = messages.last_mut().expect("a message was begun");
                payload.extend_from_slice(&piece[..count]);
                piece = &piece[count..];
                if deframer.remaining() > 0 {
                    assert!(piece.is_empty());
                    break;
                }
            }
            let (consumed, step) = match deframer.feed(piece) {
                Ok(found) => found,
                Err(error) => {
                    let end = Err(error);
                    return Outcome { messages, end };
                }
            };
            match step {
                Step::NeedMore => {
                    assert_eq!(consumed, piece.len());
                    break;
                }
                Step::Whole {
                    start,
                    length,
                    compressed,
                } => {
                    assert_eq!(start + length, consumed);
                    messages.push((compressed, piece[start..consumed].to_vec()));
                }
                Step::Begin { length, compressed } => {
                    assert!(length <= LIMIT && length == deframer.remaining());
                    messages.push((compressed, Vec::new()));
                }
            }
            piece = &piece[consumed..];
        }
    }
    if deframer.remaining() > 0 {
        messages.pop();
    }
    let end = deframer.finish();
    Outcome { messages, end }
}

fuzz_target!(|data: &[u8]| {
    let (sizes, bytes) = data.split_at(data.len().min(4));
    let whole = deframe(std::iter::once(bytes));
    assert_eq!(deframe(pieces(bytes, sizes)), whole);

    // The messages, written again, are the start of what was read.
    let mut written = Vec::new();
    for (compressed, payload) in &whole.messages {
        written.push(u8::from(*compressed));
        written.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        written.extend_from_slice(payload);
    }
    assert!(bytes.starts_with(&written));
    match whole.end {
        Ok(()) => assert_eq!(bytes.len(), written.len()),
        Err(GrpcError::Truncated) => assert!(bytes.len() > written.len()),
        Err(_) => assert!(bytes.len() >= written.len() + PREFIX_BYTES),
    }
});
