//! In steady state nothing is allocated, neither per frame nor per stream, wherever the input is
//! split. One test, in a binary of its own: the count is the process's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use millrace_http2::{Connection, Event, Field, Indexing, Limits, Role, StreamKey};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn list<'a>(fields: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = Field<'a>> {
    fields.iter().map(|(name, value)| Field {
        name: name.as_bytes(),
        value: value.as_bytes(),
        indexing: if *name == "grpc-timeout" {
            Indexing::Skip
        } else {
            Indexing::Index
        },
    })
}

/// What one side has to send, and the streams it heard of.
struct Side {
    connection: Connection,
    out: Vec<u8>,
    ended: Vec<StreamKey>,
}

impl Side {
    fn new(role: Role) -> Self {
        Self {
            connection: Connection::new(role, Limits::default(), 0),
            out: Vec::new(),
            ended: Vec::new(),
        }
    }

    fn feed(&mut self, input: &[u8], piece: usize) {
        for input in input.chunks(piece) {
            let mut at = 0;
            loop {
                let progress = self.connection.receive(&input[at..], 0);
                let (consumed, event) = progress.expect("no error");
                at += consumed;
                match event {
                    Some(Event::Headers {
                        stream,
                        end_stream: true,
                        ..
                    }) => self.ended.push(stream),
                    Some(Event::Data {
                        stream,
                        length,
                        end_stream,
                        ..
                    }) => {
                        self.connection.credit_connection(length as u32);
                        self.connection.credit_stream(stream, length as u32);
                        if end_stream {
                            self.ended.push(stream);
                        }
                    }
                    None if at == input.len() => break,
                    _ => {}
                }
            }
        }
    }

    /// Moves everything to be sent into `wire`.
    fn flush(&mut self, wire: &mut Vec<u8>) {
        wire.clear();
        wire.append(self.connection.urgent());
        wire.append(&mut self.out);
        wire.append(self.connection.ordered());
    }

    fn send(&mut self, stream: StreamKey, payload: &[u8], end_stream: bool) {
        assert!(self.connection.send_window(stream) >= payload.len());
        let head = self.connection.data_head(stream, payload.len(), end_stream);
        self.out.extend_from_slice(&head);
        self.out.extend_from_slice(payload);
    }
}

fn calls(client: &mut Side, server: &mut Side, wire: &mut Vec<u8>, count: usize) {
    const TIMEOUTS: [&str; 3] = ["1234567u", "9m", "7654321n"];
    for call in 0..count {
        let request = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/millrace.echo.v1.Echo/Say"),
            (":authority", "localhost:50051"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("grpc-timeout", TIMEOUTS[call % 3]),
        ];
        let fields = if call % 4 == 0 {
            &request[..6]
        } else {
            &request
        };
        let piece = 1 + call * 37 % 200;
        for _ in 0..3 {
            let opened = client
                .connection
                .open_stream(list(fields), false, &mut client.out);
            client.send(opened.expect("a stream"), &[7; 300], true);
        }
        client.flush(wire);
        server.feed(wire, piece);
        while let Some(stream) = server.ended.pop() {
            let response = [(":status", "200"), ("content-type", "application/grpc")];
            let (connection, out) = (&mut server.connection, &mut server.out);
            connection.send_headers(stream, list(&response), false, out);
            server.send(stream, &[7; 300], false);
            let (connection, out) = (&mut server.connection, &mut server.out);
            connection.send_headers(stream, list(&[("grpc-status", "0")]), true, out);
            connection.release(stream);
        }
        server.flush(wire);
        client.feed(wire, piece);
        while let Some(stream) = client.ended.pop() {
            client.connection.release(stream);
        }
    }
}

#[test]
fn a_steady_state_allocates_nothing() {
    let mut client = Side::new(Role::Client);
    let mut server = Side::new(Role::Server);
    let mut wire = Vec::new();
    for _ in 0..3 {
        client.flush(&mut wire);
        server.feed(&wire, 1_000);
        server.flush(&mut wire);
        client.feed(&wire, 1_000);
    }
    calls(&mut client, &mut server, &mut wire, 2_000);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    calls(&mut client, &mut server, &mut wire, 2_000);
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
    assert_eq!(server.connection.counters().streams_finished, 12_000);
}
