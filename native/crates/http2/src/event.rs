//! What the caller may observe.

use crate::error::{Initiator, Reason};

/// A stream of one connection: a slot and the generation of its use, so that a stale key never
/// reaches another stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl StreamKey {
    /// The slot, dense from 0: fit for a side table. Reused after `release`.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// How often the slot had been used before.
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

/// Which part of a message a header block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeadersKind {
    /// Server: the head of a request.
    Request,
    /// Client: the final head of a response.
    Response,
    /// Client: a 1xx head; the final one follows.
    Informational,
    /// The fields behind the body; always the end of the stream.
    Trailers,
}

/// One thing that happened. Copy, borrows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A complete, well-formed header block; its fields are in `Connection::fields` until the next
    /// call of `receive`.
    Headers {
        /// The stream; new if `kind` is `Request`.
        stream: StreamKey,
        /// Which part of the message.
        kind: HeadersKind,
        /// Nothing follows from the peer on this stream.
        end_stream: bool,
        /// The list was over a limit: `fields` is empty, and a server answers with
        /// RESOURCE_EXHAUSTED or 431.
        oversized: bool,
    },
    /// Payload: `input[start..start + length]` of the slice given to this call of `receive`.
    /// A frame may come in several pieces; padding is handled and credited inside.
    Data {
        /// The stream.
        stream: StreamKey,
        /// Offset in the input of this call.
        start: usize,
        /// Bytes; 0 only with `end_stream`.
        length: usize,
        /// Nothing follows from the peer on this stream.
        end_stream: bool,
    },
    /// The stream ended abnormally. Its key stays valid until `release`.
    Reset {
        /// The stream.
        stream: StreamKey,
        /// The code sent or received.
        reason: Reason,
        /// Who ended it.
        initiator: Initiator,
    },
    /// A send window that had been asked for and found short is larger and positive again.
    /// `None`: the connection's, or that of all streams at once. Ask `send_window` again.
    WindowOpened {
        /// The stream, or all.
        stream: Option<StreamKey>,
    },
    /// The peer will accept no new streams; those above `last_stream` were not processed.
    GoAway {
        /// The highest identifier of ours that the peer may have acted on.
        last_stream: u32,
        /// Why.
        reason: Reason,
    },
    /// The answer to `send_ping`; keepalive PINGs of the connection itself do not surface.
    PingAcknowledged {
        /// As given to `send_ping`.
        payload: [u8; 8],
    },
    /// The first SETTINGS of the peer arrived: a client's connection is ready.
    SettingsReceived,
}
