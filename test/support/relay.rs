//! A TCP relay with socket buffers of a few KiB and small segments, so that the server behind
//! it sees short sends and bytes in dribs and drabs. Node cannot set buffer sizes itself.
//!
//! `relay <port>` listens on a free port of 127.0.0.1, prints it, relays each connection to
//! `<port>`, and ends when its standard input closes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};
use std::thread;

// The few calls for which the standard library has no name; layouts and numbers are Linux's.
unsafe extern "C" {
    fn socket(domain: i32, kind: i32, protocol: i32) -> i32;
    fn connect(descriptor: i32, address: *const SockaddrIn, length: u32) -> i32;
    fn setsockopt(descriptor: i32, level: i32, name: i32, value: *const i32, length: u32) -> i32;
}

#[repr(C)]
struct SockaddrIn {
    family: u16,
    port: u16,
    address: u32,
    zero: [u8; 8],
}

const AF_INET: i32 = 2;
const SOCK_STREAM: i32 = 1;
const SOCK_CLOEXEC: i32 = 0o2000000;
const SOL_SOCKET: i32 = 1;
const SO_SNDBUF: i32 = 7;
const SO_RCVBUF: i32 = 8;
const IPPROTO_TCP: i32 = 6;
const TCP_MAXSEG: i32 = 2;
const BUFFER_BYTES: i32 = 4096;
/// Smaller than the buffers: over loopback a segment may have 64 KiB, and one that does not fit
/// into the receiver's buffer is dropped and sent again after ever longer pauses.
const SEGMENT_BYTES: i32 = 1000;

fn shrink(descriptor: i32) {
    for (level, name, value) in [
        (SOL_SOCKET, SO_SNDBUF, BUFFER_BYTES),
        (SOL_SOCKET, SO_RCVBUF, BUFFER_BYTES),
        (IPPROTO_TCP, TCP_MAXSEG, SEGMENT_BYTES),
    ] {
        // SAFETY: the value is an int that lives across the call, and its size is given.
        let result = unsafe { setsockopt(descriptor, level, name, &value, 4) };
        assert_eq!(result, 0, "setsockopt");
    }
}

/// Buffers have to be small before the connection is made, or the window is negotiated larger.
fn connect_small(port: u16) -> TcpStream {
    // SAFETY: plain call; the result is checked.
    let descriptor = unsafe { socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    assert!(descriptor >= 0, "socket");
    shrink(descriptor);
    let address = SockaddrIn {
        family: AF_INET as u16,
        port: port.to_be(),
        address: u32::from(Ipv4Addr::LOCALHOST).to_be(),
        zero: [0; 8],
    };
    // SAFETY: the address is of the given size and lives across the call.
    let result = unsafe { connect(descriptor, &address, size_of::<SockaddrIn>() as u32) };
    assert_eq!(result, 0, "connect");
    // SAFETY: the descriptor is a connected socket that nobody else owns.
    unsafe { TcpStream::from_raw_fd(descriptor) }
}

fn pump(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 1500];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}

fn main() {
    let target: u16 = std::env::args()
        .nth(1)
        .and_then(|port| port.parse().ok())
        .expect("usage: relay <port>");
    let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("bind");
    shrink(listener.as_raw_fd());
    println!("{}", listener.local_addr().expect("address").port());
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = connect_small(target);
            let _ = client.set_nodelay(true);
            let _ = server.set_nodelay(true);
            let (client2, server2) = (
                client.try_clone().expect("clone"),
                server.try_clone().expect("clone"),
            );
            thread::spawn(move || pump(client, server2));
            thread::spawn(move || pump(server, client2));
        }
    });
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
