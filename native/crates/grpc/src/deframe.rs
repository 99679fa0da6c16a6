//! Cuts a stream's bytes into length-prefixed messages (PROTOCOL-HTTP2, "Length-Prefixed-Message").
//!
//! A message is one flag byte (0 or 1: compressed), four bytes of length, big-endian, and that many
//! bytes. DATA frame boundaries bear no relation to message boundaries, so both the prefix and the
//! payload may be split anywhere.

use crate::status::Code;
use std::fmt;

/// Bytes before each message: the flag and the length.
pub const PREFIX_BYTES: usize = 5;

/// What one call of [`Deframer::feed`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// All input was consumed and no message began whose prefix is complete.
    NeedMore,
    /// A message lies in one piece inside the input given to this call.
    Whole {
        /// Where its payload starts, in bytes from the start of the input.
        start: usize,
        /// Payload bytes; may be 0.
        length: usize,
        /// The flag byte was 1.
        compressed: bool,
    },
    /// A prefix was completed, and the payload is not all in this input. Its first bytes follow at
    /// `consumed`; the caller makes room for `length` bytes and takes the payload with
    /// [`Deframer::take`] until [`Deframer::remaining`] is 0.
    Begin {
        /// Payload bytes in all; never 0.
        length: usize,
        /// The flag byte was 1.
        compressed: bool,
    },
}

/// Bytes that are no gRPC message stream. The call ends with [`GrpcError::code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrpcError {
    /// The prefix announces more than the limit. Nothing of the message was buffered.
    MessageTooLarge {
        /// Bytes announced.
        length: u32,
        /// Bytes allowed.
        limit: u32,
    },
    /// The first byte of a message was neither 0 nor 1.
    InvalidFlag {
        /// The byte.
        flag: u8,
    },
    /// The stream ended inside a message.
    Truncated,
    /// A message is flagged as compressed and the call named no `grpc-encoding`.
    CompressedWithoutEncoding,
    /// A compressed message is not a complete stream of the call's encoding.
    CompressedMalformed,
    /// A compressed message is larger than the limit, unpacked.
    UnpackedTooLarge {
        /// Bytes allowed.
        limit: u32,
    },
}

impl GrpcError {
    /// The status that ends the call (compression.md, statuscodes.md).
    pub fn code(&self) -> Code {
        match self {
            GrpcError::MessageTooLarge { .. } | GrpcError::UnpackedTooLarge { .. } => {
                Code::ResourceExhausted
            }
            GrpcError::InvalidFlag { .. }
            | GrpcError::Truncated
            | GrpcError::CompressedWithoutEncoding
            | GrpcError::CompressedMalformed => Code::Internal,
        }
    }
}

impl fmt::Display for GrpcError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GrpcError::MessageTooLarge { length, limit } => write!(
                formatter,
                "message of {length} bytes is larger than the limit of {limit} bytes"
            ),
            GrpcError::InvalidFlag { flag } => {
                write!(formatter, "message prefix starts with {flag}, not 0 or 1")
            }
            GrpcError::Truncated => formatter.write_str("stream ended inside a message"),
            GrpcError::CompressedWithoutEncoding => formatter
                .write_str("message is flagged as compressed, but grpc-encoding names no encoding"),
            GrpcError::CompressedMalformed => {
                formatter.write_str("compressed message is not a complete stream of its encoding")
            }
            GrpcError::UnpackedTooLarge { limit } => write!(
                formatter,
                "compressed message has more than the limit of {limit} bytes"
            ),
        }
    }
}

impl std::error::Error for GrpcError {}

/// The state of one stream's bytes. 16 bytes, no allocation; it never holds payload.
///
/// ```
/// use millrace_grpc::{Deframer, Step};
/// let mut deframer = Deframer::new(1024);
/// let input = [0, 0, 0, 0, 2, b'h', b'i', 0, 0];
/// let (consumed, step) = deframer.feed(&input).unwrap();
/// assert_eq!(step, Step::Whole { start: 5, length: 2, compressed: false });
/// let (rest, step) = deframer.feed(&input[consumed..]).unwrap();
/// assert_eq!((rest, step), (2, Step::NeedMore));
/// assert!(!deframer.is_at_boundary());
/// ```
#[derive(Clone, Debug)]
pub struct Deframer {
    limit: u32,
    /// Payload bytes of a begun message that were not taken yet.
    remaining: u32,
    /// The part of a prefix that came in an earlier input.
    prefix: [u8; PREFIX_BYTES],
    prefix_filled: u8,
}

