//! What every driver asks of a socket outside the hot path.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use socket2::{Domain, SockRef};

/// Makes a connected socket non-blocking and lets small segments leave at once.
pub(super) fn prepare(descriptor: &OwnedFd) -> io::Result<()> {
    let socket = SockRef::from(descriptor);
    socket.set_nonblocking(true)?;
    // A Unix socket has no such option, and without it the socket still works.
    let _ = socket.set_tcp_nodelay(true);
    #[cfg(target_vendor = "apple")]
    socket.set_nosigpipe(true)?;
    Ok(())
}

/// Whether a non-blocking connect that ended so is under way (connect(2)).
pub(super) fn connects_later(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR))
}

/// Whether this is a Unix-domain socket.
pub(super) fn is_unix(descriptor: &OwnedFd) -> bool {
    match SockRef::from(descriptor).local_addr() {
        Ok(address) => address.domain() == Domain::UNIX,
        Err(_) => false,
    }
}

/// The error the kernel keeps for the socket, or `fallback` if it keeps none.
#[cfg(target_os = "linux")]
pub(super) fn pending_error(descriptor: &OwnedFd, fallback: i32) -> i32 {
    match SockRef::from(descriptor).take_error() {
        Ok(Some(error)) => error.raw_os_error().unwrap_or(fallback),
        _ => fallback,
    }
}

/// A number that changes when the peer takes bytes: of a TCP connection, how many it has acknowledged
/// (`tcpi_bytes_acked`, Linux 4.1); of another socket, how many wait for it.
#[cfg(target_os = "linux")]
pub(super) fn progress(descriptor: &OwnedFd) -> Option<u64> {
    const KNOWN: usize = std::mem::offset_of!(libc::tcp_info, tcpi_bytes_acked) + size_of::<u64>();
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    let socket = descriptor.as_raw_fd();
    // SAFETY: the kernel writes at most `length` bytes to `info`, which has as many.
    let answer = unsafe {
        let info = info.as_mut_ptr().cast();
        libc::getsockopt(
            socket,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info,
            &raw mut length,
        )
    };
    if answer == 0 {
        // SAFETY: it was zeroed, and whatever the kernel wrote is numbers.
        let info = unsafe { info.assume_init() };
        return (length as usize >= KNOWN).then_some(info.tcpi_bytes_acked);
    }
    let mut waiting: libc::c_int = 0;
    // SAFETY: TIOCOUTQ writes one int.
    let answer = unsafe { libc::ioctl(socket, libc::TIOCOUTQ, &raw mut waiting) };
    (answer == 0).then_some(waiting as u64)
}

/// Nobody asks other systems.
#[cfg(not(target_os = "linux"))]
pub(super) fn progress(_descriptor: &OwnedFd) -> Option<u64> {
    None
}

pub(super) fn finish_sending(descriptor: impl AsFd) {
    // It fails if the peer is gone already; then there is nobody to tell.
    let _ = SockRef::from(&descriptor).shutdown(Shutdown::Write);
}

/// Closes so that the peer sees every byte and then the end of the stream.
///
/// A close with unread bytes makes the kernel send RST, which can destroy bytes of ours that the
/// peer has not read yet. So the end is sent first, and what has arrived by then is discarded, at
/// most 256 KiB. Bytes that arrive later still cause RST; a protocol that has to survive that waits
/// for the peer's end before it closes.
pub(super) fn close(descriptor: OwnedFd) {
    finish_sending(&descriptor);
    let socket = SockRef::from(&descriptor);
    let mut discarded = [MaybeUninit::<u8>::uninit(); 16 * 1024];
    for _ in 0..16 {
        match socket.recv(&mut discarded) {
            Ok(length) if length == discarded.len() => {}
            _ => break,
        }
    }
}

/// Makes the coming close of the descriptor reset the connection.
pub(super) fn reset_on_close(descriptor: impl AsFd) {
    // It fails on a socket that is not TCP; then an ordinary close is all there is.
    let _ = SockRef::from(&descriptor).set_linger(Some(Duration::ZERO));
}

/// Whether accepting may go on at once after this error: it concerns one connection that is gone,
/// not the listener (accept(2)).
pub(super) fn concerns_one_connection(error: i32) -> bool {
    matches!(
        error,
        libc::ECONNABORTED
            | libc::EINTR
            | libc::EAGAIN
            | libc::EPROTO
            | libc::EPERM
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::EOPNOTSUPP
            | libc::ENOPROTOOPT
            | libc::ETIMEDOUT
    )
}
