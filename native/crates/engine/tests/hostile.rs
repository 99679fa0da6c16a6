//! Our client against servers that mean it harm, by raw frames: what they do costs them their
//! connection or a call, is counted and named, and calls on other connections go on.
#![allow(missing_docs)]

mod support;

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use millrace_engine::{Options, Target, layout::*};
use millrace_ring::DriverChoice;
use support::{
    Behaviour, DRIVERS, Script,
    caller::{CHAT, Client, EXPAND, METHODS, Outcome, PATIENCE, SAY},
    client::framed,
    wire::*,
};

const OK: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/grpc")];
/// gRPC status codes.
const DEADLINE_EXCEEDED: u32 = 4;
const RESOURCE_EXHAUSTED: u32 = 8;
const INTERNAL: u32 = 13;
const UNAVAILABLE: u32 = 14;

/// A server that sends what it is told.
struct Hostile {
    listener: TcpListener,
    socket: Option<TcpStream>,
    input: Vec<u8>,
    /// Bytes of the client's preface that have not come.
    preface: usize,
    frames: Vec<Frame>,
    out: Vec<u8>,
    gone: bool,
}

impl Hostile {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self {
            listener,
            socket: None,
            input: Vec::new(),
            preface: PREFACE.len(),
            frames: Vec::new(),
            out: Vec::new(),
            gone: false,
        }
    }

    fn target(&self) -> Target {
        Target::new(&self.listener.local_addr().unwrap().to_string())
    }

    fn send(&mut self, bytes: &[u8]) {
        self.out.extend(bytes);
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
        while !self.out.is_empty() && !self.gone {
            match socket.write(&self.out) {
                Ok(length) => drop(self.out.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // It was cut; what the client has said before that is still to be read.
                Err(_) => self.out.clear(),
            }
        }
        let mut buffer = [0; 65_536];
        loop {
            match socket.read(&mut buffer) {
                Ok(length) if length > 0 => self.input.extend(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                _ => {
                    self.gone = true;
                    break;
                }
            }
        }
        let skipped = self.preface.min(self.input.len());
        self.input.drain(..skipped);
        self.preface -= skipped;
        self.frames.extend(take_frames(&mut self.input));
    }

    fn find(&self, kind: u8) -> Option<&Frame> {
        self.frames.iter().find(|frame| frame.kind == kind)
    }
}

/// A client with one connection to a hostile server, and one to an honest server.
struct Scene {
    client: Client,
    hostile: Hostile,
    honest: Script,
    link: u32,
    honest_link: u32,
}

impl Scene {
    /// Both connections are ready; the hostile server has said these settings.
    fn new(driver: DriverChoice, options: Options, entries: &[(u16, u32)]) -> Self {
        let answers = METHODS.map(|(path, kind)| (path, kind, Behaviour::Echo));
        let honest = Script::new(
            Options {
                driver,
                ..Options::default()
            },
            &answers,
        );
        let mut client = Client::new(driver, options);
        let mut hostile = Hostile::new();
        hostile.send(&settings(entries));
        let link = client.engine.open(&hostile.target()).unwrap();
        let target = Target::new(&format!("127.0.0.1:{}", honest.port));
        let honest_link = client.engine.open(&target).unwrap();
        let mut scene = Self {
            client,
            hostile,
            honest,
            link,
            honest_link,
        };
        scene.until("both connections", |scene| {
            [link, honest_link]
                .iter()
                .all(|&link| scene.client.state(link, "ready").is_some())
        });
        scene
    }

    fn turn(&mut self) {
        self.client.turn();
        self.hostile.turn();
        self.honest.turn(Duration::ZERO);
    }

    #[track_caller]
    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !done(self) {
            assert!(
                started.elapsed() < PATIENCE,
                "no {what}; calls {:?}; notices {:?}",
                self.client.calls,
                self.client.notices
            );
            self.turn();
        }
    }

    /// Starts a call on the hostile connection, on its stream 1, and waits until it is seen.
    fn call(&mut self, method: u32) -> u32 {
        let call = self.client.start(self.link, method, NO_TIMEOUT);
        self.client.message(call, b"x", method != CHAT);
        self.until("request", |scene| scene.hostile.find(DATA).is_some());
        call
    }

    #[track_caller]
    fn ended(&mut self, call: u32) -> &Outcome {
        self.until("end", |scene| scene.client.calls[&call].is_over());
        &self.client.calls[&call]
    }

    /// The honest server's connection works, and nothing is left of what the other has sent.
    #[track_caller]
    fn is_unharmed(&mut self) {
        let call = self.client.say(self.honest_link, b"honest");
        self.until("reply", |scene| scene.client.calls[&call].is_over());
        assert_eq!(
            self.client.calls[&call].reply.as_deref(),
            Some(&b"honest"[..])
        );
        self.client.settle();
        assert_eq!(self.client.stat("overflowBytes"), 0);
    }
}

