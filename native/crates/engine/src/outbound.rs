//! From messages to frames: what leaves, in which order, and what has to wait.
//!
//! A message is framed straight into its connection's send chunks while its stream has window and
//! the connection room; what does not fit waits with its call. Calls of one connection then take
//! turns, a frame each.

use millrace_grpc::{
    self as grpc, Code, Encoding, Rejection,
    metadata::{Wire, encode_wire},
};
use millrace_http2::{self as http2, Indexing, Reason, StreamKey};

use crate::{
    Engine,
    call::Trailers,
    connection::{Connection, State},
    header_list,
    layout::*,
    notice::{Notices, Severity},
};

/// Bytes of frames that may be built ahead for a connection while nothing of it is in flight.
const BUILD_BYTES: usize = 256 * 1024;
/// The same while a send is in flight, so that a peer that does not read pins little.
const BUILD_BYTES_SENDING: usize = 64 * 1024;

/// Bytes of answers built for a peer that does not read, beyond which it is cut: they are headers
/// and trailers only, since messages wait with their calls.
const UNREAD_ANSWERS_MAX: usize = 1024 * 1024;

/// Bytes of a path that a notice shows.
const PATH_SHOWN: usize = 200;

/// Bytes that a call has to get rid of to count as moving: by less, a peer could drip credit.
const PROGRESS_BYTES: u32 = 16 * 1024;

/// Shown as unsent where a call may not write whatever its own bytes are.
const BEYOND_ANY_MARK: u32 = u32::MAX >> 1;

pub(crate) fn fields<'a>(
    fields: impl Iterator<Item = grpc::Field<'a>>,
) -> impl Iterator<Item = http2::Field<'a>> {
    fields.map(|field| http2::Field {
        name: field.name,
        value: field.value,
        indexing: if field.repeats {
            Indexing::Index
        } else {
            Indexing::Skip
        },
    })
}

pub(crate) fn room(connection: &Connection) -> usize {
    let limit = if connection.sending {
        BUILD_BYTES_SENDING
    } else {
        BUILD_BYTES
    };
    limit.saturating_sub(connection.building.bytes)
}

/// What a handler has given, as it goes on the wire. What cannot be sent is left out, aloud.
fn wire<'s>(block: &[u8], what: &str, scratch: &'s mut Vec<u8>, notices: &mut Notices) -> Wire<'s> {
    if block.is_empty() {
        return Wire::NONE;
    }
    encode_wire(block, scratch).unwrap_or_else(|error| {
        let text = format!("the handler's {what} cannot be sent: {error}");
        notices.push(Severity::Error, "illegal_metadata", None, text);
        Wire::NONE
    })
}

impl Engine {
    pub(crate) fn mark_dirty(&mut self, index: u32) {
        if let Some(connection) = self.connections.get_mut(index)
            && !connection.dirty
        {
            connection.dirty = true;
            self.dirty.push(index);
        }
    }

    /// Answers a request that begins no call.
    pub(crate) fn reject(&mut self, index: u32, stream: StreamKey, rejection: Rejection) {
        self.totals.rejected += 1;
        self.note_rejection(index, rejection);
        if let Some(connection) = self.connections.get_mut(index) {
            connection.building.end_tail();
            connection.http2.send_headers(
                stream,
                fields(rejection.fields()),
                true,
                &mut connection.building,
            );
            if !connection.http2.is_remote_closed(stream) {
                connection.http2.send_reset(stream, Reason::NO_ERROR);
            }
            connection.http2.release(stream);
        }
        self.mark_dirty(index);
    }

    fn note_rejection(&mut self, index: u32, rejection: Rejection) {
        let Some(connection) = self.connections.get(index) else {
            return;
        };
        if self.notices.is_full() {
            return;
        }
        let mut fields = connection.http2.fields();
        let path = fields.find(|(name, _)| *name == b":path");
        let mut message = String::new();
        if let Some((_, path)) = path {
            let shown = &path[..path.len().min(PATH_SHOWN)];
            message = format!("{}: ", String::from_utf8_lossy(shown));
        }
        message.push_str(rejection.message());
        let peer = Some(connection.peer_name());
        self.notices
            .push(Severity::Debug, "request_rejected", peer, message);
    }

