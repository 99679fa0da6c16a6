//! The end of a connection that has said everything: FIN at once, and then what still comes is dropped
//! until the peer ends it too (RFC 9112, section 9.6, says why: closing a socket while the peer sends
//! resets the connection, and what the peer has not read by then may be lost).

use crate::{
    Engine,
    connection::{Connection, State},
};

/// How long a peer may take nothing and say nothing.
const SILENCE_MS: u64 = 5_000;
/// How long it may take nothing, whatever it says.
const UNTAKEN_MS: u64 = 30_000;
/// How long a peer that broke the rules has for reading what they are.
const MOMENT_MS: u64 = 500;

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
    pub(crate) manner: Manner,
    /// When FIN was sent; 0 before.
    since: u64,
    heard_at: u64,
    taken_at: u64,
    taken: Option<u64>,
}

impl Linger {
    /// Whether FIN was sent: nothing may follow it.
    pub(crate) fn has_begun(&self) -> bool {
        self.since > 0
    }
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
        let now = self.now.max(1);
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let socket = connection.socket;
        if connection.linger.manner == Manner::Never {
            connection.state = State::Closing;
            self.driver.close(socket);
            return;
        }
        connection.linger.since = now;
        connection.linger.heard_at = now;
        connection.linger.taken_at = now;
        self.driver.finish_sending(socket);
    }

    /// The peer of a connection that ends has said something.
    pub(crate) fn heard(&mut self, index: u32) {
        let now = self.now;
        if let Some(connection) = self.connections.get_mut(index) {
            connection.linger.heard_at = now;
        }
    }

    /// The peer has ended its side. Returns whether there is still something to be sent to it; then the
    /// connection is closed behind that.
    pub(crate) fn is_still_sending(&mut self, index: u32) -> bool {
        let Some(connection) = self.connections.get_mut(index) else {
            return false;
        };
        let sending = connection.state == State::Flushing && !connection.linger.has_begun();
        if sending {
            connection.linger.manner = Manner::Never;
        }
        sending
    }

    /// Closes a connection that has lingered for long enough; tells whether this one lingers.
    pub(crate) fn sweep_lingering(&mut self, index: u32) -> bool {
        let now = self.now;
        let Some(connection) = self
            .connections
            .get_mut(index)
            .filter(|connection| connection.linger.has_begun())
        else {
            return false;
        };
        let linger = &mut connection.linger;
        let over = if linger.manner == Manner::Moment {
            now - linger.since > MOMENT_MS
        } else {
            let taken = self.driver.progress(connection.socket);
            if taken != linger.taken {
                linger.taken = taken;
                linger.taken_at = now;
            }
            now - linger.heard_at.max(linger.taken_at) > SILENCE_MS
                || now - linger.taken_at > UNTAKEN_MS
        };
        if over {
            self.close_connection(index, false);
        }
        true
    }
}
