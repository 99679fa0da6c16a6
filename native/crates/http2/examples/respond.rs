//! A bare HTTP/2 server for conformance tools: every request is answered with 200 and a short body.
//! The fields of a request without a body whose names start with `x-` come back, so that another
//! implementation of HPACK can be compared with ours.
//!
//! `cargo run -p millrace-http2 --example respond -- 127.0.0.1:8080`

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use millrace_http2::{Connection, Event, Field, HeadersKind, Indexing, Limits, Role, StreamKey};

const BODY: &[u8] = b"{\"answer\": \"Millrace\"}";

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:8080"))?;
    println!("listening on {}", listener.local_addr()?);
    for socket in listener.incoming() {
        let socket = socket?;
        std::thread::spawn(move || {
            if let Err(error) = serve(socket) {
                eprintln!("{error}");
            }
        });
    }
    Ok(())
}

fn serve(mut socket: TcpStream) -> std::io::Result<()> {
    let started = Instant::now();
    let now = || started.elapsed().as_millis() as u64;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut connection = Connection::new(Role::Server, Limits::default(), 0);
    let mut answers: VecDeque<(StreamKey, usize)> = VecDeque::new();
    let mut input = vec![0; 65_536];
    let mut out = Vec::new();
    loop {
        let length = match socket.read(&mut input) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        let mut failed = connection.handle_timeout(now()).err();
        let mut at = 0;
        while failed.is_none() {
            match connection.receive(&input[at..length], now()) {
                Ok((consumed, event)) => {
                    at += consumed;
                    match event {
                        Some(event) => act(&mut connection, event, &mut answers, &mut out),
                        None if at == length => break,
                        None => {}
                    }
                }
                Err(error) => failed = Some(error),
            }
        }
        for _ in 0..answers.len() {
            if let Some((stream, sent)) = answers.pop_front() {
                answer(&mut connection, stream, sent, &mut answers, &mut out);
            }
        }
        socket.write_all(connection.urgent())?;
        socket.write_all(&out)?;
        socket.write_all(connection.ordered())?;
        connection.urgent().clear();
        connection.ordered().clear();
        out.clear();
        if let Some(error) = failed {
            eprintln!("{error}");
            return Ok(());
        }
    }
}

fn act(
    connection: &mut Connection,
    event: Event,
    answers: &mut VecDeque<(StreamKey, usize)>,
    out: &mut Vec<u8>,
) {
    let (stream, end_stream) = match event {
        Event::Headers {
            stream, end_stream, ..
        } => (stream, end_stream),
        Event::Data {
            stream,
            length,
            end_stream,
            ..
        } => {
            connection.credit_connection(length as u32);
            connection.credit_stream(stream, length as u32);
            (stream, end_stream)
        }
        Event::Reset { stream, .. } => {
            answers.retain(|answer| answer.0 != stream);
            return connection.release(stream);
        }
        _ => return,
    };
    let is_request = matches!(
        event,
        Event::Headers {
            kind: HeadersKind::Request,
            ..
        }
    );
    if is_request || end_stream {
        connection.set_token(stream, u32::from(end_stream));
    }
    if end_stream {
        let fields = [
            (&b":status"[..], &b"200"[..]),
            (b"content-type", b"application/json"),
        ];
        let mut list: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        list.extend(fields.map(|(name, value)| (name.to_vec(), value.to_vec())));
        if is_request {
            let echoed = connection
                .fields()
                .filter(|field| field.0.starts_with(b"x-"));
            list.extend(echoed.map(|(name, value)| (name.to_vec(), value.to_vec())));
        }
        let fields = list.iter().map(|(name, value)| Field {
            name,
            value,
            indexing: match value.first() {
                Some(b'a'..=b'f') => Indexing::Skip,
                Some(b'g'..=b'k') => Indexing::Never,
                _ => Indexing::Index,
            },
        });
        connection.send_headers(stream, fields, false, out);
        answers.push_back((stream, 0));
    }
}

/// Sends what the windows admit; the rest waits for another turn.
fn answer(
    connection: &mut Connection,
    stream: StreamKey,
    sent: usize,
    answers: &mut VecDeque<(StreamKey, usize)>,
    out: &mut Vec<u8>,
) {
    let left = BODY.len() - sent;
    let length = left.min(connection.send_window(stream));
    if length == 0 {
        return answers.push_back((stream, sent));
    }
    let is_last = length == left;
    out.extend_from_slice(&connection.data_head(stream, length, is_last));
    out.extend_from_slice(&BODY[sent..sent + length]);
    if is_last {
        connection.release(stream);
    } else {
        answers.push_back((stream, sent + length));
    }
}