    /// One message and an OK status: the whole answer of a unary call.
    pub(crate) fn reply(&mut self, index: u32, message: &[u8]) {
        self.calls[index].released = true;
        let reference = self.calls.reference(index);
        self.send_message(index, message);
        if self.calls.find(reference).is_none() {
            return;
        }
        self.finish(index, Code::Ok, &[], &[]);
    }

    /// Sends a message, or has it wait for window and room.
    pub(crate) fn send_message(&mut self, index: u32, message: &[u8]) {
        let call = &mut self.calls[index];
        if call.cancelled || call.finished {
            return;
        }
        if message.len() > self.options.send_message_bytes as usize {
            let text = format!(
                "the {} has {} bytes, more than the limit of {} bytes",
                if self.is_client() { "request" } else { "reply" },
                message.len(),
                self.options.send_message_bytes
            );
            return self.fail_call(index, CAUSE_MESSAGE, Code::ResourceExhausted, &text);
        }
        if !call.headers_sent {
            self.send_header_block(index);
        }
        let reference = self.calls.reference(index);
        let call = &mut self.calls[index];
        let stream = call.stream;
        let given = message.len();
        let packed = call.packs && self.codec.deflate(call.send_encoding, message);
        let buffer = packed.then(|| std::mem::take(&mut self.codec.deflated));
        let message = buffer.as_deref().unwrap_or(message);
        let connection_index = call.connection;
        let Some(connection) = self.connections.get_mut(connection_index) else {
            return;
        };
        if stream.is_none() && connection.link.is_none() {
            return;
        }
        self.totals.messages_sent += 1;
        let total = 5 + message.len();
        if call.drain != self.drain_number {
            call.drain = self.drain_number;
            call.unsent_before_drain = self.pending.get(index as usize);
            call.written_in_drain = 0;
        }
        call.last_message = total as u32;
        // JavaScript has counted what it gave.
        call.written_in_drain = call.written_in_drain.saturating_add(given as u32);
        let prefix = grpc::deframe::prefix(message.len() as u32, packed);
        let frame = connection.http2.max_frame_size();
        let room = room(connection);
        if let Some(stream) = stream
            && call.pending_bytes == 0
            && (total <= room || (total <= frame && room > 0))
            && connection.http2.send_window(stream) >= total
        {
            let building = &mut connection.building;
            if total <= frame {
                if building.extend_tail(index, total, frame) {
                    connection.http2.extend_data(stream, total);
                } else {
                    let head = connection.http2.data_head(stream, total, false);
                    building.data_head(index, head, total, true);
                }
                building.write(&prefix);
                building.write(message);
            } else {
                let first = frame - prefix.len();
                let head = connection.http2.data_head(stream, frame, false);
                building.data_head(index, head, frame, false);
                building.write(&prefix);
                building.write(&message[..first]);
                for piece in message[first..].chunks(frame) {
                    let head = connection.http2.data_head(stream, piece.len(), false);
                    building.data_head(index, head, piece.len(), true);
                    building.write(piece);
                }
            }
            if !call.released {
                if call.framed == 0 {
                    connection.framed_calls.push(reference);
                }
                call.framed += total as u32;
            }
        } else {
            if call.pending_bytes == 0 {
                call.held_since = self.now;
                call.moved = 0;
            }
            call.hold(&prefix, connection.building.pool());
            call.hold(message, connection.building.pool());
            connection.pending_bytes += total;
            self.pending_bytes += total as u64;
            // Without a stream it has its turn when it gets one.
            if stream.is_some() && !call.in_ready_queue {
                call.in_ready_queue = true;
                connection.ready.push_back(index);
            }
        }
        if let Some(buffer) = buffer {
            self.totals.messages_packed += 1;
            self.totals.packing_saved_bytes += (given - buffer.len()) as u64;
            self.codec.deflated = buffer;
        }
        // What JavaScript saw when it asked itself whether the call is writable, or sees next.
        let seen = call
            .unsent_before_drain
            .saturating_add(call.written_in_drain);
        let blocked = seen >= self.options.stream_unsent_bytes
            || call.unsent() >= self.options.stream_unsent_bytes as usize
            || self.control.get(CONTROL_OUTBOUND_FULL) == 1
            || connection.full;
        if blocked && !call.blocked {
            call.blocked = true;
            connection.blocked_calls.push(index);
        }
        let bound = self.options.connection_unsent_bytes as usize;
        if !connection.full && connection.pending_bytes >= bound / 4 {
            // The rest is for what JavaScript has staged already, and for messages of calls that
            // have nothing unsent.
            connection.full = true;
            self.block_writers(connection_index);
        } else if !connection.shut && connection.pending_bytes >= bound {
            connection.shut = true;
            self.block_writers(connection_index);
        }
        self.show_pending(index);
        self.mark_dirty(connection_index);
    }

