//! HEADERS and CONTINUATION (RFC 9113 sections 4.3, 6.2, 6.10): from fragments to events.

use super::abuse::ResetCause;
use super::{Connection, Role, Target};
use crate::error::{ConnectionError, Initiator, Reason};
use crate::event::{Event, HeadersKind, StreamKey};
use crate::frame::headers::{PartsError, parts};
use crate::frame::{Head, flag};
use crate::hpack::{DecodeError, ListLimits};
use crate::stream::headers::{Malformed, Part, Summary, check};
use crate::timer::Timer;

/// What its HEADERS frame says about a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    pub(super) stream: u32,
    end_stream: bool,
    depends_on_itself: bool,
}

/// A block whose last CONTINUATION has not come.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) open: Option<Opening>,
    bytes: Vec<u8>,
    continuations: u32,
}

/// The last request head, if its block was all indices: the next one is likely to be the same
/// bytes, and then `Connection::list` still holds its fields.
#[derive(Debug)]
pub(super) struct Memo {
    block: [u8; MEMO_BYTES],
    length: usize,
    revision: u32,
    summary: Summary,
}

const MEMO_BYTES: usize = 64;

impl Default for Memo {
    fn default() -> Self {
        Self {
            block: [0; MEMO_BYTES],
            length: 0,
            revision: 0,
            summary: Summary::default(),
        }
    }
}

impl Connection {
    /// What is wrong with a HEADERS frame of this stream, whatever is in it.
    pub(super) fn check_headers_target(&self, id: u32) -> Result<(), ConnectionError> {
        match self.target(id) {
            Target::Idle => {
                if self.role == Role::Server && id & 1 == 1 {
                    return Ok(());
                }
                Err(ConnectionError::protocol(match self.role {
                    Role::Server => "HEADERS on a stream that is the server's to open",
                    Role::Client => "HEADERS on idle stream",
                }))
            }
            Target::Stream(key) => {
                let Some(state) = self.streams.get(key).map(|stream| stream.state) else {
                    return Ok(());
                };
                if state.is_receiving() || state.is_reset_by_us() {
                    return Ok(());
                }
                Err(ConnectionError::stream_closed(
                    "HEADERS after the end of its stream",
                ))
            }
            Target::Closed => {
                let skipped = &self.identifiers.skipped;
                if skipped
                    .iter()
                    .any(|&(first, last)| (first..=last).contains(&id))
                {
                    return Err(ConnectionError::protocol("stream identifier went back"));
                }
                if self.may_be_late(id) {
                    return Ok(());
                }
                Err(ConnectionError::stream_closed("HEADERS on closed stream"))
            }
        }
    }

    pub(super) fn receive_headers(
        &mut self,
        head: Head,
        payload: &[u8],
    ) -> Result<Option<Event>, ConnectionError> {
        let parts = parts(&head, payload).map_err(|error| match error {
            PartsError::TooShort => ConnectionError::frame_size("HEADERS too short for its flags"),
            PartsError::Padding => ConnectionError::protocol("more padding than payload"),
        })?;
        let opening = Opening {
            stream: head.stream,
            end_stream: head.has(flag::END_STREAM),
            depends_on_itself: parts.depends_on_itself,
        };
        let fragment = &payload[parts.start..parts.end];
        if head.has(flag::END_HEADERS) {
            self.timers.stop(Timer::HeaderBlock);
            return self.finish_block(opening, fragment);
        }
        self.block.open = Some(opening);
        self.block.continuations = 0;
        self.block.bytes.clear();
        self.start_header_timer();
        self.extend_block(fragment)?;
        Ok(None)
    }

    pub(super) fn start_header_timer(&mut self) {
        if !self.timers.is_set(Timer::HeaderBlock) {
            let due = self.now.saturating_add(self.limits.header_block_timeout);
            self.timers.set(Timer::HeaderBlock, due);
        }
    }

    /// Judges a CONTINUATION by its head, before its payload is waited for.
    pub(super) fn check_continuation(&mut self, head: Head) -> Result<(), ConnectionError> {
        self.block.continuations += 1;
        if head.length == 0 && !head.has(flag::END_HEADERS) {
            self.block.continuations += 1;
        }
        if self.block.continuations > self.limits.continuation_frames {
            self.counters.continuation_floods += 1;
            return Err(ConnectionError::abuse("too many CONTINUATION frames"));
        }
        Ok(())
    }

