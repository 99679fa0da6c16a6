//! The seeded fault driver: whatever it does, order and bytes stay exact, and the same seed does
//! the same. Run with `--features __fault`.
#![cfg(feature = "__fault")]

mod support;

use std::io::{Read, Write};
use std::time::Duration;

use millrace_ring::{Completion, Counters, FaultPlan, Options};
use support::*;

#[test]
fn delays_and_kept_buffers_change_no_byte() {
    for tier in TIERS {
        for seed in 0..5 {
            eprintln!("seed {seed}");
            let plan = FaultPlan {
                seed,
                delay_chance: 60,
                keep_chance: 120,
                ..FaultPlan::default()
            };
            let options = Options {
                buffers: 8,
                buffer_bytes: 1024,
                fault: Some(plan),
                ..Options::default()
            };
            let Some(driver) = driver(tier, &options) else {
                continue;
            };
            let mut echo = Echo::new(driver, seed);
            let (_, address) = echo.turns.listen();
            let clients = echo_clients(address, 6, 60_000, seed);
            while echo.closed < 6 {
                echo.turn();
            }
            join(clients);
            assert_eq!(echo.echoed, 6 * 60_000);
        }
    }
}

#[test]
fn a_reset_comes_after_the_bytes_and_closes_once() {
    for tier in TIERS {
        let plan = FaultPlan {
            seed: 3,
            delay_chance: 80,
            reset_chance: 255,
            ..FaultPlan::default()
        };
        let options = Options {
            fault: Some(plan),
            ..Options::default()
        };
        let Some(driver) = driver(tier, &options) else {
            continue;
        };
        let mut turns = Loop::new(driver);
        for stream in 0..20 {
            let (socket, mut client) = turns.pair(|_, _| {});
            client.write_all(&pattern(stream, 0, 500)).unwrap();
            let mut received = 0;
            let error = loop {
                let mut ended = None;
                for completion in turns.turn(patience()) {
                    match completion {
                        Completion::Received { buffer, length, .. } => {
                            check(
                                stream,
                                received,
                                turns.driver.buffers().bytes(buffer, 0..length),
                            );
                            received += u64::from(length);
                            turns.driver.release(buffer);
                        }
                        Completion::ReceiveEnded { error, .. } => ended = Some(error),
                        other => panic!("{other:?}"),
                    }
                }
                if let Some(error) = ended {
                    break error;
                }
                if received == 500 {
                    client.write_all(&pattern(stream, 500, 1)).unwrap();
                }
            };
            assert_eq!(error, libc::ECONNRESET);
            turns.send_all(socket, stream, 100, 50);
            turns.until(|completion| {
                matches!(completion, Completion::SendFailed { .. }).then_some(())
            });
            turns.driver.close(socket);
            turns.until_closed(socket);
            assert!(
                client.read(&mut [0; 10]).is_err(),
                "the peer sees the reset"
            );
        }
    }
}

/// Echoes through a driver of `tier` that fails by `plan`, and compares every byte. Tells what was
/// counted, if the driver runs here.
fn echoed(tier: Tier, plan: FaultPlan, options: Options, pauses: bool) -> Option<Counters> {
    let seed = plan.seed;
    let options = Options {
        fault: Some(plan),
        ..options
    };
    let mut echo = Echo::new(driver(tier, &options)?, seed);
    echo.pauses = pauses;
    let (_, address) = echo.turns.listen();
    let clients = echo_clients(address, 6, 60_000, seed);
    echo.serve(6);
    join(clients);
    assert_eq!(echo.echoed, 6 * 60_000);
    Some(echo.turns.driver.counters())
}

/// Small enough that a stream takes many operations.
fn small() -> Options {
    Options {
        buffers: 8,
        buffer_bytes: 1024,
        chunk_bytes: 700,
        ..Options::default()
    }
}

