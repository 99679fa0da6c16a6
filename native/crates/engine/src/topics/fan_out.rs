//! The engine's part of topics: from the log of what was published into the send chunks.

use std::{
    cell::{Cell, RefCell},
    os::{fd::OwnedFd, unix::net::UnixStream},
    rc::Rc,
    sync::{Arc, atomic::Ordering},
};

use millrace_fanout::past::Kept;
use millrace_grpc::Code;
use millrace_http2::StreamKey;
use millrace_ring::{ChunkPool, SocketId};

use super::{
    Feed, SlowConsumer, Start, Subscribe, Topics, TopicsError,
    desk::place_log,
    event::{BLOCK_BYTES, Log, Run, Stretch},
    feed::{Outcome, Replay, Standing},
    lane::{Inlets, Seat},
    space::Space,
};
use crate::{
    Engine,
    connection::{Connection, HEAD_BYTES},
    layout::CAUSE_SLOW,
    outbound::room,
};

/// What an engine knows of the topics to which its calls have subscribed.
pub(crate) struct Hub {
    joined: Vec<Option<Joined>>,
    /// Bytes of events that wait for subscribers, each counted once.
    waiting: Rc<Cell<u64>>,
    /// Memory for events until they have left, shared by those that they are sent to.
    blocks: ChunkPool,
    /// Bytes of blocks that are being sent.
    lent: u64,
    /// Memory for the heads of frames whose payload is shared.
    heads: ChunkPool,
    /// Bytes framed since the connections were flushed.
    framed: u64,
    subscribed: usize,
    runs: Vec<Run>,
    touched: Vec<u32>,
    /// Subscribers that go on with the past in the next turn.
    resting: Vec<u32>,
    past: Vec<(u64, Kept<Arc<[u8]>>)>,
    /// By which other threads wake this engine.
    bell: Option<Bell>,
    /// The lanes of other threads have more than a turn takes.
    more: bool,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            joined: Vec::new(),
            waiting: Rc::default(),
            blocks: ChunkPool::new(BLOCK_BYTES),
            lent: 0,
            heads: ChunkPool::new(HEAD_BYTES),
            framed: 0,
            subscribed: 0,
            runs: Vec::new(),
            touched: Vec::new(),
            resting: Vec::new(),
            past: Vec::new(),
            bell: None,
            more: false,
        }
    }
}

struct Bell {
    heard: SocketId,
    rope: Arc<UnixStream>,
}

/// A space in which this engine has subscribers.
struct Joined {
    space: Arc<Space>,
    seat: Arc<Seat>,
    log: Rc<RefCell<Log>>,
    inlets: Inlets,
    subscribers: usize,
    delivered: u64,
    dropped: u64,
    /// Publishers waited for a subscriber and need not any more.
    wakes: bool,
}

impl Joined {
    /// Brings the counts of all threads up to date.
    fn settle(&mut self) {
        let counters = &self.space.counters;
        for (counter, counted) in [
            (&counters.delivered, &mut self.delivered),
            (&counters.dropped, &mut self.dropped),
        ] {
            if *counted > 0 {
                counter.fetch_add(std::mem::take(counted), Ordering::Relaxed);
            }
        }
        self.wake_publishers();
    }

    fn wake_publishers(&mut self) {
        if std::mem::take(&mut self.wakes) {
            self.space.wake_publishers();
        }
    }
}

impl Hub {
    /// Bytes of events that wait, and of memory that cannot be used again before others have left.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.waiting.get() + self.lent
    }

    /// Calls that are subscribed.
    pub(crate) fn subscribed(&self) -> usize {
        self.subscribed
    }

    /// Whether something was published that [`Engine::fan_out`] has not seen.
    pub(crate) fn has_events(&self) -> bool {
        self.joined
            .iter()
            .flatten()
            .any(|joined| !joined.log.borrow().is_empty())
    }

    /// Whether there is more from other threads than a turn takes.
    pub(crate) fn has_more(&self) -> bool {
        self.more
    }

    pub(crate) fn is_bell(&self, socket: SocketId) -> bool {
        self.bell.as_ref().is_some_and(|bell| bell.heard == socket)
    }

    fn join(&mut self, space: &Arc<Space>, rope: &Arc<UnixStream>) -> usize {
        let found = self.joined.iter().position(|joined| {
            joined
                .as_ref()
                .is_some_and(|joined| Arc::ptr_eq(&joined.space, space))
        });
        if let Some(found) = found {
            return found;
        }
        let seat = Seat::new(rope);
        let log = Rc::new(RefCell::new(Log::new(self.blocks.clone())));
        place_log(&seat, &log);
        let joined = Some(Joined {
            space: Arc::clone(space),
            seat,
            log,
            inlets: Inlets::default(),
            subscribers: 0,
            delivered: 0,
            dropped: 0,
            wakes: false,
        });
        match self.joined.iter().position(Option::is_none) {
            Some(free) => {
                self.joined[free] = joined;
                free
            }
            None => {
                self.joined.push(joined);
                self.joined.len() - 1
            }
        }
    }

    /// Leaves a space in which there is no subscriber any more.
    fn leave(&mut self, number: usize) {
        if let Some(joined) = &mut self.joined[number]
            && joined.subscribers == 0
        {
            joined.settle();
            self.joined[number] = None;
        }
    }

    fn joined(&mut self, number: usize) -> Option<&mut Joined> {
        self.joined.get_mut(number)?.as_mut()
    }
}

