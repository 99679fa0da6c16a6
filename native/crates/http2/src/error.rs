//! Errors by scope (stream or connection), by blame ([`Initiator`]) and by code ([`Reason`]).

use std::fmt;

/// An HTTP/2 error code (RFC 9113 section 7). Unknown codes are carried as they came.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reason(pub u32);

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl Reason {
            $($(#[$doc])* pub const $name: Reason = Reason($code);)*

            /// The name RFC 9113 gives the code, or `"UNKNOWN"`.
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($code => stringify!($name),)*
                    _ => "UNKNOWN",
                }
            }
        }
    };
}

reasons! {
    /// Not an error: a graceful end.
    NO_ERROR = 0x0;
    /// The peer broke a rule that has no code of its own.
    PROTOCOL_ERROR = 0x1;
    /// An error on our side.
    INTERNAL_ERROR = 0x2;
    /// The peer sent more than its window allowed, or made a window overflow.
    FLOW_CONTROL_ERROR = 0x3;
    /// SETTINGS were not acknowledged in time.
    SETTINGS_TIMEOUT = 0x4;
    /// A frame came for a stream whose sender had ended it.
    STREAM_CLOSED = 0x5;
    /// A frame had an impossible length.
    FRAME_SIZE_ERROR = 0x6;
    /// The stream was refused before anything was done for it: safe to retry.
    REFUSED_STREAM = 0x7;
    /// The stream is no longer wanted.
    CANCEL = 0x8;
    /// The HPACK state was lost.
    COMPRESSION_ERROR = 0x9;
    /// The tunnel of a CONNECT request broke.
    CONNECT_ERROR = 0xa;
    /// The peer behaves as in an attack.
    ENHANCE_YOUR_CALM = 0xb;
    /// The transport is not secure enough.
    INADEQUATE_SECURITY = 0xc;
    /// The endpoint wants HTTP/1.1.
    HTTP_1_1_REQUIRED = 0xd;
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            "UNKNOWN" => write!(f, "Reason({:#x})", self.0),
            name => f.write_str(name),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Who ended a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Initiator {
    /// The peer sent RST_STREAM.
    Remote,
    /// We sent RST_STREAM because the peer broke a rule on this stream.
    Local,
    /// Neither side sent RST_STREAM: the peer's GOAWAY says that it never looked at the stream.
    Library,
}

/// What a [`ConnectionError`] is about, for callers that answer differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The peer broke a rule of RFC 9113 or RFC 7541.
    Protocol,
    /// An abuse budget of [`Limits`](crate::Limits) ran out.
    Abuse,
    /// The first bytes are an HTTP/1.x request. Nothing is queued for output: the caller may answer
    /// in plain text.
    Http1,
    /// The first bytes are neither HTTP/2 nor HTTP/1.x. Nothing is queued for output.
    NotHttp2,
    /// The peer took too long over the preface, its SETTINGS, their acknowledgement or an open
    /// header block.
    Timeout,
    /// The peer did not answer a keepalive PING.
    KeepaliveTimeout,
}

/// The connection cannot go on. Unless the kind is `Http1` or `NotHttp2`, a GOAWAY is in
/// `Connection::ordered`; the caller flushes it and closes the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionError {
    /// The code in the GOAWAY.
    pub reason: Reason,
    /// What it is about.
    pub kind: ErrorKind,
    /// One sentence for the log; not part of the API.
    pub message: &'static str,
}

impl ConnectionError {
    pub(crate) const fn new(reason: Reason, kind: ErrorKind, message: &'static str) -> Self {
        Self {
            reason,
            kind,
            message,
        }
    }

    pub(crate) const fn protocol(message: &'static str) -> Self {
        Self::new(Reason::PROTOCOL_ERROR, ErrorKind::Protocol, message)
    }

    pub(crate) const fn frame_size(message: &'static str) -> Self {
        Self::new(Reason::FRAME_SIZE_ERROR, ErrorKind::Protocol, message)
    }

    pub(crate) const fn flow_control(message: &'static str) -> Self {
        Self::new(Reason::FLOW_CONTROL_ERROR, ErrorKind::Protocol, message)
    }

    pub(crate) const fn stream_closed(message: &'static str) -> Self {
        Self::new(Reason::STREAM_CLOSED, ErrorKind::Protocol, message)
    }

    pub(crate) const fn compression(message: &'static str) -> Self {
        Self::new(Reason::COMPRESSION_ERROR, ErrorKind::Protocol, message)
    }

    pub(crate) const fn abuse(message: &'static str) -> Self {
        Self::new(Reason::ENHANCE_YOUR_CALM, ErrorKind::Abuse, message)
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.reason)
    }
}

impl std::error::Error for ConnectionError {}

/// Why a client stream could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OpenError {
    /// This connection is a server's.
    NotAClient,
    /// The peer's SETTINGS_MAX_CONCURRENT_STREAMS streams are open: try again after a `release`.
    TooManyStreams,
    /// A GOAWAY was sent or received: use another connection.
    GoingAway,
    /// All stream identifiers are used up: use another connection.
    IdentifiersExhausted,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OpenError::NotAClient => "only a client opens streams",
            OpenError::TooManyStreams => "the peer allows no more concurrent streams",
            OpenError::GoingAway => "the connection is going away",
            OpenError::IdentifiersExhausted => "the connection has no stream identifiers left",
        })
    }
}

impl std::error::Error for OpenError {}
