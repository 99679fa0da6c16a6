//! Listening on Unix sockets: files, which outlive their process, and abstract names, which do not.
//!
//! SO_REUSEPORT shares no Unix socket, so the engines of a process share the socket itself: each
//! accepts from a duplicate of one descriptor, and deals with the others what it got.

use std::{
    fs,
    io::{Error, ErrorKind},
    os::fd::OwnedFd,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::{EngineError, client::address, handover::Seats};

/// Those that engines of this process may share, by address.
static SHARED: Mutex<Vec<(String, Weak<UnixListener>)>> = Mutex::new(Vec::new());

/// A Unix socket that listens. Dropped, it takes its file with it.
pub(crate) struct UnixListener {
    socket: Socket,
    file: Option<SocketFile>,
    pub(crate) seats: Seats,
}

/// The file of a socket, as this process made it: another may have its path by now.
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl UnixListener {
    /// Listens on `unix:/path` or `unix-abstract:name`; with `shared`, together with the engines of
    /// this process that do so already. `mode` is the permission of the file.
    pub(crate) fn open(
        text: &str,
        mode: Option<u32>,
        shared: bool,
        backlog: i32,
    ) -> Result<Arc<Self>, EngineError> {
        if !shared {
            return Self::bind(text, mode, backlog).map(Arc::new);
        }
        let mut open = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, listener)| listener.strong_count() > 0);
        let same = open.iter().find(|(address, _)| address == text);
        if let Some(listener) = same.and_then(|(_, listener)| listener.upgrade()) {
            return Ok(listener);
        }
        let listener = Arc::new(Self::bind(text, mode, backlog)?);
        open.push((text.to_owned(), Arc::downgrade(&listener)));
        Ok(listener)
    }

    /// A descriptor of its own to accept from.
    pub(crate) fn descriptor(&self, text: &str) -> Result<OwnedFd, EngineError> {
        self.socket
            .try_clone()
            .map(OwnedFd::from)
            .map_err(|error| refuse(text, "MILLRACE_LISTEN_FAILED", &error.to_string()))
    }

    fn bind(text: &str, mode: Option<u32>, backlog: i32) -> Result<Self, EngineError> {
        let address =
            address::parse(text).map_err(|cause| refuse(text, "MILLRACE_PATH_INVALID", &cause))?;
        let path = address.as_pathname().map(Path::to_owned);
        let failed = |error: &Error| {
            let (code, cause) = explain(error);
            refuse(text, code, &cause)
        };
        let socket =
            Socket::new(Domain::UNIX, Type::STREAM, None).map_err(|error| failed(&error))?;
        match (socket.bind(&address), &path) {
            (Ok(()), _) => {}
            (Err(error), Some(path)) if error.kind() == ErrorKind::AddrInUse => {
                remove_stale(text, path, &address)?;
                socket.bind(&address).map_err(|error| failed(&error))?;
            }
            (Err(error), _) => return Err(failed(&error)),
        }
        let listening = || -> Result<Option<SocketFile>, Error> {
            let file = match &path {
                None => None,
                Some(path) => {
                    // Nobody can connect before it listens, so nobody is faster than this.
                    if let Some(mode) = mode {
                        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
                    }
                    let found = fs::symlink_metadata(path)?;
                    Some(SocketFile {
                        path: std::path::absolute(path)?,
                        device: found.dev(),
                        inode: found.ino(),
                    })
                }
            };
            socket.listen(backlog)?;
            Ok(file)
        };
        let file = listening().map_err(|error| failed(&error))?;
        Ok(Self {
            socket,
            file,
            seats: Seats::default(),
        })
    }
}

impl Drop for UnixListener {
    fn drop(&mut self) {
        if let Some(file) = &self.file
            && fs::symlink_metadata(&file.path)
                .is_ok_and(|found| (found.dev(), found.ino()) == (file.device, file.inode))
        {
            // Who removed its folder meanwhile has removed it too.
            let _ = fs::remove_file(&file.path);
        }
    }
}

