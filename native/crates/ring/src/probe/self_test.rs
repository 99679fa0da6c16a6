//! Moves some bytes through a driver over loopback and compares every one of them.
//!
//! Over TCP and not a socket pair, which hides the known faults of bundled receives: those show
//! when data is queued beyond the group, buffers come back shuffled and the receive buffer of the
//! socket is small.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

use crate::{Chunk, Completion, Driver, Options, SocketId};

/// One run of the test.
pub(super) struct Round {
    buffers: u16,
    buffer_bytes: u32,
    /// `SO_RCVBUF` and `SO_SNDBUF` of the driver's sockets; 0: the system's.
    socket_bytes: usize,
}

impl Round {
    /// A driver for this round.
    pub(super) fn options(&self) -> Options {
        Options {
            buffers: self.buffers,
            buffer_bytes: self.buffer_bytes,
            submission_entries: 32,
            completion_entries: 256,
            send_rings: 2,
            ..Options::default()
        }
    }
}

/// What is known to bring faults out.
pub(super) const ROUNDS: [&Round; 2] = [
    &Round {
        buffers: 4,
        buffer_bytes: 1024,
        socket_bytes: 4096,
    },
    &Round {
        buffers: 16,
        buffer_bytes: 1024,
        socket_bytes: 0,
    },
];

/// Sockets that share the group.
const SOCKETS: usize = 2;
/// Bytes each way on each socket.
const BYTES: usize = 128 * 1024;
/// Bytes of a chunk; a load of 32 is a send of several bundles.
const CHUNK_BYTES: usize = 2000;
const CHUNKS: usize = 32;

/// Runs one round.
///
/// # Errors
/// What was wrong, or that the time was over.
pub(super) fn run(driver: Box<dyn Driver>, round: &Round, deadline: Instant) -> Result<(), String> {
    let mut test = Test::new(driver, round).map_err(|error| format!("no loopback: {error}"))?;
    while test.peers.iter().any(|peer| !peer.is_done()) {
        if Instant::now() > deadline {
            return Err("it did not end in time".to_string());
        }
        test.turn()?;
    }
    test.driver.shutdown();
    Ok(())
}

struct Test {
    driver: Box<dyn Driver>,
    poll: Poll,
    events: Events,
    peers: Vec<Peer>,
    held: Vec<u16>,
    out: Vec<Completion>,
    turns: usize,
}

/// One connection: the client's end, and what the driver's end has seen.
struct Peer {
    client: TcpStream,
    socket: SocketId,
    stream: usize,
    /// Bytes the client wrote, the driver received, the driver sent, the client read.
    written: usize,
    received: usize,
    given: usize,
    read: usize,
    sending: bool,
}

impl Peer {
    fn is_done(&self) -> bool {
        self.received == BYTES && self.read == BYTES && !self.sending
    }
}

/// Byte `position` of a stream.
fn byte(stream: usize, position: usize) -> u8 {
    ((position ^ stream << 20).wrapping_mul(0x9e37_79b1) >> 16) as u8
}

fn agree(stream: usize, from: usize, bytes: &[u8]) -> bool {
    bytes
        .iter()
        .enumerate()
        .all(|(index, got)| *got == byte(stream, from + index))
}

impl Test {
    fn new(mut driver: Box<dyn Driver>, round: &Round) -> io::Result<Self> {
        let poll = Poll::new()?;
        let descriptor = driver.descriptor();
        poll.registry()
            .register(&mut SourceFd(&descriptor), Token(0), Interest::READABLE)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        if round.socket_bytes > 0 {
            // Set before accepting, so that the window is small from the start.
            SockRef::from(&listener).set_recv_buffer_size(round.socket_bytes)?;
            SockRef::from(&listener).set_send_buffer_size(round.socket_bytes)?;
        }
        let mut peers = Vec::new();
        for stream in 0..SOCKETS {
            let client = TcpStream::connect(listener.local_addr()?)?;
            client.set_nonblocking(true)?;
            client.set_nodelay(true)?;
            let (server, _) = listener.accept()?;
            let socket = driver.attach(OwnedFd::from(server))?;
            peers.push(Peer {
                client,
                socket,
                stream,
                written: 0,
                received: 0,
                given: 0,
                read: 0,
                sending: false,
            });
        }
        let events = Events::with_capacity(16);
        Ok(Self {
            driver,
            poll,
            events,
            peers,
            held: Vec::new(),
            out: Vec::new(),
            turns: 0,
        })
    }

    fn turn(&mut self) -> Result<(), String> {
        self.turns += 1;
        let mut moved = false;
        for peer in &mut self.peers {
            moved |= peer.write()?;
            moved |= peer.read(self.turns)?;
            if !peer.sending && peer.given < BYTES {
                peer.send(&mut *self.driver);
            }
        }
        self.driver
            .submit()
            .map_err(|error| format!("submit: {error}"))?;
        if !moved && !self.driver.has_completions() {
            // The clients are not watched, so it never waits for long.
            let _ = self
                .poll
                .poll(&mut self.events, Some(Duration::from_millis(1)));
        }
        self.out.clear();
        let mut out = std::mem::take(&mut self.out);
        self.driver.complete(&mut out, usize::MAX);
        for completion in out.drain(..) {
            self.handle(&completion)?;
        }
        self.out = out;
        self.release();
        Ok(())
    }