impl Deframer {
    /// `max_message`: payload bytes a message may have; the prefix of a larger one is an error.
    pub fn new(max_message: usize) -> Self {
        Self {
            limit: u32::try_from(max_message).unwrap_or(u32::MAX),
            remaining: 0,
            prefix: [0; PREFIX_BYTES],
            prefix_filled: 0,
        }
    }

    /// Reads up to the next message and returns the bytes consumed with what was found.
    ///
    /// Call it until everything is consumed and the step is [`Step::NeedMore`]. After
    /// [`Step::Begin`] the payload is the caller's to [`take`](Self::take): until it is complete
    /// this consumes nothing. After an error the stream is over.
    #[inline]
    pub fn feed(&mut self, input: &[u8]) -> Result<(usize, Step), GrpcError> {
        if self.prefix_filled == 0
            && self.remaining == 0
            && let Some((prefix, payload)) = input.split_first_chunk::<PREFIX_BYTES>()
        {
            return self.open(*prefix, payload.len(), PREFIX_BYTES);
        }
        self.feed_split(input)
    }

    /// The prefix is split between inputs, or the input is shorter than one.
    fn feed_split(&mut self, input: &[u8]) -> Result<(usize, Step), GrpcError> {
        if self.remaining > 0 {
            debug_assert!(false, "feed() inside a message: take() its payload first");
            return Ok((0, Step::NeedMore));
        }
        let filled = usize::from(self.prefix_filled);
        let count = input.len().min(PREFIX_BYTES - filled);
        self.prefix[filled..filled + count].copy_from_slice(&input[..count]);
        if filled + count < PREFIX_BYTES {
            self.prefix_filled += count as u8;
            return Ok((count, Step::NeedMore));
        }
        self.prefix_filled = 0;
        self.open(self.prefix, input.len() - count, count)
    }

    #[inline]
    fn open(
        &mut self,
        prefix: [u8; PREFIX_BYTES],
        available: usize,
        start: usize,
    ) -> Result<(usize, Step), GrpcError> {
        let [flag, length @ ..] = prefix;
        let length = u32::from_be_bytes(length);
        if flag > 1 {
            return Err(GrpcError::InvalidFlag { flag });
        }
        if length > self.limit {
            return Err(GrpcError::MessageTooLarge {
                length,
                limit: self.limit,
            });
        }
        let compressed = flag == 1;
        let bytes = length as usize;
        if bytes <= available {
            let step = Step::Whole {
                start,
                length: bytes,
                compressed,
            };
            return Ok((start + bytes, step));
        }
        self.remaining = length;
        let step = Step::Begin {
            length: bytes,
            compressed,
        };
        Ok((start, step))
    }

    /// Takes payload of the message begun: returns how many of the `available` bytes belong to it.
    #[inline]
    pub fn take(&mut self, available: usize) -> usize {
        let count = available.min(self.remaining as usize);
        self.remaining -= count as u32;
        count
    }

    /// Payload bytes of the message begun that are still to be taken; 0 between messages.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.remaining as usize
    }

    /// Whether the stream may end here: no prefix and no payload is open.
    #[inline]
    pub fn is_at_boundary(&self) -> bool {
        self.remaining == 0 && self.prefix_filled == 0
    }

    /// The check at END_STREAM.
    ///
    /// # Errors
    /// [`GrpcError::Truncated`] inside a message.
    #[inline]
    pub fn finish(&self) -> Result<(), GrpcError> {
        if self.is_at_boundary() {
            Ok(())
        } else {
            Err(GrpcError::Truncated)
        }
    }
}

/// The prefix of an outgoing message.
#[inline]
pub fn prefix(length: u32, compressed: bool) -> [u8; PREFIX_BYTES] {
    let [a, b, c, d] = length.to_be_bytes();
    [u8::from(compressed), a, b, c, d]
}