    /// A connection has reached its bound, or a quarter of it: JavaScript sees at once, in the middle
    /// of its batch, that none of its calls may write, or none with unsent bytes.
    fn block_writers(&mut self, index: u32) {
        let is_client = self.is_client();
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let mut call_index = connection.first_call;
        while call_index != crate::call::NOBODY {
            let call = &mut self.calls[call_index];
            if call.unsent() > 0 || (connection.shut && call.writes(is_client)) {
                if !call.blocked {
                    call.blocked = true;
                    connection.blocked_calls.push(call_index);
                }
                self.pending.set(call_index as usize, BEYOND_ANY_MARK);
            }
            call_index = call.next_of_connection;
        }
    }

    /// A call has begun: it may not write while its connection is at its bound.
    pub(crate) fn admit_writer(&mut self, index: u32) {
        let is_client = self.is_client();
        let call = &mut self.calls[index];
        let connection = self.connections.get_mut(call.connection);
        let mut shown = 0;
        if let Some(connection) = connection
            && connection.shut
            && call.writes(is_client)
        {
            call.blocked = true;
            connection.blocked_calls.push(index);
            shown = BEYOND_ANY_MARK;
        }
        self.pending.set(index as usize, shown);
    }

    /// How JavaScript wants its messages packed. The encoding is fixed once headers have left (a
    /// client fixes it when the call starts), and is never one that a server's peer does not take.
    pub(crate) fn set_compression(&mut self, index: u32, encoding: u32, packs: bool) {
        let call = &mut self.calls[index];
        if !call.headers_sent {
            let wanted = Encoding::from_number(encoding).unwrap_or_default();
            let takes = call.accepted.contains(wanted);
            call.send_encoding = if takes { wanted } else { Encoding::Identity };
        }
        call.packs = packs && call.send_encoding != Encoding::Identity;
    }

    /// Response headers, with metadata where the handler gave some.
    pub(crate) fn headers(&mut self, index: u32, block: &[u8]) {
        let call = &mut self.calls[index];
        if call.cancelled || call.headers_sent {
            return;
        }
        call.header_metadata.clear();
        call.header_metadata.extend_from_slice(block);
        self.send_header_block(index);
    }

    pub(crate) fn send_header_block(&mut self, index: u32) {
        let call = &mut self.calls[index];
        let Some(stream) = call.stream else { return };
        let connection_index = call.connection;
        let Some(connection) = self.connections.get_mut(connection_index) else {
            return;
        };
        let metadata = wire(
            &call.header_metadata,
            "response metadata",
            &mut self.scratch,
            &mut self.notices,
        );
        let limit = connection.http2.peer_max_header_list_bytes();
        let list = |metadata| {
            let lists_encodings = call.encoding != Encoding::Identity;
            grpc::response::headers(call.send_encoding, lists_encodings, metadata)
        };
        // What gRPC itself has to say is sent in any case.
        if !call.header_metadata.is_empty()
            && let Some(size) = header_list::excess(list(metadata.clone()), limit)
        {
            return self.refuse_headers(index, size, limit);
        }
        connection.building.end_tail();
        let building = &mut connection.building;
        connection
            .http2
            .send_headers(stream, fields(list(metadata)), false, building);
        call.headers_sent = true;
        self.mark_dirty(connection_index);
    }

    /// The status by which JavaScript ends a call, from its block in the arena.
    pub(crate) fn status(&mut self, index: u32, code: Code, block: &[u8]) {
        self.calls[index].released = true;
        let (message, metadata) = match block.split_first_chunk::<4>() {
            Some((length, rest)) => {
                let length = (u32::from_le_bytes(*length) as usize).min(rest.len());
                rest.split_at(length)
            }
            None => (&[][..], &[][..]),
        };
        self.finish(index, code, message, metadata);
    }

