//! The send half.

use std::os::fd::AsFd;

use super::Uring;
use super::state::Phase;
use crate::driver::slab::Key;
use crate::driver::socket;
use crate::uring::{Kind, Reaped, Sending, Token, Way};
use crate::{Completion, SocketId};

impl Uring {
    pub(super) fn start_send(&mut self, key: Key) {
        let socket = &mut self.sockets[key.index];
        let Some(descriptor) = &socket.descriptor else {
            return;
        };
        let token = Token {
            kind: Kind::Send,
            owner: key.to_bits(),
        };
        let (queue, pool) = (&mut self.queue, &mut self.pool);
        match socket
            .outbox
            .start(queue, pool, token, descriptor.as_fd(), self.now)
        {
            Way::Single => self.counters.single_sends += 1,
            Way::Vectored => self.counters.vectored_sends += 1,
            Way::Bundle { entries } => {
                self.counters.send_bundles += 1;
                self.counters.send_entries += entries as u64;
            }
        }
    }

    pub(super) fn sent(&mut self, key: Key, reaped: &Reaped) {
        self.counters.send_bytes += u64::try_from(reaped.result).unwrap_or(0);
        let socket = &mut self.sockets[key.index];
        let (queue, pool) = (&self.queue, &mut self.pool);
        let sending = socket
            .outbox
            .complete(reaped.result, reaped.more, queue, pool, self.now);
        let id = SocketId(key.index);
        match sending {
            Sending::InFlight => {}
            Sending::Next | Sending::Restart if socket.phase == Phase::Aborting => {
                socket.outbox.give_up(&self.queue, &mut self.pool);
                self.finish(key);
            }
            Sending::Next => self.start_send(key),
            Sending::Restart => {
                let interrupted = matches!(-reaped.result, libc::EINTR | libc::EAGAIN);
                self.counters.interruptions += u64::from(interrupted);
                self.counters.send_restarts += u64::from(!interrupted);
                self.start_send(key);
            }
            Sending::Done(bytes) if socket.phase == Phase::Open => {
                self.done.push(Completion::Sent { socket: id, bytes });
            }
            Sending::Failed(error) if socket.phase == Phase::Open => {
                socket.send_failed = true;
                self.counters.send_failures += 1;
                let error = error.unwrap_or_else(|| match &socket.descriptor {
                    Some(descriptor) => socket::pending_error(descriptor, libc::ECONNRESET),
                    None => libc::ECONNRESET,
                });
                self.done.push(Completion::SendFailed { socket: id, error });
            }
            Sending::Done(_) | Sending::Failed(_) => self.finish(key),
        }
    }
}
