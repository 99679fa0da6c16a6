//! GOAWAY in both directions (RFC 9113 section 6.8), and the end by an error.

use super::{Connection, Phase, Role};
use crate::error::{ConnectionError, Initiator, Reason};
use crate::event::Event;
use crate::flow;
use crate::frame::go_away;
use crate::stream::state::Cause;

/// Bytes of a peer's debug data that are kept.
const DEBUG_KEPT: usize = 128;

/// The identifier in a GOAWAY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GoAwayLast {
    /// 2^31-1: the first step of a graceful end; streams are still accepted.
    Max,
    /// The highest stream accepted; later ones are ignored.
    Real,
}

#[derive(Debug, Default)]
pub(super) struct GoAway {
    sent: bool,
    /// Streams of the peer above this are ignored.
    pub(super) accepted: Option<u32>,
    received: Option<u32>,
    /// The debug data of the peer's last one, as far as it is kept.
    debug: Vec<u8>,
    /// Slot from which on streams the peer will not look at are still to be reported.
    sweep: Option<usize>,
}

impl GoAway {
    pub(super) fn is_going(&self) -> bool {
        self.sent || self.received.is_some()
    }
}

impl Connection {
    /// Queues a GOAWAY; a server's waits for the client's preface, for SETTINGS come first. `debug`
    /// is for the peer's log.
    pub fn send_go_away(&mut self, last: GoAwayLast, reason: Reason, debug: &[u8]) {
        self.go_away.sent = true;
        let last_stream = match (last, self.go_away.accepted) {
            // A later GOAWAY must not raise it.
            (_, Some(accepted)) => accepted,
            (GoAwayLast::Max, None) => flow::MAXIMUM as u32,
            (GoAwayLast::Real, None) => {
                let accepted = self.identifiers.highest_remote;
                self.go_away.accepted = Some(accepted);
                accepted
            }
        };
        let out = match self.phase {
            Phase::Preface => &mut self.held,
            _ => self.ordered(),
        };
        go_away::write(last_stream, reason, debug, out);
    }

    /// What the peer's last GOAWAY said to the log, its first 128 bytes; empty if nothing.
    pub fn go_away_debug(&self) -> &[u8] {
        &self.go_away.debug
    }

    pub(super) fn receive_go_away(&mut self, payload: &[u8]) -> Event {
        let (last, reason) = go_away::parse(payload);
        let last_stream = self
            .go_away
            .received
            .map_or(last, |before| before.min(last));
        self.go_away.received = Some(last_stream);
        let debug = go_away::debug(payload);
        self.go_away.debug = debug[..debug.len().min(DEBUG_KEPT)].to_vec();
        if self.role == Role::Client {
            self.go_away.sweep = Some(0);
        }
        Event::GoAway {
            last_stream,
            reason,
        }
    }

    /// The next stream of ours that the peer's GOAWAY leaves out.
    pub(super) fn sweep(&mut self) -> Option<Event> {
        let start = self.go_away.sweep?;
        let last = self.go_away.received?;
        let next = self
            .streams
            .iter_from(start)
            .find(|(_, stream)| stream.id > last && !stream.state.is_closed())
            .map(|(key, _)| key);
        let Some(key) = next else {
            self.go_away.sweep = None;
            return None;
        };
        self.go_away.sweep = Some(key.index as usize + 1);
        if let Some(stream) = self.streams.get_mut(key) {
            stream.state.reset(Cause::ResetByUs);
            self.identifiers.highest_reset = self.identifiers.highest_reset.max(stream.id);
        }
        Some(Event::Reset {
            stream: key,
            reason: Reason::REFUSED_STREAM,
            initiator: Initiator::Library,
        })
    }

    /// Ends the connection: nothing is received from here on.
    #[cold]
    pub(super) fn fail(&mut self, error: ConnectionError) -> ConnectionError {
        self.failed = Some(error);
        match error.reason {
            Reason::COMPRESSION_ERROR => self.counters.compression_errors += 1,
            Reason::FLOW_CONTROL_ERROR => self.counters.flow_control_errors += 1,
            _ => {}
        }
        self.counters.connection_errors += 1;
        // Before the preface there is no HTTP/2 to end.
        if !matches!(self.phase, Phase::Preface) {
            let accepted = self.go_away.accepted;
            let last = accepted.unwrap_or(self.identifiers.highest_remote);
            let debug = error.message.as_bytes();
            go_away::write(last, error.reason, debug, self.ordered());
        }
        self.timers = crate::timer::Timers::new();
        error
    }
}
