//! What a client sends as the head of a call, and what it reads from the answer
//! (PROTOCOL-HTTP2, "Requests" and "Responses").

use crate::content_type;
use crate::encoding::{ENCODINGS, Encoding};
use crate::mapping::code_of_http_status;
use crate::message;
use crate::metadata::{self, Entry, Wire};
use crate::response::Field;
use crate::status::Code;

/// What the head of a call says.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// `http` or `https`.
    pub scheme: &'a [u8],
    /// `/service/method`.
    pub path: &'a [u8],
    /// Host and port, or another name of the server.
    pub authority: &'a [u8],
    /// `user-agent`; empty: the field is left out.
    pub user_agent: &'a [u8],
    /// An encoded timeout ([`crate::timeout::encode`]).
    pub timeout: Option<&'a [u8]>,
    /// How messages flagged as compressed are packed.
    pub encoding: Encoding,
    /// What the application adds.
    pub metadata: Wire<'a>,
}

impl<'a> Call<'a> {
    /// The fields of the request, in the order of the document.
    pub fn fields(self) -> impl Iterator<Item = Field<'a>> {
        let lasting = |name: &'static [u8], value: &'a [u8]| Field {
            name,
            value,
            repeats: true,
        };
        let head = [
            lasting(b":method", b"POST"),
            lasting(b":scheme", self.scheme),
            lasting(b":path", self.path),
            lasting(b":authority", self.authority),
            lasting(b"te", b"trailers"),
        ];
        let timeout = self.timeout.map(|value| Field {
            name: b"grpc-timeout",
            value,
            repeats: false,
        });
        let content_type = lasting(b"content-type", content_type::GRPC);
        let encoding = (self.encoding != Encoding::Identity)
            .then(|| lasting(b"grpc-encoding", self.encoding.name()));
        let accepted = lasting(b"grpc-accept-encoding", ENCODINGS);
        let agent = (!self.user_agent.is_empty()).then(|| lasting(b"user-agent", self.user_agent));
        let custom = self.metadata.map(|(name, value)| Field {
            name,
            value,
            repeats: false,
        });
        head.into_iter()
            .chain(timeout)
            .chain([content_type])
            .chain(encoding)
            .chain([accepted])
            .chain(agent)
            .chain(custom)
    }
}

/// How a call ended, as the server or something on the way said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The code.
    pub code: Code,
    /// The message, decoded.
    pub message: String,
    /// A legal `grpc-status` said so; otherwise code and message are this side's.
    pub stated: bool,
}

/// What the head of an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A gRPC response begins.
    Begins {
        /// There is custom metadata ([`metadata::encode_block`] gets it from the same fields).
        has_metadata: bool,
        /// How messages flagged as compressed are packed; the name of an encoding that is not built
        /// in, which matters only if such a message comes.
        encoding: Result<Encoding, String>,
    },
    /// The call is over with it.
    Ends(Ended),
}

/// Reads the final (not 1xx) head of an answer; `end_stream`: nothing follows it.
///
/// A `grpc-status` of a Trailers-Only answer wins over everything else. Without it, an HTTP status
/// other than 200 or a content type other than gRPC's ends the call by the table of
/// http-grpc-status-mapping.md.
pub fn read_head<'a>(fields: impl Iterator<Item = Entry<'a>>, end_stream: bool) -> Answer {
    let mut http_status: u16 = 0;
    let mut content_type = None;
    let mut has_metadata = false;
    let mut encoding = Ok(Encoding::Identity);
    let mut status = Trailers::default();
    for (name, value) in fields {
        match name {
            b":status" => http_status = value.iter().fold(0, digits),
            b"content-type" => content_type = Some(value),
            b"grpc-encoding" => encoding = Encoding::parse(value).ok_or(value),
            _ if status.take(name, value) => {}
            _ => has_metadata |= metadata::is_custom_name(name),
        }
    }
    if end_stream && status.code.is_some() {
        return Answer::Ends(status.ended());
    }
    let shown = |value: &[u8]| String::from_utf8_lossy(&value[..value.len().min(100)]).into_owned();
    let is_grpc = content_type.is_some_and(|value| content_type::parse(value).is_some());
    if http_status != 200 || !is_grpc {
        let media = match content_type {
            Some(value) if !is_grpc => format!(" and content-type {}", shown(value)),
            None => " and no content-type".to_owned(),
            Some(_) => String::new(),
        };
        return Answer::Ends(Ended {
            code: code_of_http_status(http_status),
            message: format!("the server answered with HTTP status {http_status}{media}"),
            stated: false,
        });
    }
    if end_stream {
        return Answer::Ends(status.ended());
    }
    Answer::Begins {
        has_metadata,
        encoding: encoding.map_err(shown),
    }
}

/// Reads the trailers of a call.
pub fn read_trailers<'a>(fields: impl Iterator<Item = Entry<'a>>) -> Ended {
    let mut status = Trailers::default();
    for (name, value) in fields {
        status.take(name, value);
    }
    status.ended()
}

fn digits(number: u16, digit: &u8) -> u16 {
    number
        .saturating_mul(10)
        .saturating_add(u16::from(digit.wrapping_sub(b'0')))
}

#[derive(Default)]
struct Trailers<'a> {
    code: Option<&'a [u8]>,
    message: Option<&'a [u8]>,
}