struct Attack {
    name: &'static str,
    counter: &'static str,
    code: u32,
    /// In the status of the call.
    text: &'static str,
    /// Sent when the call has been seen.
    begin: Vec<u8>,
    /// Sent over and over.
    more: Vec<u8>,
}

fn flood(name: &'static str, counter: &'static str, text: &'static str, piece: &[u8]) -> Attack {
    Attack {
        name,
        counter,
        code: ENHANCE_YOUR_CALM,
        text,
        begin: Vec::new(),
        more: piece.repeat(100),
    }
}

/// What ends the connection that it comes over.
fn attacks() -> Vec<Attack> {
    let early = headers(1, 0, &[(":status", "103"), ("link", "</x>")]);
    let data_of = |payload: &[u8]| data(1, 0, payload);
    let begun = headers(1, 0, &OK);
    let endless = frame(HEADERS, 0, 1, &block(&OK));
    // A field of 4,000 bytes for the table, and a byte for each use of it.
    let mut bomb = block(&OK);
    bomb.push(0x40);
    bomb.extend(&block(&[("x", &"v".repeat(4_000))])[1..]);
    bomb.extend([0xbe; 2_000]);
    vec![
        flood(
            "response headers over and over",
            "ignoredFloods",
            "without effect",
            &begun,
        ),
        flood("1xx responses", "ignoredFloods", "without effect", &early),
        flood("PING", "pingFloods", "PING", &frame(PING, 0, 0, &[0; 8])),
        flood("SETTINGS", "settingsFloods", "SETTINGS", &settings(&[])),
        flood(
            "changes of INITIAL_WINDOW_SIZE",
            "settingsFloods",
            "SETTINGS",
            &[settings(&[(4, 0)]), settings(&[(4, 65_535)])].concat(),
        ),
        flood(
            "PRIORITY",
            "priorityFloods",
            "PRIORITY",
            &frame(PRIORITY, 0, 1, &[0; 5]),
        ),
        flood(
            "unknown frames",
            "ignoredFloods",
            "without effect",
            &frame(0x42, 0, 0, b""),
        ),
        flood(
            "WINDOW_UPDATE",
            "windowUpdateFloods",
            "WINDOW_UPDATE",
            &window_update(0, 1),
        ),
        Attack {
            begin: begun.clone(),
            ..flood("empty DATA", "emptyDataFloods", "empty DATA", &data_of(b""))
        },
        Attack {
            begin: begun.clone(),
            ..flood(
                "DATA by the byte",
                "tinyDataFloods",
                "tiny DATA",
                &data_of(&[0]),
            )
        },
        Attack {
            begin: endless.clone(),
            ..flood(
                "CONTINUATION without end",
                "continuationFloods",
                "CONTINUATION",
                &frame(CONTINUATION, 0, 1, &block(&[("x", "y")])),
            )
        },
        Attack {
            begin: endless,
            ..flood(
                "empty CONTINUATION",
                "continuationFloods",
                "CONTINUATION",
                &frame(CONTINUATION, 0, 1, b""),
            )
        },
        Attack {
            begin: frame(HEADERS, 0, 1, &[0; 16_384]),
            more: frame(CONTINUATION, 0, 1, &[0; 16_384]),
            ..flood(
                "a header block without end",
                "headerBlocksCut",
                "header block",
                b"",
            )
        },
        Attack {
            more: frame(HEADERS, END_HEADERS, 1, &bomb),
            ..flood("an HPACK bomb", "hpackBombs", "HPACK bomb", b"")
        },
        Attack {
            // ":method: GET", a byte each: 42 bytes of accounting for every one.
            more: frame(HEADERS, END_HEADERS, 1, &[0x82; 16_000]),
            ..flood(
                "an HPACK bomb of short fields",
                "hpackBombs",
                "HPACK bomb",
                b"",
            )
        },
        Attack {
            begin: begun.clone(),
            more: headers(1, END_STREAM, &[("x", &"v".repeat(15_000)), ("y", "v")]).repeat(2),
            ..flood("trailers over and over", "connectionErrors", "HEADERS", b"")
        }
        .with(5),
        Attack {
            more: frame(
                PUSH_PROMISE,
                END_HEADERS,
                1,
                &[&[0, 0, 0, 2], &block(&OK)[..]].concat(),
            ),
            ..flood("PUSH_PROMISE", "pushesRefused", "push", b"")
        }
        .with(PROTOCOL_ERROR),
        Attack {
            more: settings(&[(5, 0)]),
            ..flood("MAX_FRAME_SIZE 0", "settingsInvalid", "MAX_FRAME_SIZE", b"")
        }
        .with(PROTOCOL_ERROR),
        Attack {
            more: window_update(0, WINDOW_MAX),
            ..flood(
                "a window above the maximum",
                "flowControlErrors",
                "window",
                b"",
            )
        }
        .with(3),
        Attack {
            begin: begun,
            // Nobody reads, and it takes no notice.
            more: data(1, 0, &framed(&[7; 16_000])).repeat(8),
            ..flood("DATA beyond the window", "flowControlErrors", "window", b"")
        }
        .with(3),
    ]
}

