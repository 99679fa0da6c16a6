//! The seeded fault driver: whatever it does, order and bytes stay exact, and the same seed does
//! the same. Run with `--features __fault`.
#![cfg(feature = "__fault")]

mod support;

use std::io::{Read, Write};

use millrace_ring::{Completion, FaultPlan, Options};
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
                reset_chance: 0,
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
            keep_chance: 0,
            reset_chance: 255,
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
                for completion in turns.turn(DEADLINE) {
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
