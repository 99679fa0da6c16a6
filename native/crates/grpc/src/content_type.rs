//! The `content-type` field (PROTOCOL-HTTP2, "Content-Type").

/// The value a server answers with and a client sends.
pub const GRPC: &[u8] = b"application/grpc";

/// What a request's `content-type` says of its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentType {
    /// `application/grpc` or `application/grpc+proto`, with or without parameters.
    Proto,
    /// `application/grpc+json`.
    Json,
    /// `application/grpc+` and another name.
    Other,
}

/// Reads a content type; `None` if it is not gRPC's (the answer is HTTP 415). Type and subtype are
/// compared without regard to case (RFC 9110, section 8.3.1).
#[inline]
pub fn parse(value: &[u8]) -> Option<ContentType> {
    if value == GRPC {
        return Some(ContentType::Proto);
    }
    let (head, tail) = value.split_at_checked(GRPC.len())?;
    if !head.eq_ignore_ascii_case(GRPC) {
        return None;
    }
    match tail.first() {
        None | Some(b';' | b' ' | b'\t') => Some(ContentType::Proto),
        Some(b'+') => {
            let name = tail[1..]
                .split(|byte| matches!(byte, b';' | b' ' | b'\t'))
                .next()
                .unwrap_or_default();
            if name.eq_ignore_ascii_case(b"proto") {
                Some(ContentType::Proto)
            } else if name.eq_ignore_ascii_case(b"json") {
                Some(ContentType::Json)
            } else {
                Some(ContentType::Other)
            }
        }
        // application/grpc-web and the like are other protocols.
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_grpc_from_the_rest() {
        let cases = [
            ("application/grpc", Some(ContentType::Proto)),
            ("application/grpc+proto", Some(ContentType::Proto)),
            (
                "Application/gRPC+Proto; charset=x",
                Some(ContentType::Proto),
            ),
            ("application/grpc;x=y", Some(ContentType::Proto)),
            ("application/grpc+json", Some(ContentType::Json)),
            ("application/grpc+thrift", Some(ContentType::Other)),
            ("application/grpc+", Some(ContentType::Other)),
            ("application/grpc-web", None),
            ("application/grpcx", None),
            ("application/json", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
    }
}
