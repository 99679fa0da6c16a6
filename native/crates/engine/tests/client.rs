//! The client role with real sockets, on every driver: against our own server, and against a peer
//! that does what it is told.
#![allow(missing_docs)]

mod support;

use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use millrace_engine::{Options, Target, layout::*};
use millrace_http2::{
    self as http2, Event, Field, GoAwayLast, HeadersKind, Indexing, Limits, Reason, StreamKey,
};
use millrace_ring::DriverChoice;
use support::{
    Behaviour, DRIVERS, Script,
    caller::{CHAT, COLLECT, Client, EXPAND, METHODS, Outcome, PATIENCE, SAY},
    client::framed,
};

/// A server by hand: what arrives is kept, and what it sends is up to the test.
struct Peer {
    listener: TcpListener,
    socket: Option<TcpStream>,
    http2: http2::Connection,
    out: Vec<u8>,
    input: Vec<u8>,
    streams: Vec<Seen>,
    resets: Vec<(u32, Reason)>,
    gone: bool,
    mute: bool,
}

struct Seen {
    key: StreamKey,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    ended: bool,
}

impl Seen {
    fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|field| field.0 == name);
        found.map(|field| field.1.as_str())
    }
}

fn plain<'a>(fields: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = Field<'a>> {
    fields.iter().map(|(name, value)| Field {
        name: name.as_bytes(),
        value: value.as_bytes(),
        indexing: Indexing::Skip,
    })
}

const HEAD: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/grpc")];

impl Peer {
    fn new(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self {
            listener,
            socket: None,
            http2: http2::Connection::new(http2::Role::Server, limits, 0),
            out: Vec::new(),
            input: Vec::new(),
            streams: Vec::new(),
            resets: Vec::new(),
            gone: false,
            mute: false,
        }
    }

    fn target(&self) -> Target {
        Target::new(&self.listener.local_addr().unwrap().to_string())
    }

    fn headers(&mut self, stream: usize, fields: &[(&str, &str)], end: bool) {
        let key = self.streams[stream].key;
        self.http2
            .send_headers(key, plain(fields), end, &mut self.out);
    }

    fn data(&mut self, stream: usize, bytes: &[u8], end: bool) {
        let key = self.streams[stream].key;
        for piece in bytes.chunks(16_384) {
            let head = self.http2.data_head(key, piece.len(), false);
            self.out.extend(head);
            self.out.extend(piece);
        }
        if end {
            let head = self.http2.data_head(key, 0, true);
            self.out.extend(head);
        }
    }

    /// A whole answer.
    fn answer(&mut self, stream: usize, message: &[u8]) {
        self.headers(stream, &HEAD, false);
        self.data(stream, &framed(message), false);
        self.headers(stream, &[("grpc-status", "0")], true);
        self.http2.release(self.streams[stream].key);
    }

    fn turn(&mut self) {
        if self.socket.is_none()
            && let Ok((socket, _)) = self.listener.accept()
        {
            socket.set_nonblocking(true).unwrap();
            self.socket = Some(socket);
        }
        let Some(socket) = &mut self.socket else {
            return;
        };
        let mut buffer = [0; 65_536];
        loop {
            match socket.read(&mut buffer) {
                Ok(0) => {
                    self.gone = true;
                    break;
                }
                Ok(length) => self.input.extend(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.gone = true;
                    break;
                }
            }
        }
        if self.mute {
            self.input.clear();
            return;
        }
        let input = std::mem::take(&mut self.input);
        let mut position = 0;
        loop {
            let (consumed, event) = self.http2.receive(&input[position..], 1).unwrap();
            let start = position;
            position += consumed;
            let Some(event) = event else { break };
            self.event(event, &input[start..]);
        }
        let mut out = std::mem::take(self.http2.urgent());
        out.append(&mut self.out);
        out.append(self.http2.ordered());
        if let Some(socket) = &mut self.socket
            && !out.is_empty()
        {
            socket.set_nonblocking(false).unwrap();
            let _ = socket.write_all(&out);
            socket.set_nonblocking(true).unwrap();
        }
    }

    fn event(&mut self, event: Event, input: &[u8]) {
        match event {
            Event::Headers {
                stream,
                kind: HeadersKind::Request,
                end_stream,
                ..
            } => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let fields = self.http2.fields();
                let fields = fields.map(|(name, value)| (text(name), text(value)));
                let seen = Seen {
                    key: stream,
                    fields: fields.collect(),
                    body: Vec::new(),
                    ended: end_stream,
                };
                self.http2.set_token(stream, self.streams.len() as u32);
                self.streams.push(seen);
            }
            Event::Data {
                stream,
                start,
                length,
                end_stream,
            } => {
                let token = self.http2.token(stream).unwrap() as usize;
                let seen = &mut self.streams[token];
                seen.body.extend(&input[start..start + length]);
                seen.ended |= end_stream;
                self.http2.credit_stream(stream, length as u32);
                self.http2.flush_stream_credit(stream);
                self.http2.credit_connection(length as u32);
                self.http2.flush_connection_credit();
            }
            Event::Reset { stream, reason, .. } => {
                let token = self.http2.token(stream).unwrap();
                self.resets.push((token, reason));
                self.http2.release(stream);
            }
            _ => {}
        }
    }
}

/// Turns both until it is so.
#[track_caller]
fn until(client: &mut Client, peer: &mut Peer, done: impl Fn(&Client, &Peer) -> bool) {
    let started = Instant::now();
    while !done(client, peer) {
        assert!(
            started.elapsed() < PATIENCE,
            "no progress; calls {:?}; notices {:?}",
            client.calls,
            client.notices
        );
        client.turn();
        peer.turn();
    }
}

