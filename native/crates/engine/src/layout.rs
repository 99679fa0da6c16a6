//! The memory that native code and JavaScript share: the only definition of its layout.
//!
//! Every table is an array of `u32` words in host order. `framework/src/bridge/layout.ts` mirrors
//! these constants, and a test of the project compares the two files.
//!
//! A *call reference* names a call on this thread: the index of its table entry in the low 16
//! bits, the generation of that entry in the high 16.

/// Words of the control block.
pub const CONTROL_WORDS: usize = 64;
/// Records that the current batch holds; written by native code before it enters JavaScript.
pub const CONTROL_RECORD_COUNT: usize = 0;
/// Operations that JavaScript has queued; set to 0 by the drain.
pub const CONTROL_OPERATION_COUNT: usize = 1;
/// Bytes of the staging arena in use; set to 0 by the drain.
pub const CONTROL_ARENA_USED: usize = 2;
/// Number of drains so far (wrapping).
pub const CONTROL_EPOCH: usize = 3;
/// 1 while the thread's budget for unsent bytes is full.
pub const CONTROL_OUTBOUND_FULL: usize = 4;
/// Capacity of the record table, in records.
pub const CONTROL_RECORD_CAPACITY: usize = 5;
/// Capacity of the operation table, in operations.
pub const CONTROL_OPERATION_CAPACITY: usize = 6;
/// Entries of the call table.
pub const CONTROL_CALL_CAPACITY: usize = 7;
/// Unsent bytes from which a call is no longer writable.
pub const CONTROL_STREAM_MARK: usize = 8;
/// Level of the receive ring: 0 open, 1 low, 2 critical.
pub const CONTROL_LEVEL: usize = 9;
/// Free buffers of the receive ring.
pub const CONTROL_RING_FREE: usize = 10;

/// Words of a record: `kind | flags << 8 | method << 16`, call reference, slot, auxiliary word.
pub const RECORD_WORDS: usize = 4;
/// Records that one batch can hold.
pub const RECORD_CAPACITY: usize = 8192;
/// A record that names no message.
pub const NO_SLOT: u32 = u32::MAX;

/// Nothing: the call that it named ended in the same batch.
pub const RECORD_NONE: u32 = 0;
/// A call whose request is a stream has begun.
pub const RECORD_CALL: u32 = 1;
/// A call with its one, complete request message.
pub const RECORD_REQUEST: u32 = 2;
/// A message of a request stream.
pub const RECORD_MESSAGE: u32 = 3;
/// The request stream has ended.
pub const RECORD_END: u32 = 4;
/// The call was cancelled: flags hold the cause, the auxiliary word the gRPC status code.
pub const RECORD_CANCEL: u32 = 5;
/// The call is writable again.
pub const RECORD_WRITABLE: u32 = 6;
/// A client's call: the response headers have arrived (streams of responses, or with metadata).
pub const RECORD_RESPONSE: u32 = 7;
/// A client's call: the one response message with status OK; it ends the call. The auxiliary word holds
/// STATUS bits. The slot is valid in this batch only.
pub const RECORD_REPLY: u32 = 8;
/// A client's call is over: the auxiliary word is the gRPC status code and STATUS bits.
pub const RECORD_STATUS: u32 = 9;

/// Flag of a record: the request carries custom metadata.
pub const FLAG_HAS_METADATA: u32 = 1;
/// Flag of a record: the auxiliary word is the time left until the deadline, in milliseconds.
pub const FLAG_HAS_DEADLINE: u32 = 2;
/// Flag of a record: the request stream ends with it.
pub const FLAG_END: u32 = 4;
/// Flag of a record: of CALL and RESPONSE, messages may be compressed; of REQUEST, the message was.
pub const FLAG_COMPRESSED: u32 = 8;

/// Cause of a cancellation: the peer reset the stream.
pub const CAUSE_RESET: u32 = 1;
/// Cause of a cancellation: the deadline has passed.
pub const CAUSE_DEADLINE: u32 = 2;
/// Cause of a cancellation: the connection was lost.
pub const CAUSE_CONNECTION_LOST: u32 = 3;
/// Cause of a cancellation: nobody read the stream, or took what it sent, while memory was full.
pub const CAUSE_STALLED: u32 = 4;
/// Cause of a cancellation: the server's drain ran out of time.
pub const CAUSE_DRAIN: u32 = 5;
/// Cause of a cancellation: the peer broke the protocol.
pub const CAUSE_PROTOCOL: u32 = 6;
/// Cause of a cancellation: a message was too large, or not framed as gRPC asks.
pub const CAUSE_MESSAGE: u32 = 7;
/// Cause of a cancellation: its connection was too old, and the grace for its last calls over.
pub const CAUSE_AGE: u32 = 8;
/// Cause of a cancellation: the client does not take so much response metadata.
pub const CAUSE_METADATA: u32 = 9;
/// Cause of a cancellation: a subscriber was too slow for its policy.
pub const CAUSE_SLOW: u32 = 10;

/// Words of a slot: region, offset, length, 1 if the message came compressed.
pub const SLOT_WORDS: usize = 4;
/// Messages that every call may have waiting for JavaScript.
pub const SLOTS_PER_CALL: usize = 8;
/// Slots that calls with more waiting messages share; what lies beyond stays undivided. The table
/// has these and `SLOTS_PER_CALL` for each entry of the call table.
pub const SLOTS_SHARED: usize = 131_072;