    /// Ends the response: trailers leave behind everything that still waits.
    pub(crate) fn finish(&mut self, index: u32, code: Code, message: &[u8], metadata: &[u8]) {
        let call = &mut self.calls[index];
        if call.cancelled {
            return self.free_if_over(index);
        }
        if call.finished {
            return;
        }
        call.finished = true;
        self.close_feed(index);
        let call = &mut self.calls[index];
        if call.has_pending() {
            call.trailers = Some(Box::new(Trailers {
                code,
                message: message.to_vec(),
                metadata: metadata.to_vec(),
            }));
            if call.released {
                self.discard(index);
            }
        } else {
            self.send_trailers(index, code, message, metadata);
        }
    }

    pub(crate) fn send_trailers(
        &mut self,
        index: u32,
        code: Code,
        message: &[u8],
        metadata: &[u8],
    ) {
        let call = &mut self.calls[index];
        let Some(stream) = call.stream else { return };
        let connection_index = call.connection;
        let Some(connection) = self.connections.get_mut(connection_index) else {
            return;
        };
        self.message_scratch.clear();
        grpc::message::encode(message, &mut self.message_scratch);
        let metadata = wire(metadata, "trailers", &mut self.scratch, &mut self.notices);
        let mut encoded = Vec::new();
        let fitting = header_list::fit(
            call.headers_sent,
            code,
            &self.message_scratch,
            metadata.clone(),
            "the client",
            connection.http2.peer_max_header_list_bytes(),
            &mut encoded,
        );
        let (code, message, metadata) = match &fitting {
            None => (code, &self.message_scratch[..], metadata),
            Some(fitting) => {
                let peer = Some(connection.peer_name());
                let text = fitting.text.clone();
                self.notices
                    .push(Severity::Error, "metadata_too_large", peer, text);
                (fitting.code, fitting.message, Wire::NONE)
            }
        };
        let building = &mut connection.building;
        building.end_tail();
        if call.headers_sent {
            let trailers = grpc::response::trailers(code, message, metadata);
            connection
                .http2
                .send_headers(stream, fields(trailers), true, building);
        } else {
            let trailers = grpc::response::trailers_only(code, message, metadata);
            connection
                .http2
                .send_headers(stream, fields(trailers), true, building);
            call.headers_sent = true;
        }
        if !call.remote_ended {
            connection.http2.send_reset(stream, Reason::NO_ERROR);
            call.remote_ended = true;
        }
        call.stream_over = true;
        if code == Code::Ok {
            self.totals.calls_ok += 1;
        } else {
            self.totals.calls_failed += 1;
        }
        self.mark_dirty(connection_index);
        self.free_if_over(index);
    }

