//! Accepting.

use std::os::fd::{AsFd, OwnedFd};

use super::Uring;
use crate::driver::slab::Key;
use crate::driver::socket;
use crate::uring::{Kind, Reaped, Token};
use crate::{Completion, ListenerId};

pub(super) struct Listener {
    pub(super) descriptor: OwnedFd,
    pub(super) accept: Accept,
    pub(super) stopping: bool,
    pub(super) cancels: u32,
}

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
                let token = Token {
                    kind: Kind::Accept,
                    owner: key.to_bits(),
                };
                self.queue.accept(token, listener.descriptor.as_fd());
            }
        }
    }

    pub(super) fn accepted(&mut self, key: Key, reaped: Reaped) {
        let id = ListenerId(key.index);
        let (more, result) = (reaped.more, reaped.result);
        if let Some(descriptor) = reaped.into_connection() {
            self.counters.accepted += 1;
            self.done.push_back(Completion::Accepted {
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
        if listener.stopping {
            self.finish_listener(key);
        } else if result >= 0
            || result == -libc::ECANCELED
            || socket::concerns_one_connection(-result)
        {
            let interrupted = matches!(-result, libc::EINTR | libc::EAGAIN);
            self.counters.interruptions += u64::from(interrupted);
            listener.accept = Accept::Waiting;
            self.accepting.push_back(key);
        } else {
            self.counters.accept_failures += 1;
            self.done.push_back(Completion::AcceptFailed {
                listener: id,
                error: -result,
            });
        }
    }

    pub(super) fn finish_listener(&mut self, key: Key) {
        let listener = &self.listeners[key.index];
        if listener.stopping && listener.accept != Accept::Armed && listener.cancels == 0 {
            self.listeners.remove(key.index);
        }
    }
}
