//! What one connection sends: at most one send in flight, and the chunks it reads from.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use io_uring::opcode;
use io_uring::types::Fd;

use super::buffer_ring::BufferRing;
use super::queue::{Base, Queue, Token};
use crate::Chunk;
use crate::send::{Account, Outcome, Pool};

/// A peer whose send took longer than this is slow to read.
const SLOW: Duration = Duration::from_secs(1);
/// Slices of one vectored send.
const SLICES: usize = 64;
/// The largest chunk.
const CHUNK_BYTES: usize = 1 << 30;

/// `MSG_WAITALL`: the kernel goes on by itself after a full socket buffer, so that a short result
/// means a broken connection. Kernels before 5.19 end there; then what is left is sent again.
///
/// `MSG_MORE` where another send follows: a last segment that is not full waits for it.
fn flags(base: Base, follows: bool) -> i32 {
    let goes_on = match base {
        Base::Linux6_0 => libc::MSG_WAITALL,
        Base::Linux5_7 => 0,
    };
    let more = if follows { libc::MSG_MORE } else { 0 };
    libc::MSG_NOSIGNAL | goes_on | more
}

/// How a send was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Single,
    Bundle { entries: usize },
    Vectored,
}

/// Where the outbox is after a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    /// A send is in flight.
    InFlight,
    /// It has to be started with [`Outbox::start`] once more, for the next entries.
    Next,
    /// The kernel ended it early; it has to be started once more, for what is left of it.
    Restart,
    /// Everything has left: so many bytes.
    Done(u64),
    /// The connection is broken. `None`: the kernel gave no number.
    Failed(Option<i32>),
}

#[derive(Default)]
pub(crate) struct Outbox {
    /// What has not left, oldest first; one for each entry of the account.
    chunks: VecDeque<Chunk>,
    account: Account,
    /// Bytes of the whole load.
    bytes: u64,
    /// Another load follows at once.
    follows: bool,
    flight: Option<Flight>,
    started: Option<Instant>,
    slow_peer: bool,
}

/// The send in flight and what it needs besides the chunks.
enum Flight {
    Single,
    Bundle(BufferRing),
    /// The kernel copies the header and the slices when it prepares the send, which may be after
    /// the system call that submits it; they stay until the completion.
    Vectored {
        message: Box<Message>,
    },
}

/// What a vectored send reads its slices from.
pub(crate) struct Message {
    header: libc::msghdr,
    slices: [libc::iovec; SLICES],
}

