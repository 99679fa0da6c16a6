//! Where framed bytes go.

/// A sink of bytes that cannot fail: the caller's send buffer.
pub trait Output {
    /// Appends all of `bytes`.
    fn write(&mut self, bytes: &[u8]);
}

impl Output for Vec<u8> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
