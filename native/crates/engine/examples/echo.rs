//! An echo server without JavaScript: what the native side alone can do. Serves until killed.
//!
//! `cargo run --release -p millrace-engine --example echo -- [bundle|portable]`

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Duration;

use millrace_engine::{MethodKind, Options};
use millrace_ring::DriverChoice;
use support::{Behaviour, Script};

fn main() {
    let driver = match std::env::args().nth(1).as_deref() {
        Some("bundle") => DriverChoice::Bundle,
        Some("portable") => DriverChoice::Portable,
        _ => DriverChoice::Automatic,
    };
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
