//! One suite for every driver: what a driver promises, over real sockets on loopback.

mod support;

use std::collections::{HashSet, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use millrace_ring::{Chunk, Completion, Level, Options, SocketId};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use support::*;

/// Runs each test once per driver.
macro_rules! suite {
    ($($test:ident),* $(,)?) => {
        mod bundle {
            $(#[test] fn $test() { super::$test(super::support::Tier::Bundle) })*
        }
        mod multishot {
            $(#[test] fn $test() { super::$test(super::support::Tier::Multishot) })*
        }
        mod single {
            $(#[test] fn $test() { super::$test(super::support::Tier::Single) })*
        }
        mod ring {
            $(#[test] fn $test() { super::$test(super::support::Tier::Ring) })*
        }
        mod classic {
            $(#[test] fn $test() { super::$test(super::support::Tier::Classic) })*
        }
        mod portable {
            $(#[test] fn $test() { super::$test(super::support::Tier::Portable) })*
        }
    };
}

suite! {
    echoes_every_byte,
    reports_one_completion_at_a_time,
    a_tiny_group_parks_and_recovers,
    a_group_that_nobody_releases_stays_quiet,
    few_receives_end_for_want_of_buffers,
    a_paused_socket_pushes_back_and_resumes,
    pausing_at_random_loses_nothing,
    levels_follow_the_held_buffers,
    a_peer_that_stops_reading_stalls_only_itself,
    a_reset_while_a_send_is_stalled_fails_it,
    a_reset_ends_the_receive,
    closing_delivers_every_byte_then_the_end,
    closing_with_unread_bytes_still_delivers,
    aborting_resets_the_connection,
    aborting_after_closing_ends_a_stalled_send,
    a_half_closed_peer_is_still_sent_to,
    a_socket_that_has_finished_sending_still_receives,
    a_number_is_reused_only_after_closed,
    empty_sends_are_answered,
    a_tiny_completion_queue_loses_nothing,
    buffer_numbers_wrap_around,
    send_ring_positions_wrap_around,
    without_send_rings_it_sends_vectored,
    few_send_rings_are_shared_by_many,
    large_chunks_go_by_reference,
    unix_sockets_work_to_the_end,
    connecting_makes_a_socket_that_echoes,
    connecting_to_nobody_fails,
    a_connect_that_is_given_up_is_closed,
    a_stopped_listener_refuses,
    a_stopped_listener_keeps_no_connection_from_others,
    the_descriptor_is_readable_when_something_came,
    shutting_down_closes_everything,
    a_peer_that_reads_a_byte_at_a_time_gets_every_byte,
    progress_is_seen_in_the_middle_of_a_send,
    a_descriptor_replaced_under_a_stalled_send_is_let_go_of,
    nothing_is_lost_when_everybody_leaves_at_any_time,
}

const SHORT: Duration = Duration::from_millis(20);

fn echoes_every_byte(tier: Tier) {
    let Some(driver) = driver(tier, &Options::default()) else {
        return;
    };
    let mut echo = Echo::new(driver, 1);
    let (_, address) = echo.turns.listen();
    let clients = echo_clients(address, 24, 300_000, 1);
    echo.serve(24);
    join(clients);
    assert_eq!(echo.echoed, 24 * 300_000);
    let counters = echo.turns.driver.counters();
    assert_eq!(counters.accepted, 24);
    assert_eq!(
        (counters.receive_bytes, counters.send_bytes),
        (echo.echoed, echo.echoed)
    );
}

fn reports_one_completion_at_a_time(tier: Tier) {
    let Some(driver) = driver(tier, &Options::default()) else {
        return;
    };
    let mut echo = Echo::new(driver, 2);
    echo.turns.batch = 1;
    let (_, address) = echo.turns.listen();
    let clients = echo_clients(address, 4, 100_000, 2);
    echo.serve(4);
    join(clients);
}

fn a_tiny_group_parks_and_recovers(tier: Tier) {
    let options = Options {
        buffers: 4,
        buffer_bytes: 512,
        ..Options::default()
    };
    let Some(driver) = driver(tier, &options) else {
        return;
    };
    let mut echo = Echo::new(driver, 3);
    let (_, address) = echo.turns.listen();
    let clients = echo_clients(address, 8, 60_000, 3);
    echo.serve(8);
    join(clients);
    let counters = echo.turns.driver.counters();
    assert!(counters.parked > 0, "{counters:?}");
    // A bundle that empties the group ends without ENOBUFS.
    assert!(tier == Tier::Bundle || counters.enobufs > 0, "{counters:?}");
    assert_eq!(echo.turns.driver.buffers().lowest_free(), 0);
}

/// Where each could fill the whole group, no more are let go than find something.
fn few_receives_end_for_want_of_buffers(tier: Tier) {
    const SOCKETS: u64 = 32;
    const BYTES: usize = 1 << 20;
    let options = Options {
        buffers: 64,
        buffer_bytes: 1024,
        ..Options::default()
    };
    let Some(driver) = driver(tier, &options) else {
        return;
    };
    let mut turns = Loop::new(driver);
    let clients: Vec<TcpStream> = (0..SOCKETS).map(|_| turns.pair(|_, _| {}).1).collect();
    let senders = clients
        .into_iter()
        .map(|mut client| std::thread::spawn(move || client.write_all(&vec![1; BYTES]).unwrap()));
    let senders = senders.collect();
    let mut ended = 0;
    while ended < SOCKETS {
        for completion in turns.turn(SHORT) {
            match completion {
                Completion::Received { buffer, .. } => turns.driver.release(buffer),
                Completion::ReceiveEnded { error: 0, .. } => ended += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    join(senders);
    let counters = turns.driver.counters();
    assert_eq!(counters.receive_bytes, SOCKETS * BYTES as u64);
    assert!(
        counters.enobufs <= SOCKETS + counters.receives,
        "{counters:?}"
    );
}

/// Waiting for buffers must neither spin nor forget anyone.
fn a_group_that_nobody_releases_stays_quiet(tier: Tier) {
    let options = Options {
        buffers: 4,
        buffer_bytes: 64,
        ..Options::default()
    };
    let Some(driver) = driver(tier, &options) else {
        return;
    };
    let mut turns = Loop::new(driver);
    let mut clients = Vec::new();
    for stream in 0..3 {
        let (socket, mut client) = turns.pair(|_, _| {});
        client.write_all(&pattern(stream, 0, 1000)).unwrap();
        clients.push((socket, client, 0));
    }
    let mut held = VecDeque::new();
    let mut quiet = 0;
    while quiet < 3 {
        let completions = turns.turn(SHORT);
        quiet = if completions.is_empty() { quiet + 1 } else { 0 };
        for completion in completions {
            let Completion::Received {
                socket,
                buffer,
                length,
            } = completion
            else {
                panic!("{completion:?}")
            };
            held.push_back((socket, buffer, length));
        }
    }
    assert_eq!((held.len(), turns.driver.buffers().free()), (4, 0));
    assert_eq!(turns.driver.buffers().level(), Level::Critical);
    assert!(
        !turns.driver.has_completions(),
        "nothing can be done without a buffer"
    );
    let enters = turns.driver.counters().enters;
    for _ in 0..50 {
        assert!(turns.turn(Duration::ZERO).is_empty());
    }
    let spent = turns.driver.counters().enters - enters;
    assert!(
        spent <= 50,
        "{spent} system calls while there was nothing to do"
    );
    // One buffer at a time is enough for everything.
    while let Some((socket, buffer, length)) = held.pop_front() {
        let stream = clients
            .iter()
            .position(|client| client.0 == socket)
            .unwrap();
        let bytes = turns.driver.buffers().bytes(buffer, 0..length);
        check(stream as u64, clients[stream].2, bytes);
        clients[stream].2 += u64::from(length);
        turns.driver.release(buffer);
        while held.is_empty() && clients.iter().any(|client| client.2 < 1000) {
            for completion in turns.turn(SHORT) {
                if let Completion::Received {
                    socket,
                    buffer,
                    length,
                } = completion
                {
                    held.push_back((socket, buffer, length));
                }
            }
        }
    }
    assert!(clients.iter().all(|client| client.2 == 1000));
}

fn a_paused_socket_pushes_back_and_resumes(tier: Tier) {
    let Some(driver) = driver(tier, &Options::default()) else {
        return;
    };
    let mut turns = Loop::new(driver);
    let (socket, mut client) = turns.pair(|_, _| {});
    client.write_all(&pattern(0, 0, 10)).unwrap();
    turns.until(|completion| matches!(completion, Completion::Received { .. }).then_some(()));
    turns.driver.pause(socket);
    // The cancel is on its way; once it is through, nothing more arrives.
    while !turns.turn(SHORT).is_empty() {}
    client.write_all(&pattern(0, 10, 5000)).unwrap();
    for _ in 0..3 {
        assert!(turns.turn(SHORT).is_empty(), "a paused socket received");
    }
    turns.driver.resume(socket);
    let mut received = 10;
    while received < 5010 {
        for completion in turns.turn(SHORT) {
            let Completion::Received { buffer, length, .. } = completion else {
                panic!("{completion:?}")
            };
            check(0, received, turns.driver.buffers().bytes(buffer, 0..length));
            received += u64::from(length);
            turns.driver.release(buffer);
        }
    }
}

fn pausing_at_random_loses_nothing(tier: Tier) {
    for seed in 0..4 {
        let options = Options {
            buffers: 16,
            buffer_bytes: 4096,
            ..Options::default()
        };
        let Some(driver) = driver(tier, &options) else {
            return;
        };
        let mut echo = Echo::new(driver, seed);
        echo.pauses = true;
        let (_, address) = echo.turns.listen();
        let clients = echo_clients(address, 6, 80_000, seed);
        echo.serve(6);
        join(clients);
    }
}

fn levels_follow_the_held_buffers(tier: Tier) {
    let options = Options {
        buffers: 16,
        buffer_bytes: 64,
        ..Options::default()
    };
    let Some(driver) = driver(tier, &options) else {
        return;
    };
    let mut turns = Loop::new(driver);
    let (_socket, mut client) = turns.pair(|_, _| {});
    turns.turn(Duration::ZERO);
    let mut held = Vec::new();
    let mut levels = vec![turns.driver.buffers().level()];
    while held.len() < 16 {
        client.write_all(&[1; 64]).unwrap();
        while held.len() < levels.len() {
            for completion in turns.turn(SHORT) {
                if let Completion::Received { buffer, .. } = completion {
                    held.push(buffer);
                }
            }
        }
        levels.push(turns.driver.buffers().level());
    }
    assert!(levels[..=11].iter().all(|level| *level == Level::Open));
    assert!(levels[12..=14].iter().all(|level| *level == Level::Low));
    assert!(levels[15..].iter().all(|level| *level == Level::Critical));
    held.drain(..)
        .for_each(|buffer| turns.driver.release(buffer));
    assert_eq!(turns.driver.buffers().level(), Level::Open);
    assert_eq!(
        (turns.driver.buffers().free(), turns.driver.buffers().held()),
        (0, 0)
    );
    turns.turn(Duration::ZERO);
    assert_eq!(turns.driver.buffers().free(), 16);
}

/// Small enough to stall soon; the receiver's still holds a segment of loopback, or the sender
/// would wait for the timer that probes a closed window.
fn small_buffers(server: &TcpStream, client: &TcpStream) {
    SockRef::from(server).set_send_buffer_size(4096).unwrap();
    SockRef::from(client)
        .set_recv_buffer_size(128 * 1024)
        .unwrap();
}

fn is_sent(completion: &Completion) -> Option<u64> {
    match completion {
        Completion::Sent { bytes, .. } => Some(*bytes),
        Completion::SendFailed { error, .. } => panic!("the send failed: {error}"),
        _ => None,
    }
}

fn a_peer_that_stops_reading_stalls_only_itself(tier: Tier) {
    // Once through a ring, once by a single send, once vectored.
    for (chunk, send_rings) in [(8192, 4), (600_000, 4), (8192, 0)] {
        let options = Options {
            send_rings,
            ..Options::default()
        };
        let Some(driver) = driver(tier, &options) else {
            return;
        };
        let mut turns = Loop::new(driver);
        let (stalled, mut slow) = turns.pair(small_buffers);
        let (other, mut quick) = turns.pair(|_, _| {});
        turns.send_all(stalled, 7, 600_000, chunk);
        for _ in 0..3 {
            assert!(turns.turn(SHORT).is_empty(), "a stalled send was answered");
        }
        turns.send_all(other, 8, 2000, 100);
        assert_eq!(turns.until(is_sent), 2000);
        let mut bytes = [0; 2000];
        quick.read_exact(&mut bytes).unwrap();
        check(8, 0, &bytes);
        let reader = std::thread::spawn(move || read_exactly(&mut slow, 7, 600_000));
        assert_eq!(turns.until(is_sent), 600_000);
        turns.driver.close(stalled);
        turns.until_closed(stalled);
        join(vec![reader]);
    }
}

fn a_reset_while_a_send_is_stalled_fails_it(tier: Tier) {
    for send_rings in [4, 0] {
        let options = Options {
            send_rings,
            ..Options::default()
        };
        let Some(driver) = driver(tier, &options) else {
            return;
        };
        let mut turns = Loop::new(driver);
        let (socket, client) = turns.pair(small_buffers);
        turns.send_all(socket, 7, 600_000, 8192);
        assert!(turns.turn(SHORT).is_empty());
        SockRef::from(&client)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(client);
        let error = turns.until(|completion| match completion {
            Completion::SendFailed { error, .. } => Some(*error),
            Completion::Sent { .. } => panic!("a send to nobody succeeded"),
            _ => None,
        });
        assert!([libc::ECONNRESET, libc::EPIPE].contains(&error), "{error}");
        assert_eq!(turns.driver.counters().send_failures, 1);
        // The ring of the failed send serves the next one.
        let (next, mut client) = turns.pair(|_, _| {});
        turns.send_all(next, 9, 50_000, 1000);
        let reader = std::thread::spawn(move || read_exactly(&mut client, 9, 50_000));
        assert_eq!(turns.until(is_sent), 50_000);
        turns.driver.close(socket);
        turns.until_closed(socket);
        turns.driver.close(next);
        turns.until_closed(next);
        join(vec![reader]);
    }
}

fn a_reset_ends_the_receive(tier: Tier) {
    let Some(driver) = driver(tier, &Options::default()) else {
        return;
    };
    let mut turns = Loop::new(driver);
    let (socket, client) = turns.pair(|_, _| {});
    turns.turn(Duration::ZERO);
    SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    let error = turns.until(|completion| match completion {
        Completion::ReceiveEnded { error, .. } => Some(*error),
        _ => None,
    });
    assert_eq!(error, libc::ECONNRESET);
    turns.driver.close(socket);
    turns.until_closed(socket);
}

fn closing_delivers_every_byte_then_the_end(tier: Tier) {
    for (chunk, send_rings) in [(8192, 4), (1_000_000, 4), (8192, 0)] {
        let options = Options {
            send_rings,
            ..Options::default()
        };
        let Some(driver) = driver(tier, &options) else {
            return;
        };
        let mut turns = Loop::new(driver);
        let (socket, mut client) = turns.pair(small_buffers);
        turns.send_all(socket, 5, 1_000_000, chunk);
        turns.driver.close(socket);
        let reader = std::thread::spawn(move || read_exactly(&mut client, 5, 1_000_000));
        turns.until_closed(socket);
        join(vec![reader]);
    }
}

/// A close with unread bytes in the socket would reset the connection and could take bytes of ours
/// with it that the peer has not read.
fn closing_with_unread_bytes_still_delivers(tier: Tier) {
    let Some(driver) = driver(tier, &Options::default()) else {
        return;
    };
    let mut turns = Loop::new(driver);
    let (socket, mut client) = turns.pair(|_, _| {});
    turns.driver.pause(socket);
    turns.turn(Duration::ZERO);
    client.write_all(&[1; 50_000]).unwrap();
    turns.send_all(socket, 5, 20_000, 8192);
    assert_eq!(turns.until(is_sent), 20_000);
    turns.driver.close(socket);
    turns.until_closed(socket);
    read_exactly(&mut client, 5, 20_000);
}

fn read_error(client: &mut TcpStream) -> ErrorKind {
    let mut bytes = [0; 65_536];
    loop {
        match client.read(&mut bytes) {
            Ok(0) => panic!("an orderly end"),
            Ok(_) => {}
            Err(error) => return error.kind(),
        }
    }
}

fn aborting_resets_the_connection(tier: Tier) {
    let Some(driver) = driver(tier, &Options::default()) else {
        return;
    };
    let mut turns = Loop::new(driver);
    let (idle, mut first) = turns.pair(|_, _| {});
    let (stalled, mut second) = turns.pair(small_buffers);
    turns.turn(Duration::ZERO);
    turns.send_all(stalled, 1, 600_000, 8192);
    assert!(turns.turn(SHORT).is_empty());
    turns.driver.abort(idle);
    turns.driver.abort(stalled);
    let mut closed = Vec::new();
    while closed.len() < 2 {
        for completion in turns.turn(SHORT) {
            let Completion::Closed { socket } = completion else {
                panic!("{completion:?}")
            };
            closed.push(socket);
        }
    }
    assert_eq!(read_error(&mut first), ErrorKind::ConnectionReset);
    assert_eq!(read_error(&mut second), ErrorKind::ConnectionReset);
    for _ in 0..3 {
        assert!(turns.turn(SHORT).is_empty(), "something came after Closed");
    }
}

fn aborting_after_closing_ends_a_stalled_send(tier: Tier) {
    let Some(driver) = driver(tier, &Options::default()) else {
        return;
    };
    let mut turns = Loop::new(driver);
    let (socket, mut client) = turns.pair(small_buffers);
    turns.turn(Duration::ZERO);
    turns.send_all(socket, 1, 600_000, 8192);
    turns.driver.close(socket);
    for _ in 0..3 {
        assert!(
            turns.turn(SHORT).is_empty(),
            "a stalled send kept the socket open"
        );
    }
    turns.driver.abort(socket);
    turns.until_closed(socket);
    assert_eq!(read_error(&mut client), ErrorKind::ConnectionReset);
}

fn a_half_closed_peer_is_still_sent_to(tier: Tier) {
    let Some(driver) = driver(tier, &Options::default()) else {
        return;
    };
    let mut turns = Loop::new(driver);
    let (socket, mut client) = turns.pair(|_, _| {});
    client.write_all(&pattern(0, 0, 100)).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut received = 0;
    let mut ended = false;
    while !ended {
        for completion in turns.turn(SHORT) {
            match completion {
                Completion::Received { buffer, length, .. } => {
                    received += length;
                    turns.driver.release(buffer);
                }
                Completion::ReceiveEnded { error, .. } => {
                    assert_eq!(error, 0);
                    ended = true;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(received, 100, "the bytes come before the end");
    turns.send_all(socket, 3, 40_000, 1000);
    assert_eq!(turns.until(is_sent), 40_000);
    turns.driver.close(socket);
    turns.until_closed(socket);
    read_exactly(&mut client, 3, 40_000);
}

fn a_socket_that_has_finished_sending_still_receives(tier: Tier) {
    let Some(driver) = driver(tier, &Options::default()) else {
        return;
    };
    let mut turns = Loop::new(driver);
    let (socket, mut client) = turns.pair(|_, _| {});
    turns.send_all(socket, 3, 40_000, 1000);
    assert_eq!(turns.until(is_sent), 40_000);
    turns.driver.finish_sending(socket);
    turns.turn(Duration::ZERO);
    read_exactly(&mut client, 3, 40_000);
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "FIN follows");
    client.write_all(&pattern(0, 0, 100)).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut received = 0;
    turns.until(|completion| match completion {
        Completion::Received { length, .. } => {
            received += length;
            None
        }
        Completion::ReceiveEnded { error: 0, .. } => Some(()),
        other => panic!("{other:?}"),
    });
    assert_eq!(received, 100);
    turns.driver.close(socket);
    turns.until_closed(socket);
}

fn a_number_is_reused_only_after_closed(tier: Tier) {
    let Some(driver) = driver(tier, &Options::default()) else {
        return;
    };
    let mut turns = Loop::new(driver);
    let (first, _one) = turns.pair(|_, _| {});
    turns.turn(Duration::ZERO);
    turns.driver.close(first);
    let (second, _two) = turns.pair(|_, _| {});
    assert_ne!(first, second, "reused before Closed was reported");
    turns.until_closed(first);
    // The caller may handle an accepted connection before the Closed that came in the same batch.
    let (beside, _three) = turns.pair(|_, _| {});
    assert_ne!(first, beside, "reused within the batch that reports Closed");
    turns.turn(Duration::ZERO);
    let (third, mut client) = turns.pair(|_, _| {});
    assert_eq!(first, third, "numbers stay small");
    client.write_all(b"x").unwrap();
    let receiver = turns.until(|completion| match completion {
        Completion::Received { socket, .. } => Some(*socket),
        _ => None,
    });
    assert_eq!(receiver, third);
}

fn empty_sends_are_answered(tier: Tier) {
    let Some(driver) = driver(tier, &Options::default()) else {
        return;
    };
    let mut turns = Loop::new(driver);
    let (socket, mut client) = turns.pair(|_, _| {});
    turns.driver.send(socket, &mut VecDeque::new(), 0);
    assert_eq!(turns.until(is_sent), 0);
    let mut chunks: VecDeque<Chunk> = [&b""[..], b"ab", b"", b"c", b""]
        .map(|part| Chunk::from_vec(part.to_vec()))
        .into();
    chunks.push_back(turns.driver.chunks().take());
    turns.driver.send(socket, &mut chunks, 5);
    assert_eq!(chunks.len(), 1, "only so many are taken");
    assert_eq!(turns.until(is_sent), 3);
    let mut bytes = [0; 3];
    client.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"abc");
}

fn a_tiny_completion_queue_loses_nothing(tier: Tier) {
    let options = Options {
        submission_entries: 2,
        completion_entries: 2,
        buffers: 64,
        buffer_bytes: 256,
        ..Options::default()
    };
    let Some(driver) = driver(tier, &options) else {
        return;
    };
    let mut echo = Echo::new(driver, 6);
    let (_, address) = echo.turns.listen();
    let clients = echo_clients(address, 16, 100_000, 6);
    echo.serve(16);
    join(clients);
    let counters = echo.turns.driver.counters();
    assert!(
        !tier.is_io_uring() || counters.completion_overflows > 0,
        "{counters:?}"
    );
}

/// More than 65,536 buffers go through a group of 8, shuffled all the time.
fn buffer_numbers_wrap_around(tier: Tier) {
    let options = Options {
        buffers: 8,
        buffer_bytes: 32,
        ..Options::default()
    };
    let Some(driver) = driver(tier, &options) else {
        return;
    };
    let mut echo = Echo::new(driver, 7);
    echo.release_chance = 220;
    let (_, address) = echo.turns.listen();
    let clients = echo_clients(address, 2, 1_200_000, 7);
    echo.serve(2);
    join(clients);
    let counters = echo.turns.driver.counters();
    assert!(counters.receive_buffers > 65_536, "{counters:?}");
    // Bundles that wrap around the end of the ring, and whose buffers came back in any order.
    let bundles = tier == Tier::Bundle;
    assert_eq!(counters.receive_bundles > 100, bundles, "{counters:?}");
    assert_eq!(counters.shuffled_bundles > 100, bundles, "{counters:?}");
}

/// More than 65,536 entries go through one ring of 8.
fn send_ring_positions_wrap_around(tier: Tier) {
    let options = Options {
        send_rings: 1,
        send_ring_entries: 8,
        ..Options::default()
    };
    let Some(driver) = driver(tier, &options) else {
        return;
    };
    let mut turns = Loop::new(driver);
    let (socket, mut client) = turns.pair(|_, _| {});
    const TOTAL: usize = 10 * 70_000;
    let reader = std::thread::spawn(move || read_exactly(&mut client, 4, TOTAL));
    for load in 0..100 {
        let mut chunks = chunks(4, load * 7000, 7000, 10);
        turns.driver.send(socket, &mut chunks, 700);
        assert_eq!(turns.until(is_sent), 7000);
    }
    turns.driver.close(socket);
    turns.until_closed(socket);
    join(vec![reader]);
    let counters = turns.driver.counters();
    assert_eq!(counters.send_bytes, TOTAL as u64);
    assert!(
        !tier.sends_bundles() || counters.send_entries > 65_536,
        "{counters:?}"
    );
}

fn without_send_rings_it_sends_vectored(tier: Tier) {
    let options = Options {
        send_rings: 0,
        chunk_bytes: 700,
        ..Options::default()
    };
    let Some(driver) = driver(tier, &options) else {
        return;
    };
    let mut echo = Echo::new(driver, 8);
    let (_, address) = echo.turns.listen();
    let clients = echo_clients(address, 6, 200_000, 8);
    echo.serve(6);
    join(clients);
    let counters = echo.turns.driver.counters();
    assert!(counters.vectored_sends > 0, "{counters:?}");
    assert_eq!((counters.send_bundles, counters.leases), (0, 0));
}

fn few_send_rings_are_shared_by_many(tier: Tier) {
    let options = Options {
        send_rings: 2,
        chunk_bytes: 700,
        ..Options::default()
    };
    let Some(driver) = driver(tier, &options) else {
        return;
    };
    let mut echo = Echo::new(driver, 9);
    let (_, address) = echo.turns.listen();
    let clients = echo_clients(address, 24, 100_000, 9);
    echo.serve(24);
    join(clients);
    let counters = echo.turns.driver.counters();
    assert!(!tier.sends_bundles() || counters.leases > 2, "{counters:?}");
}

fn large_chunks_go_by_reference(tier: Tier) {
    let Some(driver) = driver(tier, &Options::default()) else {
        return;
    };
    let mut turns = Loop::new(driver);
    let (socket, mut client) = turns.pair(|_, _| {});
    let mut chunks = chunks(2, 0, 3_000_000, 1_000_000);
    chunks.push_front(Chunk::from_vec(Vec::new()));
    let reader = std::thread::spawn(move || read_exactly(&mut client, 2, 3_000_000));
    let count = chunks.len();
    turns.driver.send(socket, &mut chunks, count);
    assert_eq!(turns.until(is_sent), 3_000_000);
    turns.driver.close(socket);
    turns.until_closed(socket);
    join(vec![reader]);
}

fn unix_sockets_work_to_the_end(tier: Tier) {
    let options = Options {
        buffers: 8,
        buffer_bytes: 512,
        ..Options::default()
    };
    let Some(driver) = driver(tier, &options) else {
        return;
    };
    let mut turns = Loop::new(driver);
    for round in 0..20 {
        let (mut client, server) = UnixStream::pair().unwrap();
        client.set_read_timeout(Some(patience())).unwrap();
        let socket = turns.driver.attach(OwnedFd::from(server)).unwrap();
        let writer = std::thread::spawn(move || {
            client.write_all(&pattern(round, 0, 20_000)).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            client
        });
        let mut received = 0;
        let mut ended = false;
        while !ended {
            for completion in turns.turn(SHORT) {
                match completion {
                    Completion::Received { buffer, length, .. } => {
                        check(
                            round,
                            received,
                            turns.driver.buffers().bytes(buffer, 0..length),
                        );
                        received += u64::from(length);
                        turns.driver.release(buffer);
                    }
                    Completion::ReceiveEnded { error, .. } => {
                        assert_eq!((error, received), (0, 20_000));
                        ended = true;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        let mut client = writer.join().unwrap();
        turns.send_all(socket, round, 3000, 500);
        assert_eq!(turns.until(is_sent), 3000);
        turns.driver.close(socket);
        turns.until_closed(socket);
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, pattern(round, 0, 3000));
    }
}

fn fresh() -> OwnedFd {
    OwnedFd::from(Socket::new(Domain::IPV4, Type::STREAM, None).unwrap())
}

fn connecting_makes_a_socket_that_echoes(tier: Tier) {
    let Some(driver) = driver(tier, &Options::default()) else {
        return;
    };
    let mut turns = Loop::new(driver);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = SockAddr::from(listener.local_addr().unwrap());
    let socket = turns.driver.connect(fresh(), address).unwrap();
    let echo = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let mut bytes = vec![0; 50_000];
        peer.read_exact(&mut bytes).unwrap();
        peer.write_all(&bytes).unwrap();
        peer
    });
    turns.until(|completion| {
        matches!(completion, Completion::Connected { socket: one } if *one == socket).then_some(())
    });
    turns
        .driver
        .send(socket, &mut chunks(3, 0, 50_000, 9000), 6);
    let mut received = 0;
    while received < 50_000 {
        for completion in turns.turn(SHORT) {
            match completion {
                Completion::Received { buffer, length, .. } => {
                    let bytes = turns.driver.buffers().bytes(buffer, 0..length);
                    check(3, received, bytes);
                    received += u64::from(length);
                    turns.driver.release(buffer);
                }
                Completion::Sent { bytes, .. } => assert_eq!(bytes, 50_000),
                other => panic!("{other:?}"),
            }
        }
    }
    let peer = echo.join().unwrap();
    turns.driver.close(socket);
    turns.until_closed(socket);
    drop(peer);
}

fn connecting_to_nobody_fails(tier: Tier) {
    let Some(driver) = driver(tier, &Options::default()) else {
        return;
    };
    let mut turns = Loop::new(driver);
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = SockAddr::from(gone.local_addr().unwrap());
    drop(gone);
    for _ in 0..3 {
        let socket = turns.driver.connect(fresh(), address.clone()).unwrap();
        let error = turns.until(|completion| match completion {
            Completion::ConnectFailed { socket: one, error } if *one == socket => Some(*error),
            _ => None,
        });
        assert_eq!(error, libc::ECONNREFUSED);
        turns.driver.abort(socket);
        turns.until_closed(socket);
    }
}

fn a_connect_that_is_given_up_is_closed(tier: Tier) {
    let Some(driver) = driver(tier, &Options::default()) else {
        return;
    };
    let mut turns = Loop::new(driver);
    // A full backlog: the kernel drops further SYNs, so that the connect stays under way.
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut sockets = Vec::new();
    for _ in 0..8 {
        sockets.push(turns.driver.connect(fresh(), address.clone()).unwrap());
    }
    for _ in 0..3 {
        turns.turn(SHORT);
    }
    for (number, &socket) in sockets.iter().enumerate() {
        if number % 2 == 0 {
            turns.driver.close(socket);
        } else {
            turns.driver.abort(socket);
        }
    }
    let mut open: HashSet<SocketId> = sockets.into_iter().collect();
    turns.until(|completion| {
        match completion {
            Completion::Closed { socket } => assert!(open.remove(socket)),
            other => panic!("{other:?}"),
        }
        open.is_empty().then_some(())
    });
}

fn a_stopped_listener_refuses(tier: Tier) {
    let Some(driver) = driver(tier, &Options::default()) else {
        return;
    };
    let mut turns = Loop::new(driver);
    let (listener, address) = turns.listen();
    let _client = TcpStream::connect(address).unwrap();
    let accepted = turns.until(|completion| match completion {
        Completion::Accepted { listener, .. } => Some(*listener),
        _ => None,
    });
    assert_eq!(accepted, listener);
    turns.driver.stop_listening(listener);
    turns.turn(SHORT);
    turns.turn(SHORT);
    let refused = TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    // Another one works, whatever its number is.
    let (_, address) = turns.listen();
    let _client = TcpStream::connect(address).unwrap();
    turns.until(|completion| matches!(completion, Completion::Accepted { .. }).then_some(()));
}

/// Of those that wait at a listener the kernel wakes one for each connection. Here that one stops
/// between being woken and accepting.
fn a_stopped_listener_keeps_no_connection_from_others(tier: Tier) {
    let two = [(); 2].map(|()| driver(tier, &Options::default()));
    let [Some(first), Some(second)] = two else {
        return;
    };
    let (mut first, mut second) = (Loop::new(first), Loop::new(second));
    let shared = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = shared.local_addr().unwrap();
    let stopped = first
        .driver
        .listen(OwnedFd::from(shared.try_clone().unwrap()));
    first.turn(Duration::ZERO);
    second.driver.listen(OwnedFd::from(shared));
    second.turn(Duration::ZERO);
    // In one submission the connection comes, which wakes the first, and the first stops.
    let socket = first
        .driver
        .connect(fresh(), SockAddr::from(address))
        .unwrap();
    first.driver.stop_listening(stopped);
    let mut connections = Vec::new();
    while connections.is_empty() || first.driver.is_listening() {
        for turns in [&mut first, &mut second] {
            for completion in turns.turn(SHORT) {
                match completion {
                    Completion::Accepted { descriptor, .. } => connections.push(descriptor),
                    Completion::Connected { .. } => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    assert_eq!(connections.len(), 1);
    first.driver.abort(socket);
    first.until_closed(socket);
    // Those that come from now on, the second has to itself.
    let _client = TcpStream::connect(address).unwrap();
    second.until(|completion| matches!(completion, Completion::Accepted { .. }).then_some(()));
}

fn the_descriptor_is_readable_when_something_came(tier: Tier) {
    let Some(driver) = driver(tier, &Options::default()) else {
        return;
    };
    let mut turns = Loop::new(driver);
    let (_socket, mut client) = turns.pair(|_, _| {});
    while !turns.turn(Duration::ZERO).is_empty() || turns.driver.has_completions() {}
    assert!(!turns.poll(SHORT), "readable for nothing");
    client.write_all(b"x").unwrap();
    assert!(turns.poll(patience()), "bytes came and nobody was told");
    let completions = turns.turn(Duration::ZERO);
    assert!(matches!(
        completions[..],
        [Completion::Received { length: 1, .. }]
    ));
    while !turns.turn(Duration::ZERO).is_empty() || turns.driver.has_completions() {}
    assert!(!turns.poll(SHORT), "readable after everything was reaped");
}

fn shutting_down_closes_everything(tier: Tier) {
    let Some(driver) = driver(tier, &Options::default()) else {
        return;
    };
    let mut turns = Loop::new(driver);
    let (_, address) = turns.listen();
    let (_idle, mut first) = turns.pair(|_, _| {});
    let (stalled, mut second) = turns.pair(small_buffers);
    turns.turn(Duration::ZERO);
    turns.send_all(stalled, 1, 600_000, 8192);
    turns.turn(SHORT);
    turns.driver.shutdown();
    assert_eq!(first.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(read_error(&mut second), ErrorKind::ConnectionReset);
    assert_eq!(
        TcpStream::connect(address).unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    assert_eq!(turns.driver.counters().leaked_regions, 0);
}

/// Sends stall and go on in the smallest steps, within a bundle and within a chunk.
fn a_peer_that_reads_a_byte_at_a_time_gets_every_byte(tier: Tier) {
    for (chunk, send_rings) in [(1000, 4), (150_000, 4), (1000, 0)] {
        let options = Options {
            send_rings,
            ..Options::default()
        };
        let Some(driver) = driver(tier, &options) else {
            return;
        };
        let mut turns = Loop::new(driver);
        let (socket, mut client) = turns.pair(small_buffers);
        const TOTAL: usize = 600_000;
        turns.send_all(socket, 6, TOTAL, chunk);
        let reader = std::thread::spawn(move || {
            let mut byte = [0];
            for position in 0..20_000 {
                client.read_exact(&mut byte).unwrap();
                check(6, position, &byte);
            }
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).unwrap();
            check(6, 20_000, &rest);
            assert_eq!(rest.len(), TOTAL - 20_000);
        });
        assert_eq!(turns.until(is_sent), TOTAL as u64);
        turns.driver.close(socket);
        turns.until_closed(socket);
        join(vec![reader]);
        let counters = turns.driver.counters();
        // From 5.19 on the kernel waits for room itself; before, and without io_uring, the driver
        // does.
        let waits = matches!(tier, Tier::Classic | Tier::Portable);
        assert_eq!(counters.send_restarts > 0, waits, "{counters:?}");
        assert_eq!(counters.send_bytes, TOTAL as u64);
    }
}

/// What a peer takes of a send changes the number, long before the send is over; and nothing else does.
fn progress_is_seen_in_the_middle_of_a_send(tier: Tier) {
    let Some(driver) = driver(tier, &Options::default()) else {
        return;
    };
    let mut turns = Loop::new(driver);
    let (unix, far) = UnixStream::pair().unwrap();
    let unix = turns.driver.attach(OwnedFd::from(unix)).unwrap();
    let (tcp, near) = turns.pair(|_, client| {
        SockRef::from(client).set_recv_buffer_size(4096).unwrap();
    });
    for (socket, peer) in [(unix, OwnedFd::from(far)), (tcp, OwnedFd::from(near))] {
        const BYTES: usize = 16 << 20;
        turns.send_all(socket, 1, BYTES, 64 * 1024);
        let mut progress = turns.driver.progress(socket);
        let mut same = 0;
        while same < 5 {
            assert!(turns.turn(SHORT).is_empty());
            let now = turns.driver.progress(socket);
            same = if now == progress { same + 1 } else { 0 };
            progress = now;
        }
        let mut bytes = [0; 1024];
        let mut read = 0;
        while turns.driver.progress(socket) == progress {
            read += (&mut &std::fs::File::from(peer.try_clone().unwrap()))
                .read(&mut bytes)
                .unwrap();
            assert!(read < BYTES / 16, "nothing was seen");
            assert!(turns.turn(Duration::ZERO).is_empty());
        }
        turns.driver.abort(socket);
        turns.until_closed(socket);
        assert_eq!(turns.driver.progress(socket), None);
    }
}

/// Whoever replaces a descriptor that is not theirs cannot keep the driver from ending what is in
/// flight on the connection.
fn a_descriptor_replaced_under_a_stalled_send_is_let_go_of(tier: Tier) {
    // Without io_uring there is nothing in flight, and the descriptor is the connection.
    if !tier.is_io_uring() {
        return;
    }
    for send_rings in [4, 0] {
        let options = Options {
            send_rings,
            ..Options::default()
        };
        let Some(driver) = driver(tier, &options) else {
            return;
        };
        let mut turns = Loop::new(driver);
        let number = std::cell::Cell::new(-1);
        let (socket, mut client) = turns.pair(|server, client| {
            small_buffers(server, client);
            number.set(server.as_raw_fd());
        });
        turns.send_all(socket, 7, 600_000, 8192);
        assert!(turns.turn(SHORT).is_empty());
        let nothing = std::fs::File::open("/dev/null").unwrap();
        // SAFETY: both descriptors are open; the driver owns the second one and closes what it
        // stands for then.
        assert!(unsafe { libc::dup2(nothing.as_raw_fd(), number.get()) } >= 0);
        turns.driver.abort(socket);
        turns.until_closed(socket);
        // The last reference is gone with what was in flight: the stream ends.
        let mut bytes = Vec::new();
        let ended = client.read_to_end(&mut bytes);
        check(7, 0, &bytes);
        assert!(ended.is_err() || bytes.len() < 600_000);
        assert_eq!(turns.driver.chunks().taken(), 0);
        // The next connection is not concerned.
        let (next, mut client) = turns.pair(|_, _| {});
        turns.send_all(next, 8, 50_000, 1000);
        let reader = std::thread::spawn(move || read_exactly(&mut client, 8, 50_000));
        assert_eq!(turns.until(is_sent), 50_000);
        turns.driver.close(next);
        turns.until_closed(next);
        join(vec![reader]);
        let counters = turns.driver.counters();
        let rings = if tier.sends_bundles() && send_rings > 0 {
            2
        } else {
            0
        };
        assert_eq!(counters.leases, rings, "{counters:?}");
    }
}

/// Both sides close, reset, pause and send whenever they like. Every socket is closed once, every
/// buffer comes back, and what arrives is right as far as it goes.
fn nothing_is_lost_when_everybody_leaves_at_any_time(tier: Tier) {
    for seed in 0..6 {
        let options = Options {
            buffers: 16,
            buffer_bytes: 1024,
            send_rings: 3,
            chunk_bytes: 512,
            ..Options::default()
        };
        let Some(driver) = driver(tier, &options) else {
            return;
        };
        eprintln!("seed {seed}");
        Chaos::new(driver, seed).run();
    }
}
