//! Tables between gRPC's codes and HTTP's.

use crate::status::Code;

/// The code of a response that has an HTTP status and no `grpc-status`
/// (http-grpc-status-mapping.md). For clients only: a `grpc-status` that is present wins, and
/// informational (1xx) header blocks are skipped before this is asked.
pub fn code_of_http_status(status: u16) -> Code {
    match status {
        400 | 431 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

/// The code of a stream that its peer reset with this HTTP/2 error code (PROTOCOL-HTTP2,
/// "Errors"; the numbers are of RFC 9113, section 7).
///
/// A client asks its own deadline first: past it, CANCEL means [`Code::DeadlineExceeded`].
pub fn code_of_reset(reason: u32) -> Code {
    match reason {
        // NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT
        0x0..=0x4 => Code::Internal,
        // FRAME_SIZE_ERROR, COMPRESSION_ERROR, CONNECT_ERROR
        0x6 | 0x9 | 0xa => Code::Internal,
        // REFUSED_STREAM: the call was not looked at, so it may be made again
        0x7 => Code::Unavailable,
        // CANCEL
        0x8 => Code::Cancelled,
        // ENHANCE_YOUR_CALM
        0xb => Code::ResourceExhausted,
        // INADEQUATE_SECURITY
        0xc => Code::PermissionDenied,
        // STREAM_CLOSED (0x5) has no mapping, nor have numbers to come
        _ => Code::Unknown,
    }
}

/// The HTTP/2 error code with which a call's stream is reset so that the peer sees this code, as
/// far as one exists: CANCEL for a call given up, REFUSED_STREAM for one never looked at.
pub fn reset_of_code(code: Code) -> u32 {
    match code {
        Code::Ok => 0x0,
        Code::Cancelled | Code::DeadlineExceeded => 0x8,
        Code::Unavailable => 0x7,
        Code::ResourceExhausted => 0xb,
        Code::PermissionDenied => 0xc,
        _ => 0x2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_statuses_follow_the_document() {
        let cases = [
            (200, Code::Unknown),
            (302, Code::Unknown),
            (400, Code::Internal),
            (401, Code::Unauthenticated),
            (403, Code::PermissionDenied),
            (404, Code::Unimplemented),
            (418, Code::Unknown),
            (429, Code::Unavailable),
            (431, Code::Internal),
            (500, Code::Unknown),
            (502, Code::Unavailable),
            (503, Code::Unavailable),
            (504, Code::Unavailable),
        ];
        for (status, code) in cases {
            assert_eq!(code_of_http_status(status), code, "{status}");
        }
    }

    #[test]
    fn resets_that_have_a_code_come_back_as_it() {
        for code in [
            Code::Cancelled,
            Code::Unavailable,
            Code::ResourceExhausted,
            Code::PermissionDenied,
            Code::Internal,
        ] {
            assert_eq!(code_of_reset(reset_of_code(code)), code);
        }
        assert_eq!(code_of_reset(0x5), Code::Unknown);
        assert_eq!(code_of_reset(0xd), Code::Unknown);
        assert_eq!(code_of_reset(u32::MAX), Code::Unknown);
    }
}
