//! Opening the sockets that accept.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    os::fd::OwnedFd,
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::EngineError;

/// Opens a listening socket and tells the port that it got.
pub(crate) fn open(
    host: &str,
    port: u16,
    reuse_port: bool,
    backlog: i32,
) -> Result<(OwnedFd, SocketAddr), EngineError> {
    let refuse = |code, cause: String| EngineError {
        code,
        message: format!("cannot listen on {host}:{port}: {cause}"),
    };
    let address = (host, port)
        .to_socket_addrs()
        .map_err(|error| {
            refuse(
                "MILLRACE_HOST_UNKNOWN",
                format!("{error}; give an address of this machine as host"),
            )
        })?
        .next()
        .ok_or_else(|| {
            refuse(
                "MILLRACE_HOST_UNKNOWN",
                "the name has no address".to_owned(),
            )
        })?;
    let bind = || -> std::io::Result<(OwnedFd, SocketAddr)> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        if reuse_port {
            socket.set_reuse_port(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(backlog)?;
        let local = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok((socket.into(), local))
    };
    bind().map_err(|error| match error.raw_os_error() {
        Some(libc::EADDRINUSE) => refuse(
            "MILLRACE_PORT_IN_USE",
            "the port is in use; stop the other process, or choose another port (0 for any)"
                .to_owned(),
        ),
        Some(libc::EACCES) => refuse(
            "MILLRACE_PORT_FORBIDDEN",
            "permission denied; ports below 1,024 need a privilege, so choose a higher one"
                .to_owned(),
        ),
        Some(libc::EADDRNOTAVAIL) => refuse(
            "MILLRACE_HOST_UNKNOWN",
            "this machine has no such address; check the host".to_owned(),
        ),
        _ => refuse("MILLRACE_LISTEN_FAILED", error.to_string()),
    })
}
