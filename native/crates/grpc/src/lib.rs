//! gRPC over HTTP/2, as pure functions and one small state machine.
//!
//! Nothing here does I/O, reads a clock, or starts a thread: bytes and header fields go in, values
//! and header fields come out, and the same input gives the same output. The crate knows no
//! HTTP/2: fields are pairs of byte slices, and a stream's DATA payload is a byte slice that may
//! have been cut anywhere.
//!
//! How a server uses it, per call:
//!
//! 1. [`request::Head::read`] classifies the request's fields, or names the [`request::Rejection`]
//!    to answer;
//! 2. [`deframe::Deframer`] cuts the request's bytes into messages, without ever holding one;
//! 3. [`response`] lists the fields of the response headers, trailers and Trailers-Only answers;
//! 4. [`metadata`] turns header fields into the block that crosses to the application, and back.
//!
//! On the path of a message and of a plain call nothing is allocated. Where bytes must be written
//! somewhere (percent-encoding, base64) the caller passes the vector, and may reuse it.
//!
//! Sources: the gRPC project's [PROTOCOL-HTTP2], [statuscodes], [http-grpc-status-mapping] and
//! [compression] documents.
//!
//! [PROTOCOL-HTTP2]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
//! [statuscodes]: https://github.com/grpc/grpc/blob/master/doc/statuscodes.md
//! [http-grpc-status-mapping]: https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
//! [compression]: https://github.com/grpc/grpc/blob/master/doc/compression.md
#![forbid(unsafe_code)]

mod base64;
pub mod client;
pub mod content_type;
pub mod deframe;
pub mod encoding;
pub mod mapping;
pub mod message;
pub mod metadata;
pub mod path;
pub mod request;
pub mod response;
pub mod status;
pub mod timeout;

pub use deframe::{Deframer, GrpcError, Step};
pub use encoding::{Accepted, Encoding};
pub use request::{Head, Rejection};
pub use response::Field;
pub use status::Code;
