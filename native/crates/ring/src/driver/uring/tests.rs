//! Completions as kernels of other versions give them.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::*;
use crate::driver::preset::{BUNDLE, CLASSIC, RING};

fn driver(preset: Preset) -> Option<Uring> {
    let options = Options {
        buffers: 8,
        buffer_bytes: 64,
        ..Options::default()
    };
    match Uring::new(&options, preset) {
        Ok(driver) => Some(driver),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

fn pair(driver: &mut Uring) -> (SocketId, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    (driver.attach(OwnedFd::from(server)).unwrap(), client)
}

/// What the kernel completes next, handled but for the first that filled a buffer, which is told.
fn filled(driver: &mut Uring) -> Reaped {
    loop {
        driver.submit().unwrap();
        driver.queue.wait(Duration::from_millis(100));
        let mut reaped = VecDeque::new();
        driver.queue.reap(1, &mut reaped);
        for completion in reaped {
            if completion.buffer.is_some() {
                return completion;
            }
            driver.handle(completion);
        }
    }
}

/// A completion may name a buffer without bytes: at the end of a stream before 6.0, and with some
/// errors. The kernel has taken it out of the group, so it has to come back.
#[test]
fn a_buffer_without_bytes_comes_back() {
    for preset in [BUNDLE, RING, CLASSIC] {
        for result in [0, -libc::ECONNRESET] {
            let Some(mut driver) = driver(preset) else {
                continue;
            };
            let (_, mut client) = pair(&mut driver);
            client.write_all(b"x").unwrap();
            let mut completion = filled(&mut driver);
            let more = completion.more;
            completion.result = result;
            driver.handle(completion);
            assert_eq!(driver.counters.empty_buffers, 1);
            assert_eq!((driver.buffers.returning(), driver.buffers.held()), (1, 0));
            driver.submit().unwrap();
            assert_eq!(driver.buffers.free(), 8);
            // The end is told when the operation is over.
            let told = matches!(driver.done.last(), Some(Completion::ReceiveEnded { .. }));
            assert_eq!(told, !more);
            next_connection_gets_every_byte(&mut driver);
        }
    }
}

/// What a connection sends arrives whole, through all buffers, several times.
fn next_connection_gets_every_byte(driver: &mut Uring) {
    const TOTAL: usize = 3 * 8 * 64;
    let (socket, mut client) = pair(driver);
    let sent: Vec<u8> = (0..TOTAL).map(|position| (position % 251) as u8).collect();
    client.write_all(&sent).unwrap();
    let mut received = Vec::new();
    while received.len() < TOTAL {
        driver.submit().unwrap();
        driver.queue.wait(Duration::from_millis(100));
        let mut out = Vec::new();
        driver.complete(&mut out, usize::MAX);
        for completion in out {
            let Completion::Received {
                socket: receiver,
                buffer,
                length,
            } = completion
            else {
                continue;
            };
            assert_eq!(receiver, socket);
            received.extend_from_slice(driver.buffers.bytes(buffer, 0..length));
            driver.release(buffer);
        }
    }
    assert_eq!(received, sent);
}
