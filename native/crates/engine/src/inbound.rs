//! From completions to records: what arrives is parsed, divided into messages and announced.

use std::sync::Arc;

use millrace_grpc::{self as grpc, Code, Encoding, GrpcError, Rejection, Step};
use millrace_http2::{Event, HeadersKind, Initiator, Reason, StreamKey};
use millrace_ring::Completion;

use crate::{
    Engine,
    call::{Assembly, Raw},
    connection::State,
    engine::{BYTES_SOFT, Input, Part},
    layout::*,
    notice::Severity,
    overflow::Overflow,
    shared,
    slots::Place,
};

/// Messages of one call that may wait in the slot table; the rest stays undivided bytes.
pub(crate) const WAITING_MAX: u32 = 1024;
/// A client's deadline passes a moment before ours, since the request took time to arrive: a reset
/// so shortly before the deadline is the deadline's.
const DEADLINE_RACE_MS: u64 = 20;
/// Bytes of one block of undivided bytes.
const RAW_BLOCK: usize = 16 * 1024;

/// Why dividing stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nothing is left.
    Done,
    /// As many messages wait as may wait, or a large one waits for a reader: goes on when the
    /// handler consumes.
    Reader,
    /// There is no memory for a message: goes on when some is given back.
    Memory,
    /// The stream has ended, and what is left is the beginning of a message.
    Cut,
}

/// Where the bytes being divided lie.
#[derive(Clone, Copy)]
enum Source {
    /// In this receive buffer; the input starts at this offset of the ring region.
    Ring { buffer: u16, offset: usize },
    /// In memory that is given back after they were divided.
    Copy,
}

impl Engine {
    pub(crate) fn complete(&mut self, completion: Completion) {
        match completion {
            Completion::Accepted {
                descriptor, peer, ..
            } => self.accept(descriptor, peer),
            Completion::AcceptFailed { listener, error } => self.accept_failed(listener, error),
            Completion::Connected { socket } => self.connected(socket.0),
            Completion::ConnectFailed { socket, error } => self.connect_failed(socket.0, error),
            Completion::Received {
                socket,
                buffer,
                length,
            } => {
                let index = socket.0;
                if self.is_bell(socket) {
                    self.driver.release(buffer);
                    return self.take_given();
                }
                if self.hub.is_bell(socket) {
                    // The end of this turn takes what other threads have published.
                    return self.driver.release(buffer);
                }
                match self.connections.get(index) {
                    Some(connection)
                        if connection.state == State::Open && connection.tls.is_some() =>
                    {
                        self.receive_sealed(index, buffer, length as usize);
                    }
                    Some(connection) if connection.state == State::Open => {
                        self.ledger
                            .fill(buffer, index, connection.serial, self.turn);
                        self.batch_bytes += length as usize;
                        let part = Part {
                            connection: index,
                            serial: connection.serial,
                            input: Input::Ring(buffer),
                            position: 0,
                            length: length as usize,
                        };
                        self.parse(part);
                    }
                    _ => {
                        self.driver.release(buffer);
                        self.heard(index);
                    }
                }
            }
            Completion::ReceiveEnded { socket, error } => self.receive_ended(socket.0, error),
            Completion::Sent { socket, .. } => self.sent(socket.0),
            Completion::SendFailed { socket, error } => self.send_failed(socket.0, error),
            Completion::Closed { socket } => self.socket_closed(socket.0),
        }
    }

