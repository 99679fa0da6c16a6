//! What the passing of time brings.

use super::Connection;
use crate::Millis;
use crate::error::{ConnectionError, ErrorKind, Reason};
use crate::timer::Timer;

impl Connection {
    pub(super) fn start_timers(&mut self) {
        let due = self.now.saturating_add(self.limits.handshake_timeout);
        self.timers.set(Timer::Handshake, due);
        if let Some(interval) = self.limits.keepalive_interval {
            let due = self.now.saturating_add(interval);
            self.timers.set(Timer::Keepalive, due);
        }
        self.start_idle_timer();
    }

    pub(super) fn start_idle_timer(&mut self) {
        if let Some(idle) = self.limits.max_connection_idle {
            self.idle_confirmed = false;
            self.timers.set(Timer::Idle, self.now.saturating_add(idle));
        }
    }

    /// When `handle_timeout` has something to do; `None`: not until something else happens.
    #[inline]
    pub fn next_timeout(&self) -> Option<Millis> {
        self.timers.next()
    }

    /// Does what is due. Calling it early does no harm.
    pub fn handle_timeout(&mut self, now: Millis) -> Result<(), ConnectionError> {
        self.now = self.now.max(now);
        if let Some(error) = self.failed {
            return Err(error);
        }
        while let Some(timer) = self.timers.take_due(self.now) {
            self.expired(timer).map_err(|error| self.fail(error))?;
        }
        Ok(())
    }

    fn expired(&mut self, timer: Timer) -> Result<(), ConnectionError> {
        match timer {
            Timer::Handshake | Timer::SettingsAcknowledgement => {
                self.counters.handshake_timeouts += 1;
                Err(ConnectionError::new(
                    Reason::SETTINGS_TIMEOUT,
                    ErrorKind::Timeout,
                    match timer {
                        Timer::Handshake => "preface or SETTINGS took too long",
                        _ => "SETTINGS were not acknowledged",
                    },
                ))
            }
            Timer::HeaderBlock => {
                self.counters.header_block_timeouts += 1;
                Err(ConnectionError::new(
                    Reason::ENHANCE_YOUR_CALM,
                    ErrorKind::Timeout,
                    "a header block took too long",
                ))
            }
            Timer::Keepalive => {
                self.keepalive();
                Ok(())
            }
            Timer::KeepaliveAnswer => self.keepalive_answer_due(),
            Timer::Idle => self.idle(),
        }
    }

    /// `release` does not know the time, so that the timer may have been started from an earlier
    /// moment: it has to run a second time, started from a known one.
    fn idle(&mut self) -> Result<(), ConnectionError> {
        let Some(idle) = self.limits.max_connection_idle else {
            return Ok(());
        };
        if self.streams.len() > 0 {
            return Ok(());
        }
        if !self.idle_confirmed {
            self.idle_confirmed = true;
            self.timers.set(Timer::Idle, self.now.saturating_add(idle));
            return Ok(());
        }
        self.counters.idle_closes += 1;
        Err(ConnectionError::new(
            Reason::NO_ERROR,
            ErrorKind::Idle,
            "max_idle",
        ))
    }
}