    /// The peer's window has grown: calls that waited for it take turns again.
    pub(crate) fn window_opened(&mut self, index: u32, stream: Option<StreamKey>) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        match stream {
            Some(stream) => {
                if let Some(call) = connection.http2.token(stream) {
                    let entry = &mut self.calls[call];
                    if entry.has_pending() && !entry.in_ready_queue {
                        entry.in_ready_queue = true;
                        connection.ready.push_back(call);
                    }
                }
            }
            None => {
                let mut call = connection.first_call;
                while call != crate::call::NOBODY {
                    let entry = &mut self.calls[call];
                    if entry.has_pending() && !entry.in_ready_queue {
                        entry.in_ready_queue = true;
                        connection.ready.push_back(call);
                    }
                    call = entry.next_of_connection;
                }
            }
        }
        self.mark_dirty(index);
    }

    /// Gives every connection that has something to say to the kernel.
    pub(crate) fn flush_connections(&mut self) {
        let mut position = 0;
        while position < self.dirty.len() {
            let index = self.dirty[position];
            position += 1;
            self.flush_connection(index);
            self.count_framed(index);
        }
        self.dirty.clear();
    }

    /// Brings the thread's sum up to date with a connection.
    pub(crate) fn count_framed(&mut self, index: u32) {
        if let Some(connection) = self.connections.get_mut(index) {
            let framed = (connection.building.bytes + connection.sending_bytes) as u64;
            self.framed_bytes = self.framed_bytes + framed - connection.framed_counted;
            connection.framed_counted = framed;
        }
    }

    fn flush_connection(&mut self, index: u32) {
        if self.is_client() {
            self.start_waiting(index);
            self.watch_link(index);
        }
        self.pump(index);
        self.unblock(index);
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        connection.dirty = false;
        if !matches!(connection.state, State::Open | State::Flushing) {
            return;
        }
        if !connection.sending {
            connection.prepare_output();
        } else if connection.building.bytes > UNREAD_ANSWERS_MAX && connection.link.is_none() {
            let peer = Some(connection.peer_name());
            let message = "the peer sends requests and does not read their answers".to_owned();
            self.notices.push(Severity::Warn, "abuse", peer, message);
            self.totals.send_timeouts += 1;
            return self.close_connection(index, true);
        }
        if !connection.sending && connection.has_output() {
            std::mem::swap(&mut connection.framed_calls, &mut connection.flight_calls);
            for &reference in &connection.flight_calls {
                if let Some(call) = self.calls.find(reference) {
                    let call = &mut self.calls[call];
                    call.in_flight = std::mem::take(&mut call.framed);
                }
            }
            connection.sending = true;
            connection.sending_since = self.now;
            let mut bytes = connection.building.bytes;
            let chunks = match &mut connection.tls {
                None => {
                    connection.building.bytes = 0;
                    connection.building.end_tail();
                    &mut connection.building.chunks
                }
                Some(tls) => {
                    bytes = tls.seal(&mut connection.building);
                    tls.sealed()
                }
            };
            connection.sending_bytes = bytes;
            let count = chunks.len();
            self.driver.send(connection.socket, chunks, count);
            self.totals.sends += 1;
            self.totals.sent_bytes += bytes as u64;
        } else if connection.state == State::Flushing && !connection.sending {
            self.end_output(index);
        }
    }

    /// Frames what waits, a frame per call and pass, as far as windows and room allow.
    fn pump(&mut self, index: u32) {
        loop {
            let Some(connection) = self.connections.get_mut(index) else {
                return;
            };
            let room = room(connection);
            if room == 0 || !connection.state.sends() {
                return;
            }
            let Some(call_index) = connection.ready.pop_front() else {
                return;
            };
            let reference = self.calls.reference(call_index);
            let call = &mut self.calls[call_index];
            if !call.in_use || call.connection != index {
                continue;
            }
            call.in_ready_queue = false;
            let Some(stream) = call.stream else { continue };
            if !call.has_pending() {
                continue;
            }
            let window = connection.http2.send_window(stream);
            if window == 0 {
                // WindowOpened brings it back.
                continue;
            }
            if call.pending_bytes == 0 {
                self.pump_feed(call_index, window);
                self.send_held_trailers(call_index);
                continue;
            }
            let length = call
                .pending_bytes
                .min(window)
                .min(connection.http2.max_frame_size());
            let ends = call.client.ends && length == call.pending_bytes;
            let head = connection.http2.data_head(stream, length, ends);
            connection
                .building
                .data_head(call_index, head, length, false);
            call.unhold(length, &mut connection.building);
            call.moved += length as u32;
            if call.moved >= PROGRESS_BYTES {
                call.moved = 0;
                call.held_since = self.now;
            }
            if !call.released {
                if call.framed == 0 {
                    connection.framed_calls.push(reference);
                }
                call.framed += length as u32;
            }
            connection.pending_bytes -= length;
            self.pending_bytes -= length as u64;
            if call.has_pending() {
                call.in_ready_queue = true;
                connection.ready.push_back(call_index);
            }
            self.show_pending(call_index);
            self.send_held_trailers(call_index);
        }
    }

    /// Ends the response once nothing waits before its trailers.
    fn send_held_trailers(&mut self, index: u32) {
        let call = &mut self.calls[index];
        if !call.has_pending()
            && let Some(trailers) = call.trailers.take()
        {
            self.send_trailers(index, trailers.code, &trailers.message, &trailers.metadata);
        }
    }

    /// Everything that was in flight has left.
    pub(crate) fn sent(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        connection.sending = false;
        connection.sending_bytes = 0;
        connection.sending_since = 0;
        let mut calls = std::mem::take(&mut connection.flight_calls);
        for reference in calls.drain(..) {
            if let Some(call) = self.calls.find(reference) {
                self.calls[call].in_flight = 0;
                self.show_pending(call);
            }
        }
        if let Some(connection) = self.connections.get_mut(index) {
            connection.flight_calls = calls;
        }
        self.unblock(index);
        self.mark_dirty(index);
    }

    /// Tells handlers that waited that they may write again.
    pub(crate) fn unblock(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        if connection.blocked_calls.is_empty() {
            return;
        }
        let bound = self.options.connection_unsent_bytes as usize;
        if connection.full {
            connection.full = connection.pending_bytes >= bound / 16 * 3;
            connection.shut &= connection.full && connection.pending_bytes >= bound / 4 * 3;
        }
        let unsent = self.pending_bytes + self.framed_bytes;
        let full = unsent >= self.options.unsent_bytes_max || connection.full;
        // Whoever is told that it may write will write a message like its last, all at once.
        let mut spare = if connection.full {
            bound.saturating_sub(connection.pending_bytes)
        } else {
            usize::MAX
        };
        let mut leaving = room(connection);
        let mark = self.options.stream_unsent_bytes as usize;
        let mut blocked = std::mem::take(&mut connection.blocked_calls);
        blocked.retain(|&call_index| {
            let call = &self.calls[call_index];
            if !call.in_use || call.connection != index || !call.blocked {
                return false;
            }
            let unsent = call.unsent();
            let next = call.next_message();
            let open = if !full {
                unsent < mark / 2
            } else if unsent > 0 {
                false
            } else if next <= spare {
                spare -= next;
                true
            } else if self.leaves_at_once(index, call_index, leaving) {
                // What others do not read must not hold up those whose peer reads.
                leaving = leaving.saturating_sub(next);
                true
            } else {
                false
            };
            let call = &mut self.calls[call_index];
            call.blocked = !open;
            self.show_pending(call_index);
            if open {
                let reference = self.calls.reference(call_index);
                self.push_record([RECORD_WRITABLE, reference, NO_SLOT, 0]);
            }
            !open
        });
        if let Some(connection) = self.connections.get_mut(index) {
            connection.blocked_calls = blocked;
        }
    }

    /// Whether a message like the call's last would leave, or at least begin to leave, without waiting
    /// for its window. A stream whose window is smaller than a frame begins once all of it is open.
    fn leaves_at_once(&self, index: u32, call_index: u32, room: usize) -> bool {
        let call = &self.calls[call_index];
        let connection = self.connections.get(index);
        let Some((connection, stream)) = connection.zip(call.stream) else {
            return false;
        };
        let window = connection.http2.send_window(stream).min(room);
        let enough = call
            .next_message()
            .min(connection.http2.max_frame_size())
            .min(connection.http2.peer_initial_window() as usize);
        window > 0 && window >= enough
    }

    /// Shows JavaScript how much of a call is unsent. While its connection is full: beyond any mark if
    /// it has to wait, and so near to its mark that one message may be written if it has not.
    fn show_pending(&mut self, index: u32) {
        let call = &self.calls[index];
        let connection = self.connections.get(call.connection);
        let (full, shut) = connection.map_or((false, false), |connection| {
            (connection.full, connection.shut)
        });
        let unsent = call.unsent();
        let shown = if call.blocked && (shut || full && unsent > 0) {
            BEYOND_ANY_MARK
        } else if full && unsent == 0 {
            self.options.stream_unsent_bytes - 1
        } else {
            unsent as u32
        };
        self.pending.set(index as usize, shown);
    }

    /// A message that is too large for the arena.
    pub fn send_large(&mut self, reference: u32, bytes: &[u8], ends: bool) {
        self.drain_operations();
        if let Some(index) = self.calls.find(reference) {
            if self.is_client() {
                self.send_message(index, bytes);
                if ends {
                    self.end_request(index);
                }
            } else if ends {
                self.reply(index, bytes);
            } else {
                self.send_message(index, bytes);
            }
        }
    }
}