impl Attack {
    fn with(mut self, code: u32) -> Self {
        self.code = code;
        self
    }
}

#[test]
fn a_hostile_server_loses_its_connection_and_nobody_else_does() {
    for driver in DRIVERS {
        for attack in attacks() {
            let about = format!("{} on {driver:?}", attack.name);
            let mut scene = Scene::new(driver, Options::default(), &[]);
            scene.client.reads = false;
            let call = scene.call(EXPAND);
            scene.hostile.send(&attack.begin);
            let started = Instant::now();
            while scene.hostile.find(GOAWAY).is_none() {
                assert!(started.elapsed() < PATIENCE, "{about} is not cut");
                if scene.hostile.out.is_empty() {
                    scene.hostile.send(&attack.more);
                }
                scene.turn();
            }
            let going = scene.hostile.find(GOAWAY).expect("GOAWAY");
            assert_eq!(going.code(), attack.code, "{about}");
            let link = scene.link;
            scene.until("notice", |scene| {
                scene.client.state(link, "closed").is_some()
            });
            let state = scene.client.state(link, "closed").unwrap();
            assert!(state.contains(attack.text), "{about}: {state}");
            assert_eq!(scene.client.stat(attack.counter), 1, "{about}");
            let outcome = &scene.client.calls[&call];
            assert!(outcome.is_over(), "{about}: {outcome:?}");
            if outcome.code() == UNAVAILABLE {
                assert!(
                    outcome.text.contains(attack.text),
                    "{about}: {}",
                    outcome.text
                );
                assert!(outcome.text.contains("127.0.0.1:"), "{about}");
            }
            scene.is_unharmed();
        }
    }
}

