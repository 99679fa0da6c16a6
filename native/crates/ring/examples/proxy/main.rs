//! The proxy of `npm run bench:rings`: what comes in on one connection leaves on another, packet by
//! packet, through the crate's drivers. One thing at a time is switched by the mode. `load` is the other
//! end of any such proxy, this one or another: it sends, receives, compares and measures.
//!
//! ```text
//! proxy serve MODE PACKET CONNECTIONS THREADS SINK_PORT
//!                                                    prints its port, later one line of counters
//! proxy load CONNECTIONS WARM_UP_MS MEASURE_MS [copies] [drains]
//!                                                    prints its port, reads "PORT PID" of the proxy,
//!                                                    prints one line of figures
//! ```

#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod serve;

#[cfg(target_os = "linux")]
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize| -> u64 {
        let text = arguments.get(place).map_or("nothing", String::as_str);
        text.parse()
            .unwrap_or_else(|_| panic!("argument {place} is a number, not {text}"))
    };
    match arguments.first().map(String::as_str) {
        Some("serve") => {
            let mode = serve::Mode::named(&arguments[1]);
            let (packet, connections) = (number(2) as u32, number(3) as usize);
            serve::run(
                mode,
                packet,
                connections,
                number(4) as usize,
                number(5) as u16,
            );
        }
        Some("load") => {
            let has = |habit: &str| arguments.iter().any(|word| word == habit);
            let habits = load::Habits {
                copies: has("copies"),
                drains: has("drains"),
            };
            load::run(number(1) as usize, number(2), number(3), &habits);
        }
        _ => panic!("use `serve` or `load`; the head of main.rs says with what"),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("the drivers that this compares are Linux's");
}
