//! Compressed messages that are received: unpacked when they are complete, into memory that was admitted first.
//!
//! How large a message becomes is known only once it was unpacked. So it is unpacked into a buffer of
//! the thread, of at most the limit for messages, and leaves it for overflow memory if there is room.
//! If not, its bytes stay as they came, and only its size is remembered.

use millrace_grpc::GrpcError;

use crate::{Engine, compression::Failure, inbound::Stop, overflow::Block, slots::Place};

impl Engine {
    /// Unpacks a complete message into the codec's buffer, and says whether it may wait for its
    /// reader now.
    pub(crate) fn unpack(&mut self, index: u32, message: &[u8]) -> Result<Stop, GrpcError> {
        let limit = self.options.receive_message_bytes;
        let encoding = self.calls[index].encoding;
        let result = self.codec.inflate(encoding, message, limit as usize);
        // A batch counts what it has unpacked, whatever becomes of it.
        self.batch_bytes += self.codec.inflated.len();
        if let Err(failure) = result {
            self.totals.unpacking_refused += 1;
            return Err(match failure {
                Failure::Malformed => GrpcError::CompressedMalformed,
                Failure::TooLarge => GrpcError::UnpackedTooLarge { limit },
            });
        }
        let length = self.codec.inflated.len() as u32;
        let stop = self.admit_unpacked(index, length);
        if stop == Stop::Done {
            self.totals.packed_bytes_received += message.len() as u64;
        } else {
            self.totals.deferred_messages += 1;
        }
        Ok(stop)
    }

    /// The same for a message that was assembled.
    pub(crate) fn unpack_block(
        &mut self,
        index: u32,
        block: Block,
        length: usize,
    ) -> Result<Stop, GrpcError> {
        let mut message = std::mem::take(&mut self.message_scratch);
        message.clear();
        message.extend_from_slice(self.overflow.bytes(block, length));
        let result = self.unpack(index, &message);
        self.message_scratch = message;
        result
    }

    /// Whether a message of this length may be unpacked. What a stream's credit lets a peer send
    /// says nothing of what it becomes: so no more than a window of it waits for a reader.
    pub(crate) fn admit_unpacked(&mut self, index: u32, length: u32) -> Stop {
        let call = &self.calls[index];
        let window = u64::from(self.options.stream_window_bytes);
        let large = u64::from(length) > window;
        let own = usize::from(call.assembly.is_some());
        let alone = self.assemblies == own && self.unpacked == 0;
        let waits = if large {
            !(call.reading && call.waiting() == 0)
        } else {
            call.unpacked_waiting > 0 && call.unpacked_waiting + u64::from(length) > window
        };
        let stop = if waits && !call.takes_one {
            Stop::Reader
        } else if self.has_memory(index, length as usize, large, alone) {
            Stop::Done
        } else {
            Stop::Memory
        };
        self.calls[index].unpacked_needed = if stop == Stop::Done { 0 } else { length };
        stop
    }

    /// What was unpacked last becomes a message that waits for its reader.
    pub(crate) fn unpacked_message(&mut self, index: u32, credit: u32) {
        let bytes = std::mem::take(&mut self.codec.inflated);
        let place = if bytes.is_empty() {
            Place::Empty
        } else {
            let block = self.take_block(bytes.len());
            self.overflow.fill(block, 0, &bytes);
            self.unpacked += 1;
            Place::Overflow(block)
        };
        let length = bytes.len() as u32;
        self.codec.inflated = bytes;
        self.totals.messages_unpacked += 1;
        self.totals.unpacked_bytes_received += u64::from(length);
        self.message(index, place, length, credit);
        self.slots.mark_compressed(self.calls[index].last);
        self.calls[index].unpacked_waiting += u64::from(length);
    }
}
