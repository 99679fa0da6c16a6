//! Both ends of a proxy, on one thread. The sender's bytes come out of a file in memory by sendfile(2),
//! and the receiver leaves most of what arrives in the kernel, so that the proxy has the harder work.
//! Now and then the receiver reads what it would have thrown away, and compares it with what has to
//! stand at that place of the stream. To see what a load does that is not so light, it can also copy all
//! that it sends and receives, as programs usually do.

use std::io::{BufRead, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

/// What is sent, over and over: a prime number of bytes, so that no packet lost, doubled or moved
/// leaves the rest where it has to be.
const PERIOD: usize = 1_048_583;
/// Bytes compared at once.
const SAMPLE: usize = 64 * 1024;
/// One of so many reads is compared.
const SAMPLED: u64 = 64;
/// Bytes moved for one connection before the next one has its turn.
const TURN: usize = 256 * 1024;
/// How long the proxy may take for the last bytes.
const PATIENCE: Duration = Duration::from_secs(5);

struct Source {
    socket: TcpStream,
    sent: u64,
    ready: bool,
}

struct Sink {
    socket: TcpStream,
    received: u64,
    compared: u64,
    reads: u64,
    ready: bool,
    ended: bool,
}

/// What a load may do besides.
pub(crate) struct Habits {
    /// It copies what it sends and receives.
    pub(crate) copies: bool,
    /// It waits until everything has arrived. The sockets between hold megabytes, which a slow proxy
    /// needs longer for than for what is measured.
    pub(crate) drains: bool,
}

pub(crate) fn run(connections: usize, warm_up_ms: u64, measure_ms: u64, habits: &Habits) {
    let Habits { copies, drains } = *habits;
    let pattern = pattern();
    let file = file_of(&pattern);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("{}", listener.local_addr().expect("its address").port());
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .expect("the proxy's port and process");
    let mut words = line.split_whitespace();
    let port: u16 = words.next().and_then(|w| w.parse().ok()).expect("a port");
    let process = words.next().expect("a process").to_string();

    let mut poll = Poll::new().expect("a poll");
    let mut events = Events::with_capacity(256);
    let mut sources: Vec<Source> = (0..connections)
        .map(|_| connect(port))
        .map(|socket| Source {
            socket,
            sent: 0,
            ready: true,
        })
        .collect();
    let mut sinks: Vec<Sink> = (0..connections)
        .map(|_| listener.accept().expect("a connection of the proxy").0)
        .map(|socket| Sink {
            socket,
            received: 0,
            compared: 0,
            reads: 0,
            ready: true,
            ended: false,
        })
        .collect();
    let sockets = sources.iter().map(|s| (&s.socket, Interest::WRITABLE));
    let sockets = sockets.chain(sinks.iter().map(|s| (&s.socket, Interest::READABLE)));
    for (place, (socket, interest)) in sockets.enumerate() {
        socket.set_nonblocking(true).expect("a non-blocking socket");
        poll.registry()
            .register(&mut SourceFd(&socket.as_raw_fd()), Token(place), interest)
            .expect("a registration");
    }

    let mut sample = vec![0; SAMPLE];
    let started = Instant::now();
    let begin = started + Duration::from_millis(warm_up_ms);
    let end = begin + Duration::from_millis(measure_ms);
    let (mut first, mut last) = (None, None);
    loop {
        let now = Instant::now();
        if first.is_none() && now >= begin {
            first = Some(Moment::now(&sinks, &process));
        }
        if last.is_none() && now >= end {
            last = Some(Moment::now(&sinks, &process));
            if !drains {
                break;
            }
            for source in &sources {
                source
                    .socket
                    .shutdown(std::net::Shutdown::Write)
                    .expect("an end");
            }
        }
        let mut progress = false;
        for sink in sinks.iter_mut().filter(|sink| sink.ready) {
            progress = true;
            receive(sink, &pattern, &mut sample, copies);
        }
        if last.is_none() {
            for source in sources.iter_mut().filter(|source| source.ready) {
                progress = true;
                send(source, file, copies.then_some(&pattern));
            }
        } else if sinks.iter().all(|sink| sink.ended) {
            break;
        }
        assert!(now < end + PATIENCE, "the proxy did not deliver everything");
        let patience = if progress { 0 } else { 10 };
        poll.poll(&mut events, Some(Duration::from_millis(patience)))
            .expect("poll");
        for event in &events {
            match event.token().0.checked_sub(connections) {
                None => sources[event.token().0].ready = true,
                Some(place) => sinks[place].ready = true,
            }
        }
    }
    let sent: u64 = sources.iter().map(|source| source.sent).sum();
    let received: u64 = sinks.iter().map(|sink| sink.received).sum();
    let compared: u64 = sinks.iter().map(|sink| sink.compared).sum();
    assert!(
        !drains || sent == received,
        "{sent} bytes went, {received} arrived"
    );
    let (first, last) = (first.expect("a begin"), last.expect("an end"));
    println!(
        "{{\"bytes\":{},\"seconds\":{},\"proxySeconds\":{},\"loadSeconds\":{},\"total\":{received},\
         \"compared\":{compared}}}",
        last.bytes - first.bytes,
        (last.time - first.time).as_secs_f64(),
        (last.proxy - first.proxy).as_secs_f64(),
        (last.load - first.load).as_secs_f64(),
    );
    std::io::stdout().flush().expect("a line");
}

/// What the clocks say.
struct Moment {
    time: Instant,
    bytes: u64,
    proxy: Duration,
    load: Duration,
}

impl Moment {
    fn now(sinks: &[Sink], process: &str) -> Self {
        Self {
            time: Instant::now(),
            bytes: sinks.iter().map(|sink| sink.received).sum(),
            proxy: processor_time(process),
            load: processor_time("self"),
        }
    }
}

/// CPU time of all threads of a process, from the scheduler.
fn processor_time(process: &str) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).expect("a process that lives");
    let nanoseconds = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// Connects; the proxy may only just be starting.