impl<'a> Trailers<'a> {
    fn take(&mut self, name: &[u8], value: &'a [u8]) -> bool {
        match name {
            b"grpc-status" => self.code = Some(value),
            b"grpc-message" => self.message = Some(value),
            _ => return false,
        }
        true
    }

    fn ended(self) -> Ended {
        let Some(value) = self.code else {
            return Ended {
                code: Code::Unknown,
                message: "the server ended the call without grpc-status".to_owned(),
                stated: false,
            };
        };
        let number = match value {
            [one @ b'0'..=b'9'] => Some(one - b'0'),
            [b'1', two @ b'0'..=b'6'] => Some(10 + two - b'0'),
            _ => None,
        };
        let message = self.message.map(message::decode).unwrap_or_default();
        match number {
            Some(number) => Ended {
                code: Code::from_number(u32::from(number)),
                message,
                stated: true,
            },
            None => {
                let shown = String::from_utf8_lossy(&value[..value.len().min(20)]);
                let colon = if message.is_empty() { "" } else { ": " };
                Ended {
                    code: Code::Unknown,
                    message: format!(
                        "the server ended the call with grpc-status {shown}, which is no status{colon}{message}"
                    ),
                    stated: false,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&str, &str)], end_stream: bool) -> Answer {
        let fields = fields
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        read_head(fields, end_stream)
    }

    fn ends(answer: Answer) -> (Code, String) {
        match answer {
            Answer::Ends(ended) => (ended.code, ended.message),
            Answer::Begins { .. } => panic!("it begins"),
        }
    }

    const OK: (&str, &str) = (":status", "200");
    const GRPC: (&str, &str) = ("content-type", "application/grpc+proto");

    #[test]
    fn a_response_begins() {
        let begins = |has_metadata, encoding: Result<_, &str>| Answer::Begins {
            has_metadata,
            encoding: encoding.map_err(str::to_owned),
        };
        let plain = begins(false, Ok(Encoding::Identity));
        assert_eq!(head(&[OK, GRPC], false), plain);
        let custom = begins(true, Ok(Encoding::Identity));
        assert_eq!(head(&[OK, GRPC, ("x-a", "b")], false), custom);
        for (name, encoding) in [
            ("gzip", Ok(Encoding::Gzip)),
            ("deflate", Ok(Encoding::Deflate)),
            ("identity", Ok(Encoding::Identity)),
            ("br", Err("br")),
        ] {
            let answer = head(&[OK, GRPC, ("grpc-encoding", name)], false);
            assert_eq!(answer, begins(false, encoding));
        }
        // A status in headers that do not end the stream is not the call's.
        assert_eq!(head(&[OK, GRPC, ("grpc-status", "5")], false), plain);
    }

    #[test]
    fn a_status_in_trailers_only_wins_over_http() {
        let fields = [
            (":status", "503"),
            ("grpc-status", "5"),
            ("grpc-message", "no%20x"),
        ];
        assert_eq!(
            ends(head(&fields, true)),
            (Code::NotFound, "no x".to_owned())
        );
    }

    #[test]
    fn an_answer_that_is_not_grpc_is_mapped() {
        let (code, text) = ends(head(
            &[(":status", "404"), ("content-type", "text/html")],
            false,
        ));
        assert_eq!(code, Code::Unimplemented);
        assert!(text.contains("404") && text.contains("text/html"), "{text}");
        assert_eq!(ends(head(&[(":status", "502")], true)).0, Code::Unavailable);
        assert_eq!(
            ends(head(&[OK, ("content-type", "text/plain")], false)).0,
            Code::Unknown
        );
        assert_eq!(ends(head(&[OK, GRPC], true)).0, Code::Unknown);
    }

    #[test]
    fn a_status_that_is_none_is_unknown() {
        for value in ["", "17", "99", "-1", "x", "0x0", "00"] {
            let fields = [
                (&b"grpc-status"[..], value.as_bytes()),
                (b"grpc-message", b"m"),
            ];
            let ended = read_trailers(fields.into_iter());
            assert_eq!(ended.code, Code::Unknown, "{value}");
            assert!(ended.message.ends_with("no status: m"), "{}", ended.message);
        }
        for number in 0..=16u32 {
            let value = number.to_string();
            let fields = [(&b"grpc-status"[..], value.as_bytes())];
            assert_eq!(read_trailers(fields.into_iter()).code.number(), number);
        }
        assert_eq!(read_trailers([].into_iter()).code, Code::Unknown);
    }

    #[test]
    fn a_request_has_the_fields_of_the_document() {
        let call = Call {
            scheme: b"http",
            path: b"/a.B/C",
            authority: b"host:1",
            user_agent: b"agent",
            timeout: Some(b"1S"),
            encoding: Encoding::Deflate,
            metadata: Wire::NONE,
        };
        let names: Vec<&[u8]> = call.clone().fields().map(|field| field.name).collect();
        let expected: [&[u8]; 10] = [
            b":method",
            b":scheme",
            b":path",
            b":authority",
            b"te",
            b"grpc-timeout",
            b"content-type",
            b"grpc-encoding",
            b"grpc-accept-encoding",
            b"user-agent",
        ];
        assert_eq!(names, expected);
        let plain = Call {
            encoding: Encoding::Identity,
            ..call
        };
        assert!(plain.fields().all(|field| field.name != b"grpc-encoding"));
    }
}
