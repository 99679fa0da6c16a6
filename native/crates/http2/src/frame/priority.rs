//! PRIORITY (RFC 9113 section 6.3): deprecated, and ignored but for its form.

/// Bytes of the payload, and of the same fields in HEADERS.
pub(crate) const LENGTH: usize = 5;

#[inline]
pub(crate) fn dependency(payload: &[u8]) -> u32 {
    super::read_u31(payload)
}
