//! Attacks on a server, as far as HTTP/2 alone does not answer them: calls that are over before
//! JavaScript has heard of them, and what a thread does while it is under attack.
#![allow(missing_docs)]

mod support;

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use millrace_engine::{MethodKind, Options};
use millrace_ring::DriverChoice;
use support::{Behaviour, DRIVERS, Script, client::framed, wire::*};

const SAY: &str = "/t.Echo/Say";
const CHAT: &str = "/t.Echo/Chat";
const PATIENCE: Duration = Duration::from_secs(30);

fn server(driver: DriverChoice) -> Script {
    let options = Options {
        driver,
        // The PINGs of a test are no attack.
        keepalive_min_time_ms: 0,
        ..Options::default()
    };
    Script::new(
        options,
        &[
            (SAY, MethodKind::Unary, Behaviour::Echo),
            (CHAT, MethodKind::Bidi, Behaviour::Echo),
        ],
    )
}

/// A connection that sends what it is told, in one piece.
struct Attacker {
    socket: TcpStream,
    input: Vec<u8>,
    frames: Vec<Frame>,
}

impl Attacker {
    fn connect(server: &Script) -> Self {
        let mut socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        let opening = [PREFACE, &settings(&[])].concat();
        socket.write_all(&opening).unwrap();
        Self {
            socket,
            input: Vec::new(),
            frames: Vec::new(),
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    fn read(&mut self) {
        let mut buffer = [0; 65_536];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => self.input.extend(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => break,
            }
        }
        self.frames.extend(take_frames(&mut self.input));
    }

    fn until(&mut self, server: &mut Script, what: &str, done: impl Fn(&Frame) -> bool) -> Frame {
        let started = Instant::now();
        loop {
            if let Some(frame) = self.frames.iter().find(|frame| done(frame)) {
                return frame.clone();
            }
            assert!(started.elapsed() < PATIENCE, "no {what}: {:?}", self.frames);
            server.turn(Duration::from_millis(1));
            self.read();
        }
    }

    /// Has the server take everything that was sent before.
    fn settle(&mut self, server: &mut Script) {
        self.frames.clear();
        self.send(&frame(PING, 0, 0, b"received"));
        self.until(server, "PING", |frame| {
            frame.kind == PING && frame.flags & ACK != 0
        });
    }

    fn going_away(&mut self, server: &mut Script) -> u32 {
        self.until(server, "GOAWAY", |frame| frame.kind == GOAWAY)
            .code()
    }
}

fn stat(server: &Script, name: &str) -> u64 {
    let stats = server.engine.stats();
    let rest = stats.split(&format!("\"{name}\":")).nth(1).expect(name);
    let digits = rest.chars().take_while(char::is_ascii_digit);
    digits.collect::<String>().parse().unwrap()
}

/// What becomes of a stream within one read, in several orders; each leaves nothing to JavaScript.
#[test]
fn a_call_that_ends_in_the_read_that_began_it_starts_no_handler() {
    type Pattern = fn(u32) -> Vec<u8>;
    let message = || framed(&[7; 100]);
    let whole: [(&str, Pattern); 5] = [
        ("reset at once", |id| {
            [request(id, 0, CHAT), reset(id, CANCEL)].concat()
        }),
        ("reset behind its end", |id| {
            [request(id, END_STREAM, CHAT), reset(id, CANCEL)].concat()
        }),
        ("reset behind messages", |id| {
            let two = framed(&[7; 100]).repeat(2);
            [request(id, 0, CHAT), data(id, 0, &two), reset(id, CANCEL)].concat()
        }),
        ("a whole unary call, reset", |id| {
            let message = framed(&[7; 100]);
            let call = [request(id, 0, SAY), data(id, END_STREAM, &message)];
            [call.concat(), reset(id, CANCEL)].concat()
        }),
        ("a reset provoked", |id| {
            [request(id, 0, CHAT), window_update(id, WINDOW_MAX)].concat()
        }),
    ];
    for driver in DRIVERS {
        let mut server = server(driver);
        let mut peer = Attacker::connect(&server);
        peer.settle(&mut server);
        let mut id = 1;
        for (about, pattern) in whole {
            let mut bytes = Vec::new();
            for _ in 0..20 {
                bytes.extend(pattern(id));
                id += 2;
            }
            peer.send(&bytes);
            peer.settle(&mut server);
            assert_eq!(stat(&server, "records"), 0, "{about} on {driver:?}");
        }
        // The ends apart from the beginnings: first all calls, then their messages, then the resets.
        let ids: Vec<u32> = (0..20).map(|at| id + 2 * at).collect();
        let mut bytes = Vec::new();
        bytes.extend(ids.iter().flat_map(|&id| request(id, 0, CHAT)));
        bytes.extend(ids.iter().flat_map(|&id| data(id, 0, &message())));
        bytes.extend(ids.iter().flat_map(|&id| data(id, END_STREAM, b"")));
        bytes.extend(ids.iter().flat_map(|&id| reset(id, CANCEL)));
        // A neighbour that is meant.
        let honest = id + 40;
        bytes.extend(request(honest, 0, SAY));
        bytes.extend(data(honest, END_STREAM, &message()));
        peer.send(&bytes);
        peer.until(&mut server, "answer", |frame| {
            frame.kind == HEADERS && frame.stream == honest && frame.flags & END_STREAM != 0
        });
        assert!(server.calls.is_empty() && server.cancelled.is_empty());
        assert_eq!(stat(&server, "callsCancelled"), 120);
        assert_eq!(stat(&server, "calls"), 121);
        for gauge in ["activeCalls", "waitingMessages", "unsentBytes", "ringHeld"] {
            assert_eq!(stat(&server, gauge), 0, "{gauge}");
        }
    }
}

/// Sends calls and resets, some at a time, until the server has had enough; how many it took.
fn rapid_reset(server: &mut Script) -> u64 {
    let before = stat(server, "resetsReceived");
    let mut peer = Attacker::connect(server);
    for id in (0..1_100).map(|number| 2 * number + 1) {
        peer.send(&request(id, 0, CHAT));
        peer.send(&reset(id, CANCEL));
    }
    assert_eq!(peer.going_away(server), ENHANCE_YOUR_CALM);
    drop(peer);
    let started = Instant::now();
    while stat(server, "connections") > 0 {
        assert!(started.elapsed() < PATIENCE);
        server.turn(Duration::from_millis(1));
    }
    stat(server, "resetsReceived") - before
}

#[test]
fn while_a_thread_is_attacked_new_connections_earn_their_resets() {
    for driver in DRIVERS {
        let mut server = server(driver);
        let first = rapid_reset(&mut server);
        assert!((1_000..1_050).contains(&first), "{first} resets");
        let second = rapid_reset(&mut server);
        assert!((100..150).contains(&second), "{second} resets");
        assert_eq!(stat(&server, "rapidResets"), 2);
        // An honest client cancels, too: as many calls as it has let finish, and a hundred.
        let mut peer = Attacker::connect(&server);
        let mut id = 1;
        let message = framed(b"honest");
        for _ in 0..300 {
            let call = [request(id, 0, SAY), data(id, END_STREAM, &message)];
            peer.send(&call.concat());
            id += 2;
        }
        let last = id - 2;
        peer.until(&mut server, "answer", |frame| {
            frame.kind == HEADERS && frame.stream == last && frame.flags & END_STREAM != 0
        });
        for _ in 0..350 {
            peer.send(&[request(id, 0, CHAT), reset(id, CANCEL)].concat());
            id += 2;
        }
        peer.settle(&mut server);
        assert_eq!(stat(&server, "rapidResets"), 2);
    }
}