impl Engine {
    /// Has a call get the events of a pattern's topics, behind what was queued for it so far, until it
    /// ends. Its response headers leave. Nothing happens if the call is over.
    ///
    /// # Errors
    /// The pattern is illegal, or there are too many subscriptions.
    pub fn subscribe(
        &mut self,
        reference: u32,
        topics: &Topics,
        subscribe: &Subscribe<'_>,
    ) -> Result<(), TopicsError> {
        self.drain_operations();
        let Some(index) = self.calls.find(reference) else {
            return Ok(());
        };
        let call = &self.calls[index];
        if call.cancelled || call.finished || call.feed.is_some() || self.is_client() {
            return Ok(());
        }
        let space = topics.space();
        let rope = self.hang_bell()?;
        let number = self.hub.join(space, &rope);
        let standing = Standing::new(
            subscribe.slow_consumer,
            subscribe.max_pending.max(1),
            subscribe.start != Start::Latest,
        );
        let registered = match self.hub.joined(number) {
            Some(joined) => space.register(
                subscribe.pattern,
                subscribe.group,
                standing,
                &joined.seat,
                reference,
            ),
            None => return Ok(()),
        };
        let registration = match registered {
            Ok(registration) => registration,
            Err(error) => {
                self.hub.leave(number);
                return Err(error);
            }
        };
        // Only now that it gets what is published: nothing falls in between.
        let replay = match replay(topics, subscribe) {
            Ok(replay) => replay,
            Err(error) => {
                drop(registration);
                self.hub.leave(number);
                return Err(error);
            }
        };
        if let Some(joined) = self.hub.joined(number) {
            joined.subscribers += 1;
        }
        self.hub.subscribed += 1;
        let feed = Feed::new(registration, number, space.options.dropped_tag, replay);
        let call = &mut self.calls[index];
        if feed.is_replaying() && !call.in_ready_queue {
            call.in_ready_queue = true;
            if let Some(connection) = self.connections.get_mut(call.connection) {
                connection.ready.push_back(index);
            }
        }
        call.feed = Some(Box::new(feed));
        let connection = call.connection;
        self.mark_dirty(connection);
        if !self.calls[index].headers_sent {
            self.send_header_block(index);
        }
        Ok(())
    }

    /// What other threads wake this engine by.
    fn hang_bell(&mut self) -> Result<Arc<UnixStream>, TopicsError> {
        if let Some(bell) = &self.hub.bell {
            return Ok(Arc::clone(&bell.rope));
        }
        let failed = |error: std::io::Error| TopicsError {
            code: "MILLRACE_SUBSCRIPTIONS_FULL",
            message: format!(
                "this thread cannot be woken by others: {error}; raise the limit of open files (ulimit -n)"
            ),
        };
        let (rope, heard) = UnixStream::pair().map_err(failed)?;
        rope.set_nonblocking(true).map_err(failed)?;
        let heard = self.driver.attach(OwnedFd::from(heard)).map_err(failed)?;
        let rope = Arc::new(rope);
        self.hub.bell = Some(Bell {
            heard,
            rope: Arc::clone(&rope),
        });
        Ok(rope)
    }

    /// Nothing more is to come for a call; what waits still leaves.
    pub(crate) fn close_feed(&mut self, index: u32) {
        if let Some(feed) = &mut self.calls[index].feed {
            feed.close();
        }
    }

    /// A call is over: nobody waits for it.
    pub(crate) fn drop_feed(&mut self, index: u32) {
        let Some(feed) = self.calls[index].feed.take() else {
            return;
        };
        let number = feed.joined;
        drop(feed);
        self.hub.subscribed -= 1;
        if let Some(joined) = self.hub.joined(number) {
            joined.subscribers -= 1;
            self.hub.leave(number);
        }
    }

