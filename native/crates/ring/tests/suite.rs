//! One suite for every driver: what a driver promises, over real sockets on loopback.

mod support;

use millrace_ring::{DriverChoice, Options};
use support::*;

/// Runs each test once per driver.
macro_rules! suite {
    ($($test:ident),* $(,)?) => {
        mod bundle {
            $(#[test] fn $test() { super::$test(millrace_ring::DriverChoice::Bundle) })*
        }
        mod portable {
            $(#[test] fn $test() { super::$test(millrace_ring::DriverChoice::Portable) })*
        }
    };
}

suite! {
    echoes_every_byte,
}

fn echoes_every_byte(choice: DriverChoice) {
    let Some(driver) = driver(choice, &Options::default()) else {
        return;
    };
    let mut echo = Echo::new(driver, 1);
    let (_, address) = echo.turns.listen();
    let clients = echo_clients(address, 24, 300_000, 1);
    echo.serve(24);
    join(clients);
    assert_eq!(echo.echoed, 24 * 300_000);
}
