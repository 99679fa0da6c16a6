//! One thread's engine: what it owns, and the turn in which everything happens.

use std::{
    collections::{HashMap, VecDeque},
    os::fd::{OwnedFd, RawFd},
    sync::Arc,
    time::Instant,
};

use millrace_http2 as http2;
use millrace_ring::{Completion, Driver, ListenerId, SharedMemory, select};

use crate::{
    EngineError, Options, adopted_listener,
    call::{Calls, Method},
    compression::Codec,
    connections::Connections,
    handover::Handover,
    layout::*,
    ledger::Ledger,
    listener,
    notice::{Notice, Notices, Severity},
    options::Role,
    overflow::Overflow,
    shared::Words,
    slots::Slots,
    stats::Totals,
    tls::HANDSHAKES,
    topics::Hub,
    unix_listener::UnixListener,
    wheel::Wheel,
};
use millrace_grpc::Encoding;

/// Completions taken from the driver at a time.
const COMPLETIONS: usize = 1024;
/// Records from which no further input is parsed in a batch; the rest of the table is room for
/// the messages of one more piece of DATA.
const RECORDS_SOFT: usize = 4096;
/// Received bytes, and bytes unpacked, from which no further input is parsed in a batch: copying and
/// unpacking them takes time in which the application's timers wait.
pub(crate) const BYTES_SOFT: usize = 512 * 1024;
/// Resets that a connection has to its credit from the start while the thread is under attack; others
/// it earns by calls that it lets finish.
const DISTRUSTED_RESETS: u32 = 100;
/// How often connections are looked at for timeouts.
const SWEEP_MS: u64 = 500;

/// What a turn has for JavaScript.
#[derive(Clone, Copy, Debug, Default)]
pub struct Collected {
    /// Records in the table.
    pub records: u32,
    /// There are notices to take.
    pub notices: bool,
    /// There are regions to announce before any record is read.
    pub regions: bool,
}

impl Collected {
    /// Whether there is nothing to enter JavaScript for.
    pub fn is_empty(self) -> bool {
        self.records == 0 && !self.notices && !self.regions
    }
}

/// The memory that JavaScript gets to see, beside the overflow regions.
#[allow(missing_docs)] // the fields are the tables of `layout`
pub struct Views {
    pub control: Arc<SharedMemory>,
    pub records: Arc<SharedMemory>,
    pub slots: Arc<SharedMemory>,
    pub consumed: Arc<SharedMemory>,
    pub pending: Arc<SharedMemory>,
    pub operations: Arc<SharedMemory>,
    pub arena: Arc<SharedMemory>,
    pub ring: Arc<SharedMemory>,
}

/// Where the bytes that are being parsed lie.
pub(crate) enum Input {
    /// In a receive buffer.
    Ring(u16),
    /// In memory of their own, since they were decrypted.
    Memory(Vec<u8>),
}

/// Received bytes that are being parsed.
pub(crate) struct Part {
    pub(crate) connection: u32,
    pub(crate) serial: u32,
    pub(crate) input: Input,
    pub(crate) position: usize,
    pub(crate) length: usize,
}

