//! Whatever way a stream's bytes are cut, the same messages come out.

use millrace_grpc::deframe::{GrpcError, PREFIX_BYTES, prefix};
use millrace_grpc::{Deframer, Step};
use proptest::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Message {
    compressed: bool,
    payload: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    messages: Vec<Message>,
    end: Result<(), GrpcError>,
}

/// Feeds the pieces one after another, as an engine would.
fn deframe<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limit: usize) -> Outcome {
    let mut deframer = Deframer::new(limit);
    let mut messages: Vec<Message> = Vec::new();
    for mut piece in pieces {
        loop {
            if deframer.remaining() > 0 {
                let count = deframer.take(piece.len());
                let message = messages.last_mut().expect("begun");
                message.payload.extend_from_slice(&piece[..count]);
                piece = &piece[count..];
                if deframer.remaining() > 0 {
                    break;
                }
            }
            match deframer.feed(piece) {
                Err(error) => {
                    let end = Err(error);
                    return Outcome { messages, end };
                }
                Ok((consumed, step)) => {
                    assert!(consumed <= piece.len());
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
                            let payload = piece[start..consumed].to_vec();
                            messages.push(Message {
                                compressed,
                                payload,
                            });
                        }
                        Step::Begin { length, compressed } => {
                            assert_eq!(length, deframer.remaining());
                            assert!(length > piece.len() - consumed);
                            messages.push(Message {
                                compressed,
                                payload: Vec::with_capacity(length),
                            });
                        }
                    }
                    piece = &piece[consumed..];
                }
            }
        }
    }
    if deframer.remaining() > 0 {
        messages.pop();
    }
    let end = deframer.finish();
    Outcome { messages, end }
}

fn wire(messages: &[Message]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        let mut head = prefix(message.payload.len() as u32, false);
        head[0] = u8::from(message.compressed);
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(&message.payload);
    }
    bytes
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let message = (any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(
        |(compressed, payload)| Message {
            compressed,
            payload,
        },
    );
    prop::collection::vec(message, 0..6)
}

proptest! {
    #[test]
    fn split_at_every_byte(messages in messages()) {
        let bytes = wire(&messages);
        for split in 0..=bytes.len() {
            let (first, second) = bytes.split_at(split);
            let outcome = deframe([first, second], 64);
            prop_assert_eq!(&outcome.messages, &messages);
            prop_assert_eq!(outcome.end, Ok(()));
        }
    }

    #[test]
    fn split_anywhere_and_often(messages in messages(), size in 1_usize..20) {
        let bytes = wire(&messages);
        let outcome = deframe(bytes.chunks(size), 64);
        prop_assert_eq!(outcome.messages, messages);
        prop_assert_eq!(outcome.end, Ok(()));
    }

    #[test]
    fn cut_anywhere_gives_the_messages_before_the_cut(messages in messages(), cut: prop::sample::Index) {
        let bytes = wire(&messages);
        let cut = cut.index(bytes.len() + 1);
        let outcome = deframe([&bytes[..cut]], 64);
        let mut whole = 0;
        let mut end = 0;
        for message in &messages {
            let next = end + PREFIX_BYTES + message.payload.len();
            if next > cut {
                break;
            }
            end = next;
            whole += 1;
        }
        prop_assert_eq!(&outcome.messages[..], &messages[..whole]);
        prop_assert_eq!(outcome.end, if end == cut { Ok(()) } else { Err(GrpcError::Truncated) });
    }

    #[test]
    fn garbage_ends_the_same_way_however_it_is_split(bytes: Vec<u8>, size in 1_usize..20) {
        let whole = deframe([&bytes[..]], 1000);
        let pieces = deframe(bytes.chunks(size), 1000);
        prop_assert_eq!(whole, pieces);
    }
}

#[test]
fn a_large_message_is_refused_at_its_prefix() {
    let expected = GrpcError::MessageTooLarge {
        length: 65,
        limit: 64,
    };
    for size in 1..=5 {
        let outcome = deframe(prefix(65, false).chunks(size), 64);
        assert_eq!(outcome.end, Err(expected));
    }
    assert_eq!(
        expected.to_string(),
        "message of 65 bytes is larger than the limit of 64 bytes"
    );
}

#[test]
fn a_message_of_exactly_the_limit_passes() {
    let message = Message {
        compressed: false,
        payload: vec![7; 64],
    };
    let outcome = deframe([&wire(std::slice::from_ref(&message))[..]], 64);
    assert_eq!(outcome.messages, [message]);
}

#[test]
fn a_flag_that_is_neither_0_nor_1_is_refused() {
    let outcome = deframe([&[2, 0, 0, 0, 0][..]], 64);
    assert_eq!(outcome.end, Err(GrpcError::InvalidFlag { flag: 2 }));
}

#[test]
fn an_empty_message_is_a_message() {
    let outcome = deframe([&[0, 0, 0, 0, 0][..]], 64);
    assert_eq!(outcome.messages.len(), 1);
    assert!(outcome.messages[0].payload.is_empty());
}
