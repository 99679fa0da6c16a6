//! From bytes to frames: heads, the rules that hang on them alone, and who handles what.

use super::data::Progress;
use super::{Connection, MAX_FRAME_SIZE};
use crate::Millis;
use crate::error::ConnectionError;
use crate::event::Event;
use crate::frame::{
    Head, flag, go_away, kind, ping, priority, rst_stream, settings, window_update,
};

/// What the next byte of input belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// The client's preface.
    Preface,
    /// The head of a frame, or the rest of it.
    Head,
    /// The payload of a frame that is handled as a whole.
    Payload(Head),
    /// The first payload byte of a padded DATA frame.
    PadLength(Head),
    /// DATA.
    Data(Progress),
    /// Nothing that matters.
    Skip { remaining: u32 },
}

impl Connection {
    /// Takes input up to the first event. Returns the bytes consumed and the event; to be called
    /// with the rest until all is consumed and no event comes. Frames may be split anywhere.
    pub fn receive(
        &mut self,
        input: &[u8],
        now: Millis,
    ) -> Result<(usize, Option<Event>), ConnectionError> {
        self.now = self.now.max(now);
        if let Some(error) = self.failed {
            return Err(error);
        }
        if let Some(event) = self.pending.take().or_else(|| self.sweep()) {
            return Ok((0, Some(event)));
        }
        if !input.is_empty() {
            self.received_at = self.now;
        }
        let mut at = 0;
        match self.parse(input, &mut at) {
            Ok(event) => Ok((at, event)),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Whether the input so far ends with a whole frame: where it does not, a connection that ends
    /// here was cut.
    pub fn is_between_frames(&self) -> bool {
        match self.phase {
            Phase::Head => self.head_length == 0,
            Phase::Skip { remaining } => remaining == 0,
            _ => false,
        }
    }

    fn parse(&mut self, input: &[u8], at: &mut usize) -> Result<Option<Event>, ConnectionError> {
        loop {
            match self.phase {
                Phase::Head => {
                    let Some(head) = self.read_head(input, at) else {
                        return Ok(None);
                    };
                    self.check_head(head)?;
                    if head.kind == kind::DATA {
                        if head.has(flag::PADDED) {
                            self.phase = Phase::PadLength(head);
                        } else if let Some(event) = self.start_data(head, 0)? {
                            return Ok(Some(event));
                        }
                        continue;
                    }
                    if let Phase::Skip { .. } = self.phase {
                        continue;
                    }
                    let end = *at + head.length as usize;
                    let Some(payload) = input.get(*at..end) else {
                        self.phase = Phase::Payload(head);
                        self.payload.clear();
                        if matches!(head.kind, kind::HEADERS | kind::CONTINUATION) {
                            self.start_header_timer();
                        }
                        continue;
                    };
                    *at = end;
                    if let Some(event) = self.receive_frame(head, payload)? {
                        return Ok(Some(event));
                    }
                }
                Phase::Data(progress) => {
                    let waits = *at == input.len();
                    if let Some(event) = self.continue_data(progress, input, at) {
                        return Ok(Some(event));
                    }
                    if waits && matches!(self.phase, Phase::Data(_)) {
                        return Ok(None);
                    }
                }
                Phase::PadLength(head) => {
                    let Some(&pad_length) = input.get(*at) else {
                        return Ok(None);
                    };
                    *at += 1;
                    if let Some(event) = self.start_data(head, u32::from(pad_length))? {
                        return Ok(Some(event));
                    }
                }
                Phase::Payload(head) => {
                    let missing = head.length as usize - self.payload.len();
                    let available = missing.min(input.len() - *at);
                    self.payload.extend_from_slice(&input[*at..*at + available]);
                    *at += available;
                    if available < missing {
                        return Ok(None);
                    }
                    self.phase = Phase::Head;
                    let payload = std::mem::take(&mut self.payload);
                    let event = self.receive_frame(head, &payload)?;
                    // Small memory is kept, for frames are split at every turn of a busy
                    // connection; an idle connection is not to hold a large one.
                    if payload.capacity() <= 1_024 {
                        self.payload = payload;
                    }
                    if event.is_some() {
                        return Ok(event);
                    }
                }
                Phase::Skip { remaining } => {
                    let available = (remaining as usize).min(input.len() - *at);
                    *at += available;
                    let remaining = remaining - available as u32;
                    if remaining > 0 {
                        self.phase = Phase::Skip { remaining };
                        return Ok(None);
                    }
                    self.phase = Phase::Head;
                }
                Phase::Preface => {
                    if !self.receive_preface(input, at)? {
                        return Ok(None);
                    }
                    self.phase = Phase::Head;
                    self.queue_settings();
                    let held = std::mem::take(&mut self.held);
                    self.urgent.extend_from_slice(&held);
                }
            }
        }
    }

    #[inline]
    fn read_head(&mut self, input: &[u8], at: &mut usize) -> Option<Head> {
        let rest = &input[*at..];
        if self.head_length == 0
            && let Some(bytes) = rest.first_chunk::<{ Head::LENGTH }>()
        {
            *at += Head::LENGTH;
            return Some(Head::parse(bytes));
        }
        let taken = rest.len().min(Head::LENGTH - self.head_length);
        self.head[self.head_length..self.head_length + taken].copy_from_slice(&rest[..taken]);
        self.head_length += taken;
        *at += taken;
        if self.head_length < Head::LENGTH {
            return None;
        }
        self.head_length = 0;
        Some(Head::parse(&self.head))
    }

    /// The rules that hang on the head alone: order, length, stream. A frame to be ignored leaves
    /// the connection in `Phase::Skip`.
    #[inline]
    fn check_head(&mut self, head: Head) -> Result<(), ConnectionError> {
        self.counters.frames_received += 1;
        if head.length as usize > MAX_FRAME_SIZE {
            return Err(ConnectionError::frame_size("frame above MAX_FRAME_SIZE"));
        }
        if !self.settings_received && (head.kind != kind::SETTINGS || head.has(flag::ACK)) {
            return Err(ConnectionError::protocol("the first frame is not SETTINGS"));
        }
        let open = self.block.open.map(|opening| opening.stream);
        let continues = head.kind == kind::CONTINUATION && open == Some(head.stream);
        if (open.is_some() || head.kind == kind::CONTINUATION) && !continues {
            return Err(ConnectionError::protocol("header block interrupted"));
        }
        match head.kind {
            kind::DATA => {
                require_stream(head)?;
                if head.has(flag::PADDED) && head.length == 0 {
                    return Err(ConnectionError::frame_size("padded DATA without a length"));
                }
                Ok(())
            }
            kind::HEADERS => {
                require_stream(head)?;
                self.check_headers_target(head.stream)
            }
            kind::CONTINUATION => self.check_continuation(head),
            kind::WINDOW_UPDATE => require_length(head, window_update::LENGTH),
            kind::RST_STREAM => {
                require_stream(head)?;
                require_length(head, rst_stream::LENGTH)
            }
            kind::PING => {
                require_connection(head)?;
                require_length(head, ping::LENGTH)
            }
            kind::SETTINGS => self.check_settings_head(head),
            kind::GO_AWAY => {
                require_connection(head)?;
                if (head.length as usize) < go_away::MINIMUM_LENGTH {
                    return Err(ConnectionError::frame_size("GOAWAY too short"));
                }
                self.spend_ignored()
            }
            kind::PRIORITY => {
                require_stream(head)?;
                require_length(head, priority::LENGTH)
            }
            kind::PUSH_PROMISE => {
                self.counters.pushes_refused += 1;
                Err(ConnectionError::protocol("push is disabled"))
            }
            _ => {
                self.phase = Phase::Skip {
                    remaining: head.length,
                };
                self.spend_ignored()
            }
        }
    }

    fn check_settings_head(&mut self, head: Head) -> Result<(), ConnectionError> {
        require_connection(head)?;
        let length = head.length as usize;
        if head.has(flag::ACK) && length != 0 {
            return Err(ConnectionError::frame_size(
                "SETTINGS acknowledgement with a payload",
            ));
        }
        if !length.is_multiple_of(settings::ENTRY_LENGTH) {
            return Err(ConnectionError::frame_size("SETTINGS of a broken length"));
        }
        if length / settings::ENTRY_LENGTH > self.limits.settings_entries as usize {
            self.counters.settings_floods += 1;
            return Err(ConnectionError::abuse("too many entries in SETTINGS"));
        }
        Ok(())
    }

    #[inline]
    fn receive_frame(
        &mut self,
        head: Head,
        payload: &[u8],
    ) -> Result<Option<Event>, ConnectionError> {
        match head.kind {
            kind::HEADERS => self.receive_headers(head, payload),
            kind::CONTINUATION => self.receive_continuation(head, payload),
            kind::WINDOW_UPDATE => self.receive_window_update(head.stream, payload),
            kind::RST_STREAM => self.receive_reset(head.stream, rst_stream::parse(payload)),
            kind::PING if head.has(flag::ACK) => self.receive_ping_acknowledgement(payload),
            kind::PING => self.receive_ping(payload).map(|()| None),
            kind::SETTINGS if head.has(flag::ACK) => {
                self.receive_settings_acknowledgement().map(|()| None)
            }
            kind::SETTINGS => self.receive_settings(payload),
            kind::GO_AWAY => Ok(Some(self.receive_go_away(payload))),
            _ => self.receive_priority(head, payload).map(|()| None),
        }
    }

    /// RFC 9113 section 5.3.2: no effect. That a stream must not depend on itself is RFC 7540's
    /// section 5.3.1; whoever breaks that is cut off, for an answer per frame would be work on
    /// demand.
    fn receive_priority(&mut self, head: Head, payload: &[u8]) -> Result<(), ConnectionError> {
        if priority::dependency(payload) == head.stream {
            return Err(ConnectionError::protocol("a stream depends on itself"));
        }
        self.spend_priority()
    }
}

#[inline]
fn require_stream(head: Head) -> Result<(), ConnectionError> {
    if head.stream == 0 {
        return Err(ConnectionError::protocol("frame without its stream"));
    }
    Ok(())
}

#[inline]
fn require_connection(head: Head) -> Result<(), ConnectionError> {
    if head.stream != 0 {
        return Err(ConnectionError::protocol(
            "frame of the connection on a stream",
        ));
    }
    Ok(())
}

#[inline]
fn require_length(head: Head, length: usize) -> Result<(), ConnectionError> {
    if head.length as usize != length {
        return Err(ConnectionError::frame_size("frame of a wrong length"));
    }
    Ok(())
}
