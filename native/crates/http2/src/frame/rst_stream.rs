//! RST_STREAM (RFC 9113 section 6.4).

use super::{Head, kind};
use crate::error::Reason;

pub(crate) const LENGTH: usize = 4;

pub(crate) fn parse(payload: &[u8]) -> Reason {
    Reason(super::read_u32(payload))
}

pub(crate) fn write(stream: u32, reason: Reason, out: &mut Vec<u8>) {
    out.extend_from_slice(&Head::new(LENGTH, kind::RST_STREAM, 0, stream).to_bytes());
    out.extend_from_slice(&reason.0.to_be_bytes());
}
