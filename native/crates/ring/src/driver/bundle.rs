//! io_uring with bundles: one multishot receive per socket over one group of buffers, and one
//! bundled send per socket from a leased ring.
//!
//! `complete` only reads completions, and `submit` only writes submissions, with one exception: a
//! completion queue that overflowed is flushed by `complete`, since its completions are older than
//! whatever `submit` would cause.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, SockRef};

use super::slab::{Key, Slab};
use super::socket;
use crate::send::Pool;
use crate::uring::{Kind, Outbox, Queue, Reaped, ReceiveMode, ReceiveRing, Sending, Token, Way};
use crate::{
    BufferGroup, Chunk, ChunkPool, Completion, Counters, Driver, ListenerId, Options, SocketId,
};

pub(crate) struct Bundle {
    queue: Queue,
    receive_ring: ReceiveRing,
    buffers: BufferGroup,
    chunks: ChunkPool,
    pool: Pool,
    mode: ReceiveMode,
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
    done: VecDeque<Completion>,
    /// Reported as closed; their numbers are free from the next `complete` on, when everything that
    /// was reported beside them has been handled.
    closed: Vec<u32>,
    /// The time of the last submit or complete, to see how long sends take.
    now: Instant,
    counters: Counters,
}

struct Socket {
    descriptor: Option<OwnedFd>,
    mode: ReceiveMode,
    receive: Receive,
    /// It stands in `fresh` or `parked`.
    queued: bool,
    /// Its receive was armed before.
    armed_before: bool,
    /// Where the connect in flight goes to.
    connecting: Option<Pin<Box<SockAddr>>>,
    outbox: Outbox,
    /// The connection broke while sending.
    send_failed: bool,
    cancels: u32,
    phase: Phase,
}

/// The receive side of a socket.
///
/// ```text
///            submit              last completion
///  Waiting ─────────▶ Armed ─────────────────────▶ Waiting (or Ended)
///     ▲ │ pause         │ pause
///     │ ▼               ▼          last completion
///     │ Paused ◀──── Cancelling ─────────────────▶ Paused (Waiting, if resumed meanwhile)
///     └───┘ resume
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receive {
    Waiting,
    Armed,
    Cancelling { resume: bool },
    Paused,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The send in flight finishes, then the end is sent.
    Closing,
    /// Everything is cancelled, then the connection is reset.
    Aborting,
}

struct Listener {
    descriptor: OwnedFd,
    accept: Accept,
    stopping: bool,
    cancels: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accept {
    /// It stands in `accepting`.
    Waiting,
    Armed,
    Failed,
}

/// The group number of the receive buffers; send rings have the numbers after it.
const RECEIVE_GROUP: u16 = 0;
/// How long `shutdown` waits for the kernel.
const SHUTDOWN_TIME: Duration = Duration::from_secs(1);

impl Socket {
    fn new(descriptor: OwnedFd, mode: ReceiveMode) -> Self {
        Self {
            descriptor: Some(descriptor),
            mode,
            receive: Receive::Waiting,
            queued: false,
            armed_before: false,
            connecting: None,
            outbox: Outbox::default(),
            send_failed: false,
            cancels: 0,
            phase: Phase::Open,
        }
    }
}

impl Receive {
    fn in_flight(self) -> bool {
        matches!(self, Self::Armed | Self::Cancelling { .. })
    }
}

impl Bundle {
    /// Makes the ring, the buffer group and its registration.
    ///
    /// # Errors
    /// What the kernel says: see [`Queue::new`] and [`ReceiveRing::register`]. `Unsupported`,
    /// without a number: the kernel has no bundles.
    pub(crate) fn new(options: &Options, mode: ReceiveMode) -> io::Result<Self> {
        let queue = Queue::new(options.submission_entries, options.completion_entries)?;
        if !queue.has_bundles() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut buffers = BufferGroup::new(options.buffers, options.buffer_bytes)?;
        let mut receive_ring = ReceiveRing::register(&queue, RECEIVE_GROUP, &buffers)?;
        receive_ring.publish(&mut buffers);
        Ok(Self {
            queue,
            receive_ring,
            buffers,
            chunks: ChunkPool::new(options.chunk_bytes as usize),
            pool: Pool::new(options.send_ring_entries, options.send_rings),
            mode,
            sockets: Slab::new(),
            listeners: Slab::new(),
            fresh: VecDeque::new(),
            parked: VecDeque::new(),
            accepting: VecDeque::new(),
            reaped: VecDeque::new(),
            done: VecDeque::new(),
            closed: Vec::new(),
            now: Instant::now(),
            counters: Counters::default(),
        })
    }

