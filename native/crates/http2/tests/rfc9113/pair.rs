//! One endpoint fed with raw bytes, and two endpoints joined to each other, in virtual time.

use millrace_http2::{
    Connection, ConnectionError, Event, Expired, Field, HeadersKind, Indexing, Initiator, Limits,
    Reason, Role, StreamKey,
};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GO_AWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const HAS_PRIORITY: u8 = 0x20;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The fields of the smallest request.
pub(crate) const REQUEST: [(&str, &str); 4] = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/a.B/C"),
    (":authority", "localhost"),
];

/// A frame as it was sent or is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn code(&self) -> Reason {
        let at = if self.kind == GO_AWAY { 4 } else { 0 };
        Reason(self.number(at))
    }

    pub(crate) fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

pub(crate) fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        frames.push(Frame {
            kind: bytes[3],
            flags: bytes[4],
            stream: u32::from_be_bytes(bytes[5..9].try_into().expect("four bytes")),
            payload: bytes[9..9 + length].to_vec(),
        });
        bytes = &bytes[9 + length..];
    }
    frames
}

/// A header block of literals without indexing.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            if text.len() < 127 {
                bytes.push(text.len() as u8);
            } else {
                let mut rest = text.len() - 127;
                bytes.push(127);
                while rest >= 128 {
                    bytes.push(rest as u8 | 128);
                    rest >>= 7;
                }
                bytes.push(rest as u8);
            }
            bytes.extend(text.bytes());
        }
    }
    bytes
}

pub(crate) fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, &block(fields))
}

pub(crate) fn request(stream: u32, flags: u8) -> Vec<u8> {
    headers(stream, flags, &REQUEST)
}

pub(crate) fn data(stream: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(DATA, flags, stream, payload)
}

pub(crate) fn reset(stream: u32, reason: Reason) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &reason.0.to_be_bytes())
}

pub(crate) fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

pub(crate) fn settings(entries: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (identifier, value) in entries {
        payload.extend(identifier.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    frame(SETTINGS, 0, 0, &payload)
}

/// An event with what it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Headers {
        stream: u32,
        kind: HeadersKind,
        end_stream: bool,
        oversized: bool,
        fields: Vec<(String, String)>,
    },
    /// Neighbouring pieces of one stream are joined.
    Data {
        stream: u32,
        bytes: Vec<u8>,
        end_stream: bool,
    },
    Reset(u32, Reason, Initiator),
    WindowOpened(Option<u32>),
    GoAway(u32, Reason),
    PingAcknowledged([u8; 8]),
    SettingsReceived,
}

/// A connection, what it reported, and what it wrote.
pub(crate) struct Endpoint {
    pub(crate) connection: Connection,
    pub(crate) now: u64,
    pub(crate) seen: Vec<Seen>,
    pub(crate) error: Option<ConnectionError>,
    pub(crate) expired: Vec<Expired>,
    /// What was written for `ordered` to stand behind.
    pub(crate) written: Vec<u8>,
    /// Give credit for DATA as it comes.
    pub(crate) credits: bool,
    pub(crate) keys: Vec<(u32, StreamKey)>,
}

impl Endpoint {
    pub(crate) fn new(role: Role, limits: Limits) -> Self {
        Self {
            connection: Connection::new(role, limits, 0),
            now: 0,
            seen: Vec::new(),
            error: None,
            expired: Vec::new(),
            written: Vec::new(),
            credits: true,
            keys: Vec::new(),
        }
    }

    /// A server whose client has sent preface and SETTINGS and acknowledged ours.
    pub(crate) fn server() -> Self {
        Self::server_with(Limits::default())
    }

    pub(crate) fn server_with(limits: Limits) -> Self {
        let mut server = Self::new(Role::Server, limits);
        server.feed(PREFACE);
        server.feed(&settings(&[]));
        server.feed(&frame(SETTINGS, ACK, 0, &[]));
        assert_eq!(server.take_seen(), [Seen::SettingsReceived]);
        server.output();
        server
    }

    /// A client whose server has sent its SETTINGS and acknowledged ours.
    pub(crate) fn client() -> Self {
        let mut client = Self::new(Role::Client, Limits::default());
        client.feed(&settings(&[]));
        client.feed(&frame(SETTINGS, ACK, 0, &[]));
        assert_eq!(client.take_seen(), [Seen::SettingsReceived]);
        client.raw_output();
        client
    }

    pub(crate) fn feed(&mut self, input: &[u8]) {
        let mut at = 0;
        while self.error.is_none() {
            match self.connection.receive(&input[at..], self.now) {
                Ok((consumed, event)) => {
                    if let Some(event) = event {
                        self.note(event, &input[at..]);
                    }
                    at += consumed;
                    assert!(event.is_some() || at == input.len(), "stopped for nothing");
                    if event.is_none() {
                        return;
                    }
                }
                Err(error) => self.error = Some(error),
            }
        }
    }

