//! What the driver tests share: an event loop over any driver, an echo server that is hard on its
//! buffers, and clients that know every byte they have to see.
#![allow(dead_code)] // each test binary uses a part

use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::SockRef;

use millrace_ring::{
    Chunk, Completion, Driver, DriverChoice, ListenerId, Options, SocketId, select,
};

/// Far more than anything here takes, so that only what hangs runs into it; on an emulated machine
/// as many times longer as `MILLRACE_TEST_PATIENCE` says.
pub(crate) fn patience() -> Duration {
    let factor = std::env::var("MILLRACE_TEST_PATIENCE").ok();
    let factor: u32 = factor.and_then(|factor| factor.parse().ok()).unwrap_or(1);
    Duration::from_secs(60) * factor.max(1)
}

/// What is tested: each driver, and the bundle driver as it is on kernels without sound bundles, and as
/// it is told to be, without multishot receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    Bundle,
    Multishot,
    Single,
    Ring,
    Classic,
    Portable,
}

pub(crate) const TIERS: [Tier; 6] = [
    Tier::Bundle,
    Tier::Multishot,
    Tier::Single,
    Tier::Ring,
    Tier::Classic,
    Tier::Portable,
];

impl Tier {
    /// Whether it goes through io_uring.
    pub(crate) fn is_io_uring(self) -> bool {
        self != Tier::Portable
    }

    /// Whether it sends from leased rings.
    pub(crate) fn sends_bundles(self) -> bool {
        matches!(self, Tier::Bundle | Tier::Multishot | Tier::Single)
    }
}

/// Makes the driver, or says why it cannot be tested here.
pub(crate) fn driver(tier: Tier, options: &Options) -> Option<Box<dyn Driver>> {
    let choice = match tier {
        Tier::Bundle | Tier::Multishot | Tier::Single => DriverChoice::Bundle,
        Tier::Ring => DriverChoice::Ring,
        Tier::Classic => DriverChoice::Classic,
        Tier::Portable => DriverChoice::Portable,
    };
    let options = Options {
        receive_bundles: tier != Tier::Multishot,
        receive_multishot: tier != Tier::Single,
        ..options.clone()
    };
    match select(choice, &options) {
        Ok(selection) => Some(selection.driver),
        Err(error) if tier != Tier::Portable => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A small generator of random numbers (xorshift64*), so that a failure can be repeated.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound
    }
}

