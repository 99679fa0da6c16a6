//! What is chosen where the system refuses io_uring or a part of it. Filters and limits hold for a
//! thread or a process, so each test restricts itself in a thread or process of its own.
#![cfg(target_os = "linux")]

mod support;

use std::process::Command;

use millrace_ring::{DriverChoice, Options, RingError, select};
use support::*;

/// Makes io_uring_setup fail with `error` on this thread from now on, as a container's seccomp
/// profile does.
fn forbid_io_uring(error: i32) {
    let load_number = libc::sock_filter {
        code: 0x20,
        jt: 0,
        jf: 0,
        k: 0,
    };
    let is_setup = libc::sock_filter {
        code: 0x15,
        jt: 0,
        jf: 1,
        k: libc::SYS_io_uring_setup as u32,
    };
    let refuse = libc::sock_filter {
        code: 0x06,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_ERRNO | error as u32,
    };
    let allow = libc::sock_filter {
        code: 0x06,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_ALLOW,
    };
    let mut filters = [load_number, is_setup, refuse, allow];
    let program = libc::sock_fprog {
        len: filters.len() as u16,
        filter: filters.as_mut_ptr(),
    };
    // SAFETY: the program and its four instructions are valid during the calls, which concern this
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
            forbid_io_uring(error);
            let selection = select(DriverChoice::Automatic, &Options::default()).unwrap();
            assert_eq!(selection.name, "portable");
            assert!(
                selection.reason.starts_with("portable: "),
                "{}",
                selection.reason
            );
            assert!(selection.reason.contains(remedy), "{}", selection.reason);
            let forced = select(DriverChoice::Bundle, &Options::default()).map(|made| made.name);
            assert!(
                matches!(forced, Err(RingError::Unavailable { .. })),
                "{forced:?}"
            );
        };
        join(vec![std::thread::spawn(test)]);
    }
}

/// Variable that turns the test below into its own restricted child.
const MEMORY: &str = "MILLRACE_TEST_MEMLOCK_BYTES";

#[test]
fn little_lockable_memory_means_fewer_rings_and_none_means_portable() {
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

/// The child: an ordinary user with little lockable memory.
fn restricted(bytes: u64) {
    const NOBODY: u32 = 65_534;
    let limits = libc::rlimit {
        rlim_cur: bytes,
        rlim_max: bytes,
    };
    // SAFETY: a valid limit is passed; the call for the user concerns this thread alone.
    let dropped = unsafe {
        assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limits), 0);
        libc::geteuid() != 0 || libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) == 0
    };
    assert!(dropped);
    let selection = select(DriverChoice::Automatic, &Options::default()).unwrap();
    eprintln!("{}", selection.reason);
    if bytes == 0 {
        assert_eq!(selection.name, "portable");
        assert!(
            selection.reason.contains("RLIMIT_MEMLOCK"),
            "{}",
            selection.reason
        );
        return;
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
    turns.turn(std::time::Duration::ZERO);
    let counters = turns.driver.counters();
    if turns.driver.name() == "bundle" {
        assert!(
            counters.lease_failures > 0 && counters.vectored_sends > 0,
            "{counters:?}"
        );
        assert!(counters.send_bundles > 0, "{counters:?}");
    }
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
        turns.turn(std::time::Duration::from_millis(10));
    }
    join(readers);
}
