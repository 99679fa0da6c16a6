//! A wrapper that lets things go wrong now and then, by a seed: what a real driver does seldom, it
//! does often. Order and bytes stay exact, so that a test above it may insist on both. What goes
//! wrong below a driver is in `crate::fault`.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::os::fd::{OwnedFd, RawFd};

use socket2::SockAddr;

use crate::driver::completion_socket;
use crate::fault::{FaultPlan, Random};
use crate::{BufferGroup, Chunk, ChunkPool, Completion, Counters, Driver, ListenerId, SocketId};

/// The wrapper.
pub(crate) struct Fault {
    inner: Box<dyn Driver>,
    plan: FaultPlan,
    random: Random,
    /// Completions held back, per socket, with the turns left.
    delayed: HashMap<SocketId, (u32, VecDeque<Completion>)>,
    /// Released buffers kept, with the turns left.
    kept: Vec<(u32, u16)>,
    /// Sockets that the caller believes to be reset; they are reset when the caller closes them.
    reset: HashSet<SocketId>,
    ready: VecDeque<Completion>,
    batch: Vec<Completion>,
}

/// Turns that something is held back for, at most.
const TURNS: u64 = 4;

impl Fault {
    pub(crate) fn new(inner: Box<dyn Driver>, plan: &FaultPlan) -> Self {
        Self {
            inner,
            random: Random::new(plan.seed),
            plan: plan.clone(),
            delayed: HashMap::new(),
            kept: Vec::new(),
            reset: HashSet::new(),
            ready: VecDeque::new(),
            batch: Vec::new(),
        }
    }

    fn turns(&mut self) -> u32 {
        1 + (self.random.next() % TURNS) as u32
    }

    /// Takes a completion from below: it goes on, is held back, or becomes a fault.
    fn filter(&mut self, completion: Completion, out: &mut Vec<Completion>) {
        let Some(socket) = completion_socket(&completion) else {
            self.ready.push_back(completion);
            return;
        };
        let reset = self.reset.contains(&socket);
        match completion {
            // Below, the number is free from here on, so this must not wait.
            Completion::Closed { .. } => {
                self.reset.remove(&socket);
                out.push(completion);
            }
            Completion::Received { buffer, .. } if reset => self.inner.release(buffer),
            Completion::ReceiveEnded { .. } if reset => {}
            Completion::Sent { .. } if reset => {
                let error = libc::ECONNRESET;
                self.hold_or_pass(socket, Completion::SendFailed { socket, error });
            }
            Completion::Received { .. } if self.random.chance(self.plan.reset_chance) => {
                self.hold_or_pass(socket, completion);
                let error = libc::ECONNRESET;
                self.hold_or_pass(socket, Completion::ReceiveEnded { socket, error });
                self.reset.insert(socket);
                self.inner.pause(socket);
            }
            _ => self.hold_or_pass(socket, completion),
        }
    }

    fn hold_or_pass(&mut self, socket: SocketId, completion: Completion) {
        if !self.delayed.contains_key(&socket) {
            if !self.random.chance(self.plan.delay_chance) {
                self.ready.push_back(completion);
                return;
            }
            let turns = self.turns();
            self.delayed.insert(socket, (turns, VecDeque::new()));
        }
        if let Some((_, queue)) = self.delayed.get_mut(&socket) {
            queue.push_back(completion);
        }
    }

    fn reorder(&mut self, batch: &mut [Completion]) {
        for at in 1..batch.len() {
            let neighbours = match &batch[at - 1..=at] {
                [
                    Completion::Received { socket: one, .. },
                    Completion::Received { socket: other, .. },
                ] => one == other,
                _ => false,
            };
            if neighbours && self.random.chance(self.plan.reorder_chance) {
                batch.swap(at - 1, at);
            }
        }
    }

    /// Drops what is held back of a socket that the caller closes.
    fn discard(&mut self, socket: SocketId) {
        let held = self
            .delayed
            .remove(&socket)
            .map(|(_, held)| held)
            .unwrap_or_default();
        let mut dropped: Vec<Completion> = held.into();
        let ready = std::mem::take(&mut self.ready);
        for completion in ready {
            if completion_socket(&completion) == Some(socket) {
                dropped.push(completion);
            } else {
                self.ready.push_back(completion);
            }
        }
        for completion in dropped {
            if let Completion::Received { buffer, .. } = completion {
                self.inner.release(buffer);
            }
        }
    }