    fn handle(&mut self, completion: &Completion) -> Result<(), String> {
        let peer = |socket: &SocketId| self.peers.iter().position(|peer| peer.socket == *socket);
        match completion {
            Completion::Received {
                socket,
                buffer,
                length,
            } => {
                let peer = peer(socket).ok_or("bytes of a socket that is unknown")?;
                let peer = &mut self.peers[peer];
                let bytes = self.driver.buffers().bytes(*buffer, 0..*length);
                if !agree(peer.stream, peer.received, bytes) {
                    return Err(format!("wrong bytes were received near {}", peer.received));
                }
                peer.received += bytes.len();
                self.held.push(*buffer);
                Ok(())
            }
            Completion::Sent { socket, .. } => {
                let peer = peer(socket).ok_or("a send of a socket that is unknown")?;
                self.peers[peer].sending = false;
                Ok(())
            }
            other => Err(format!("unexpected: {other:?}")),
        }
    }

    /// Gives buffers back late and out of order.
    fn release(&mut self) {
        let keep = self.turns % 3;
        while self.held.len() > keep {
            let index = self.turns.wrapping_mul(7) % self.held.len();
            self.driver.release(self.held.swap_remove(index));
        }
    }
}

impl Peer {
    fn write(&mut self) -> Result<bool, String> {
        let mut moved = false;
        while self.written < BYTES {
            let end = BYTES.min(self.written + 5000);
            let bytes: Vec<u8> = (self.written..end)
                .map(|position| byte(self.stream, position))
                .collect();
            match self.client.write(&bytes) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(format!("the client's write: {error}")),
            }
            moved = true;
        }
        Ok(moved)
    }

    /// Reads little at first, so that sends stall.
    fn read(&mut self, turns: usize) -> Result<bool, String> {
        let mut bytes = [0; 8192];
        let most = if turns < 8 { 100 } else { bytes.len() };
        match self.client.read(&mut bytes[..most]) {
            Ok(length) if length > 0 => {
                if !agree(self.stream + SOCKETS, self.read, &bytes[..length]) {
                    return Err(format!("wrong bytes were sent near {}", self.read));
                }
                self.read += length;
                Ok(true)
            }
            Ok(_) => Err("the connection ended".to_string()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(format!("the client's read: {error}")),
        }
    }

    fn send(&mut self, driver: &mut dyn Driver) {
        let mut chunks = VecDeque::new();
        while chunks.len() < CHUNKS && self.given < BYTES {
            let end = BYTES.min(self.given + CHUNK_BYTES);
            let stream = self.stream + SOCKETS;
            let bytes = (self.given..end)
                .map(|position| byte(stream, position))
                .collect();
            chunks.push_back(Chunk::from_vec(bytes));
            self.given = end;
        }
        let count = chunks.len();
        driver.send(self.socket, &mut chunks, count);
        self.sending = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::portable::Portable;

    fn portable(round: &Round) -> Box<dyn Driver> {
        Box::new(Portable::new(&round.options()).unwrap())
    }

    #[test]
    fn a_sound_driver_passes() {
        for round in ROUNDS {
            let deadline = Instant::now() + Duration::from_secs(60);
            assert_eq!(run(portable(round), round, deadline), Ok(()));
        }
    }

    #[cfg(feature = "__fault")]
    #[test]
    fn a_driver_that_reorders_is_caught_in_every_round() {
        use crate::FaultPlan;
        use crate::driver::fault::Fault;
        for round in ROUNDS {
            for seed in 0..10 {
                let plan = FaultPlan {
                    seed,
                    reorder_chance: 100,
                    ..FaultPlan::default()
                };
                let driver = Box::new(Fault::new(portable(round), &plan));
                let deadline = Instant::now() + Duration::from_secs(60);
                let failure = run(driver, round, deadline).unwrap_err();
                assert!(
                    failure.starts_with("wrong bytes were received near"),
                    "{failure}"
                );
            }
        }
    }

    #[cfg(feature = "__fault")]
    #[test]
    fn a_driver_that_only_delays_passes() {
        use crate::FaultPlan;
        use crate::driver::fault::Fault;
        let plan = FaultPlan {
            seed: 1,
            delay_chance: 60,
            keep_chance: 100,
            ..FaultPlan::default()
        };
        for round in ROUNDS {
            let driver = Box::new(Fault::new(portable(round), &plan));
            let deadline = Instant::now() + Duration::from_secs(60);
            assert_eq!(run(driver, round, deadline), Ok(()));
        }
    }

    #[test]
    fn it_ends_when_the_time_is_over() {
        let result = run(portable(ROUNDS[0]), ROUNDS[0], Instant::now());
        assert_eq!(result, Err("it did not end in time".to_string()));
    }

    #[test]
    fn one_wrong_byte_is_seen() {
        let mut bytes: Vec<u8> = (500..900).map(|position| byte(1, position)).collect();
        assert!(agree(1, 500, &bytes));
        assert!(!agree(1, 501, &bytes) && !agree(0, 500, &bytes));
        bytes[399] ^= 1;
        assert!(!agree(1, 500, &bytes));
    }
}
