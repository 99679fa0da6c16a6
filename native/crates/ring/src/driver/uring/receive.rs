//! The receive half: arming, and taking what was filled.

use std::os::fd::AsFd;

use super::Uring;
use super::state::{Phase, Receive};
use crate::buffer::NotFree;
use crate::driver::slab::Key;
use crate::uring::{Kind, Reaped, ReceiveMode, Token};
use crate::{Completion, SocketId};

impl Uring {
    /// How a socket receives. A multishot receive may miss the end of a Unix socket's stream
    /// (before 7.0 and its backports), so there it is armed anew each time.
    pub(super) fn receive_mode(&self, is_unix: bool) -> ReceiveMode {
        match self.preset.receive {
            ReceiveMode::Bundle | ReceiveMode::Multishot if is_unix => ReceiveMode::Single,
            mode => mode,
        }
    }

    pub(super) fn want_receive(&mut self, key: Key, short_of_buffers: bool) {
        let socket = &mut self.sockets[key.index];
        socket.receive = Receive::Waiting;
        if !socket.queued {
            socket.queued = true;
            if short_of_buffers {
                self.counters.parked += 1;
                self.parked.push_back(key);
            } else {
                self.fresh.push_back(key);
            }
        }
    }

    /// Arms the receive of a socket that left a queue.
    pub(super) fn arm(&mut self, key: Key) {
        if !self.sockets.holds(key) {
            return;
        }
        let socket = &mut self.sockets[key.index];
        socket.queued = false;
        if socket.receive != Receive::Waiting || socket.phase != Phase::Open {
            return;
        }
        let Some(descriptor) = &socket.descriptor else {
            return;
        };
        let token = Token {
            kind: Kind::Receive,
            owner: key.to_bits(),
        };
        if socket.polling {
            // The poll of the receive before is not over; `polled` comes back to this.
            return;
        }
        let group = self.receive_buffers.group();
        let buffer_bytes = self.buffers.buffer_bytes();
        self.queue
            .receive(token, descriptor.as_fd(), &group, socket.mode, buffer_bytes);
        socket.receive = Receive::Armed;
        socket.polling = socket.mode == ReceiveMode::Polled;
        if std::mem::replace(&mut socket.armed_before, true) {
            self.counters.rearms += 1;
        }
    }

    /// Arms what may be armed. A receive on an empty group fails at once, so there have to be free
    /// buffers; and those that had to wait for them are let go in turn, as far as there is one for
    /// each that they are likely to fill. One bundle may fill them all, and who comes after it ends
    /// for nothing.
    pub(super) fn arm_receives(&mut self) {
        let free = self.buffers.free();
        if free == 0 {
            self.counters.parked += self.fresh.len() as u64;
            self.parked.append(&mut self.fresh);
            return;
        }
        let mut room = free;
        while let Some(&key) = self.parked.front() {
            let likely = match self.sockets.get(key.index) {
                Some(socket) => socket.filled.max(FILLED_LEAST),
                None => 0,
            };
            if room < free && room < likely {
                break;
            }
            room = room.saturating_sub(likely);
            self.parked.pop_front();
            self.arm(key);
        }
        while let Some(key) = self.fresh.pop_front() {
            self.arm(key);
        }
    }

    /// A poll is over; the receive that is linked to it was made, or cancelled with it.
    pub(super) fn polled(&mut self, key: Key) {
        let socket = &mut self.sockets[key.index];
        socket.polling = false;
        if socket.phase != Phase::Open {
            self.finish(key);
        } else if socket.receive == Receive::Waiting {
            self.want_receive(key, false);
        }
    }

    pub(super) fn received(&mut self, key: Key, reaped: &Reaped) {
        match (u32::try_from(reaped.result), reaped.buffer) {
            (Ok(length @ 1..), Some(first)) => self.take_buffers(key, first, length),
            // What the kernel names it has taken out of the group, whether it filled it or not.
            (_, Some(buffer)) if self.buffers.take(buffer).is_ok() => {
                self.counters.empty_buffers += 1;
                self.buffers.release(buffer);
            }
            _ => {}
        }
        if reaped.more {
            return;
        }
        let id = SocketId(key.index);
        let socket = &mut self.sockets[key.index];
        let before = socket.receive;
        socket.receive = Receive::Paused;
        if socket.phase != Phase::Open {
            self.finish(key);
            return;
        }
        let short_of_buffers = match -reaped.result {
            // It ended between completions: overflow, or a bundle that emptied the group.
            ..0 => self.buffers.free() == 0,
            0 => {
                socket.receive = Receive::Ended;
                self.done.push(Completion::ReceiveEnded {
                    socket: id,
                    error: 0,
                });
                return;
            }
            libc::ENOBUFS => {
                self.counters.enobufs += 1;
                true
            }
            libc::ECANCELED => false,
            libc::EINTR | libc::EAGAIN => {
                self.counters.interruptions += 1;
                false
            }
            error => {
                socket.receive = Receive::Ended;
                self.done
                    .push(Completion::ReceiveEnded { socket: id, error });
                return;
            }
        };
        match before {
            Receive::Cancelling { resume: false } => {}
            Receive::Cancelling { resume: true } => self.want_receive(key, true),
            _ => self.want_receive(key, short_of_buffers),
        }
    }

    /// Takes the buffers that a completion filled: `length` bytes from `first` on, in the order in
    /// which they were published.
    pub(super) fn take_buffers(&mut self, key: Key, first: u16, length: u32) {
        let id = SocketId(key.index);
        let (done, counters) = (&mut self.done, &mut self.counters);
        counters.receives += 1;
        counters.receive_bytes += u64::from(length);
        let (mut neighbour, mut shuffled, mut filled) = (first, false, 0);
        let taken = self.buffers.take_filled(first, length, |buffer, length| {
            filled += 1;
            shuffled |= buffer != neighbour;
            neighbour = buffer.wrapping_add(1);
            done.push(Completion::Received {
                socket: id,
                buffer,
                length,
            });
        });
        counters.receive_buffers += u64::from(filled);
        counters.receive_bundles += u64::from(length > self.buffers.buffer_bytes());
        counters.shuffled_bundles += u64::from(shuffled);
        if let Err(NotFree(buffer)) = taken {
            // The kernel named a buffer that it did not have. What it wrote, nobody knows.
            debug_assert!(false, "buffer {buffer} was filled and is not free");
            self.done.push(Completion::ReceiveEnded {
                socket: id,
                error: libc::EIO,
            });
        }
        let socket = &mut self.sockets[key.index];
        socket.filled = filled.max(socket.filled / 2);
        if socket.phase != Phase::Open {
            self.discard_done(id);
        }
    }
}

/// Buffers that a receive is taken to fill at least: it goes on with what comes meanwhile.
const FILLED_LEAST: u32 = 4;
