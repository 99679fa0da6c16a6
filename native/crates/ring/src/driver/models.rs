//! Models of the receive buffers and of sending, one for each driver, against kernels that do what
//! they may: a million random steps and more for each.
//!
//! The models hold the parts that keep the accounts, the very code of the drivers, and play the
//! kernel themselves. What goes on between the accounts and a real kernel, the suites test.

mod buffers;
mod sends;

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};

/// Steps of one model on one driver at least.
const STEPS: usize = 1_000_000;
/// Steps of one schedule.
const SCHEDULE: std::ops::Range<usize> = 50..1500;

/// A random choice for a step, which the model reads as it needs.
type Step = (u8, u16, u16);

/// Runs schedules until there were steps enough, and prints how many.
fn explore<Set: Strategy>(
    name: &str,
    settings: Set,
    mut run: impl FnMut(Set::Value, &[Step]) -> TestCaseResult,
) {
    let steps = Cell::new(0);
    let schedules = proptest::collection::vec(any::<Step>(), SCHEDULE);
    let cases = (settings, schedules);
    let run = std::cell::RefCell::new(&mut run);
    while steps.get() < STEPS {
        let mut runner = TestRunner::new(Config {
            cases: 64,
            failure_persistence: None,
            ..Config::default()
        });
        let result = runner.run(&cases, |(settings, schedule)| {
            steps.set(steps.get() + schedule.len());
            (run.borrow_mut())(settings, &schedule)
        });
        if let Err(failure) = result {
            panic!("{name}, after {} steps: {failure}", steps.get());
        }
    }
    println!("{name}: {} random steps", steps.get());
}
