//! Accepting.

use std::os::fd::{AsFd, OwnedFd};

use super::Uring;
use crate::driver::slab::Key;
use crate::driver::socket;
use crate::uring::{Kind, Reaped, Token, is_readable};
use crate::{Completion, Driver, ListenerId};

pub(super) struct Listener {
    pub(super) descriptor: OwnedFd,
    pub(super) accept: Accept,
    pub(super) stopping: bool,
    pub(super) cancels: u32,
    /// The system has nothing to accept with; looking again is of use when a socket was closed.
    pub(super) starved: bool,
    /// How often it may still look for connections after it was stopped.
    pub(super) last_looks: u8,
}

/// Connections may go on coming to a listener that is stopped here and shared with others; to look
/// once is nearly always enough.
pub(super) const LAST_LOOKS: u8 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accept {
    /// It stands in `accepting`.
    Waiting,
    Armed,
    Failed,
}

impl Uring {
    pub(super) fn arm_accepts(&mut self) {
        while let Some(key) = self.accepting.pop_front() {
            if !self.listeners.holds(key) {
                continue;
            }
            let listener = &mut self.listeners[key.index];
            if listener.accept == Accept::Waiting && !listener.stopping {
                listener.accept = Accept::Armed;
                self.queue.accept(accept(key), listener.descriptor.as_fd());
            }
        }
    }

    /// Cancels the accept, if there is one.
    pub(super) fn cancel_accept(&mut self, key: Key) {
        let listener = &mut self.listeners[key.index];
        if listener.accept == Accept::Armed {
            listener.cancels += 1;
            let token = Token {
                kind: Kind::CancelListener,
                owner: key.to_bits(),
            };
            self.queue.cancel(token, accept(key));
        }
    }

    pub(super) fn accept_cancelled(&mut self, key: Key, result: i32) {
        self.listeners[key.index].cancels -= 1;
        if result < 0 {
            // It missed: the accept was over, or was being worked on just then. Once more.
            self.counters.missed_cancels += 1;
            self.cancel_accept(key);
        }
        self.finish_listener(key);
    }

    pub(super) fn accepted(&mut self, key: Key, reaped: Reaped) {
        let id = ListenerId(key.index);
        let (more, result) = (reaped.more, reaped.result);
        if let Some(descriptor) = reaped.into_connection() {
            self.counters.accepted += 1;
            self.done.push(Completion::Accepted {
                listener: id,
                descriptor,
                peer: None,
            });
        }
        if more {
            return;
        }
        let listener = &mut self.listeners[key.index];
        listener.accept = Accept::Failed;
        let goes_on =
            result >= 0 || result == -libc::ECANCELED || socket::concerns_one_connection(-result);
        if listener.stopping {
            listener.starved = !goes_on;
            self.finish_listener(key);
        } else if goes_on {
            let interrupted = matches!(-result, libc::EINTR | libc::EAGAIN);
            self.counters.interruptions += u64::from(interrupted);
            listener.accept = Accept::Waiting;
            self.accepting.push_back(key);
        } else {
            self.counters.accept_failures += 1;
            self.done.push(Completion::AcceptFailed {
                listener: id,
                error: -result,
            });
        }
    }

    /// Closes a listener that is to be closed, once nothing of it is in flight and it has taken what
    /// it was woken for.
    ///
    /// Others may wait at the same listener, and for each connection the kernel wakes one of all
    /// that wait. An accept that is cancelled after it was woken takes nothing, and wakes nobody in
    /// its place; so does one that failed. What waits then is taken here, if need be as soon as a
    /// socket that is closed leaves a descriptor for it. Whatever comes later wakes somebody else,
    /// since this no longer waits. The accept is cancelled at once, as it would wait where another
    /// one was faster.
    pub(super) fn finish_listener(&mut self, key: Key) {
        let listener = &mut self.listeners[key.index];
        if !listener.stopping || listener.accept == Accept::Armed || listener.cancels > 0 {
            return;
        }
        let descriptor = listener.descriptor.as_fd();
        if listener.last_looks == 0 || !is_readable(descriptor) {
            self.listeners.remove(key.index);
        } else if !listener.starved {
            listener.last_looks -= 1;
            listener.accept = Accept::Armed;
            self.queue.accept(accept(key), descriptor);
            self.cancel_accept(key);
        } else if !self.sockets.any(|socket| socket.descriptor.is_some()) {
            // Nobody is left whose end would leave a descriptor.
            self.listeners.remove(key.index);
        }
    }

    /// A socket was closed: there is a descriptor for accepting.
    pub(super) fn feed_listeners(&mut self) {
        for index in self.listeners.indices() {
            let listener = &mut self.listeners[index];
            if listener.accept != Accept::Failed {
                continue;
            }
            if std::mem::take(&mut listener.starved)
                && let Some(key) = self.listeners.key(index)
            {
                self.finish_listener(key);
            } else {
                self.retry_accept(ListenerId(index));
            }
        }
    }
}

fn accept(key: Key) -> Token {
    Token {
        kind: Kind::Accept,
        owner: key.to_bits(),
    }
}
