//! The engine with real sockets and the rings, JavaScript's part played by a script.

mod support;

use std::time::{Duration, Instant};

use millrace_engine::{MethodKind, Options};
use support::{
    Behaviour, DRIVERS, Script,
    client::{Client, framed},
};

const SAY: &str = "/t.Echo/Say";
const CHAT: &str = "/t.Echo/Chat";
const IGNORE: &str = "/t.Echo/Ignore";
/// No test takes this long; one that hangs fails by it.
const PATIENCE: Duration = Duration::from_secs(60);

fn server(options: Options) -> Script {
    Script::new(
        options,
        &[
            (SAY, MethodKind::Unary, Behaviour::Echo),
            (CHAT, MethodKind::Bidi, Behaviour::Echo),
            (IGNORE, MethodKind::Bidi, Behaviour::Ignore),
        ],
    )
}

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % below.max(1)
    }
}

fn run(
    server: &mut Script,
    clients: &mut [Client],
    read_at_most: usize,
    done: impl Fn(&Script, &[Client]) -> bool,
) {
    let started = Instant::now();
    while !done(server, clients) {
        assert!(
            started.elapsed() < PATIENCE,
            "no progress; notices: {:?}; stats: {}",
            server.notices,
            server.engine.stats()
        );
        server.turn(Duration::from_millis(1));
        for client in clients.iter_mut() {
            client.turn(read_at_most);
        }
    }
}

