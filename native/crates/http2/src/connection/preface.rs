//! The client's connection preface (RFC 9113 section 3.4), and what else may come in its place.

use super::Connection;
use crate::error::{ConnectionError, ErrorKind, Reason};

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The start of an HTTP/1.x request line.
const METHODS: [&[u8]; 9] = [
    b"GET ",
    b"POST ",
    b"PUT ",
    b"HEAD ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"CONNECT ",
    b"TRACE ",
];

/// A method and a space are no longer than this, and neither is the memory of bytes that may still
/// become one.
const UNDECIDED: usize = 8;

impl Connection {
    /// Consumes bytes of the preface; `Ok(true)` once it is complete. `head` keeps what has been
    /// seen of it, so that the verdict does not depend on where the input was split.
    pub(super) fn receive_preface(
        &mut self,
        input: &[u8],
        at: &mut usize,
    ) -> Result<bool, ConnectionError> {
        while let Some(&byte) = input.get(*at) {
            *at += 1;
            let seen = self.head_length;
            self.head_length += 1;
            if seen < UNDECIDED {
                self.head[seen] = byte;
            }
            let start = &self.head[..self.head_length.min(UNDECIDED)];
            if byte == PREFACE[seen] && PREFACE.starts_with(start) {
                if self.head_length == PREFACE.len() {
                    self.head_length = 0;
                    return Ok(true);
                }
                continue;
            }
            if self.head_length <= UNDECIDED {
                if METHODS.contains(&start) {
                    return Err(ConnectionError::new(
                        Reason::HTTP_1_1_REQUIRED,
                        ErrorKind::Http1,
                        "the peer speaks HTTP/1.x",
                    ));
                }
                if METHODS.iter().any(|method| method.starts_with(start)) {
                    continue;
                }
            }
            return Err(ConnectionError::new(
                Reason::PROTOCOL_ERROR,
                ErrorKind::NotHttp2,
                "the peer does not speak HTTP/2",
            ));
        }
        Ok(false)
    }
}
