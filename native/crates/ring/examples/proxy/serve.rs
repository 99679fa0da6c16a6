//! The proxy itself.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::{OwnedFd, RawFd};

use millrace_ring::{Chunk, Completion, Counters, Driver, DriverChoice, Options, SocketId, select};
use socket2::{Domain, Socket, Type};

/// How packets are given to the driver.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sends {
    /// One packet at a time; the rest is a backlog of ours.
    Serialised,
    /// All that is there, an entry for each packet.
    Packets,
    /// All that is there, packed into chunks of 16 KiB, as the engine does with frames.
    Packed,
}

/// What is switched.
#[derive(Clone, Copy)]
pub(crate) struct Mode {
    driver: DriverChoice,
    multishot: bool,
    receive_bundles: bool,
    /// Without rings several packets leave by a vectored send.
    send_rings: bool,
    sends: Sends,
}

impl Mode {
    pub(crate) fn named(name: &str) -> Self {
        let base = Self {
            driver: DriverChoice::Bundle,
            multishot: true,
            receive_bundles: false,
            send_rings: true,
            sends: Sends::Packets,
        };
        match name {
            "single-serialised" => Self {
                multishot: false,
                sends: Sends::Serialised,
                ..base
            },
            "multishot-serialised" => Self {
                sends: Sends::Serialised,
                ..base
            },
            "single-bundles" => Self {
                multishot: false,
                ..base
            },
            "multishot-vectored" => Self {
                send_rings: false,
                ..base
            },
            "multishot-bundles" => base,
            "bundles" => Self {
                receive_bundles: true,
                ..base
            },
            "bundles-packed" => Self {
                receive_bundles: true,
                sends: Sends::Packed,
                ..base
            },
            "classic" => Self {
                driver: DriverChoice::Classic,
                ..base
            },
            "portable" => Self {
                driver: DriverChoice::Portable,
                ..base
            },
            other => panic!("there is no mode {other}"),
        }
    }
}

/// Chunks given to one send at most; the driver commits that many to a bundle.
const CHUNKS: usize = 256;
/// Bytes of a packed chunk, as in the engine.
const PACKED_BYTES: u32 = 16 * 1024;
/// Receive buffers of a thread at most: what liburing's proxy has for each connection.
const BUFFERS: u16 = 256;
/// Their bytes at most. A buffer is free again once its bytes were copied into a chunk, so more would
/// only be colder.
const BUFFERS_BYTES: u32 = 512 * 1024;
/// Packets of one connection that wait before its receive is paused; it goes on at half of them.
const WAITING: u64 = 256;
/// Their bytes at most, so that they are still in a cache when they leave.
const WAITING_BYTES: u64 = 256 * 1024;
/// How long a thread sleeps at most.
const PATIENCE_MS: i32 = 1000;

/// One connection to another.
struct Lane {
    incoming: Option<SocketId>,
    outgoing: SocketId,
    /// The accepted connection, until the other one stands.
    accepted: Option<OwnedFd>,
    backlog: VecDeque<Chunk>,
    /// Bytes that have arrived and not left.
    waiting: u64,
    paused: bool,
    sending: bool,
    ended: bool,
    touched: bool,
}

/// Takes `connections`, gives each of `threads` as many, and forwards until all have ended.
pub(crate) fn run(mode: Mode, packet: u32, connections: usize, threads: usize, sink: u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("{}", listener.local_addr().expect("its address").port());
    let share = connections / threads;
    let forwarders: Vec<_> = (0..threads)
        .map(|_| {
            let accepted: Vec<OwnedFd> = (0..share)
                .map(|_| listener.accept().expect("a connection").0.into())
                .collect();
            std::thread::spawn(move || forward(&mode, packet, accepted, sink))
        })
        .collect();
    let mut totals = Totals::default();
    for forwarder in forwarders {
        totals.add(&forwarder.join().expect("a thread that does not panic"));
    }
    report(&totals);
}

