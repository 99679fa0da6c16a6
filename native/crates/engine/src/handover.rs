//! Engines that share a Unix socket deal its connections among themselves. The kernel would not: who
//! is awake takes all that wait. This happens once for each connection, and only there; nothing else
//! is shared.

use std::{
    io::Write,
    os::fd::OwnedFd,
    os::unix::net::UnixStream,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
};

use millrace_ring::SocketId;

use crate::{Engine, EngineError, unix_listener::UnixListener};

/// The engines that accept from a socket.
#[derive(Default)]
pub(crate) struct Seats(Mutex<Vec<Seat>>);

/// What the others know of an engine.
struct Seat {
    load: Arc<Load>,
    given: Sender<OwnedFd>,
    /// A byte in it wakes the engine.
    bell: UnixStream,
}

/// How many connections an engine has, or is about to have.
#[derive(Default)]
struct Load {
    open: AtomicUsize,
    given: AtomicUsize,
}

impl Load {
    fn total(&self) -> usize {
        self.open.load(Ordering::Relaxed) + self.given.load(Ordering::Relaxed)
    }
}

/// An engine's own end.
pub(crate) struct Handover {
    listener: Arc<UnixListener>,
    load: Arc<Load>,
    inbox: Receiver<OwnedFd>,
    bell: SocketId,
}

impl Drop for Handover {
    fn drop(&mut self) {
        self.listener
            .seats
            .change(|seats| seats.retain(|seat| !Arc::ptr_eq(&seat.load, &self.load)));
    }
}

impl Seats {
    fn change<T>(&self, body: impl FnOnce(&mut Vec<Seat>) -> T) -> T {
        body(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives a connection to the engine with the fewest; back if that is the caller's. Counts it in any
    /// case, so that the next one goes elsewhere.
    fn deal(&self, own: &Arc<Load>, mut descriptor: OwnedFd) -> Option<OwnedFd> {
        self.change(|seats| {
            loop {
                let fewest = seats
                    .iter_mut()
                    .min_by_key(|seat| (seat.load.total(), !Arc::ptr_eq(&seat.load, own)));
                let Some(seat) = fewest.filter(|seat| !Arc::ptr_eq(&seat.load, own)) else {
                    own.given.fetch_add(1, Ordering::Relaxed);
                    return Some(descriptor);
                };
                seat.load.given.fetch_add(1, Ordering::Relaxed);
                match seat.given.send(descriptor) {
                    Ok(()) => {
                        // Full, it rings already.
                        let _ = seat.bell.write(&[0]);
                        return None;
                    }
                    // Its engine is gone.
                    Err(unsent) => {
                        descriptor = unsent.0;
                        let gone = Arc::clone(&seat.load);
                        seats.retain(|seat| !Arc::ptr_eq(&seat.load, &gone));
                    }
                }
            }
        })
    }
}

impl Engine {
    /// Takes part in the dealing of a socket's connections.
    pub(crate) fn take_seat(&mut self, listener: &Arc<UnixListener>) -> Result<(), EngineError> {
        let failed = |error: std::io::Error| EngineError {
            code: "MILLRACE_LISTEN_FAILED",
            message: format!("cannot share the Unix socket with the other threads: {error}"),
        };
        let (bell, heard) = UnixStream::pair().map_err(failed)?;
        bell.set_nonblocking(true).map_err(failed)?;
        let heard = self.driver.attach(OwnedFd::from(heard)).map_err(failed)?;
        let (given, inbox) = channel();
        let load = Arc::new(Load::default());
        listener.seats.change(|seats| {
            seats.push(Seat {
                load: Arc::clone(&load),
                given,
                bell,
            });
        });
        self.handover = Some(Handover {
            listener: Arc::clone(listener),
            load,
            inbox,
            bell: heard,
        });
        Ok(())
    }

    pub(crate) fn leave_seat(&mut self) {
        if let Some(handover) = self.handover.take() {
            self.driver.close(handover.bell);
        }
    }

    /// The connection, unless another engine has got it.
    pub(crate) fn deal(&self, descriptor: OwnedFd) -> Option<OwnedFd> {
        match &self.handover {
            None => Some(descriptor),
            Some(handover) => handover.listener.seats.deal(&handover.load, descriptor),
        }
    }

    /// Says how many connections this engine has.
    pub(crate) fn show_load(&self) {
        if let Some(handover) = &self.handover {
            let open = &handover.load.open;
            open.store(self.live_connections, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_bell(&self, socket: SocketId) -> bool {
        self.handover
            .as_ref()
            .is_some_and(|handover| handover.bell == socket)
    }

    /// Takes the connections that others gave to this engine.
    pub(crate) fn take_given(&mut self) {
        while let Some(descriptor) = self
            .handover
            .as_ref()
            .and_then(|handover| handover.inbox.try_recv().ok())
        {
            self.admit(descriptor, None);
            self.count_taken();
        }
    }

    /// What was dealt to this engine is among its connections now.
    pub(crate) fn count_taken(&self) {
        if let Some(handover) = &self.handover {
            handover.load.given.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
