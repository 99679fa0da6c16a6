//! The driver of io_uring: for each socket one receive over one group of buffers, and one send. How
//! both are made is a [`Preset`], and so are the drivers *bundle*, *ring* and *classic*.
//!
//! `complete` only reads completions, and `submit` only writes submissions, with one exception: a
//! completion queue that overflowed is flushed by `complete`, since its completions are older than
//! whatever `submit` would cause.

mod accept;
mod close;
mod receive;
mod send;
mod state;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, SockRef};

use self::accept::{Accept, Listener};
use self::state::{Phase, Receive, Socket};
use super::preset::{Preset, SendMode};
use super::slab::{Key, Slab};
use super::socket;
use crate::send::Pool;
use crate::uring::{Kind, Queue, Reaped, ReceiveBuffers, ReceiveMode, Token};
use crate::{
    BufferGroup, Chunk, ChunkPool, Completion, Counters, Driver, ListenerId, Options, SocketId,
};

pub(crate) struct Uring {
    queue: Queue,
    receive_buffers: ReceiveBuffers,
    buffers: BufferGroup,
    chunks: ChunkPool,
    pool: Pool,
    preset: Preset,
    sockets: Slab<Socket>,
    listeners: Slab<Listener>,
    /// Receives to arm at the next submit.
    fresh: VecDeque<Key>,
    /// Receives that wait for free buffers, served in turn.
    parked: VecDeque<Key>,
    /// Listeners whose accept is armed at the next submit.
    accepting: VecDeque<Key>,
    /// Copied out of the completion queue, not handled yet.
    reaped: VecDeque<Reaped>,
    /// Handled, not reported yet.
    done: Vec<Completion>,
    /// Reported as closed; their numbers are free from the next `complete` on, when everything that
    /// was reported beside them has been handled.
    closed: Vec<u32>,
    /// The time of the last submit or complete, to see how long sends take.
    now: Instant,
    counters: Counters,
}

/// The group number of the receive buffers; send rings have the numbers after it.
const RECEIVE_GROUP: u16 = 0;
/// How long `shutdown` waits for the kernel.
const SHUTDOWN_TIME: Duration = Duration::from_secs(1);

