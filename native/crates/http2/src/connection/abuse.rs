//! The abuse budgets of a connection: what a peer may make us do for nothing.

use super::Connection;
use crate::Millis;
use crate::budget::{Bucket, Recent, Second};
use crate::error::ConnectionError;
use crate::frame;
use crate::limits::Limits;

/// What takes from the budget for resets.
#[derive(Clone, Copy, Debug)]
pub(super) enum ResetCause {
    /// The peer reset a stream that had no answer.
    Received,
    /// The peer broke a rule on a stream, so that we reset it.
    Provoked,
    /// The peer opened a stream beyond the limit.
    Refused,
}

/// Who emptied the budget for resets.
#[derive(Clone, Copy, Debug, Default)]
struct ResetCounts {
    received: u64,
    provoked: u64,
    refused: u64,
}

#[derive(Debug)]
pub(super) struct Guard {
    pub(super) resets: Bucket,
    reset_counts: ResetCounts,
    settings: Second,
    pings: Second,
    pinged_data: Recent,
    empty_data: Second,
    tiny_data: Second,
    tiny_among: Recent,
    /// DATA frames received that are not tiny.
    data_received: u64,
    window_updates: Second,
    ignored: Second,
    updated_data: Recent,
    updated_streams: Recent,
    ignored_streams: Recent,
    /// DATA written, counting enlargements of a frame, for each may be consumed on its own; what
    /// the peer's drip of credit made tiny is left out.
    pub(super) data_written: u64,
}

impl Guard {
    pub(super) fn new(limits: &Limits, now: Millis) -> Self {
        Self {
            resets: Bucket::new(limits.reset_burst_initial.min(limits.reset_burst), now),
            reset_counts: ResetCounts::default(),
            settings: Second::default(),
            pings: Second::default(),
            pinged_data: Recent::default(),
            empty_data: Second::default(),
            tiny_data: Second::default(),
            tiny_among: Recent::default(),
            data_received: 0,
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
    pub(super) fn spend_reset(&mut self, cause: ResetCause) -> Result<(), ConnectionError> {
        let limits = &self.limits;
        let counts = &mut self.guard.reset_counts;
        match cause {
            ResetCause::Received => counts.received += 1,
            ResetCause::Provoked => counts.provoked += 1,
            ResetCause::Refused => counts.refused += 1,
        }
        if self
            .guard
            .resets
            .take(limits.reset_burst, limits.reset_refill_per_second, self.now)
        {
            return self.check_control_bytes();
        }
        // The attack is named after the most frequent cause, for the last one may be another.
        let counts = self.guard.reset_counts;
        let (counter, message) = if counts.received >= counts.provoked.max(counts.refused) {
            (
                &mut self.counters.rapid_resets,
                "too many streams reset before an answer (Rapid Reset)",
            )
        } else if counts.provoked >= counts.refused {
            (
                &mut self.counters.made_you_resets,
                "too many resets provoked (MadeYouReset)",
            )
        } else {
            (
                &mut self.counters.refused_stream_floods,
                "too many streams beyond MAX_CONCURRENT_STREAMS",
            )
        };
        *counter += 1;
        Err(ConnectionError::abuse(message))
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
        let guard = &mut self.guard;
        let (count, fresh) = guard.pings.add(self.now);
        if fresh {
            guard.pinged_data.turn(guard.data_written);
        }
        let base = u64::from(self.limits.pings_per_second);
        if count <= base + guard.pinged_data.since(guard.data_written) {
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

    /// A DATA frame with a payload, on a stream that takes it.
    #[inline]
    pub(super) fn count_data(
        &mut self,
        payload: u32,
        end_stream: bool,
    ) -> Result<(), ConnectionError> {
        /// The prefix of a gRPC message: whatever is shorter cannot hold one.
        const PREFIX: u32 = 5;
        if payload >= PREFIX || end_stream {
            self.guard.data_received += 1;
            return Ok(());
        }
        self.spend_tiny_data()
    }

    /// Honest peers send the last bytes of a message, or of a window, in such a frame: behind a
    /// larger one.
    fn spend_tiny_data(&mut self) -> Result<(), ConnectionError> {
        let guard = &mut self.guard;
        let (count, fresh) = guard.tiny_data.add(self.now);
        if fresh {
            guard.tiny_among.turn(guard.data_received);
        }
        let base = u64::from(self.limits.tiny_data_per_second);
        if count <= base + guard.tiny_among.since(guard.data_received) {
            return Ok(());
        }
        self.counters.tiny_data_floods += 1;
        Err(ConnectionError::abuse("too many tiny DATA frames"))
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
        if self.is_ignorable() {
            return Ok(());
        }
        self.counters.ignored_floods += 1;
        Err(ConnectionError::abuse("too many frames without effect"))
    }

    pub(super) fn spend_priority(&mut self) -> Result<(), ConnectionError> {
        if self.is_ignorable() {
            return Ok(());
        }
        self.counters.priority_floods += 1;
        Err(ConnectionError::abuse("too many PRIORITY frames"))
    }

    /// Whether one more frame without effect may be ignored.
    fn is_ignorable(&mut self) -> bool {
        let guard = &mut self.guard;
        let (count, fresh) = guard.ignored.add(self.now);
        if fresh {
            guard.ignored_streams.turn(self.counters.streams_opened);
        }
        let base = u64::from(self.limits.ignored_frames_per_second);
        if count <= base {
            return true;
        }
        let opened = guard.ignored_streams.since(self.counters.streams_opened);
        count <= base + 100 * (self.streams.len() as u64 + opened)
    }

    /// A peer that makes us answer and does not read the answers.
    fn check_control_bytes(&mut self) -> Result<(), ConnectionError> {
        let acknowledgements = self.owed_acknowledgements as usize * frame::Head::LENGTH;
        if self.urgent.len() + self.ordered.len() + acknowledgements <= self.limits.control_bytes {
            return Ok(());
        }
        self.counters.control_overflows += 1;
        Err(ConnectionError::abuse("too many unread control frames"))
    }
}