fn stat(server: &Script, name: &str) -> u64 {
    let stats = server.engine.stats();
    let rest = stats.split(&format!("\"{name}\":")).nth(1).expect(name);
    rest.chars()
        .take_while(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .unwrap()
}

/// Everything is back where it started.
fn settle(server: &mut Script) {
    let started = Instant::now();
    while stat(server, "connections") > 0
        || stat(server, "activeCalls") > 0
        || stat(server, "ringHeld") > 0
    {
        assert!(
            started.elapsed() < PATIENCE,
            "does not settle: {}",
            server.engine.stats()
        );
        server.turn(Duration::from_millis(5));
    }
    for name in [
        "waitingMessages",
        "bufferedBytes",
        "unsentBytes",
        "sendChunks",
    ] {
        assert_eq!(stat(server, name), 0, "{name}: {}", server.engine.stats());
    }
}

#[test]
fn unary_calls_are_answered() {
    for driver in DRIVERS {
        let mut server = server(Options {
            driver,
            ..Options::default()
        });
        let mut clients: Vec<Client> = (0..8).map(|_| Client::connect(server.port, None)).collect();
        for client in &mut clients {
            for number in 0..50 {
                client.call(SAY, framed(&vec![number as u8; number * 7]));
            }
        }
        run(&mut server, &mut clients, 65_536, |_, clients| {
            clients.iter().all(Client::is_done)
        });
        for client in &clients {
            for call in &client.calls {
                assert_eq!(call.status.as_deref(), Some("0"));
                assert_eq!(call.incoming, call.outgoing);
            }
        }
        drop(clients);
        settle(&mut server);
    }
}

#[test]
fn streams_are_byte_identical_with_a_ring_of_sixteen() {
    for driver in DRIVERS {
        let mut numbers = Numbers(7);
        let options = Options {
            driver,
            ring_buffers: 16,
            ring_buffer_bytes: 4096,
            ..Options::default()
        };
        let mut server = server(options);
        let mut clients: Vec<Client> = (0..4)
            .map(|_| Client::connect(server.port, Some(16_384)))
            .collect();
        for client in &mut clients {
            for _ in 0..25 {
                let mut outgoing = Vec::new();
                for _ in 0..numbers.next(40) {
                    let length = match numbers.next(10) {
                        0 => 0,
                        1..=6 => numbers.next(200),
                        7 | 8 => numbers.next(20_000),
                        _ => numbers.next(100_000),
                    };
                    let payload: Vec<u8> = (0..length).map(|_| numbers.next(256) as u8).collect();
                    outgoing.extend(framed(&payload));
                }
                client.call(CHAT, outgoing);
            }
        }
        run(&mut server, &mut clients, 9000, |_, clients| {
            clients.iter().all(Client::is_done)
        });
        for client in &clients {
            for call in &client.calls {
                assert_eq!(call.status.as_deref(), Some("0"));
                assert!(call.incoming == call.outgoing, "bytes differ on {driver:?}");
            }
        }
        drop(clients);
        settle(&mut server);
    }
}

#[test]
fn peers_that_stop_reading_and_resume_lose_nothing() {
    for driver in DRIVERS {
        let options = Options {
            driver,
            ring_buffers: 16,
            ..Options::default()
        };
        let mut server = server(options);
        let mut clients: Vec<Client> = (0..20)
            .map(|_| Client::connect(server.port, Some(32_768)))
            .collect();
        for client in &mut clients {
            for number in 0..10u8 {
                client.call(CHAT, framed(&vec![number; 50_000]).repeat(5));
            }
        }
        // The clients write and do not read: everything fills up and stops.
        for _ in 0..300 {
            server.turn(Duration::from_millis(1));
            for client in &mut clients {
                client.turn(1);
            }
        }
        run(&mut server, &mut clients, 65_536, |_, clients| {
            clients.iter().all(Client::is_done)
        });
        for client in &clients {
            for call in &client.calls {
                assert!(call.incoming == call.outgoing);
            }
        }
        drop(clients);
        settle(&mut server);
    }
}

#[test]
fn streams_that_nobody_reads_stay_within_the_budget() {
    for driver in DRIVERS {
        let mut server = server(Options {
            driver,
            buffered_bytes_max: 32 << 20,
            ..Options::default()
        });
        let mut clients: Vec<Client> = (0..50)
            .map(|_| Client::connect(server.port, None))
            .collect();
        for client in &mut clients {
            for size in [0, 1, 64, 5000] {
                client.call(IGNORE, framed(&vec![1; size]).repeat(400_000 / (size + 5)));
            }
        }
        let started = Instant::now();
        let mut before = 0;
        let mut quiet = 0;
        while quiet < 50 {
            assert!(started.elapsed() < PATIENCE);
            server.turn(Duration::from_millis(1));
            clients.iter_mut().for_each(|client| client.turn(65_536));
            let received = stat(&server, "receivedBytes");
            quiet = if received == before { quiet + 1 } else { 0 };
            before = received;
            assert!(
                stat(&server, "bufferedBytes") <= 33 << 20,
                "{}",
                server.engine.stats()
            );
        }
        // An honest call is served beside them.
        let mut honest = [Client::connect(server.port, None)];
        honest[0].call(CHAT, framed(b"hello").repeat(1000));
        run(&mut server, &mut honest, 65_536, |_, clients| {
            clients.iter().all(Client::is_done)
        });
        assert!(honest[0].calls[0].incoming == honest[0].calls[0].outgoing);
        drop(honest);
        drop(clients);
        settle(&mut server);
    }
}

#[test]
fn lost_connections_and_resets_leave_nothing_behind() {
    for driver in DRIVERS {
        let mut numbers = Numbers(11);
        let mut server = server(Options {
            driver,
            ring_buffers: 64,
            ..Options::default()
        });
        for _ in 0..30 {
            let mut clients: Vec<Client> = (0..10)
                .map(|_| Client::connect(server.port, None))
                .collect();
            for client in &mut clients {
                for _ in 0..5 {
                    let size = numbers.next(30_000);
                    client.call(
                        if numbers.next(3) == 0 { SAY } else { CHAT },
                        framed(&vec![3; size]).repeat(10),
                    );
                }
            }
            for _ in 0..numbers.next(30) {
                server.turn(Duration::from_millis(1));
                for client in &mut clients {
                    client.turn(20_000);
                    match numbers.next(40) {
                        0 => client.cut(),
                        1 => {
                            let call = numbers.next(client.calls.len());
                            if !client.calls[call].reset && client.calls[call].status.is_none() {
                                client.reset(call);
                            }
                        }
                        _ => {}
                    }
                }
            }
            drop(clients);
        }
        settle(&mut server);
        assert!(server.calls.is_empty(), "every call was told of its end");
    }
}

#[test]
fn unfinished_messages_of_one_connection_do_not_lock_each_other_up() {
    for driver in DRIVERS {
        for buffered_bytes_max in [16 << 20, 256 << 20] {
            let mut server = server(Options {
                driver,
                ring_buffers: 16,
                buffered_bytes_max,
                connection_budget_bytes: 1 << 20,
                ..Options::default()
            });
            let mut clients = [Client::connect(server.port, None)];
            for number in 0..100u8 {
                clients[0].call(CHAT, framed(&vec![number; 200_000]).repeat(3));
            }
            run(&mut server, &mut clients, 1 << 20, |_, clients| {
                clients[0].is_done()
            });
            for call in &clients[0].calls {
                assert!(call.incoming == call.outgoing);
            }
            drop(clients);
            settle(&mut server);
        }
    }
}

#[test]
fn large_uploads_complete_under_a_small_budget() {
    for driver in DRIVERS {
        let mut server = server(Options {
            driver,
            buffered_bytes_max: 32 << 20,
            ..Options::default()
        });
        let mut clients: Vec<Client> = (0..10)
            .map(|_| Client::connect(server.port, None))
            .collect();
        for client in &mut clients {
            for number in 0..10u8 {
                client.call(SAY, framed(&vec![number; 2 << 20]));
            }
        }
        run(&mut server, &mut clients, 1 << 20, |server, clients| {
            assert!(
                stat(server, "bufferedBytes") <= 33 << 20,
                "{}",
                server.engine.stats()
            );
            clients.iter().all(Client::is_done)
        });
        for client in &clients {
            for call in &client.calls {
                assert_eq!(call.status.as_deref(), Some("0"));
                assert!(call.incoming == call.outgoing);
            }
        }
        drop(clients);
        settle(&mut server);
    }
}

/// A message that fits into what its peer may still send gets no credit of its own, so that must not be
/// overrated: the second message waits in the same block as the beginning of the third, and its credit
/// is too little to be announced.
#[test]
fn a_message_behind_another_one_that_waited_gets_its_credit() {
    for driver in DRIVERS {
        let mut server = server(Options {
            driver,
            ring_buffer_bytes: 8192,
            ..Options::default()
        });
        let mut clients: Vec<Client> = (0..10)
            .map(|_| Client::connect(server.port, None))
            .collect();
        for client in &mut clients {
            let lengths = [vec![5_000; 10], vec![13_000, 56_000]].concat();
            let messages = lengths.iter().map(|&length| framed(&vec![7; length]));
            client.call(CHAT, messages.collect::<Vec<_>>().concat());
        }
        run(&mut server, &mut clients, 65_536, |_, clients| {
            clients.iter().all(Client::is_done)
        });
        for client in &clients {
            assert!(client.calls[0].incoming == client.calls[0].outgoing);
        }
        drop(clients);
        settle(&mut server);
    }
}