/// Joins the driver, HTTP/2 and gRPC for one thread.
///
/// # How to drive it
///
/// One turn, whenever [`Engine::descriptor`] is readable, [`Engine::next_timeout`] has passed or
/// [`Engine::ready`] says so:
///
/// 1. [`Engine::collect`] reaps completions and fills the record table;
/// 2. if that found anything, tell JavaScript, once: first the regions, then the notices, then
///    the records. JavaScript may call [`Engine::flush`] meanwhile, and any getter;
/// 3. [`Engine::apply`] drains what JavaScript queued, and gives the kernel all of it at once.
///
/// [`Engine::apply`] also serves operations that JavaScript queued outside of a turn.
pub struct Engine {
    pub(crate) options: Options,
    pub(crate) driver: Box<dyn Driver>,
    driver_name: &'static str,
    driver_reason: String,
    pub(crate) ring: Arc<SharedMemory>,
    pub(crate) control: Words,
    pub(crate) records: Words,
    pub(crate) consumed: Words,
    pub(crate) pending: Words,
    pub(crate) operations: Words,
    pub(crate) arena: Arc<SharedMemory>,
    pub(crate) slots: Slots,
    pub(crate) overflow: Overflow,
    pub(crate) ledger: Ledger,
    pub(crate) calls: Calls,
    pub(crate) connections: Connections,
    pub(crate) live_connections: usize,
    pub(crate) serial: u32,
    pub(crate) methods: Vec<Method>,
    pub(crate) paths: HashMap<Box<[u8]>, u16>,
    pub(crate) listeners: Vec<ListenerId>,
    pub(crate) unix_listeners: Vec<Arc<UnixListener>>,
    /// With the engines that accept from the same Unix socket.
    pub(crate) handover: Option<Handover>,
    pub(crate) completions: Vec<Completion>,
    pub(crate) more_completions: bool,
    pub(crate) part: Option<Part>,
    pub(crate) record_count: usize,
    /// Records belong to the batch that is being collected; at other times they wait for the next.
    pub(crate) collecting: bool,
    pub(crate) late_records: VecDeque<[u32; 4]>,
    /// Slots that JavaScript may still read in this batch and that are free when it is over.
    pub(crate) request_slots: Vec<u32>,
    pub(crate) dirty: Vec<u32>,
    /// Calls with undivided bytes: those that wait for memory, and those whose reader has come.
    pub(crate) raw_calls: VecDeque<u32>,
    pub(crate) woken_calls: VecDeque<u32>,
    /// Calls whose deadline has passed in this turn.
    pub(crate) expired: Vec<u32>,
    pub(crate) raw_wake: bool,
    /// A buffer could not be copied out because JavaScript knows of no segment with room.
    pub(crate) spare_wanted: bool,
    /// Messages that memory is reserved for and that are not complete.
    pub(crate) assemblies: usize,
    /// The connection whose large messages go first while memory is scarce.
    pub(crate) favoured: Option<u32>,
    /// The worst level of the receive ring in this turn.
    pub(crate) worst_level: u32,
    pub(crate) window_extra: u64,
    pub(crate) pending_bytes: u64,
    /// Bytes framed that the kernel has not sent, of all connections.
    pub(crate) framed_bytes: u64,
    pub(crate) turn: u32,
    pub(crate) drain_number: u32,
    /// The topics to which calls have subscribed.
    pub(crate) hub: Hub,
    pub(crate) scratch: Vec<u8>,
    /// What connections that are accepted have to speak.
    pub(crate) tls: Option<millrace_tls::ServerConfig>,
    /// How connections that are opened speak TLS, by what they were given.
    pub(crate) tls_clients: Vec<(millrace_tls::ClientOptions, millrace_tls::ClientConfig)>,
    /// Memory for what is decrypted next.
    pub(crate) plaintext: Vec<u8>,
    /// Bytes received that were taken in this batch.
    pub(crate) batch_bytes: usize,
    /// Handshake messages answered in this batch.
    pub(crate) handshakes: u32,
    pub(crate) message_scratch: Vec<u8>,
    pub(crate) codec: Codec,
    /// Unpacked messages that have not been read.
    pub(crate) unpacked: usize,
    pub(crate) reply_encoding: Encoding,
    pub(crate) wheel: Wheel,
    due: Vec<u32>,
    started: Instant,
    /// By how much `advance` has moved the clock.
    ahead_ms: u64,
    pub(crate) now: u64,
    /// When connections are looked at next.
    pub(crate) next_sweep: u64,
    pub(crate) accepting_failed: bool,
    /// Until then the thread is under attack: a connection was cut for abuse lately.
    pub(crate) attacked_until: u64,
    pub(crate) draining: bool,
    pub(crate) drained_notice: bool,
    /// A client's connections that are not ready yet.
    pub(crate) setups: usize,
    closed: bool,
    pub(crate) notices: Notices,
    pub(crate) totals: Totals,
}