    /// Nothing more is for the subscribers of this engine, which others would wait for: it is given up,
    /// and they will not be told by its end.
    pub fn leave_topics(&mut self) {
        for index in self.calls.indices() {
            self.close_feed(index);
        }
    }

    /// Takes what was published to the subscribers: all of it to one, then to the next.
    pub(crate) fn fan_out(&mut self) {
        let more = std::mem::take(&mut self.hub.more);
        self.wake_resting();
        for number in 0..self.hub.joined.len() {
            let Some(joined) = self.hub.joined(number) else {
                continue;
            };
            let log = Rc::clone(&joined.log);
            let Ok(mut log) = log.try_borrow_mut() else {
                continue;
            };
            if joined.seat.take_ring() || more {
                let rest = joined.inlets.take(&joined.seat, |carried| {
                    log.push(&carried.framed, carried.arrival, Some(&carried.framed));
                    log.address(1, &carried.audience);
                });
                let overrun = joined.seat.take_overrun();
                self.hub.more |= rest;
                if overrun {
                    self.end_overrun();
                }
            }
            if log.is_empty() {
                continue;
            }
            let mut runs = std::mem::take(&mut self.hub.runs);
            log.runs(&mut runs);
            if let [run] = &runs[..] {
                for &reference in run.audience.iter() {
                    self.deliver(number, reference, &log, run.first, run.end);
                }
            } else {
                self.deliver_runs(number, &log, &runs);
            }
            runs.clear();
            self.hub.runs = runs;
            log.clear();
        }
    }

    fn deliver_runs(&mut self, number: usize, log: &Log, runs: &[Run]) {
        let mut touched = std::mem::take(&mut self.hub.touched);
        for (position, run) in runs.iter().enumerate() {
            for &reference in run.audience.iter() {
                if let Some(index) = self.calls.find(reference)
                    && let Some(feed) = &mut self.calls[index].feed
                {
                    if feed.runs.is_empty() {
                        touched.push(reference);
                    }
                    feed.runs.push(position as u32);
                }
            }
        }
        for reference in touched.drain(..) {
            let Some(index) = self.calls.find(reference) else {
                continue;
            };
            let Some(feed) = &mut self.calls[index].feed else {
                continue;
            };
            let mut own = std::mem::take(&mut feed.runs);
            for &position in &own {
                let run = &runs[position as usize];
                self.deliver(number, reference, log, run.first, run.end);
            }
            own.clear();
            if let Some(index) = self.calls.find(reference)
                && let Some(feed) = &mut self.calls[index].feed
            {
                feed.runs = own;
            }
        }
        self.hub.touched = touched;
    }

    /// Gives the subscribers their turn that have to read more of the past.
    fn wake_resting(&mut self) {
        let mut resting = std::mem::take(&mut self.hub.resting);
        for reference in resting.drain(..) {
            let Some(index) = self.calls.find(reference) else {
                continue;
            };
            let call = &mut self.calls[index];
            let connection_index = call.connection;
            if let Some(connection) = self.connections.get_mut(connection_index)
                && !call.in_ready_queue
            {
                call.in_ready_queue = true;
                connection.ready.push_back(index);
                self.mark_dirty(connection_index);
            }
        }
        self.hub.resting = resting;
    }

    /// Gives a subscriber what it has not had from the past; otherwise as [`Engine::deliver`].
    fn deliver(&mut self, number: usize, reference: u32, log: &Log, first: usize, end: usize) {
        let Some(index) = self.calls.find(reference) else {
            return;
        };
        let Some(feed) = &self.calls[index].feed else {
            return;
        };
        if log.is_behind(feed.replayed()) {
            return self.give(number, reference, log, first, end);
        }
        for event in first..end {
            let Some(index) = self.calls.find(reference) else {
                return;
            };
            let Some(feed) = &mut self.calls[index].feed else {
                return;
            };
            if !feed.replays(log.arrival(event)) {
                self.give(number, reference, log, event, event + 1);
            } else if feed.left(1, self.now)
                && let Some(joined) = self.hub.joined(number)
            {
                joined.wakes = true;
            }
        }
    }

