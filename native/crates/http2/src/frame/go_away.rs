//! GOAWAY (RFC 9113 section 6.8).

use super::{Head, kind};
use crate::error::Reason;

/// Bytes in front of the debug data.
pub(crate) const MINIMUM_LENGTH: usize = 8;

/// The last stream and the reason.
pub(crate) fn parse(payload: &[u8]) -> (u32, Reason) {
    (
        super::read_u31(payload),
        Reason(super::read_u32(&payload[4..])),
    )
}

/// What the peer says to our log.
pub(crate) fn debug(payload: &[u8]) -> &[u8] {
    &payload[MINIMUM_LENGTH..]
}

pub(crate) fn write(last_stream: u32, reason: Reason, debug: &[u8], out: &mut Vec<u8>) {
    let length = MINIMUM_LENGTH + debug.len();
    out.extend_from_slice(&Head::new(length, kind::GO_AWAY, 0, 0).to_bytes());
    out.extend_from_slice(&last_stream.to_be_bytes());
    out.extend_from_slice(&reason.0.to_be_bytes());
    out.extend_from_slice(debug);
}