/// Forwards until every connection has ended.
fn forward(mode: &Mode, packet: u32, accepted: Vec<OwnedFd>, sink: u16) -> Totals {
    let options = Options {
        buffers: BUFFERS.min((BUFFERS_BYTES / packet.next_power_of_two()) as u16),
        buffer_bytes: packet,
        receive_bundles: mode.receive_bundles,
        receive_multishot: mode.multishot,
        send_rings: if mode.send_rings { 512 } else { 0 },
        chunk_bytes: match mode.sends {
            Sends::Packed => PACKED_BYTES.max(packet),
            Sends::Serialised | Sends::Packets => packet,
        },
        ..Options::default()
    };
    let mut driver = select(mode.driver, &options).expect("the driver").driver;
    let connections = accepted.len();
    let mut proxy = Proxy {
        sends: mode.sends,
        lanes: Vec::new(),
        lane_of: Vec::new(),
        touched: Vec::new(),
        closed: 0,
        waiting_most: WAITING_BYTES.min(WAITING * u64::from(packet)),
    };
    for descriptor in accepted {
        proxy.open(driver.as_mut(), descriptor, sink);
    }
    let (mut out, mut waits) = (Vec::with_capacity(1024), 0u64);
    while proxy.closed < 2 * connections {
        driver.submit().expect("submit");
        if !driver.has_completions() {
            waits += 1;
            wait(driver.descriptor());
        }
        driver.complete(&mut out, 1024);
        for completion in out.drain(..) {
            proxy.handle(driver.as_mut(), completion);
        }
        proxy.send(driver.as_mut());
    }
    Totals::of(&driver.counters(), waits)
}

