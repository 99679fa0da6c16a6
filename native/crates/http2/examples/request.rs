//! A bare HTTP/2 client for conformance tools: one GET, then whatever the server does until it
//! closes, or is silent for half a second.
//!
//! `cargo run -p millrace-http2 --example request -- http://127.0.0.1:8080/`

use std::io::{Error, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use millrace_http2::{Connection, Event, Field, Indexing, Limits, Role};

fn main() -> std::io::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_default();
    let rest = url.strip_prefix("http://").unwrap_or(&url);
    let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = format!("/{path}");
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", &path),
        (":authority", address),
    ];
    let fields = fields.map(|(name, value)| Field {
        name: name.as_bytes(),
        value: value.as_bytes(),
        indexing: Indexing::Index,
    });
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    let started = Instant::now();
    let mut connection = Connection::new(Role::Client, Limits::default(), 0);
    let mut out = Vec::new();
    connection
        .open_stream(fields.into_iter(), true, &mut out)
        .map_err(Error::other)?;
    let mut input = vec![0; 65_536];
    loop {
        socket.write_all(connection.urgent())?;
        socket.write_all(&out)?;
        socket.write_all(connection.ordered())?;
        connection.urgent().clear();
        connection.ordered().clear();
        out.clear();
        let length = match socket.read(&mut input) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut at = 0;
        loop {
            let now = started.elapsed().as_millis() as u64;
            let (consumed, event) = match connection.receive(&input[at..length], now) {
                Ok(progress) => progress,
                Err(error) => {
                    socket.write_all(connection.urgent())?;
                    socket.write_all(connection.ordered())?;
                    return Err(Error::other(error));
                }
            };
            match event {
                Some(Event::Headers { .. }) => println!("{:?}", connection.fields()),
                Some(Event::Data {
                    stream,
                    start,
                    length,
                    ..
                }) => {
                    std::io::stdout().write_all(&input[at + start..at + start + length])?;
                    connection.credit_connection(length as u32);
                    connection.credit_stream(stream, length as u32);
                }
                Some(other) => println!("{other:?}"),
                None if at + consumed == length => break,
                None => {}
            }
            at += consumed;
        }
    }
}
