//! What is chosen where the system refuses io_uring or a part of it. Filters and limits hold for a
//! thread or a process, so each test restricts itself in a thread or process of its own.
#![cfg(target_os = "linux")]

mod support;

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use millrace_ring::{
    Completion, Counters, Driver, DriverChoice, Options, RingError, SocketId, select,
};
use support::*;

fn instruction(code: u16, jump_false: u8, value: u32) -> libc::sock_filter {
    libc::sock_filter {
        code,
        jt: 0,
        jf: jump_false,
        k: value,
    }
}

/// Makes system call `number`, or with `operation` only those whose second argument that is, fail
/// with `error` on this thread from now on, as a container's seccomp profile does.
fn forbid(number: libc::c_long, operation: Option<u32>, error: i32) {
    const LOAD: u16 = 0x20;
    const IS_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    // Offsets in seccomp_data: the number, and the low half of the second argument.
    const NUMBER: u32 = 0;
    const SECOND: u32 = 24 + if cfg!(target_endian = "big") { 4 } else { 0 };
    let mut filters = Vec::from([instruction(LOAD, 0, NUMBER)]);
    match operation {
        None => filters.push(instruction(IS_EQUAL, 1, number as u32)),
        Some(operation) => filters.extend([
            instruction(IS_EQUAL, 3, number as u32),
            instruction(LOAD, 0, SECOND),
            instruction(IS_EQUAL, 1, operation),
        ]),
    }
    let refuse = libc::SECCOMP_RET_ERRNO | error as u32;
    filters.push(instruction(RETURN, 0, refuse));
    filters.push(instruction(RETURN, 0, libc::SECCOMP_RET_ALLOW));
    let program = libc::sock_fprog {
        len: filters.len() as u16,
        filter: filters.as_mut_ptr(),
    };
    // SAFETY: the program and its instructions are valid during the calls, which concern this
    // thread alone.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let filter = libc::SECCOMP_MODE_FILTER;
        assert_eq!(
            libc::prctl(libc::PR_SET_SECCOMP, filter, &raw const program),
            0
        );
    }
}

/// What is left to choose works: every byte comes back.
fn echo(driver: Box<dyn Driver>) {
    let mut echo = Echo::new(driver, 1);
    let (_, address) = echo.turns.listen();
    let clients = echo_clients(address, 4, 50_000, 1);
    echo.serve(4);
    join(clients);
    assert_eq!(echo.echoed, 4 * 50_000);
}

/// The drivers of io_uring.
const IO_URING: [DriverChoice; 3] = [
    DriverChoice::Bundle,
    DriverChoice::Ring,
    DriverChoice::Classic,
];

#[test]
fn a_forbidden_io_uring_means_portable_with_cause_and_remedy() {
    for (error, remedy) in [
        (libc::EPERM, "kernel.io_uring_disabled"),
        (libc::EACCES, "seccomp"),
        (libc::ENOSYS, "allow io_uring_setup"),
        (libc::EINVAL, "Linux 6.10"),
        (libc::ENOMEM, "RLIMIT_MEMLOCK"),
    ] {
        let test = move || {
            forbid(libc::SYS_io_uring_setup, None, error);
            let selection = select(DriverChoice::Automatic, &Options::default()).unwrap();
            assert_eq!(selection.name, "portable");
            assert!(
                selection.reason.starts_with("portable: "),
                "{}",
                selection.reason
            );
            assert!(selection.reason.contains(remedy), "{}", selection.reason);
            echo(selection.driver);
            for choice in IO_URING {
                let forced = select(choice, &Options::default()).map(|made| made.name);
                match forced {
                    Err(RingError::Unavailable { reason, .. }) => {
                        assert!(reason.contains(remedy), "{reason}");
                    }
                    other => panic!("{other:?}"),
                }
            }
        };
        join(vec![std::thread::spawn(test)]);
    }
}

/// `IORING_REGISTER_PBUF_RING`, since Linux 5.19.
const REGISTER_BUFFER_RING: u32 = 22;

