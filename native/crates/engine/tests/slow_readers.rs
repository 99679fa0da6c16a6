//! Peers that read slowly are served, those that do not read are cut, and memory that runs out is not
//! left to either.
#![allow(missing_docs)]

mod support;

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use millrace_engine::{MethodKind, Options};
use millrace_ring::DriverChoice;
use socket2::{Domain, Socket, Type};
use support::{Behaviour, DRIVERS, Script, wire};

const CHAT: &str = "/t.Echo/Chat";
const TIMEOUT_MS: u64 = 400;
const PATIENCE: Duration = Duration::from_secs(30);

/// A server, and a peer with a small receive buffer to whom it has more to send than any socket takes.
struct Pair {
    server: Script,
    peer: TcpStream,
}

impl Pair {
    fn new(driver: DriverChoice, options: Options) -> Self {
        let options = Options {
            driver,
            send_progress_timeout_ms: TIMEOUT_MS,
            ..options
        };
        let methods = [(CHAT, MethodKind::Bidi, Behaviour::Ignore)];
        let mut server = Script::new(options, &methods);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(8 * 1024).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], server.port));
        socket.connect(&address.into()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut peer = TcpStream::from(socket);
        let opening = [
            wire::PREFACE.to_vec(),
            wire::settings(&[(4, wire::WINDOW_MAX)]),
            wire::window_update(0, wire::WINDOW_MAX - 65_535),
            wire::request(1, 0, CHAT),
        ];
        peer.write_all(&opening.concat()).unwrap();
        while server.calls.is_empty() {
            server.turn(Duration::from_millis(10));
        }
        let call = *server.calls.keys().next().unwrap();
        for _ in 0..12 {
            server.engine.send_large(call, &vec![7; 1 << 20], false);
        }
        server.engine.apply();
        Self { server, peer }
    }

    fn cut(&self) -> bool {
        self.server.engine.stats().contains("\"sendTimeouts\":1")
    }

    /// Turns for a time, while the peer reads `each` bytes every 20 ms; until it is cut at most.
    fn run(&mut self, time: Duration, each: usize) {
        let started = Instant::now();
        let mut bytes = vec![0; each];
        while started.elapsed() < time && !self.cut() {
            self.server.turn(Duration::from_millis(20));
            match self.peer.read(&mut bytes) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn on_each_driver(test: fn(DriverChoice)) {
    std::thread::scope(|scope| {
        for driver in DRIVERS {
            scope.spawn(move || test(driver));
        }
    });
}

#[test]
fn who_reads_slowly_is_served_and_who_stops_is_cut() {
    on_each_driver(|driver| {
        let mut pair = Pair::new(driver, Options::default());
        // Less than a tenth of a send in the time that a send has.
        pair.run(Duration::from_millis(5 * TIMEOUT_MS), 1024);
        assert!(!pair.cut(), "{driver:?}: {:?}", pair.server.notices);
        pair.run(PATIENCE, 0);
        assert!(pair.cut(), "{driver:?}");
        let told = pair.server.notices.iter();
        assert!(
            told.clone()
                .any(|notice| notice.contains("has taken nothing")),
            "{told:?}"
        );
    });
}

#[test]
fn who_reads_slowly_is_cut_while_memory_is_full() {
    on_each_driver(|driver| {
        let options = Options {
            unsent_bytes_max: 2 << 20,
            ..Options::default()
        };
        let mut pair = Pair::new(driver, options);
        pair.run(PATIENCE, 1024);
        assert!(pair.cut(), "{driver:?}");
        let told = pair.server.notices.iter();
        assert!(
            told.clone()
                .any(|notice| notice.contains("memory for unsent bytes")),
            "{told:?}"
        );
    });
}
