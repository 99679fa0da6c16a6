//! Buffers that were given back are never read again: they are poisoned, and whoever looks into the
//! shared memory, as JavaScript does, finds nothing of a message there. Release builds without the
//! feature `__fault` do not poison.
#![cfg(any(debug_assertions, feature = "__fault"))]

mod support;

use std::collections::HashSet;
use std::io::Write;

use millrace_ring::{Completion, Options};
use support::*;

/// What `BufferGroup` fills released buffers with.
const POISON: u8 = 0xdb;
const BYTES: u32 = 256;

/// A buffer as whoever has the shared memory sees it, whatever its state.
fn shared(turns: &Loop, buffer: u16) -> Vec<u8> {
    let buffers = turns.driver.buffers();
    let start = usize::from(buffer) * BYTES as usize;
    // SAFETY: the range lies in the mapping, which `buffers` keeps alive. Nothing is on its way to
    // the driver meanwhile, so the kernel does not write.
    unsafe { std::slice::from_raw_parts(buffers.base().add(start), BYTES as usize) }.to_vec()
}

/// Receives `length` bytes and tells their buffers, which stay held.
fn receive(turns: &mut Loop, position: u64, length: u64) -> Vec<(u16, u32)> {
    let mut filled = Vec::new();
    let mut received = 0;
    while received < length {
        for completion in turns.turn(patience()) {
            let Completion::Received { buffer, length, .. } = completion else {
                panic!("{completion:?}")
            };
            let bytes = turns.driver.buffers().bytes(buffer, 0..length);
            check(1, position + received, bytes);
            received += u64::from(length);
            filled.push((buffer, length));
        }
    }
    filled
}

#[test]
fn what_was_released_is_gone_and_what_comes_fills_no_more_than_it_says() {
    for tier in TIERS {
        let options = Options {
            buffers: 4,
            buffer_bytes: BYTES,
            ..Options::default()
        };
        let Some(driver) = driver(tier, &options) else {
            continue;
        };
        let mut turns = Loop::new(driver);
        let (_, mut client) = turns.pair(|_, _| {});
        let (mut position, mut released) = (0, HashSet::new());
        // Each buffer is used many times; 600 bytes take three, the last of them filled in part.
        for length in [1, 100, 256, 600, 3, 512].into_iter().cycle().take(60) {
            client
                .write_all(&pattern(1, position, length as usize))
                .unwrap();
            for (buffer, filled) in receive(&mut turns, position, length) {
                if released.contains(&buffer) {
                    // It was poisoned before it was filled.
                    let rest = &shared(&turns, buffer)[filled as usize..];
                    let whole = rest.iter().all(|byte| *byte == POISON);
                    assert!(whole, "{tier:?}: written beyond {filled}: {rest:?}");
                }
                turns.driver.release(buffer);
                released.insert(buffer);
                let left = shared(&turns, buffer);
                assert_eq!(left, [POISON; BYTES as usize], "{tier:?}: left in {buffer}");
            }
            position += length;
        }
        assert_eq!(released.len(), 4, "{tier:?}: every buffer was used");
    }
}
