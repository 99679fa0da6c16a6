//! PING (RFC 9113 section 6.7).

use super::{Head, flag, kind};

pub(crate) const LENGTH: usize = 8;

pub(crate) fn parse(payload: &[u8]) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes.copy_from_slice(payload);
    bytes
}

pub(crate) fn write(acknowledgement: bool, payload: [u8; LENGTH], out: &mut Vec<u8>) {
    let flags = if acknowledgement { flag::ACK } else { 0 };
    out.extend_from_slice(&Head::new(LENGTH, kind::PING, flags, 0).to_bytes());
    out.extend_from_slice(&payload);
}