#[test]
fn without_mapped_rings_of_buffers_it_is_classic() {
    if select(DriverChoice::Classic, &Options::default()).is_err() {
        return eprintln!("skipped: io_uring is not allowed here");
    }
    for (error, remedy) in [
        // An older kernel says so.
        (libc::EINVAL, "Linux 6.10"),
        // Little lockable memory.
        (libc::ENOMEM, "RLIMIT_MEMLOCK"),
    ] {
        let test = move || {
            forbid(
                libc::SYS_io_uring_register,
                Some(REGISTER_BUFFER_RING),
                error,
            );
            let selection = select(DriverChoice::Automatic, &Options::default()).unwrap();
            assert_eq!(selection.name, "classic", "{}", selection.reason);
            assert!(selection.reason.contains(remedy), "{}", selection.reason);
            for choice in [DriverChoice::Bundle, DriverChoice::Ring] {
                let forced = select(choice, &Options::default()).map(|made| made.name);
                assert!(
                    matches!(forced, Err(RingError::Unavailable { .. })),
                    "{forced:?}"
                );
            }
            echo(selection.driver);
        };
        join(vec![std::thread::spawn(test)]);
    }
}

/// Send rings are refused when the driver is at work already.
#[test]
fn send_rings_that_are_refused_half_way_leave_vectored_sends() {
    let test = || {
        let Some(driver) = driver(Tier::Bundle, &Options::default()) else {
            return;
        };
        let mut turns = Loop::new(driver);
        let mut pairs = Vec::new();
        for stream in 0..40 {
            if stream == 10 {
                let register = Some(REGISTER_BUFFER_RING);
                forbid(libc::SYS_io_uring_register, register, libc::ENOMEM);
            }
            let (socket, client) = turns.pair(|server, _| {
                socket2::SockRef::from(server)
                    .set_send_buffer_size(4096)
                    .unwrap();
            });
            turns.send_all(socket, stream, 400_000, 8192);
            pairs.push((socket, client));
        }
        turns.turn(Duration::ZERO);
        let counters = turns.driver.counters();
        assert_eq!((counters.leases, counters.lease_failures), (10, 1));
        assert_eq!(counters.vectored_sends, 30);
        deliver(turns, pairs);
    };
    join(vec![std::thread::spawn(test)]);
}

/// Closes every socket, and has each client read its stream to the end.
fn deliver(mut turns: Loop, pairs: Vec<(SocketId, TcpStream)>) {
    for (socket, _) in &pairs {
        turns.driver.close(*socket);
    }
    let readers = pairs
        .into_iter()
        .enumerate()
        .map(|(stream, (_, mut client))| {
            std::thread::spawn(move || read_exactly(&mut client, stream as u64, 400_000))
        });
    let readers: Vec<_> = readers.collect();
    while readers.iter().any(|reader| !reader.is_finished()) {
        turns.turn(Duration::from_millis(10));
    }
    join(readers);
}

/// Variable that turns the test below into its own restricted child.
const MEMORY: &str = "MILLRACE_TEST_MEMLOCK_BYTES";

/// The processes of the tests below are one ordinary user's, for whom the kernel counts what all of
/// them have locked together: one test at a time.
static ORDINARY: Mutex<()> = Mutex::new(());

#[test]
fn little_lockable_memory_means_fewer_rings_and_none_means_portable() {
    let _alone = ORDINARY.lock().unwrap_or_else(PoisonError::into_inner);
    if let Ok(bytes) = std::env::var(MEMORY) {
        restricted(bytes.parse().unwrap());
        return;
    }
    for bytes in [640 * 1024, 0] {
        let name = "little_lockable_memory_means_fewer_rings_and_none_means_portable";
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--test-threads=1"])
            .env(MEMORY, bytes.to_string())
            .status();
        assert!(status.unwrap().success(), "with {bytes} bytes");
    }
}

