//! What receiving costs by the kind of buffer group: multishot receives that fill a buffer each,
//! bundles of them, and buffers that are consumed incrementally (`IOU_PBUF_RING_INC`, Linux 6.12),
//! for buffers of several sizes that take 16 MiB together. One thread writes packets to connections
//! in turn, another one receives and copies what came, as whoever reads it would; both are pinned,
//! the rows alternate, and the middle one of the rounds is printed. Small packets are written when
//! those before have arrived, so that each is received by itself whatever the speed of both.
//!
//! The drivers of this crate do not consume incrementally, so this speaks to the kernel itself.
//!
//! `cargo run --release -p millrace-ring --example receive_cost [milliseconds per round] [rounds]`

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("what this compares is Linux's");
}

#[cfg(target_os = "linux")]
fn main() {
    let number = |place: usize, otherwise: u64| {
        let argument = std::env::args().nth(place);
        argument
            .and_then(|text| text.parse().ok())
            .unwrap_or(otherwise)
    };
    let time = std::time::Duration::from_millis(number(1, 300));
    let rounds = number(2, 5) as usize;
    println!(
        "packet  conns  group        buffer   ns CPU/packet   ns CPU/KiB   bytes/buffer   bytes/completion"
    );
    for (packet, connections) in [
        (64, 8),
        (64, 256),
        (1500, 8),
        (1500, 256),
        (16_384, 8),
        (262_144, 8),
    ] {
        let mut rows = Vec::new();
        for buffer_bytes in [2048, 16_384, 65_536] {
            for kind in cost::KINDS {
                rows.push((kind, buffer_bytes, Vec::new()));
            }
        }
        for _ in 0..rounds {
            for (kind, buffer_bytes, costs) in &mut rows {
                match cost::measure(*kind, *buffer_bytes, packet, connections, time) {
                    Ok(cost) => costs.push(cost),
                    Err(error) => eprintln!("{kind:?}: {error}"),
                }
            }
        }
        for (kind, buffer_bytes, costs) in &mut rows {
            costs.sort_by(|one, other| one.per_kib().total_cmp(&other.per_kib()));
            let Some(cost) = costs.get(costs.len() / 2) else {
                continue;
            };
            let least = costs[0].per_kib();
            let most = costs[costs.len() - 1].per_kib();
            println!(
                "{packet:6}  {connections:5}  {:11}  {buffer_bytes:6}   {:13.0}   {:5.0} ({least:.0}-{most:.0})   {:12.0}   {:16.0}",
                format!("{kind:?}"),
                cost.per_kib() * packet as f64 / 1024.0,
                cost.per_kib(),
                cost.bytes as f64 / cost.buffers as f64,
                cost.bytes as f64 / cost.completions as f64,
            );
        }
    }
}