impl Engine {
    /// Chooses a driver and maps the tables.
    ///
    /// # Errors
    /// Limits that cannot work together, a driver that cannot run here, or no memory.
    pub fn new(options: Options) -> Result<Self, EngineError> {
        options.check().map_err(|message| EngineError {
            code: "MILLRACE_LIMITS",
            message,
        })?;
        let selection = select(
            options.driver,
            &millrace_ring::Options {
                buffers: options.ring_buffers,
                buffer_bytes: options.ring_buffer_bytes,
                submission_entries: options.submission_entries,
                completion_entries: options.completion_entries,
                send_ring_entries: options.send_ring_entries,
                send_rings: options.send_rings,
                ..millrace_ring::Options::default()
            },
        )
        .map_err(|error| EngineError {
            code: "MILLRACE_DRIVER_UNAVAILABLE",
            message: error.to_string(),
        })?;
        let memory = |error: std::io::Error| EngineError {
            code: "MILLRACE_MEMORY",
            message: format!("cannot map the engine's tables: {error}"),
        };
        let call_capacity = options.concurrent_calls.next_power_of_two() as usize;
        let control = Words::new(CONTROL_WORDS).map_err(memory)?;
        control.set(CONTROL_RECORD_CAPACITY, RECORD_CAPACITY as u32);
        control.set(CONTROL_OPERATION_CAPACITY, OPERATION_CAPACITY as u32);
        control.set(CONTROL_CALL_CAPACITY, call_capacity as u32);
        control.set(CONTROL_STREAM_MARK, options.stream_unsent_bytes);
        control.set(CONTROL_RING_FREE, u32::from(options.ring_buffers));
        let started = Instant::now();
        let ring = Arc::clone(selection.driver.buffers().memory());
        Ok(Self {
            ring,
            driver: selection.driver,
            driver_name: selection.name,
            driver_reason: selection.reason,
            control,
            records: Words::new(RECORD_CAPACITY * RECORD_WORDS).map_err(memory)?,
            consumed: Words::new(call_capacity).map_err(memory)?,
            pending: Words::new(call_capacity).map_err(memory)?,
            operations: Words::new(OPERATION_CAPACITY * OPERATION_WORDS).map_err(memory)?,
            arena: SharedMemory::new(ARENA_BYTES).map_err(memory)?,
            slots: Slots::new(call_capacity).map_err(memory)?,
            overflow: Overflow::new(),
            ledger: Ledger::new(options.ring_buffers, options.ring_buffer_bytes),
            calls: Calls::new(
                options.concurrent_calls as usize,
                options.receive_message_bytes,
            ),
            connections: Connections::default(),
            live_connections: 0,
            serial: 0,
            methods: Vec::new(),
            paths: HashMap::new(),
            listeners: Vec::new(),
            unix_listeners: Vec::new(),
            handover: None,
            completions: Vec::new(),
            more_completions: false,
            part: None,
            record_count: 0,
            collecting: false,
            late_records: VecDeque::new(),
            request_slots: Vec::new(),
            dirty: Vec::new(),
            raw_calls: VecDeque::new(),
            woken_calls: VecDeque::new(),
            expired: Vec::new(),
            raw_wake: false,
            spare_wanted: false,
            assemblies: 0,
            favoured: None,
            worst_level: 0,
            window_extra: 0,
            pending_bytes: 0,
            framed_bytes: 0,
            turn: 0,
            drain_number: 0,
            hub: Hub::default(),
            scratch: Vec::new(),
            tls: None,
            tls_clients: Vec::new(),
            plaintext: Vec::new(),
            batch_bytes: 0,
            handshakes: 0,
            message_scratch: Vec::new(),
            codec: Codec::default(),
            unpacked: 0,
            reply_encoding: Encoding::from_number(options.reply_encoding).unwrap_or_default(),
            wheel: Wheel::new(0),
            due: Vec::new(),
            started,
            ahead_ms: 0,
            now: 0,
            next_sweep: SWEEP_MS,
            accepting_failed: false,
            attacked_until: 0,
            draining: false,
            drained_notice: false,
            setups: 0,
            closed: false,
            notices: Notices::default(),
            totals: Totals::default(),
            options,
        })
    }