/// Makes this thread an ordinary user's, with so much lockable memory.
fn become_ordinary(lockable: u64) {
    const NOBODY: u32 = 65_534;
    let limits = libc::rlimit {
        rlim_cur: lockable,
        rlim_max: lockable,
    };
    // SAFETY: a valid limit is passed; the call for the user concerns this thread alone.
    let dropped = unsafe {
        assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limits), 0);
        libc::geteuid() != 0 || libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) == 0
    };
    assert!(dropped);
}

/// Whether this kernel takes rings for locked memory: 6.18 does, 6.1 and 6.12 do not. For an ordinary
/// user only.
fn rings_count_as_locked() -> bool {
    let mut limits = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: valid limits are passed.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limits), 0);
        let usual = limits.rlim_cur;
        limits.rlim_cur = 0;
        assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limits), 0);
        let made = io_uring::IoUring::new(8);
        limits.rlim_cur = usual;
        assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limits), 0);
        match made {
            Ok(_) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => true,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The child: an ordinary user with little lockable memory.
fn restricted(bytes: u64) {
    become_ordinary(bytes);
    let selection = select(DriverChoice::Automatic, &Options::default()).unwrap();
    eprintln!("{}", selection.reason);
    if bytes == 0 && rings_count_as_locked() {
        assert_eq!(selection.name, "portable");
        assert!(
            selection.reason.contains("RLIMIT_MEMLOCK"),
            "{}",
            selection.reason
        );
        return echo(selection.driver);
    }
    // Many stalled sends at once, each of which would like a ring.
    let mut turns = Loop::new(selection.driver);
    let mut pairs = Vec::new();
    for stream in 0..200 {
        let (socket, client) = turns.pair(|server, _| {
            socket2::SockRef::from(server)
                .set_send_buffer_size(4096)
                .unwrap();
        });
        turns.send_all(socket, stream, 400_000, 8192);
        pairs.push((socket, client));
    }
    turns.turn(Duration::ZERO);
    let counters = turns.driver.counters();
    if turns.driver.name() == "bundle" && rings_count_as_locked() {
        assert!(
            counters.lease_failures > 0 && counters.vectored_sends > 0,
            "{counters:?}"
        );
        assert!(counters.send_bundles > 0, "{counters:?}");
    }
    deliver(turns, pairs);
}

/// Variable that turns the tests below into the server of many.
const MANY: &str = "MILLRACE_TEST_MANY_CONNECTIONS";
const CONNECTIONS: usize = 10_000;
/// Connections that are made before the server has accepted them; the least that systems let wait
/// is 128.
const AT_ONCE: usize = 100;
/// Bytes that each is sent, in four chunks, for which a send ring would be leased.
const EACH: usize = 2000;

#[test]
fn ten_thousand_connections_of_an_ordinary_user_under_the_usual_memlock() {
    let name = "ten_thousand_connections_of_an_ordinary_user_under_the_usual_memlock";
    many(name, Options::default().send_rings, |counters, bundles| {
        assert_eq!(counters.lease_failures, 0, "{counters:?}");
        assert_eq!(counters.leases > 0, bundles, "{counters:?}");
    });
}

/// Each ring is a page, and 8 MiB are 2,048 of them, less what else the user has locked.
#[test]
fn ten_thousand_connections_with_more_send_rings_than_memlock_allows() {
    let name = "ten_thousand_connections_with_more_send_rings_than_memlock_allows";
    many(name, 8192, |counters, bundles| {
        let refused = bundles && rings_count_as_locked();
        assert_eq!(counters.lease_failures > 0, refused, "{counters:?}");
        assert!(!refused || counters.leases > 0, "{counters:?}");
        assert!(!refused || counters.leases < 2048, "{counters:?}");
    });
}

/// Connects many to a server process, which is the same test again, and compares what each is sent.
/// In the server, `look` sees what was counted, and whether the driver sends from rings.
fn many(name: &str, send_rings: u16, look: impl FnOnce(&Counters, bool)) {
    if raise_descriptors() < CONNECTIONS as u64 + 200 {
        return eprintln!("skipped: RLIMIT_NOFILE is below {CONNECTIONS}");
    }
    if std::env::var_os(MANY).is_some() {
        return serve_many(send_rings, look);
    }
    let _alone = ORDINARY.lock().unwrap_or_else(PoisonError::into_inner);
    let mut server = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--test-threads=1", "--nocapture"])
        .env(MANY, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let mut told = move |what: &str| loop {
        let line = lines.next()?.unwrap();
        if let Some(number) = line.strip_prefix(what) {
            return number.trim().parse::<u16>().ok();
        }
    };
    let address = (
        "127.0.0.1",
        told("port").expect("the server says where it listens"),
    );
    // Each is known by its first byte and its length: who comes when, is the server's to say. No more
    // come at once than may wait to be accepted anywhere: what comes beyond that, the kernel drops,
    // and it is made once more after a second, which adds up.
    let mut clients = Vec::new();
    while clients.len() < CONNECTIONS {
        for _ in 0..AT_ONCE {
            let client = TcpStream::connect(address)
                .unwrap_or_else(|error| panic!("connection {}: {error}", clients.len()));
            clients.push(client);
        }
        let accepted = told("accepted").map(usize::from);
        assert_eq!(accepted, Some(clients.len()), "the server accepts them");
    }
    for (number, mut client) in clients.into_iter().enumerate() {
        client.set_read_timeout(Some(patience())).unwrap();
        let mut bytes = Vec::new();
        client
            .read_to_end(&mut bytes)
            .unwrap_or_else(|error| panic!("connection {number}, {} bytes: {error}", bytes.len()));
        assert_eq!(bytes, pattern(3, 0, EACH));
    }
    assert!(server.wait().unwrap().success());
}

/// The server of many, which says how far it got when it fails.
struct Many {
    turns: Loop,
    sockets: Vec<SocketId>,
    sent: usize,
    closed: usize,
}

impl Drop for Many {
    fn drop(&mut self) {
        eprintln!(
            "accepted {}, sent {}, closed {} of {CONNECTIONS}: {:?}",
            self.sockets.len(),
            self.sent,
            self.closed,
            self.turns.driver.counters()
        );
    }
}

fn serve_many(send_rings: u16, look: impl FnOnce(&Counters, bool)) {
    become_ordinary(8 << 20);
    let options = Options {
        send_rings,
        ..Options::default()
    };
    let selection = select(DriverChoice::Automatic, &options).unwrap();
    eprintln!("{}", selection.reason);
    let mut many = Many {
        turns: Loop::new(selection.driver),
        sockets: Vec::new(),
        sent: 0,
        closed: 0,
    };
    let turns = &mut many.turns;
    let (_, address) = turns.listen();
    println!("\nport {}", address.port());
    while many.sockets.len() < CONNECTIONS {
        for completion in turns.turn(Duration::from_millis(100)) {
            match completion {
                Completion::Accepted { descriptor, .. } => {
                    many.sockets.push(turns.driver.attach(descriptor).unwrap());
                    if many.sockets.len().is_multiple_of(AT_ONCE) {
                        println!("accepted {}", many.sockets.len());
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
    for socket in &many.sockets {
        turns.send_all(*socket, 3, EACH, EACH / 4);
    }
    while many.closed < CONNECTIONS {
        for completion in turns.turn(Duration::from_millis(100)) {
            match completion {
                Completion::Sent { socket, bytes } => {
                    assert_eq!(bytes, EACH as u64);
                    many.sent += 1;
                    turns.driver.close(socket);
                }
                Completion::Closed { .. } => many.closed += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    look(&turns.driver.counters(), turns.driver.name() == "bundle");
}

/// Raises the soft limit of open files as far as it goes, and returns it.
fn raise_descriptors() -> u64 {
    let mut limits = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: valid pointers to a limit are passed.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limits), 0);
        limits.rlim_cur = limits.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limits);
    }
    limits.rlim_max
}
