//! What the passing of time brings.

use super::Connection;
use crate::Millis;
use crate::error::{ConnectionError, ErrorKind, Reason};
use crate::timer::Timer;

/// A time of the connection's life that is over. Nothing has happened yet: the caller ends the
/// connection, gracefully first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// No stream was open for `Limits::max_connection_idle`.
    Idle,
    /// It has lived for `Limits::max_connection_age`.
    Age,
    /// And `Limits::max_connection_age_grace` longer.
    AgeGrace,
}

impl Connection {
    pub(super) fn start_timers(&mut self) {
        let due = self.now.saturating_add(self.limits.handshake_timeout);
        self.timers.set(Timer::Handshake, due);
        if let Some(interval) = self.limits.keepalive_interval {
            let due = self.now.saturating_add(interval);
            self.timers.set(Timer::Keepalive, due);
        }
        if let Some(age) = self.limits.max_connection_age {
            self.timers.set(Timer::Age, self.now.saturating_add(age));
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

    /// Does what is due, up to the first that is for the caller: call it again until there is none.
    /// Calling it early does no harm.
    pub fn handle_timeout(&mut self, now: Millis) -> Result<Option<Expired>, ConnectionError> {
        self.now = self.now.max(now);
        if let Some(error) = self.failed {
            return Err(error);
        }
        while let Some(timer) = self.timers.take_due(self.now) {
            let expired = self.expired(timer).map_err(|error| self.fail(error))?;
            if expired.is_some() {
                return Ok(expired);
            }
        }
        Ok(None)
    }

    fn expired(&mut self, timer: Timer) -> Result<Option<Expired>, ConnectionError> {
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
                Ok(None)
            }
            Timer::KeepaliveAnswer => self.keepalive_answer_due().map(|()| None),
            Timer::Idle => Ok(self.idle()),
            Timer::Age => {
                self.counters.age_closes += 1;
                if let Some(grace) = self.limits.max_connection_age_grace {
                    let due = self.now.saturating_add(grace);
                    self.timers.set(Timer::AgeGrace, due);
                }
                Ok(Some(Expired::Age))
            }
            Timer::AgeGrace => {
                self.counters.age_grace_closes += u64::from(self.streams.len() > 0);
                Ok(Some(Expired::AgeGrace))
            }
        }
    }

    /// `release` does not know the time, so that the timer may have been started from an earlier
    /// moment: it has to run a second time, started from a known one.
    fn idle(&mut self) -> Option<Expired> {
        let idle = self.limits.max_connection_idle?;
        if self.streams.len() > 0 {
            return None;
        }
        if !self.idle_confirmed {
            self.idle_confirmed = true;
            self.timers.set(Timer::Idle, self.now.saturating_add(idle));
            return None;
        }
        self.counters.idle_closes += 1;
        Some(Expired::Idle)
    }
}
