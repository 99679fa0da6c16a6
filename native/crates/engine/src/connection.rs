//! One connection as the engine sees it: its HTTP/2 state, and the frames that wait to leave.

use std::{collections::VecDeque, net::SocketAddr, ops::Range, rc::Rc, sync::Arc};

use millrace_http2 as http2;
use millrace_ring::{Chunk, ChunkPool, SocketId};

use crate::{call::NOBODY, client::Link, linger::Linger, send_progress::SendProgress, tls::Tls};

/// Bytes of a frame's head.
pub(crate) const HEAD_BYTES: usize = 9;

/// Where a connection stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// A client's: the socket is not connected yet.
    Connecting,
    Open,
    /// What is framed still leaves, then the connection ends.
    Flushing,
    /// FIN was sent; the peer's is waited for.
    Lingering,
    /// The driver was told to close the socket; only its Closed completion is missing.
    Closing,
}

impl State {
    /// Whether what is framed will be sent.
    pub(crate) fn sends(self) -> bool {
        !matches!(self, Self::Lingering | Self::Closing)
    }
}

/// The DATA frame written last, as long as it may be extended.
#[derive(Clone, Copy)]
pub(crate) struct Tail {
    pub(crate) call: u32,
    chunk: usize,
    head: usize,
    length: usize,
}

/// The frames that were built and not yet given to the kernel, in wire order.
pub(crate) struct Building {
    pub(crate) chunks: VecDeque<Chunk>,
    pub(crate) bytes: usize,
    tail: Option<Tail>,
    pool: ChunkPool,
}

impl Building {
    pub(crate) fn new(pool: ChunkPool) -> Self {
        Self {
            chunks: VecDeque::new(),
            bytes: 0,
            tail: None,
            pool,
        }
    }

    pub(crate) fn pool(&self) -> &ChunkPool {
        &self.pool
    }

    /// Makes the next `length` bytes lie in one chunk.
    #[inline]
    fn reserve(&mut self, length: usize) {
        if self
            .chunks
            .back()
            .is_none_or(|chunk| chunk.spare() < length)
        {
            self.chunks.push_back(self.pool.take());
        }
    }

    /// Begins a DATA frame whose payload the caller writes next.
    #[inline]
    pub(crate) fn data_head(&mut self, call: u32, head: [u8; 9], length: usize, extensible: bool) {
        self.reserve(HEAD_BYTES);
        let chunk = self.chunks.len() - 1;
        let at = self.chunks[chunk].len();
        self.write(&head);
        self.tail = extensible.then_some(Tail {
            call,
            chunk,
            head: at,
            length,
        });
    }

    #[inline]
    pub(crate) fn write(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len();
        loop {
            if let Some(chunk) = self.chunks.back_mut() {
                let room = chunk.spare().min(bytes.len());
                chunk.write(&bytes[..room]);
                bytes = &bytes[room..];
            }
            if bytes.is_empty() {
                return;
            }
            self.chunks.push_back(self.pool.take());
        }
    }

    /// Appends bytes that others send, too, without a copy.
    pub(crate) fn share(&mut self, bytes: &Arc<[u8]>, part: Range<usize>) {
        self.bytes += part.len();
        self.chunks
            .push_back(Chunk::from_shared(Arc::clone(bytes), part));
    }

    /// Appends a part of what several connections send, without a copy.
    pub(crate) fn share_part(&mut self, block: &Rc<Chunk>, part: Range<usize>) {
        self.bytes += part.len();
        self.chunks
            .push_back(Chunk::part_of(Rc::clone(block), part));
    }

    /// Takes memory from another pool for the little that stands in front of bytes that are shared.
    pub(crate) fn reserve_head(&mut self, heads: &ChunkPool) {
        if self
            .chunks
            .back()
            .is_none_or(|chunk| chunk.spare() < HEAD_BYTES)
        {
            self.chunks.push_back(heads.take());
        }
    }

    /// Enlarges the frame written last by `bytes`, if it is the call's and stays within `limit`.
    #[inline]
    pub(crate) fn extend_tail(&mut self, call: u32, bytes: usize, limit: usize) -> bool {
        let Some(tail) = &mut self.tail else {
            return false;
        };
        if tail.call != call || tail.length + bytes > limit {
            return false;
        }
        tail.length += bytes;
        let head = &mut self.chunks[tail.chunk].as_mut_slice()[tail.head..tail.head + 3];
        head.copy_from_slice(&(tail.length as u32).to_be_bytes()[1..]);
        true
    }

    /// By how much the frame written last may grow, if it is the call's.
    #[inline]
    pub(crate) fn tail_room(&self, call: u32, limit: usize) -> usize {
        self.tail
            .filter(|tail| tail.call == call)
            .map_or(0, |tail| limit.saturating_sub(tail.length))
    }

    /// Sets END_STREAM in the frame written last, if it is the call's.
    pub(crate) fn finish_tail(&mut self, call: u32) -> bool {
        const FLAGS: usize = 4;
        const END_STREAM: u8 = 1;
        let Some(tail) = self.tail.take_if(|tail| tail.call == call) else {
            return false;
        };
        self.chunks[tail.chunk].as_mut_slice()[tail.head + FLAGS] |= END_STREAM;
        true
    }

    #[inline]
    pub(crate) fn end_tail(&mut self) {
        self.tail = None;
    }

    /// Drops what was built.
    pub(crate) fn clear(&mut self) {
        self.chunks.clear();
        self.bytes = 0;
        self.tail = None;
    }

