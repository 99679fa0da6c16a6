//! Rules of the engine that are easy to break, each in the sequence that would break it.
#![allow(missing_docs)]

mod support;

use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use millrace_engine::{Engine, Method, MethodKind, Options, Views, layout::*};
use millrace_http2::{self as http2, Event, Field, Indexing, Limits, Role, StreamKey};
use millrace_ring::{DriverChoice, SharedMemory};
use support::{
    Behaviour, Script,
    client::{Client, framed},
};

const SAY: &str = "/t.Echo/Say";
const CHAT: &str = "/t.Echo/Chat";

fn word(memory: &SharedMemory, index: usize) -> u32 {
    assert!((index + 1) * 4 <= memory.len());
    // SAFETY: inside the mapping; the engine is not running.
    unsafe { memory.as_ptr().cast::<u32>().add(index).read() }
}

fn set(memory: &SharedMemory, index: usize, value: u32) {
    assert!((index + 1) * 4 <= memory.len());
    // SAFETY: as in `word`.
    unsafe { memory.as_ptr().cast::<u32>().add(index).write(value) }
}

/// The engine step by step, JavaScript's part by hand.
struct Bench {
    engine: Engine,
    views: Views,
    regions: Vec<Arc<SharedMemory>>,
    port: u16,
}

impl Bench {
    fn new(options: Options) -> Self {
        let mut engine = Engine::new(Options {
            driver: DriverChoice::Portable,
            ..options
        })
        .unwrap();
        engine.register(vec![
            Method {
                path: SAY.to_owned(),
                kind: MethodKind::Unary,
            },
            Method {
                path: CHAT.to_owned(),
                kind: MethodKind::Bidi,
            },
        ]);
        let port = engine.listen("127.0.0.1", 0, false, 1024).unwrap();
        let views = engine.views();
        let regions = vec![Arc::clone(&views.ring)];
        Self {
            engine,
            views,
            regions,
            port,
        }
    }

    fn collect(&mut self) -> Vec<[u32; 4]> {
        let collected = self.engine.collect();
        for (number, region) in self.engine.take_regions() {
            assert_eq!(number as usize, self.regions.len());
            self.regions.push(region);
        }
        self.engine.take_notices();
        (0..collected.records as usize)
            .map(|number| [0, 1, 2, 3].map(|at| word(&self.views.records, number * 4 + at)))
            .collect()
    }

    fn operation(&mut self, operation: [u32; 4]) {
        let count = word(&self.views.control, CONTROL_OPERATION_COUNT);
        for (at, value) in operation.into_iter().enumerate() {
            set(&self.views.operations, count as usize * 4 + at, value);
        }
        set(&self.views.control, CONTROL_OPERATION_COUNT, count + 1);
    }

    /// Turns for a while; all records, with nothing done about them.
    fn turns(&mut self, milliseconds: u64) -> Vec<[u32; 4]> {
        let started = Instant::now();
        let mut records = Vec::new();
        while started.elapsed() < Duration::from_millis(milliseconds) {
            records.extend(self.collect());
            self.engine.apply();
            std::thread::sleep(Duration::from_micros(300));
        }
        records
    }

    fn message(&self, slot: u32) -> Vec<u8> {
        let [region, offset, length] =
            [0, 1, 2].map(|at| word(&self.views.slots, slot as usize * 4 + at) as usize);
        let memory = &self.regions[region];
        assert!(offset + length <= memory.len());
        // SAFETY: inside the mapping; the engine is not running.
        unsafe { std::slice::from_raw_parts(memory.as_ptr().add(offset), length).to_vec() }
    }

    fn consume(&mut self, call: u32, count: u32) {
        let index = (call & 0xffff) as usize;
        let before = word(&self.views.consumed, index);
        set(&self.views.consumed, index, before.wrapping_add(count));
        self.operation([OPERATION_CONSUMED, call, 0, 0]);
    }