/// Words of an operation: `kind | flags << 8`, call reference, two operands.
pub const OPERATION_WORDS: usize = 4;
/// Operations that one drain can hold.
pub const OPERATION_CAPACITY: usize = 16_384;
/// Bytes of the staging arena.
pub const ARENA_BYTES: usize = 1024 * 1024;

/// Response headers, one message and OK trailers; the call is over for JavaScript.
pub const OPERATION_REPLY: u32 = 1;
/// A message of the response stream.
pub const OPERATION_MESSAGE: u32 = 2;
/// The status and the trailers; the call is over for JavaScript.
pub const OPERATION_STATUS: u32 = 3;
/// The response headers with metadata.
pub const OPERATION_HEADERS: u32 = 4;
/// The cumulative count of consumed messages has changed.
pub const OPERATION_CONSUMED: u32 = 5;
/// A cancelled call is forgotten by JavaScript.
pub const OPERATION_RELEASE: u32 = 6;
/// The stream is reset; operand a is the HTTP/2 error code.
pub const OPERATION_RESET: u32 = 7;
/// The handler pulled from its request stream for the first time.
pub const OPERATION_READING: u32 = 8;
/// The handler left its request stream early.
pub const OPERATION_DISCARD: u32 = 9;
/// A client's call begins: `kind | flags << 8 | method << 16`, call, connection, timeout in ms.
pub const OPERATION_START: u32 = 10;
/// A client's request stream has ended.
pub const OPERATION_END: u32 = 11;
/// A client gives a call up; the flags are the gRPC status code with which it ends.
pub const OPERATION_CANCEL: u32 = 12;
/// Of a server, the encoding of replies, operand a, unless headers have left or the client does not
/// take it; operand b: 1 if the messages that follow are compressed.
pub const OPERATION_COMPRESSION: u32 = 16;
/// Of a server: message and trailers with which a call ends whose deadline has passed. Only in the turn
/// of its CANCEL record; the handler's RELEASE is still to come.
pub const OPERATION_REASON: u32 = 17;

/// Flag of START: the next operation is HEADERS for the same call.
pub const START_HAS_METADATA: u32 = 1;
/// Flag of START: request messages are compressed by gzip, until COMPRESSION says otherwise.
pub const START_GZIP: u32 = 2;
/// Flag of START: the same by deflate.
pub const START_DEFLATE: u32 = 4;
/// Flag of MESSAGE from a client: the request stream ends with it.
pub const MESSAGE_END: u32 = 1;
/// A START without a deadline.
pub const NO_TIMEOUT: u32 = u32::MAX;
/// Bit of STATUS and REPLY: `status()` has a message or trailers.
pub const STATUS_HAS_DETAILS: u32 = 256;
/// Bit of STATUS: the server certainly did not process the call; it may be made again.
pub const STATUS_UNPROCESSED: u32 = 512;
/// Bit of STATUS: response headers had arrived (and it was no Trailers-Only answer).
pub const STATUS_HEADERS_SEEN: u32 = 1024;
/// Bit of STATUS: it was made on this side, not by the server.
pub const STATUS_LOCAL: u32 = 2048;
/// Bit of STATUS, beside UNPROCESSED: nothing of the call left this process.
pub const STATUS_NEVER_SENT: u32 = 4096;

/// Bytes of the memory into which JavaScript encodes what it publishes to topics: a head of words, a
/// table of queued events, and their messages.
pub const TOPICS_BYTES: usize = 64 * 1024;
/// Two words: the sequence of the event that was published last, low word first; 0 if it has none.
pub const TOPICS_SEQUENCE: usize = 0;
/// Two words: the sequence that the event published next brings along; 0: it gets one.
pub const TOPICS_SEQUENCE_GIVEN: usize = 2;
/// Changes when a subscription comes or goes, on whichever thread.
pub const TOPICS_VERSION: usize = 4;
/// Events queued; set to 0 by native code when it has published them.
pub const TOPICS_EVENT_COUNT: usize = 5;
/// Bytes of their messages; set to 0 likewise.
pub const TOPICS_USED: usize = 6;
/// Of the topic that was asked for last: the version that holds for what is said of it.
pub const TOPICS_FOUND_VERSION: usize = 7;
/// Of the same: subscriptions that get its events.
pub const TOPICS_FOUND_DELIVERED: usize = 8;
/// Where the table of events begins, in words.
pub const TOPICS_EVENTS_AT: usize = 16;
/// Words of a queued event: number of its topic, length of its message.
pub const TOPICS_EVENT_WORDS: usize = 2;
/// Events that the table takes.
pub const TOPICS_EVENT_CAPACITY: usize = 512;
/// Where the messages begin, in bytes; one behind the other.
pub const TOPICS_MESSAGES_AT: usize = 4160;

const _: () = {
    assert!(
        TOPICS_MESSAGES_AT == 4 * (TOPICS_EVENTS_AT + TOPICS_EVENT_WORDS * TOPICS_EVENT_CAPACITY)
    );
    assert!(TOPICS_FOUND_DELIVERED < TOPICS_EVENTS_AT);
    assert!(TOPICS_MESSAGES_AT < TOPICS_BYTES);
    assert!(RECORD_CAPACITY.is_power_of_two());
    assert!(OPERATION_CAPACITY.is_power_of_two());
    assert!(CONTROL_RING_FREE < CONTROL_WORDS);
    assert!(ARENA_BYTES <= u32::MAX as usize);
};