    /// One turn is over: what was held back comes nearer.
    fn pass_time(&mut self) {
        let mut due: Vec<SocketId> = Vec::new();
        for (socket, (turns, _)) in &mut self.delayed {
            *turns -= 1;
            if *turns == 0 {
                due.push(*socket);
            }
        }
        due.sort_by_key(|socket| socket.0);
        for socket in due {
            if let Some((_, queue)) = self.delayed.remove(&socket) {
                self.ready.extend(queue);
            }
        }
        let mut kept = std::mem::take(&mut self.kept);
        kept.retain_mut(|(turns, buffer)| {
            *turns -= 1;
            if *turns == 0 {
                self.inner.release(*buffer);
            }
            *turns > 0
        });
        self.kept = kept;
    }
}

impl Driver for Fault {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn descriptor(&self) -> RawFd {
        self.inner.descriptor()
    }

    fn listen(&mut self, listener: OwnedFd) -> ListenerId {
        self.inner.listen(listener)
    }

    fn stop_listening(&mut self, listener: ListenerId) {
        self.inner.stop_listening(listener);
    }

    fn is_listening(&self) -> bool {
        self.inner.is_listening()
    }

    fn retry_accept(&mut self, listener: ListenerId) {
        self.inner.retry_accept(listener);
    }

    fn attach(&mut self, descriptor: OwnedFd) -> io::Result<SocketId> {
        self.inner.attach(descriptor)
    }

    fn connect(&mut self, descriptor: OwnedFd, address: SockAddr) -> io::Result<SocketId> {
        self.inner.connect(descriptor, address)
    }

    fn pause(&mut self, socket: SocketId) {
        if !self.reset.contains(&socket) {
            self.inner.pause(socket);
        }
    }

    fn resume(&mut self, socket: SocketId) {
        if !self.reset.contains(&socket) {
            self.inner.resume(socket);
        }
    }

    fn send(&mut self, socket: SocketId, chunks: &mut VecDeque<Chunk>, count: usize) {
        if self.reset.contains(&socket) {
            chunks.drain(..count);
            self.ready.push_back(Completion::SendFailed {
                socket,
                error: libc::ECONNRESET,
            });
        } else {
            self.inner.send(socket, chunks, count);
        }
    }

    fn progress(&self, socket: SocketId) -> Option<u64> {
        self.inner.progress(socket)
    }

    fn finish_sending(&mut self, socket: SocketId) {
        self.inner.finish_sending(socket);
    }

    fn close(&mut self, socket: SocketId) {
        self.discard(socket);
        if self.reset.contains(&socket) {
            self.inner.abort(socket);
        } else {
            self.inner.close(socket);
        }
    }

    fn abort(&mut self, socket: SocketId) {
        self.discard(socket);
        self.inner.abort(socket);
    }

    fn release(&mut self, buffer: u16) {
        if self.random.chance(self.plan.keep_chance) {
            let turns = self.turns();
            self.kept.push((turns, buffer));
        } else {
            self.inner.release(buffer);
        }
    }

    fn buffers(&self) -> &BufferGroup {
        self.inner.buffers()
    }

    fn submit(&mut self) -> io::Result<()> {
        self.pass_time();
        self.inner.submit()
    }

    fn complete(&mut self, out: &mut Vec<Completion>, max: usize) -> bool {
        let mut batch = std::mem::take(&mut self.batch);
        let more = self.inner.complete(&mut batch, max);
        self.reorder(&mut batch);
        for completion in batch.drain(..) {
            self.filter(completion, out);
        }
        self.batch = batch;
        while out.len() < max {
            let Some(completion) = self.ready.pop_front() else {
                break;
            };
            out.push(completion);
        }
        more || !self.ready.is_empty()
    }

    fn has_completions(&self) -> bool {
        // What is held back needs turns to come nearer.
        !self.ready.is_empty()
            || !self.delayed.is_empty()
            || !self.kept.is_empty()
            || self.inner.has_completions()
    }

    fn chunks(&self) -> &ChunkPool {
        self.inner.chunks()
    }

    fn counters(&self) -> Counters {
        self.inner.counters()
    }

    fn shutdown(&mut self) {
        self.inner.shutdown();
    }
}