    fn stat(&self, name: &str) -> u64 {
        let stats = self.engine.stats();
        let rest = stats.split(&format!("\"{name}\":")).nth(1).expect(name);
        rest.chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
            .parse()
            .unwrap()
    }
}

fn of_kind(records: &[[u32; 4]], kind: u32) -> Vec<[u32; 4]> {
    records
        .iter()
        .copied()
        .filter(|record| record[0] & 0xff == kind)
        .collect()
}

/// A peer that sends exactly what it is told, when it is told.
struct Peer {
    socket: TcpStream,
    http2: http2::Connection,
    out: Vec<u8>,
    statuses: HashMap<u32, String>,
    received: usize,
}

fn field(name: &'static str, value: &'static str) -> Field<'static> {
    Field {
        name: name.as_bytes(),
        value: value.as_bytes(),
        indexing: Indexing::Index,
    }
}

impl Peer {
    fn connect(port: u16) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            socket,
            http2: http2::Connection::new(Role::Client, Limits::default(), 0),
            out: Vec::new(),
            statuses: HashMap::new(),
            received: 0,
        }
    }

    fn control(&mut self) {
        self.out.append(&mut std::mem::take(self.http2.urgent()));
        self.out.append(&mut std::mem::take(self.http2.ordered()));
    }

    fn open(&mut self, path: &'static str, timeout: Option<&'static str>, end: bool) -> StreamKey {
        self.control();
        let mut fields = vec![
            field(":method", "POST"),
            field(":scheme", "http"),
            field(":path", path),
            field(":authority", "localhost"),
            field("content-type", "application/grpc"),
            field("te", "trailers"),
        ];
        if let Some(timeout) = timeout {
            fields.push(field("grpc-timeout", timeout));
        }
        let key = self
            .http2
            .open_stream(fields.into_iter(), end, &mut self.out)
            .unwrap();
        let id = self.http2.stream_id(key);
        self.http2.set_token(key, id);
        key
    }

    fn data(&mut self, key: StreamKey, bytes: &[u8], end: bool) {
        let mut rest = bytes;
        loop {
            let length = rest.len().min(16_384);
            assert!(self.http2.send_window(key) >= length);
            let last = length == rest.len();
            let head = self.http2.data_head(key, length, end && last);
            self.out.extend_from_slice(&head);
            self.out.extend_from_slice(&rest[..length]);
            rest = &rest[length..];
            if last {
                return;
            }
        }
    }

    /// Writes what the socket takes.
    fn flush(&mut self) {
        self.control();
        while !self.out.is_empty() {
            match self.socket.write(&self.out) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Reads, credits and answers what has come.
    fn read(&mut self) {
        let mut buffer = vec![0; 1 << 20];
        while let Ok(count) = self.socket.read(&mut buffer) {
            if count == 0 {
                break;
            }
            let mut at = 0;
            while at < count {
                let (consumed, event) = self.http2.receive(&buffer[at..count], 0).unwrap();
                at += consumed;
                match event {
                    Some(Event::Data { stream, length, .. }) => {
                        self.received += length;
                        self.http2.credit_stream(stream, length as u32);
                        self.http2.credit_connection(length as u32);
                    }
                    Some(Event::Headers {
                        stream,
                        end_stream: true,
                        ..
                    }) => {
                        let status = self
                            .http2
                            .fields()
                            .find(|(name, _)| *name == b"grpc-status")
                            .map(|(_, value)| String::from_utf8_lossy(value).into_owned());
                        let id = self.http2.stream_id(stream);
                        self.statuses.insert(id, status.unwrap_or_default());
                        if self.http2.is_remote_closed(stream)
                            && !self.http2.is_open_for_send(stream)
                        {
                            self.http2.release(stream);
                        }
                    }
                    _ => {}
                }
            }
        }
        self.flush();
    }
}

fn begin(bench: &mut Bench, peer: &mut Peer, path: &'static str) -> (StreamKey, u32) {
    let key = peer.open(path, None, false);
    peer.flush();
    let records = bench.turns(30);
    peer.read();
    let call = of_kind(&records, RECORD_CALL).last().map_or(0, |r| r[1]);
    (key, call)
}

/// A slot freed by a reset may not name another call's message before JavaScript has heard of
/// the reset: the records of one batch are read in order, and MESSAGE may be decoded at once.
#[test]
fn a_slot_is_not_reused_in_the_batch_that_named_it() {
    let mut bench = Bench::new(Options::default());
    let (mut a, mut b) = (Peer::connect(bench.port), Peer::connect(bench.port));
    let (key_a, call_a) = begin(&mut bench, &mut a, CHAT);
    let (key_b, call_b) = begin(&mut bench, &mut b, CHAT);
    a.data(key_a, &framed(b"of A"), false);
    a.http2.send_reset(key_a, http2::Reason::CANCEL);
    a.flush();
    std::thread::sleep(Duration::from_millis(20));
    b.data(key_b, &framed(b"of B"), false);
    b.http2.send_reset(key_b, http2::Reason::CANCEL);
    b.flush();
    std::thread::sleep(Duration::from_millis(20));
    let records = bench.collect();
    let messages = of_kind(&records, RECORD_MESSAGE);
    assert_eq!(messages.len(), 2, "{records:?}");
    for message in messages {
        let expected: &[u8] = if message[1] == call_a {
            b"of A"
        } else {
            b"of B"
        };
        assert!(message[1] == call_a || message[1] == call_b);
        assert_eq!(
            String::from_utf8(bench.message(message[2])).unwrap(),
            String::from_utf8(expected.to_vec()).unwrap(),
            "{records:?}"
        );
    }
}

/// A slot never names a region that JavaScript was not told of.
#[test]
fn a_region_is_announced_before_a_slot_names_it() {
    let mut bench = Bench::new(Options::default());
    let mut peer = Peer::connect(bench.port);
    let (key, _) = begin(&mut bench, &mut peer, CHAT);
    peer.data(key, &framed(b"thin"), false);
    peer.flush();
    std::thread::sleep(Duration::from_millis(20));
    let records = bench.collect();
    let slot = of_kind(&records, RECORD_MESSAGE)[0][2];
    bench.engine.apply();
    // Here the turn of the event loop ends; a timer of the application pulls.
    let region = word(&bench.views.slots, slot as usize * 4);
    assert!(
        (region as usize) < bench.regions.len(),
        "region {region} of {}; ready: {}",
        bench.regions.len(),
        bench.engine.ready()
    );
}

/// What one apply() has to tell survives another apply() before the next collect(), as the
/// binding's prepare handler and every command outside of a turn make one.
#[test]
fn records_of_an_apply_survive_the_next_apply() {
    let mut bench = Bench::new(Options::default());
    let mut peer = Peer::connect(bench.port);
    let (_key, call) = begin(&mut bench, &mut peer, CHAT);
    for _ in 0..2 {
        bench.operation([OPERATION_MESSAGE, call, 0, 200_000]);
    }
    bench.engine.apply();
    assert!(word(&bench.views.pending, (call & 0xffff) as usize) >= 262_144);
    let started = Instant::now();
    let mut writable = 0;
    while started.elapsed() < Duration::from_secs(2) {
        peer.read();
        writable += of_kind(&bench.collect(), RECORD_WRITABLE).len();
        bench.engine.apply();
        bench.engine.apply();
        std::thread::sleep(Duration::from_micros(300));
    }
    assert_eq!(
        word(&bench.views.pending, (call & 0xffff) as usize),
        0,
        "everything was sent"
    );
    assert_eq!(writable, 1);
}

/// A handler that leaves its request stream in the middle of a message is not failed by its end.
#[test]
fn a_discarded_request_stream_may_end_anywhere() {
    let mut bench = Bench::new(Options::default());
    let mut peer = Peer::connect(bench.port);
    let (key, call) = begin(&mut bench, &mut peer, CHAT);
    let message = framed(&[7; 100]);
    peer.data(key, &message[..50], false);
    peer.flush();
    bench.turns(30);
    bench.operation([OPERATION_DISCARD, call, 0, 0]);
    bench.engine.apply();
    peer.data(key, &message[50..], true);
    peer.flush();
    let records = bench.turns(50);
    assert_eq!(of_kind(&records, RECORD_CANCEL), Vec::<[u32; 4]>::new());
    bench.operation([OPERATION_STATUS, call, 0, 0]);
    bench.turns(50);
    peer.read();
    assert_eq!(peer.statuses.get(&1).map(String::as_str), Some("0"));
}

/// The same after the handler has replied, while the reply waits for the peer's window.
#[test]
fn a_finished_reply_survives_the_end_of_the_requests() {
    let mut bench = Bench::new(Options::default());
    let mut peer = Peer::connect(bench.port);
    let (key, call) = begin(&mut bench, &mut peer, CHAT);
    let message = framed(&[7; 100]);
    peer.data(key, &message[..50], false);
    peer.flush();
    bench.turns(30);
    bench.operation([OPERATION_MESSAGE, call, 0, 200_000]);
    bench.operation([OPERATION_STATUS, call, 0, 0]);
    bench.turns(30);
    peer.data(key, &message[50..], true);
    peer.flush();
    bench.turns(50);
    for _ in 0..50 {
        peer.read();
        bench.turns(4);
    }
    assert_eq!(peer.received, 200_005);
    assert_eq!(peer.statuses.get(&1).map(String::as_str), Some("0"));
}

/// A unary request of very many messages is refused, not kept forever.
#[test]
fn a_unary_request_of_many_messages_is_refused() {
    let mut bench = Bench::new(Options::default());
    let mut peer = Peer::connect(bench.port);
    let key = peer.open(SAY, None, false);
    peer.data(key, &framed(b"").repeat(1100), true);
    peer.flush();
    bench.turns(500);
    peer.read();
    assert_eq!(peer.statuses.get(&1).map(String::as_str), Some("13"));
    assert_eq!(bench.stat("activeCalls"), 0);
}

/// The segment of a message of just under 1 MiB is used again.
#[test]
fn segments_of_large_messages_are_reused() {
    let mut bench = Bench::new(Options::default());
    let mut peer = Peer::connect(bench.port);
    for number in 0..20 {
        let key = peer.open(SAY, None, false);
        let bytes = framed(&vec![1; 1_000_000]);
        let mut at = 0;
        let started = Instant::now();
        loop {
            assert!(started.elapsed() < Duration::from_secs(20));
            while at < bytes.len() && peer.out.len() < 100_000 {
                let length = peer
                    .http2
                    .send_window(key)
                    .min(16_384)
                    .min(bytes.len() - at);
                if length == 0 {
                    break;
                }
                peer.data(key, &bytes[at..at + length], at + length == bytes.len());
                at += length;
            }
            peer.flush();
            let records = bench.collect();
            for request in of_kind(&records, RECORD_REQUEST) {
                bench.operation([OPERATION_STATUS, request[1], 0, 0]);
            }
            bench.engine.apply();
            peer.read();
            if peer.statuses.len() == number + 1 {
                break;
            }
        }
    }
    assert!(bench.regions.len() <= 5, "{} regions", bench.regions.len());
}

/// Answers that the peer does not read do not pile up without bound.
#[test]
fn unread_rejections_are_bounded() {
    let mut bench = Bench::new(Options::default());
    let mut peer = Peer::connect(bench.port);
    // The third request is all indices: it is repeated with higher identifiers.
    for _ in 0..2 {
        peer.open("/t.Echo/None", None, true);
    }
    peer.control();
    let before = peer.out.len();
    peer.open("/t.Echo/None", None, true);
    let frame = peer.out[before..].to_vec();
    let mut id = 7u32;
    let mut sent = 0;
    let mut highest = 0;
    for _ in 0..1500 {
        for _ in 0..1000 {
            let mut frame = frame.clone();
            frame[5..9].copy_from_slice(&id.to_be_bytes());
            id += 2;
            peer.out.extend_from_slice(&frame);
            sent += frame.len();
        }
        let started = Instant::now();
        while !peer.out.is_empty() && started.elapsed() < Duration::from_millis(50) {
            match peer.socket.write(&peer.out) {
                Ok(count) => drop(peer.out.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
            bench.collect();
            bench.engine.apply();
        }
        highest = highest.max(bench.stat("sendChunks") * 16_384);
    }
    assert!(
        highest < 8 << 20,
        "{highest} bytes are held for a peer that has sent {sent} and read nothing"
    );
}

/// Control frames for a peer that does not read do not take a chunk each.
#[test]
fn unread_control_frames_share_chunks() {
    let mut bench = Bench::new(Options::default());
    let mut peer = Peer::connect(bench.port);
    peer.http2.credit_connection(1 << 30);
    peer.http2.flush_connection_credit();
    let (key, call) = begin(&mut bench, &mut peer, CHAT);
    peer.http2.credit_stream(key, 1 << 30);
    peer.http2.flush_stream_credit(key);
    peer.flush();
    bench.turns(20);
    for _ in 0..100 {
        bench.operation([OPERATION_MESSAGE, call, 0, 200_000]);
        bench.engine.apply();
        bench.collect();
        bench.engine.apply();
    }
    let before = bench.stat("sendChunks");
    let message = framed(&[1; 16_379 - 9]);
    let mut rounds = 0u64;
    let started = Instant::now();
    let mut credits = 0;
    // The peer writes and does not read: it is known from the sizes that its windows suffice.
    while rounds < 1000 && started.elapsed() < Duration::from_secs(20) {
        let mut frame = vec![];
        frame.extend_from_slice(&(message.len() as u32).to_be_bytes()[1..]);
        frame.extend_from_slice(&[0, 0]);
        frame.extend_from_slice(&1u32.to_be_bytes());
        frame.extend_from_slice(&message);
        peer.out.extend_from_slice(&frame);
        rounds += 1;
        let mut waiting = true;
        while waiting {
            if let Ok(count) = peer.socket.write(&peer.out) {
                peer.out.drain(..count);
            }
            for message in of_kind(&bench.collect(), RECORD_MESSAGE) {
                bench.consume(message[1], 1);
                waiting = false;
                credits += 1;
            }
            bench.engine.apply();
            assert!(started.elapsed() < Duration::from_secs(30));
        }
    }
    let after = bench.stat("sendChunks");
    assert!(
        after - before < 50,
        "{} chunks of 16 KiB more for the WINDOW_UPDATEs of {credits} messages",
        after - before
    );
}

fn unread_of_a_connection(with_partial: bool) -> u64 {
    let mut bench = Bench::new(Options {
        connection_budget_bytes: 1 << 20,
        buffered_bytes_max: 64 << 20,
        ..Options::default()
    });
    let mut peer = Peer::connect(bench.port);
    if with_partial {
        let key = peer.open(SAY, None, false);
        let mut head = vec![0];
        head.extend_from_slice(&200_000u32.to_be_bytes());
        head.extend_from_slice(b"some");
        peer.data(key, &head, false);
    }
    let keys: Vec<StreamKey> = (0..300).map(|_| peer.open(CHAT, None, false)).collect();
    for _ in 0..600 {
        for &key in &keys {
            let length = peer.http2.send_window(key).min(1005);
            if length == 1005 && peer.out.len() < 100_000 {
                peer.data(key, &framed(&[1; 1000]), false);
            }
        }
        peer.flush();
        bench.turns(2);
        peer.read();
    }
    bench.stat("bufferedBytes")
}

/// A message that memory is reserved for lets that message in, and nothing else.
#[test]
fn a_reserved_message_does_not_lift_the_budget() {
    let without = unread_of_a_connection(false);
    let with = unread_of_a_connection(true);
    assert!(
        with < without + (2 << 20),
        "unread: {without} bytes, and {with} beside one unfinished message"
    );
}

/// Credit that was withheld because the thread was full returns when it is not.
#[test]
fn credit_withheld_by_a_full_thread_returns() {
    let mut server = Script::new(
        Options {
            driver: DriverChoice::Portable,
            buffered_bytes_max: 8 << 20,
            ..Options::default()
        },
        &[
            (SAY, MethodKind::Unary, Behaviour::Echo),
            (CHAT, MethodKind::Bidi, Behaviour::Echo),
            ("/t.Echo/Ignore", MethodKind::Bidi, Behaviour::Ignore),
        ],
    );
    let mut a = Client::connect(server.port, None);
    for _ in 0..3 {
        a.call("/t.Echo/Ignore", framed(&[1; 1000]).repeat(50));
    }
    let mut others: Vec<Client> = (0..4).map(|_| Client::connect(server.port, None)).collect();
    for other in &mut others {
        for _ in 0..100 {
            other.call("/t.Echo/Ignore", framed(&[1; 1000]).repeat(60));
        }
    }
    for _ in 0..500 {
        server.turn(Duration::from_millis(1));
        a.turn(65_536);
        others.iter_mut().for_each(|other| other.turn(65_536));
    }
    // The thread is full. The connection goes on until its window is used up.
    for _ in 0..20 {
        a.call("/t.Echo/Ignore", framed(&[1; 1000]).repeat(60));
    }
    for _ in 0..500 {
        server.turn(Duration::from_millis(1));
        a.turn(65_536);
    }
    let honest = a.call(CHAT, framed(b"hello"));
    let full = server.engine.stats();
    drop(others);
    let started = Instant::now();
    while a.calls[honest].status.is_none() {
        assert!(
            started.elapsed() < Duration::from_secs(4),
            "stalled; full: {full}; now: {}",
            server.engine.stats()
        );
        server.turn(Duration::from_millis(1));
        a.turn(65_536);
    }
}

/// One call has reserved (nearly) all memory and stopped; another one waits for its turn.
fn reserved(bench: &mut Bench, waiting: usize) -> Peer {
    let mut peer = Peer::connect(bench.port);
    for _ in 0..1 + waiting {
        let key = peer.open(SAY, None, false);
        let mut head = vec![0];
        head.extend_from_slice(&3_600_000u32.to_be_bytes());
        head.extend_from_slice(b"some");
        peer.data(key, &head, false);
    }
    peer.flush();
    bench.turns(30);
    peer
}

fn small() -> Options {
    Options {
        buffered_bytes_max: 4 << 20,
        stalled_stream_timeout_ms: 500,
        ..Options::default()
    }
}

/// A message that was deferred and has arrived completely meanwhile is delivered.
#[test]
fn a_deferred_message_that_is_complete_is_delivered() {
    let mut bench = Bench::new(small());
    let _attacker = reserved(&mut bench, 0);
    let mut peer = Peer::connect(bench.port);
    let (key, call) = begin(&mut bench, &mut peer, CHAT);
    bench.operation([OPERATION_READING, call, 0, 0]);
    let message = framed(&[7; 100]);
    peer.data(key, &message[..50], false);
    peer.flush();
    bench.turns(30);
    peer.data(key, &message[50..], false);
    peer.flush();
    let records = bench.turns(1000);
    assert_eq!(of_kind(&records, RECORD_MESSAGE).len(), 1);
}

/// A message that waits for memory does not hold up streams that wait for their readers.
#[test]
fn waiting_for_memory_does_not_block_readers() {
    let mut bench = Bench::new(small());
    let _attacker = reserved(&mut bench, 1);
    let mut peer = Peer::connect(bench.port);
    let (key, call) = begin(&mut bench, &mut peer, CHAT);
    bench.operation([OPERATION_READING, call, 0, 0]);
    peer.data(key, &framed(b"").repeat(3000), false);
    peer.flush();
    let mut count = 0;
    let started = Instant::now();
    while count < 3000 && started.elapsed() < Duration::from_secs(2) {
        let messages = of_kind(&bench.collect(), RECORD_MESSAGE).len();
        count += messages;
        if messages > 0 {
            bench.consume(call, messages as u32);
        }
        bench.engine.apply();
    }
    assert_eq!(count, 3000);
}

/// A peer that reserves memory and then sends nothing loses it again.
#[test]
fn reservations_without_progress_end() {
    let mut bench = Bench::new(small());
    let _attacker = reserved(&mut bench, 0);
    let mut peer = Peer::connect(bench.port);
    let key = peer.open(SAY, None, false);
    let bytes = framed(&[1; 200_000]);
    let mut at = 0;
    let started = Instant::now();
    while !peer.statuses.contains_key(&1) {
        assert!(
            started.elapsed() < Duration::from_secs(4),
            "{at} bytes went; {}",
            bench.engine.stats()
        );
        let length = peer
            .http2
            .send_window(key)
            .min(16_384)
            .min(bytes.len() - at);
        if length > 0 {
            peer.data(key, &bytes[at..at + length], at + length == bytes.len());
            at += length;
        }
        peer.flush();
        let records = bench.collect();
        for request in of_kind(&records, RECORD_REQUEST) {
            bench.operation([OPERATION_STATUS, request[1], 0, 0]);
        }
        bench.engine.apply();
        peer.read();
    }
}

/// A call whose connection is lost is not taken for one of the next connection.
#[test]
fn a_lost_call_has_no_peer_of_another_connection() {
    let mut bench = Bench::new(Options::default());
    let mut a = Peer::connect(bench.port);
    let (_, call) = begin(&mut bench, &mut a, CHAT);
    let before = bench.engine.peer(call);
    drop(a);
    bench.turns(50);
    let mut b = Peer::connect(bench.port);
    begin(&mut bench, &mut b, CHAT);
    let after = bench.engine.peer(call);
    assert!(after.is_none() || after == before, "{before:?} {after:?}");
}

/// Streams that nobody reads do not stall their neighbours on the same connection, with the
/// limits as they are by default.
#[test]
fn unread_streams_do_not_stall_their_neighbours() {
    let mut server = Script::new(
        Options {
            driver: DriverChoice::Portable,
            ..Options::default()
        },
        &[
            (CHAT, MethodKind::Bidi, Behaviour::Echo),
            ("/t.Echo/Ignore", MethodKind::Bidi, Behaviour::Ignore),
        ],
    );
    let mut client = Client::connect(server.port, None);
    for _ in 0..20 {
        client.call("/t.Echo/Ignore", framed(&[1; 1000]).repeat(65));
    }
    for _ in 0..300 {
        server.turn(Duration::from_millis(1));
        client.turn(65_536);
    }
    let honest = client.call(CHAT, framed(b"hello"));
    let started = Instant::now();
    while client.calls[honest].status.is_none() {
        assert!(
            started.elapsed() < Duration::from_secs(3),
            "stalled: {}",
            server.engine.stats()
        );
        server.turn(Duration::from_millis(1));
        client.turn(65_536);
    }
}

/// A cancellation that one apply() decides survives another apply() before collect().
#[test]
fn a_cancellation_survives_the_next_apply() {
    let mut bench = Bench::new(Options {
        send_message_bytes: 1000,
        ..Options::default()
    });
    let mut peer = Peer::connect(bench.port);
    let (_key, call) = begin(&mut bench, &mut peer, CHAT);
    bench.operation([OPERATION_MESSAGE, call, 0, 2000]);
    bench.engine.apply();
    bench.engine.apply();
    let records = bench.turns(50);
    assert_eq!(of_kind(&records, RECORD_CANCEL).len(), 1);
}