/// Runs a fault on each driver for a few seeds; `seen` is the counter that has to tell of it, where
/// `concerns` says that the driver can have it.
fn each(
    plan: impl Fn(u64) -> FaultPlan,
    options: &Options,
    concerns: impl Fn(Tier) -> bool,
    seen: impl Fn(&Counters) -> u64,
) {
    'tiers: for tier in TIERS {
        let mut total = 0;
        for seed in 0..3 {
            // A driver that does not run here leaves the others to be tested.
            let Some(counters) = echoed(tier, plan(seed), options.clone(), true) else {
                continue 'tiers;
            };
            total += seen(&counters);
        }
        assert_eq!(total > 0, concerns(tier), "{tier:?} counted {total}");
    }
}

#[test]
fn what_is_interrupted_is_made_once_more() {
    let plan = |seed| FaultPlan {
        seed,
        interrupt_chance: 60,
        ..FaultPlan::default()
    };
    each(plan, &small(), |_| true, |counters| counters.interruptions);
}

#[test]
fn what_the_kernel_does_not_take_is_submitted_once_more() {
    let plan = |seed| FaultPlan {
        seed,
        busy_chance: 100,
        ..FaultPlan::default()
    };
    // Without io_uring nothing is submitted.
    each(plan, &small(), Tier::is_io_uring, |counters| {
        counters.interruptions
    });
}

#[test]
fn a_receive_that_finds_no_buffer_is_parked() {
    let plan = |seed| FaultPlan {
        seed,
        starve_chance: 60,
        keep_chance: 120,
        ..FaultPlan::default()
    };
    // A bundle that empties its group ends without ENOBUFS; this one finds it empty when armed.
    each(plan, &small(), |_| true, |counters| counters.enobufs);
    each(plan, &small(), |_| true, |counters| counters.parked);
}

#[test]
fn a_short_send_goes_on_where_it_stopped() {
    let plan = |seed| FaultPlan {
        seed,
        short_chance: 100,
        ..FaultPlan::default()
    };
    let options = Options {
        send_rings: 0,
        ..small()
    };
    each(plan, &options, |_| true, |counters| counters.send_restarts);
}

#[test]
fn a_multishot_receive_that_ends_is_armed_again() {
    for tier in [Tier::Bundle, Tier::Multishot, Tier::Ring] {
        let plan = FaultPlan {
            seed: 5,
            end_chance: 255,
            ..FaultPlan::default()
        };
        let options = Options {
            fault: Some(plan),
            ..Options::default()
        };
        let Some(driver) = driver(tier, &options) else {
            continue;
        };
        let mut turns = Loop::new(driver);
        let (_, mut client) = turns.pair(|_, _| {});
        for round in 0..100 {
            client.write_all(&pattern(1, round * 50, 50)).unwrap();
            let mut received = round * 50;
            while received < (round + 1) * 50 {
                for completion in turns.turn(patience()) {
                    let Completion::Received { buffer, length, .. } = completion else {
                        panic!("{completion:?}")
                    };
                    let bytes = turns.driver.buffers().bytes(buffer, 0..length);
                    check(1, received, bytes);
                    received += u64::from(length);
                    turns.driver.release(buffer);
                }
            }
        }
        let rearms = turns.driver.counters().rearms;
        assert!(rearms > 10, "{tier:?}: {rearms}");
    }
}

