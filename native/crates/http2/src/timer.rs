//! The timers of a connection, each named by what it is time for.

use crate::Millis;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The peer's preface and first SETTINGS are due.
    Handshake,
    /// The acknowledgement of our SETTINGS is due.
    SettingsAcknowledgement,
    /// An open header block has to end.
    HeaderBlock,
    /// Time to ask a silent peer for a sign of life.
    Keepalive,
    /// That sign is due.
    KeepaliveAnswer,
    /// No stream was open for long enough.
    Idle,
    /// The connection is old enough.
    Age,
    /// And its last streams have had their time.
    AgeGrace,
}

const COUNT: usize = 8;
const ALL: [Timer; COUNT] = [
    Timer::Handshake,
    Timer::SettingsAcknowledgement,
    Timer::HeaderBlock,
    Timer::Keepalive,
    Timer::KeepaliveAnswer,
    Timer::Idle,
    Timer::Age,
    Timer::AgeGrace,
];
const OFF: Millis = Millis::MAX;

#[derive(Debug)]
pub(crate) struct Timers([Millis; COUNT]);

impl Timers {
    pub(crate) fn new() -> Self {
        Self([OFF; COUNT])
    }

    pub(crate) fn set(&mut self, timer: Timer, at: Millis) {
        self.0[timer as usize] = at;
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.0[timer as usize] = OFF;
    }

    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.0[timer as usize] != OFF
    }

    pub(crate) fn next(&self) -> Option<Millis> {
        self.0.iter().copied().min().filter(|&at| at != OFF)
    }

    /// Stops and returns one that is due.
    pub(crate) fn take_due(&mut self, now: Millis) -> Option<Timer> {
        let timer = ALL.into_iter().find(|&t| self.0[t as usize] <= now)?;
        self.stop(timer);
        Some(timer)
    }
}
