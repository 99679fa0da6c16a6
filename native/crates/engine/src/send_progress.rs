//! Peers that take nothing of what was given to the kernel for them: their connections are cut.
//!
//! A send ends when the kernel has all of it, which may be hundreds of kilobytes, and a slow peer may
//! need long for those. So the driver is asked what the peer has taken, but only of sends that have
//! lasted for a part of the time; sending costs nothing more.

use crate::{Engine, connection::State, layout::CONTROL_OUTBOUND_FULL, notice::Severity};

/// Looks at a send in the time that it has.
const LOOKS: u64 = 4;

/// What was seen of a connection's sends.
#[derive(Default)]
pub(crate) struct SendProgress {
    looked_at: u64,
    /// When it was seen that the peer had taken more.
    changed_at: u64,
    taken: Option<u64>,
}

impl Engine {
    /// Cuts a connection of whose send the peer has taken nothing for too long, or, while the memory for
    /// unsent bytes is full, not all of it: those who read a byte now and then must not keep it. Whether
    /// the connection was cut.
    pub(crate) fn end_stalled_send(&mut self, index: u32) -> bool {
        let timeout = self.options.send_progress_timeout_ms;
        let full = self.control.get(CONTROL_OUTBOUND_FULL) == 1;
        let now = self.now;
        let Some(connection) = self
            .connections
            .get_mut(index)
            .filter(|connection| connection.sending && connection.state != State::Closing)
        else {
            return false;
        };
        let since = connection.sending_since;
        let progress = &mut connection.send_progress;
        let mut what =
            "takes too long for what was sent, while the memory for unsent bytes is full";
        if !full || now - since <= timeout {
            what = "has taken nothing of what was sent";
            if now - progress.looked_at.max(since) < (timeout / LOOKS).max(1) {
                return false;
            }
            progress.looked_at = now;
            let taken = self.driver.progress(connection.socket);
            if taken != progress.taken {
                progress.taken = taken;
                progress.changed_at = now;
            }
            if now - progress.changed_at.max(since) <= timeout {
                return false;
            }
        }
        self.totals.send_timeouts += 1;
        let peer = Some(connection.peer_name());
        let message = format!("the peer {what}, for {timeout} ms; the connection was cut");
        self.blame(index, &message);
        self.notices
            .push(Severity::Warn, "send_timeout", peer, message);
        self.close_connection(index, true);
        true
    }
}
