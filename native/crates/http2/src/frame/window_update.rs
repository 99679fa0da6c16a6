//! WINDOW_UPDATE (RFC 9113 section 6.9).

use super::{Head, kind};

pub(crate) const LENGTH: usize = 4;

pub(crate) fn parse(payload: &[u8]) -> u32 {
    super::read_u31(payload)
}

pub(crate) fn write(stream: u32, increment: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&Head::new(LENGTH, kind::WINDOW_UPDATE, 0, stream).to_bytes());
    out.extend_from_slice(&increment.to_be_bytes());
}
