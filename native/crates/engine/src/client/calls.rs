//! Calls that a client makes: how they start, what is sent for them, and how they end.

use millrace_grpc::{self as grpc, Code, Encoding, client::Answer, client::Ended, metadata::Wire};
use millrace_http2::{HeadersKind, Initiator, OpenError, Reason, StreamKey};

use super::deadline::Progress;
use crate::{Engine, call::MethodKind, header_list, layout::*, notice::Severity, outbound::fields};

/// What only a client's call has.
#[derive(Default)]
pub(crate) struct ClientCall {
    /// HEADERS with its metadata has not come yet.
    awaits_metadata: bool,
    /// It is in its connection's queue.
    awaits_stream: bool,
    /// JavaScript has ended the request.
    pub(crate) ends: bool,
    headers_seen: bool,
    pub(super) progress: Progress,
    /// The response's encoding, where it is none that is built in.
    pub(crate) unknown_encoding: Option<Box<str>>,
    /// The server has ended the call, and messages before that are not all divided yet.
    pub(crate) ended: Option<(Code, u32)>,
    /// What `status()` answers.
    details: Option<Box<[u8]>>,
    /// REPLY or STATUS was told.
    over: bool,
}

impl Engine {
    /// JavaScript starts a call under a reference of its choice.
    pub(crate) fn start(&mut self, head: u32, reference: u32, link: u32, timeout: u32) {
        let method = (head >> 16) as u16;
        let Some(kind) = self.methods.get(method as usize).map(|method| method.kind) else {
            debug_assert!(false, "a call of method {method}, which is not registered");
            return;
        };
        let Some(index) = self.calls.claim(reference) else {
            debug_assert!(false, "call {reference:#x} is started while it is in use");
            return;
        };
        let deadline = (timeout != NO_TIMEOUT).then(|| self.now + u64::from(timeout));
        let window = self.options.stream_window_bytes;
        let call = &mut self.calls[index];
        call.method = method;
        call.kind = kind;
        call.takes_one = matches!(kind, MethodKind::Unary | MethodKind::ClientStreaming);
        call.window = window;
        call.announced = true;
        call.headers_sent = true;
        call.deadline = deadline;
        call.client.progress.started = self.now;
        call.send_encoding = match head >> 8 & (START_GZIP | START_DEFLATE) {
            START_GZIP => Encoding::Gzip,
            START_DEFLATE => Encoding::Deflate,
            _ => Encoding::Identity,
        };
        call.packs = call.send_encoding != Encoding::Identity;
        self.consumed.set(index as usize, 0);
        self.pending.set(index as usize, 0);
        self.totals.calls += 1;
        let connection = self.find_link(link).filter(|&connection| {
            self.link_mut(connection)
                .is_some_and(|link| link.takes_calls())
        });
        let Some(connection) = connection else {
            self.calls[index].connection_lost = true;
            let text = match self.find_link(link).and_then(|index| self.link_mut(index)) {
                Some(link) => link.text(),
                None => "the connection is gone".to_owned(),
            };
            return self.end_locally(index, Code::Unavailable, &text, 0);
        };
        self.link_call(index, connection);
        self.admit_writer(index);
        if let Some(deadline) = deadline {
            self.wheel.insert(deadline, reference);
        }
        if head >> 8 & START_HAS_METADATA != 0 {
            self.calls[index].client.awaits_metadata = true;
        } else {
            self.begin(index);
        }
    }

    fn link_call(&mut self, index: u32, connection_index: u32) {
        let Some(connection) = self.connections.get_mut(connection_index) else {
            return;
        };
        let first = connection.first_call;
        if first != crate::call::NOBODY {
            self.calls[first].previous_of_connection = index;
        }
        let call = &mut self.calls[index];
        call.connection = connection_index;
        call.next_of_connection = first;
        connection.first_call = index;
        connection.calls += 1;
        if let Some(link) = &mut connection.link {
            link.active += 1;
        }
    }

    /// The metadata of a call that START announced.
    pub(crate) fn request_metadata(&mut self, index: u32, block: &[u8]) {
        let call = &mut self.calls[index];
        if !call.client.awaits_metadata || call.client.over {
            return;
        }
        call.client.awaits_metadata = false;
        call.header_metadata.clear();
        call.header_metadata.extend_from_slice(block);
        self.begin(index);
    }