    /// Frames events for a subscriber, as far as its stream has window and its connection room, and has
    /// the rest wait.
    fn give(&mut self, number: usize, reference: u32, log: &Log, first: usize, end: usize) {
        let Some(index) = self.calls.find(reference) else {
            return;
        };
        let full = self.unsent_bytes() + self.hub.framed >= self.options.unsent_bytes_max;
        let call = &mut self.calls[index];
        let connection_index = call.connection;
        let (Some(feed), Some(stream)) = (&mut call.feed, call.stream) else {
            return;
        };
        let Some(connection) = self.connections.get_mut(connection_index) else {
            return;
        };
        let missed = self.hub.joined[number]
            .as_ref()
            .is_some_and(|joined| joined.seat.has_missed());
        let mut next = first;
        if feed.is_clear()
            && !(missed && feed.standing.has_missed())
            && call.pending_bytes == 0
            && (!full || !connection.sending)
            && connection.state.sends()
        {
            let mut left = room(connection).min(connection.http2.send_window(stream));
            let before = connection.building.bytes;
            while next < end {
                let stretch = log.stretch(next, end, left);
                if stretch.next == next {
                    break;
                }
                left -= stretch.end - stretch.start;
                next = stretch.next;
                frame(connection, &self.hub.heads, index, stream, &stretch);
            }
            self.hub.framed += (connection.building.bytes - before) as u64;
        }
        let delivered = next - first;
        self.totals.messages_sent += delivered as u64;
        let wakes = feed.left(delivered as u32, self.now);
        let mut dropped = 0;
        let mut overrun = false;
        for event in next..end {
            match feed.push(log.shared(event, &self.hub.waiting), full) {
                Outcome::Waits => {}
                Outcome::Dropped => dropped += 1,
                Outcome::Overrun => {
                    overrun = true;
                    break;
                }
            }
        }
        feed.time_bound(self.now);
        if !feed.is_idle() && !call.in_ready_queue {
            call.in_ready_queue = true;
            connection.ready.push_back(index);
        }
        if let Some(joined) = self.hub.joined(number) {
            joined.delivered += delivered as u64;
            joined.dropped += dropped;
            joined.wakes |= wakes;
        }
        self.totals.events_delivered += delivered as u64;
        self.totals.events_dropped += dropped;
        self.mark_dirty(connection_index);
        if overrun {
            self.disconnect_slow(index);
        }
    }

    /// Gives a subscribed call its turn: frames what waits for it, as far as one frame takes it. The
    /// caller has seen to it that something waits, and that the stream has window.
    pub(crate) fn pump_feed(&mut self, index: u32, window: usize) {
        let call = &mut self.calls[index];
        let (Some(feed), Some(stream)) = (&mut call.feed, call.stream) else {
            return;
        };
        let Some(connection) = self.connections.get_mut(call.connection) else {
            return;
        };
        let passed = feed.read_past(&self.hub.waiting, &mut self.hub.past);
        let number = feed.joined;
        if passed > 0 {
            if let Some(joined) = self.hub.joined(number) {
                joined.dropped += passed;
            }
            self.totals.events_dropped += passed;
            if !matches!(
                feed.standing.policy,
                SlowConsumer::DropOldest | SlowConsumer::DropNewest
            ) {
                return self.disconnect_overtaken(index, passed);
            }
        }
        if !feed.has_waiting() {
            if feed.is_replaying() {
                // Many events of other topics lie between: others go first.
                let reference = self.calls.reference(index);
                self.hub.resting.push(reference);
                self.hub.more = true;
            }
            return;
        }
        let length = feed.next_frame(window.min(connection.http2.max_frame_size()));
        let head = connection.http2.data_head(stream, length, false);
        connection.building.data_head(index, head, length, true);
        let (delivered, live) = feed.write(length, &mut connection.building);
        self.hub.framed += length as u64;
        // What comes from the past does not hold up publishers.
        let wakes = feed.left(live, self.now);
        if !feed.is_idle() {
            call.in_ready_queue = true;
            connection.ready.push_back(index);
        }
        if let Some(joined) = self.hub.joined(number) {
            joined.delivered += u64::from(delivered);
            joined.wakes |= wakes;
        }
        self.totals.messages_sent += u64::from(delivered);
        self.totals.events_delivered += u64::from(delivered);
    }

    /// Publishers need not wait until JavaScript has had its turn, which may be long.
    pub(crate) fn wake_publishers(&mut self) {
        for joined in self.hub.joined.iter_mut().flatten() {
            joined.wake_publishers();
        }
    }

    /// The connections have been flushed: what was framed for subscribers is counted with the rest.
    pub(crate) fn settle_topics(&mut self) {
        self.hub.framed = 0;
        self.hub.lent = (self.hub.blocks.taken() * BLOCK_BYTES) as u64;
        for joined in self.hub.joined.iter_mut().flatten() {
            joined.settle();
        }
    }

