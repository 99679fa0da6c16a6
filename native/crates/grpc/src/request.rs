//! What a server reads from the header fields of a request (PROTOCOL-HTTP2, "Requests").

use crate::content_type::{self, ContentType};
use crate::encoding::{Accepted, ENCODINGS, Encoding};
use crate::metadata;
use crate::response::Field;
use crate::status::Code;
use crate::timeout;

/// The head of a call that may be answered. Slices borrow from the fields given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// `:path`. It starts with a slash; whether a method of that name exists is the caller's
    /// question, and [`crate::path::split`] says whether it could.
    pub path: &'a [u8],
    /// `:authority`, else `host`.
    pub authority: Option<&'a [u8]>,
    /// What the messages are.
    pub content_type: ContentType,
    /// `grpc-timeout` in milliseconds; 0 means that the deadline has passed.
    pub timeout_ms: Option<u64>,
    /// The encodings of replies that the client takes.
    pub accepted: Accepted,
    /// How messages flagged as compressed are packed.
    pub encoding: Encoding,
    /// `user-agent`.
    pub user_agent: Option<&'a [u8]>,
    /// Whether `te` was `trailers`. Without it an intermediary may not pass trailers on; the call
    /// is served all the same, as other servers do.
    pub te_trailers: bool,
    /// Whether there is custom metadata ([`metadata::encode_block`] gets it from the same fields).
    pub has_metadata: bool,
}

/// Why a request is answered at once and reaches no handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// `:method` is not POST: HTTP 405.
    MethodNotPost,
    /// `content-type` is absent or not gRPC's: HTTP 415.
    UnsupportedMediaType,
    /// `:path` is absent or does not start with a slash.
    MalformedPath,
    /// `grpc-timeout` cannot be read.
    MalformedTimeout,
    /// A `-bin` field is not base64.
    MalformedMetadata,
    /// `grpc-encoding` names an encoding that is not built in; the answer lists those that are.
    UnsupportedEncoding,
    /// The service or the method does not exist. Never returned by [`Head::read`].
    UnknownMethod,
    /// The header list is over the limit. Never returned by [`Head::read`].
    OversizedHeaders,
    /// The deadline had passed when the request was read. Never returned by [`Head::read`].
    DeadlinePassed,
    /// As many calls as allowed are running. Never returned by [`Head::read`].
    TooManyCalls,
}

impl<'a> Head<'a> {
    /// Classifies a request's fields, pseudo-header fields included, in one pass.
    ///
    /// # Errors
    /// The [`Rejection`] to answer. Where several apply, the first of: method, content type, path,
    /// timeout, metadata, encoding.
    #[inline]
    pub fn read(
        fields: impl IntoIterator<Item = metadata::Entry<'a>>,
    ) -> Result<Head<'a>, Rejection> {
        let mut is_post = false;
        let mut path: &'a [u8] = &[];
        let mut authority = None;
        let mut host = None;
        let mut content_type = None;
        let mut timeout_ms = None;
        let mut accepted = Accepted::default();
        let mut encoding = Some(Encoding::Identity);
        let mut user_agent = None;
        let mut te_trailers = false;
        let mut has_metadata = false;
        let mut timeout_malformed = false;
        let mut metadata_malformed = false;

        for (name, value) in fields {
            // The length alone tells most names apart: one comparison for each field.
            let known = match name.len() {
                2 if name == b"te" => {
                    te_trailers = value == b"trailers";
                    true
                }
                4 if name == b"host" => {
                    host = Some(value);
                    true
                }
                5 if name == b":path" => {
                    path = value;
                    true
                }
                7 if name == b":method" => {
                    is_post = value == b"POST";
                    true
                }
                7 if name == b":scheme" => true,
                10 if name == b":authority" => {
                    authority = Some(value);
                    true
                }
                10 if name == b"user-agent" => {
                    user_agent = Some(value);
                    true
                }
                12 if name == b"content-type" => {
                    content_type = content_type::parse(value);
                    true
                }
                12 if name == b"grpc-timeout" => {
                    timeout_ms = timeout::parse(value);
                    timeout_malformed = timeout_ms.is_none();
                    true
                }
                13 if name == b"grpc-encoding" => {
                    encoding = Encoding::parse(value);
                    true
                }
                20 if name == b"grpc-accept-encoding" => {
                    accepted = Accepted::read(value);
                    true
                }
                _ => false,
            };
            if !known && metadata::is_custom_name(name) {
                has_metadata = true;
                metadata_malformed |=
                    metadata::is_binary_name(name) && !metadata::is_binary_field(value);
            }
        }