/// A server that breaks what belongs to one call breaks that call.
#[test]
fn what_a_server_does_to_one_call_costs_that_call() {
    type Answer = fn() -> Vec<u8>;
    let answers: [(&str, Answer, u32, &str); 6] = [
        (
            "too many header fields",
            || {
                let names: Vec<String> = (0..200).map(|at| format!("x-{at}")).collect();
                let fields = names.iter().map(|name| (name.as_str(), "v"));
                let fields: Vec<_> = OK.into_iter().chain(fields).collect();
                headers(1, 0, &fields)
            },
            RESOURCE_EXHAUSTED,
            "headers are larger",
        ),
        (
            "headers twice",
            || headers(1, 0, &OK).repeat(2),
            INTERNAL,
            "broke a rule",
        ),
        (
            "a window above the maximum",
            || window_update(1, WINDOW_MAX),
            INTERNAL,
            "broke a rule",
        ),
        (
            "DATA before headers",
            || data(1, 0, &framed(b"x")),
            INTERNAL,
            "broke a rule",
        ),
        (
            "a message larger than any may be",
            || {
                let length = 0x7fff_ffff_u32.to_be_bytes();
                let message = [&[0], &length[..]].concat();
                [headers(1, 0, &OK), data(1, 0, &message)].concat()
            },
            RESOURCE_EXHAUSTED,
            "limit",
        ),
        (
            "a switch of protocols",
            || headers(1, 0, &[(":status", "101")]),
            INTERNAL,
            "broke a rule",
        ),
    ];
    for driver in DRIVERS {
        for (about, answer, code, text) in answers {
            let mut scene = Scene::new(driver, Options::default(), &[]);
            let call = scene.call(SAY);
            scene.hostile.send(&answer());
            let outcome = scene.ended(call);
            assert_eq!(outcome.code(), code, "{about}: {}", outcome.text);
            outcome.is(code, STATUS_LOCAL, STATUS_UNPROCESSED, text);
            scene.until("RST_STREAM", |scene| {
                scene.hostile.find(RST_STREAM).is_some()
            });
            assert!(scene.hostile.find(GOAWAY).is_none(), "{about}");
            scene.is_unharmed();
        }
    }
}

/// Each refused call says that it may be made again, once; the engine makes none again by itself.
#[test]
fn a_server_that_refuses_every_call_is_asked_once_for_each() {
    for driver in DRIVERS {
        let mut scene = Scene::new(driver, Options::default(), &[]);
        for number in 0..100 {
            let call = scene.client.say(scene.link, b"x");
            let id = 2 * number + 1;
            scene.until("request", |scene| {
                let requests = scene.hostile.frames.iter();
                requests.filter(|frame| frame.kind == HEADERS).count() > number as usize
            });
            scene.hostile.send(&reset(id, REFUSED_STREAM));
            let bits = STATUS_LOCAL | STATUS_UNPROCESSED;
            let outcome = scene.ended(call);
            outcome.is(UNAVAILABLE, bits, STATUS_NEVER_SENT, "REFUSED_STREAM");
        }
        // Late resets of calls that are over are ignored, in bounds.
        let link = scene.link;
        let started = Instant::now();
        while scene.client.state(link, "closed").is_none() {
            assert!(started.elapsed() < PATIENCE, "resets without end");
            if scene.hostile.out.is_empty() && !scene.hostile.gone {
                scene.hostile.send(&reset(1, REFUSED_STREAM).repeat(500));
            }
            scene.turn();
        }
        let requests = scene.hostile.frames.iter();
        assert_eq!(requests.filter(|frame| frame.kind == HEADERS).count(), 100);
        assert_eq!(scene.client.stat("ignoredFloods"), 1);
        scene.is_unharmed();
    }
}