    /// Parses received bytes until their end, or until the batch is full.
    pub(crate) fn parse(&mut self, mut part: Part) {
        let ring = Arc::clone(&self.ring);
        let (bytes, place) = match &part.input {
            Input::Ring(buffer) => {
                let base = *buffer as usize * self.options.ring_buffer_bytes as usize;
                (
                    shared::bytes(&ring, base, part.length),
                    Some((*buffer, base)),
                )
            }
            Input::Memory(memory) => (memory.as_slice(), None),
        };
        let soft = RECORD_CAPACITY / 2;
        loop {
            if self.record_count >= soft {
                self.part = Some(part);
                return;
            }
            let Some(connection) = self.connections.get_mut(part.connection) else {
                break;
            };
            if connection.serial != part.serial || connection.state != State::Open {
                break;
            }
            let start = part.position;
            match connection.http2.receive(&bytes[start..], self.now) {
                Ok((consumed, event)) => {
                    part.position += consumed;
                    let Some(event) = event else { break };
                    self.handle(part.connection, event, bytes, start, place);
                }
                Err(error) => {
                    self.connection_error(part.connection, error, &bytes[..part.length.min(64)]);
                    break;
                }
            }
        }
        self.mark_dirty(part.connection);
        match part.input {
            Input::Ring(buffer) => {
                if self.ledger.drop_reference(buffer, 0) {
                    self.release_buffer(buffer);
                }
            }
            Input::Memory(memory) => {
                self.decrypted_parsed(part.connection, part.serial, memory);
            }
        }
    }

    #[inline]
    fn handle(
        &mut self,
        index: u32,
        event: Event,
        bytes: &[u8],
        start: usize,
        place: Option<(u16, usize)>,
    ) {
        match event {
            Event::Data {
                stream,
                start: at,
                length,
                end_stream,
            } => {
                let from = start + at;
                let source = match place {
                    Some((buffer, base)) => {
                        self.ledger.buffers[buffer as usize].data_bytes += length as u32;
                        Source::Ring {
                            buffer,
                            offset: base + from,
                        }
                    }
                    None => {
                        // The receive buffer has returned: the connection's credit is due.
                        if let Some(connection) = self.connections.get_mut(index) {
                            connection.withheld += length as u64;
                        }
                        Source::Copy
                    }
                };
                self.data(
                    index,
                    stream,
                    &bytes[from..from + length],
                    source,
                    end_stream,
                );
            }
            Event::Headers {
                stream,
                kind: HeadersKind::Request,
                end_stream,
                oversized,
            } => {
                self.request(index, stream, end_stream, oversized);
            }
            Event::Headers {
                stream,
                kind,
                end_stream,
                oversized,
            } if self.is_client() => self.response(index, stream, kind, end_stream, oversized),
            Event::Headers {
                stream,
                kind: HeadersKind::Trailers,
                end_stream: true,
                ..
            } => {
                if let Some(call) = self.token(index, stream) {
                    self.request_ended(call);
                }
            }
            Event::Reset {
                stream,
                reason,
                initiator,
            } => {
                let Some(call) = self.token(index, stream) else {
                    self.release_stream(index, stream);
                    return;
                };
                let due = self.calls[call]
                    .deadline
                    .is_some_and(|deadline| deadline <= self.now + DEADLINE_RACE_MS);
                if self.is_client() {
                    return self.response_reset(call, reason, initiator, due);
                }
                let (cause, code) = match initiator {
                    Initiator::Remote if due => (CAUSE_DEADLINE, Code::DeadlineExceeded),
                    Initiator::Remote => (CAUSE_RESET, Code::Cancelled),
                    _ => (CAUSE_PROTOCOL, Code::Internal),
                };
                if initiator == Initiator::Local && self.is_stream_error_told(index) {
                    let peer = self.peer_of(index);
                    self.notices.push(
                        Severity::Info,
                        "stream_error",
                        peer,
                        format!("the peer broke a rule on a stream, which was reset with {reason}"),
                    );
                }
                self.end_call(call, cause, code);
            }
            Event::WindowOpened { stream } => self.window_opened(index, stream),
            Event::PingAcknowledged { payload } => self.ping_acknowledged(index, payload),
            Event::SettingsReceived => self.link_ready(index),
            Event::GoAway { reason, .. } => self.link_going_away(index, reason),
            Event::Headers { .. } => {}
        }
    }

    /// Whether the log hears of one more rule that a connection has broken; the rest is counted.
    fn is_stream_error_told(&self, index: u32) -> bool {
        const TOLD: u64 = 8;
        self.connections
            .get(index)
            .is_some_and(|connection| connection.http2.counters().resets_provoked <= TOLD)
    }

    #[inline]
    pub(crate) fn token(&self, index: u32, stream: StreamKey) -> Option<u32> {
        self.connections.get(index)?.http2.token(stream)
    }

