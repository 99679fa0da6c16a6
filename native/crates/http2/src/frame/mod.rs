//! Frames as bytes (RFC 9113 sections 4.1 and 6): reading and writing, no rules about when.

pub(crate) mod go_away;
pub(crate) mod head;
pub(crate) mod headers;
pub(crate) mod ping;
pub(crate) mod priority;
pub(crate) mod rst_stream;
pub(crate) mod settings;
pub(crate) mod window_update;

pub(crate) use head::{Head, flag, kind};

#[inline]
pub(crate) fn read_u32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// A 31-bit number behind a reserved bit, which is ignored.
#[inline]
pub(crate) fn read_u31(bytes: &[u8]) -> u32 {
    read_u32(bytes) & 0x7fff_ffff
}
