//! Readiness and non-blocking calls: runs on any Unix, with io_uring or without.
//!
//! Readiness is edge triggered, so it is told once. Whatever is put off, for fairness or because no
//! buffer is free, is remembered in `work` or `parked` and not forgotten until the socket said that
//! it has nothing more.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::{SockAddr, SockRef, Socket as Listening};

use super::slab::{Key, Slab};
use super::{completion_socket, socket};
use crate::buffer::VECTOR;
use crate::fault::{Attempt, Saboteur};
use crate::{
    BufferGroup, Chunk, ChunkPool, Completion, Counters, Driver, ListenerId, Options, SocketId,
};

pub(crate) struct Portable {
    poll: Poll,
    events: Events,
    buffers: BufferGroup,
    chunks: ChunkPool,
    sockets: Slab<Socket>,
    listeners: Slab<Listener>,
    /// What was ready and is not drained, served in turn.
    work: VecDeque<Work>,
    /// Sockets that wait for a free buffer, served in turn.
    parked: VecDeque<Key>,
    /// Completions made outside `complete`.
    done: VecDeque<Completion>,
    /// Reported as closed; their numbers are free from the next `complete` on, when everything that
    /// was reported beside them has been handled.
    closed: Vec<u32>,
    counters: Counters,
    saboteur: Saboteur,
}