    /// Begins a call, or answers at once that there will be none.
    fn request(&mut self, index: u32, stream: StreamKey, end_stream: bool, oversized: bool) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let head = if oversized {
            Err(Rejection::OversizedHeaders)
        } else {
            grpc::Head::read(connection.http2.fields())
        };
        let accepted = head.and_then(|head| {
            let last = connection.last_method;
            let method = match self.methods.get(last as usize) {
                Some(method) if method.path.as_bytes() == head.path => last,
                _ => *self.paths.get(head.path).ok_or(Rejection::UnknownMethod)?,
            };
            if head.timeout_ms == Some(0) {
                return Err(Rejection::DeadlinePassed);
            }
            if self.calls.is_full() {
                return Err(Rejection::TooManyCalls);
            }
            Ok((method, head))
        });
        let (method, timeout, has_metadata, encoding, accepted) = match accepted {
            Ok((method, head)) => (
                method,
                head.timeout_ms,
                head.has_metadata,
                head.encoding,
                head.accepted,
            ),
            Err(rejection) => {
                self.reject(index, stream, rejection);
                return;
            }
        };
        connection.last_method = method;
        let call_index = self.calls.take();
        let call = &mut self.calls[call_index];
        call.connection = index;
        call.stream = Some(stream);
        call.method = method;
        call.kind = self.methods[method as usize].kind;
        call.window = self.options.stream_window_bytes;
        call.has_metadata = has_metadata;
        call.encoding = encoding;
        call.accepted = accepted;
        if self.reply_encoding != Encoding::Identity && accepted.contains(self.reply_encoding) {
            call.send_encoding = self.reply_encoding;
            call.packs = true;
        }
        if has_metadata {
            let mut block = Vec::new();
            grpc::metadata::encode_block(connection.http2.fields(), &mut block);
            call.metadata = Some(block.into_boxed_slice());
        }
        call.next_of_connection = connection.first_call;
        let takes_one = call.kind.takes_one();
        call.takes_one = takes_one;
        let deadline = timeout.map(|timeout| now.saturating_add(timeout));
        call.deadline = deadline;
        if connection.first_call != crate::call::NOBODY {
            let first = connection.first_call;
            self.calls[first].previous_of_connection = call_index;
        }
        connection.first_call = call_index;
        connection.calls += 1;
        connection.http2.set_token(stream, call_index);
        let reference = self.calls.reference(call_index);
        self.consumed.set(call_index as usize, 0);
        self.admit_writer(call_index);
        if let Some(deadline) = deadline {
            self.wheel.insert(deadline, reference);
        }
        self.totals.calls += 1;
        if !takes_one {
            self.announce(call_index, RECORD_CALL, NO_SLOT);
        }
        if end_stream {
            self.request_ended(call_index);
        }
    }

    fn announce(&mut self, index: u32, kind: u32, slot: u32) {
        let reference = self.calls.reference(index);
        let now = self.now;
        let call = &mut self.calls[index];
        call.announced = true;
        let mut flags = 0;
        let mut left = 0;
        if call.has_metadata {
            flags |= FLAG_HAS_METADATA;
        }
        if let Some(deadline) = call.deadline {
            flags |= FLAG_HAS_DEADLINE;
            left = u32::try_from(deadline.saturating_sub(now)).unwrap_or(u32::MAX);
        }
        if call.remote_ended {
            flags |= FLAG_END;
        }
        if call.encoding != Encoding::Identity
            && (kind == RECORD_CALL || self.slots.is_compressed(slot))
        {
            flags |= FLAG_COMPRESSED;
        }
        let method = u32::from(call.method);
        let at = self.record_count;
        self.push_record([kind | flags << 8 | method << 16, reference, slot, left]);
        if self.record_count > at {
            let call = &mut self.calls[index];
            call.announced_in = self.turn;
            call.announced_at = at as u32;
        }
    }

    /// Takes back what the batch says of a call, so that no handler starts for nothing; false if
    /// JavaScript has heard of it.
    pub(crate) fn withdraw(&mut self, index: u32) -> bool {
        let call = &self.calls[index];
        let at = call.announced_at as usize;
        if !self.collecting || call.announced_in != self.turn || !self.late_records.is_empty() {
            return false;
        }
        let reference = self.calls.reference(index);
        let ends = self.records.get4(at)[0] & FLAG_END << 8 != 0;
        let has_more = !call.takes_one && (call.delivered > 0 || call.end_delivered && !ends);
        let last = if has_more { self.record_count } else { at + 1 };
        for number in at..last {
            if self.records.get4(number)[1] == reference {
                self.records
                    .set4(number, [RECORD_NONE, reference, NO_SLOT, 0]);
            }
        }
        while self.record_count > 0 && self.records.get4(self.record_count - 1)[0] == RECORD_NONE {
            self.record_count -= 1;
        }
        true
    }

    fn data(
        &mut self,
        index: u32,
        stream: StreamKey,
        input: &[u8],
        source: Source,
        end_stream: bool,
    ) {
        let Some(call) = self.token(index, stream) else {
            return;
        };
        if !input.is_empty() {
            self.grant_window(index);
            self.take_in(index, call, input, source);
        }
        // An error in the input may have ended the call.
        if end_stream && self.token(index, stream) == Some(call) {
            self.request_ended(call);
        }
    }

    fn take_in(&mut self, index: u32, call_index: u32, input: &[u8], source: Source) {
        let now = self.now;
        let call = &mut self.calls[call_index];
        if call.cancelled {
            return;
        }
        if call.discarding {
            let bytes = input.len() as u32;
            self.credit_stream(call_index, bytes);
            return;
        }
        if call.unread == 0 {
            call.unread_since = now;
        }
        call.unread += input.len() as u64;
        if let Some(connection) = self.connections.get_mut(index) {
            connection.unread += input.len() as u64;
        }
        if !self.calls[call_index].raw.is_empty() {
            self.keep_raw(call_index, input);
            let call = &self.calls[call_index];
            let raw: u64 = call.raw.iter().map(|raw| u64::from(raw.length)).sum();
            if call.deframer.remaining() as u64 <= raw {
                self.raw_wake = true;
            }
            return;
        }
        match self.divide(call_index, input, source) {
            Ok((_, Stop::Done)) => {}
            Ok((consumed, stop)) => {
                self.keep_raw(call_index, &input[consumed..]);
                if stop == Stop::Memory {
                    self.queue_raw(call_index);
                    self.raw_wake = true;
                }
            }
            Err(error) => self.message_error(call_index, &error),
        }
    }

    /// Cuts bytes of a call into messages; tells how many were used, and why it stopped.
    fn divide(
        &mut self,
        index: u32,
        input: &[u8],
        source: Source,
    ) -> Result<(usize, Stop), GrpcError> {
        let mut position = 0;
        while position < input.len() {
            let rest = &input[position..];
            let call = &mut self.calls[index];
            if !self.slots.has_room(call.waiting()) {
                // It has messages waiting, so that its own reader brings it back.
                return Ok((position, Stop::Reader));
            }
            if call.assembly.is_some() {
                let (taken, stop) = self.assemble(index, rest)?;
                position += taken;
                if stop != Stop::Done {
                    return Ok((position, stop));
                }
                continue;
            }
            if call.deframer.remaining() > 0 {
                let length = call.deframer.remaining() as u32;
                // While waiting bytes are divided, the input is the first block of them.
                let behind = call.raw.iter().skip(1);
                let behind: u64 = behind.map(|raw| u64::from(raw.length)).sum();
                match self.begin_assembly(index, length, rest.len() as u64 + behind) {
                    Stop::Done => continue,
                    stop => return Ok((position, stop)),
                }
            }
            if call.takes_one && call.delivered > 0 {
                let text = if self.is_client() {
                    "the server answered with more than one message"
                } else {
                    "the request has more than one message"
                };
                self.fail_call(index, CAUSE_MESSAGE, Code::Internal, text);
                return Ok((input.len(), Stop::Done));
            }
            if call.waiting() >= WAITING_MAX {
                return Ok((position, Stop::Reader));
            }
            let packs = call.encoding != Encoding::Identity;
            let before = packs.then(|| call.deframer.clone());
            let (consumed, step) = call.deframer.feed(rest)?;
            match step {
                Step::NeedMore => {}
                Step::Whole {
                    compressed: true, ..
                }
                | Step::Begin {
                    compressed: true, ..
                } if !packs => {
                    let Some(name) = &call.client.unknown_encoding else {
                        return Err(GrpcError::CompressedWithoutEncoding);
                    };
                    let text = format!(
                        "the server compressed a message by {name}, which is none of the encodings offered: {}",
                        String::from_utf8_lossy(grpc::encoding::ENCODINGS)
                    );
                    self.fail_call(index, CAUSE_MESSAGE, Code::Internal, &text);
                    return Ok((input.len(), Stop::Done));
                }
                Step::Whole {
                    start,
                    length,
                    compressed: true,
                } => {
                    let stop = self.unpack(index, &rest[start..start + length])?;
                    if stop != Stop::Done {
                        if let Some(before) = before {
                            self.calls[index].deframer = before;
                        }
                        return Ok((position, stop));
                    }
                    self.unpacked_message(index, 5 + length as u32);
                }
                Step::Whole { start, length, .. } => {
                    let place = match source {
                        _ if length == 0 => Place::Empty,
                        Source::Ring { buffer, offset } => Place::Ring {
                            buffer,
                            offset: (offset + position + start) as u32,
                        },
                        Source::Copy => {
                            let block = self.take_block(length);
                            self.overflow.fill(block, 0, &rest[start..start + length]);
                            Place::Overflow(block)
                        }
                    };
                    self.message(index, place, length as u32, 5 + length as u32);
                }
                Step::Begin { compressed, .. } => call.message_compressed = compressed,
            }
            position += consumed;
        }
        Ok((position, Stop::Done))
    }

    /// Copies what belongs to the message being assembled; tells how much that was. The last byte of
    /// a compressed message is left until there is room to unpack it.
    fn assemble(&mut self, index: u32, input: &[u8]) -> Result<(usize, Stop), GrpcError> {
        let call = &mut self.calls[index];
        let mut taken = call.deframer.remaining().min(input.len());
        let mut stop = Stop::Done;
        let Some(assembly) = &mut call.assembly else {
            return Ok((0, stop));
        };
        if assembly.compressed && assembly.filled + taken as u32 == assembly.length {
            let (block, filled, length) = (assembly.block, assembly.filled, assembly.length);
            self.overflow.fill(block, filled as usize, &input[..taken]);
            stop = self.unpack_block(index, block, length as usize)?;
            if stop != Stop::Done {
                taken -= 1;
            }
        }
        let call = &mut self.calls[index];
        call.deframer.take(taken);
        let Some(assembly) = &mut call.assembly else {
            return Ok((0, stop));
        };
        self.overflow
            .fill(assembly.block, assembly.filled as usize, &input[..taken]);
        assembly.filled += taken as u32;
        assembly.progress_at = self.now;
        self.totals.assembled_bytes += taken as u64;
        let (block, length, eager, compressed) = (
            assembly.block,
            assembly.length,
            assembly.eager,
            assembly.compressed,
        );
        let complete = assembly.filled == length;
        if complete {
            call.assembly = None;
            self.assemblies -= 1;
            self.raw_wake = true;
        }
        if let Some(connection) = self.connections.get_mut(call.connection) {
            connection.expected -= taken as u64;
            // What a granted message has received is reserved, and no longer unread by anybody's
            // fault, until it is complete.
            if !eager {
                connection.unread -= taken as u64;
                if complete {
                    connection.unread += u64::from(length);
                }
            }
        }
        if complete {
            let credit = if eager { 5 } else { 5 + length };
            if compressed {
                self.give_back(block);
                self.unpacked_message(index, credit);
            } else {
                self.message(index, Place::Overflow(block), length, credit);
            }
        }
        if eager {
            self.credit_read(index, taken as u64);
        }
        Ok((taken, stop))
    }

    /// Makes room for a message whose prefix was read, unless it has to wait for memory or, being
    /// larger than what is at `hand` and the peer may still send, for a reader. Only such a message
    /// is credited while it arrives, so that neither may be overrated.
    fn begin_assembly(&mut self, index: u32, length: u32, hand: u64) -> Stop {
        let call = &self.calls[index];
        let window = self
            .connections
            .get(call.connection)
            .zip(call.stream)
            .map_or(0, |(connection, stream)| {
                connection.http2.receive_window(stream).max(0) as u64
            });
        if call.remote_ended && u64::from(length) > hand {
            return Stop::Cut;
        }
        let eager = u64::from(length) > window + hand && !call.remote_ended;
        if eager && !call.takes_one && !(call.reading && call.waiting() == 0) {
            return Stop::Reader;
        }
        if u64::from(length) > hand
            && !self.has_memory(index, length as usize, eager, self.assemblies == 0)
        {
            self.totals.deferred_messages += 1;
            return Stop::Memory;
        }
        let block = self.take_block(length as usize);
        self.assemblies += 1;
        let connection_index = self.calls[index].connection;
        if let Some(connection) = self.connections.get_mut(connection_index) {
            connection.expected += u64::from(length);
        }
        self.settle_connection(connection_index);
        self.calls[index].assembly = Some(Assembly {
            block,
            length,
            filled: 0,
            eager,
            compressed: self.calls[index].message_compressed,
            progress_at: self.now,
        });
        Stop::Done
    }

    /// Whether a message of this length may have its memory now. What fits into windows that were
    /// granted may, as far as the budget reaches. A larger one may while a quarter of the budget is
    /// enough; beyond that those of one connection go first, so that the others' first bytes do not
    /// pile up, and one message is under way in any case: one that is `alone`.
    pub(crate) fn has_memory(&self, index: u32, length: usize, large: bool, alone: bool) -> bool {
        let wanted = self.buffered_bytes() + Overflow::cost(length) as u64;
        let maximum = self.options.buffered_bytes_max;
        if !large && wanted <= maximum || wanted <= maximum / 4 {
            return true;
        }
        self.favoured == Some(self.calls[index].connection) && (wanted <= maximum / 2 || alone)
    }

    /// A complete message: it waits for its handler.
    #[inline]
    pub(crate) fn message(&mut self, index: u32, place: Place, length: u32, credit: u32) {
        // `divide` stops while the table is full, and takes one slot per message.
        let Some(slot) = self.slots.put(place, length, credit) else {
            unreachable!("a slot is free")
        };
        if let Place::Ring { buffer, .. } = place {
            self.ledger.add(buffer, slot, length);
        }
        self.totals.messages_received += 1;
        let call = &mut self.calls[index];
        if call.last == NO_SLOT {
            call.first = slot;
        } else {
            self.slots.link(call.last, slot);
        }
        call.last = slot;
        call.delivered = call.delivered.wrapping_add(1);
        if !call.takes_one {
            let method = u32::from(call.method);
            let reference = self.calls.reference(index);
            self.push_record([RECORD_MESSAGE | method << 16, reference, slot, 0]);
        }
    }

    /// The peer ended its request stream.
    fn request_ended(&mut self, index: u32) {
        if self.is_client() {
            return self.response_ended(index);
        }
        let call = &mut self.calls[index];
        call.remote_ended = true;
        if call.cancelled || !call.raw.is_empty() {
            return;
        }
        if call.discarding {
            call.end_delivered = true;
            return;
        }
        if let Err(error) = call.deframer.finish() {
            return self.message_error(index, &error);
        }
        self.deliver_end(index);
    }

    /// Tells JavaScript that no further message comes; a single request is complete with it.
    pub(crate) fn deliver_end(&mut self, index: u32) {
        let call = &mut self.calls[index];
        if call.end_delivered {
            return;
        }
        call.end_delivered = true;
        if !call.takes_one {
            let reference = self.calls.reference(index);
            if !self.mark_end(reference) {
                let method = u32::from(self.calls[index].method);
                self.push_record([RECORD_END | method << 16, reference, NO_SLOT, 0]);
            }
            return;
        }
        let slot = call.first;
        if slot == NO_SLOT {
            let text = "the request has no message";
            return self.fail_call(index, CAUSE_MESSAGE, Code::Internal, text);
        }
        call.first = NO_SLOT;
        call.last = NO_SLOT;
        call.consumed = 1;
        self.settle_unread(index, u64::from(self.slots.credit(slot)));
        self.request_slots.push(slot);
        self.announce(index, RECORD_REQUEST, slot);
    }

    /// Sets the END flag on the record written last, if it is one of this call's.
    fn mark_end(&mut self, reference: u32) -> bool {
        if self.record_count == 0 || !self.late_records.is_empty() {
            return false;
        }
        let mut record = self.records.get4(self.record_count - 1);
        let kind = record[0] & 0xff;
        if record[1] != reference || !(kind == RECORD_MESSAGE || kind == RECORD_CALL) {
            return false;
        }
        record[0] |= FLAG_END << 8;
        self.records.set4(self.record_count - 1, record);
        true
    }

    pub(crate) fn message_error(&mut self, index: u32, error: &GrpcError) {
        self.totals.message_errors += 1;
        let peer = self.peer_of(self.calls[index].connection);
        let path = &self.methods[self.calls[index].method as usize].path;
        self.notices.push(
            Severity::Info,
            "message_error",
            peer,
            format!("{path}: {error}"),
        );
        self.fail_call(index, CAUSE_MESSAGE, error.code(), &error.to_string());
    }

    /// Keeps bytes that cannot be divided yet.
    fn keep_raw(&mut self, index: u32, mut input: &[u8]) {
        self.totals.raw_bytes += input.len() as u64;
        while !input.is_empty() {
            let full = self.calls[index]
                .raw
                .back()
                .is_none_or(|raw| raw.start + raw.length == raw.block.capacity);
            if full {
                let block = self.take_block(input.len().clamp(1024, RAW_BLOCK));
                self.calls[index].raw.push_back(Raw {
                    block,
                    start: 0,
                    length: 0,
                });
            }
            let Some(raw) = self.calls[index].raw.back_mut() else {
                return;
            };
            let at = (raw.start + raw.length) as usize;
            let room = (raw.block.capacity as usize - at).min(input.len());
            raw.length += room as u32;
            let block = raw.block;
            self.overflow.fill(block, at, &input[..room]);
            input = &input[room..];
        }
    }

    /// The undivided bytes of a call wait for memory.
    fn queue_raw(&mut self, index: u32) {
        if !self.calls[index].queued_raw {
            self.calls[index].queued_raw = true;
            self.raw_calls.push_back(self.calls.reference(index));
        }
    }

    /// Has the undivided bytes of a call looked at in the next turn: its reader has moved on.
    pub(crate) fn wake_raw(&mut self, index: u32) {
        let call = &mut self.calls[index];
        if !call.woken && !call.queued_raw {
            call.woken = true;
            self.woken_calls.push_back(self.calls.reference(index));
        }
    }

    /// Divides bytes that had to wait, oldest first, as far as there is memory.
    pub(crate) fn resume_raw(&mut self) {
        while self.record_count < RECORD_CAPACITY / 2
            && self.batch_bytes < BYTES_SOFT
            && let Some(reference) = self.woken_calls.pop_front()
        {
            let Some(index) = self.calls.find(reference) else {
                continue;
            };
            self.calls[index].woken = false;
            if !self.calls[index].cancelled && self.divide_raw(index) == Stop::Memory {
                self.queue_raw(index);
                self.raw_wake = true;
            }
        }
        if !self.raw_wake {
            return;
        }
        self.raw_wake = false;
        let mut position = 0;
        while let Some(&reference) = self.raw_calls.get(position) {
            if self.record_count >= RECORD_CAPACITY / 2 || self.batch_bytes >= BYTES_SOFT {
                self.raw_wake = true;
                return;
            }
            let stop = match self.calls.find(reference) {
                Some(index) if !self.calls[index].cancelled => self.divide_raw(index),
                _ => Stop::Done,
            };
            if stop != Stop::Memory {
                self.raw_calls.remove(position);
                if let Some(index) = self.calls.find(reference) {
                    self.calls[index].queued_raw = false;
                }
            } else if position > 0 {
                return;
            } else {
                // The oldest cannot go on: those of the favoured connection may.
                let before = self.favoured;
                let Some(next) = self.favour() else { return };
                if next == 0 && before == self.favoured {
                    return;
                }
                position = next;
            }
        }
    }

    /// The place in the queue of the oldest call of the favoured connection: the one of those that
    /// wait which holds most.
    fn favour(&mut self) -> Option<usize> {
        let connection_of =
            |reference: u32| Some(self.calls[self.calls.find(reference)?].connection);
        let first_of = |connection| {
            let mut queue = self.raw_calls.iter();
            queue.position(|&reference| connection_of(reference) == Some(connection))
        };
        if let Some(position) = self.favoured.and_then(first_of) {
            return Some(position);
        }
        let unread = |&connection: &u32| {
            let connection = self.connections.get(connection);
            connection.map_or(0, |connection| connection.unread)
        };
        let waiting = self.raw_calls.iter().copied().filter_map(connection_of);
        let favoured = waiting.max_by_key(unread)?;
        let position = first_of(favoured);
        self.favoured = Some(favoured);
        position
    }

    fn divide_raw(&mut self, index: u32) -> Stop {
        let mut copy = std::mem::take(&mut self.scratch);
        let mut stop = Stop::Done;
        while stop == Stop::Done
            && let Some(raw) = self.calls[index].raw.front()
        {
            let (block, start, length) = (raw.block, raw.start as usize, raw.length as usize);
            let needed = self.calls[index].unpacked_needed;
            if needed > 0 {
                stop = self.admit_unpacked(index, needed);
                if stop != Stop::Done {
                    break;
                }
            }
            copy.clear();
            copy.extend_from_slice(&self.overflow.bytes(block, start + length)[start..]);
            match self.divide(index, &copy, Source::Copy) {
                Ok((consumed, why)) => {
                    stop = why;
                    if let Some(raw) = self.calls[index].raw.front_mut() {
                        raw.start += consumed as u32;
                        raw.length -= consumed as u32;
                        if raw.length == 0 {
                            self.calls[index].raw.pop_front();
                            self.give_back(block);
                        }
                    }
                }
                Err(error) => {
                    self.message_error(index, &error);
                    break;
                }
            }
        }
        self.scratch = copy;
        if stop == Stop::Cut {
            while let Some(raw) = self.calls[index].raw.pop_front() {
                self.give_back(raw.block);
            }
        }
        let call = &self.calls[index];
        if call.in_use && !call.cancelled && call.raw.is_empty() && call.remote_ended {
            self.request_ended(index);
        }
        stop
    }

    /// A peer that has gone may have said something before: what it sent is still there to be read, and
    /// the end comes behind it.
    fn send_failed(&mut self, index: u32, error: i32) {
        let reads = self
            .connections
            .get(index)
            .is_some_and(|connection| connection.state == State::Open);
        if !reads || !matches!(error, libc::EPIPE | libc::ECONNRESET) {
            self.receive_ended(index, error);
        }
    }

    pub(crate) fn receive_ended(&mut self, index: u32, error: i32) {
        if error == 0 && self.ends_behind_output(index) {
            return;
        }
        let how = if error == 0 {
            "the peer closed it".to_owned()
        } else {
            std::io::Error::from_raw_os_error(error).to_string()
        };
        self.blame_loss(index, &how);
        if let Some(connection) = self.connections.get(index) {
            let cut = !connection.http2.is_between_frames();
            if connection.state == State::Open && (cut || connection.calls > 0) {
                let place = if cut { " inside a frame" } else { "" };
                let message = format!(
                    "the connection was lost{place} with {} call(s) open: {how}",
                    connection.calls
                );
                let peer = Some(connection.peer_name());
                self.notices
                    .push(Severity::Debug, "connection_lost", peer, message);
            }
        }
        self.close_connection(index, error != 0);
    }

    pub(crate) fn reset_stream(&mut self, index: u32, stream: StreamKey, reason: Reason) {
        if let Some(connection) = self.connections.get_mut(index) {
            connection.http2.send_reset(stream, reason);
        }
        self.mark_dirty(index);
    }
}