impl Uring {
    /// Makes the ring, the buffer group and what the kernel has to know of it.
    ///
    /// # Errors
    /// What the kernel says: see [`Queue::new`] and [`ReceiveBuffers::new`]. `Unsupported`, without
    /// a number: it has no bundles.
    pub(crate) fn new(options: &Options, preset: Preset) -> io::Result<Self> {
        let Preset { base, receive, .. } = preset;
        let mut queue = Queue::new(base, options)?;
        if !queue.has_fast_poll() {
            // As a kernel says that knows less.
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let bundles = preset.send == SendMode::Bundle || receive == ReceiveMode::Bundle;
        if bundles && !queue.has_bundles() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut buffers = BufferGroup::new(options.buffers, options.buffer_bytes)?;
        let mut receive_buffers =
            ReceiveBuffers::new(preset.group, &queue, RECEIVE_GROUP, &buffers)?;
        receive_buffers.publish(&mut queue, &mut buffers);
        let send_rings = match preset.send {
            SendMode::Bundle => options.send_rings,
            SendMode::Vectored => 0,
        };
        Ok(Self {
            queue,
            receive_buffers,
            buffers,
            chunks: ChunkPool::new(options.chunk_bytes as usize),
            pool: Pool::new(options.send_ring_entries, send_rings),
            preset,
            sockets: Slab::new(),
            listeners: Slab::new(),
            fresh: VecDeque::new(),
            parked: VecDeque::new(),
            accepting: VecDeque::new(),
            reaped: VecDeque::new(),
            done: Vec::new(),
            closed: Vec::new(),
            now: Instant::now(),
            counters: Counters::default(),
        })
    }

    fn handle(&mut self, reaped: Reaped) {
        let key = Key::from_bits(reaped.token.owner);
        match reaped.token.kind {
            Kind::Accept => self.accepted(key, reaped),
            Kind::CancelListener => self.accept_cancelled(key, reaped.result),
            Kind::Provide => {
                self.counters.provides += 1;
                let (owner, result) = (reaped.token.owner, reaped.result);
                if !self.receive_buffers.provided(owner, result) {
                    self.counters.provide_failures += 1;
                }
            }
            Kind::Sabotage => debug_assert!(false, "the queue keeps these for itself"),
            // Operations of a socket keep its place, so a completion always finds its socket.
            _ if !self.sockets.holds(key) => debug_assert!(false, "a completion of nobody"),
            Kind::Connect => self.connected(key, reaped.result),
            Kind::Poll => self.polled(key),
            Kind::Receive => self.received(key, &reaped),
            Kind::Send => self.sent(key, &reaped),
            Kind::CancelSocket => self.cancelled(key, reaped.result),
        }
    }

    fn connected(&mut self, key: Key, result: i32) {
        let id = SocketId(key.index);
        let socket = &mut self.sockets[key.index];
        socket.connecting = None;
        if socket.phase != Phase::Open {
            self.finish(key);
        } else if result < 0 {
            socket.receive = Receive::Ended;
            let error = -result;
            self.done
                .push(Completion::ConnectFailed { socket: id, error });
        } else {
            self.done.push(Completion::Connected { socket: id });
            self.want_receive(key, false);
        }
    }

    fn discard_done(&mut self, id: SocketId) {
        let buffers = &mut self.buffers;
        self.done.retain(|completion| match completion {
            Completion::Received { socket, buffer, .. } if *socket == id => {
                buffers.release(*buffer);
                false
            }
            Completion::Connected { socket }
            | Completion::ConnectFailed { socket, .. }
            | Completion::ReceiveEnded { socket, .. }
            | Completion::Sent { socket, .. }
            | Completion::SendFailed { socket, .. } => *socket != id,
            _ => true,
        });
    }

    /// Reports what is done, at most `max` of it; usually all, which moves none of it.
    fn report_done(&mut self, out: &mut Vec<Completion>, max: usize) {
        let reported = out.len();
        if reported == 0 && self.done.len() <= max {
            std::mem::swap(&mut self.done, out);
        } else {
            let count = self.done.len().min(max.saturating_sub(reported));
            out.extend(self.done.drain(..count));
        }
        for completion in &out[reported..] {
            if let Completion::Closed { socket } = completion {
                self.closed.push(socket.0);
            }
        }
    }

    /// Moves completions from the queue to `done`; false if there was none.
    fn reap(&mut self, most: usize) -> bool {
        let mut reaped = std::mem::take(&mut self.reaped);
        self.queue.reap(most, &mut reaped);
        let some = !reaped.is_empty();
        while let Some(completion) = reaped.pop_front() {
            self.handle(completion);
        }
        self.reaped = reaped;
        some
    }
}

impl Driver for Uring {
    fn name(&self) -> &'static str {
        self.preset.name
    }

    fn descriptor(&self) -> RawFd {
        self.queue.descriptor()
    }

    fn listen(&mut self, listener: OwnedFd) -> ListenerId {
        // Accepting waits in the kernel, but where another process has made the socket non-blocking:
        // there kernels may answer EAGAIN. Should this fail, accepting does too, and says so.
        let _ = SockRef::from(&listener).set_nonblocking(false);
        let listener = Listener {
            descriptor: listener,
            accept: Accept::Waiting,
            stopping: false,
            cancels: 0,
            starved: false,
            last_looks: accept::LAST_LOOKS,
        };
        let key = self.listeners.insert(listener);
        self.accepting.push_back(key);
        ListenerId(key.index)
    }

    fn stop_listening(&mut self, listener: ListenerId) {
        let Some(key) = self.listeners.key(listener.0) else {
            debug_assert!(false, "an unknown listener is stopped");
            return;
        };
        let tenant = &mut self.listeners[key.index];
        if std::mem::replace(&mut tenant.stopping, true) {
            return;
        }
        self.cancel_accept(key);
        self.finish_listener(key);
    }

