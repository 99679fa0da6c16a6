//! Buffers, send rings and I/O drivers for one thread. This crate moves bytes between sockets and
//! memory and knows no protocol.
//!
//! # How to drive it
//!
//! [`select`] chooses a [`Driver`] by what the running kernel does. The event loop polls
//! [`Driver::descriptor`] for readability; each wake-up is one turn:
//!
//! 1. [`Driver::complete`] until it returns false (or the turn's budget is spent);
//! 2. handle the completions: [`Driver::release`], [`Driver::send`], [`Driver::close`] and so on.
//!    These only record what is wanted, or do what needs no batching;
//! 3. [`Driver::submit`], once: it gives buffers back, re-arms receives and enters the kernel;
//! 4. while [`Driver::has_completions`], start over without waiting for the descriptor. Sends over
//!    loopback complete inside `submit`, and work that was put off for fairness or for want of
//!    buffers makes no descriptor readable.
//!
//! # Who owns a buffer
//!
//! A receive buffer is *free* (the kernel may fill it), *held* (from its [`Completion::Received`]
//! until [`Driver::release`]) or *returning* (released, free again at the next `submit`). While it
//! is held its bytes do not change, and [`BufferGroup::bytes`] reads them.
//!
//! # Order
//!
//! Completions of one socket come in the order of its stream. Bytes of one socket leave in the
//! order in which they were given to [`Driver::send`]; exactly one send is in flight per socket.
#![deny(unsafe_code)]

#[cfg(not(unix))]
compile_error!("millrace-ring supports Linux and macOS; other systems have no driver yet");

#[cfg(not(target_pointer_width = "64"))]
compile_error!("millrace-ring needs 64-bit pointers: a token carries a place and its generation");

mod buffer;
mod chunk;
mod counters;
mod driver;
mod error;
mod fault;
mod memory;
mod options;
mod probe;
#[cfg(target_os = "linux")]
mod send;
#[cfg(target_os = "linux")]
mod uring;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};

use socket2::SockAddr;

pub use buffer::{BufferGroup, Level};
pub use chunk::{Chunk, ChunkPool};
pub use counters::Counters;
pub use error::RingError;
#[cfg(feature = "__fault")]
pub use fault::FaultPlan;
pub use memory::SharedMemory;
pub use options::{DriverChoice, Options};
pub use probe::{Selection, select};

/// A socket that was given to [`Driver::attach`] or [`Driver::connect`]. The number may be used again
/// for another socket from the [`Driver::complete`] on that follows the one which reported
/// [`Completion::Closed`] for it, never before: a connection accepted in the same batch gets another
/// number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketId(pub u32);

/// A listener that was given to [`Driver::listen`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub u32);

/// What a driver has to say. `error` is always a positive `errno`.
#[derive(Debug)]
pub enum Completion {
    /// A connection was accepted. Also possible shortly after [`Driver::stop_listening`].
    Accepted {
        /// Where it came in.
        listener: ListenerId,
        /// The connection: non-blocking, close-on-exec.
        descriptor: OwnedFd,
        /// The peer where the driver knows it at no cost; else ask `getpeername`.
        peer: Option<SocketAddr>,
    },
    /// Accepting stopped (`EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM` …). It goes on after
    /// [`Driver::retry_accept`], or by itself when a socket of this driver is closed.
    AcceptFailed {
        /// The listener.
        listener: ListenerId,
        /// `errno`.
        error: i32,
    },
    /// The connection that [`Driver::connect`] began stands: it sends and receives from here on.
    Connected {
        /// The socket.
        socket: SocketId,
    },
    /// It does not: nobody listens, there is no way, or the peer refused. Close or abort it.
    ConnectFailed {
        /// The socket.
        socket: SocketId,
        /// `errno`.
        error: i32,
    },
    /// Bytes arrived: the first `length` bytes of `buffer`. The buffer is held until released.
    Received {
        /// The socket.
        socket: SocketId,
        /// The buffer's number in the group.
        buffer: u16,
        /// Filled bytes, never 0.
        length: u32,
    },
    /// Nothing more will be received on this socket.
    ReceiveEnded {
        /// The socket.
        socket: SocketId,
        /// 0 at the end of the stream, else `errno`.
        error: i32,
    },
    /// Everything given to the last [`Driver::send`] has left; the next send may come.
    Sent {
        /// The socket.
        socket: SocketId,
        /// How many bytes that send had.
        bytes: u64,
    },
    /// The connection broke while sending. How many bytes left is unknown; nothing can be sent any
    /// more. Close or abort it.
    SendFailed {
        /// The socket.
        socket: SocketId,
        /// `errno`.
        error: i32,
    },
    /// All operations of the socket were reaped and its descriptor is closed. Reported exactly once
    /// after [`Driver::close`] or [`Driver::abort`]; between the call and this nothing else is
    /// reported for the socket, and its received buffers go back by themselves.
    Closed {
        /// The socket.
        socket: SocketId,
    },
}