/// A client whose connection is ready.
fn ready(driver: DriverChoice, limits: Limits) -> (Client, Peer, u32) {
    let mut client = Client::new(driver, Options::default());
    let mut peer = Peer::new(limits);
    let link = client.engine.open(&peer.target()).unwrap();
    until(&mut client, &mut peer, |client, _| {
        client.state(link, "ready").is_some()
    });
    (client, peer, link)
}

fn server(driver: DriverChoice) -> Script {
    let answers = METHODS.map(|(path, kind)| (path, kind, Behaviour::Echo));
    let options = Options {
        driver,
        ..Options::default()
    };
    Script::new(options, &answers)
}

#[test]
fn unary_calls_are_answered_and_leave_nothing() {
    for driver in DRIVERS {
        let mut server = server(driver);
        let mut client = Client::new(driver, Options::default());
        let target = Target::new(&format!("127.0.0.1:{}", server.port));
        let link = client.engine.open(&target).unwrap();
        assert!(client.engine.keeps_alive(), "a connection is being set up");
        // Before it is ready: they wait.
        let calls: Vec<(u32, Vec<u8>)> = (0..300)
            .map(|number| {
                let bytes = vec![number as u8; number * 11];
                (client.say(link, &bytes), bytes)
            })
            .collect();
        let started = Instant::now();
        while !client.calls.values().all(Outcome::is_over) {
            assert!(started.elapsed() < PATIENCE, "{:?}", client.notices);
            client.turn();
            server.turn(Duration::ZERO);
        }
        for (call, bytes) in &calls {
            assert_eq!(client.calls[call].reply.as_ref(), Some(bytes));
        }
        client.settle();
        assert!(!client.engine.keeps_alive(), "an idle client holds nobody");
        assert_eq!(client.stat("callsOk"), 300);
    }
}

#[test]
fn streams_keep_their_order_and_their_bounds() {
    for driver in DRIVERS {
        let mut server = server(driver);
        let options = Options {
            ring_buffers: 16,
            ring_buffer_bytes: 4096,
            ..Options::default()
        };
        let mut client = Client::new(driver, options);
        let target = Target::new(&format!("127.0.0.1:{}", server.port));
        let link = client.engine.open(&target).unwrap();
        let mut sent: HashMap<u32, Vec<Vec<u8>>> = HashMap::new();
        for number in 0..12u32 {
            let call = client.start(link, CHAT, NO_TIMEOUT);
            let messages: Vec<Vec<u8>> = (0..40u32)
                .map(|at| {
                    vec![(number * 40 + at) as u8; ((at * 997 + number * 13) % 9000) as usize]
                })
                .collect();
            for message in &messages {
                if client.control.get(CONTROL_ARENA_USED) as usize + 10_000 > ARENA_BYTES {
                    client.engine.flush();
                }
                client.message(call, message, false);
            }
            client.push([OPERATION_END, call, 0, 0]);
            sent.insert(call, messages);
        }
        client.reads = false;
        // Nobody reads: it stops by itself, in bounds.
        for _ in 0..300 {
            client.turn();
            server.turn(Duration::ZERO);
        }
        assert!(client.stat("bufferedBytes") < 12 * 512 * 1024 + 2 * 1024 * 1024);
        let started = Instant::now();
        while !client.calls.values().all(Outcome::is_over) {
            assert!(started.elapsed() < PATIENCE, "{}", client.engine.stats());
            for call in sent.keys() {
                client.consume(*call);
            }
            client.turn();
            server.turn(Duration::ZERO);
        }
        for (call, messages) in &sent {
            client.consume(*call);
            let outcome = &client.calls[call];
            outcome.is(0, STATUS_HEADERS_SEEN, STATUS_LOCAL, "");
            assert!(outcome.response.is_some());
            assert!(outcome.messages == *messages, "bytes differ on {driver:?}");
        }
        client.settle();
    }
}

#[test]
fn a_request_says_what_grpc_asks_for() {
    for driver in DRIVERS {
        let (mut client, mut peer, _) = ready(driver, Limits::default());
        let target = Target {
            authority: "name.test:1".to_owned(),
            ..peer.target()
        };
        drop(peer.socket.take());
        peer.http2 = http2::Connection::new(http2::Role::Server, Limits::default(), 0);
        let link = client.engine.open(&target).unwrap();
        let call = client.next;
        client.calls.insert(call, Outcome::default());
        let head = OPERATION_START | START_HAS_METADATA << 8 | COLLECT << 16;
        client.push([head, call, link, 5000]);
        let (at, length) = client.stage(b"\x01\0\0\0\x05\0\0\0\x03\0\0\0x-bin\xab\xab\xab");
        client.push([OPERATION_HEADERS, call, at, length]);
        client.message(call, b"one", false);
        client.message(call, b"two", false);
        client.push([OPERATION_END, call, 0, 0]);
        until(&mut client, &mut peer, |_, peer| {
            peer.streams.first().is_some_and(|stream| stream.ended)
        });
        let seen = &peer.streams[0];
        assert_eq!(seen.field(":method"), Some("POST"));
        assert_eq!(seen.field(":path"), Some("/t.Echo/Collect"));
        assert_eq!(seen.field(":authority"), Some("name.test:1"));
        assert_eq!(seen.field("te"), Some("trailers"));
        assert_eq!(seen.field("content-type"), Some("application/grpc"));
        assert_eq!(seen.field("x-bin"), Some("q6ur"));
        assert!(seen.field("user-agent").unwrap().starts_with("grpc-"));
        let timeout = seen.field("grpc-timeout").unwrap();
        let milliseconds: u64 = timeout.strip_suffix('m').unwrap().parse().unwrap();
        assert!((1000..=5000).contains(&milliseconds), "{timeout}");
        assert_eq!(seen.body, [framed(b"one"), framed(b"two")].concat());
        peer.headers(0, &[HEAD[0], HEAD[1], ("x-head", "h")], false);
        peer.data(0, &framed(b"reply"), false);
        peer.headers(0, &[("grpc-status", "0"), ("x-tail", "t")], true);
        until(&mut client, &mut peer, |client, _| {
            client.calls[&call].is_over()
        });
        let outcome = &client.calls[&call];
        assert_eq!(outcome.response, Some(FLAG_HAS_METADATA));
        assert_eq!(outcome.reply.as_deref(), Some(&b"reply"[..]));
        let metadata = client.engine.metadata(call).unwrap();
        assert!(metadata.ends_with(b"x-headh"), "{metadata:?}");
        let details = client.engine.status_details(call).unwrap();
        assert!(details.ends_with(b"x-tailt"), "{details:?}");
        client.settle();
    }
}