    /// Readable when [`Engine::collect`] has something to do.
    pub fn descriptor(&self) -> RawFd {
        self.driver.descriptor()
    }

    /// The tables, to be shown to JavaScript.
    pub fn views(&self) -> Views {
        Views {
            control: self.control.memory(),
            records: self.records.memory(),
            slots: self.slots.words().memory(),
            consumed: self.consumed.memory(),
            pending: self.pending.memory(),
            operations: self.operations.memory(),
            arena: Arc::clone(&self.arena),
            ring: Arc::clone(&self.ring),
        }
    }

    /// Whether this engine connects and calls.
    #[inline]
    pub(crate) fn is_client(&self) -> bool {
        self.options.role == Role::Client
    }

    /// Names the methods that are answered; a method's number is its position. A client's are
    /// added to those it has, and the number of the first is returned.
    pub fn register(&mut self, methods: Vec<Method>) -> u32 {
        if self.is_client() {
            let first = self.methods.len() as u32;
            self.methods.extend(methods);
            return first;
        }
        self.paths = methods
            .iter()
            .enumerate()
            .map(|(number, method)| (method.path.as_bytes().into(), number as u16))
            .collect();
        self.methods = methods;
        0
    }

    /// Accepts connections on an address from the next [`Engine::apply`] on; tells the port.
    ///
    /// # Errors
    /// The address is unknown, in use or forbidden; the message names the remedy.
    pub fn listen(
        &mut self,
        host: &str,
        port: u16,
        reuse_port: bool,
        backlog: i32,
    ) -> Result<u16, EngineError> {
        let (descriptor, local) = listener::open(host, port, reuse_port, backlog)?;
        let listener = self.driver.listen(descriptor);
        self.listeners.push(listener);
        self.submit();
        Ok(local.port())
    }

    /// Accepts connections on a Unix socket, `unix:/path` or `unix-abstract:name`, from the next
    /// [`Engine::apply`] on. `mode` is the permission of the file; with `shared`, other engines of
    /// this process may accept from the same socket.
    ///
    /// # Errors
    /// Another server listens there, or the path cannot be used; the message names the remedy.
    pub fn listen_unix(
        &mut self,
        address: &str,
        mode: Option<u32>,
        shared: bool,
        backlog: i32,
    ) -> Result<(), EngineError> {
        let listener = UnixListener::open(address, mode, shared, backlog)?;
        let descriptor = listener.descriptor(address)?;
        if shared {
            self.take_seat(&listener)?;
        }
        self.listeners.push(self.driver.listen(descriptor));
        self.unix_listeners.push(listener);
        self.submit();
        Ok(())
    }

    /// Accepts connections on a socket that somebody else opened, from the next [`Engine::apply`]
    /// on.
    ///
    /// # Errors
    /// It is no stream socket that listens; the message names the remedy.
    pub fn listen_adopted(&mut self, descriptor: OwnedFd) -> Result<(), EngineError> {
        adopted_listener::listener_address(&descriptor)?;
        self.listeners.push(self.driver.listen(descriptor));
        self.submit();
        Ok(())
    }