/// One thread's I/O. Not `Send`: a driver lives and dies on the thread that made it.
///
/// Naming a socket that was never attached, or whose [`Completion::Closed`] was reported, is a
/// mistake of the caller; drivers panic on it in debug builds and ignore it otherwise.
pub trait Driver {
    /// `bundle`, `ring`, `classic` or `portable`.
    fn name(&self) -> &'static str;

    /// Becomes readable when [`Driver::complete`] has something. Owned by the driver.
    fn descriptor(&self) -> RawFd;

    /// Starts accepting at the next [`Driver::submit`]. Makes the listener non-blocking.
    fn listen(&mut self, listener: OwnedFd) -> ListenerId;

    /// Cancels accepting and closes the listener.
    fn stop_listening(&mut self, listener: ListenerId);

    /// Whether a connection may still be accepted: until a listener that was stopped is closed.
    fn is_listening(&self) -> bool;

    /// Accepts again after [`Completion::AcceptFailed`], from the next [`Driver::submit`] on.
    fn retry_accept(&mut self, listener: ListenerId);

    /// Takes a connected stream socket over: makes it non-blocking, sets `TCP_NODELAY` where that
    /// exists, and arms its receive at the next [`Driver::submit`].
    ///
    /// # Errors
    /// Whatever `fcntl` or the registration says; the descriptor is then closed.
    fn attach(&mut self, descriptor: OwnedFd) -> io::Result<SocketId>;

    /// Begins to connect a fresh stream socket, at the latest with the next [`Driver::submit`], and
    /// makes it ready as [`Driver::attach`] does. [`Completion::Connected`] or
    /// [`Completion::ConnectFailed`] follows; before that nothing may be sent, and
    /// [`Driver::close`] is the same as [`Driver::abort`], which gives the attempt up. There is no
    /// time limit but the kernel's.
    ///
    /// # Errors
    /// Whatever `fcntl` or the registration says; the descriptor is then closed.
    fn connect(&mut self, descriptor: OwnedFd, address: SockAddr) -> io::Result<SocketId>;

    /// Stops receiving, so that the kernel's TCP window pushes back. What is on its way is still
    /// reported.
    fn pause(&mut self, socket: SocketId);

    /// Receives again after [`Driver::pause`].
    fn resume(&mut self, socket: SocketId);

    /// Sends the first `count` chunks, which are taken out of `chunks`, in order. What stays there is
    /// to be sent as soon as this is answered: a last segment that is not full may wait for it, at
    /// most as long as tcp(7) says of `MSG_MORE` (200 ms).
    ///
    /// Precondition: no send is in flight on the socket, that is, every earlier send was answered
    /// by [`Completion::Sent`]. Panics otherwise.
    fn send(&mut self, socket: SocketId, chunks: &mut VecDeque<Chunk>, count: usize);

    /// A number that changes when the peer takes some of what was sent to it: what its kernel has
    /// acknowledged, and so no sign that it reads while its receive buffer has room. Takes a system
    /// call. `None`: nobody knows.
    fn progress(&self, socket: SocketId) -> Option<u64>;

    /// Sends FIN behind what was sent, and goes on receiving.
    ///
    /// Precondition: no send is in flight on the socket, and none follows.
    fn finish_sending(&mut self, socket: SocketId);

    /// Stops receiving, lets a send in flight finish, then sends FIN and closes. Ends in
    /// [`Completion::Closed`]. A peer that never reads keeps the send in flight: watch the time
    /// and [`Driver::abort`].
    fn close(&mut self, socket: SocketId);

    /// Cancels everything and resets the connection (RST). Ends in [`Completion::Closed`]; may
    /// follow a [`Driver::close`].
    fn abort(&mut self, socket: SocketId);

    /// Gives a held buffer back; it is free after the next [`Driver::submit`].
    ///
    /// Panics if the buffer is not held: giving it back twice would let two sockets share it.
    fn release(&mut self, buffer: u16);

    /// The receive buffers.
    fn buffers(&self) -> &BufferGroup;

    /// Gives released buffers back, re-arms receives that wait for buffers (in turn, at most one for
    /// four free buffers, and fewer where each fills more) and enters the kernel once.
    ///
    /// # Errors
    /// Only what makes the driver unusable.
    fn submit(&mut self) -> io::Result<()>;

    /// Reaps at most `max` completions into `out`, which the caller has cleared. Never blocks.
    /// Returns true when more are waiting.
    fn complete(&mut self, out: &mut Vec<Completion>, max: usize) -> bool;

    /// Whether another turn has work without waiting for the descriptor. No system call.
    fn has_completions(&self) -> bool;

    /// The pool of send chunks.
    fn chunks(&self) -> &ChunkPool;

    /// What was counted since the driver was made.
    fn counters(&self) -> Counters;

    /// Closes every socket, or aborts it if a send is in flight, stops every listener and reaps what is
    /// in flight, for at most a second. Nothing is reported; the driver is of no use afterwards.
    fn shutdown(&mut self);
}
