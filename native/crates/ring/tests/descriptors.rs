//! Accepting without file descriptors. The limit is the whole process's, so this test has a process
//! of its own.

mod support;

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use millrace_ring::{Completion, ListenerId, Options};
use socket2::{Domain, Socket, Type};
use support::*;

#[test]
fn accepting_goes_on_when_descriptors_come_back() {
    let before = limit_descriptors(200);
    for tier in TIERS {
        run(tier);
        stop(tier);
    }
    limit_descriptors(before);
}

fn run(tier: Tier) {
    let Some(driver) = driver(tier, &Options::default()) else {
        return;
    };
    let mut turns = Loop::new(driver);
    let (listener, address) = turns.listen();
    turns.turn(Duration::ZERO);

    let (mut files, clients) = exhaust(address, 3);
    assert_eq!(turns.until(failure), (listener, libc::EMFILE));
    for _ in 0..3 {
        let completions = turns.turn(Duration::from_millis(10));
        assert!(
            completions.is_empty(),
            "it does not try again by itself: {completions:?}"
        );
    }
    files.truncate(files.len() - 10);
    turns.driver.retry_accept(listener);
    let accepted = accept(&mut turns, clients.len());
    drop(files);

    // A socket that is closed gives a descriptor back, and accepting goes on with it.
    let mut sockets: Vec<_> = accepted
        .into_iter()
        .map(|accepted| turns.driver.attach(accepted).unwrap())
        .collect();
    turns.turn(Duration::ZERO);
    let (_files, _clients) = exhaust(address, 1);
    assert_eq!(turns.until(failure), (listener, libc::EMFILE));
    turns.driver.close(sockets.pop().unwrap());
    accept(&mut turns, 1);
    assert!(turns.driver.counters().accept_failures >= 2);
}

/// A listener that is stopped takes a connection that it was woken for, as soon as it can; else others
/// who share it would not hear of it. It waits no longer than there are sockets whose end would help.
fn stop(tier: Tier) {
    for has_socket in [true, false] {
        let Some(driver) = driver(tier, &Options::default()).filter(|_| tier.is_io_uring()) else {
            return;
        };
        let mut turns = Loop::new(driver);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stopped = turns
            .driver
            .listen(OwnedFd::from(listener.try_clone().unwrap()));
        turns.turn(Duration::ZERO);
        let served = has_socket.then(|| turns.pair(|_, _| {}));
        turns.turn(Duration::ZERO);

        let (_files, _clients) = exhaust(address, 1);
        assert_eq!(turns.until(failure), (stopped, libc::EMFILE));
        turns.driver.stop_listening(stopped);
        for _ in 0..5 {
            let completions = turns.turn(Duration::from_millis(10));
            assert!(completions.is_empty(), "{completions:?}");
        }
        assert_eq!(turns.driver.is_listening(), has_socket);
        if let Some((socket, _client)) = served {
            turns.driver.close(socket);
            accept(&mut turns, 1);
            while turns.driver.is_listening() {
                turns.turn(Duration::from_millis(10));
            }
        }
    }
}

/// Makes sockets for `count` clients, takes every descriptor that is left, and connects them.
fn exhaust(address: SocketAddr, count: usize) -> (Vec<File>, Vec<Socket>) {
    let clients: Vec<Socket> = (0..count)
        .map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap())
        .collect();
    let files = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    for client in &clients {
        client.connect(&address.into()).unwrap();
    }
    (files, clients)
}

fn failure(completion: &Completion) -> Option<(ListenerId, i32)> {
    match completion {
        Completion::AcceptFailed { listener, error } => Some((*listener, *error)),
        Completion::Accepted { .. } => panic!("accepted without a descriptor"),
        _ => None,
    }
}

fn accept(turns: &mut Loop, count: usize) -> Vec<OwnedFd> {
    let mut accepted = Vec::new();
    while accepted.len() < count {
        for completion in turns.turn(Duration::from_millis(100)) {
            match completion {
                Completion::Accepted { descriptor, .. } => accepted.push(descriptor),
                // accept(2) fails for want of a descriptor even if nobody else waits.
                Completion::Closed { .. } | Completion::AcceptFailed { .. } => {}
                other => panic!("unexpected: {other:?}"),
            }
        }
    }
    accepted
}

/// Sets the soft limit and returns the one before.
fn limit_descriptors(limit: u64) -> u64 {
    let mut limits = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: valid pointers to a limit are passed.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limits), 0);
        let before = limits.rlim_cur;
        limits.rlim_cur = limit;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limits), 0);
        before
    }
}