    /// Sends the head of a call, or has the call wait for its turn.
    fn begin(&mut self, index: u32) {
        let reference = self.calls.reference(index);
        let connection = self.calls[index].connection;
        let Some(link) = self.link_mut(connection) else {
            return;
        };
        if link.starts_calls() && link.waiting.is_empty() {
            match self.open_stream(index) {
                Ok(()) => return,
                Err(OpenError::TooManyStreams) => {}
                Err(error) => return self.cannot_open(index, error),
            }
        }
        self.calls[index].client.awaits_stream = true;
        let calls = &self.calls;
        if let Some(connection) = self.connections.get_mut(connection)
            && let Some(link) = &mut connection.link
        {
            link.waiting.push_back(reference);
            // Those that ended meanwhile stay in the queue until their turn comes.
            if link.waiting.len() > 2 * link.active as usize + 64 {
                link.waiting
                    .retain(|&reference| calls.find(reference).is_some());
            }
        }
        self.mark_dirty(connection);
    }

    /// Starts what waits, in order, as far as the server allows; called before each flush.
    pub(crate) fn start_waiting(&mut self, index: u32) {
        loop {
            let Some(link) = self.link_mut(index) else {
                return;
            };
            if !link.starts_calls() {
                return;
            }
            let Some(&reference) = link.waiting.front() else {
                return;
            };
            let call = self.calls.find(reference);
            if let Some(call) = call.filter(|&call| self.calls[call].client.awaits_stream) {
                match self.open_stream(call) {
                    Ok(()) => {}
                    Err(OpenError::TooManyStreams) => return,
                    Err(error) => self.cannot_open(call, error),
                }
            }
            if let Some(link) = self.link_mut(index) {
                link.waiting.pop_front();
            }
        }
    }

    fn cannot_open(&mut self, index: u32, error: OpenError) {
        let connection = self.calls[index].connection;
        if error == OpenError::IdentifiersExhausted {
            let why = "no stream identifiers are left";
            self.drain_link(connection, "draining", why, false);
        }
        if !self.calls[index].client.over {
            let text = error.to_string();
            self.end_locally(index, Code::Unavailable, &text, 0);
        }
    }

