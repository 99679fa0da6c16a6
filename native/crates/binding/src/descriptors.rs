//! Listening sockets as numbers, to be given to other processes or taken from them.

use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

use millrace_engine::{listener_address, open_listener as open};
use napi_derive::napi;

use crate::error::{self, Code, Result, from_engine, guard};

/// Opens a socket that listens on a TCP address and answers its descriptor, which is the caller's to
/// close. Throws the codes of `NativeEngine.listen`.
#[napi]
pub fn open_listener(host: String, port: u32, backlog: i32) -> Result<i32> {
    guard(|| {
        let port = port_number(port)?;
        let descriptor = open(&host, port, backlog).map_err(from_engine)?;
        Ok(descriptor.into_raw_fd())
    })
}

/// Where a descriptor that this process was given listens: `127.0.0.1:50051`, `[::1]:50051`,
/// `unix:/path` or `unix-abstract:name`. Processes that this one starts do not inherit it from now
/// on. Throws `MILLRACE_DESCRIPTOR_INVALID` for what is no stream socket that listens.
#[napi]
pub fn adopt_listener(descriptor: i32) -> Result<String> {
    guard(|| {
        let address = listener_address(&duplicate(descriptor)?).map_err(from_engine)?;
        // SAFETY: `fcntl` with F_SETFD takes and returns integers; the kernel checks the descriptor.
        if unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
            return Err(unusable(descriptor));
        }
        Ok(address)
    })
}

/// A descriptor of our own of the same socket, which processes that this one starts do not inherit.
pub(crate) fn duplicate(descriptor: i32) -> Result<OwnedFd> {
    // SAFETY: `fcntl` with F_DUPFD_CLOEXEC takes and returns integers; the kernel checks the
    // descriptor.
    let copy = unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 3) };
    if copy == -1 {
        return Err(unusable(descriptor));
    }
    // SAFETY: the kernel has just made it, and nothing else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

pub(crate) fn port_number(port: u32) -> Result<u16> {
    u16::try_from(port).map_err(|_| {
        error::error(
            error::OPTION,
            format!("port is {port}, but has to be from 0 to 65535"),
        )
    })
}

fn unusable(descriptor: i32) -> napi::Error<Code> {
    let cause = std::io::Error::last_os_error();
    error::error(
        Code("MILLRACE_DESCRIPTOR_INVALID"),
        format!(
            "cannot listen on descriptor {descriptor}: {cause}; give the number of an open socket that listens"
        ),
    )
}