/// Makes one call and answers it; what came of it.
fn answered(driver: DriverChoice, method: u32, answer: impl Fn(&mut Peer)) -> (Outcome, Peer) {
    let (mut client, mut peer, link) = ready(driver, Limits::default());
    let call = client.start(link, method, NO_TIMEOUT);
    client.message(call, b"x", false);
    until(&mut client, &mut peer, |_, peer| {
        peer.streams
            .first()
            .is_some_and(|seen| !seen.body.is_empty())
    });
    answer(&mut peer);
    until(&mut client, &mut peer, |client, _| {
        client.calls[&call].is_over()
    });
    peer.turn();
    let outcome = client.calls.remove(&call).unwrap();
    client.push([OPERATION_RELEASE, call, 0, 0]);
    client.settle();
    (outcome, peer)
}

#[test]
fn answers_that_are_wrong_end_the_call_and_not_the_connection() {
    for driver in DRIVERS {
        let ok = [("grpc-status", "0")];
        let (outcome, _) = answered(driver, SAY, |peer| {
            peer.headers(
                0,
                &[
                    HEAD[0],
                    HEAD[1],
                    ("grpc-status", "5"),
                    ("grpc-message", "no%20x"),
                ],
                true,
            );
        });
        outcome.is(
            5,
            STATUS_HAS_DETAILS,
            STATUS_LOCAL | STATUS_HEADERS_SEEN,
            "no x",
        );
        let (outcome, _) = answered(driver, SAY, |peer| {
            peer.headers(
                0,
                &[(":status", "503"), ("content-type", "text/html")],
                false,
            );
        });
        outcome.is(14, STATUS_LOCAL, STATUS_UNPROCESSED, "503");
        let (outcome, _) = answered(driver, SAY, |peer| {
            peer.headers(0, &HEAD, false);
            peer.headers(0, &ok, true);
        });
        outcome.is(
            13,
            STATUS_LOCAL | STATUS_HEADERS_SEEN,
            STATUS_UNPROCESSED,
            "no message",
        );
        let (outcome, _) = answered(driver, SAY, |peer| {
            peer.headers(0, &HEAD, false);
            peer.data(0, &[framed(b"a"), framed(b"b")].concat(), false);
        });
        outcome.is(13, STATUS_LOCAL, 0, "more than one message");
        let (outcome, _) = answered(driver, SAY, |peer| {
            peer.headers(0, &HEAD, false);
            peer.data(0, b"\x01\0\0\0\x01a", false);
        });
        outcome.is(13, STATUS_LOCAL, 0, "compressed");
        let (outcome, _) = answered(driver, SAY, |peer| {
            peer.headers(0, &HEAD, false);
            peer.data(0, b"\0\x7f\0\0\0", false);
        });
        outcome.is(8, STATUS_LOCAL, 0, "larger than the limit");
        let (outcome, _) = answered(driver, EXPAND, |peer| {
            peer.headers(0, &HEAD, false);
            peer.data(0, &framed(b"a"), true);
        });
        outcome.is(2, STATUS_LOCAL, 0, "without trailers");
        assert_eq!(outcome.messages, [b"a"]);
        let (outcome, _) = answered(driver, EXPAND, |peer| {
            peer.headers(0, &HEAD, false);
            peer.data(0, &framed(b"abc")[..6], false);
            peer.headers(0, &ok, true);
        });
        outcome.is(13, STATUS_LOCAL, 0, "inside a message");
        let (outcome, _) = answered(driver, EXPAND, |peer| {
            peer.headers(0, &HEAD, false);
            peer.headers(0, &[("grpc-status", "what")], true);
        });
        outcome.is(2, STATUS_LOCAL, 0, "what");
        let (outcome, _) = answered(driver, EXPAND, |peer| {
            peer.headers(0, &HEAD, false);
            // Upper case is malformed (RFC 9113, 8.2): a stream error.
            peer.headers(0, &[("Grpc-Status", "0")], true);
        });
        outcome.is(13, STATUS_LOCAL, 0, "broke a rule");
        let (outcome, _) = answered(driver, SAY, |peer| {
            let large = "v".repeat(8000);
            let field = ("x-large", large.as_str());
            peer.headers(0, &[HEAD[0], HEAD[1], field, field, field], false);
        });
        outcome.is(8, STATUS_LOCAL, 0, "larger than the limit");
        // An answer before the request has ended: our side of the stream is reset by NO_ERROR.
        let (outcome, peer) = answered(driver, SAY, |peer| {
            peer.headers(0, &HEAD, false);
            peer.data(0, &framed(b"early"), false);
            peer.headers(0, &ok, true);
        });
        assert_eq!(outcome.reply.as_deref(), Some(&b"early"[..]));
        assert_eq!(peer.resets, [(0, Reason::NO_ERROR)]);
        for (reason, code, set) in [
            (Reason::REFUSED_STREAM, 14, STATUS_UNPROCESSED),
            (Reason::CANCEL, 1, 0),
            (Reason::ENHANCE_YOUR_CALM, 8, 0),
            (Reason::INTERNAL_ERROR, 13, 0),
        ] {
            let (outcome, _) = answered(driver, SAY, |peer| {
                let key = peer.streams[0].key;
                peer.http2.send_reset(key, reason);
            });
            outcome.is(code, set | STATUS_LOCAL, STATUS_UNPROCESSED & !set, "reset");
        }
    }
}