    /// The driver's name.
    pub fn driver_name(&self) -> &'static str {
        self.driver_name
    }

    /// Why this driver was chosen, and what would lift it.
    pub fn driver_reason(&self) -> &str {
        &self.driver_reason
    }

    /// Reaps completions, parses what arrived and fills the record table. Bounded.
    pub fn collect(&mut self) -> Collected {
        if self.closed {
            return Collected::default();
        }
        // What JavaScript queued outside of a batch was meant for the connections as it knew them: a
        // call must not find its connection gone for what is read only now.
        self.drain_operations();
        self.wake_publishers();
        self.tick();
        self.collecting = true;
        self.record_count = 0;
        self.batch_bytes = 0;
        self.handshakes = 0;
        self.reserve_spare();
        self.turn = self.turn.wrapping_add(1);
        while self.record_count < RECORDS_SOFT
            && let Some(record) = self.late_records.pop_front()
        {
            self.records.set4(self.record_count, record);
            self.record_count += 1;
        }
        self.run_timers();
        self.resume_raw();
        // What had to wait must not keep out what arrives.
        self.batch_bytes = 0;
        if self.completions.is_empty() {
            self.more_completions = self.driver.complete(&mut self.completions, COMPLETIONS);
            self.completions.reverse();
            self.note_depth();
        }
        while self.record_count < RECORDS_SOFT
            && self.batch_bytes < BYTES_SOFT
            && self.handshakes < HANDSHAKES
        {
            if let Some(part) = self.part.take() {
                self.parse(part);
            } else if let Some(completion) = self.completions.pop() {
                self.complete(completion);
            } else {
                break;
            }
        }
        self.check_drained();
        self.control
            .set(CONTROL_RECORD_COUNT, self.record_count as u32);
        self.collecting = false;
        if self.record_count > 0 {
            self.totals.batches += 1;
            self.totals.records += self.record_count as u64;
            self.totals.batch_largest = self.totals.batch_largest.max(self.record_count as u64);
        }
        Collected {
            records: self.record_count as u32,
            notices: !self.notices.is_empty(),
            regions: self.overflow.has_announcements(),
        }
    }

    /// Ends a batch: drains what JavaScript queued, settles the buffers, frames and submits.
    pub fn apply(&mut self) {
        if self.closed {
            return;
        }
        self.record_count = 0;
        self.drain_operations();
        self.end_expired();
        self.release_requests();
        self.settle_buffers();
        self.flush_connections();
        self.settle_topics();
        self.publish_pressure();
        self.submit();
    }

    /// Drains the operation table and the arena in the middle of a batch.
    pub fn flush(&mut self) {
        if !self.closed {
            self.totals.flushes += 1;
            self.drain_operations();
            self.wake_publishers();
            self.notice_unsent();
        }
    }

    /// Whether [`Engine::collect`] has work without waiting for the descriptor.
    pub fn ready(&self) -> bool {
        !self.closed
            && (self.part.is_some()
                || !self.completions.is_empty()
                || self.more_completions
                || !self.late_records.is_empty()
                || self.spare_wanted
                || !self.woken_calls.is_empty()
                || (self.raw_wake && !self.raw_calls.is_empty())
                || !self.notices.is_empty()
                || self.hub.has_more()
                || self.driver.has_completions())
    }

    /// Whether JavaScript has queued or published something since the last drain.
    pub fn pending_operations(&self) -> bool {
        !self.closed && (self.control.get(CONTROL_OPERATION_COUNT) > 0 || self.hub.has_events())
    }

    /// Milliseconds until [`Engine::collect`] has a timer to run.
    pub fn next_timeout(&self) -> Option<u64> {
        let sweep = (self.live_connections > 0 || self.accepting_failed)
            .then(|| self.next_sweep.saturating_sub(self.now).max(1));
        match (self.wheel.next(self.now), sweep) {
            (Some(deadline), Some(sweep)) => Some(deadline.min(sweep)),
            (deadline, sweep) => deadline.or(sweep),
        }
    }

    /// Overflow regions that JavaScript has not seen, by number.
    pub fn take_regions(&mut self) -> Vec<(u32, Arc<SharedMemory>)> {
        self.overflow.take_announcements()
    }

    /// What the log should say.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        self.notices.take()
    }

    /// Calls that are not over.
    pub fn active_calls(&self) -> u32 {
        self.calls.live() as u32
    }

    /// Whether a process with this engine has something to wait for: connections to accept, calls
    /// that are not over, or connections that are being set up for some.
    pub fn keeps_alive(&self) -> bool {
        self.has_listener() || self.active_calls() > 0 || self.is_setting_up()
    }

    /// Whether connections are accepted.
    pub fn has_listener(&self) -> bool {
        !self.listeners.is_empty()
    }

    /// Ends every connection and gives everything back. The engine is of no use afterwards.
    pub fn close(&mut self) {
        if !self.closed {
            self.closed = true;
            self.part = None;
            self.completions.clear();
            self.connections.clear();
            self.live_connections = 0;
            self.listeners.clear();
            self.unix_listeners.clear();
            self.handover = None;
            self.driver.shutdown();
        }
    }

    fn submit(&mut self) {
        if let Err(error) = self.driver.submit() {
            self.notices.push(
                Severity::Error,
                "driver_failed",
                None,
                format!("the {} driver cannot submit: {error}", self.driver_name),
            );
        }
    }

    pub(crate) fn tick(&mut self) {
        self.now = self.started.elapsed().as_millis() as u64 + self.ahead_ms;
    }

    /// Moves the clock ahead: what is timed here (deadlines, keepalive, limits on idleness) comes
    /// due as if that much time had passed. For tests that do not want to wait.
    pub fn advance(&mut self, milliseconds: u64) {
        self.ahead_ms += milliseconds;
        self.tick();
    }

    fn run_timers(&mut self) {
        if self.wheel.len() > 2 * self.calls.live() + 4096 {
            let calls = &self.calls;
            self.wheel
                .retain(|reference| calls.find(reference).is_some());
        }
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(self.now, &mut due);
        for reference in due.drain(..) {
            self.deadline_passed(reference);
        }
        self.due = due;
        if self.now >= self.next_sweep {
            self.next_sweep = self.now + SWEEP_MS;
            self.sweep_connections();
            if self.is_client() {
                self.watch_links();
            }
        }
    }

    /// Appends a record to the batch that is being collected, or to the next.
    #[inline]
    pub(crate) fn push_record(&mut self, record: [u32; 4]) {
        let in_turn = self.collecting && self.late_records.is_empty();
        if !in_turn || self.record_count == RECORD_CAPACITY {
            self.late_records.push_back(record);
        } else {
            self.records.set4(self.record_count, record);
            self.record_count += 1;
        }
    }

    pub(crate) fn http2_limits(&self) -> http2::Limits {
        let options = &self.options;
        let positive = |milliseconds: u64| (milliseconds > 0).then_some(milliseconds);
        let limits = options.http2.clone();
        http2::Limits {
            reset_burst_initial: if self.now < self.attacked_until {
                DISTRUSTED_RESETS
            } else {
                limits.reset_burst
            },
            max_concurrent_streams: options.concurrent_streams,
            initial_window_bytes: options.stream_window_bytes,
            header_list_soft_bytes: options.header_list_bytes,
            header_list_hard_bytes: options.header_list_bytes * 2,
            handshake_timeout: options.handshake_timeout_ms,
            header_block_timeout: options.handshake_timeout_ms,
            keepalive_interval: positive(options.keepalive_time_ms),
            keepalive_timeout: options.keepalive_timeout_ms,
            ping_strike_interval: positive(options.keepalive_min_time_ms),
            pings_without_streams: options.keepalive_permit_without_calls,
            ping_strikes: options.keepalive_ping_strikes,
            max_connection_idle: positive(options.max_connection_idle_ms),
            ..limits
        }
    }
}