    pub(super) fn receive_continuation(
        &mut self,
        head: Head,
        payload: &[u8],
    ) -> Result<Option<Event>, ConnectionError> {
        self.extend_block(payload)?;
        let Some(opening) = self.block.open.filter(|_| head.has(flag::END_HEADERS)) else {
            return Ok(None);
        };
        self.block.open = None;
        self.timers.stop(Timer::HeaderBlock);
        // Blocks of several frames are rare and large: their memory is not kept.
        let bytes = std::mem::take(&mut self.block.bytes);
        self.finish_block(opening, &bytes)
    }

    fn extend_block(&mut self, fragment: &[u8]) -> Result<(), ConnectionError> {
        if self.block.bytes.len() + fragment.len() > self.limits.header_block_bytes as usize {
            self.counters.header_blocks_cut += 1;
            return Err(ConnectionError::abuse("header block too large"));
        }
        self.block.bytes.extend_from_slice(fragment);
        Ok(())
    }

    fn finish_block(
        &mut self,
        opening: Opening,
        block: &[u8],
    ) -> Result<Option<Event>, ConnectionError> {
        match self.target(opening.stream) {
            Target::Idle => self.receive_request(opening, block),
            Target::Stream(key) => self.receive_more_headers(key, opening, block),
            Target::Closed => {
                self.decode(block, false)?;
                self.spend_ignored()?;
                Ok(None)
            }
        }
    }

    /// A server's stream begins.
    fn receive_request(
        &mut self,
        opening: Opening,
        block: &[u8],
    ) -> Result<Option<Event>, ConnectionError> {
        let id = opening.stream;
        self.note_identifier(id);
        if self.go_away.accepted.is_some() {
            // The GOAWAY has told the peer; this and what follows on the stream is ignored.
            self.identifiers.highest_reset = id;
            self.decode(block, false)?;
            self.spend_ignored()?;
            return Ok(None);
        }
        if self.streams.len() >= self.limits.max_concurrent_streams as usize {
            self.decode(block, false)?;
            self.queue_reset(id, Reason::REFUSED_STREAM);
            self.counters.streams_refused += 1;
            self.spend_reset(ResetCause::Refused)?;
            return Ok(None);
        }
        let summary = match self.decode_request(block)? {
            Ok(summary) if !opening.depends_on_itself => Ok(summary),
            _ => Err(Malformed),
        };
        let summary = summary.and_then(|summary| {
            let has_body = summary.content_length.is_some_and(|length| length > 0);
            if opening.end_stream && has_body {
                Err(Malformed)
            } else {
                Ok(summary)
            }
        });
        let Ok(summary) = summary else {
            self.queue_reset(id, Reason::PROTOCOL_ERROR);
            self.counters.header_lists_malformed += 1;
            self.counters.resets_provoked += 1;
            self.spend_reset(ResetCause::Provoked)?;
            return Ok(None);
        };
        let key = self.insert_stream(id);
        if let Some(stream) = self.streams.get_mut(key) {
            stream.head_received = true;
            stream.content_left = summary.content_length;
            if opening.end_stream {
                stream.state.receive_end();
            }
        }
        Ok(Some(Event::Headers {
            stream: key,
            kind: HeadersKind::Request,
            end_stream: opening.end_stream,
            oversized: self.list.is_oversized(),
        }))
    }

    /// A new identifier closes the idle ones below it (RFC 9113 section 5.1.1).
    fn note_identifier(&mut self, id: u32) {
        /// Honest peers skip none; for the others the error code is all that is at stake.
        const REMEMBERED: usize = 8;
        let ids = &mut self.identifiers;
        let next = if ids.highest_remote == 0 {
            1
        } else {
            ids.highest_remote + 2
        };
        if id > next {
            if ids.skipped.len() == REMEMBERED {
                ids.skipped.remove(0);
            }
            ids.skipped.push((next, id - 2));
        }
        ids.highest_remote = id;
    }

    /// Trailers, or what a server answers.
    fn receive_more_headers(
        &mut self,
        key: StreamKey,
        opening: Opening,
        block: &[u8],
    ) -> Result<Option<Event>, ConnectionError> {
        let Some(stream) = self.streams.get(key) else {
            return Ok(None);
        };
        if !stream.state.is_receiving() {
            self.decode(block, false)?;
            self.spend_ignored()?;
            return Ok(None);
        }
        let is_trailers = stream.head_received;
        let part = if is_trailers {
            Part::Trailers
        } else {
            Part::Response
        };
        self.decode(block, true)?;
        let oversized = self.list.is_oversized();
        let checked = if oversized {
            Ok(Summary::default())
        } else {
            check(&self.list, part)
        };
        let Ok(kind) = checked.and_then(|summary| self.accept(key, opening, part, summary)) else {
            self.counters.header_lists_malformed += 1;
            return self.stream_error(key, Reason::PROTOCOL_ERROR);
        };
        if kind == HeadersKind::Informational {
            self.spend_ignored()?;
        }
        if opening.end_stream {
            self.receive_end(key);
        }
        Ok(Some(Event::Headers {
            stream: key,
            kind,
            end_stream: opening.end_stream,
            oversized,
        }))
    }

