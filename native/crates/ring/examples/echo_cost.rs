//! What an echo costs by driver: CPU time of the driver's thread per round trip of one connection,
//! and bytes per second. One client thread writes to every connection, then reads from every one.
//!
//! `cargo run --release -p millrace-ring --example echo_cost [seconds per row]`

use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use millrace_ring::{Chunk, Completion, DriverChoice, Options, SocketId, select};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

fn main() {
    let seconds: f64 = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(1.0);
    println!("driver          conns  bytes  µs CPU/echo  MB/s  bundles  single  vectored  enters");
    for (connections, bytes) in [
        (8, 64),
        (8, 1500),
        (8, 16_384),
        (8, 262_144),
        (64, 64),
        (64, 16_384),
    ] {
        for (name, choice, options) in [
            ("bundle", DriverChoice::Bundle, Options::default()),
            (
                "one buffer",
                DriverChoice::Bundle,
                Options {
                    receive_bundles: false,
                    ..Options::default()
                },
            ),
            (
                "no send rings",
                DriverChoice::Bundle,
                Options {
                    send_rings: 0,
                    ..Options::default()
                },
            ),
            ("portable", DriverChoice::Portable, Options::default()),
        ] {
            row(name, choice, &options, connections, bytes, seconds);
        }
    }
}

fn row(
    name: &str,
    choice: DriverChoice,
    options: &Options,
    connections: usize,
    bytes: usize,
    seconds: f64,
) {
    let mut driver = match select(choice, options) {
        Ok(selection) => selection.driver,
        Err(error) => return println!("{name}: {error}"),
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("its address");
    driver.listen(OwnedFd::from(listener));
    let rounds = Arc::new(AtomicU64::new(0));
    let client = std::thread::spawn({
        let rounds = Arc::clone(&rounds);
        move || run_client(address, connections, bytes, seconds, &rounds)
    });

    let mut poll = Poll::new().expect("a poll");
    let mut events = Events::with_capacity(4);
    let descriptor = driver.descriptor();
    poll.registry()
        .register(&mut SourceFd(&descriptor), Token(0), Interest::READABLE)
        .expect("the driver's descriptor");
    let mut outgoing: HashMap<SocketId, (VecDeque<Chunk>, bool)> = HashMap::new();
    let mut touched = Vec::new();
    let mut out = Vec::new();
    let mut closed = 0;
    let before = thread_time();
    while closed < connections {
        driver.submit().expect("submit");
        if !driver.has_completions() {
            // Completions made for this thread may interrupt its wait; then there are some.
            let _ = poll.poll(&mut events, Some(Duration::from_millis(100)));
        }
        driver.complete(&mut out, 1024);
        for completion in out.drain(..) {
            match completion {
                Completion::Accepted { descriptor, .. } => {
                    let socket = driver.attach(descriptor).expect("attach");
                    outgoing.insert(socket, (VecDeque::new(), false));
                }
                Completion::Received {
                    socket,
                    buffer,
                    length,
                } => {
                    let (chunks, _) = outgoing.get_mut(&socket).expect("a known socket");
                    let mut bytes = driver.buffers().bytes(buffer, 0..length);
                    while !bytes.is_empty() {
                        if chunks.back().is_none_or(|chunk| chunk.spare() == 0) {
                            chunks.push_back(driver.chunks().take());
                        }
                        let chunk = chunks.back_mut().expect("just pushed");
                        let (now, later) = bytes.split_at(bytes.len().min(chunk.spare()));
                        chunk.write(now);
                        bytes = later;
                    }
                    driver.release(buffer);
                    touched.push(socket);
                }
                Completion::Sent { socket, .. } => {
                    outgoing.get_mut(&socket).expect("a known socket").1 = false;
                    touched.push(socket);
                }
                Completion::ReceiveEnded { socket, .. } => driver.close(socket),
                Completion::Closed { .. } => closed += 1,
                other => panic!("{other:?}"),
            }
        }
        for socket in touched.drain(..) {
            let (chunks, sending) = outgoing.get_mut(&socket).expect("a known socket");
            if !*sending && !chunks.is_empty() {
                let count = chunks.len().min(64);
                driver.send(socket, chunks, count);
                *sending = true;
            }
        }
    }
    let spent = thread_time() - before;
    let elapsed = client.join().expect("the client");
    let echoes = rounds.load(Ordering::Relaxed) * connections as u64;
    let counters = driver.counters();
    println!(
        "{name:15} {connections:5} {bytes:6} {:12.2} {:5.0} {:8.2} {:7.2} {:9.2} {:7.2}",
        spent.as_secs_f64() * 1e6 / echoes as f64,
        (echoes * bytes as u64) as f64 / 1e6 / elapsed.as_secs_f64(),
        counters.send_bundles as f64 / echoes as f64,
        counters.single_sends as f64 / echoes as f64,
        counters.vectored_sends as f64 / echoes as f64,
        counters.enters as f64 / echoes as f64,
    );
}

fn run_client(
    address: std::net::SocketAddr,
    connections: usize,
    bytes: usize,
    seconds: f64,
    rounds: &AtomicU64,
) -> Duration {
    let mut sockets: Vec<TcpStream> = (0..connections)
        .map(|_| TcpStream::connect(address).expect("connect"))
        .collect();
    let payload: Vec<u8> = (0..bytes).map(|index| index as u8).collect();
    let mut echo = vec![0; bytes];
    let started = Instant::now();
    while started.elapsed().as_secs_f64() < seconds {
        for socket in &mut sockets {
            socket.write_all(&payload).expect("write");
        }
        for socket in &mut sockets {
            socket.read_exact(&mut echo).expect("read");
            assert!(echo == payload, "wrong bytes");
        }
        rounds.fetch_add(1, Ordering::Relaxed);
    }
    started.elapsed()
}

/// CPU time of this thread, from the scheduler (Linux).
fn thread_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}
