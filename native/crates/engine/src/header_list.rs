//! The peer's SETTINGS_MAX_HEADER_LIST_SIZE (RFC 9113, 6.5.2). It is advice: a peer that gets more may
//! do what it likes, down to ending the connection. So what is larger is not sent.

use millrace_grpc::{self as grpc, Code, metadata::Wire};

use crate::{Engine, layout::CAUSE_METADATA, notice::Severity};

/// What each field counts beside its bytes (RFC 9113, 10.5.1).
const FIELD_BYTES: u64 = 32;
/// Instead of a status message that does not fit.
const NO_ROOM: &[u8] = b"the status message is longer than the peer takes";

/// The size of a header list, as the setting counts it.
pub(crate) fn size<'a>(fields: impl Iterator<Item = grpc::Field<'a>>) -> u64 {
    fields
        .map(|field| field.name.len() as u64 + field.value.len() as u64 + FIELD_BYTES)
        .sum()
}

/// The size, if the peer takes less. Most peers say nothing, and nothing is counted then.
#[inline]
pub(crate) fn excess<'a>(fields: impl Iterator<Item = grpc::Field<'a>>, limit: u32) -> Option<u64> {
    if limit == u32::MAX {
        return None;
    }
    Some(size(fields)).filter(|&size| size > u64::from(limit))
}

/// Names what is too large, by how much, and what to do.
pub(crate) fn text(what: &str, size: u64, peer: &str, limit: u32) -> String {
    format!(
        "{what} makes a header list of {size} bytes, and {peer} takes at most {limit} (SETTINGS_MAX_HEADER_LIST_SIZE): send less metadata, or raise the limit there"
    )
}

/// What of a status leaves when its trailers do not fit.
pub(crate) struct Fitting<'a> {
    pub(crate) code: Code,
    /// Percent-encoded.
    pub(crate) message: &'a [u8],
    /// For the log, and for the peer where the status was OK.
    pub(crate) text: String,
}

/// Takes the metadata from trailers that are larger than the peer takes, and, where that is not
/// enough, the message. An OK becomes RESOURCE_EXHAUSTED, for the peer would believe that there was
/// nothing more; an error stays what it is. `encoded` is memory for the message.
pub(crate) fn fit<'a>(
    headers_sent: bool,
    code: Code,
    message: &'a [u8],
    metadata: Wire<'_>,
    peer: &str,
    limit: u32,
    encoded: &'a mut Vec<u8>,
) -> Option<Fitting<'a>> {
    let list = |code, message, metadata| {
        if headers_sent {
            size(grpc::response::trailers(code, message, metadata))
        } else {
            size(grpc::response::trailers_only(code, message, metadata))
        }
    };
    if limit == u32::MAX {
        return None;
    }
    let whole = list(code, message, metadata);
    if whole <= u64::from(limit) {
        return None;
    }
    let text = text("the status with its trailers", whole, peer, limit);
    let (code, message) = match code {
        Code::Ok => {
            encoded.clear();
            grpc::message::encode(text.as_bytes(), encoded);
            (Code::ResourceExhausted, &encoded[..])
        }
        error => (error, message),
    };
    let fits = |message| list(code, message, Wire::NONE) <= u64::from(limit);
    let message = [message, NO_ROOM]
        .into_iter()
        .find(|message| fits(message))
        .unwrap_or_default();
    Some(Fitting {
        code,
        message,
        text,
    })
}

impl Engine {
    /// Ends a call whose response metadata the client does not take.
    pub(crate) fn refuse_headers(&mut self, index: u32, size: u64, limit: u32) {
        let peer = self.peer_of(self.calls[index].connection);
        let text = text("the response metadata", size, "the client", limit);
        self.notices
            .push(Severity::Error, "metadata_too_large", peer, text.clone());
        self.fail_call(index, CAUSE_METADATA, Code::ResourceExhausted, &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(code: Code, message: &[u8], metadata: usize, limit: u32) -> Option<(Code, String)> {
        let mut scratch = Vec::new();
        let mut block = 1_u32.to_le_bytes().to_vec();
        block.extend(1_u32.to_le_bytes());
        block.extend((metadata as u32).to_le_bytes());
        block.extend(b"x");
        block.extend(vec![b'v'; metadata]);
        let metadata = grpc::metadata::encode_wire(&block, &mut scratch).unwrap();
        let mut encoded = Vec::new();
        fit(
            true,
            code,
            message,
            metadata,
            "the client",
            limit,
            &mut encoded,
        )
        .map(|fitting| {
            (
                fitting.code,
                String::from_utf8_lossy(fitting.message).into_owned(),
            )
        })
    }

    #[test]
    fn the_size_is_that_of_the_rfc() {
        let fields = grpc::response::trailers(Code::Ok, b"", Wire::NONE);
        assert_eq!(size(fields), b"grpc-status".len() as u64 + 1 + 32);
    }

    #[test]
    fn trailers_that_do_not_fit_lose_metadata_and_then_the_message() {
        assert_eq!(fitted(Code::NotFound, b"gone", 1_000, u32::MAX), None);
        // 44 for the status, 48 for the message, 133 for the metadata.
        assert_eq!(fitted(Code::NotFound, b"gone", 100, 225), None);
        let gone = || Some((Code::NotFound, "gone".to_owned()));
        assert_eq!(fitted(Code::NotFound, b"gone", 100, 224), gone());
        assert_eq!(fitted(Code::NotFound, b"gone", 100, 92), gone());
        let (code, message) = fitted(Code::Ok, b"", 500, 400).unwrap();
        assert_eq!(code, Code::ResourceExhausted);
        assert!(
            message.contains("577 bytes") && message.contains("400"),
            "{message}"
        );
        let long = vec![b'm'; 300];
        let (code, message) = fitted(Code::NotFound, &long, 10, 200).unwrap();
        assert_eq!((code, message.as_bytes()), (Code::NotFound, NO_ROOM));
        let (code, message) = fitted(Code::NotFound, &long, 10, 10).unwrap();
        assert_eq!((code, message.as_str()), (Code::NotFound, ""));
    }
}
