//! Cancelling, and closing once nothing is in flight.

use super::Uring;
use super::state::{Phase, Receive};
use crate::driver::slab::Key;
use crate::driver::socket;
use crate::uring::{Kind, Token};
use crate::{Completion, SocketId};

impl Uring {
    /// Closes a socket that is to be closed, once nothing of it is in flight.
    pub(super) fn finish(&mut self, key: Key) {
        let socket = &mut self.sockets[key.index];
        if socket.phase == Phase::Open || socket.cancels > 0 {
            return;
        }
        if socket.is_held_up() || !socket.outbox.is_idle() {
            return;
        }
        let Some(descriptor) = socket.descriptor.take() else {
            return;
        };
        match socket.phase {
            Phase::Aborting => drop(descriptor),
            _ => socket::close(descriptor),
        }
        self.done.push(Completion::Closed {
            socket: SocketId(key.index),
        });
        self.feed_listeners();
    }

    /// Cancels the receive if there is one, and everything when aborting. The completion of what is
    /// cancelled may come after the cancel's.
    pub(super) fn cancel(&mut self, key: Key) {
        let socket = &mut self.sockets[key.index];
        let owner = key.to_bits();
        let token = Token {
            kind: Kind::CancelSocket,
            owner,
        };
        // A receive that is linked to a poll is not known to the kernel before that is over.
        let receive = match socket.polling {
            true => Kind::Poll,
            false => Kind::Receive,
        };
        let aborting = socket.phase == Phase::Aborting;
        let targets = [
            (receive, socket.receive.in_flight() || socket.polling),
            (Kind::Send, aborting && !socket.outbox.is_idle()),
            (Kind::Connect, aborting && socket.connecting.is_some()),
        ];
        for (kind, _) in targets.into_iter().filter(|(_, wanted)| *wanted) {
            self.queue.cancel(token, Token { kind, owner });
            socket.cancels += 1;
        }
        if socket.receive == Receive::Armed {
            socket.receive = Receive::Cancelling { resume: false };
        }
    }

    pub(super) fn cancelled(&mut self, key: Key, result: i32) {
        let socket = &mut self.sockets[key.index];
        socket.cancels -= 1;
        self.counters.missed_cancels += u64::from(result < 0);
        if socket.phase != Phase::Open {
            if result < 0 && socket.is_held_up() {
                // The cancel missed: the operation was being worked on just then. Once more.
                self.cancel(key);
            } else {
                self.finish(key);
            }
        } else if let (true, Receive::Cancelling { resume }) = (result < 0, socket.receive) {
            // The cancel missed: the receive was being worked on just then.
            socket.receive = Receive::Armed;
            if !resume {
                self.cancel(key);
            }
        }
    }
}
