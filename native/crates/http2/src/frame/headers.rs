//! HEADERS (RFC 9113 section 6.2): what surrounds the fragment.

use super::priority;
use super::{Head, flag};

/// Where the fragment lies in the payload, and whether the stream is said to depend on itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) depends_on_itself: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartsError {
    /// Too short for the fields that the flags promise.
    TooShort,
    /// More padding than payload.
    Padding,
}

#[inline]
pub(crate) fn parts(head: &Head, payload: &[u8]) -> Result<Parts, PartsError> {
    let mut start = 0;
    let mut end = payload.len();
    let mut depends_on_itself = false;
    if head.flags & (flag::PADDED | flag::PRIORITY) != 0 {
        let mut padding = 0;
        if head.has(flag::PADDED) {
            padding = usize::from(*payload.first().ok_or(PartsError::TooShort)?);
            start = 1;
        }
        if head.has(flag::PRIORITY) {
            let field = payload
                .get(start..start + priority::LENGTH)
                .ok_or(PartsError::TooShort)?;
            depends_on_itself = priority::dependency(field) == head.stream;
            start += priority::LENGTH;
        }
        end = end
            .checked_sub(padding)
            .filter(|&end| end >= start)
            .ok_or(PartsError::Padding)?;
    }
    Ok(Parts {
        start,
        end,
        depends_on_itself,
    })
}
