//! What this layer costs a unary gRPC call and a stream message: nanoseconds, best of several runs.
//!
//! `cargo bench -p millrace-http2`

use std::hint::black_box;
use std::time::Instant;

use millrace_http2::{Connection, Event, Field, HeadersKind, Indexing, Limits, Role};

const ROUNDS: usize = 9;
const CALLS: usize = 200_000;

fn list<'a>(fields: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = Field<'a>> {
    fields.iter().map(|(name, value)| Field {
        name: name.as_bytes(),
        value: value.as_bytes(),
        indexing: Indexing::Index,
    })
}

const REQUEST: [(&str, &str); 7] = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/millrace.echo.v1.Echo/Say"),
    (":authority", "127.0.0.1:50051"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
    ("user-agent", "h2load nghttp2/1.52.0"),
];
const RESPONSE: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/grpc")];
const TRAILERS: [(&str, &str); 1] = [("grpc-status", "0")];

/// The two ends, with their SETTINGS exchanged.
fn pair() -> (Connection, Connection) {
    let mut client = Connection::new(Role::Client, Limits::default(), 0);
    let mut server = Connection::new(Role::Server, Limits::default(), 0);
    for _ in 0..3 {
        let bytes = std::mem::take(client.urgent());
        drain(&mut server, &bytes);
        let bytes = std::mem::take(server.urgent());
        drain(&mut client, &bytes);
    }
    (client, server)
}

fn drain(connection: &mut Connection, input: &[u8]) {
    let mut at = 0;
    while let (consumed, Some(_)) = connection.receive(&input[at..], 0).expect("no error") {
        at += consumed;
    }
}

/// Requests of one client, all on one connection, as bytes in pieces of a hundred calls. `varied`
/// adds a field that differs from call to call, so that no header block repeats.
fn requests(client: &mut Connection, varied: bool) -> Vec<Vec<u8>> {
    let mut batches = Vec::new();
    for batch in 0..CALLS / 100 {
        let mut out = Vec::new();
        for call in 0..100 {
            let timeout = format!("{}u", 1_000_000 + batch * 100 + call);
            let extra = [Field {
                name: b"grpc-timeout",
                value: timeout.as_bytes(),
                indexing: Indexing::Skip,
            }];
            let extra = extra.into_iter().filter(|_| varied);
            let key = client
                .open_stream(list(&REQUEST).chain(extra), false, &mut out)
                .expect("a stream");
            let payload = [0; 69];
            // The frames are made by hand, so that no window of the client's runs out.
            out.extend([0, 0, payload.len() as u8, 0, 1]);
            out.extend(client.stream_id(key).to_be_bytes());
            out.extend(payload);
            client.release(key);
            client.ordered().clear();
        }
        batches.push(out);
    }
    batches
}

fn unary(server: &mut Connection, batches: &[Vec<u8>]) -> usize {
    let mut answered = 0;
    let mut out = Vec::with_capacity(1 << 16);
    for input in batches {
        let mut at = 0;
        out.clear();
        loop {
            let (consumed, event) = server.receive(&input[at..], 0).expect("no error");
            at += consumed;
            match event {
                Some(Event::Headers { stream, kind, .. }) => {
                    assert!(kind == HeadersKind::Request);
                    for (name, value) in server.fields() {
                        black_box((name, value));
                    }
                    server.set_token(stream, 1);
                }
                Some(Event::Data {
                    stream,
                    length,
                    end_stream: true,
                    ..
                }) => {
                    server.credit_connection(length as u32);
                    server.send_headers(stream, list(&RESPONSE), false, &mut out);
                    if server.send_window(stream) < 69 {
                        // A peer that reads: its WINDOW_UPDATE.
                        let update = [0, 0, 4, 8, 0, 0, 0, 0, 0, 0x10, 0, 0, 0];
                        assert!(server.receive(&update, 0).is_ok());
                    }
                    out.extend_from_slice(&server.data_head(stream, 69, false));
                    out.extend_from_slice(&[0; 69]);
                    server.send_headers(stream, list(&TRAILERS), true, &mut out);
                    server.release(stream);
                    answered += 1;
                }
                Some(_) => {}
                None if at == input.len() => break,
                None => {}
            }
        }
        server.urgent().clear();
    }
    answered
}

/// DATA frames of one message each, on one stream.
fn messages(server: &mut Connection, input: &[u8], count: usize) {
    let mut at = 0;
    let mut seen = 0;
    loop {
        let (consumed, event) = server.receive(&input[at..], 0).expect("no error");
        at += consumed;
        match event {
            Some(Event::Data { stream, length, .. }) => {
                server.credit_connection(length as u32);
                server.credit_stream(stream, length as u32);
                seen += 1;
            }
            Some(_) => {}
            None if at == input.len() => break,
            None => {}
        }
    }
    server.urgent().clear();
    assert_eq!(seen, count);
}

fn best(mut run: impl FnMut() -> f64) -> f64 {
    (0..ROUNDS).map(|_| run()).fold(f64::MAX, f64::min)
}

fn main() {
    for (name, varied) in [
        ("same head every time", false),
        ("a timeout that varies", true),
    ] {
        let nanoseconds = best(|| {
            let (mut client, mut server) = pair();
            let batches = requests(&mut client, varied);
            let started = Instant::now();
            assert_eq!(unary(&mut server, &batches), CALLS);
            started.elapsed().as_nanos() as f64 / CALLS as f64
        });
        println!("unary call, {name}: {nanoseconds:.0} ns");
    }
    let nanoseconds = best(|| {
        let (mut client, mut server) = pair();
        let mut out = Vec::new();
        client
            .open_stream(list(&REQUEST), false, &mut out)
            .expect("a stream");
        drain(&mut server, &out);
        let mut input = Vec::new();
        for _ in 0..200 {
            input.extend([0, 0, 69, 0, 0, 0, 0, 0, 1]);
            input.extend([0; 69]);
        }
        let started = Instant::now();
        for _ in 0..CALLS / 200 {
            messages(&mut server, &input, 200);
        }
        started.elapsed().as_nanos() as f64 / CALLS as f64
    });
    println!("DATA frame of 69 bytes received and credited: {nanoseconds:.0} ns");
    println!("Connection: {} bytes", size_of::<Connection>());
}