    /// Cuts off the subscribers that have made publishers wait for too long.
    pub(crate) fn end_blocking_subscribers(&mut self) {
        if self.hub.subscribed == 0 {
            return;
        }
        for index in self.calls.indices() {
            let Some(feed) = &self.calls[index].feed else {
                continue;
            };
            let Some(registration) = &feed.registration else {
                continue;
            };
            let timeout = registration.space().options.block_timeout_ms;
            if feed
                .bound_since
                .is_some_and(|since| self.now - since >= timeout)
            {
                self.disconnect_slow(index);
            }
        }
    }

    /// Cuts off the subscribers for whom there was no room on the way from another thread, or whose
    /// publishers there have waited for too long.
    fn end_overrun(&mut self) {
        for index in self.calls.indices() {
            let feed = self.calls[index].feed.as_deref();
            if feed.is_some_and(|feed| feed.standing.is_cut() || feed.standing.is_overrun()) {
                self.disconnect_slow(index);
            }
        }
    }

    fn disconnect_slow(&mut self, index: u32) {
        let Some(feed) = &self.calls[index].feed else {
            return;
        };
        let Some(registration) = &feed.registration else {
            return;
        };
        let options = &registration.space().options;
        let most = feed.standing.max_pending;
        let text = match feed.standing.policy {
            SlowConsumer::Block => format!(
                "the subscriber made publishers wait for {} ms with {most} events pending, as many as maxPending allows, or memory full, and its policy is block: read faster, or subscribe with a policy that drops",
                options.block_timeout_ms
            ),
            _ => format!(
                "the subscriber is too slow: {most} events were pending, as many as maxPending allows, or memory was full, and its policy is disconnect: read faster, raise maxPending, or subscribe with a policy that drops"
            ),
        };
        self.disconnect(index, &text);
    }

    /// Cuts off a subscriber that may not lose events, and whose replay was too slow for the retention.
    fn disconnect_overtaken(&mut self, index: u32, passed: u64) {
        let text = format!(
            "the retention has dropped {passed} events that the replay had not come to, and the subscriber's policy does not drop: read faster, raise the retention, or subscribe with a policy that drops"
        );
        self.disconnect(index, &text);
    }

    fn disconnect(&mut self, index: u32, text: &str) {
        let registration = self.calls[index]
            .feed
            .as_ref()
            .and_then(|feed| feed.registration.as_ref());
        if let Some(registration) = registration
            && registration.standing().cut()
        {
            let disconnected = &registration.space().counters.disconnected;
            disconnected.fetch_add(1, Ordering::Relaxed);
        }
        self.totals.subscribers_disconnected += 1;
        self.fail_call(index, CAUSE_SLOW, Code::ResourceExhausted, text);
    }
}

/// Bytes of a turn's events from which on they are sent by reference: what a subscriber that does not
/// read holds of a block is used to a quarter at least.
const SHARED_RUN_BYTES: usize = BLOCK_BYTES / 4;

/// Frames events for a subscriber, by reference if they are many bytes; they fit into its window.
fn frame(
    connection: &mut Connection,
    heads: &ChunkPool,
    call: u32,
    stream: StreamKey,
    stretch: &Stretch<'_>,
) {
    let Connection {
        http2, building, ..
    } = connection;
    let limit = http2.max_frame_size();
    let shares = stretch.end - stretch.start >= SHARED_RUN_BYTES;
    let mut start = stretch.start;
    while start < stretch.end {
        let rest = stretch.end - start;
        // A message may begin in one frame and end in another.
        let piece = match building.tail_room(call, limit) {
            0 => limit.min(rest),
            room => room.min(rest),
        };
        if building.extend_tail(call, piece, limit) {
            http2.extend_data(stream, piece);
        } else {
            let head = http2.data_head(stream, piece, false);
            if shares {
                building.reserve_head(heads);
            }
            building.data_head(call, head, piece, true);
        }
        let part = start..start + piece;
        if shares {
            building.share_part(stretch.block, part);
        } else {
            building.write(&stretch.block.as_slice()[part]);
        }
        start += piece;
    }
}

/// What of the past a subscription begins with.
fn replay(topics: &Topics, subscribe: &Subscribe<'_>) -> Result<Option<Replay>, TopicsError> {
    if subscribe.start == Start::Latest {
        return Ok(None);
    }
    let pattern = topics.space().check_pattern(subscribe.pattern, None)?;
    topics.replay(subscribe.start, pattern).map(Some)
}