    fn want_receive(&mut self, key: Key, short_of_buffers: bool) {
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
    fn arm(&mut self, key: Key) {
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
        let group = self.receive_ring.group();
        self.queue
            .receive(token, descriptor.as_fd(), &group, socket.mode);
        socket.receive = Receive::Armed;
        if std::mem::replace(&mut socket.armed_before, true) {
            self.counters.rearms += 1;
        }
    }

    /// Arms what may be armed. A receive on an empty group fails at once, so there have to be free
    /// buffers; and those that had to wait for them are let go in turn, a few at a time.
    fn arm_receives(&mut self) {
        let free = self.buffers.free() as usize;
        if free == 0 {
            self.counters.parked += self.fresh.len() as u64;
            self.parked.append(&mut self.fresh);
            return;
        }
        for _ in 0..self.parked.len().min((free / 4).max(1)) {
            if let Some(key) = self.parked.pop_front() {
                self.arm(key);
            }
        }
        while let Some(key) = self.fresh.pop_front() {
            self.arm(key);
        }
    }

    fn arm_accepts(&mut self) {
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

    fn start_send(&mut self, key: Key) {
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

    fn handle(&mut self, reaped: Reaped) {
        let key = Key::from_bits(reaped.token.owner);
        match reaped.token.kind {
            Kind::Accept => self.accepted(key, reaped),
            Kind::CancelListener => {
                self.listeners[key.index].cancels -= 1;
                self.finish_listener(key);
            }
            // Operations of a socket keep its place, so a completion always finds its socket.
            _ if !self.sockets.holds(key) => debug_assert!(false, "a completion of nobody"),
            Kind::Connect => self.connected(key, reaped.result),
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
                .push_back(Completion::ConnectFailed { socket: id, error });
        } else {
            self.done.push_back(Completion::Connected { socket: id });
            self.want_receive(key, false);
        }
    }

    fn received(&mut self, key: Key, reaped: &Reaped) {
        if let (Ok(length @ 1..), Some(first)) = (u32::try_from(reaped.result), reaped.buffer) {
            self.take_buffers(key, first, length);
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
                self.done.push_back(Completion::ReceiveEnded {
                    socket: id,
                    error: 0,
                });
                return;
            }
            libc::ENOBUFS => {
                self.counters.enobufs += 1;
                true
            }
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => false,
            error => {
                socket.receive = Receive::Ended;
                self.done
                    .push_back(Completion::ReceiveEnded { socket: id, error });
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
    fn take_buffers(&mut self, key: Key, first: u16, length: u32) {
        let id = SocketId(key.index);
        let phase = self.sockets[key.index].phase;
        self.counters.receives += 1;
        self.counters.receive_bytes += u64::from(length);
        let mut left = length;
        let mut buffer = first;
        while left > 0 {
            if self.buffers.take(buffer).is_err() {
                // The kernel named a buffer that it did not have. What it wrote, nobody knows.
                debug_assert!(false, "buffer {buffer} was filled and is not free");
                self.done.push_back(Completion::ReceiveEnded {
                    socket: id,
                    error: libc::EIO,
                });
                return;
            }
            let filled = left.min(self.buffers.buffer_bytes());
            self.counters.receive_buffers += 1;
            if phase == Phase::Open {
                self.done.push_back(Completion::Received {
                    socket: id,
                    buffer,
                    length: filled,
                });
            } else {
                self.buffers.release(buffer);
            }
            left -= filled;
            buffer = self.buffers.successor(buffer);
        }
    }

    fn sent(&mut self, key: Key, reaped: &Reaped) {
        self.counters.send_bytes += u64::try_from(reaped.result).unwrap_or(0);
        let socket = &mut self.sockets[key.index];
        let (queue, pool) = (&self.queue, &mut self.pool);
        let sending = socket
            .outbox
            .complete(reaped.result, reaped.more, queue, pool, self.now);
        let id = SocketId(key.index);
        match sending {
            Sending::InFlight => {}
            Sending::Restart if socket.phase == Phase::Aborting => {
                socket.outbox.give_up(&self.queue, &mut self.pool);
                self.finish(key);
            }
            Sending::Restart => self.start_send(key),
            Sending::Done(bytes) if socket.phase == Phase::Open => {
                self.done.push_back(Completion::Sent { socket: id, bytes });
            }
            Sending::Failed(error) if socket.phase == Phase::Open => {
                socket.send_failed = true;
                self.counters.send_failures += 1;
                let error = error.unwrap_or_else(|| match &socket.descriptor {
                    Some(descriptor) => socket::pending_error(descriptor, libc::ECONNRESET),
                    None => libc::ECONNRESET,
                });
                self.done
                    .push_back(Completion::SendFailed { socket: id, error });
            }
            Sending::Done(_) | Sending::Failed(_) => self.finish(key),
        }
    }

    fn accepted(&mut self, key: Key, reaped: Reaped) {
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

    fn finish_listener(&mut self, key: Key) {
        let listener = &self.listeners[key.index];
        if listener.stopping && listener.accept != Accept::Armed && listener.cancels == 0 {
            self.listeners.remove(key.index);
        }
    }

    /// Closes a socket that is to be closed, once nothing of it is in flight.
    fn finish(&mut self, key: Key) {
        let socket = &mut self.sockets[key.index];
        if socket.phase == Phase::Open || socket.cancels > 0 {
            return;
        }
        let sending = !socket.outbox.is_idle();
        if socket.receive.in_flight()
            || socket.connecting.is_some()
            || (sending && socket.phase == Phase::Aborting)
        {
            // The cancel missed: the operation was being worked on just then. Once more.
            self.cancel(key);
            return;
        }
        if sending {
            return;
        }
        let Some(descriptor) = socket.descriptor.take() else {
            return;
        };
        match socket.phase {
            Phase::Aborting => drop(descriptor),
            _ => socket::close(descriptor),
        }
        self.done.push_back(Completion::Closed {
            socket: SocketId(key.index),
        });
        for index in self.listeners.indices() {
            if self.listeners[index].accept == Accept::Failed {
                self.retry_accept(ListenerId(index));
            }
        }
    }

    /// Cancels the receive, or everything when aborting.
    fn cancel(&mut self, key: Key) {
        let socket = &mut self.sockets[key.index];
        let Some(descriptor) = &socket.descriptor else {
            return;
        };
        let token = Token {
            kind: Kind::CancelSocket,
            owner: key.to_bits(),
        };
        if socket.phase == Phase::Aborting {
            self.queue.cancel_all(token, descriptor.as_fd());
        } else {
            let target = Token {
                kind: Kind::Receive,
                owner: key.to_bits(),
            };
            self.queue.cancel(token, target);
        }
        socket.cancels += 1;
        if socket.receive == Receive::Armed {
            socket.receive = Receive::Cancelling { resume: false };
        }
    }

    fn cancelled(&mut self, key: Key, result: i32) {
        let socket = &mut self.sockets[key.index];
        socket.cancels -= 1;
        if socket.phase != Phase::Open {
            self.finish(key);
        } else if let (true, Receive::Cancelling { resume }) = (result < 0, socket.receive) {
            // The cancel missed: the receive was being worked on just then.
            socket.receive = Receive::Armed;
            if !resume {
                self.cancel(key);
            }
        }
    }

    /// Drops what was not reported of a socket that is being closed.
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

    fn report_done(&mut self, out: &mut Vec<Completion>, max: usize) {
        while out.len() < max {
            let Some(completion) = self.done.pop_front() else {
                break;
            };
            if let Completion::Closed { socket } = completion {
                self.closed.push(socket.0);
            }
            out.push(completion);
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

impl Driver for Bundle {
    fn name(&self) -> &'static str {
        "bundle"
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
        if tenant.accept == Accept::Armed {
            tenant.cancels += 1;
            let target = Token {
                kind: Kind::Accept,
                owner: key.to_bits(),
            };
            let token = Token {
                kind: Kind::CancelListener,
                owner: key.to_bits(),
            };
            self.queue.cancel(token, target);
        }
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
        // A multishot receive may miss the end of a Unix socket's stream (before 7.0 and its
        // backports), so there it is armed anew each time.
        let mode = if socket::is_unix(&descriptor) {
            ReceiveMode::Single
        } else {
            self.mode
        };
        let key = self.sockets.insert(Socket::new(descriptor, mode));
        self.want_receive(key, false);
        Ok(SocketId(key.index))
    }

    fn connect(&mut self, descriptor: OwnedFd, address: SockAddr) -> io::Result<SocketId> {
        socket::prepare(&descriptor)?;
        let mode = if address.domain() == Domain::UNIX {
            ReceiveMode::Single
        } else {
            self.mode
        };
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
        let taken = chunks.drain(..count);
        let key = self.sockets.key(socket.0);
        let Some(key) = key.filter(|key| self.sockets[key.index].phase == Phase::Open) else {
            debug_assert!(false, "a send on an unknown or closing socket");
            return;
        };
        let tenant = &mut self.sockets[key.index];
        if tenant.send_failed {
            self.done.push_back(Completion::SendFailed {
                socket,
                error: libc::EPIPE,
            });
        } else if tenant.outbox.load(taken) {
            self.start_send(key);
        } else {
            self.done.push_back(Completion::Sent { socket, bytes: 0 });
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
        let armed = tenant.receive == Receive::Armed;
        self.discard_done(socket);
        if armed {
            self.cancel(key);
        } else {
            self.finish(key);
        }
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
        self.receive_ring.publish(&mut self.buffers);
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
        loop {
            self.report_done(out, max);
            if out.len() >= max {
                break;
            }
            if !self.reap(max - out.len()) {
                if !self.queue.wants_flush() {
                    break;
                }
                self.queue.flush();
                if !self.queue.has_completions() {
                    break;
                }
            }
        }
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
        counters.leases = self.pool.leases;
        counters.lease_failures = self.pool.failures;
        counters
    }

    fn shutdown(&mut self) {
        for index in self.listeners.indices() {
            self.stop_listening(ListenerId(index));
        }
        for index in self.sockets.indices() {
            self.abort(SocketId(index));
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

impl Drop for Bundle {
    fn drop(&mut self) {
        if self.queue.in_flight() > 0 {
            self.shutdown();
        }
        if self.queue.in_flight() > 0 {
            // Closing the ring ends its operations some time later; until then the kernel may
            // write to the buffers. The outboxes leak what it may read by themselves.
            self.counters.leaked_regions += 1;
            self.receive_ring.leak();
        }
    }
}