    fn is_listening(&self) -> bool {
        !self.listeners.indices().is_empty()
    }

    fn retry_accept(&mut self, listener: ListenerId) {
        let Some(key) = self.listeners.key(listener.0) else {
            return;
        };
        let tenant = &mut self.listeners[key.index];
        if tenant.accept == Accept::Failed && !tenant.stopping {
            tenant.accept = Accept::Waiting;
            self.accepting.push_back(key);
        }
    }

    fn attach(&mut self, descriptor: OwnedFd) -> io::Result<SocketId> {
        socket::prepare(&descriptor)?;
        let mode = self.receive_mode(socket::is_unix(&descriptor));
        let key = self.sockets.insert(Socket::new(descriptor, mode));
        self.want_receive(key, false);
        Ok(SocketId(key.index))
    }

    fn connect(&mut self, descriptor: OwnedFd, address: SockAddr) -> io::Result<SocketId> {
        socket::prepare(&descriptor)?;
        let mode = self.receive_mode(address.domain() == Domain::UNIX);
        let key = self.sockets.insert(Socket::new(descriptor, mode));
        let tenant = &mut self.sockets[key.index];
        // Nothing is received before the connection stands.
        tenant.receive = Receive::Paused;
        let address = tenant.connecting.insert(Box::pin(address));
        if let Some(descriptor) = &tenant.descriptor {
            let token = Token {
                kind: Kind::Connect,
                owner: key.to_bits(),
            };
            self.queue.connect(token, descriptor.as_fd(), address);
        }
        Ok(SocketId(key.index))
    }

    fn pause(&mut self, socket: SocketId) {
        let Some(key) = self.sockets.key(socket.0) else {
            debug_assert!(false, "an unknown socket is paused");
            return;
        };
        let tenant = &mut self.sockets[key.index];
        match tenant.receive {
            Receive::Waiting => tenant.receive = Receive::Paused,
            Receive::Armed => self.cancel(key),
            Receive::Cancelling { .. } => tenant.receive = Receive::Cancelling { resume: false },
            Receive::Paused | Receive::Ended => {}
        }
    }

    fn resume(&mut self, socket: SocketId) {
        let Some(key) = self.sockets.key(socket.0) else {
            debug_assert!(false, "an unknown socket is resumed");
            return;
        };
        let tenant = &mut self.sockets[key.index];
        if tenant.phase != Phase::Open || tenant.connecting.is_some() {
            return;
        }
        match tenant.receive {
            Receive::Paused => self.want_receive(key, true),
            Receive::Cancelling { .. } => tenant.receive = Receive::Cancelling { resume: true },
            Receive::Waiting | Receive::Armed | Receive::Ended => {}
        }
    }

    fn send(&mut self, socket: SocketId, chunks: &mut VecDeque<Chunk>, count: usize) {
        let follows = chunks.len() > count;
        let taken = chunks.drain(..count);
        let key = self.sockets.key(socket.0);
        let Some(key) = key.filter(|key| self.sockets[key.index].phase == Phase::Open) else {
            debug_assert!(false, "a send on an unknown or closing socket");
            return;
        };
        let tenant = &mut self.sockets[key.index];
        if tenant.send_failed {
            self.done.push(Completion::SendFailed {
                socket,
                error: libc::EPIPE,
            });
        } else if tenant.outbox.load(taken, follows) {
            self.start_send(key);
        } else {
            self.done.push(Completion::Sent { socket, bytes: 0 });
        }
    }

    fn progress(&self, socket: SocketId) -> Option<u64> {
        socket::progress(self.sockets.get(socket.0)?.descriptor.as_ref()?)
    }

    fn finish_sending(&mut self, socket: SocketId) {
        let tenant = self.sockets.get(socket.0);
        if let Some(descriptor) = tenant.and_then(|tenant| tenant.descriptor.as_ref()) {
            socket::finish_sending(descriptor);
        }
    }