impl Outbox {
    /// Whether nothing is in flight and nothing waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.flight.is_none() && self.chunks.is_empty()
    }

    /// Takes chunks in, which another load `follows` at once; empty ones are dropped. Returns whether
    /// there is something to send.
    pub(crate) fn load(&mut self, chunks: impl Iterator<Item = Chunk>, follows: bool) -> bool {
        assert!(self.is_idle(), "a send is in flight");
        self.bytes = 0;
        self.follows = follows;
        for chunk in chunks {
            // A result counts bytes in an i32, and the kernel sends less than 2 GiB at once.
            assert!(chunk.len() <= CHUNK_BYTES, "a chunk is at most 1 GiB");
            if !chunk.is_empty() {
                self.bytes += chunk.len() as u64;
                self.account.push(chunk.len() as u32);
                self.chunks.push_back(chunk);
            }
        }
        !self.chunks.is_empty()
    }

    /// Starts the send of what is committed, or commits the next entries first.
    pub(crate) fn start(
        &mut self,
        queue: &mut Queue,
        pool: &mut Pool,
        token: Token,
        socket: BorrowedFd<'_>,
        now: Instant,
    ) -> Way {
        let socket = Fd(socket.as_raw_fd());
        self.started.get_or_insert(now);
        match self.flight.take() {
            Some(Flight::Bundle(ring)) => {
                self.push_bundle(queue, token, socket, ring);
                return Way::Bundle { entries: 0 };
            }
            Some(Flight::Vectored { message }) => pool.give_back_message(message),
            Some(Flight::Single) | None => {}
        }
        // What is committed by now was left over by a send without a ring.
        let left_over = self.account.committed();
        if left_over + self.account.waiting() == 1 {
            if left_over == 0 {
                self.account.commit(1);
            }
            let flags = flags(queue.base(), self.more());
            let bytes = &self.chunks[0].as_slice()[self.account.offset()..];
            let length = queue.shorten(bytes.len()) as u32;
            let entry = opcode::Send::new(socket, bytes.as_ptr(), length).flags(flags);
            // The chunk stays in `chunks`, unmoved and unchanged, until `complete` drops it.
            queue.push(token, entry.build());
            self.flight = Some(Flight::Single);
            return Way::Single;
        }
        let leased = (left_over == 0).then(|| pool.lease(queue, self.slow_peer));
        if let Some(mut ring) = leased.flatten() {
            let entries = self.account.commit(pool.entries());
            for (number, chunk) in self.chunks.iter().take(entries).enumerate() {
                let bytes = chunk.as_slice();
                // SAFETY: the chunk stays in `chunks`, unmoved and unchanged, until `complete`
                // drops it. The ring was empty and has room for what is committed.
                unsafe { ring.add(bytes.as_ptr(), bytes.len() as u32, number as u16) };
            }
            ring.publish();
            self.push_bundle(queue, token, socket, ring);
            return Way::Bundle { entries };
        }
        let entries = match left_over {
            0 => self.account.commit(SLICES),
            left_over => left_over,
        };
        let mut message = pool.message();
        message.fill(self.chunks.iter().take(entries), self.account.offset());
        message.truncate(queue.shorten(entries));
        let header = &raw const message.header;
        // The message is boxed and stays in `flight`, and the chunks in `chunks`, until `complete`
        // drops them.
        let flags = flags(queue.base(), self.more());
        let entry = opcode::SendMsg::new(socket, header).flags(flags as u32);
        queue.push(token, entry.build());
        self.flight = Some(Flight::Vectored { message });
        Way::Vectored
    }

    /// Whether the last segment is to wait for the next load. Not between the parts of one load: those are
    /// large, and holding their ends back was measured to cost a fifth of the rate with messages of 64 KiB.
    fn more(&self) -> bool {
        self.follows && self.account.waiting() == 0
    }

    fn push_bundle(&mut self, queue: &mut Queue, token: Token, socket: Fd, ring: BufferRing) {
        let flags = flags(queue.base(), self.more());
        let entry = opcode::SendBundle::new(socket, ring.group()).flags(flags);
        queue.push_from_ring(token, entry.build());
        self.flight = Some(Flight::Bundle(ring));
    }

    /// Books a completion of the send in flight.
    pub(crate) fn complete(
        &mut self,
        result: i32,
        more: bool,
        queue: &Queue,
        pool: &mut Pool,
        now: Instant,
    ) -> Sending {
        let ring = matches!(self.flight, Some(Flight::Bundle(_)));
        let (left, outcome) = self.account.complete(result, more, ring);
        self.chunks.drain(..left);
        match outcome {
            Outcome::Wait => return Sending::InFlight,
            Outcome::Again => return Sending::Restart,
            Outcome::Drained => match self.flight.take() {
                Some(Flight::Bundle(ring)) => pool.give_back(ring),
                Some(Flight::Vectored { message }) => pool.give_back_message(message),
                Some(Flight::Single) | None => {}
            },
            Outcome::Broken(error) => {
                self.give_up(queue, pool);
                return Sending::Failed(error);
            }
        }
        if !self.chunks.is_empty() {
            return Sending::Next;
        }
        let started = self.started.take().unwrap_or(now);
        self.slow_peer = now.duration_since(started) > SLOW;
        Sending::Done(self.bytes)
    }
}

impl Outbox {
    /// Forgets what waits, when the last completion of the send in flight was reaped.
    pub(crate) fn give_up(&mut self, queue: &Queue, pool: &mut Pool) {
        match self.flight.take() {
            Some(Flight::Bundle(ring)) => pool.give_back_unclear(queue, ring),
            Some(Flight::Vectored { message }) => pool.give_back_message(message),
            Some(Flight::Single) | None => {}
        }
        self.chunks.clear();
        self.account.clear();
        self.started = None;
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        // The driver reaps before it drops an outbox. If the kernel did not answer in time, it may
        // still read from this memory, so it is never given back.
        if let Some(flight) = self.flight.take() {
            std::mem::forget(flight);
            std::mem::forget(std::mem::take(&mut self.chunks));
        }
    }
}

impl Default for Message {
    fn default() -> Self {
        let empty = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        // SAFETY: a msghdr of zeros is a valid one without name, slices and control data.
        let header = unsafe { std::mem::zeroed::<libc::msghdr>() };
        Self {
            header,
            slices: [empty; SLICES],
        }
    }
}

impl Message {
    /// Points at the chunks' bytes, of the first one from `offset` on.
    fn fill<'a>(&mut self, chunks: impl Iterator<Item = &'a Chunk>, offset: usize) {
        let mut count = 0;
        let mut skipped = offset;
        for (slice, chunk) in self.slices.iter_mut().zip(chunks) {
            let bytes = &chunk.as_slice()[std::mem::take(&mut skipped)..];
            slice.iov_base = bytes.as_ptr().cast_mut().cast();
            slice.iov_len = bytes.len();
            count += 1;
        }
        self.header.msg_iov = (&raw mut self.slices).cast();
        self.header.msg_iovlen = count;
    }

    /// Leaves `slices` of them.
    fn truncate(&mut self, slices: usize) {
        self.header.msg_iovlen = self.header.msg_iovlen.min(slices as _);
    }
}