/// Sleeps until the driver has something. By poll(2), which leaves nothing behind that every completion
/// would have to wake, as a registration with epoll is.
fn wait(descriptor: RawFd) {
    let mut descriptor = libc::pollfd {
        fd: descriptor,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one descriptor is described. Completions made for this thread may interrupt its wait;
    // then there are some.
    unsafe { libc::poll(&raw mut descriptor, 1, PATIENCE_MS) };
}

struct Proxy {
    sends: Sends,
    lanes: Vec<Lane>,
    /// The lane of each socket, by its number.
    lane_of: Vec<usize>,
    touched: Vec<usize>,
    closed: usize,
    /// Bytes that one lane lets wait.
    waiting_most: u64,
}

impl Proxy {
    /// Connects to the sink for an accepted connection.
    fn open(&mut self, driver: &mut dyn Driver, accepted: OwnedFd, sink: u16) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, sink);
        let same = socket.try_clone().expect("another descriptor");
        let outgoing = driver
            .connect(OwnedFd::from(socket), address.into())
            .expect("connect");
        // liburing's proxy leaves it to the kernel when small segments go; drivers do not.
        same.set_tcp_nodelay(false).expect("an option of TCP");
        self.settle(outgoing, self.lanes.len());
        self.lanes.push(Lane {
            incoming: None,
            outgoing,
            accepted: Some(accepted),
            backlog: VecDeque::new(),
            waiting: 0,
            paused: false,
            sending: false,
            ended: false,
            touched: false,
        });
    }

    fn handle(&mut self, driver: &mut dyn Driver, completion: Completion) {
        match completion {
            Completion::Connected { socket } => {
                let lane = self.lane_of[socket.0 as usize];
                let accepted = self.lanes[lane].accepted.take().expect("connected once");
                let incoming = driver.attach(accepted).expect("attach");
                self.lanes[lane].incoming = Some(incoming);
                self.settle(incoming, lane);
            }
            Completion::Received {
                socket,
                buffer,
                length,
            } => {
                let index = self.lane_of[socket.0 as usize];
                let lane = &mut self.lanes[index];
                let bytes = driver.buffers().bytes(buffer, 0..length);
                let room = lane
                    .backlog
                    .back_mut()
                    .filter(|chunk| self.sends == Sends::Packed && chunk.spare() >= bytes.len());
                match room {
                    Some(chunk) => chunk.write(bytes),
                    None => {
                        let mut chunk = driver.chunks().take();
                        chunk.write(bytes);
                        lane.backlog.push_back(chunk);
                    }
                }
                driver.release(buffer);
                lane.waiting += u64::from(length);
                if lane.waiting > self.waiting_most && !std::mem::replace(&mut lane.paused, true) {
                    driver.pause(socket);
                }
                self.touch(index);
            }
            Completion::Sent { socket, bytes } => {
                let index = self.lane_of[socket.0 as usize];
                let lane = &mut self.lanes[index];
                lane.sending = false;
                lane.waiting -= bytes;
                if lane.paused && lane.waiting <= self.waiting_most / 2 {
                    lane.paused = false;
                    lane.incoming
                        .into_iter()
                        .for_each(|incoming| driver.resume(incoming));
                }
                self.touch(index);
            }
            Completion::ReceiveEnded { socket, .. } => {
                let index = self.lane_of[socket.0 as usize];
                if self.lanes[index].incoming == Some(socket) {
                    self.lanes[index].ended = true;
                    self.touch(index);
                }
            }
            Completion::Closed { .. } => self.closed += 1,
            other => panic!("{other:?}"),
        }
    }

    fn settle(&mut self, socket: SocketId, lane: usize) {
        let place = socket.0 as usize;
        self.lane_of.resize(self.lane_of.len().max(place + 1), 0);
        self.lane_of[place] = lane;
    }

    fn touch(&mut self, index: usize) {
        if !std::mem::replace(&mut self.lanes[index].touched, true) {
            self.touched.push(index);
        }
    }

    fn send(&mut self, driver: &mut dyn Driver) {
        for index in self.touched.drain(..) {
            let lane = &mut self.lanes[index];
            lane.touched = false;
            if lane.sending {
                continue;
            }
            if lane.backlog.is_empty() {
                if std::mem::take(&mut lane.ended) {
                    driver.close(lane.outgoing);
                    lane.incoming
                        .into_iter()
                        .for_each(|incoming| driver.close(incoming));
                }
                continue;
            }
            let most = match self.sends {
                Sends::Serialised => 1,
                Sends::Packets | Sends::Packed => CHUNKS,
            };
            let count = lane.backlog.len().min(most);
            driver.send(lane.outgoing, &mut lane.backlog, count);
            lane.sending = true;
        }
    }
}

/// What the drivers of all threads counted.
#[derive(Default)]
struct Totals {
    receives: u64,
    packets: u64,
    bytes: u64,
    enobufs: u64,
    rearms: u64,
    sends: u64,
    system_calls: u64,
}

impl Totals {
    fn of(counters: &Counters, waits: u64) -> Self {
        Self {
            receives: counters.receives,
            packets: counters.receive_buffers,
            bytes: counters.receive_bytes,
            enobufs: counters.enobufs,
            rearms: counters.rearms,
            sends: counters.send_bundles + counters.single_sends + counters.vectored_sends,
            system_calls: counters.enters + waits,
        }
    }

    fn add(&mut self, other: &Self) {
        self.receives += other.receives;
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.enobufs += other.enobufs;
        self.rearms += other.rearms;
        self.sends += other.sends;
        self.system_calls += other.system_calls;
    }
}

/// One line of JSON.
fn report(totals: &Totals) {
    let Totals {
        receives,
        packets,
        bytes,
        enobufs,
        rearms,
        sends,
        system_calls,
    } = totals;
    println!(
        "{{\"receives\":{receives},\"packets\":{packets},\"bytes\":{bytes},\
         \"enobufs\":{enobufs},\"rearms\":{rearms},\"sends\":{sends},\
         \"systemCalls\":{system_calls}}}"
    );
}