#[cfg(target_os = "linux")]
mod cost {
    use std::io::{self, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    use io_uring::types::{BufRingEntry, Fd, IOU_PBUF_RING_INC};
    use io_uring::{IoUring, cqueue, opcode};
    use millrace_ring::SharedMemory;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Kind {
        Multishot,
        Bundle,
        Incremental,
    }

    pub(super) const KINDS: [Kind; 3] = [Kind::Multishot, Kind::Bundle, Kind::Incremental];

    /// Bytes of a packet that is to be received by itself.
    const SMALL: usize = 4096;
    /// Bytes of all buffers of a group.
    const GROUP: usize = 16 << 20;

    #[derive(Default)]
    pub(super) struct Cost {
        time: Duration,
        pub(super) bytes: u64,
        pub(super) completions: u64,
        /// Buffers that were given back, and those that are filled in part.
        pub(super) buffers: u64,
    }

    impl Cost {
        pub(super) fn per_kib(&self) -> f64 {
            self.time.as_nanos() as f64 / (self.bytes as f64 / 1024.0)
        }
    }

    /// A registered group, with what the kernel took and in which order it will go on.
    struct Group {
        entries: Arc<SharedMemory>,
        memory: Arc<SharedMemory>,
        buffer_bytes: usize,
        count: u16,
        tail: u16,
        /// By buffer: bytes consumed of it, and the buffer published after it.
        consumed: Vec<usize>,
        successors: Vec<u16>,
        last: u16,
    }

    impl Group {
        fn new(ring: &IoUring, kind: Kind, buffer_bytes: usize) -> io::Result<Self> {
            let count = (GROUP / buffer_bytes) as u16;
            let entries = SharedMemory::new(usize::from(count) * size_of::<BufRingEntry>())?;
            let flags = match kind {
                Kind::Incremental => IOU_PBUF_RING_INC as u16,
                Kind::Multishot | Kind::Bundle => 0,
            };
            let address = entries.as_ptr() as u64;
            // SAFETY: the memory is page aligned, zeroed, as long as the entries say, and lives as
            // long as the ring.
            unsafe {
                let submitter = ring.submitter();
                submitter.register_buf_ring_with_flags(address, count, 0, flags)?;
            }
            let mut group = Self {
                entries,
                memory: SharedMemory::new(GROUP)?,
                buffer_bytes,
                count,
                tail: 0,
                consumed: vec![0; usize::from(count)],
                successors: vec![0; usize::from(count)],
                last: 0,
            };
            (0..count).for_each(|buffer| group.give(buffer));
            group.publish();
            Ok(group)
        }

        fn give(&mut self, buffer: u16) {
            self.consumed[usize::from(buffer)] = 0;
            self.successors[usize::from(self.last)] = buffer;
            self.last = buffer;
            let place = usize::from(self.tail & (self.count - 1));
            let address = self.memory.as_ptr() as usize + usize::from(buffer) * self.buffer_bytes;
            // SAFETY: the place lies in the mapping, and the kernel is behind it: each buffer is
            // in the ring once.
            let entry = unsafe { &mut *self.entries.as_ptr().cast::<BufRingEntry>().add(place) };
            entry.set_addr(address as u64);
            entry.set_len(self.buffer_bytes as u32);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
        }

        fn publish(&self) {
            // SAFETY: the first entry lies in the mapping; its tail is used as an atomic only.
            unsafe {
                let tail = BufRingEntry::tail(self.entries.as_ptr().cast::<BufRingEntry>());
                (*tail.cast_mut().cast::<AtomicU16>()).store(self.tail, Ordering::Release);
            }
        }

        /// Copies what came, and says how many buffers are used up, which go back.
        fn take(&mut self, first: u16, bytes: usize, kept: &mut [u8]) -> u64 {
            let (mut buffer, mut left, mut used) = (first, bytes, 0);
            while left > 0 {
                let consumed = self.consumed[usize::from(buffer)];
                let length = left.min(self.buffer_bytes - consumed);
                let start = usize::from(buffer) * self.buffer_bytes + consumed;
                // SAFETY: the range lies in the mapping, and the kernel has filled it.
                let filled =
                    unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(start), length) };
                kept[..length].copy_from_slice(filled);
                left -= length;
                self.consumed[usize::from(buffer)] = consumed + length;
                used += 1;
                buffer = self.successors[usize::from(buffer)];
            }
            used
        }
    }

    /// CPU time of this thread.
    fn thread_time() -> Duration {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: a valid pointer is passed.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    fn pin(core: usize) {
        // SAFETY: a zeroed set is empty and valid; where the core does not exist nothing changes.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(core, &mut set);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
        }
    }

    pub(super) fn measure(
        kind: Kind,
        buffer_bytes: usize,
        packet: usize,
        connections: usize,
        time: Duration,
    ) -> io::Result<Cost> {
        let mut ring: IoUring = IoUring::builder()
            .setup_cqsize(16_384)
            .setup_coop_taskrun()
            .setup_single_issuer()
            .build(512)?;
        let mut group = Group::new(&ring, kind, buffer_bytes)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (mut near, mut far) = (Vec::new(), Vec::new());
        for _ in 0..connections {
            far.push(TcpStream::connect(listener.local_addr()?)?);
            near.push(listener.accept()?.0);
        }
        let ends: Vec<TcpStream> = far
            .iter()
            .map(TcpStream::try_clone)
            .collect::<Result<_, _>>()?;
        let over = Arc::new(AtomicBool::new(false));
        let received = Arc::new(AtomicU64::new(0));
        let writer = std::thread::spawn({
            let (over, received) = (Arc::clone(&over), Arc::clone(&received));
            move || {
                pin(1);
                let bytes = vec![7; packet];
                let mut written = 0;
                while !over.load(Ordering::Relaxed) {
                    if packet <= SMALL && received.load(Ordering::Relaxed) < written {
                        std::thread::yield_now();
                        continue;
                    }
                    written += (packet * far.len()) as u64;
                    for stream in &mut far {
                        if stream.write_all(&bytes).is_err() {
                            return;
                        }
                    }
                }
            }
        });
        pin(0);
        let arm = |ring: &mut IoUring, owner: usize| {
            let socket = Fd(near[owner].as_raw_fd());
            let entry = match kind {
                Kind::Bundle => opcode::RecvMultiBundle::new(socket, 0).build(),
                Kind::Multishot | Kind::Incremental => opcode::RecvMulti::new(socket, 0).build(),
            };
            let entry = entry.user_data(owner as u64);
            // SAFETY: a receive into a group names no memory.
            while unsafe { ring.submission().push(&entry) }.is_err() {
                ring.submit().expect("submit");
            }
        };
        (0..connections).for_each(|owner| arm(&mut ring, owner));
        let mut kept = vec![0; buffer_bytes];
        let (mut cost, mut reaped, mut back) = (Cost::default(), Vec::new(), Vec::new());
        let (started, before) = (Instant::now(), thread_time());
        while started.elapsed() < time {
            match ring.submit_and_wait(1) {
                Err(error) if error.raw_os_error() != Some(libc::EINTR) => return Err(error),
                _ => {}
            }
            reaped.extend(ring.completion());
            for entry in reaped.drain(..) {
                let flags = entry.flags();
                if let (Ok(bytes @ 1..), Some(first)) = (
                    usize::try_from(entry.result()),
                    cqueue::buffer_select(flags),
                ) {
                    cost.bytes += bytes as u64;
                    cost.completions += 1;
                    let used = group.take(first, bytes, &mut kept);
                    let stays = kind == Kind::Incremental
                        && group.consumed[usize::from(first)] < buffer_bytes;
                    assert_eq!(stays, cqueue::buffer_more(flags), "the kernel's account");
                    let mut buffer = first;
                    for _ in 0..used {
                        if !stays {
                            cost.buffers += 1;
                            back.push(buffer);
                        }
                        buffer = group.successors[usize::from(buffer)];
                    }
                }
                if !cqueue::more(flags) {
                    arm(&mut ring, entry.user_data() as usize);
                }
            }
            back.drain(..).for_each(|buffer| group.give(buffer));
            group.publish();
            received.store(cost.bytes, Ordering::Relaxed);
        }
        cost.time = thread_time() - before;
        cost.buffers = cost.buffers.max(1);
        over.store(true, Ordering::Relaxed);
        // The writer may wait for room.
        for socket in &ends {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        writer.join().expect("the writer");
        Ok(cost)
    }
}
