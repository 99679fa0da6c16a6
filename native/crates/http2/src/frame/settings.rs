//! SETTINGS (RFC 9113 section 6.5).

use super::{Head, flag, kind};

/// Bytes of one entry.
pub(crate) const ENTRY_LENGTH: usize = 6;

pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
pub(crate) const ENABLE_PUSH: u16 = 2;
pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
pub(crate) const MAX_FRAME_SIZE: u16 = 5;
pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 6;

pub(crate) fn entries(payload: &[u8]) -> impl Iterator<Item = (u16, u32)> {
    payload.chunks_exact(ENTRY_LENGTH).map(|entry| {
        (
            u16::from_be_bytes([entry[0], entry[1]]),
            super::read_u32(&entry[2..]),
        )
    })
}

pub(crate) fn write(entries: &[(u16, u32)], out: &mut Vec<u8>) {
    let length = entries.len() * ENTRY_LENGTH;
    out.extend_from_slice(&Head::new(length, kind::SETTINGS, 0, 0).to_bytes());
    for (identifier, value) in entries {
        out.extend_from_slice(&identifier.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub(crate) fn write_acknowledgement(out: &mut Vec<u8>) {
    out.extend_from_slice(&Head::new(0, kind::SETTINGS, flag::ACK, 0).to_bytes());
}