#[test]
fn calls_beyond_the_servers_limit_wait_in_order() {
    for driver in DRIVERS {
        let limits = Limits {
            max_concurrent_streams: 1,
            ..Limits::default()
        };
        let (mut client, mut peer, link) = ready(driver, limits);
        let notice = client.state(link, "ready").unwrap();
        assert!(notice.contains("\"maxConcurrentStreams\":1"), "{notice}");
        let calls: Vec<u32> = (0..20u8)
            .map(|number| client.say(link, &[number]))
            .collect();
        // One that waits is given up, one has a deadline that passes in the queue.
        client.push([OPERATION_CANCEL | 1 << 8, calls[5], 0, 0]);
        let late = client.start(link, SAY, 20);
        client.message(late, b"late", true);
        until(&mut client, &mut peer, |client, _| {
            client.calls[&calls[5]].is_over() && client.calls[&late].is_over()
        });
        client.calls[&calls[5]].is(1, STATUS_NEVER_SENT | STATUS_UNPROCESSED, 0, "cancelled");
        client.calls[&late].is(4, STATUS_NEVER_SENT | STATUS_UNPROCESSED, 0, "deadline");
        for number in 0..19 {
            until(&mut client, &mut peer, |_, peer| {
                peer.streams.get(number).is_some_and(|stream| stream.ended)
            });
            assert_eq!(peer.streams.len(), number + 1, "one at a time");
            let message = peer.streams[number].body[5..].to_vec();
            let expected = if number < 5 { number } else { number + 1 };
            assert_eq!(message, [expected as u8], "in order");
            peer.answer(number, &message);
        }
        until(&mut client, &mut peer, |client, _| {
            client.calls.values().all(Outcome::is_over)
        });
        client.settle();
    }
}

#[test]
fn a_server_that_goes_away_leaves_out_what_it_did_not_see() {
    for driver in DRIVERS {
        let limits = Limits {
            max_concurrent_streams: 2,
            ..Limits::default()
        };
        let (mut client, mut peer, link) = ready(driver, limits);
        let first = client.say(link, b"first");
        until(&mut client, &mut peer, |_, peer| peer.streams.len() == 1);
        peer.http2.send_go_away(
            GoAwayLast::Real,
            Reason::ENHANCE_YOUR_CALM,
            b"too_many_pings",
        );
        // On its way before the GOAWAY arrives, and one that waits for a stream.
        let second = client.say(link, b"second");
        let third = client.say(link, b"third");
        client.engine.apply();
        until(&mut client, &mut peer, |client, _| {
            client.calls[&second].is_over() && client.calls[&third].is_over()
        });
        client.calls[&second].is(14, STATUS_UNPROCESSED, STATUS_NEVER_SENT, "GOAWAY");
        client.calls[&third].is(14, STATUS_UNPROCESSED | STATUS_NEVER_SENT, 0, "GOAWAY");
        assert!(!client.calls[&first].is_over());
        let notice = client.state(link, "draining").unwrap();
        assert!(notice.contains("\"tooManyPings\":true"), "{notice}");
        let fourth = client.say(link, b"fourth");
        client.turn();
        client.turn();
        client.calls[&fourth].is(
            14,
            STATUS_UNPROCESSED | STATUS_NEVER_SENT,
            0,
            "takes no new calls",
        );
        peer.answer(0, b"still answered");
        until(&mut client, &mut peer, |client, peer| {
            client.calls[&first].is_over() && peer.gone
        });
        assert_eq!(
            client.calls[&first].reply.as_deref(),
            Some(&b"still answered"[..])
        );
        assert!(
            client.state(link, "closed").is_some(),
            "{:?}",
            client.notices
        );
        client.settle();
    }
}