    fn open_stream(&mut self, index: u32) -> Result<(), OpenError> {
        let now = self.now;
        let call = &mut self.calls[index];
        let connection_index = call.connection;
        let Some(connection) = self.connections.get_mut(connection_index) else {
            return Err(OpenError::GoingAway);
        };
        let Some(link) = &mut connection.link else {
            return Err(OpenError::GoingAway);
        };
        let metadata = if call.header_metadata.is_empty() {
            Ok(Wire::NONE)
        } else {
            grpc::metadata::encode_wire(&call.header_metadata, &mut self.scratch)
        };
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(error) => {
                let text = format!("the call's metadata cannot be sent: {error}");
                self.notices
                    .push(Severity::Error, "illegal_metadata", None, text.clone());
                self.end_locally(index, Code::Internal, &text, 0);
                return Ok(());
            }
        };
        let mut digits = [0; grpc::timeout::ENCODED_BYTES_MAX];
        let timeout = call.deadline.map(|deadline| {
            grpc::timeout::encode(deadline.saturating_sub(now).max(1), &mut digits)
        });
        let head = grpc::client::Call {
            scheme: if connection.tls.is_some() {
                b"https"
            } else {
                b"http"
            },
            path: self.methods[call.method as usize].path.as_bytes(),
            authority: &link.authority,
            user_agent: &link.user_agent,
            timeout,
            encoding: call.send_encoding,
            metadata,
        };
        let limit = connection.http2.peer_max_header_list_bytes();
        if let Some(size) = header_list::excess(head.clone().fields(), limit) {
            let text = header_list::text("the request's metadata", size, &link.address, limit);
            self.end_locally(index, Code::ResourceExhausted, &text, 0);
            return Ok(());
        }
        connection.building.end_tail();
        let stream =
            connection
                .http2
                .open_stream(fields(head.fields()), false, &mut connection.building)?;
        connection.http2.set_token(stream, index);
        link.used = true;
        call.stream = Some(stream);
        call.client.progress.opened = now.max(1);
        call.client.awaits_stream = false;
        let waits = call.pending_bytes > 0;
        if waits && !call.in_ready_queue {
            call.in_ready_queue = true;
            connection.ready.push_back(index);
        }
        if call.client.ends && !waits {
            self.send_end(index);
        }
        self.mark_dirty(connection_index);
        Ok(())
    }

    /// JavaScript has ended the request of a call.
    pub(crate) fn end_request(&mut self, index: u32) {
        let call = &mut self.calls[index];
        if call.client.ends || call.cancelled {
            return;
        }
        call.client.ends = true;
        call.finished = true;
        if call.pending_bytes == 0 && call.stream.is_some() {
            self.send_end(index);
        }
    }

    /// Ends the request stream: with the frame written last, if that is the call's.
    fn send_end(&mut self, index: u32) {
        let call = &self.calls[index];
        let Some(stream) = call.stream else { return };
        let connection_index = call.connection;
        let Some(connection) = self.connections.get_mut(connection_index) else {
            return;
        };
        if !connection.http2.is_open_for_send(stream) {
            return;
        }
        if connection.building.finish_tail(index) {
            connection.http2.end_data(stream);
        } else {
            let head = connection.http2.data_head(stream, 0, true);
            connection.building.data_head(index, head, 0, false);
        }
        self.mark_dirty(connection_index);
    }

    /// JavaScript gives a call up.
    pub(crate) fn cancel(&mut self, index: u32, code: Code) {
        self.end_locally(index, code, "the call was cancelled on this side", 0);
    }

    /// A header block of an answer.
    pub(crate) fn response(
        &mut self,
        index: u32,
        stream: StreamKey,
        kind: HeadersKind,
        end_stream: bool,
        oversized: bool,
    ) {
        let Some(call_index) = self.token(index, stream) else {
            return;
        };
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        if kind == HeadersKind::Informational {
            return;
        }
        if let Some(link) = &mut connection.link {
            link.answered = true;
        }
        if oversized {
            let text = format!(
                "the response's headers are larger than the limit of {} bytes",
                self.options.header_list_bytes * 2
            );
            return self.end_locally(call_index, Code::ResourceExhausted, &text, 0);
        }
        if kind == HeadersKind::Trailers {
            let ended = grpc::client::read_trailers(connection.http2.fields());
            return self.server_ended(index, call_index, ended);
        }
        match grpc::client::read_head(connection.http2.fields(), end_stream) {
            Answer::Ends(ended) => self.server_ended(index, call_index, ended),
            Answer::Begins {
                has_metadata,
                encoding,
            } => {
                let call = &mut self.calls[call_index];
                call.client.headers_seen = true;
                call.client.progress.answered = self.now.max(1);
                call.has_metadata = has_metadata;
                match encoding {
                    Ok(encoding) => call.encoding = encoding,
                    Err(name) => call.client.unknown_encoding = Some(name.into()),
                }
                if has_metadata {
                    let mut block = Vec::new();
                    grpc::metadata::encode_block(connection.http2.fields(), &mut block);
                    call.metadata = Some(block.into_boxed_slice());
                }
                if has_metadata || !call.takes_one {
                    let mut flags = if has_metadata { FLAG_HAS_METADATA } else { 0 };
                    if call.encoding != Encoding::Identity {
                        flags |= FLAG_COMPRESSED;
                    }
                    let reference = self.calls.reference(call_index);
                    self.push_record([RECORD_RESPONSE | flags << 8, reference, NO_SLOT, 0]);
                }
            }
        }
    }

    /// The server has said how the call ended; it is told behind the messages before that.
    fn server_ended(&mut self, connection_index: u32, index: u32, ended: Ended) {
        let Some(connection) = self.connections.get_mut(connection_index) else {
            return;
        };
        let call = &mut self.calls[index];
        self.message_scratch.clear();
        let length = ended.message.len() as u32;
        self.message_scratch
            .extend_from_slice(&length.to_le_bytes());
        self.message_scratch
            .extend_from_slice(ended.message.as_bytes());
        let trailers =
            grpc::metadata::encode_block(connection.http2.fields(), &mut self.message_scratch);
        let mut bits = if ended.stated { 0 } else { STATUS_LOCAL };
        if length > 0 || trailers > 0 {
            call.client.details = Some(self.message_scratch.as_slice().into());
            bits |= STATUS_HAS_DETAILS;
        }
        if call.client.headers_seen {
            bits |= STATUS_HEADERS_SEEN;
        }
        call.client.ended = Some((ended.code, bits));
        call.remote_ended = true;
        call.deadline = None;
        self.leave_stream(index, Reason::NO_ERROR);
        let call = &self.calls[index];
        if call.raw.is_empty() {
            self.response_ended(index);
        }
        self.check_link(connection_index);
    }

    /// Nothing more is sent for a call, nor received.
    fn leave_stream(&mut self, index: u32, reason: Reason) {
        self.drop_pending(index);
        let call = &mut self.calls[index];
        call.blocked = false;
        call.finished = true;
        call.client.awaits_stream = false;
        call.client.awaits_metadata = false;
        let connection_index = call.connection;
        let stream = call.stream.take();
        let Some(connection) = self.connections.get_mut(connection_index) else {
            return;
        };
        if let Some(link) = &mut connection.link {
            link.active -= 1;
        }
        if let Some(stream) = stream {
            connection.building.end_tail();
            connection.http2.send_reset(stream, reason);
            connection.http2.release(stream);
            self.mark_dirty(connection_index);
        }
    }

    /// Everything of the response was divided into messages: JavaScript hears of its end.
    pub(crate) fn response_ended(&mut self, index: u32) {
        let call = &mut self.calls[index];
        call.remote_ended = true;
        if call.client.over || !call.raw.is_empty() {
            return;
        }
        let Some((code, bits)) = call.client.ended else {
            let text = "the server ended the stream without trailers, so without grpc-status";
            return self.end_locally(index, Code::Unknown, text, 0);
        };
        if code == Code::Ok
            && let Err(error) = call.deframer.finish()
        {
            return self.message_error(index, &error);
        }
        if !call.takes_one {
            if call.assembly.is_some() {
                // The rest of that message will never come.
                self.drop_undelivered(index);
            }
            return self.tell_status(index, code, bits);
        }
        let slot = call.first;
        if code != Code::Ok {
            self.drop_inbound(index);
            return self.tell_status(index, code, bits);
        }
        if slot == NO_SLOT {
            let text = "the server answered with status OK and no message";
            return self.end_locally(index, Code::Internal, text, 0);
        }
        call.first = NO_SLOT;
        call.last = NO_SLOT;
        call.consumed = 1;
        self.settle_unread(index, u64::from(self.slots.credit(slot)));
        self.request_slots.push(slot);
        self.totals.calls_ok += 1;
        self.tell(index, RECORD_REPLY, slot, bits);
    }

    /// The stream of a call was reset.
    pub(crate) fn response_reset(
        &mut self,
        index: u32,
        reason: Reason,
        initiator: Initiator,
        due: bool,
    ) {
        let address = self
            .peer_of(self.calls[index].connection)
            .unwrap_or_default();
        let (code, text, bits) = match initiator {
            Initiator::Remote if due && reason == Reason::CANCEL => {
                (Code::DeadlineExceeded, self.deadline_text(index), 0)
            }
            Initiator::Remote => {
                let bits = if reason == Reason::REFUSED_STREAM {
                    STATUS_UNPROCESSED
                } else {
                    0
                };
                let text = format!("{address}: the server reset the stream with {reason}");
                (grpc::mapping::code_of_reset(reason.0), text, bits)
            }
            Initiator::Local => (
                Code::Internal,
                format!(
                    "{address}: the server broke a rule of HTTP/2 on the stream, which was reset with {reason}"
                ),
                0,
            ),
            Initiator::Library => (
                Code::Unavailable,
                format!("{address}: the server's GOAWAY left the call out"),
                STATUS_UNPROCESSED,
            ),
        };
        self.end_lost(index, code, &text, bits);
    }

    /// The stream of a call is gone. What had arrived and is not divided yet is divided first, and
    /// the status is told behind the messages that are whole, no faster than they are read.
    pub(crate) fn end_lost(&mut self, index: u32, code: Code, text: &str, bits: u32) {
        let call = &mut self.calls[index];
        if call.takes_one || call.released || call.raw.is_empty() {
            return self.end_locally(index, code, text, bits);
        }
        if call.client.over || call.client.ended.is_some() {
            return;
        }
        let bits = bits | STATUS_LOCAL | STATUS_HAS_DETAILS | STATUS_HEADERS_SEEN;
        call.client.ended = Some((code, bits));
        call.client.details = Some(details_of(text));
        call.remote_ended = true;
        let waits = call.blocked;
        self.leave_stream(index, Reason::CANCEL);
        if waits {
            // Nothing that is written now is sent; a writer that waited must not keep its reader.
            let reference = self.calls.reference(index);
            self.push_record([RECORD_WRITABLE, reference, NO_SLOT, 0]);
        }
        self.wake_raw(index);
        self.raw_wake = true;
    }

    /// Ends a call with a status of ours. Messages that JavaScript knows of stay readable.
    pub(crate) fn end_locally(&mut self, index: u32, code: Code, text: &str, bits: u32) {
        let call = &mut self.calls[index];
        if call.client.over {
            return;
        }
        let mut bits = bits | STATUS_LOCAL | STATUS_HAS_DETAILS;
        if call.client.headers_seen {
            bits |= STATUS_HEADERS_SEEN;
        }
        if call.client.ended.is_none() {
            if call.stream.is_none() {
                bits |= STATUS_UNPROCESSED | STATUS_NEVER_SENT;
            }
            self.leave_stream(index, Reason::CANCEL);
        }
        let call = &mut self.calls[index];
        call.client.details = Some(details_of(text));
        if call.takes_one {
            self.drop_inbound(index);
        } else {
            self.drop_undelivered(index);
        }
        self.tell_status(index, code, bits);
    }

    fn tell_status(&mut self, index: u32, code: Code, bits: u32) {
        match code {
            Code::Ok => self.totals.calls_ok += 1,
            Code::Cancelled => self.totals.calls_cancelled += 1,
            _ => self.totals.calls_failed += 1,
        }
        self.tell(index, RECORD_STATUS, NO_SLOT, code.number() | bits);
    }

    /// The last record of a call.
    fn tell(&mut self, index: u32, kind: u32, slot: u32, auxiliary: u32) {
        let reference = self.calls.reference(index);
        let call = &mut self.calls[index];
        call.client.over = true;
        call.cancelled = true;
        call.stream_over = true;
        call.deadline = None;
        let connection = call.connection;
        let flags = if call.has_metadata {
            FLAG_HAS_METADATA
        } else {
            0
        };
        if call.released {
            self.free_if_over(index);
        } else {
            self.push_record([kind | flags << 8, reference, slot, auxiliary]);
        }
        self.check_link(connection);
    }

    /// JavaScript lets go of a call, which ends it if that is still to come.
    pub(crate) fn forget(&mut self, index: u32) {
        self.calls[index].released = true;
        let reference = self.calls.reference(index);
        self.end_locally(index, Code::Cancelled, "the call was forgotten", 0);
        if self.calls.find(reference).is_some() {
            self.free_if_over(index);
        }
    }

    /// How a call ended: u32 message length, message, metadata block of the trailers.
    pub fn status_details(&self, reference: u32) -> Option<Vec<u8>> {
        let index = self.calls.find(reference)?;
        let details = self.calls[index].client.details.as_ref()?;
        Some(details.to_vec())
    }
}

/// What `status()` answers for a call that was ended here: a message and no trailers.
fn details_of(text: &str) -> Box<[u8]> {
    let mut details = Vec::with_capacity(8 + text.len());
    details.extend_from_slice(&(text.len() as u32).to_le_bytes());
    details.extend_from_slice(text.as_bytes());
    details.extend_from_slice(&0u32.to_le_bytes());
    details.into_boxed_slice()
}
