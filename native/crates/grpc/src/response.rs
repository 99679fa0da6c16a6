//! The header fields of answers (PROTOCOL-HTTP2, "Responses"), in the order in which they are sent.

use crate::content_type;
use crate::encoding::{ENCODINGS, Encoding};
use crate::metadata::Wire;
use crate::status::Code;

/// One header field to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Lower case.
    pub name: &'a [u8],
    /// As it stands on the wire.
    pub value: &'a [u8],
    /// The same name and value will be sent again and again, so a header compression table may
    /// keep them. Never set for what the application gave, which may be secret.
    pub repeats: bool,
}

/// `:status` and `content-type`.
pub(crate) fn head(http_status: &'static [u8]) -> [Field<'static>; 2] {
    [
        Field {
            name: b":status",
            value: http_status,
            repeats: true,
        },
        Field {
            name: b"content-type",
            value: content_type::GRPC,
            repeats: true,
        },
    ]
}

/// Response headers: they precede the first message. `encoding` is how messages flagged as
/// compressed are packed; `lists_encodings`: the client is told which ones the server takes.
pub fn headers(
    encoding: Encoding,
    lists_encodings: bool,
    metadata: Wire<'_>,
) -> impl Iterator<Item = Field<'_>> {
    let encoding = (encoding != Encoding::Identity).then(|| Field {
        name: b"grpc-encoding",
        value: encoding.name(),
        repeats: true,
    });
    let listed = lists_encodings.then_some(Field {
        name: b"grpc-accept-encoding",
        value: ENCODINGS,
        repeats: true,
    });
    head(b"200")
        .into_iter()
        .chain(encoding)
        .chain(listed)
        .chain(custom(metadata))
}

/// Trailers: they end the stream. `message` is percent-encoded ([`crate::message::encode`]); an
/// empty one is left out.
pub fn trailers<'a>(
    code: Code,
    message: &'a [u8],
    metadata: Wire<'a>,
) -> impl Iterator<Item = Field<'a>> {
    status(code, message).chain(custom(metadata))
}

/// Response headers and trailers in one block that ends the stream: the answer of a call that
/// ends before its first message. `message` as for [`trailers`].
pub fn trailers_only<'a>(
    code: Code,
    message: &'a [u8],
    metadata: Wire<'a>,
) -> impl Iterator<Item = Field<'a>> {
    head(b"200")
        .into_iter()
        .chain(status(code, message))
        .chain(custom(metadata))
}

fn status<'a>(code: Code, message: &'a [u8]) -> impl Iterator<Item = Field<'a>> {
    let status = Field {
        name: b"grpc-status",
        value: code.as_bytes(),
        repeats: true,
    };
    let message = (!message.is_empty()).then_some(Field {
        name: b"grpc-message",
        value: message,
        repeats: false,
    });
    std::iter::once(status).chain(message)
}

fn custom(metadata: Wire<'_>) -> impl Iterator<Item = Field<'_>> {
    metadata.map(|(name, value)| Field {
        name,
        value,
        repeats: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::encode_wire;

    fn lines<'a>(fields: impl Iterator<Item = Field<'a>>) -> Vec<String> {
        fields
            .map(|field| {
                format!(
                    "{}: {}",
                    String::from_utf8_lossy(field.name),
                    String::from_utf8_lossy(field.value)
                )
            })
            .collect()
    }

    /// One entry: `x-bin` with the bytes ab ab ab.
    const BLOCK: &[u8] = b"\x01\0\0\0\x05\0\0\0\x03\0\0\0x-bin\xab\xab\xab";

    #[test]
    fn a_plain_answer_is_four_fields_in_all() {
        assert_eq!(
            lines(headers(Encoding::Identity, false, Wire::NONE)),
            [":status: 200", "content-type: application/grpc"]
        );
        assert_eq!(
            lines(headers(Encoding::Gzip, true, Wire::NONE))[2..],
            [
                "grpc-encoding: gzip",
                "grpc-accept-encoding: identity,deflate,gzip"
            ]
        );
        assert_eq!(
            lines(trailers(Code::Ok, b"", Wire::NONE)),
            ["grpc-status: 0"]
        );
    }

    #[test]
    fn trailers_only_holds_everything() {
        let mut scratch = Vec::new();
        let metadata = encode_wire(BLOCK, &mut scratch).unwrap();
        assert_eq!(
            lines(trailers_only(Code::NotFound, b"no %25", metadata)),
            [
                ":status: 200",
                "content-type: application/grpc",
                "grpc-status: 5",
                "grpc-message: no %25",
                "x-bin: q6ur",
            ]
        );
    }

    #[test]
    fn what_the_application_gave_is_never_kept_in_a_table() {
        let mut scratch = Vec::new();
        let metadata = encode_wire(BLOCK, &mut scratch).unwrap();
        let kept: Vec<_> = trailers_only(Code::Ok, b"text", metadata)
            .filter(|field| field.repeats)
            .map(|field| field.name)
            .collect();
        assert_eq!(kept, [&b":status"[..], b"content-type", b"grpc-status"]);
    }
}
