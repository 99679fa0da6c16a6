//! DATA (RFC 9113 section 6.1): passed through in pieces, never kept.

use super::input::Phase;
use super::{Connection, Target};
use crate::error::{ConnectionError, Reason};
use crate::event::{Event, StreamKey};
use crate::frame::{Head, flag};

/// A DATA frame that is being received.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// Where the payload goes; `None`: nowhere, and it has been credited.
    stream: Option<StreamKey>,
    payload: u32,
    padding: u32,
    end_stream: bool,
}

impl Connection {
    /// The head of a DATA frame has come, and the byte with the length of its padding if it has
    /// one. Takes the whole frame from the windows.
    pub(super) fn start_data(
        &mut self,
        head: Head,
        pad_length: u32,
    ) -> Result<Option<Event>, ConnectionError> {
        let surrounding = if head.has(flag::PADDED) {
            pad_length + 1
        } else {
            0
        };
        let payload = head
            .length
            .checked_sub(surrounding)
            .ok_or(ConnectionError::protocol("more padding than payload"))?;
        if !self.receive_window.take(head.length, 0) {
            return Err(ConnectionError::flow_control(
                "DATA beyond the connection's window",
            ));
        }
        let mut progress = Progress {
            stream: None,
            payload,
            padding: pad_length,
            end_stream: head.has(flag::END_STREAM),
        };
        let key = match self.target(head.stream) {
            Target::Stream(key) => key,
            Target::Idle => return Err(ConnectionError::protocol("DATA on idle stream")),
            Target::Closed if self.may_be_late(head.stream) => {
                return self.discard_data(head, progress);
            }
            Target::Closed => {
                return Err(ConnectionError::stream_closed("DATA on closed stream"));
            }
        };
        // Until our SETTINGS are acknowledged the peer goes by the default window.
        let slack = if self.settings_acknowledged {
            0
        } else {
            crate::flow::DEFAULT.saturating_sub(self.limits.initial_window_bytes)
        };
        let Some(stream) = self.streams.get_mut(key) else {
            return Ok(None);
        };
        if !stream.state.is_receiving() {
            if stream.state.is_reset_by_us() {
                return self.discard_data(head, progress);
            }
            return Err(ConnectionError::stream_closed(
                "DATA after the end of its stream",
            ));
        }
        if !stream.receive.take(head.length, slack) {
            return Err(ConnectionError::flow_control(
                "DATA beyond its stream's window",
            ));
        }
        let malformed = !stream.head_received
            || match &mut stream.content_left {
                None => false,
                Some(left) => match left.checked_sub(u64::from(payload)) {
                    Some(rest) => {
                        *left = rest;
                        progress.end_stream && rest > 0
                    }
                    None => true,
                },
            };
        if malformed {
            self.credit_connection(head.length);
            self.phase = Phase::Data(progress);
            return self.stream_error(key, Reason::PROTOCOL_ERROR);
        }
        if payload == 0 && !progress.end_stream {
            self.spend_empty_data()?;
        } else {
            self.count_data(payload, progress.end_stream)?;
        }
        if surrounding > 0 {
            self.credit_connection(surrounding);
            self.credit_stream(key, surrounding);
        }
        progress.stream = Some(key);
        self.phase = Phase::Data(progress);
        Ok(None)
    }

    fn discard_data(
        &mut self,
        head: Head,
        progress: Progress,
    ) -> Result<Option<Event>, ConnectionError> {
        // Flow control bounds what an honest peer had under way, not how many frames that is.
        if progress.payload == 0 && !progress.end_stream {
            self.spend_empty_data()?;
        }
        self.credit_connection(head.length);
        self.phase = Phase::Data(progress);
        Ok(None)
    }

    /// Moves on with the frame by what is in `input` from `at` on.
    #[inline]
    pub(super) fn continue_data(
        &mut self,
        mut progress: Progress,
        input: &[u8],
        at: &mut usize,
    ) -> Option<Event> {
        if let Some(key) = progress.stream {
            let receiving = self
                .streams
                .get(key)
                .is_some_and(|stream| stream.state.is_receiving());
            if !receiving {
                // The caller has reset it in the middle of the frame.
                self.credit_connection(progress.payload);
                progress.stream = None;
            }
        }
        let start = *at;
        let length = (progress.payload as usize).min(input.len() - start);
        let is_last = length == progress.payload as usize;
        *at += length;
        progress.payload -= length as u32;
        let mut event = None;
        if let Some(key) = progress.stream {
            let end_stream = is_last && progress.end_stream;
            if end_stream {
                self.receive_end(key);
            }
            if length > 0 || end_stream {
                event = Some(Event::Data {
                    stream: key,
                    start,
                    length,
                    end_stream,
                });
            }
        }
        if !is_last {
            self.phase = Phase::Data(progress);
            return event;
        }
        let padding = (progress.padding as usize).min(input.len() - *at);
        *at += padding;
        self.phase = match progress.padding - padding as u32 {
            0 => Phase::Head,
            remaining => Phase::Skip { remaining },
        };
        event
    }

    #[inline]
    pub(super) fn receive_end(&mut self, key: StreamKey) {
        if let Some(stream) = self.streams.get_mut(key)
            && stream.state.receive_end()
        {
            self.finished();
        }
    }
}