#[test]
fn what_was_queued_before_a_goaway_was_read_is_sent_before_it_counts() {
    for driver in DRIVERS {
        let (mut client, mut peer, link) = ready(driver, Limits::default());
        peer.http2
            .send_go_away(GoAwayLast::Max, Reason::NO_ERROR, b"");
        peer.turn();
        let mut poll = libc::pollfd {
            fd: client.engine.descriptor(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one valid pollfd.
        let arrived = unsafe { libc::poll(&mut poll, 1, 10_000) };
        assert_eq!(arrived, 1, "the GOAWAY");
        // JavaScript has not heard of it and cannot know better.
        let call = client.say(link, b"in time");
        until(&mut client, &mut peer, |client, peer| {
            client.state(link, "draining").is_some()
                && peer.streams.first().is_some_and(|stream| stream.ended)
        });
        peer.answer(0, b"taken");
        until(&mut client, &mut peer, |client, _| {
            client.calls[&call].is_over()
        });
        let outcome = &client.calls[&call];
        assert_eq!(outcome.reply.as_deref(), Some(&b"taken"[..]));
        client.settle();
    }
}

#[test]
fn a_server_that_goes_away_with_an_error_before_the_first_call_has_failed() {
    for driver in DRIVERS {
        for (reason, state) in [
            (Reason::INADEQUATE_SECURITY, "failed"),
            (Reason::NO_ERROR, "draining"),
        ] {
            let (mut client, mut peer, link) = ready(driver, Limits::default());
            peer.http2
                .send_go_away(GoAwayLast::Real, reason, b"speak TLS");
            until(&mut client, &mut peer, |client, _| {
                client.state(link, state).is_some()
            });
            assert!(client.state(link, state).unwrap().contains("speak TLS"));
            client.settle();
        }
    }
}

#[test]
fn a_lost_connection_ends_its_calls_and_leaves_what_arrived() {
    for driver in DRIVERS {
        let (mut client, mut peer, link) = ready(driver, Limits::default());
        client.reads = false;
        let call = client.start(link, CHAT, NO_TIMEOUT);
        client.message(call, b"x", false);
        until(&mut client, &mut peer, |_, peer| peer.streams.len() == 1);
        peer.headers(0, &HEAD, false);
        peer.data(
            0,
            &[framed(b"whole"), framed(b"half")[..7].to_vec()].concat(),
            false,
        );
        until(&mut client, &mut peer, |client, _| {
            !client.calls[&call].waiting.is_empty()
        });
        drop(peer.socket.take());
        until(&mut client, &mut peer, |client, _| {
            client.calls[&call].is_over()
        });
        client.calls[&call].is(
            14,
            STATUS_LOCAL | STATUS_HEADERS_SEEN,
            STATUS_UNPROCESSED,
            "127.0.0.1:",
        );
        client.consume(call);
        assert_eq!(client.calls[&call].messages, [b"whole"]);
        assert!(client.state(link, "closed").is_some());
        client.settle();
        assert_eq!(client.stat("bufferedBytes"), 0);
    }
}

/// More messages than may wait at once, and the beginning of another.
fn many_and_a_half(count: u32) -> (Vec<Vec<u8>>, Vec<u8>) {
    let messages: Vec<Vec<u8>> = (0..count).map(|at| at.to_be_bytes().to_vec()).collect();
    let mut bytes: Vec<u8> = messages
        .iter()
        .flat_map(|message| framed(message))
        .collect();
    bytes.extend(&framed(&[7; 5000])[..3000]);
    (messages, bytes)
}

#[test]
fn what_arrived_and_had_to_wait_is_read_before_the_loss() {
    for (driver, reset) in DRIVERS
        .map(|driver| [(driver, false), (driver, true)])
        .into_iter()
        .flatten()
    {
        let (mut client, mut peer, link) = ready(driver, Limits::default());
        client.reads = false;
        let call = client.start(link, CHAT, NO_TIMEOUT);
        client.message(call, b"x", false);
        until(&mut client, &mut peer, |_, peer| peer.streams.len() == 1);
        let (messages, bytes) = many_and_a_half(3000);
        peer.headers(0, &HEAD, false);
        peer.data(0, &bytes, false);
        if reset {
            let key = peer.streams[0].key;
            peer.turn();
            peer.http2.send_reset(key, Reason::INTERNAL_ERROR);
        }
        until(&mut client, &mut peer, |client, _| {
            client.calls[&call].waiting.len() == 1024
        });
        drop(peer.socket.take());
        until(&mut client, &mut peer, |client, _| {
            client.state(link, "closed").is_some()
        });
        for _ in 0..20 {
            client.turn();
        }
        assert!(!client.calls[&call].is_over(), "told before it was read");
        while !client.calls[&call].is_over() {
            let before = client.calls[&call].messages.len();
            client.consume(call);
            client.turn();
            client.turn();
            let outcome = &client.calls[&call];
            assert!(
                outcome.messages.len() > before || outcome.is_over(),
                "no progress behind {before} messages on {driver:?}"
            );
        }
        client.consume(call);
        assert!(
            client.calls[&call].messages == messages,
            "bytes differ on {driver:?}"
        );
        let (code, text) = if reset {
            (13, "INTERNAL_ERROR")
        } else {
            (14, "127.0.0.1:")
        };
        client.calls[&call].is(
            code,
            STATUS_LOCAL | STATUS_HEADERS_SEEN,
            STATUS_UNPROCESSED,
            text,
        );
        client.settle();
        assert_eq!(client.stat("bufferedBytes"), 0);
    }
}

#[test]
fn who_gives_a_lost_call_up_leaves_nothing() {
    for driver in DRIVERS {
        let (mut client, mut peer, link) = ready(driver, Limits::default());
        client.reads = false;
        let forgotten = client.start(link, CHAT, NO_TIMEOUT);
        let cancelled = client.start(link, CHAT, NO_TIMEOUT);
        let late = client.start(link, EXPAND, 700);
        for call in [forgotten, cancelled, late] {
            client.message(call, b"x", false);
        }
        until(&mut client, &mut peer, |_, peer| peer.streams.len() == 3);
        let (_, bytes) = many_and_a_half(1200);
        for stream in 0..3 {
            peer.headers(stream, &HEAD, false);
            peer.data(stream, &bytes, false);
        }
        until(&mut client, &mut peer, |client, _| {
            client.calls.values().all(|call| call.waiting.len() == 1024)
        });
        drop(peer.socket.take());
        until(&mut client, &mut peer, |client, _| {
            client.state(link, "closed").is_some()
        });
        client.push([OPERATION_CANCEL | 1 << 8, cancelled, 0, 0]);
        client.push([OPERATION_RELEASE, forgotten, 0, 0]);
        client.turn();
        client.calls[&cancelled].is(1, STATUS_LOCAL, STATUS_UNPROCESSED, "on this side");
        assert!(!client.calls[&forgotten].is_over());
        client.calls.remove(&forgotten);
        // Nobody reads, so the deadline is what ends it.
        until(&mut client, &mut peer, |client, _| {
            client.calls[&late].is_over()
        });
        client.calls[&late].is(4, STATUS_LOCAL | STATUS_HEADERS_SEEN, 0, "deadline");
        client.settle();
        assert_eq!(client.stat("bufferedBytes"), 0);
    }
}

#[test]
fn metadata_that_the_server_does_not_take_is_not_sent() {
    for driver in DRIVERS {
        let limits = Limits {
            header_list_soft_bytes: 600,
            ..Limits::default()
        };
        let (mut client, mut peer, link) = ready(driver, limits);
        let mut call_with = |bytes: u32| {
            let call = client.next;
            client.next += 1;
            client.calls.insert(call, Outcome::default());
            client.push([
                OPERATION_START | START_HAS_METADATA << 8 | SAY << 16,
                call,
                link,
                NO_TIMEOUT,
            ]);
            let mut block = [1, 1, bytes].map(u32::to_le_bytes).concat();
            block.push(b'x');
            block.extend(vec![b'v'; bytes as usize]);
            let (at, length) = client.stage(&block);
            client.push([OPERATION_HEADERS, call, at, length]);
            client.message(call, b"x", true);
            call
        };
        let large = call_with(1000);
        let small = call_with(10);
        until(&mut client, &mut peer, |_, peer| {
            peer.streams.first().is_some_and(|stream| stream.ended)
        });
        // RESOURCE_EXHAUSTED, and nobody should try it again.
        client.calls[&large].is(8, STATUS_LOCAL, 0, "600 (SETTINGS_MAX_HEADER_LIST_SIZE)");
        assert!(client.calls[&large].text.contains("127.0.0.1:"));
        assert!(!client.calls[&small].is_over());
        assert_eq!(peer.streams.len(), 1);
        client.settle();
    }
}

#[test]
fn connections_that_cannot_be_made_say_why() {
    for driver in DRIVERS {
        let options = Options::default();
        let mut client = Client::new(driver, options);
        let mut peer = Peer::new(Limits::default());
        // Nobody listens there any more.
        let nobody = Peer::new(Limits::default()).target();
        let refused = client.engine.open(&nobody).unwrap();
        let waiting = client.say(refused, b"x");
        client.engine.apply();
        until(&mut client, &mut peer, |client, _| {
            client.calls[&waiting].is_over()
        });
        let unprocessed = STATUS_UNPROCESSED | STATUS_NEVER_SENT;
        client.calls[&waiting].is(14, unprocessed, 0, "Connection refused");
        assert!(client.calls[&waiting].text.contains(&nobody.address));
        assert!(client.state(refused, "failed").is_some());
        // Takes the connection and says nothing.
        peer.mute = true;
        let target = Target {
            connect_timeout_ms: 50,
            ..peer.target()
        };
        let silent = client.engine.open(&target).unwrap();
        until(&mut client, &mut peer, |client, _| {
            client.state(silent, "failed").is_some()
        });
        assert!(client.state(silent, "failed").unwrap().contains("SETTINGS"));
        // Speaks another protocol.
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::new(&other.local_addr().unwrap().to_string());
        let link = client.engine.open(&target).unwrap();
        client.engine.apply();
        let (mut socket, _) = other.accept().unwrap();
        socket
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
        until(&mut client, &mut peer, |client, _| {
            client.state(link, "failed").is_some()
        });
        let notice = client.state(link, "failed").unwrap();
        assert!(
            notice.contains("is not an HTTP/2 server") && notice.contains("HTTP/1.1 400"),
            "{notice}"
        );
        let missing = client
            .engine
            .open(&Target::new("unix:/nowhere/at/all.sock"))
            .unwrap();
        until(&mut client, &mut peer, |client, _| {
            client.state(missing, "failed").is_some()
        });
        assert!(client.engine.open(&Target::new("localhost:1")).is_err());
        client.settle();
    }
}

#[test]
fn a_unix_socket_is_as_good() {
    for driver in DRIVERS {
        let path = std::env::temp_dir().join(format!("millrace-{}-{driver:?}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let mut client = Client::new(driver, Options::default());
        let target = Target::new(&format!("unix:{}", path.display()));
        let link = client.engine.open(&target).unwrap();
        client.engine.apply();
        let (mut socket, _) = listener.accept().unwrap();
        // An empty SETTINGS frame.
        socket.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap();
        let mut unused = Peer::new(Limits::default());
        until(&mut client, &mut unused, |client, _| {
            client.state(link, "ready").is_some()
        });
        drop(socket);
        until(&mut client, &mut unused, |client, _| {
            client.state(link, "closed").is_some()
        });
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn calls_are_given_up_before_and_after_headers() {
    for driver in DRIVERS {
        let (mut client, mut peer, link) = ready(driver, Limits::default());
        let before = client.start(link, CHAT, NO_TIMEOUT);
        let after = client.start(link, CHAT, NO_TIMEOUT);
        let late = client.start(link, CHAT, 40);
        until(&mut client, &mut peer, |_, peer| peer.streams.len() == 3);
        peer.headers(1, &HEAD, false);
        peer.data(1, &framed(b"seen"), false);
        until(&mut client, &mut peer, |client, _| {
            !client.calls[&after].messages.is_empty()
        });
        for call in [before, after] {
            client.push([OPERATION_CANCEL | 1 << 8, call, 0, 0]);
        }
        until(&mut client, &mut peer, |client, peer| {
            client.calls.values().all(Outcome::is_over) && peer.resets.len() == 3
        });
        client.calls[&before].is(
            1,
            STATUS_LOCAL,
            STATUS_HEADERS_SEEN | STATUS_UNPROCESSED,
            "",
        );
        client.calls[&after].is(
            1,
            STATUS_LOCAL | STATUS_HEADERS_SEEN,
            STATUS_UNPROCESSED,
            "",
        );
        assert_eq!(client.calls[&late].code(), 4);
        assert!(peer.resets.iter().all(|reset| reset.1 == Reason::CANCEL));
        client.settle();
    }
}

#[test]
fn a_server_that_answers_no_ping_is_given_up() {
    for driver in DRIVERS {
        let mut client = Client::new(driver, Options::default());
        let mut peer = Peer::new(Limits::default());
        let target = Target {
            keepalive_time_ms: 50,
            keepalive_timeout_ms: 50,
            ..peer.target()
        };
        let link = client.engine.open(&target).unwrap();
        until(&mut client, &mut peer, |client, _| {
            client.state(link, "ready").is_some()
        });
        let call = client.start(link, CHAT, NO_TIMEOUT);
        until(&mut client, &mut peer, |_, peer| peer.streams.len() == 1);
        peer.mute = true;
        until(&mut client, &mut peer, |client, _| {
            client.calls[&call].is_over()
        });
        client.calls[&call].is(14, STATUS_LOCAL, STATUS_UNPROCESSED, "keepalive");
        client.settle();
    }
}

#[test]
fn unsent_bytes_are_bounded_and_writable_says_when() {
    for driver in DRIVERS {
        let (mut client, mut peer, link) = ready(driver, Limits::default());
        let call = client.start(link, CHAT, NO_TIMEOUT);
        until(&mut client, &mut peer, |_, peer| peer.streams.len() == 1);
        let mark = client.control.get(CONTROL_STREAM_MARK);
        // The peer's turn does not come: neither window nor socket takes everything.
        let mut sent = 0;
        while client.pending.get(call as usize) < mark {
            client.message(call, &[7; 60_000], false);
            sent += 1;
            client.engine.apply();
            assert!(sent < 100);
        }
        client.push([OPERATION_END, call, 0, 0]);
        until(&mut client, &mut peer, |client, peer| {
            peer.streams[0].ended && client.calls[&call].writable > 0
        });
        assert_eq!(peer.streams[0].body, framed(&[7; 60_000]).repeat(sent));
        peer.answer(0, b"");
        until(&mut client, &mut peer, |client, _| {
            client.calls[&call].is_over()
        });
        client.settle();
    }
}

#[test]
fn shutting_waits_for_calls_and_aborting_does_not() {
    for driver in DRIVERS {
        let (mut client, mut peer, link) = ready(driver, Limits::default());
        let call = client.say(link, b"x");
        until(&mut client, &mut peer, |_, peer| peer.streams.len() == 1);
        client.engine.shut(link);
        let refused = client.say(link, b"y");
        client.turn();
        client.turn();
        client.calls[&refused].is(14, STATUS_NEVER_SENT, 0, "closed");
        assert!(client.state(link, "closed").is_none());
        peer.answer(0, b"reply");
        until(&mut client, &mut peer, |client, peer| {
            peer.gone && client.calls[&call].is_over()
        });
        assert!(client.calls[&call].reply.is_some());
        assert!(client.state(link, "closed").is_some());
        let (mut client, mut peer, link) = ready(driver, Limits::default());
        let call = client.say(link, b"x");
        until(&mut client, &mut peer, |_, peer| peer.streams.len() == 1);
        client.engine.abort(link);
        until(&mut client, &mut peer, |client, _| {
            client.calls[&call].is_over()
        });
        client.calls[&call].is(14, STATUS_LOCAL, STATUS_UNPROCESSED, "closed on this side");
        client.settle();
    }
}

/// How a message stands on the wire when it is compressed by an encoding.
fn packed(encoding: &str, message: &[u8]) -> Vec<u8> {
    use flate2::{Compression, write::GzEncoder, write::ZlibEncoder};
    let level = Compression::default();
    let bytes = if encoding == "gzip" {
        let mut encoder = GzEncoder::new(Vec::new(), level);
        encoder.write_all(message).unwrap();
        encoder.finish().unwrap()
    } else {
        let mut encoder = ZlibEncoder::new(Vec::new(), level);
        encoder.write_all(message).unwrap();
        encoder.finish().unwrap()
    };
    flagged(&bytes)
}

/// Bytes in a message that says that it is compressed.
fn flagged(bytes: &[u8]) -> Vec<u8> {
    let mut message = framed(bytes);
    message[0] = 1;
    message
}

/// The flag of each message of a request, and what it is.
fn unpacked(encoding: &str, mut body: &[u8]) -> Vec<(bool, Vec<u8>)> {
    use flate2::read::{MultiGzDecoder, ZlibDecoder};
    let mut messages = Vec::new();
    while let Some((prefix, rest)) = body.split_first_chunk::<5>() {
        let [flag, length @ ..] = *prefix;
        let (message, rest) = rest.split_at(u32::from_be_bytes(length) as usize);
        let mut bytes = Vec::new();
        match (flag, encoding) {
            (0, _) => bytes.extend(message),
            (_, "gzip") => drop(
                MultiGzDecoder::new(message)
                    .read_to_end(&mut bytes)
                    .unwrap(),
            ),
            _ => drop(ZlibDecoder::new(message).read_to_end(&mut bytes).unwrap()),
        }
        messages.push((flag == 1, bytes));
        body = rest;
    }
    messages
}

const ENCODED: [(&str, u32); 2] = [("gzip", START_GZIP), ("deflate", START_DEFLATE)];

#[test]
fn requests_are_compressed_as_their_call_says() {
    for (driver, (encoding, flag)) in DRIVERS
        .iter()
        .flat_map(|&driver| ENCODED.map(|one| (driver, one)))
    {
        // One stream at a time: the second call's messages wait without one.
        let limits = Limits {
            max_concurrent_streams: 1,
            ..Limits::default()
        };
        let (mut client, mut peer, link) = ready(driver, limits);
        let large = [7; 100_000];
        let mut calls = Vec::new();
        for _ in 0..2 {
            let call = client.start(link, CHAT, NO_TIMEOUT);
            let count = client.control.get(CONTROL_OPERATION_COUNT) as usize;
            let at = (count - 1) * OPERATION_WORDS;
            client
                .operations
                .set(at, OPERATION_START | flag << 8 | CHAT << 16);
            client.message(call, &large, false);
            client.push([OPERATION_COMPRESSION, call, 1, 0]);
            client.message(call, &large, false);
            client.push([OPERATION_COMPRESSION, call, 1, 1]);
            client.message(call, b"short", false);
            client.message(call, &large, true);
            calls.push(call);
        }
        for number in 0..2 {
            until(&mut client, &mut peer, |_, peer| {
                peer.streams.get(number).is_some_and(|seen| seen.ended)
            });
            let seen = &peer.streams[number];
            assert_eq!(seen.field("grpc-encoding"), Some(encoding));
            assert_eq!(
                seen.field("grpc-accept-encoding"),
                Some("identity,deflate,gzip")
            );
            let messages = unpacked(encoding, &seen.body);
            let flags: Vec<bool> = messages.iter().map(|message| message.0).collect();
            // What would grow is left alone.
            assert_eq!(flags, [true, false, false, true]);
            for number in [0, 1, 3] {
                assert_eq!(messages[number].1, large);
            }
            assert_eq!(messages[2].1, b"short");
            peer.answer(number, b"");
        }
        until(&mut client, &mut peer, |client, _| {
            calls.iter().all(|call| client.calls[call].is_over())
        });
        assert_eq!(client.stat("messagesCompressed"), 4);
        client.settle();
    }
}

#[test]
fn compressed_responses_are_unpacked_wherever_they_are_cut() {
    let message = b"what repeats ".repeat(100);
    for (driver, (encoding, _)) in DRIVERS
        .iter()
        .flat_map(|&driver| ENCODED.map(|one| (driver, one)))
    {
        let bytes = [
            packed(encoding, &message),
            framed(b"plain"),
            packed(encoding, &message),
        ]
        .concat();
        let head = [HEAD[0], HEAD[1], ("grpc-encoding", encoding)];
        let (mut client, mut peer, link) = ready(driver, Limits::default());
        for (number, cut) in (1..bytes.len()).step_by(5).enumerate() {
            let call = client.start(link, CHAT, NO_TIMEOUT);
            until(&mut client, &mut peer, |_, peer| {
                peer.streams.len() > number
            });
            peer.headers(number, &head, false);
            peer.data(number, &bytes[..cut], false);
            until(&mut client, &mut peer, |client, _| {
                client.calls[&call].response.is_some()
            });
            assert_eq!(client.calls[&call].response, Some(FLAG_COMPRESSED));
            peer.data(number, &bytes[cut..], false);
            peer.headers(number, &[("grpc-status", "0")], true);
            until(&mut client, &mut peer, |client, _| {
                client.calls[&call].is_over()
            });
            let expected = [&message[..], b"plain", &message];
            assert_eq!(client.calls[&call].messages, expected, "cut at {cut}");
        }
        client.settle();
        let (outcome, _) = answered(driver, SAY, |peer| {
            peer.headers(0, &head, false);
            peer.data(0, &packed(encoding, &message), false);
            peer.headers(0, &[("grpc-status", "0")], true);
        });
        assert_eq!(outcome.reply, Some(message.clone()));
    }
}

#[test]
fn compressed_responses_that_are_wrong_end_their_call() {
    let bomb = packed("gzip", &vec![0; 16 * 1024 * 1024]);
    let gzip = packed("gzip", &[7; 1000]);
    let broken = flagged(&gzip[5..gzip.len() - 1]);
    let cases: [(&[u8], Option<&str>, u32, &str); 6] = [
        (
            &bomb,
            Some("gzip"),
            8,
            "more than the limit of 4194304 bytes",
        ),
        (&broken, Some("gzip"), 13, "not a complete stream"),
        (&gzip, Some("deflate"), 13, "not a complete stream"),
        (&gzip, None, 13, "grpc-encoding names no encoding"),
        (
            &gzip,
            Some("identity"),
            13,
            "grpc-encoding names no encoding",
        ),
        (
            &gzip,
            Some("br"),
            13,
            "by br, which is none of the encodings offered",
        ),
    ];
    for driver in DRIVERS {
        for (bytes, encoding, code, text) in cases {
            for method in [SAY, EXPAND] {
                let (outcome, peer) = answered(driver, method, |peer| {
                    let mut head = HEAD.to_vec();
                    head.extend(encoding.map(|encoding| ("grpc-encoding", encoding)));
                    peer.headers(0, &head, false);
                    peer.data(0, bytes, false);
                });
                outcome.is(
                    code,
                    STATUS_LOCAL | STATUS_HEADERS_SEEN,
                    STATUS_UNPROCESSED,
                    text,
                );
                assert_eq!(peer.resets, [(0, Reason::CANCEL)]);
            }
        }
    }
}

#[test]
fn unread_responses_are_unpacked_no_further_than_a_window() {
    for driver in DRIVERS {
        let (mut client, mut peer, link) = ready(driver, Limits::default());
        client.reads = false;
        let call = client.start(link, EXPAND, NO_TIMEOUT);
        client.push([OPERATION_READING, call, 0, 0]);
        until(&mut client, &mut peer, |_, peer| peer.streams.len() == 1);
        let message = packed("gzip", &[0; 50_000]);
        let count = 300;
        peer.headers(0, &[HEAD[0], HEAD[1], ("grpc-encoding", "gzip")], false);
        peer.data(0, &message.repeat(count), false);
        peer.headers(0, &[("grpc-status", "0")], true);
        until(&mut client, &mut peer, |client, _| {
            !client.calls[&call].waiting.is_empty()
        });
        assert!(client.stat("overflowBytes") < 512 * 1024);
        assert!(!client.calls[&call].is_over());
        while !client.calls[&call].is_over() || !client.calls[&call].waiting.is_empty() {
            client.consume(call);
            client.turn();
        }
        let messages = &client.calls[&call].messages;
        assert_eq!(messages.len(), count);
        assert!(messages.iter().all(|message| message == &[0; 50_000]));
        client.settle();
        assert_eq!(client.stat("overflowBytes"), 0);
    }
}
