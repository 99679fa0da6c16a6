//! The calls of a thread: a table by index and generation, shared by name with JavaScript.

use std::collections::VecDeque;

use millrace_grpc::{Accepted, Code, Deframer, Encoding};
use millrace_http2::StreamKey;
use millrace_ring::{Chunk, ChunkPool};

use crate::{
    client::ClientCall, connection::Building, layout::NO_SLOT, overflow::Block, topics::Feed,
};

pub(crate) const NOBODY: u32 = u32::MAX;

/// How a method's messages come and go; the numbers are those that JavaScript registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodKind {
    /// One message each way.
    Unary = 0,
    /// Many messages in, one out.
    ClientStreaming = 1,
    /// One message in, many out.
    ServerStreaming = 2,
    /// Many messages each way.
    Bidi = 3,
}

impl MethodKind {
    /// Whether the request is exactly one message.
    pub(crate) fn takes_one(self) -> bool {
        matches!(self, Self::Unary | Self::ServerStreaming)
    }
}

/// A method that the server answers.
#[derive(Clone, Debug)]
pub struct Method {
    /// `/package.Service/Method`.
    pub path: String,
    /// Its kind.
    pub kind: MethodKind,
}

/// A message whose bytes are still arriving.
pub(crate) struct Assembly {
    pub(crate) block: Block,
    pub(crate) length: u32,
    pub(crate) filled: u32,
    /// The message is larger than the stream's window: its bytes are credited as they come, since
    /// all of its length is reserved.
    pub(crate) eager: bool,
    /// What is assembled is a compressed message.
    pub(crate) compressed: bool,
    /// When its last bytes came.
    pub(crate) progress_at: u64,
}

/// What ends the response stream.
pub(crate) struct Trailers {
    pub(crate) code: Code,
    pub(crate) message: Vec<u8>,
    pub(crate) metadata: Vec<u8>,
}

/// A run of received bytes that has not been divided into messages yet.
pub(crate) struct Raw {
    pub(crate) block: Block,
    pub(crate) start: u32,
    pub(crate) length: u32,
}

/// One call, from its request head to the last thing either side has to say about it.
pub(crate) struct Call {
    pub(crate) generation: u16,
    pub(crate) in_use: bool,
    pub(crate) connection: u32,
    pub(crate) stream: Option<StreamKey>,
    pub(crate) method: u16,
    pub(crate) kind: MethodKind,
    /// Exactly one message is received: the request of a server's call, the response of a client's.
    pub(crate) takes_one: bool,
    pub(crate) client: ClientCall,
    pub(crate) next_of_connection: u32,
    pub(crate) previous_of_connection: u32,

    /// A CALL or REQUEST record named it, and JavaScript has not let go of it.
    pub(crate) announced: bool,
    /// In which turn, and by which record of its batch.
    pub(crate) announced_in: u32,
    pub(crate) announced_at: u32,
    /// JavaScript has let go of it.
    pub(crate) released: bool,
    /// Its connection is gone, and it is in no connection's list.
    pub(crate) connection_lost: bool,
    /// Nothing of it may be sent or delivered any more.
    pub(crate) cancelled: bool,
    /// Its deadline has passed, and its status leaves at the end of the turn.
    pub(crate) expired: bool,
    pub(crate) remote_ended: bool,
    pub(crate) end_delivered: bool,
    pub(crate) reading: bool,
    pub(crate) discarding: bool,
    pub(crate) has_metadata: bool,
    pub(crate) deadline: Option<u64>,
    pub(crate) metadata: Option<Box<[u8]>>,

    /// How the compressed messages that are received are packed.
    pub(crate) encoding: Encoding,
    /// The message whose prefix was read last is compressed.
    pub(crate) message_compressed: bool,
    /// Unpacked bytes that wait for the reader.
    pub(crate) unpacked_waiting: u64,
    /// What the message that comes next has unpacked, once there was no room for it.
    pub(crate) unpacked_needed: u32,
    /// What a server's peer takes, how the compressed messages that are sent are packed, and whether
    /// the next one is.
    pub(crate) accepted: Accepted,
    pub(crate) send_encoding: Encoding,
    pub(crate) packs: bool,

    pub(crate) deframer: Deframer,
    pub(crate) assembly: Option<Assembly>,
    /// Received bytes that are not divided yet: too many messages wait, or there is no memory.
    pub(crate) raw: VecDeque<Raw>,
    pub(crate) queued_raw: bool,
    pub(crate) woken: bool,
    /// Waiting messages, oldest first.
    pub(crate) first: u32,
    pub(crate) last: u32,
    pub(crate) delivered: u32,
    pub(crate) consumed: u32,
    /// Bytes received and not credited to the stream.
    pub(crate) unread: u64,
    pub(crate) window: u32,
    pub(crate) unread_since: u64,
    pub(crate) read_since_growth: u32,