fn connect(port: u16) -> TcpStream {
    let given_up = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(socket) => return socket,
            Err(error) => {
                assert!(
                    Instant::now() < given_up,
                    "the proxy does not listen: {error}"
                );
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Sends from the file, or from `memory` by a copy.
fn send(source: &mut Source, file: i32, memory: Option<&Vec<u8>>) {
    let mut turn = 0;
    while turn < TURN {
        let place = (source.sent % PERIOD as u64) as usize;
        let length = (PERIOD - place).min(TURN);
        let sent = match memory {
            Some(memory) => source.socket.write(&memory[place..place + length]),
            None => send_file(&source.socket, file, place, length),
        };
        match sent {
            Ok(sent) => {
                source.sent += sent as u64;
                turn += sent;
            }
            Err(error) => {
                assert!(error.kind() == std::io::ErrorKind::WouldBlock, "{error}");
                source.ready = false;
                return;
            }
        }
    }
}

fn send_file(socket: &TcpStream, file: i32, place: usize, length: usize) -> std::io::Result<usize> {
    let mut offset = place as libc::off_t;
    // SAFETY: both descriptors are open, and the offset is one of ours.
    let sent = unsafe { libc::sendfile(socket.as_raw_fd(), file, &raw mut offset, length) };
    usize::try_from(sent).map_err(|_| std::io::Error::last_os_error())
}

fn receive(sink: &mut Sink, pattern: &[u8], sample: &mut [u8], copies: bool) {
    let mut turn = 0;
    while turn < TURN {
        let compare = sink.reads.is_multiple_of(SAMPLED);
        let received = if compare || copies {
            sink.socket.read(sample)
        } else {
            discard(&sink.socket)
        };
        let length = match received {
            Ok(0) => {
                (sink.ended, sink.ready) = (true, false);
                return;
            }
            Ok(length) => length,
            Err(error) => {
                assert!(error.kind() == std::io::ErrorKind::WouldBlock, "{error}");
                sink.ready = false;
                return;
            }
        };
        sink.reads += 1;
        if compare {
            let place = (sink.received % PERIOD as u64) as usize;
            assert!(
                sample[..length] == pattern[place..place + length],
                "wrong bytes after {}",
                sink.received
            );
            sink.compared += length as u64;
        }
        sink.received += length as u64;
        turn += length;
    }
}

/// Takes what has arrived without copying it (tcp(7)).
fn discard(socket: &TcpStream) -> std::io::Result<usize> {
    let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
    // SAFETY: with MSG_TRUNC a TCP socket writes nothing to the address, which is not looked at.
    let length = unsafe { libc::recv(socket.as_raw_fd(), std::ptr::null_mut(), TURN, flags) };
    usize::try_from(length).map_err(|_| std::io::Error::last_os_error())
}

/// One period and the beginning of the next.
fn pattern() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes: Vec<u8> = (0..PERIOD)
        .map(|_| {
            // Marsaglia's xorshift.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect();
    bytes.extend_from_within(..SAMPLE);
    bytes
}

/// A file in memory with one period; it stays open until the process ends.
fn file_of(pattern: &[u8]) -> i32 {
    use std::os::fd::{FromRawFd, IntoRawFd};
    // SAFETY: the name is a string that ends in 0, and the new descriptor is owned by the file.
    let mut file = unsafe {
        let descriptor = libc::memfd_create(c"pattern".as_ptr(), 0);
        assert!(descriptor >= 0, "{}", std::io::Error::last_os_error());
        std::fs::File::from_raw_fd(descriptor)
    };
    file.write_all(&pattern[..PERIOD]).expect("memory");
    file.into_raw_fd()
}