    /// Puts bytes in front of everything; only between two frames, so only when nothing was split.
    fn write_first(&mut self, bytes: &[u8]) {
        self.tail = None;
        self.bytes += bytes.len();
        let mut end = bytes.len();
        while end > 0 {
            let mut chunk = self.pool.take();
            let start = end.saturating_sub(chunk.spare());
            chunk.write(&bytes[start..end]);
            self.chunks.push_front(chunk);
            end = start;
        }
    }
}

impl http2::Output for Building {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        Building::write(self, bytes);
    }
}

pub(crate) struct Connection {
    pub(crate) socket: SocketId,
    pub(crate) tls: Option<Box<Tls>>,
    pub(crate) http2: http2::Connection,
    pub(crate) peer: Option<SocketAddr>,
    /// It came in by a Unix socket, where clients have no address.
    pub(crate) is_unix: bool,
    /// What only a client's connection has.
    pub(crate) link: Option<Box<Link>>,
    pub(crate) state: State,
    /// Tells this connection from an earlier one with the same socket number.
    pub(crate) serial: u32,
    pub(crate) building: Building,
    pub(crate) sending: bool,
    pub(crate) sending_bytes: usize,
    pub(crate) sending_since: u64,
    pub(crate) send_progress: SendProgress,
    /// Bytes being built and in flight, as the thread's sum has them.
    pub(crate) framed_counted: u64,
    /// Calls that have something to send, in turn.
    pub(crate) ready: VecDeque<u32>,
    /// Calls with bytes among those being built, and among those in flight.
    pub(crate) framed_calls: Vec<u32>,
    pub(crate) flight_calls: Vec<u32>,
    /// Calls whose handlers were told not to write.
    pub(crate) blocked_calls: Vec<u32>,
    pub(crate) pending_bytes: usize,
    /// Its unsent bytes have reached their bound and not fallen far enough below it.
    pub(crate) full: bool,
    /// They have reached the bound itself: nobody writes whose bytes would have to wait.
    pub(crate) shut: bool,
    pub(crate) dirty: bool,
    pub(crate) first_call: u32,
    pub(crate) calls: u32,
    /// DATA bytes received that nobody has consumed.
    pub(crate) unread: u64,
    /// Bytes that are still to come of messages for which memory is reserved.
    pub(crate) expected: u64,
    /// Credit that is due to the peer and withheld.
    pub(crate) withheld: u64,
    /// Window granted beyond the unavoidable 65,535 bytes.
    pub(crate) window_extra: u32,
    pub(crate) held: VecDeque<(u16, u32)>,
    pub(crate) held_buffers: u32,
    /// When the first GOAWAY of a drain was sent.
    pub(crate) draining: Option<u64>,
    /// Why, in the words of gRFC A9; for the peer's log.
    pub(crate) drain_reason: &'static [u8],
    /// The second was sent too.
    pub(crate) drain_final: bool,
    pub(crate) linger: Linger,
    pub(crate) closing_since: u64,
    pub(crate) last_method: u16,
}

impl Connection {
    pub(crate) fn new(
        socket: SocketId,
        http2: http2::Connection,
        peer: Option<SocketAddr>,
        pool: ChunkPool,
        serial: u32,
    ) -> Self {
        Self {
            socket,
            tls: None,
            http2,
            peer,
            is_unix: false,
            link: None,
            state: State::Open,
            serial,
            building: Building::new(pool),
            sending: false,
            sending_bytes: 0,
            sending_since: 0,
            send_progress: SendProgress::default(),
            framed_counted: 0,
            ready: VecDeque::new(),
            framed_calls: Vec::new(),
            flight_calls: Vec::new(),
            blocked_calls: Vec::new(),
            pending_bytes: 0,
            full: false,
            shut: false,
            dirty: false,
            first_call: NOBODY,
            calls: 0,
            unread: 0,
            expected: 0,
            withheld: 0,
            window_extra: 0,
            held: VecDeque::new(),
            held_buffers: 0,
            draining: None,
            drain_reason: b"",
            drain_final: false,
            linger: Linger::default(),
            closing_since: 0,
            last_method: 0,
        }
    }

    /// Whether bytes wait that can leave now.
    pub(crate) fn has_output(&self) -> bool {
        match &self.tls {
            None => self.building.bytes > 0,
            Some(tls) => tls.has_output() || (self.building.bytes > 0 && !tls.is_handshaking()),
        }
    }

    /// Completes what can be sent next: HTTP/2's own frames, and in the end TLS's close_notify.
    #[inline]
    pub(crate) fn prepare_output(&mut self) {
        let Some(tls) = &mut self.tls else {
            return self.collect_control();
        };
        if tls.is_handshaking() {
            if self.state == State::Flushing {
                tls.close();
            }
            return;
        }
        self.collect_control();
        if self.state == State::Flushing
            && self.building.bytes == 0
            && let Some(tls) = &mut self.tls
        {
            tls.close();
        }
    }

    /// Moves what HTTP/2 itself has to say behind or before what was built.
    fn collect_control(&mut self) {
        if !self.http2.ordered().is_empty() {
            let mut ordered = std::mem::take(self.http2.ordered());
            self.building.end_tail();
            self.building.write(&ordered);
            ordered.clear();
            *self.http2.ordered() = ordered;
        }
        if !self.http2.urgent().is_empty() {
            let mut urgent = std::mem::take(self.http2.urgent());
            if self.building.chunks.is_empty() {
                self.building.write(&urgent);
            } else {
                self.building.write_first(&urgent);
            }
            urgent.clear();
            *self.http2.urgent() = urgent;
        }
    }

    pub(crate) fn peer_name(&self) -> String {
        if let Some(link) = &self.link {
            return link.address.clone();
        }
        if self.is_unix {
            return "unix:".to_owned();
        }
        self.peer
            .map_or_else(|| "unknown".to_owned(), |peer| peer.to_string())
    }
}