    pub(crate) headers_sent: bool,
    pub(crate) header_metadata: Vec<u8>,
    /// Message bytes that wait for window or room.
    pub(crate) pending: VecDeque<Chunk>,
    /// Bytes of the first of them that have left already.
    pub(crate) pending_start: usize,
    pub(crate) pending_bytes: usize,
    /// Since when they wait, or have moved by much the last time, and what has left since.
    pub(crate) held_since: u64,
    pub(crate) moved: u32,
    /// Bytes framed and not given to the kernel, and bytes that the kernel has not sent.
    pub(crate) framed: u32,
    pub(crate) in_flight: u32,
    pub(crate) trailers: Option<Box<Trailers>>,
    /// It is subscribed to topics.
    pub(crate) feed: Option<Box<Feed>>,
    /// Both directions of the stream are done: only the table entry is left.
    pub(crate) stream_over: bool,
    /// Trailers are on their way: JavaScript can add nothing.
    pub(crate) finished: bool,
    pub(crate) in_ready_queue: bool,
    pub(crate) blocked: bool,
    /// Bytes of the message sent last, as they went out.
    pub(crate) last_message: u32,
    /// Bytes of messages in the drain under way, and what was shown as unsent before it.
    pub(crate) written_in_drain: u32,
    pub(crate) unsent_before_drain: u32,
    pub(crate) drain: u32,
}

impl Call {
    fn new(deframer: Deframer) -> Self {
        Self {
            generation: 0,
            in_use: false,
            connection: NOBODY,
            stream: None,
            method: 0,
            kind: MethodKind::Unary,
            takes_one: true,
            client: ClientCall::default(),
            next_of_connection: NOBODY,
            previous_of_connection: NOBODY,
            announced: false,
            announced_in: 0,
            announced_at: 0,
            released: false,
            connection_lost: false,
            cancelled: false,
            expired: false,
            remote_ended: false,
            end_delivered: false,
            reading: false,
            discarding: false,
            has_metadata: false,
            deadline: None,
            metadata: None,
            encoding: Encoding::Identity,
            message_compressed: false,
            unpacked_waiting: 0,
            unpacked_needed: 0,
            accepted: Accepted::default(),
            send_encoding: Encoding::Identity,
            packs: false,
            deframer,
            assembly: None,
            raw: VecDeque::new(),
            queued_raw: false,
            woken: false,
            first: NO_SLOT,
            last: NO_SLOT,
            delivered: 0,
            consumed: 0,
            unread: 0,
            window: 0,
            unread_since: 0,
            read_since_growth: 0,
            headers_sent: false,
            header_metadata: Vec::new(),
            pending: VecDeque::new(),
            pending_start: 0,
            pending_bytes: 0,
            held_since: 0,
            moved: 0,
            framed: 0,
            in_flight: 0,
            trailers: None,
            feed: None,
            stream_over: false,
            finished: false,
            in_ready_queue: false,
            blocked: false,
            last_message: 0,
            written_in_drain: 0,
            unsent_before_drain: 0,
            drain: 0,
        }
    }

    /// Whether JavaScript sends more than one message of it.
    pub(crate) fn writes(&self, is_client: bool) -> bool {
        if is_client {
            !self.kind.takes_one()
        } else {
            matches!(self.kind, MethodKind::ServerStreaming | MethodKind::Bidi)
        }
    }

    /// Bytes that its next message may well have: those of the last, or of a frame.
    pub(crate) fn next_message(&self) -> usize {
        if self.last_message == 0 {
            16_384
        } else {
            self.last_message as usize
        }
    }

    /// Bytes that have not left.
    pub(crate) fn unsent(&self) -> usize {
        self.pending_bytes + self.framed as usize + self.in_flight as usize
    }

    /// Whether something waits for window or room.
    #[inline]
    pub(crate) fn has_pending(&self) -> bool {
        self.pending_bytes > 0 || self.feed.as_ref().is_some_and(|feed| !feed.is_idle())
    }