    fn note(&mut self, event: Event, input: &[u8]) {
        let id = |stream| self.connection.stream_id(stream);
        let seen = match event {
            Event::Headers {
                stream,
                kind,
                end_stream,
                oversized,
            } => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let fields = self.connection.fields();
                let seen = Seen::Headers {
                    stream: id(stream),
                    kind,
                    end_stream,
                    oversized,
                    fields: fields
                        .map(|(name, value)| (text(name), text(value)))
                        .collect(),
                };
                if kind == HeadersKind::Request {
                    self.keys.push((id(stream), stream));
                }
                seen
            }
            Event::Data {
                stream,
                start,
                length,
                end_stream,
            } => {
                assert!(length > 0 || end_stream, "an empty piece");
                let number = id(stream);
                let piece = &input[start..start + length];
                if self.credits {
                    self.connection.credit_connection(length as u32);
                    self.connection.credit_stream(stream, length as u32);
                }
                if let Some(Seen::Data {
                    stream,
                    bytes,
                    end_stream: ended,
                }) = self.seen.last_mut()
                    && *stream == number
                {
                    assert!(!*ended, "DATA behind the end");
                    bytes.extend_from_slice(piece);
                    *ended = end_stream;
                    return;
                }
                Seen::Data {
                    stream: number,
                    bytes: piece.to_vec(),
                    end_stream,
                }
            }
            Event::Reset {
                stream,
                reason,
                initiator,
            } => Seen::Reset(id(stream), reason, initiator),
            Event::WindowOpened { stream } => Seen::WindowOpened(stream.map(id)),
            Event::GoAway {
                last_stream,
                reason,
            } => Seen::GoAway(last_stream, reason),
            Event::PingAcknowledged { payload } => Seen::PingAcknowledged(payload),
            Event::SettingsReceived => Seen::SettingsReceived,
        };
        self.seen.push(seen);
    }

    pub(crate) fn advance(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        loop {
            match self.connection.handle_timeout(self.now) {
                Ok(Some(expired)) => self.expired.push(expired),
                Ok(None) => return,
                Err(error) => {
                    self.error = Some(error);
                    return;
                }
            }
        }
    }

    pub(crate) fn take_seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.seen)
    }

    pub(crate) fn key(&self, id: u32) -> StreamKey {
        let found = self.keys.iter().rev().find(|(own, _)| *own == id);
        found.expect("a stream that was seen").1
    }

    pub(crate) fn raw_output(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(self.connection.urgent());
        bytes.append(&mut self.written);
        bytes.append(self.connection.ordered());
        bytes
    }

    pub(crate) fn output(&mut self) -> Vec<Frame> {
        frames(&self.raw_output())
    }

    pub(crate) fn respond(&mut self, id: u32, fields: &[(&str, &str)], end_stream: bool) {
        let key = self.key(id);
        self.connection
            .send_headers(key, list(fields), end_stream, &mut self.written);
    }

    pub(crate) fn send(&mut self, id: u32, payload: &[u8], end_stream: bool) {
        let key = self.key(id);
        let head = self.connection.data_head(key, payload.len(), end_stream);
        self.written.extend(head);
        self.written.extend(payload);
    }

    pub(crate) fn open(&mut self, fields: &[(&str, &str)], end_stream: bool) -> u32 {
        let key = self
            .connection
            .open_stream(list(fields), end_stream, &mut self.written)
            .expect("a stream");
        let id = self.connection.stream_id(key);
        self.keys.push((id, key));
        id
    }

    /// The error has come, and its GOAWAY is the last thing written.
    pub(crate) fn assert_error(&mut self, reason: Reason, about: &str) {
        let error = self.error.unwrap_or_else(|| panic!("{about}: no error"));
        assert_eq!(error.reason, reason, "{about}: {error}");
        let written = self.output();
        let last = written.last().expect("a GOAWAY");
        assert_eq!((last.kind, last.code()), (GO_AWAY, reason), "{about}");
        let again = self.connection.receive(&[0; 9], self.now);
        assert_eq!(again, Err(error), "{about}: final");
        assert!(self.output().is_empty(), "{about}: said once");
    }

    /// One stream was reset, and the connection goes on.
    pub(crate) fn assert_reset(&mut self, id: u32, reason: Reason, about: &str) {
        assert_eq!(self.error, None, "{about}");
        let written = self.output();
        let resets: Vec<_> = written.iter().filter(|f| f.kind == RST_STREAM).collect();
        assert_eq!(resets.len(), 1, "{about}: {written:?}");
        assert_eq!(
            (resets[0].stream, resets[0].code()),
            (id, reason),
            "{about}"
        );
        self.feed(&frame(PING, 0, 0, b"alive???"));
        assert_eq!(self.error, None, "{about}");
        assert!(self.output().iter().any(|f| f.kind == PING), "{about}");
    }

    pub(crate) fn assert_fine(&mut self, about: &str) {
        assert_eq!(self.error, None, "{about}");
        let written = self.output();
        assert!(written.iter().all(|f| f.kind != RST_STREAM), "{about}");
    }
}

pub(crate) fn list<'a>(fields: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = Field<'a>> {
    fields.iter().map(|(name, value)| Field {
        name: name.as_bytes(),
        value: value.as_bytes(),
        indexing: Indexing::Index,
    })
}

/// A client and a server, joined by wires of any length.
pub(crate) struct Pair {
    pub(crate) client: Endpoint,
    pub(crate) server: Endpoint,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default(), Limits::default())
    }

    pub(crate) fn with(client: Limits, server: Limits) -> Self {
        let mut pair = Self {
            client: Endpoint::new(Role::Client, client),
            server: Endpoint::new(Role::Server, server),
        };
        pair.drive();
        pair
    }

    /// Carries bytes both ways until nobody says anything any more.
    pub(crate) fn drive(&mut self) {
        for _ in 0..1_000 {
            let to_server = self.client.raw_output();
            let to_client = self.server.raw_output();
            if to_server.is_empty() && to_client.is_empty() {
                return;
            }
            self.server.feed(&to_server);
            self.client.feed(&to_client);
        }
        panic!("the endpoints never fall silent");
    }
}