    /// Whether this list may come here (RFC 9113 sections 8.1 and 8.6).
    fn accept(
        &mut self,
        key: StreamKey,
        opening: Opening,
        part: Part,
        summary: Summary,
    ) -> Result<HeadersKind, Malformed> {
        let stream = self.streams.get_mut(key).ok_or(Malformed)?;
        if opening.depends_on_itself {
            return Err(Malformed);
        }
        if part == Part::Trailers {
            let is_complete = stream.content_left.is_none_or(|left| left == 0);
            return if opening.end_stream && is_complete {
                Ok(HeadersKind::Trailers)
            } else {
                Err(Malformed)
            };
        }
        if (100..200).contains(&summary.status) {
            // RFC 9113 section 8.6: there is no switching of protocols.
            return if opening.end_stream || summary.status == 101 {
                Err(Malformed)
            } else {
                Ok(HeadersKind::Informational)
            };
        }
        stream.head_received = true;
        // RFC 9110 section 8.6: these may name the length of what another status would bring.
        if summary.status != 204 && summary.status != 304 {
            stream.content_left = summary.content_length;
        }
        let is_incomplete = stream.content_left.is_some_and(|left| left > 0);
        if opening.end_stream && is_incomplete {
            return Err(Malformed);
        }
        Ok(HeadersKind::Response)
    }

    /// Decodes and checks the head of a request, or finds that it is the one before once more.
    #[inline]
    fn decode_request(
        &mut self,
        block: &[u8],
    ) -> Result<Result<Summary, Malformed>, ConnectionError> {
        let memo = &self.memo;
        if memo.length == block.len()
            && memo.length > 0
            && memo.block[..memo.length] == *block
            && memo.revision == self.decoder.revision()
        {
            return Ok(Ok(memo.summary));
        }
        let only_indexed = self.decode(block, true)?;
        if self.list.is_oversized() {
            return Ok(Ok(Summary::default()));
        }
        let checked = check(&self.list, Part::Request);
        if let Ok(summary) = checked
            && only_indexed
            && block.len() <= MEMO_BYTES
        {
            self.memo.block[..block.len()].copy_from_slice(block);
            self.memo.length = block.len();
            self.memo.revision = self.decoder.revision();
            self.memo.summary = summary;
        }
        Ok(checked)
    }

    /// Decodes into `list`, which the memo does not describe any more. Returns whether the block is
    /// all indices.
    fn decode(&mut self, block: &[u8], keep: bool) -> Result<bool, ConnectionError> {
        self.memo.length = 0;
        let hard = self.limits.header_list_hard_bytes as usize;
        let limits = ListLimits {
            bytes: hard,
            fields: self.limits.header_fields as usize,
            abort_bytes: hard.saturating_mul(4),
            keep,
        };
        let only_indexed = self
            .decoder
            .decode(block, &mut self.list, &limits)
            .map_err(|error| match error {
                DecodeError::Malformed(message) => ConnectionError::compression(message),
                DecodeError::TooLarge => {
                    self.counters.hpack_bombs += 1;
                    ConnectionError::abuse("header list far too large (HPACK bomb)")
                }
            })?;
        if keep && self.list.is_oversized() {
            self.counters.header_lists_oversized += 1;
        } else if self.list.size() > self.limits.header_list_soft_bytes as usize {
            self.counters.header_lists_over_soft += 1;
        }
        Ok(only_indexed)
    }

    /// The peer's RST_STREAM.
    pub(super) fn receive_reset(
        &mut self,
        id: u32,
        reason: Reason,
    ) -> Result<Option<Event>, ConnectionError> {
        let key = match self.target(id) {
            Target::Stream(key) => key,
            Target::Idle => return Err(ConnectionError::protocol("RST_STREAM on idle stream")),
            Target::Closed => {
                self.spend_ignored()?;
                return Ok(None);
            }
        };
        let Some(stream) = self.streams.get_mut(key) else {
            return Ok(None);
        };
        if !stream.state.reset(crate::stream::state::Cause::ResetByPeer) {
            self.spend_ignored()?;
            return Ok(None);
        }
        let premature = self.role == Role::Server && !stream.answered;
        self.counters.resets_received += 1;
        if premature {
            self.spend_reset(ResetCause::Received)?;
        }
        Ok(Some(Event::Reset {
            stream: key,
            reason,
            initiator: Initiator::Remote,
        }))
    }
}
