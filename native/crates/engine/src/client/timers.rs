//! A client's timers are due at their own time, for calls wait for what they end. (A server looks at
//! its connections twice a second: it may have very many, and nobody waits for theirs.)

use crate::{Engine, connection::State};

impl Engine {
    /// Has the next look at the connections not come later than this one's next timer.
    #[inline]
    pub(crate) fn watch_link(&mut self, index: u32) {
        if let Some(due) = self.link_due(index) {
            self.next_sweep = self.next_sweep.min(due);
        }
    }

    /// The same for all of them, after a look.
    pub(crate) fn watch_links(&mut self) {
        for index in self.connections.indices() {
            self.watch_link(index);
        }
    }

    /// When a connection has a timer to run; never a time that has passed, for what was due has been
    /// looked at.
    fn link_due(&self, index: u32) -> Option<u64> {
        let connection = self.connections.get(index)?;
        let due = match connection.state {
            State::Connecting => connection.link.as_ref()?.deadline,
            State::Open => {
                let handshake = connection.tls.as_ref().and_then(|tls| tls.handshake_due());
                let http2 = connection.http2.next_timeout();
                http2.into_iter().chain(handshake).min()?
            }
            State::Flushing | State::Lingering | State::Closing => return None,
        };
        Some(due.max(self.now + 1))
    }
}