/// Removes the file of a socket that nobody listens on: its process ended without doing so.
fn remove_stale(text: &str, path: &Path, address: &SockAddr) -> Result<(), EngineError> {
    const IN_USE: &str = "MILLRACE_PATH_IN_USE";
    let failed = |error: &Error| {
        let (code, cause) = explain(error);
        refuse(text, code, &cause)
    };
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found.map_err(|error| failed(&error))?,
    };
    if !found.file_type().is_socket() {
        let cause =
            "there is a file of that name that is no socket; choose another path, or remove it";
        return Err(refuse(text, IN_USE, cause));
    }
    let connected = Socket::new(Domain::UNIX, Type::STREAM, None).and_then(|socket| {
        // A process with a full backlog is alive too, and would keep us waiting.
        socket.set_nonblocking(true)?;
        socket.connect(address)
    });
    match connected {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let cause = "there is a socket of that name that this process may not connect to; choose another path, or remove it if nobody listens there";
            return Err(refuse(text, IN_USE, cause));
        }
        _ => {
            let cause = "another server listens there; stop it, or choose another path";
            return Err(refuse(text, IN_USE, cause));
        }
    }
    let unchanged = fs::symlink_metadata(path)
        .is_ok_and(|now| (now.dev(), now.ino()) == (found.dev(), found.ino()));
    if unchanged {
        fs::remove_file(path).map_err(|error| failed(&error))?;
    }
    Ok(())
}

fn explain(error: &Error) -> (&'static str, String) {
    match error.kind() {
        ErrorKind::AddrInUse => (
            "MILLRACE_PATH_IN_USE",
            "another server listens there; stop it, or choose another path".to_owned(),
        ),
        ErrorKind::PermissionDenied => (
            "MILLRACE_PATH_FORBIDDEN",
            "permission denied; choose a folder that this process may write to".to_owned(),
        ),
        ErrorKind::NotFound | ErrorKind::NotADirectory => (
            "MILLRACE_PATH_INVALID",
            "its folder does not exist; create it first".to_owned(),
        ),
        _ => ("MILLRACE_LISTEN_FAILED", error.to_string()),
    }
}

fn refuse(text: &str, code: &'static str, cause: &str) -> EngineError {
    EngineError {
        code,
        message: format!("cannot listen on {text}: {cause}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("millrace-unix-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn open(
        path: &Path,
        mode: Option<u32>,
        shared: bool,
    ) -> Result<Arc<UnixListener>, EngineError> {
        UnixListener::open(&format!("unix:{}", path.display()), mode, shared, 16)
    }

    #[test]
    fn a_file_is_made_with_its_mode_and_removed() {
        let folder = folder("mode");
        let path = folder.join("a.sock");
        let listener = open(&path, Some(0o600), false).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        drop(listener);
        assert!(!path.exists());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_file_of_a_dead_process_is_replaced_and_that_of_another_server_is_not() {
        let folder = folder("stale");
        let path = folder.join("a.sock");
        // The standard library leaves the file behind, as a process that is killed does.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let first = open(&path, None, false).unwrap();
        let error = open(&path, None, false).map(|_| ()).unwrap_err();
        assert_eq!(error.code, "MILLRACE_PATH_IN_USE");
        assert!(error.message.contains("a.sock"), "{}", error.message);
        UnixStream::connect(&path).unwrap();
        // Who took the path over keeps the file.
        fs::remove_file(&path).unwrap();
        let second = open(&path, None, false).unwrap();
        drop(first);
        UnixStream::connect(&path).unwrap();
        drop(second);
        fs::write(&path, "precious").unwrap();
        let error = open(&path, None, false).map(|_| ()).unwrap_err();
        assert_eq!(error.code, "MILLRACE_PATH_IN_USE");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        let error = open(&folder.join("no/a.sock"), None, false)
            .map(|_| ())
            .unwrap_err();
        assert_eq!(error.code, "MILLRACE_PATH_INVALID");
        let long = folder.join("x".repeat(200));
        let error = open(&long, None, false).map(|_| ()).unwrap_err();
        assert_eq!(error.code, "MILLRACE_PATH_INVALID");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn engines_of_a_process_share_a_socket_until_the_last_lets_go() {
        let folder = folder("shared");
        let path = folder.join("a.sock");
        let first = open(&path, None, true).unwrap();
        let second = open(&path, None, true).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        assert!(open(&path, None, false).is_err());
        drop(first);
        UnixStream::connect(&path).unwrap();
        drop(second);
        assert!(!path.exists());
        drop(open(&path, None, true).unwrap());
        fs::remove_dir_all(folder).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn abstract_names_need_no_file() {
        let name = format!("unix-abstract:millrace-{}", std::process::id());
        let first = UnixListener::open(&name, None, false, 16).unwrap();
        let error = UnixListener::open(&name, None, false, 16)
            .map(|_| ())
            .unwrap_err();
        assert_eq!(error.code, "MILLRACE_PATH_IN_USE");
        drop(first);
        UnixListener::open(&name, None, false, 16).unwrap();
    }
}
