//! Prints which driver runs here, why, and how long it took to find out.

use std::time::Instant;

use millrace_ring::{DriverChoice, Options, select};

fn main() {
    let choice = std::env::args().nth(1).unwrap_or_default();
    let choice: DriverChoice = choice.parse().unwrap_or_default();
    let started = Instant::now();
    match select(choice, &Options::default()) {
        Ok(selection) => println!("{} ({:?})", selection.reason, started.elapsed()),
        Err(error) => println!("{error}"),
    }
}
