//! What one batch does is bounded, however small what arrives is on the wire: the application's
//! timers run between two batches.
#![allow(missing_docs)]

mod support;

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use millrace_engine::{MethodKind, Options};
use millrace_ring::DriverChoice;
use support::{Behaviour, DRIVERS, Script, caller::PATIENCE, client::framed, wire::*};

const SAY: &str = "/t.Echo/Say";
const MIB: u64 = 1024 * 1024;

fn unpacked_by(server: &Script) -> u64 {
    let stats = server.engine.stats();
    let name = "\"decompressedBytesReceived\":";
    let at = stats.find(name).unwrap() + name.len();
    let digits: String = stats[at..]
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap()
}

fn bombs(count: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&vec![0; 2 * MIB as usize]).unwrap();
    let mut message = framed(&encoder.finish().unwrap());
    message[0] = 1;
    let mut bytes = [PREFACE, &settings(&[])].concat();
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", SAY),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("grpc-encoding", "gzip"),
        ("te", "trailers"),
    ];
    for number in 0..count {
        let stream = 2 * number + 1;
        bytes.extend(headers(stream, 0, &fields));
        bytes.extend(data(stream, END_STREAM, &message));
    }
    bytes
}

fn most_in_a_batch(driver: DriverChoice) -> u64 {
    let options = Options {
        driver,
        ..Options::default()
    };
    let mut server = Script::new(options, &[(SAY, MethodKind::Unary, Behaviour::Ignore)]);
    let mut peer = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    // Within the window of a connection that is new.
    let calls = 25;
    peer.write_all(&bombs(calls)).unwrap();
    peer.set_nonblocking(true).unwrap();
    let begun = Instant::now();
    let mut most = 0;
    let mut before = 0;
    while before < u64::from(calls) * 2 * MIB {
        assert!(begun.elapsed() < PATIENCE, "{}", server.engine.stats());
        server.engine.collect();
        drop(server.engine.take_regions());
        drop(server.engine.take_notices());
        let now = unpacked_by(&server);
        most = most.max(now - before);
        before = now;
        server.engine.apply();
        let _ = peer.read(&mut [0; 4096]);
        std::thread::sleep(Duration::from_millis(1));
    }
    most
}

#[test]
fn a_batch_counts_messages_by_what_they_become() {
    for driver in DRIVERS {
        let most = most_in_a_batch(driver);
        // What one receive buffer holds is not divided.
        assert!(most <= 20 * MIB, "{most} bytes were unpacked in a batch");
    }
}
