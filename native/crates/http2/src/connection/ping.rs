//! PING (RFC 9113 section 6.7): answers, the strikes of gRPC's keepalive rules, our own.

use super::{Connection, Phase, Role};
use crate::Millis;
use crate::error::{ConnectionError, ErrorKind, Reason};
use crate::event::Event;
use crate::frame::ping;
use crate::timer::Timer;

/// What a peer has to leave between PINGs while no stream is open, unless it is allowed more.
const WITHOUT_STREAMS: Millis = 2 * 3600 * 1000;

/// Payload of our keepalive PINGs.
const KEEPALIVE: [u8; 8] = *b"millrace";

#[derive(Debug, Default)]
pub(super) struct Pings {
    /// When the peer's last came, if we have sent neither HEADERS nor DATA since.
    last: Option<Millis>,
    strikes: u32,
    /// Of `send_ping`, not yet answered.
    outstanding: u32,
    keepalive_sent: Option<Millis>,
}

impl Connection {
    /// Queues a PING behind what was queued before, such as a GOAWAY; `Event::PingAcknowledged`
    /// follows.
    pub fn send_ping(&mut self, payload: [u8; 8]) {
        self.pings.outstanding += 1;
        let out = match self.phase {
            Phase::Preface => &mut self.held,
            _ => self.ordered(),
        };
        ping::write(false, payload, out);
    }

    pub(super) fn receive_ping(&mut self, payload: &[u8]) -> Result<(), ConnectionError> {
        self.spend_ping()?;
        self.count_strike()?;
        // A server that drains asks by PING whether every stream has arrived that its client had opened
        // before it heard of the GOAWAY: so a client's answer must not overtake them.
        let out = match self.role {
            Role::Client => self.ordered(),
            Role::Server => &mut self.urgent,
        };
        ping::write(true, ping::parse(payload), out);
        Ok(())
    }

    pub(super) fn receive_ping_acknowledgement(
        &mut self,
        payload: &[u8],
    ) -> Result<Option<Event>, ConnectionError> {
        let payload = ping::parse(payload);
        if payload == KEEPALIVE && self.pings.keepalive_sent.take().is_some() {
            return Ok(None);
        }
        if self.pings.outstanding == 0 {
            self.spend_ignored()?;
            return Ok(None);
        }
        self.pings.outstanding -= 1;
        Ok(Some(Event::PingAcknowledged { payload }))
    }

    fn count_strike(&mut self) -> Result<(), ConnectionError> {
        let (Some(interval), Role::Server) = (self.limits.ping_strike_interval, self.role) else {
            return Ok(());
        };
        let interval = if self.streams.len() > 0 || self.limits.pings_without_streams {
            interval
        } else {
            interval.max(WITHOUT_STREAMS)
        };
        let early = self
            .pings
            .last
            .is_some_and(|last| self.now.saturating_sub(last) < interval);
        self.pings.last = Some(self.now);
        if !early {
            return Ok(());
        }
        self.counters.ping_strikes += 1;
        self.pings.strikes += 1;
        if self.pings.strikes <= self.limits.ping_strikes {
            return Ok(());
        }
        Err(ConnectionError::abuse("too_many_pings"))
    }

    /// HEADERS or DATA are sent: the peer has reason to ask for a sign of life again.
    #[inline]
    pub(super) fn forgive_pings(&mut self) {
        self.pings.last = None;
        self.pings.strikes = 0;
    }

    /// The keepalive timer ran out: ask, or wait until the peer has been silent for long enough.
    pub(super) fn keepalive(&mut self) {
        let Some(interval) = self.limits.keepalive_interval else {
            return;
        };
        let silent_until = self.received_at.saturating_add(interval);
        if silent_until > self.now {
            return self.timers.set(Timer::Keepalive, silent_until);
        }
        if self.streams.len() == 0 && !self.limits.keepalive_without_streams {
            let later = self.now.saturating_add(interval);
            return self.timers.set(Timer::Keepalive, later);
        }
        ping::write(false, KEEPALIVE, &mut self.urgent);
        self.pings.keepalive_sent = Some(self.now);
        let due = self.now.saturating_add(self.limits.keepalive_timeout);
        self.timers.set(Timer::KeepaliveAnswer, due);
    }

    /// Any byte is a sign of life. The answer itself may come within the millisecond.
    pub(super) fn keepalive_answer_due(&mut self) -> Result<(), ConnectionError> {
        let answered = self
            .pings
            .keepalive_sent
            .is_none_or(|sent| self.received_at > sent);
        if answered {
            self.keepalive();
            return Ok(());
        }
        self.counters.keepalive_timeouts += 1;
        Err(ConnectionError::new(
            Reason::NO_ERROR,
            ErrorKind::KeepaliveTimeout,
            "keepalive PING was not answered",
        ))
    }
}
