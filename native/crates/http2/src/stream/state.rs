//! The states of a stream (RFC 9113 section 5.1) from its first HEADERS frame on.
//!
//! ```text
//!                    HEADERS sent or received
//!                               |
//!                           +--------+
//!              send_end     |        |     receive_end
//!             +-------------|  open  |--------------+
//!             v             |        |              v
//!      +-------------+      +--------+      +--------------+
//!      | half closed |          |           | half closed  |
//!      |   (local)   |          |           |   (remote)   |
//!      +-------------+          |           +--------------+
//!             |                 |                   |
//!             | receive_end     | *_reset           | send_end
//!             | *_reset         |                   | *_reset
//!             |                 v                   |
//!             |             +--------+              |
//!             +------------>| closed |<-------------+
//!                           +--------+
//! ```
//!
//! Idle streams are those above the highest identifier used; the reserved states do not occur,
//! because nobody may push. A closed stream stays in its slot until the caller releases it.

/// Why a stream is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Both sides ended it.
    Ended,
    /// The peer reset it.
    ResetByPeer,
    /// We reset it, or took a GOAWAY as its end: what the peer sent before it knew is ignored.
    ResetByUs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Inner {
    #[default]
    Open,
    HalfClosedLocal,
    HalfClosedRemote,
    Closed(Cause),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State(Inner);

impl State {
    /// We may send HEADERS and DATA.
    #[inline]
    pub(crate) fn is_sending(self) -> bool {
        matches!(self.0, Inner::Open | Inner::HalfClosedRemote)
    }

    /// The peer may send HEADERS and DATA.
    #[inline]
    pub(crate) fn is_receiving(self) -> bool {
        matches!(self.0, Inner::Open | Inner::HalfClosedLocal)
    }

    #[inline]
    pub(crate) fn is_closed(self) -> bool {
        matches!(self.0, Inner::Closed(_))
    }

    #[inline]
    pub(crate) fn is_reset_by_us(self) -> bool {
        self.0 == Inner::Closed(Cause::ResetByUs)
    }

    /// We sent END_STREAM. True if that finished the stream.
    #[inline]
    pub(crate) fn send_end(&mut self) -> bool {
        self.0 = match self.0 {
            Inner::Open => Inner::HalfClosedLocal,
            Inner::HalfClosedRemote => Inner::Closed(Cause::Ended),
            Inner::HalfClosedLocal | Inner::Closed(_) => return false,
        };
        self.is_closed()
    }

    /// The peer sent END_STREAM. True if that finished the stream.
    #[inline]
    pub(crate) fn receive_end(&mut self) -> bool {
        self.0 = match self.0 {
            Inner::Open => Inner::HalfClosedRemote,
            Inner::HalfClosedLocal => Inner::Closed(Cause::Ended),
            Inner::HalfClosedRemote | Inner::Closed(_) => return false,
        };
        self.is_closed()
    }

    /// False: it was closed already, and stays as it was.
    pub(crate) fn reset(&mut self, cause: Cause) -> bool {
        if self.is_closed() {
            return false;
        }
        self.0 = Inner::Closed(cause);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_orders_of_ending_finish_once() {
        let mut state = State::default();
        assert!(!state.receive_end() && !state.is_receiving() && state.is_sending());
        assert!(!state.receive_end());
        assert!(state.send_end() && state.is_closed() && !state.send_end());
        let mut state = State::default();
        assert!(!state.send_end() && state.is_receiving() && !state.is_sending());
        assert!(state.receive_end() && state.is_closed());
        assert!(!state.reset(Cause::ResetByUs) && !state.is_reset_by_us());
    }

    #[test]
    fn a_reset_closes_both_sides() {
        let mut state = State::default();
        assert!(state.reset(Cause::ResetByUs));
        assert!(state.is_reset_by_us() && !state.is_sending() && !state.is_receiving());
        assert!(!state.reset(Cause::ResetByPeer) && state.is_reset_by_us());
        assert!(!state.send_end() && !state.receive_end());
    }
}