struct Socket {
    descriptor: Option<OwnedFd>,
    /// Bytes, the end or an error may be waiting: an edge was seen and nothing said otherwise.
    readable: bool,
    /// The edge said that the end is near; a short read no longer means drained.
    read_closed: bool,
    /// A short read means that the socket is drained.
    short_means_drained: bool,
    receive: Receive,
    /// It stands in `work` or `parked`.
    queued: bool,
    outgoing: Outgoing,
    closing: bool,
    /// The connection does not stand yet: writability or an error says more.
    connecting: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Receive {
    Open,
    Paused,
    Ended,
}

/// The send in flight.
#[derive(Default)]
pub(super) struct Outgoing {
    pub(super) chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that have left.
    pub(super) offset: usize,
    bytes: u64,
    active: bool,
    failed: bool,
}

struct Listener {
    listening: Listening,
    queued: bool,
    /// Accepting stopped for an error.
    failed: bool,
}

#[derive(Clone, Copy)]
enum Work {
    Receive(Key),
    Accept(Key),
}

/// Bytes received from one socket before the next one has its turn.
const ROUND_BYTES: usize = 256 * 1024;
/// Connections accepted before the next one has its turn.
const ROUND_CONNECTIONS: usize = 64;
/// Slices of one vectored send.
const SLICES: usize = 64;
/// Marks the token of a listener.
const LISTENER: u64 = 1 << 63;

#[cfg(any(target_os = "linux", target_os = "android"))]
const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const SEND_FLAGS: i32 = 0;

impl Portable {
    pub(crate) fn new(options: &Options) -> io::Result<Self> {
        let mut buffers = BufferGroup::new(options.buffers, options.buffer_bytes)?;
        buffers.publish(|_, _| {});
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            buffers,
            chunks: ChunkPool::new(options.chunk_bytes as usize),
            sockets: Slab::new(),
            listeners: Slab::new(),
            work: VecDeque::new(),
            parked: VecDeque::new(),
            done: VecDeque::new(),
            closed: Vec::new(),
            counters: Counters::default(),
            saboteur: Saboteur::new(options),
        })
    }

    /// Collects readiness and lets sends go on that waited for it.
    fn poll_readiness(&mut self) {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        self.counters.enters += 1;
        if self.poll.poll(&mut events, Some(Duration::ZERO)).is_err() {
            // Interrupted: the edges are kept for the next time.
            events.clear();
        }
        for event in &events {
            let bits = event.token().0 as u64;
            let key = Key::from_bits(bits);
            if bits & LISTENER != 0 {
                if self.listeners.holds(key) {
                    self.queue_accept(key);
                }
                continue;
            }
            if !self.sockets.holds(key) {
                continue;
            }
            if self.sockets[key.index].connecting
                && (event.is_writable() || event.is_write_closed() || event.is_error())
            {
                self.advance_connect(key);
            }
            let socket = &mut self.sockets[key.index];
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                socket.readable = true;
                socket.read_closed |= event.is_read_closed() || event.is_error();
                self.queue_receive(key);
            }
            if event.is_writable() || event.is_write_closed() || event.is_error() {
                self.advance_send(key.index);
            }
        }
        self.events = events;
    }

    fn queue_receive(&mut self, key: Key) {
        let socket = &mut self.sockets[key.index];
        let wants = socket.readable && socket.receive == Receive::Open;
        if wants && !socket.queued && !socket.closing && !socket.connecting {
            socket.queued = true;
            self.work.push_back(Work::Receive(key));
        }
    }

    fn queue_accept(&mut self, key: Key) {
        let listener = &mut self.listeners[key.index];
        if !listener.queued && !listener.failed {
            listener.queued = true;
            self.work.push_back(Work::Accept(key));
        }
    }

    /// Looks whether a connection stands by now.
    fn advance_connect(&mut self, key: Key) {
        let socket = &mut self.sockets[key.index];
        let Some(descriptor) = &socket.descriptor else {
            return;
        };
        let handle = SockRef::from(descriptor);
        let error = match handle.take_error() {
            Ok(None) if handle.peer_addr().is_ok() => None,
            // An edge of the time before the connect began.
            Ok(None) => return,
            Ok(Some(error)) | Err(error) => Some(error),
        };
        self.connect_ended(key, error);
    }

    fn connect_ended(&mut self, key: Key, error: Option<io::Error>) {
        let id = SocketId(key.index);
        let socket = &mut self.sockets[key.index];
        socket.connecting = false;
        let Some(error) = error else {
            self.done.push_back(Completion::Connected { socket: id });
            return self.queue_receive(key);
        };
        socket.receive = Receive::Ended;
        let error = error.raw_os_error().unwrap_or(libc::EIO);
        self.done
            .push_back(Completion::ConnectFailed { socket: id, error });
    }

    /// Takes a socket in and has the poll watch it.
    fn insert(&mut self, descriptor: OwnedFd, connecting: bool) -> io::Result<Key> {
        let raw = descriptor.as_raw_fd();
        let short_means_drained = !socket::is_unix(&descriptor);
        let key = self.sockets.insert(Socket {
            descriptor: Some(descriptor),
            readable: false,
            read_closed: false,
            short_means_drained,
            receive: Receive::Open,
            queued: false,
            outgoing: Outgoing::default(),
            closing: false,
            connecting,
        });
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(key.to_bits() as usize);
        if let Err(error) = self
            .poll
            .registry()
            .register(&mut SourceFd(&raw), token, interest)
        {
            self.sockets.remove(key.index);
            return Err(error);
        }
        Ok(key)
    }

    /// One round of receiving for one socket.
    fn receive(&mut self, key: Key, out: &mut Vec<Completion>, max: usize) {
        let id = SocketId(key.index);
        let socket = &mut self.sockets[key.index];
        socket.queued = false;
        let Some(descriptor) = socket.descriptor.as_ref() else {
            return;
        };
        if socket.receive != Receive::Open || socket.closing {
            return;
        }
        let mut budget = ROUND_BYTES;
        while socket.readable {
            if self.buffers.free() == 0 {
                self.counters.enobufs += 1;
                self.counters.parked += 1;
                socket.queued = true;
                self.parked.push_back(key);
                return;
            }
            if budget == 0 || out.len() >= max {
                self.queue_receive(key);
                return;
            }
            let buffer_bytes = self.buffers.buffer_bytes() as usize;
            let most = budget
                .div_ceil(buffer_bytes)
                .min(max - out.len())
                .min(VECTOR);
            self.counters.enters += 1;
            let counters = &mut self.counters;
            let received = match interruption(&mut self.saboteur, Attempt::Receive) {
                Some(error) => Err(error),
                None => self
                    .buffers
                    .receive(descriptor.as_fd(), most, |buffer, length| {
                        counters.receive_buffers += 1;
                        out.push(Completion::Received {
                            socket: id,
                            buffer,
                            length,
                        });
                    }),
            };
            match received {
                Ok((0, _)) => {
                    socket.receive = Receive::Ended;
                    out.push(Completion::ReceiveEnded {
                        socket: id,
                        error: 0,
                    });
                    return;
                }
                Ok((length, room)) => {
                    self.counters.receives += 1;
                    self.counters.receive_bytes += length as u64;
                    budget = budget.saturating_sub(length);
                    if length < room && socket.short_means_drained && !socket.read_closed {
                        socket.readable = false;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.counters.interruptions += 1;
                }
                Err(error) => {
                    socket.receive = Receive::Ended;
                    let error = error.raw_os_error().unwrap_or(libc::EIO);
                    out.push(Completion::ReceiveEnded { socket: id, error });
                    return;
                }
            }
        }
    }

    /// One round of accepting for one listener.
    fn accept(&mut self, key: Key, out: &mut Vec<Completion>, max: usize) {
        let id = ListenerId(key.index);
        let listener = &mut self.listeners[key.index];
        listener.queued = false;
        for _ in 0..ROUND_CONNECTIONS {
            if out.len() >= max {
                break;
            }
            self.counters.enters += 1;
            let accepted = match interruption(&mut self.saboteur, Attempt::Accept) {
                Some(error) => Err(error),
                None => listener.listening.accept(),
            };
            match accepted {
                Ok((connection, peer)) => {
                    if connection.set_nonblocking(true).is_err() {
                        continue;
                    }
                    self.counters.accepted += 1;
                    let descriptor = OwnedFd::from(connection);
                    let peer = peer.as_socket();
                    out.push(Completion::Accepted {
                        listener: id,
                        descriptor,
                        peer,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    let error = error.raw_os_error().unwrap_or(libc::EIO);
                    if socket::concerns_one_connection(error) {
                        self.counters.interruptions += u64::from(error == libc::EINTR);
                        continue;
                    }
                    listener.failed = true;
                    self.counters.accept_failures += 1;
                    out.push(Completion::AcceptFailed {
                        listener: id,
                        error,
                    });
                    return;
                }
            }
        }
        self.queue_accept(key);
    }

    /// Writes what the socket takes now.
    fn advance_send(&mut self, index: u32) {
        let socket = &mut self.sockets[index];
        let outgoing = &mut socket.outgoing;
        let Some(descriptor) = socket.descriptor.as_ref() else {
            return;
        };
        if !outgoing.active {
            return;
        }
        let failure = loop {
            if outgoing.chunks.is_empty() {
                break None;
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (slice, chunk) in slices.iter_mut().zip(&outgoing.chunks) {
                let skipped = if count == 0 { outgoing.offset } else { 0 };
                *slice = IoSlice::new(&chunk.as_slice()[skipped..]);
                count += 1;
            }
            self.counters.enters += 1;
            let offered = &slices[..self.saboteur.shorten(count)];
            let sent = match interruption(&mut self.saboteur, Attempt::Send) {
                Some(error) => Err(error),
                None => SockRef::from(descriptor).send_vectored_with_flags(offered, SEND_FLAGS),
            };
            match sent {
                Ok(sent) => {
                    let bytes: usize = slices[..count].iter().map(|slice| slice.len()).sum();
                    self.counters.send_restarts += u64::from(sent < bytes);
                    self.counters.vectored_sends += 1;
                    self.counters.send_bytes += sent as u64;
                    outgoing.advance(sent);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.counters.interruptions += 1;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => break Some(error.raw_os_error().unwrap_or(libc::EIO)),
            }
        };
        outgoing.active = false;
        outgoing.chunks.clear();
        outgoing.failed |= failure.is_some();
        if failure.is_some() {
            self.counters.send_failures += 1;
        }
        if socket.closing {
            self.finish(index);
            return;
        }
        let id = SocketId(index);
        self.done.push_back(match failure {
            None => Completion::Sent {
                socket: id,
                bytes: outgoing.bytes,
            },
            Some(error) => Completion::SendFailed { socket: id, error },
        });
    }

    /// Closes the descriptor of a socket that has nothing in flight; `complete` reports it.
    fn finish(&mut self, index: u32) {
        if let Some(descriptor) = self.sockets[index].descriptor.take() {
            self.deregister(&descriptor);
            socket::close(descriptor);
            self.closed(index);
        }
    }

    fn closed(&mut self, index: u32) {
        // What was said about the socket before and is still unread would come after its end.
        self.done
            .retain(|completion| completion_socket(completion) != Some(SocketId(index)));
        self.done.push_back(Completion::Closed {
            socket: SocketId(index),
        });
        for listener in self.listeners.indices() {
            if self.listeners[listener].failed {
                self.retry_accept(ListenerId(listener));
            }
        }
    }

    fn deregister(&self, descriptor: &OwnedFd) {
        // Closing it removes it as well; this only makes sure that a duplicate does not stay.
        let _ = self
            .poll
            .registry()
            .deregister(&mut SourceFd(&descriptor.as_raw_fd()));
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
}

impl Outgoing {
    /// Takes chunks in; empty ones are dropped.
    pub(super) fn load(&mut self, chunks: impl Iterator<Item = Chunk>) {
        self.bytes = 0;
        self.offset = 0;
        for chunk in chunks.filter(|chunk| !chunk.is_empty()) {
            self.bytes += chunk.len() as u64;
            self.chunks.push_back(chunk);
        }
        self.active = true;
    }

    /// Bytes that have not left.
    fn left(&self) -> u64 {
        let bytes: usize = self.chunks.iter().map(Chunk::len).sum();
        (bytes - self.offset) as u64
    }

    /// So many bytes have left.
    pub(super) fn advance(&mut self, mut sent: usize) {
        while let Some(first) = self.chunks.front() {
            let left = first.len() - self.offset;
            if sent < left {
                self.offset += sent;
                return;
            }
            sent -= left;
            self.offset = 0;
            self.chunks.pop_front();
        }
    }
}

/// A system call that ends with `EINTR` on purpose. What waits for readiness would wait for ever
/// after an `EAGAIN` that is not true.
fn interruption(saboteur: &mut Saboteur, attempt: Attempt) -> Option<io::Error> {
    let interrupted = matches!(-saboteur.answer(attempt)?, libc::EINTR | libc::EAGAIN);
    interrupted.then(|| io::Error::from_raw_os_error(libc::EINTR))
}

impl Driver for Portable {
    fn name(&self) -> &'static str {
        "portable"
    }

    fn descriptor(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    fn listen(&mut self, listener: OwnedFd) -> ListenerId {
        let listening = Listening::from(listener);
        let failed = listening.set_nonblocking(true).is_err();
        let raw = listening.as_raw_fd();
        let key = self.listeners.insert(Listener {
            listening,
            queued: false,
            failed,
        });
        let token = Token((key.to_bits() | LISTENER) as usize);
        let registered =
            self.poll
                .registry()
                .register(&mut SourceFd(&raw), token, Interest::READABLE);
        if let Err(error) = registered {
            self.listeners[key.index].failed = true;
            let error = error.raw_os_error().unwrap_or(libc::EIO);
            let listener = ListenerId(key.index);
            self.done
                .push_back(Completion::AcceptFailed { listener, error });
        }
        ListenerId(key.index)
    }

    fn stop_listening(&mut self, listener: ListenerId) {
        let removed = self.listeners.remove(listener.0);
        debug_assert!(removed.is_some(), "an unknown listener is stopped");
        if let Some(listener) = removed {
            let raw = listener.listening.as_raw_fd();
            let _ = self.poll.registry().deregister(&mut SourceFd(&raw));
        }
    }

    fn is_listening(&self) -> bool {
        !self.listeners.indices().is_empty()
    }

    fn retry_accept(&mut self, listener: ListenerId) {
        let Some(key) = self.listeners.key(listener.0) else {
            return;
        };
        self.listeners[key.index].failed = false;
        self.queue_accept(key);
    }

    fn attach(&mut self, descriptor: OwnedFd) -> io::Result<SocketId> {
        socket::prepare(&descriptor)?;
        Ok(SocketId(self.insert(descriptor, false)?.index))
    }

    fn connect(&mut self, descriptor: OwnedFd, address: SockAddr) -> io::Result<SocketId> {
        socket::prepare(&descriptor)?;
        let begun = SockRef::from(&descriptor).connect(&address);
        let key = self.insert(descriptor, true)?;
        match begun {
            Ok(()) => self.connect_ended(key, None),
            Err(error) if socket::connects_later(&error) => {}
            Err(error) => self.connect_ended(key, Some(error)),
        }
        Ok(SocketId(key.index))
    }

    fn pause(&mut self, socket: SocketId) {
        let Some(socket) = self.sockets.get_mut(socket.0) else {
            debug_assert!(false, "an unknown socket is paused");
            return;
        };
        if socket.receive == Receive::Open {
            socket.receive = Receive::Paused;
        }
    }

    fn resume(&mut self, socket: SocketId) {
        let Some(key) = self.sockets.key(socket.0) else {
            debug_assert!(false, "an unknown socket is resumed");
            return;
        };
        if self.sockets[key.index].receive == Receive::Paused {
            self.sockets[key.index].receive = Receive::Open;
            self.queue_receive(key);
        }
    }

    fn send(&mut self, socket: SocketId, chunks: &mut VecDeque<Chunk>, count: usize) {
        let taken = chunks.drain(..count);
        let Some(tenant) = self
            .sockets
            .get_mut(socket.0)
            .filter(|tenant| !tenant.closing)
        else {
            debug_assert!(false, "a send on an unknown or closing socket");
            return;
        };
        let outgoing = &mut tenant.outgoing;
        assert!(!outgoing.active, "a send is in flight");
        if outgoing.failed {
            self.done.push_back(Completion::SendFailed {
                socket,
                error: libc::EPIPE,
            });
            return;
        }
        outgoing.load(taken);
        self.advance_send(socket.0);
    }

    fn progress(&self, socket: SocketId) -> Option<u64> {
        let tenant = self.sockets.get(socket.0)?;
        // Where the kernel says nothing: what it has taken of the send in flight.
        socket::progress(tenant.descriptor.as_ref()?).or_else(|| Some(tenant.outgoing.left()))
    }

    fn finish_sending(&mut self, socket: SocketId) {
        let tenant = self.sockets.get(socket.0);
        if let Some(descriptor) = tenant.and_then(|tenant| tenant.descriptor.as_ref()) {
            socket::finish_sending(descriptor);
        }
    }

    fn close(&mut self, socket: SocketId) {
        let Some(tenant) = self.sockets.get_mut(socket.0) else {
            debug_assert!(false, "an unknown socket is closed");
            return;
        };
        if tenant.connecting {
            return self.abort(socket);
        }
        tenant.closing = true;
        if !tenant.outgoing.active {
            self.finish(socket.0);
        }
    }

    fn abort(&mut self, socket: SocketId) {
        let Some(tenant) = self.sockets.get_mut(socket.0) else {
            debug_assert!(false, "an unknown socket is aborted");
            return;
        };
        tenant.closing = true;
        tenant.outgoing.active = false;
        tenant.outgoing.chunks.clear();
        if let Some(descriptor) = tenant.descriptor.take() {
            socket::reset_on_close(&descriptor);
            self.deregister(&descriptor);
            drop(descriptor);
            self.closed(socket.0);
        }
    }

    fn release(&mut self, buffer: u16) {
        self.buffers.release(buffer);
    }

    fn buffers(&self) -> &BufferGroup {
        &self.buffers
    }

    fn submit(&mut self) -> io::Result<()> {
        self.buffers.publish(|_, _| {});
        let free = self.buffers.free() as usize;
        if free > 0 {
            for _ in 0..(free / 4).max(1) {
                let Some(key) = self.parked.pop_front() else {
                    break;
                };
                if self.sockets.holds(key) {
                    self.counters.rearms += 1;
                    self.sockets[key.index].queued = false;
                    self.queue_receive(key);
                }
            }
        }
        Ok(())
    }

    fn complete(&mut self, out: &mut Vec<Completion>, max: usize) -> bool {
        for index in self.closed.drain(..) {
            self.sockets.remove(index);
        }
        self.poll_readiness();
        self.report_done(out, max);
        for _ in 0..self.work.len() {
            if out.len() >= max {
                break;
            }
            match self.work.pop_front() {
                Some(Work::Receive(key)) if self.sockets.holds(key) => self.receive(key, out, max),
                Some(Work::Accept(key)) if self.listeners.holds(key) => self.accept(key, out, max),
                _ => {}
            }
        }
        !self.work.is_empty() || !self.done.is_empty()
    }

    fn has_completions(&self) -> bool {
        !self.work.is_empty()
            || !self.done.is_empty()
            || (!self.parked.is_empty() && self.buffers.free() > 0)
    }

    fn chunks(&self) -> &ChunkPool {
        &self.chunks
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    fn shutdown(&mut self) {
        for index in self.sockets.indices() {
            self.close(SocketId(index));
            self.abort(SocketId(index));
            self.sockets.remove(index);
        }
        for index in self.listeners.indices() {
            self.stop_listening(ListenerId(index));
        }
        self.done.clear();
        self.work.clear();
        self.parked.clear();
    }
}
