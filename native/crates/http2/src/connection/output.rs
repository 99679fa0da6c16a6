//! What the caller sends on streams (RFC 9113 sections 6.1, 6.2, 6.4).

use super::{Connection, MAX_FRAME_SIZE, Role};
use crate::Output;
use crate::error::{OpenError, Reason};
use crate::event::StreamKey;
use crate::flow;
use crate::frame::{Head, flag, kind};
use crate::hpack::Field;
use crate::stream::state::Cause;

/// A shorter DATA frame that leaves nothing of a window was cut by a drip of credit.
const DRIPPED: usize = 64;

impl Connection {
    /// The largest payload of a frame to the peer: its SETTINGS_MAX_FRAME_SIZE, at most 16,384.
    #[inline]
    pub fn max_frame_size(&self) -> usize {
        (self.peer.max_frame_bytes as usize).min(MAX_FRAME_SIZE)
    }

    /// The head of a DATA frame whose `length` bytes of payload the caller writes right behind it.
    /// Takes them from the windows: `length` is at most `send_window` and `max_frame_size`.
    #[inline]
    pub fn data_head(
        &mut self,
        stream: StreamKey,
        length: usize,
        end_stream: bool,
    ) -> [u8; Head::LENGTH] {
        debug_assert!(length <= self.max_frame_size());
        debug_assert!(length == 0 || length <= self.send_window(stream));
        debug_assert!(self.is_open_for_send(stream));
        self.take_send_window(stream, length);
        self.counters.data_frames_sent += 1;
        if length >= DRIPPED || end_stream || self.send_window(stream) > 0 {
            self.guard.data_written += 1;
        }
        self.forgive_pings();
        let flags = if end_stream { flag::END_STREAM } else { 0 };
        let head = Head::new(length, kind::DATA, flags, self.stream_id(stream)).to_bytes();
        if end_stream {
            self.send_end(stream);
        }
        head
    }

    /// The caller enlarges the DATA frame it wrote last by `bytes`, behind which nothing has been
    /// written, and mends the length in its head.
    #[inline]
    pub fn extend_data(&mut self, stream: StreamKey, bytes: usize) {
        debug_assert!(bytes <= self.send_window(stream));
        self.take_send_window(stream, bytes);
        self.guard.data_written += 1;
    }

    /// The caller sets END_STREAM in the head of the DATA frame it wrote last, behind which nothing
    /// has been written.
    #[inline]
    pub fn end_data(&mut self, stream: StreamKey) {
        debug_assert!(self.is_open_for_send(stream));
        self.send_end(stream);
    }

    /// Writes a header block: a response (after any 1xx), or trailers with `end_stream`. Does
    /// nothing on a stream that is not open for sending.
    pub fn send_headers<'f>(
        &mut self,
        stream: StreamKey,
        fields: impl Iterator<Item = Field<'f>>,
        end_stream: bool,
        out: &mut impl Output,
    ) {
        let Some(slot) = self.streams.get_mut(stream) else {
            return;
        };
        if !slot.state.is_sending() {
            return;
        }
        slot.answered = true;
        let id = slot.id;
        self.write_headers(id, fields, end_stream, out);
        if end_stream {
            self.send_end(stream);
        }
    }

    /// Client: opens a stream by sending its head, for identifiers have to leave in order.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]; nothing is written then.
    pub fn open_stream<'f>(
        &mut self,
        fields: impl Iterator<Item = Field<'f>>,
        end_stream: bool,
        out: &mut impl Output,
    ) -> Result<StreamKey, OpenError> {
        if self.role != Role::Client {
            return Err(OpenError::NotAClient);
        }
        if self.failed.is_some() || self.go_away.is_going() {
            return Err(OpenError::GoingAway);
        }
        if self.streams.len() >= self.peer.max_concurrent_streams as usize {
            return Err(OpenError::TooManyStreams);
        }
        let id = self.identifiers.next_local;
        if i64::from(id) > flow::MAXIMUM {
            return Err(OpenError::IdentifiersExhausted);
        }
        self.identifiers.next_local += 2;
        let key = self.insert_stream(id);
        self.write_headers(id, fields, end_stream, out);
        if end_stream {
            self.send_end(key);
        }
        Ok(key)
    }

    /// Queues RST_STREAM, unless the stream is closed already; no event follows. The stream keeps
    /// its slot until `release`.
    pub fn send_reset(&mut self, stream: StreamKey, reason: Reason) {
        let Some(slot) = self.streams.get_mut(stream) else {
            return;
        };
        if slot.state.reset(Cause::ResetByUs) {
            let id = slot.id;
            self.queue_reset(id, reason);
            self.counters.resets_sent += 1;
        }
    }

    #[inline]
    fn send_end(&mut self, stream: StreamKey) {
        if let Some(slot) = self.streams.get_mut(stream)
            && slot.state.send_end()
        {
            self.finished();
        }
    }

    fn write_headers<'f>(
        &mut self,
        id: u32,
        fields: impl Iterator<Item = Field<'f>>,
        end_stream: bool,
        out: &mut impl Output,
    ) {
        self.forgive_pings();
        for _ in 0..std::mem::take(&mut self.owed_acknowledgements) {
            out.write(&Head::new(0, kind::SETTINGS, flag::ACK, 0).to_bytes());
        }
        // The head goes in front once the length is known, so that one write does.
        let encoded = &mut self.encoded;
        encoded.clear();
        encoded.extend_from_slice(&[0; Head::LENGTH]);
        self.encoder.begin(encoded);
        for field in fields {
            self.encoder.encode(field, encoded);
        }
        let maximum = (self.peer.max_frame_bytes as usize).min(MAX_FRAME_SIZE);
        let length = encoded.len() - Head::LENGTH;
        let end = if end_stream { flag::END_STREAM } else { 0 };
        if length <= maximum {
            let head = Head::new(length, kind::HEADERS, end | flag::END_HEADERS, id);
            encoded[..Head::LENGTH].copy_from_slice(&head.to_bytes());
            return out.write(encoded);
        }
        // A block of several frames is rare and large: its memory is not kept.
        let encoded = std::mem::take(encoded);
        let mut rest = &encoded[Head::LENGTH..];
        let mut kind = kind::HEADERS;
        let mut flags = end;
        while !rest.is_empty() {
            let (fragment, remaining) = rest.split_at(rest.len().min(maximum));
            if remaining.is_empty() {
                flags |= flag::END_HEADERS;
            }
            out.write(&Head::new(fragment.len(), kind, flags, id).to_bytes());
            out.write(fragment);
            (kind, flags, rest) = (kind::CONTINUATION, 0, remaining);
        }
    }
}
