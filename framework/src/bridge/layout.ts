/**
 * The memory that native code and JavaScript share. `native/crates/engine/src/layout.rs` is the
 * definition; a test compares both files.
 *
 * Every table is an array of 32-bit words in host order. A *call reference* is the index of a call's
 * table entry in the low 16 bits and the generation of that entry in the high 16.
 */

export const CONTROL_WORDS = 64;
/** Records of the current batch. */
export const CONTROL_RECORD_COUNT = 0;
/** Operations queued by JavaScript; set to 0 by the drain. */
export const CONTROL_OPERATION_COUNT = 1;
/** Bytes of the staging arena in use; set to 0 by the drain. */
export const CONTROL_ARENA_USED = 2;
/** Number of drains so far, wrapping. */
export const CONTROL_EPOCH = 3;
/** 1 while the thread's budget for unsent bytes is full. */
export const CONTROL_OUTBOUND_FULL = 4;
export const CONTROL_RECORD_CAPACITY = 5;
export const CONTROL_OPERATION_CAPACITY = 6;
export const CONTROL_CALL_CAPACITY = 7;
/** Unsent bytes from which a call is no longer writable. */
export const CONTROL_STREAM_MARK = 8;
/** Level of the receive ring: 0 open, 1 low, 2 critical. */
export const CONTROL_LEVEL = 9;
/** Free buffers of the receive ring. */
export const CONTROL_RING_FREE = 10;

/** Words of a record: `kind | flags << 8 | method << 16`, call reference, slot, auxiliary word. */
export const RECORD_WORDS = 4;
/** A record that names no message. */
export const NO_SLOT = 0xffffffff;

/** Nothing: the call that it named ended in the same batch. */
export const RECORD_NONE = 0;
/** A call whose request is a stream has begun. */
export const RECORD_CALL = 1;
/** A call with its one, complete request message: its slot is valid in this batch only. */
export const RECORD_REQUEST = 2;
/** A message of a request stream: its slot is valid until it is consumed or the call cancelled. */
export const RECORD_MESSAGE = 3;
/** The request stream has ended. */
export const RECORD_END = 4;
/** The call was cancelled: flags are the cause, the auxiliary word is the status code. */
export const RECORD_CANCEL = 5;
/** The call is writable again. */
export const RECORD_WRITABLE = 6;
/** A client's call: the response headers have arrived (streams of responses, or with metadata). */
export const RECORD_RESPONSE = 7;
/**
 * A client's call: the one response message with status OK; it ends the call. The auxiliary word holds STATUS bits. The slot is valid in this batch only.
 */
export const RECORD_REPLY = 8;
/** A client's call is over: the auxiliary word is the gRPC status code and STATUS bits. */
export const RECORD_STATUS = 9;

/** The request carries custom metadata. */
export const FLAG_HAS_METADATA = 1;
/** The auxiliary word is the time left until the deadline, in milliseconds. */
export const FLAG_HAS_DEADLINE = 2;
/** The request stream ends with this record. */
export const FLAG_END = 4;
/** Of CALL and RESPONSE, messages may be compressed; of REQUEST, the message was. */
export const FLAG_COMPRESSED = 8;

export const CAUSE_RESET = 1;
export const CAUSE_DEADLINE = 2;
export const CAUSE_CONNECTION_LOST = 3;
export const CAUSE_STALLED = 4;
export const CAUSE_DRAIN = 5;
export const CAUSE_PROTOCOL = 6;
export const CAUSE_MESSAGE = 7;
export const CAUSE_AGE = 8;
export const CAUSE_METADATA = 9;
export const CAUSE_SLOW = 10;

/** Words of a slot: region, offset, length, 1 if the message came compressed. */
export const SLOT_WORDS = 4;

/** Words of an operation: `kind | flags << 8`, call reference, two operands. */
export const OPERATION_WORDS = 4;
/** Response headers, one message (offset, length) and OK trailers; ends the call. */
export const OPERATION_REPLY = 1;
/** A message (offset, length) of the response stream. */
export const OPERATION_MESSAGE = 2;
/** The status, in the flags, with a block (offset, length) of message and trailers; ends the call. */
export const OPERATION_STATUS = 3;
/** The response headers with a metadata block (offset, length). */
export const OPERATION_HEADERS = 4;
/** The cumulative count of consumed messages has changed. */
export const OPERATION_CONSUMED = 5;
/** A cancelled call is forgotten. */
export const OPERATION_RELEASE = 6;
/** The stream is reset; operand a is the HTTP/2 error code. */
export const OPERATION_RESET = 7;
/** The handler pulled from its request stream for the first time. */
export const OPERATION_READING = 8;
/** The handler left its request stream early. */
export const OPERATION_DISCARD = 9;
/** A client's call begins: `kind | flags << 8 | method << 16`, call, connection, timeout in ms. */
export const OPERATION_START = 10;
/** A client's request stream has ended. */
export const OPERATION_END = 11;
/** A client gives a call up; the flags are the gRPC status code with which it ends. */
export const OPERATION_CANCEL = 12;
/** Of a server, the encoding of replies (a); whether the messages that follow are compressed (b). */
export const OPERATION_COMPRESSION = 16;
export const OPERATION_REASON = 17;

/** Flag of START: the next operation is HEADERS for the same call. */
export const START_HAS_METADATA = 1;
/** Flag of START: request messages are compressed by gzip, until COMPRESSION says otherwise. */
export const START_GZIP = 2;
/** Flag of START: the same by deflate. */
export const START_DEFLATE = 4;
/** Flag of MESSAGE from a client: the request stream ends with it. */
export const MESSAGE_END = 1;
/** A START without a deadline. */
export const NO_TIMEOUT = 0xffffffff;
/** Bit of STATUS and REPLY: `status()` has a message or trailers. */
export const STATUS_HAS_DETAILS = 256;
/** Bit of STATUS: the server certainly did not process the call; it may be made again. */
export const STATUS_UNPROCESSED = 512;
/** Bit of STATUS: response headers had arrived (and it was no Trailers-Only answer). */
export const STATUS_HEADERS_SEEN = 1024;
/** Bit of STATUS: it was made on this side, not by the server. */
export const STATUS_LOCAL = 2048;
/** Bit of STATUS, beside UNPROCESSED: nothing of the call left this process. */
export const STATUS_NEVER_SENT = 4096;

/** Two words: the sequence of the event that was published last, low word first; 0 if it has none. */
export const TOPICS_SEQUENCE = 0;
/** Two words: the sequence that the event published next brings along; 0: it gets one. */
export const TOPICS_SEQUENCE_GIVEN = 2;
/** Changes when a subscription comes or goes, on whichever thread. */
export const TOPICS_VERSION = 4;
/** Events queued; set to 0 by native code when it has published them. */
export const TOPICS_EVENT_COUNT = 5;
/** Bytes of their messages; set to 0 likewise. */
export const TOPICS_USED = 6;
/** Of the topic that was asked for last: the version that holds for what is said of it. */
export const TOPICS_FOUND_VERSION = 7;
/** Of the same: subscriptions that get its events. */
export const TOPICS_FOUND_DELIVERED = 8;
/** Where the table of events begins, in words: number of the topic, length of the message. */
export const TOPICS_EVENTS_AT = 16;
export const TOPICS_EVENT_CAPACITY = 512;
/** Where the messages begin, in bytes; one behind the other. */
export const TOPICS_MESSAGES_AT = 4160;
