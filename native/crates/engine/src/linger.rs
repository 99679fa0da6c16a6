//! The end of a connection that has said everything: FIN at once, and then what still comes is dropped
//! until the peer ends it too (RFC 9112, section 9.6, says why: closing a socket while the peer sends
//! resets the connection, and what the peer has not read by then may be lost).
//!
//! Time is counted in sweeps, so that a thread that was busy hears its peers out before it judges them.

use crate::{
    Engine,
    connection::{Connection, State},
    notice::Severity,
};

/// Sweeps in which a peer may take nothing and say nothing: 3 s.
const QUIET_SWEEPS: u32 = 6;
/// Sweeps in all: 5 minutes.
const PATIENT_SWEEPS: u32 = 600;
/// Sweeps that a peer that broke the rules has for reading what they are.
const MOMENT_SWEEPS: u32 = 1;

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It is closed at once.
    #[default]
    Never,
    /// For the peer to read why it ends.
    Moment,
    /// For the peer to read what it asked for.
    Patient,
}

#[derive(Default)]
pub(crate) struct Linger {
    manner: Manner,
    sweeps: u32,
    /// Sweeps since the peer took or said something.
    quiet: u32,
    taken: Option<u64>,
}

impl Connection {
    /// From here on it sends what is left, and ends.
    pub(crate) fn finish(&mut self, manner: Manner) {
        self.linger.manner = manner;
        self.state = State::Flushing;
    }
}

impl Engine {
    /// Everything is sent: the connection is closed, or lingers first.
    pub(crate) fn end_output(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let socket = connection.socket;
        if connection.linger.manner == Manner::Never {
            connection.state = State::Closing;
            self.driver.close(socket);
            return;
        }
        connection.state = State::Lingering;
        self.driver.finish_sending(socket);
        connection.linger.taken = self.driver.progress(socket);
    }

    /// The peer of a connection that ends has said something.
    pub(crate) fn heard(&mut self, index: u32) {
        if let Some(connection) = self.connections.get_mut(index) {
            connection.linger.quiet = 0;
        }
    }

    /// The peer has ended its side. If something is still to be sent to it, the connection ends behind
    /// that; tells whether it is so.
    pub(crate) fn ends_behind_output(&mut self, index: u32) -> bool {
        let Some(connection) = self.connections.get_mut(index) else {
            return false;
        };
        let flushing = connection.state == State::Flushing;
        if flushing {
            connection.linger.manner = Manner::Never;
        }
        flushing
    }

    /// Closes a lingering connection whose time is over.
    pub(crate) fn sweep_lingering(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let linger = &mut connection.linger;
        linger.sweeps += 1;
        if linger.manner == Manner::Moment {
            if linger.sweeps > MOMENT_SWEEPS {
                self.close_connection(index, false);
            }
            return;
        }
        linger.quiet += 1;
        let taken = self.driver.progress(connection.socket);
        if taken != linger.taken {
            linger.taken = taken;
            linger.quiet = 0;
        }
        if linger.quiet > QUIET_SWEEPS || linger.sweeps > PATIENT_SWEEPS {
            self.totals.lingers_cut += 1;
            let peer = Some(connection.peer_name());
            let message =
                "the connection has ended, and the peer did not end it; it was closed".to_owned();
            self.notices
                .push(Severity::Debug, "linger_timeout", peer, message);
            self.close_connection(index, false);
        }
    }
}
