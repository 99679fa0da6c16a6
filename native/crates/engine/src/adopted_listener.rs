//! Listening sockets that somebody else opened and that this process was given: by a service
//! manager (the LISTEN_FDS protocol, sd_listen_fds(3)), or by a process that outlives this one.

use std::os::fd::OwnedFd;

use socket2::{SockRef, Type};

use crate::{EngineError, listener};

/// Opens a socket that listens on a TCP address, to be given to other processes.
///
/// # Errors
/// The address is unknown, in use or forbidden; the message names the remedy.
pub fn open_listener(host: &str, port: u16, backlog: i32) -> Result<OwnedFd, EngineError> {
    listener::open(host, port, false, backlog).map(|(descriptor, _)| descriptor)
}

/// Where a socket listens: `127.0.0.1:50051`, `[::1]:50051`, `unix:/path` or `unix-abstract:name`.
///
/// # Errors
/// `MILLRACE_DESCRIPTOR_INVALID`: it is no stream socket that listens; the message says what it is,
/// and what to give instead.
pub fn listener_address(descriptor: &OwnedFd) -> Result<String, EngineError> {
    let socket = SockRef::from(descriptor);
    let kind = socket.r#type().map_err(|error| {
        if error.raw_os_error() == Some(libc::ENOTSOCK) {
            refuse("it is no socket; give one that listens".to_owned())
        } else {
            refuse(error.to_string())
        }
    })?;
    if kind != Type::STREAM {
        let what = "it is a datagram socket; give a stream socket (SOCK_STREAM)";
        return Err(refuse(what.to_owned()));
    }
    let listens = socket
        .is_listener()
        .map_err(|error| refuse(error.to_string()))?;
    if !listens {
        let what = "the socket does not listen; call listen() on it before handing it over";
        return Err(refuse(what.to_owned()));
    }
    let address = socket
        .local_addr()
        .map_err(|error| refuse(error.to_string()))?;
    if let Some(address) = address.as_socket() {
        return Ok(address.to_string());
    }
    if let Some(path) = address.as_pathname() {
        return Ok(format!("unix:{}", path.display()));
    }
    #[cfg(target_os = "linux")]
    if let Some(name) = address.as_abstract_namespace() {
        return Ok(format!("unix-abstract:{}", String::from_utf8_lossy(name)));
    }
    let what = "it is neither a TCP nor a Unix socket; give one of those";
    Err(refuse(what.to_owned()))
}

fn refuse(cause: String) -> EngineError {
    EngineError {
        code: "MILLRACE_DESCRIPTOR_INVALID",
        message: format!("cannot listen on the given descriptor: {cause}"),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        net::{TcpListener, TcpStream, UdpSocket},
    };

    use super::*;

    #[test]
    fn a_listener_is_opened_and_told_by_its_address() {
        let listener = open_listener("127.0.0.1", 0, 16).unwrap();
        let address = listener_address(&listener).unwrap();
        TcpStream::connect(&address).unwrap();
    }

    #[test]
    fn what_does_not_listen_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        for (descriptor, says) in [
            (OwnedFd::from(File::open("/dev/null").unwrap()), "no socket"),
            (OwnedFd::from(stream), "does not listen"),
            (OwnedFd::from(datagrams), "datagram"),
        ] {
            let error = listener_address(&descriptor).unwrap_err();
            assert_eq!(error.code, "MILLRACE_DESCRIPTOR_INVALID");
            assert!(error.message.contains(says), "{}", error.message);
        }
    }
}