/// Byte `position` of the stream that belongs to `stream`. Neighbouring positions and streams
/// differ, and the period is far longer than any buffer.
pub(crate) fn byte(stream: u64, position: u64) -> u8 {
    let mixed = (position ^ stream << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8
}

pub(crate) fn pattern(stream: u64, from: u64, length: usize) -> Vec<u8> {
    (from..from + length as u64)
        .map(|position| byte(stream, position))
        .collect()
}

/// Panics at the first byte that is not the stream's.
pub(crate) fn check(stream: u64, from: u64, bytes: &[u8]) {
    for (index, got) in bytes.iter().enumerate() {
        let position = from + index as u64;
        assert_eq!(
            *got,
            byte(stream, position),
            "byte {position} of stream {stream}"
        );
    }
}

/// A driver in an event loop.
pub(crate) struct Loop {
    pub(crate) driver: Box<dyn Driver>,
    pub(crate) batch: usize,
    out: Vec<Completion>,
    started: Instant,
}

impl Loop {
    pub(crate) fn new(driver: Box<dyn Driver>) -> Self {
        Self {
            driver,
            batch: 1024,
            out: Vec::new(),
            started: Instant::now(),
        }
    }

    /// Submits, waits until there is something or the time is over, and collects one batch.
    pub(crate) fn turn(&mut self, wait: Duration) -> Vec<Completion> {
        assert!(
            self.started.elapsed() < patience(),
            "the test hangs; {} free buffers, {:?}",
            self.driver.buffers().free(),
            self.driver.counters()
        );
        self.driver.submit().expect("submit");
        if !self.driver.has_completions() {
            self.poll(wait);
        }
        self.out.clear();
        self.driver.complete(&mut self.out, self.batch);
        std::mem::take(&mut self.out)
    }

    /// Whether the descriptor is readable within the time.
    pub(crate) fn poll(&self, wait: Duration) -> bool {
        let mut poll = libc::pollfd {
            fd: self.driver.descriptor(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one valid pollfd is passed.
        unsafe { libc::poll(&raw mut poll, 1, wait.as_millis() as i32) > 0 }
    }

    /// Turns until `wanted` finds what it looks for; other completions are dropped and their
    /// buffers released.
    pub(crate) fn until<T>(&mut self, mut wanted: impl FnMut(&Completion) -> Option<T>) -> T {
        loop {
            let mut found = None;
            for completion in self.turn(Duration::from_millis(100)) {
                if let Completion::Received { buffer, .. } = completion {
                    self.driver.release(buffer);
                }
                if found.is_none() {
                    found = wanted(&completion);
                }
            }
            if let Some(found) = found {
                return found;
            }
        }
    }

    pub(crate) fn until_closed(&mut self, socket: SocketId) {
        self.until(|completion| {
            matches!(completion, Completion::Closed { socket: closed } if *closed == socket)
                .then_some(())
        });
    }

    /// Listens on a free loopback port.
    pub(crate) fn listen(&mut self) -> (ListenerId, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (self.driver.listen(OwnedFd::from(listener)), address)
    }

    /// A connected pair: the driver's end and a blocking client.
    pub(crate) fn pair(
        &mut self,
        prepare: impl Fn(&TcpStream, &TcpStream),
    ) -> (SocketId, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        client.set_read_timeout(Some(patience())).unwrap();
        client.set_write_timeout(Some(patience())).unwrap();
        prepare(&server, &client);
        let socket = self.driver.attach(OwnedFd::from(server)).unwrap();
        (socket, client)
    }

    /// Sends the stream's bytes in chunks of `chunk` bytes, waiting for each send.
    pub(crate) fn send_all(&mut self, socket: SocketId, stream: u64, bytes: usize, chunk: usize) {
        let mut chunks = chunks(stream, 0, bytes, chunk);
        let count = chunks.len();
        self.driver.send(socket, &mut chunks, count);
        assert!(chunks.is_empty());
    }
}

pub(crate) fn chunks(stream: u64, from: u64, bytes: usize, chunk: usize) -> VecDeque<Chunk> {
    let whole = pattern(stream, from, bytes);
    whole
        .chunks(chunk)
        .map(|part| Chunk::from_vec(part.to_vec()))
        .collect()
}

/// An echo server that releases buffers late and shuffled.
pub(crate) struct Echo {
    pub(crate) turns: Loop,
    pub(crate) random: Random,
    pub(crate) connections: HashMap<SocketId, Connection>,
    /// Held buffers that are not released yet.
    held: Vec<u16>,
    /// Of 256: how likely a held buffer is released in a turn.
    pub(crate) release_chance: usize,
    /// Now and then a connection is paused and resumed.
    pub(crate) pauses: bool,
    paused: Vec<SocketId>,
    pub(crate) closed: usize,
    pub(crate) accepted: usize,
    pub(crate) echoed: u64,
}

#[derive(Default)]
pub(crate) struct Connection {
    outgoing: VecDeque<Chunk>,
    sending: bool,
    ended: bool,
}

impl Echo {
    pub(crate) fn new(driver: Box<dyn Driver>, seed: u64) -> Self {
        Self {
            turns: Loop::new(driver),
            random: Random::new(seed),
            connections: HashMap::new(),
            held: Vec::new(),
            release_chance: 128,
            pauses: false,
            paused: Vec::new(),
            closed: 0,
            accepted: 0,
            echoed: 0,
        }
    }

    /// Serves until `connections` were closed.
    pub(crate) fn serve(&mut self, connections: usize) {
        while self.closed < connections {
            self.turn();
        }
        self.held
            .drain(..)
            .for_each(|buffer| self.turns.driver.release(buffer));
        // A driver that fails on purpose may keep them for some turns.
        for _ in 0..8 {
            self.turns.driver.submit().unwrap();
        }
        let buffers = self.turns.driver.buffers();
        assert_eq!(
            (buffers.free(), buffers.held()),
            (buffers.count(), 0),
            "buffers were lost"
        );
    }

    pub(crate) fn turn(&mut self) {
        // Held buffers are released by chance, so the wait is short while there are some.
        let wait = if self.held.is_empty() && self.paused.is_empty() {
            100
        } else {
            1
        };
        for completion in self.turns.turn(Duration::from_millis(wait)) {
            self.handle(completion);
        }
        self.release();
        if self.pauses {
            self.pause();
        }
    }

    fn handle(&mut self, completion: Completion) {
        let driver = &mut self.turns.driver;
        match completion {
            Completion::Accepted { descriptor, .. } => {
                let socket = driver.attach(descriptor).unwrap();
                let before = self.connections.insert(socket, Connection::default());
                assert!(
                    before.is_none(),
                    "a socket's number was reused before it was closed"
                );
                self.accepted += 1;
            }
            Completion::Received {
                socket,
                buffer,
                length,
            } => {
                let connection = self.connections.get_mut(&socket).unwrap();
                assert!(!connection.ended, "bytes after the end");
                let mut bytes = driver.buffers().bytes(buffer, 0..length);
                self.echoed += bytes.len() as u64;
                while !bytes.is_empty() {
                    if connection
                        .outgoing
                        .back()
                        .is_none_or(|chunk| chunk.spare() == 0)
                    {
                        connection.outgoing.push_back(driver.chunks().take());
                    }
                    let chunk = connection.outgoing.back_mut().unwrap();
                    let (now, later) = bytes.split_at(bytes.len().min(chunk.spare()));
                    chunk.write(now);
                    bytes = later;
                }
                self.held.push(buffer);
                self.send(socket);
            }
            Completion::ReceiveEnded { socket, error } => {
                assert_eq!(error, 0, "a receive failed");
                self.connections.get_mut(&socket).unwrap().ended = true;
                self.send(socket);
            }
            Completion::Sent { socket, .. } => {
                self.connections.get_mut(&socket).unwrap().sending = false;
                self.send(socket);
            }
            Completion::Closed { socket } => {
                assert!(self.connections.remove(&socket).is_some(), "closed twice");
                self.paused.retain(|paused| *paused != socket);
                self.closed += 1;
            }
            other => panic!("unexpected: {other:?}"),
        }
    }

    fn send(&mut self, socket: SocketId) {
        let connection = self.connections.get_mut(&socket).unwrap();
        if connection.sending {
            return;
        }
        if connection.outgoing.is_empty() {
            if connection.ended {
                self.turns.driver.close(socket);
            }
            return;
        }
        let count = connection.outgoing.len().min(1 + self.random.below(80));
        self.turns
            .driver
            .send(socket, &mut connection.outgoing, count);
        connection.sending = true;
    }

    fn release(&mut self) {
        for _ in 0..self.held.len() {
            let index = self.random.below(self.held.len());
            if self.random.below(256) < self.release_chance {
                self.turns.driver.release(self.held.swap_remove(index));
            }
        }
    }

    /// Resumes some of the paused, then pauses one now and then.
    fn pause(&mut self) {
        for index in (0..self.paused.len()).rev() {
            if self.random.below(3) == 0 {
                self.turns.driver.resume(self.paused.swap_remove(index));
            }
        }
        let mut sockets: Vec<SocketId> = self.connections.keys().copied().collect();
        sockets.sort_by_key(|socket| socket.0);
        if !sockets.is_empty() && self.random.below(3) == 0 {
            let socket = sockets[self.random.below(sockets.len())];
            if !self.connections[&socket].ended && !self.paused.contains(&socket) {
                self.turns.driver.pause(socket);
                self.paused.push(socket);
            }
        }
    }
}

/// Clients on threads of their own: each writes its stream in pieces of random size, reads it back
/// and compares every byte.
pub(crate) fn echo_clients(
    address: SocketAddr,
    count: u64,
    bytes: usize,
    seed: u64,
) -> Vec<JoinHandle<()>> {
    (0..count)
        .map(|stream| {
            std::thread::spawn(move || {
                let mut random = Random::new(seed ^ stream << 32);
                let mut reading = TcpStream::connect(address).unwrap();
                reading.set_read_timeout(Some(patience())).unwrap();
                reading.set_write_timeout(Some(patience())).unwrap();
                let mut writing = reading.try_clone().unwrap();
                let writer = std::thread::spawn(move || {
                    let mut sent = 0;
                    while sent < bytes {
                        let length =
                            (1 + random.below(40_000) / (1 + random.below(40))).min(bytes - sent);
                        writing
                            .write_all(&pattern(stream, sent as u64, length))
                            .unwrap();
                        sent += length;
                    }
                    writing.shutdown(std::net::Shutdown::Write).unwrap();
                });
                read_exactly(&mut reading, stream, bytes);
                writer.join().unwrap();
            })
        })
        .collect()
}

/// Reads the stream to its end and compares.
pub(crate) fn read_exactly(client: &mut TcpStream, stream: u64, bytes: usize) {
    let mut buffer = vec![0; 64 * 1024];
    let mut received = 0;
    loop {
        let length = client.read(&mut buffer).expect("an orderly end");
        if length == 0 {
            break;
        }
        check(stream, received, &buffer[..length]);
        received += length as u64;
    }
    assert_eq!(
        received, bytes as u64,
        "bytes until the end of stream {stream}"
    );
}

pub(crate) fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Connections whose two ends misbehave at random, on one thread.
pub(crate) struct Chaos {
    turns: Loop,
    random: Random,
    live: HashMap<SocketId, Victim>,
    held: Vec<u16>,
    next_stream: u64,
    closed: usize,
}

struct Victim {
    client: Option<TcpStream>,
    stream: u64,
    /// Bytes the client wrote, the driver received, the driver gave, the client read.
    written: u64,
    received: u64,
    given: u64,
    read: u64,
    sending: bool,
    paused: bool,
    /// The driver was told to close or abort; nothing but `Closed` may follow.
    leaving: bool,
    aborted: bool,
}

impl Chaos {
    const CONNECTIONS: usize = 150;

    pub(crate) fn new(driver: Box<dyn Driver>, seed: u64) -> Self {
        Self {
            turns: Loop::new(driver),
            random: Random::new(seed),
            live: HashMap::new(),
            held: Vec::new(),
            next_stream: 0,
            closed: 0,
        }
    }

    pub(crate) fn run(mut self) {
        while self.closed < Self::CONNECTIONS {
            while self.live.len() < 10 && (self.next_stream as usize) < Self::CONNECTIONS {
                self.connect();
            }
            let mut sockets: Vec<SocketId> = self.live.keys().copied().collect();
            sockets.sort_by_key(|socket| socket.0);
            for socket in sockets {
                self.act(socket);
            }
            for completion in self.turns.turn(Duration::from_millis(1)) {
                self.handle(completion);
            }
            for _ in 0..self.held.len() {
                if self.random.below(2) == 0 {
                    let index = self.random.below(self.held.len());
                    self.turns.driver.release(self.held.swap_remove(index));
                }
            }
        }
        self.held
            .drain(..)
            .for_each(|buffer| self.turns.driver.release(buffer));
        self.turns.driver.submit().unwrap();
        let buffers = self.turns.driver.buffers();
        assert_eq!(
            (buffers.free(), buffers.held()),
            (buffers.count(), 0),
            "buffers were lost"
        );
        assert_eq!(self.turns.driver.chunks().taken(), 0, "chunks were lost");
    }

    fn connect(&mut self) {
        let (socket, client) = self.turns.pair(|_, _| {});
        client.set_nonblocking(true).unwrap();
        let victim = Victim {
            client: Some(client),
            stream: self.next_stream,
            written: 0,
            received: 0,
            given: 0,
            read: 0,
            sending: false,
            paused: false,
            leaving: false,
            aborted: false,
        };
        assert!(
            self.live.insert(socket, victim).is_none(),
            "a number in use was given again"
        );
        self.next_stream += 1;
    }

    fn act(&mut self, socket: SocketId) {
        let driver = &mut self.turns.driver;
        let random = &mut self.random;
        let victim = self.live.get_mut(&socket).unwrap();
        match random.below(24) {
            0..6 => victim.write(random.below(6000)),
            6..12 => victim.read(),
            12..18 if !victim.sending && !victim.leaving => {
                let mut chunks = VecDeque::new();
                let count = 1 + random.below(90) / (1 + random.below(20));
                for _ in 0..count {
                    let mut chunk = driver.chunks().take();
                    let length = 1 + random.below(chunk.spare());
                    chunk.write(&pattern(victim.stream + 1_000_000, victim.given, length));
                    victim.given += length as u64;
                    chunks.push_back(chunk);
                }
                driver.send(socket, &mut chunks, count);
                victim.sending = true;
            }
            18 | 19 if !victim.leaving => {
                victim.paused = !victim.paused;
                if victim.paused {
                    driver.pause(socket)
                } else {
                    driver.resume(socket)
                }
            }
            20 if random.below(4) == 0 => {
                driver.close(socket);
                victim.leaving = true;
            }
            21 if random.below(4) == 0 => {
                driver.abort(socket);
                victim.leaving = true;
                victim.aborted = true;
            }
            22 if random.below(4) == 0 => victim.client = None,
            23 if random.below(4) == 0 => {
                if let Some(client) = &victim.client {
                    SockRef::from(client)
                        .set_linger(Some(Duration::ZERO))
                        .unwrap();
                    victim.client = None;
                }
            }
            _ => {}
        }
        // A peer that has left may leave a send stalled in a close that nobody ends.
        if victim.client.is_none() && victim.leaving && !victim.aborted {
            driver.abort(socket);
            victim.aborted = true;
        }
        if victim.client.is_none() && !victim.leaving && random.below(8) == 0 {
            driver.close(socket);
            victim.leaving = true;
        }
    }

    fn handle(&mut self, completion: Completion) {
        match completion {
            Completion::Received {
                socket,
                buffer,
                length,
            } => {
                let victim = self.live.get_mut(&socket).unwrap();
                assert!(!victim.leaving, "bytes after close");
                let bytes = self.turns.driver.buffers().bytes(buffer, 0..length);
                check(victim.stream, victim.received, bytes);
                victim.received += u64::from(length);
                assert!(victim.received <= victim.written);
                self.held.push(buffer);
            }
            Completion::ReceiveEnded { socket, error } => {
                let victim = &self.live[&socket];
                assert!(
                    victim.client.is_none() && !victim.leaving,
                    "ended for no reason: {error}"
                );
            }
            Completion::Sent { socket, .. } | Completion::SendFailed { socket, .. } => {
                let victim = self.live.get_mut(&socket).unwrap();
                assert!(
                    victim.sending && !victim.leaving,
                    "a send was answered twice"
                );
                victim.sending = false;
            }
            Completion::Closed { socket } => {
                let victim = self.live.remove(&socket).expect("closed twice");
                assert!(victim.leaving, "closed for no reason");
                self.closed += 1;
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
}

impl Victim {
    fn write(&mut self, length: usize) {
        let Some(client) = &mut self.client else {
            return;
        };
        let bytes = pattern(self.stream, self.written, length);
        if let Ok(written) = client.write(&bytes) {
            self.written += written as u64;
        }
    }

    fn read(&mut self) {
        let Some(client) = &mut self.client else {
            return;
        };
        let mut bytes = [0; 20_000];
        match client.read(&mut bytes) {
            Ok(0) => {
                assert!(self.leaving, "the end came for no reason");
                assert!(
                    self.aborted || self.read == self.given,
                    "the end came before the bytes"
                );
                self.client = None;
            }
            Ok(length) => {
                check(self.stream + 1_000_000, self.read, &bytes[..length]);
                self.read += length as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => {
                assert!(self.leaving, "a reset for no reason");
                self.client = None;
            }
        }
    }
}