    /// Has bytes wait with the call.
    pub(crate) fn hold(&mut self, mut bytes: &[u8], pool: &ChunkPool) {
        self.pending_bytes += bytes.len();
        while !bytes.is_empty() {
            if self.pending.back().is_none_or(|chunk| chunk.spare() == 0) {
                self.pending.push_back(pool.take());
            }
            let Some(chunk) = self.pending.back_mut() else {
                return;
            };
            let room = chunk.spare().min(bytes.len());
            chunk.write(&bytes[..room]);
            bytes = &bytes[room..];
        }
    }

    /// Moves the first `length` waiting bytes into the frame being built.
    pub(crate) fn unhold(&mut self, mut length: usize, building: &mut Building) {
        self.pending_bytes -= length;
        while length > 0
            && let Some(chunk) = self.pending.front()
        {
            let rest = &chunk.as_slice()[self.pending_start..];
            let piece = rest.len().min(length);
            building.write(&rest[..piece]);
            length -= piece;
            if piece == rest.len() {
                self.pending.pop_front();
                self.pending_start = 0;
            } else {
                self.pending_start += piece;
            }
        }
    }

    /// Messages that JavaScript knows of and has not consumed.
    pub(crate) fn waiting(&self) -> u32 {
        self.delivered.wrapping_sub(self.consumed)
    }
}

/// The table of calls.
pub(crate) struct Calls {
    entries: Vec<Call>,
    free: Vec<u32>,
    capacity: usize,
    live: usize,
    receive_message_bytes: u32,
    /// JavaScript chooses the entries.
    claimed: bool,
}

impl Calls {
    pub(crate) fn new(capacity: usize, receive_message_bytes: u32) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            capacity,
            live: 0,
            receive_message_bytes,
            claimed: false,
        }
    }

    pub(crate) fn live(&self) -> usize {
        self.live
    }

    pub(crate) fn is_full(&self) -> bool {
        self.live == self.capacity
    }

    pub(crate) fn indices(&self) -> std::ops::Range<u32> {
        0..self.entries.len() as u32
    }

    /// Takes a fresh entry; the caller has made sure that the table is not full.
    pub(crate) fn take(&mut self) -> u32 {
        debug_assert!(!self.is_full());
        self.live += 1;
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Call::new(Deframer::new(
                self.receive_message_bytes as usize,
            )));
            self.entries.len() as u32 - 1
        });
        self.entries[index as usize].in_use = true;
        index
    }

    /// Takes the entry that a client's reference names, unless it is in use or beyond the table.
    pub(crate) fn claim(&mut self, reference: u32) -> Option<u32> {
        let index = reference & 0xffff;
        self.claimed = true;
        if index as usize >= self.capacity.next_power_of_two() {
            return None;
        }
        while self.entries.len() <= index as usize {
            let limit = self.receive_message_bytes as usize;
            self.entries.push(Call::new(Deframer::new(limit)));
        }
        let entry = &mut self.entries[index as usize];
        if entry.in_use {
            return None;
        }
        entry.in_use = true;
        entry.generation = (reference >> 16) as u16;
        self.live += 1;
        Some(index)
    }

    /// Frees an entry; its generation moves on, so that late operations do not find it.
    pub(crate) fn give_back(&mut self, index: u32) {
        let receive_message_bytes = self.receive_message_bytes;
        let entry = &mut self.entries[index as usize];
        debug_assert!(entry.in_use && entry.first == NO_SLOT && entry.assembly.is_none());
        let generation = entry.generation.wrapping_add(1);
        let mut pending = std::mem::take(&mut entry.pending);
        let mut raw = std::mem::take(&mut entry.raw);
        let mut header_metadata = std::mem::take(&mut entry.header_metadata);
        pending.clear();
        raw.clear();
        header_metadata.clear();
        *entry = Call {
            generation,
            pending,
            raw,
            header_metadata,
            ..Call::new(Deframer::new(receive_message_bytes as usize))
        };
        if !self.claimed {
            self.free.push(index);
        }
        self.live -= 1;
    }

    pub(crate) fn reference(&self, index: u32) -> u32 {
        index | u32::from(self.entries[index as usize].generation) << 16
    }

    /// The index behind a reference, unless that call is over.
    #[inline]
    pub(crate) fn find(&self, reference: u32) -> Option<u32> {
        let index = reference & 0xffff;
        let entry = self.entries.get(index as usize)?;
        (entry.in_use && u32::from(entry.generation) == reference >> 16).then_some(index)
    }
}

impl std::ops::Index<u32> for Calls {
    type Output = Call;
    #[inline]
    fn index(&self, index: u32) -> &Call {
        &self.entries[index as usize]
    }
}

impl std::ops::IndexMut<u32> for Calls {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut Call {
        &mut self.entries[index as usize]
    }
}
