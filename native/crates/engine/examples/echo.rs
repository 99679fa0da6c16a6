//! An echo server without JavaScript: what the native side alone can do. Serves until killed.
//!
//! `cargo run --release -p millrace-engine --example echo -- [bundle|ring|classic|portable]`

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Duration;

use millrace_engine::{MethodKind, Options};
use millrace_ring::DriverChoice;
use support::{Behaviour, Script};

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    let driver: DriverChoice = name.parse().expect("a driver");
    let mut script = Script::new(
        Options {
            driver,
            ..Options::default()
        },
        &[
            (
                "/millrace.echo.v1.Echo/Say",
                MethodKind::Unary,
                Behaviour::Echo,
            ),
            (
                "/millrace.echo.v1.Echo/Chat",
                MethodKind::Bidi,
                Behaviour::Echo,
            ),
        ],
    );
    println!(
        "{{\"msg\":\"listening\",\"port\":{},\"driver\":\"{}\"}}",
        script.port,
        script.engine.driver_name()
    );
    loop {
        script.turn(Duration::from_millis(500));
        for notice in script.notices.drain(..) {
            eprintln!("{notice}");
        }
    }
}