    fn close(&mut self, socket: SocketId) {
        let Some(key) = self.sockets.key(socket.0) else {
            debug_assert!(false, "an unknown socket is closed");
            return;
        };
        let tenant = &mut self.sockets[key.index];
        if tenant.phase != Phase::Open {
            return;
        }
        if tenant.connecting.is_some() {
            return self.abort(socket);
        }
        tenant.phase = Phase::Closing;
        // One that is being cancelled ends by itself.
        let armed = tenant.receive == Receive::Armed || tenant.polling;
        self.discard_done(socket);
        if armed {
            self.cancel(key);
        }
        self.finish(key);
    }

    fn abort(&mut self, socket: SocketId) {
        let Some(key) = self.sockets.key(socket.0) else {
            debug_assert!(false, "an unknown socket is aborted");
            return;
        };
        let tenant = &mut self.sockets[key.index];
        let Some(descriptor) = &tenant.descriptor else {
            return;
        };
        if tenant.phase == Phase::Aborting {
            return;
        }
        socket::reset_on_close(descriptor);
        tenant.phase = Phase::Aborting;
        self.discard_done(socket);
        self.cancel(key);
        self.finish(key);
    }

    fn release(&mut self, buffer: u16) {
        self.buffers.release(buffer);
    }

    fn buffers(&self) -> &BufferGroup {
        &self.buffers
    }

    fn submit(&mut self) -> io::Result<()> {
        self.now = Instant::now();
        self.receive_buffers
            .publish(&mut self.queue, &mut self.buffers);
        self.arm_accepts();
        self.arm_receives();
        self.queue.submit()
    }

    fn complete(&mut self, out: &mut Vec<Completion>, max: usize) -> bool {
        for index in self.closed.drain(..) {
            self.sockets.remove(index);
        }
        self.now = Instant::now();
        if self.queue.is_overflowing() {
            self.counters.completion_overflows += 1;
        }
        let room = max.saturating_sub(out.len());
        while self.done.len() < room {
            if !self.reap(room - self.done.len()) {
                if !self.queue.wants_flush() {
                    break;
                }
                self.queue.flush();
                if !self.queue.has_completions() {
                    break;
                }
            }
        }
        self.report_done(out, max);
        !self.done.is_empty() || self.queue.has_completions() || self.queue.wants_flush()
    }

    fn has_completions(&self) -> bool {
        let buffers = self.buffers.free() + self.buffers.returning() > 0;
        let waiting = !self.parked.is_empty() || !self.fresh.is_empty();
        !self.done.is_empty()
            || self.queue.has_completions()
            || self.queue.wants_flush()
            || self.queue.has_submissions()
            || (buffers && waiting)
    }

    fn chunks(&self) -> &ChunkPool {
        &self.chunks
    }

    fn counters(&self) -> Counters {
        let mut counters = self.counters;
        counters.enters = self.queue.enters;
        counters.interruptions += self.queue.interruptions;
        counters.leases = self.pool.leases;
        counters.lease_failures = self.pool.failures;
        counters
    }

    fn shutdown(&mut self) {
        for index in self.listeners.indices() {
            // Nobody is there any more to whom a connection could be given.
            self.listeners[index].last_looks = 0;
            self.stop_listening(ListenerId(index));
        }
        for index in self.sockets.indices() {
            if self.sockets[index].outbox.is_idle() {
                self.close(SocketId(index));
            } else {
                self.abort(SocketId(index));
            }
        }
        let deadline = Instant::now() + SHUTDOWN_TIME;
        while self.queue.in_flight() > 0 && Instant::now() < deadline {
            if self.queue.submit().is_err() {
                break;
            }
            self.queue.wait(Duration::from_millis(10));
            while self.reap(usize::MAX) {}
        }
        // Dropping what was never reported closes the accepted connections in it.
        self.done.clear();
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        if self.queue.in_flight() > 0 {
            self.shutdown();
        }
        if self.queue.in_flight() > 0 {
            // Closing the ring ends its operations some time later; until then the kernel may
            // write to the buffers. The outboxes leak what it may read by themselves.
            self.counters.leaked_regions += 1;
            self.receive_buffers.leak();
        }
    }
}
