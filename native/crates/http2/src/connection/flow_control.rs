//! Windows in both directions (RFC 9113 section 5.2).

use super::{Connection, MAX_FRAME_SIZE, Target};
use crate::error::{ConnectionError, Reason};
use crate::event::{Event, StreamKey};
use crate::flow;
use crate::frame::window_update;

/// A window below this may leave the caller with something to wait for.
const SHORT: i64 = MAX_FRAME_SIZE as i64;

impl Connection {
    /// Gives the peer credit for `bytes` on the connection: those that left the receive buffers, or
    /// more, which enlarges the window. Announced in batches: once a quarter of the largest window
    /// so far has come together, or 32 KiB. Whoever withholds credit for good, so that less than
    /// that is left to the peer, has to flush.
    #[inline]
    pub fn credit_connection(&mut self, bytes: u32) {
        if let Some(increment) = self.receive_window.credit(bytes) {
            window_update::write(0, increment, &mut self.urgent);
        }
    }

    /// Announces what `credit_connection` still holds back.
    pub fn flush_connection_credit(&mut self) {
        if let Some(increment) = self.receive_window.flush() {
            window_update::write(0, increment, &mut self.urgent);
        }
    }

    /// As `credit_connection`, for one stream. Nothing happens once the peer has ended it.
    #[inline]
    pub fn credit_stream(&mut self, stream: StreamKey, bytes: u32) {
        if let Some(stream) = self.streams.get_mut(stream)
            && stream.state.is_receiving()
            && let Some(increment) = stream.receive.credit(bytes)
        {
            window_update::write(stream.id, increment, &mut self.urgent);
        }
    }

    /// Announces what `credit_stream` still holds back.
    pub fn flush_stream_credit(&mut self, stream: StreamKey) {
        if let Some(stream) = self.streams.get_mut(stream)
            && stream.state.is_receiving()
            && let Some(increment) = stream.receive.flush()
        {
            window_update::write(stream.id, increment, &mut self.urgent);
        }
    }

    /// What the peer may still send on the stream, credit not yet announced left out; 0 for a key
    /// that was released.
    #[inline]
    pub fn receive_window(&self, stream: StreamKey) -> i64 {
        self.streams
            .get(stream)
            .map_or(0, |stream| stream.receive.available())
    }

    /// What the peer may still send on the connection, credit not yet announced left out.
    #[inline]
    pub fn connection_receive_window(&self) -> i64 {
        self.receive_window.available()
    }

    /// Bytes of DATA payload that the stream's and the connection's windows admit now. If that is
    /// less than a full frame, `Event::WindowOpened` follows when it grows.
    #[inline]
    pub fn send_window(&self, stream: StreamKey) -> usize {
        let Some(stream) = self.streams.get(stream) else {
            return 0;
        };
        let own = i64::from(self.peer.initial_window) + stream.send_offset;
        if own < SHORT {
            stream.short.set(true);
        }
        if self.send_available < SHORT {
            self.send_short.set(true);
        }
        own.min(self.send_available).max(0) as usize
    }

    /// Takes DATA that is being sent from both windows.
    #[inline]
    pub(super) fn take_send_window(&mut self, key: StreamKey, bytes: usize) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        stream.send_offset -= bytes as i64;
        if i64::from(self.peer.initial_window) + stream.send_offset < SHORT {
            stream.short.set(true);
        }
        self.send_available -= bytes as i64;
        if self.send_available < SHORT {
            self.send_short.set(true);
        }
    }

    pub(super) fn receive_window_update(
        &mut self,
        id: u32,
        payload: &[u8],
    ) -> Result<Option<Event>, ConnectionError> {
        self.spend_window_update()?;
        let increment = i64::from(window_update::parse(payload));
        if increment == 0 {
            return Err(ConnectionError::protocol("WINDOW_UPDATE of 0"));
        }
        if id == 0 {
            self.send_available += increment;
            if self.send_available > flow::MAXIMUM {
                return Err(ConnectionError::flow_control(
                    "WINDOW_UPDATE makes the connection's window too large",
                ));
            }
            let opened = self.send_available > 0 && self.send_short.replace(false);
            return Ok(opened.then_some(Event::WindowOpened { stream: None }));
        }
        let key = match self.target(id) {
            Target::Stream(key) => key,
            Target::Closed => return Ok(None),
            Target::Idle => return Err(ConnectionError::protocol("WINDOW_UPDATE on idle stream")),
        };
        let Some(stream) = self.streams.get_mut(key) else {
            return Ok(None);
        };
        if stream.state.is_closed() {
            return Ok(None);
        }
        stream.send_offset += increment;
        let window = i64::from(self.peer.initial_window) + stream.send_offset;
        if window > flow::MAXIMUM {
            return self.stream_error(key, Reason::FLOW_CONTROL_ERROR);
        }
        self.send_offset_bound = self.send_offset_bound.max(stream.send_offset);
        let opened = window > 0 && stream.state.is_sending() && stream.short.replace(false);
        Ok(opened.then_some(Event::WindowOpened { stream: Some(key) }))
    }
}