/// A deadline ends a call, whatever the server keeps from it.
#[test]
fn deadlines_pass_whatever_the_server_holds_back() {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    const INITIAL_WINDOW_SIZE: u16 = 4;
    for driver in DRIVERS {
        // No stream, for ever.
        let entries = [(MAX_CONCURRENT_STREAMS, 0)];
        let mut scene = Scene::new(driver, Options::default(), &entries);
        let calls: Vec<u32> = (0..50)
            .map(|_| {
                let call = scene.client.start(scene.link, SAY, 200);
                scene.client.message(call, &[7; 1_000], true);
                call
            })
            .collect();
        for call in calls {
            let bits = STATUS_LOCAL | STATUS_UNPROCESSED | STATUS_NEVER_SENT;
            let outcome = scene.ended(call);
            outcome.is(DEADLINE_EXCEEDED, bits, 0, "deadline");
        }
        assert!(scene.hostile.find(HEADERS).is_none());
        scene.is_unharmed();

        // No window, for ever.
        let entries = [(INITIAL_WINDOW_SIZE, 0)];
        let mut scene = Scene::new(driver, Options::default(), &entries);
        let call = scene.client.start(scene.link, CHAT, 200);
        for _ in 0..10 {
            scene.client.message(call, &[7; 10_000], false);
        }
        let outcome = scene.ended(call);
        outcome.is(DEADLINE_EXCEEDED, STATUS_LOCAL, STATUS_UNPROCESSED, "");
        assert!(scene.hostile.find(DATA).is_none());
        scene.until("RST_STREAM", |scene| {
            scene.hostile.find(RST_STREAM).is_some()
        });
        assert_eq!(scene.hostile.find(RST_STREAM).unwrap().code(), CANCEL);
        scene.is_unharmed();

        // Headers that trickle, byte by byte.
        let mut scene = Scene::new(driver, Options::default(), &[]);
        let call = scene.client.start(scene.link, SAY, 200);
        scene.client.message(call, b"x", true);
        scene.until("request", |scene| scene.hostile.find(DATA).is_some());
        let mut answer = headers(1, 0, &OK).into_iter();
        let started = Instant::now();
        while !scene.client.calls[&call].is_over() {
            assert!(started.elapsed() < PATIENCE);
            if scene.hostile.out.is_empty()
                && let Some(byte) = answer.next()
                && answer.len() > 1
            {
                scene.hostile.send(&[byte]);
            }
            scene.turn();
        }
        scene.client.calls[&call].is(DEADLINE_EXCEEDED, STATUS_LOCAL, 0, "deadline");
        scene.is_unharmed();
    }
}

/// Without a deadline the connection ends, as it does for a client that does this to a server.
#[test]
fn a_header_block_that_never_ends_is_given_up() {
    for driver in DRIVERS {
        let options = Options {
            handshake_timeout_ms: 200,
            ..Options::default()
        };
        let mut scene = Scene::new(driver, options, &[]);
        let call = scene.call(SAY);
        scene.hostile.send(&frame(HEADERS, 0, 1, &block(&OK)));
        let outcome = scene.ended(call);
        outcome.is(
            UNAVAILABLE,
            STATUS_LOCAL,
            STATUS_UNPROCESSED,
            "header block",
        );
        scene.until("GOAWAY", |scene| scene.hostile.find(GOAWAY).is_some());
        assert_eq!(
            scene.hostile.find(GOAWAY).unwrap().code(),
            ENHANCE_YOUR_CALM
        );
        scene.until("counter", |scene| {
            scene.client.stat("headerBlockTimeouts") == 1
        });
        scene.is_unharmed();
    }
}

/// GOAWAY over and over, and what stands in it, costs the connection and no more.
#[test]
fn goaways_without_end_are_heard_once() {
    for driver in DRIVERS {
        let mut scene = Scene::new(driver, Options::default(), &[]);
        let call = scene.call(EXPAND);
        let debug = "d".repeat(16_000);
        let payload = [&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0], debug.as_bytes()].concat();
        let link = scene.link;
        let started = Instant::now();
        while scene.client.state(link, "closed").is_none() {
            assert!(started.elapsed() < PATIENCE, "GOAWAYs without end");
            if scene.hostile.out.is_empty() && !scene.hostile.gone {
                scene.hostile.send(&frame(GOAWAY, 0, 0, &payload));
                scene.hostile.send(&go_away(1, NO_ERROR).repeat(500));
            }
            scene.turn();
        }
        let told = |state| {
            let wanted = format!("\"connection\":{link},\"state\":\"{state}\"");
            let notices = scene.client.notices.iter();
            notices.filter(|notice| notice.contains(&wanted)).count()
        };
        assert_eq!([told("draining"), told("closed")], [1, 1]);
        let said = scene.client.state(link, "draining").unwrap();
        assert!(said.len() < 1_000, "{} bytes", said.len());
        assert_eq!(scene.ended(call).code(), UNAVAILABLE);
        assert_eq!(scene.client.stat("ignoredFloods"), 1);
        scene.is_unharmed();
    }
}