#[test]
fn a_cancel_that_finds_nothing_is_tried_once_more() {
    for tier in TIERS.into_iter().filter(|tier| tier.is_io_uring()) {
        let plan = FaultPlan {
            seed: 2,
            miss_chance: 200,
            ..FaultPlan::default()
        };
        let options = Options {
            fault: Some(plan),
            ..Options::default()
        };
        let Some(driver) = driver(tier, &options) else {
            continue;
        };
        let mut turns = Loop::new(driver);
        let mut pairs: Vec<_> = (0..20).map(|_| turns.pair(|_, _| {})).collect();
        turns.turn(Duration::ZERO);
        for (socket, _) in &pairs {
            turns.driver.pause(*socket);
        }
        // Each cancel that missed is followed by another one, until it hits.
        while !turns.turn(Duration::from_millis(20)).is_empty() || turns.driver.has_completions() {}
        for (stream, (_, client)) in pairs.iter_mut().enumerate() {
            client.write_all(&pattern(stream as u64, 0, 5)).unwrap();
        }
        for _ in 0..3 {
            let completions = turns.turn(Duration::from_millis(20));
            assert!(completions.is_empty(), "a paused socket received");
        }
        for (socket, _) in &pairs {
            turns.driver.resume(*socket);
        }
        let mut received = [0; 20];
        while received.iter().sum::<u64>() < 20 * 5 {
            for completion in turns.turn(patience()) {
                let Completion::Received {
                    socket,
                    buffer,
                    length,
                } = completion
                else {
                    panic!("{completion:?}")
                };
                let stream = pairs.iter().position(|pair| pair.0 == socket).unwrap();
                let bytes = turns.driver.buffers().bytes(buffer, 0..length);
                check(stream as u64, received[stream], bytes);
                received[stream] += u64::from(length);
                turns.driver.release(buffer);
            }
        }
        let missed = turns.driver.counters().missed_cancels;
        assert!(missed > 20, "{tier:?}: {missed}");
    }
}

#[test]
fn buffers_that_cannot_be_provided_are_provided_later() {
    let plan = |seed| FaultPlan {
        seed,
        refuse_chance: 128,
        ..FaultPlan::default()
    };
    let classic = |tier| tier == Tier::Classic;
    each(plan, &small(), classic, |counters| {
        counters.provide_failures
    });
}

#[test]
fn everything_at_once_changes_no_byte() {
    let plan = |seed| FaultPlan {
        seed,
        delay_chance: 30,
        keep_chance: 60,
        interrupt_chance: 30,
        starve_chance: 30,
        short_chance: 60,
        end_chance: 60,
        miss_chance: 100,
        refuse_chance: 60,
        busy_chance: 30,
        ..FaultPlan::default()
    };
    each(plan, &small(), |_| true, |counters| counters.send_restarts);
}

/// A send from a ring that is interrupted breaks its connection, since nobody knows what it took,
/// and only that one; the ring serves the next.
#[test]
fn a_bundle_that_breaks_costs_its_connection() {
    for tier in [Tier::Bundle, Tier::Multishot] {
        let plan = FaultPlan {
            seed: 1,
            break_chance: 128,
            ..FaultPlan::default()
        };
        let options = Options {
            fault: Some(plan),
            send_rings: 1,
            ..Options::default()
        };
        let Some(driver) = driver(tier, &options) else {
            continue;
        };
        let mut turns = Loop::new(driver);
        let (mut broken, mut whole) = (0, 0);
        for stream in 0..30 {
            let (socket, mut client) = turns.pair(|_, _| {});
            turns.send_all(socket, stream, 20_000, 1000);
            let sent = turns.until(|completion| match completion {
                Completion::Sent { .. } => Some(true),
                Completion::SendFailed { .. } => Some(false),
                _ => None,
            });
            turns.driver.close(socket);
            turns.until_closed(socket);
            if sent {
                read_exactly(&mut client, stream, 20_000);
                whole += 1;
            } else {
                broken += 1;
            }
        }
        assert!(broken > 0 && whole > 0, "{broken} broken, {whole} whole");
        assert_eq!(turns.driver.counters().send_failures, broken);
        assert_eq!(turns.driver.chunks().taken(), 0);
    }
}

#[test]
fn everybody_leaves_while_everything_fails() {
    for tier in TIERS {
        for seed in 0..3 {
            let plan = FaultPlan {
                seed,
                interrupt_chance: 30,
                starve_chance: 30,
                short_chance: 60,
                end_chance: 60,
                miss_chance: 100,
                refuse_chance: 60,
                busy_chance: 30,
                ..FaultPlan::default()
            };
            let options = Options {
                buffers: 16,
                buffer_bytes: 1024,
                send_rings: 3,
                chunk_bytes: 512,
                fault: Some(plan),
                ..Options::default()
            };
            let Some(driver) = driver(tier, &options) else {
                continue;
            };
            eprintln!("{tier:?}, seed {seed}");
            Chaos::new(driver, seed).run();
        }
    }
}