        if !is_post {
            return Err(Rejection::MethodNotPost);
        }
        let Some(content_type) = content_type else {
            return Err(Rejection::UnsupportedMediaType);
        };
        if path.first() != Some(&b'/') {
            return Err(Rejection::MalformedPath);
        }
        if timeout_malformed {
            return Err(Rejection::MalformedTimeout);
        }
        if metadata_malformed {
            return Err(Rejection::MalformedMetadata);
        }
        let Some(encoding) = encoding else {
            return Err(Rejection::UnsupportedEncoding);
        };
        Ok(Head {
            path,
            authority: authority.or(host),
            content_type,
            timeout_ms,
            accepted,
            encoding,
            user_agent,
            te_trailers,
            has_metadata,
        })
    }
}

impl Rejection {
    /// The HTTP status: 200, with the code in `grpc-status`, except where the peer does not speak
    /// gRPC.
    pub fn http_status(self) -> &'static [u8] {
        match self {
            Rejection::MethodNotPost => b"405",
            Rejection::UnsupportedMediaType => b"415",
            _ => b"200",
        }
    }

    /// The gRPC code.
    pub fn code(self) -> Code {
        match self {
            Rejection::MethodNotPost
            | Rejection::UnsupportedMediaType
            | Rejection::MalformedTimeout
            | Rejection::MalformedMetadata => Code::Internal,
            Rejection::MalformedPath
            | Rejection::UnsupportedEncoding
            | Rejection::UnknownMethod => Code::Unimplemented,
            Rejection::OversizedHeaders => Code::ResourceExhausted,
            Rejection::DeadlinePassed => Code::DeadlineExceeded,
            Rejection::TooManyCalls => Code::Unavailable,
        }
    }

    /// The message: printable ASCII without `%`, so that it is its own percent-encoding.
    pub fn message(self) -> &'static str {
        match self {
            Rejection::MethodNotPost => "gRPC requests use the method POST",
            Rejection::UnsupportedMediaType => {
                "this port speaks gRPC: content-type must be application/grpc"
            }
            Rejection::MalformedPath => "malformed path: expected /service/method",
            Rejection::MalformedTimeout => {
                "malformed grpc-timeout: expected 1 to 8 digits and one of H M S m u n"
            }
            Rejection::MalformedMetadata => "malformed metadata: a -bin field is not base64",
            Rejection::UnsupportedEncoding => "unsupported grpc-encoding: see grpc-accept-encoding",
            Rejection::UnknownMethod => "unknown service or method",
            Rejection::OversizedHeaders => "request headers are larger than the limit",
            Rejection::DeadlinePassed => "deadline had passed when the request was read",
            Rejection::TooManyCalls => "too many concurrent calls",
        }
    }

    /// The fields of the answer: one header block that ends the stream.
    pub fn fields(self) -> impl Iterator<Item = Field<'static>> {
        let special = match self {
            Rejection::UnsupportedEncoding => Some(Field {
                name: b"grpc-accept-encoding",
                value: ENCODINGS,
                repeats: true,
            }),
            Rejection::MethodNotPost => Some(Field {
                name: b"allow",
                value: b"POST",
                repeats: false,
            }),
            _ => None,
        };
        let [status, content_type] = crate::response::head(self.http_status());
        let [code, message] = [
            Field {
                name: b"grpc-status",
                value: self.code().as_bytes(),
                repeats: true,
            },
            Field {
                name: b"grpc-message",
                value: self.message().as_bytes(),
                repeats: true,
            },
        ];
        [status, content_type]
            .into_iter()
            .chain(special)
            .chain([code, message])
    }
}
