//! The abuse budgets of a connection: what a peer may make us do for nothing.

use super::Connection;
use crate::Millis;
use crate::budget::{Bucket, Recent, Second};
use crate::error::ConnectionError;
use crate::limits::Limits;

#[derive(Debug)]
pub(super) struct Guard {
    pub(super) resets: Bucket,
    settings: Second,
    pings: Second,
    empty_data: Second,
    window_updates: Second,
    ignored: Second,
    updated_data: Recent,
    updated_streams: Recent,
    ignored_streams: Recent,
    /// DATA written, counting enlargements of a frame, for each may be consumed on its own.
    pub(super) data_written: u64,
}

impl Guard {
    pub(super) fn new(limits: &Limits, now: Millis) -> Self {
        Self {
            resets: Bucket::full(limits.reset_burst, now),
            settings: Second::default(),
            pings: Second::default(),
            empty_data: Second::default(),
            window_updates: Second::default(),
            ignored: Second::default(),
            updated_data: Recent::default(),
            updated_streams: Recent::default(),
            ignored_streams: Recent::default(),
            data_written: 0,
        }
    }
}

impl Connection {
    /// A reset before an answer, a reset that the peer provoked, or a refused stream.
    pub(super) fn spend_reset(&mut self) -> Result<(), ConnectionError> {
        let limits = &self.limits;
        if self
            .guard
            .resets
            .take(limits.reset_burst, limits.reset_refill_per_second, self.now)
        {
            return self.check_control_bytes();
        }
        self.counters.reset_floods += 1;
        Err(ConnectionError::abuse("too many resets"))
    }

    pub(super) fn spend_settings(&mut self) -> Result<(), ConnectionError> {
        let (count, _) = self.guard.settings.add(self.now);
        if count <= u64::from(self.limits.settings_per_second) {
            return self.check_control_bytes();
        }
        self.counters.settings_floods += 1;
        Err(ConnectionError::abuse("too many SETTINGS frames"))
    }

    pub(super) fn spend_ping(&mut self) -> Result<(), ConnectionError> {
        let (count, _) = self.guard.pings.add(self.now);
        if count <= u64::from(self.limits.pings_per_second) {
            return self.check_control_bytes();
        }
        self.counters.ping_floods += 1;
        Err(ConnectionError::abuse("too many PING frames"))
    }

    pub(super) fn spend_empty_data(&mut self) -> Result<(), ConnectionError> {
        let (count, _) = self.guard.empty_data.add(self.now);
        if count <= u64::from(self.limits.empty_data_per_second) {
            return Ok(());
        }
        self.counters.empty_data_floods += 1;
        Err(ConnectionError::abuse("too many empty DATA frames"))
    }

    pub(super) fn spend_window_update(&mut self) -> Result<(), ConnectionError> {
        let guard = &mut self.guard;
        let (count, fresh) = guard.window_updates.add(self.now);
        if fresh {
            guard.updated_data.turn(guard.data_written);
            guard.updated_streams.turn(self.counters.streams_opened);
        }
        let base = u64::from(self.limits.window_updates_base);
        if count <= base {
            return Ok(());
        }
        let data = guard.updated_data.since(guard.data_written);
        let opened = guard.updated_streams.since(self.counters.streams_opened);
        let streams = self.streams.len() as u64 + opened;
        if count <= base + 2 * (streams + 10 * data) {
            return Ok(());
        }
        self.counters.window_update_floods += 1;
        Err(ConnectionError::abuse("too many WINDOW_UPDATE frames"))
    }

    /// A frame without effect.
    pub(super) fn spend_ignored(&mut self) -> Result<(), ConnectionError> {
        let guard = &mut self.guard;
        let (count, fresh) = guard.ignored.add(self.now);
        if fresh {
            guard.ignored_streams.turn(self.counters.streams_opened);
        }
        let base = u64::from(self.limits.ignored_frames_per_second);
        if count <= base {
            return Ok(());
        }
        let opened = guard.ignored_streams.since(self.counters.streams_opened);
        if count <= base + 100 * (self.streams.len() as u64 + opened) {
            return Ok(());
        }
        self.counters.ignored_floods += 1;
        Err(ConnectionError::abuse("too many frames without effect"))
    }

    /// A peer that makes us answer and does not read the answers.
    fn check_control_bytes(&mut self) -> Result<(), ConnectionError> {
        if self.urgent.len() + self.ordered.len() <= self.limits.control_bytes {
            return Ok(());
        }
        self.counters.control_overflows += 1;
        Err(ConnectionError::abuse("too many unread control frames"))
    }
}
