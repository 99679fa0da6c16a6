//! A client over the project's own HTTP/2 state machine and a non-blocking socket.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    os::fd::AsRawFd,
};

use millrace_http2::{Connection, Event, Field, Indexing, Limits, Role, StreamKey};

/// One call: what is still to be sent, and what came back.
pub(crate) struct Call {
    pub(crate) key: StreamKey,
    pub(crate) outgoing: Vec<u8>,
    pub(crate) sent: usize,
    pub(crate) ended: bool,
    pub(crate) incoming: Vec<u8>,
    pub(crate) status: Option<String>,
    pub(crate) reset: bool,
    /// Reads (credits) what comes.
    pub(crate) reading: bool,
}

pub(crate) struct Client {
    socket: Option<TcpStream>,
    http2: Connection,
    output: Vec<u8>,
    written: usize,
    pub(crate) calls: Vec<Call>,
    pub(crate) lost: bool,
}

fn field(name: &'static str, value: &'static str) -> Field<'static> {
    Field {
        name: name.as_bytes(),
        value: value.as_bytes(),
        indexing: Indexing::Index,
    }
}

impl Client {
    pub(crate) fn connect(port: u16, socket_buffers: Option<i32>) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.set_nodelay(true).unwrap();
        if let Some(bytes) = socket_buffers {
            for option in [libc::SO_SNDBUF, libc::SO_RCVBUF] {
                // SAFETY: the option's value is one int, which outlives the call.
                let result = unsafe {
                    libc::setsockopt(
                        socket.as_raw_fd(),
                        libc::SOL_SOCKET,
                        option,
                        (&raw const bytes).cast(),
                        size_of::<i32>() as u32,
                    )
                };
                assert_eq!(result, 0);
            }
        }
        Self {
            socket: Some(socket),
            http2: Connection::new(Role::Client, Limits::default(), 0),
            output: Vec::new(),
            written: 0,
            calls: Vec::new(),
            lost: false,
        }
    }

    /// Begins a call that sends these bytes and then ends its side.
    pub(crate) fn call(&mut self, path: &'static str, outgoing: Vec<u8>) -> usize {
        let fields = [
            field(":method", "POST"),
            field(":scheme", "http"),
            field(":path", path),
            field(":authority", "localhost"),
            field("content-type", "application/grpc"),
            field("te", "trailers"),
        ];
        self.control();
        let key = self
            .http2
            .open_stream(fields.into_iter(), false, &mut self.output)
            .unwrap();
        let number = self.calls.len();
        self.http2.set_token(key, number as u32);
        self.calls.push(Call {
            key,
            outgoing,
            sent: 0,
            ended: false,
            incoming: Vec::new(),
            status: None,
            reset: false,
            reading: true,
        });
        number
    }

    fn control(&mut self) {
        let mut urgent = std::mem::take(self.http2.urgent());
        self.output.append(&mut urgent);
        let mut ordered = std::mem::take(self.http2.ordered());
        self.output.append(&mut ordered);
    }

    pub(crate) fn reset(&mut self, number: usize) {
        self.http2
            .send_reset(self.calls[number].key, millrace_http2::Reason::CANCEL);
        self.calls[number].reset = true;
    }

    /// Cuts the connection at once.
    pub(crate) fn cut(&mut self) {
        self.socket = None;
        self.lost = true;
    }

    pub(crate) fn received(&self) -> usize {
        self.calls.iter().map(|call| call.incoming.len()).sum()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.calls
            .iter()
            .all(|call| call.status.is_some() || call.reset)
    }

    /// Sends and receives what is possible now.
    pub(crate) fn turn(&mut self, read_at_most: usize) {
        if self.socket.is_none() {
            return;
        }
        for call in &mut self.calls {
            while !call.ended && !call.reset && self.output.len() - self.written < 256 * 1024 {
                let left = call.outgoing.len() - call.sent;
                let window = self.http2.send_window(call.key);
                if left > 0 && window == 0 {
                    break;
                }
                let length = left.min(window).min(self.http2.max_frame_size());
                let end = length == left;
                if !self.http2.is_open_for_send(call.key) {
                    call.ended = true;
                    break;
                }
                let head = self.http2.data_head(call.key, length, end);
                self.output.extend_from_slice(&head);
                self.output
                    .extend_from_slice(&call.outgoing[call.sent..call.sent + length]);
                call.sent += length;
                call.ended = end;
            }
        }
        self.control();
        let Some(socket) = self.socket.as_mut() else {
            return;
        };
        while self.written < self.output.len() {
            match socket.write(&self.output[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.lost = true;
                    break;
                }
            }
        }
        if self.written == self.output.len() {
            self.output.clear();
            self.written = 0;
        }
        let mut buffer = vec![0; read_at_most];
        match socket.read(&mut buffer) {
            Ok(0) => self.lost = true,
            Ok(count) => self.parse(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.lost = true,
        }
    }

    fn parse(&mut self, input: &[u8]) {
        let mut position = 0;
        while position < input.len() {
            let (consumed, event) = self.http2.receive(&input[position..], 0).unwrap();
            let start = position;
            position += consumed;
            let Some(event) = event else { continue };
            match event {
                Event::Data {
                    stream,
                    start: at,
                    length,
                    ..
                } => {
                    let number = self.http2.token(stream).unwrap() as usize;
                    let bytes = &input[start + at..start + at + length];
                    self.calls[number].incoming.extend_from_slice(bytes);
                    if self.calls[number].reading {
                        self.http2.credit_stream(stream, length as u32);
                    }
                    self.http2.credit_connection(length as u32);
                }
                Event::Headers {
                    stream, end_stream, ..
                } => {
                    let number = self.http2.token(stream).unwrap() as usize;
                    let status = self
                        .http2
                        .fields()
                        .find(|(name, _)| *name == b"grpc-status")
                        .map(|(_, value)| String::from_utf8_lossy(value).into_owned());
                    if end_stream {
                        self.calls[number].status = Some(status.unwrap_or_default());
                        self.calls[number].ended = true;
                    }
                }
                Event::Reset { stream, .. } => {
                    if let Some(number) = self.http2.token(stream) {
                        self.calls[number as usize].reset = true;
                        self.calls[number as usize].ended = true;
                    }
                }
                _ => {}
            }
        }
    }
}

/// A message with its gRPC prefix.
pub(crate) fn framed(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}
