//! Buffers, credit and budgets: what may stay in the ring, and how much a peer may still send.
//!
//! The rules are those of ARCHITECTURE.md, "Backpressure": a stream's credit returns when its
//! messages are consumed; a connection's when its bytes leave the ring, while it and the thread
//! are within their budgets; and a buffer stays in the ring only while it is well filled and its
//! connection within its share.

use millrace_ring::Level;

use crate::{Engine, engine::Input, layout::*, notice::Severity, overflow::Block, slots::Place};

/// The window that every connection starts with and that cannot be taken back (RFC 9113, 6.9.2).
pub(crate) const UNAVOIDABLE_WINDOW: u32 = 65_535;

impl Engine {
    /// What counts against `buffered_bytes_max`.
    pub(crate) fn buffered_bytes(&self) -> u64 {
        self.overflow.used_bytes() + self.window_extra
    }

    /// Whether unread bytes, with all that peers may still send, could take more than half of the
    /// budget: the windows that every connection has anyway and those granted beyond them may all
    /// be used at once, and the other half is for messages on their way in.
    fn is_full(&self) -> bool {
        let unavoidable = self.live_connections as u64 * u64::from(UNAVOIDABLE_WINDOW);
        let possible = self.buffered_bytes() + self.window_extra + unavoidable;
        possible > self.options.buffered_bytes_max / 2
    }

    /// Takes overflow memory for bytes that have been admitted already.
    pub(crate) fn take_block(&mut self, length: usize) -> Block {
        match self.overflow.take(length) {
            Ok(block) => {
                self.totals.buffered_highest =
                    self.totals.buffered_highest.max(self.buffered_bytes());
                block
            }
            Err(error) => panic!("the system refuses {length} bytes of overflow memory: {error}"),
        }
    }

    pub(crate) fn give_back(&mut self, block: Block) {
        self.overflow.give_back(block);
        self.raw_wake = true;
    }

    /// Frees a slot and whatever memory its message pinned.
    #[inline]
    pub(crate) fn free_slot(&mut self, slot: u32) {
        let length = self.slots.length(slot);
        match self.slots.place(slot) {
            Place::Ring { buffer, .. } => {
                if self.ledger.drop_reference(buffer, length) {
                    self.release_buffer(buffer);
                }
            }
            Place::Overflow(block) => {
                self.unpacked -= usize::from(self.slots.is_compressed(slot));
                self.give_back(block);
            }
            Place::Empty => {}
        }
        self.slots.free(slot);
    }

    /// Nothing of ours is left in the buffer: the kernel may have it again.
    pub(crate) fn release_buffer(&mut self, number: u16) {
        let buffer = &mut self.ledger.buffers[number as usize];
        let (index, serial, bytes, held) = (
            buffer.connection,
            buffer.serial,
            buffer.data_bytes,
            buffer.held,
        );
        buffer.held = false;
        buffer.data_bytes = 0;
        self.driver.release(number);
        if let Some(connection) = self.connections.get_mut(index)
            && connection.serial == serial
        {
            if held {
                connection.held_buffers -= 1;
            }
            connection.withheld += u64::from(bytes);
            self.settle_connection(index);
        }
    }

    /// Grants a connection the credit that is due, as far as it and the thread are within their
    /// budgets.
    pub(crate) fn settle_connection(&mut self, index: u32) {
        let full = self.is_full();
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let budget = u64::from(self.options.connection_budget_bytes);
        if connection.withheld == 0 {
            return;
        }
        let over = connection.unread >= budget
            || (full && connection.unread > u64::from(UNAVOIDABLE_WINDOW));
        let mut credit = connection.withheld;
        if over {
            // Messages that memory is reserved for must be able to arrive in any case.
            self.totals.credit_withheld += 1;
            let granted = connection.http2.connection_receive_window().max(0) as u64;
            let reserved = connection.expected.saturating_sub(granted);
            // The peer may use that credit for its other streams: twice the budget is the end.
            let bounded = connection.unread < 2 * budget;
            credit = if bounded { credit.min(reserved) } else { 0 };
        }
        if credit == 0 {
            return;
        }
        connection.http2.credit_connection(credit as u32);
        if over {
            connection.http2.flush_connection_credit();
        }
        connection.withheld -= credit;
        self.mark_dirty(index);
    }

    /// Widens a connection's window when it is first used, as far as the budget has room.
    #[inline]
    pub(crate) fn grant_window(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        if connection.window_extra > 0 {
            return;
        }
        let wanted = self
            .options
            .connection_window_bytes
            .saturating_sub(UNAVOIDABLE_WINDOW);
        let spare = (self.options.buffered_bytes_max / 8).saturating_sub(self.window_extra);
        let extra = wanted.min(u32::try_from(spare / 4).unwrap_or(u32::MAX));
        if extra == 0 {
            return;
        }
        connection.window_extra = extra;
        self.window_extra += u64::from(extra);
        connection.http2.credit_connection(extra);
        connection.http2.flush_connection_credit();
    }

    /// Bytes of a call were read (or dropped): they no longer count for it or its connection.
    #[inline]
    pub(crate) fn settle_unread(&mut self, index: u32, bytes: u64) {
        let call = &mut self.calls[index];
        debug_assert!(call.unread >= bytes);
        call.unread = call.unread.saturating_sub(bytes);
        call.unread_since = self.now;
        let connection_index = call.connection;
        if let Some(connection) = self.connections.get_mut(connection_index) {
            connection.unread = connection.unread.saturating_sub(bytes);
            if connection.withheld > 0 {
                self.settle_connection(connection_index);
            }
        }
    }

    /// Bytes of a call were read: the peer may send as many more, and a little further while the
    /// handler keeps up.
    pub(crate) fn credit_read(&mut self, index: u32, bytes: u64) {
        self.settle_unread(index, bytes);
        self.credit_stream(index, bytes as u32);
    }

    /// Returns credit to the stream of a call.
    pub(crate) fn credit_stream(&mut self, index: u32, bytes: u32) {
        let call = &mut self.calls[index];
        if call.remote_ended {
            return;
        }
        let Some(stream) = call.stream else { return };
        call.read_since_growth = call.read_since_growth.saturating_add(bytes);
        let mut credit = bytes;
        let maximum = self.options.stream_window_bytes_max;
        if call.window < maximum
            && call.read_since_growth >= call.window
            && call.unread == 0
            && self.driver.buffers().level() == Level::Open
        {
            let grown = call.window.saturating_mul(2).min(maximum);
            credit += grown - call.window;
            call.window = grown;
            call.read_since_growth = 0;
        }
        let connection = call.connection;
        if let Some(connection) = self.connections.get_mut(connection) {
            connection.http2.credit_stream(stream, credit);
        }
        self.mark_dirty(connection);
    }

    /// JavaScript has decoded the messages of the batch's REQUEST records.
    pub(crate) fn release_requests(&mut self) {
        // A record that has to wait for the next batch may name one of them.
        if !self.late_records.is_empty() {
            return;
        }
        let mut slots = std::mem::take(&mut self.request_slots);
        for slot in slots.drain(..) {
            self.free_slot(slot);
        }
        self.request_slots = slots;
    }

    /// Decides, at the end of a batch, which buffers stay in the ring.
    pub(crate) fn settle_buffers(&mut self) {
        self.note_depth();
        self.publish_level();
        let parsing = self.part.as_ref().and_then(|part| match part.input {
            Input::Ring(buffer) => Some(buffer),
            Input::Memory(_) => None,
        });
        let mut touched = std::mem::take(&mut self.ledger.touched);
        for number in touched.drain(..) {
            let buffer = &mut self.ledger.buffers[number as usize];
            if buffer.references == 0 || buffer.held || parsing == Some(number) {
                continue;
            }
            buffer.held = true;
            let (index, serial, filling) = (buffer.connection, buffer.serial, buffer.filling);
            let bytes = std::mem::take(&mut buffer.data_bytes);
            self.ledger.hold(number, filling);
            let mut over = None;
            if let Some(connection) = self.connections.get_mut(index)
                && connection.serial == serial
            {
                // What stays in the ring is bounded by the connection's share of it, and must not
                // keep the connection's other streams from receiving.
                connection.withheld += u64::from(bytes);
                while let Some(&(oldest, filling)) = connection.held.front()
                    && !self.ledger.is_current(oldest, filling)
                {
                    connection.held.pop_front();
                }
                connection.held.push_back((number, filling));
                if connection.held.len() > 4 * self.ledger.buffers.len() {
                    let ledger = &self.ledger;
                    connection
                        .held
                        .retain(|&(number, filling)| ledger.is_current(number, filling));
                }
                connection.held_buffers += 1;
                while connection.held_buffers > self.ledger.share {
                    let Some((oldest, filling)) = connection.held.pop_front() else {
                        break;
                    };
                    if self.ledger.is_current(oldest, filling) {
                        over = Some(oldest);
                        break;
                    }
                }
            }
            self.settle_connection(index);
            if let Some(oldest) = over {
                self.copy_out(oldest);
            }
            if self.ledger.buffers[number as usize].held && self.ledger.is_thin(number) {
                self.copy_out(number);
            }
        }
        if let Some(number) = parsing {
            touched.push(number);
        }
        self.ledger.touched = touched;
        let mut thin = std::mem::take(&mut self.ledger.thin);
        for number in thin.drain(..) {
            if self.ledger.buffers[number as usize].held && self.ledger.is_thin(number) {
                self.copy_out(number);
            }
        }
        thin.append(&mut self.ledger.thin);
        self.ledger.thin = thin;
        match self.driver.buffers().level() {
            Level::Open => {
                while let Some(&(number, filling)) = self.ledger.held.front()
                    && !self.ledger.is_current(number, filling)
                {
                    self.ledger.held.pop_front();
                }
            }
            Level::Low => self.copy_out_held_before(self.turn),
            Level::Critical => self.copy_out_held_before(self.turn.wrapping_add(1)),
        }
    }

    fn copy_out_held_before(&mut self, turn: u32) {
        while let Some(&(number, filling)) = self.ledger.held.front() {
            let current = self.ledger.is_current(number, filling);
            if current && self.ledger.buffers[number as usize].turn == turn {
                return;
            }
            if current {
                self.copy_out(number);
                if self.spare_wanted {
                    return;
                }
            }
            self.ledger.held.pop_front();
        }
    }

    /// Has a segment ready for what the end of this turn moves out of the ring: JavaScript must
    /// hear of it before a slot names it, and it hears of segments at the start of a turn.
    pub(crate) fn reserve_spare(&mut self) {
        self.spare_wanted = false;
        if let Err(error) = self.overflow.reserve_spare() {
            let message = format!("no overflow memory can be mapped: {error}");
            self.notices.push(Severity::Error, "memory", None, message);
        }
    }

    /// Moves every message out of a buffer, which thereby returns.
    fn copy_out(&mut self, number: u16) {
        let slots = std::mem::take(&mut self.ledger.buffers[number as usize].slots);
        let ring = std::sync::Arc::clone(&self.ring);
        let mut emptied = false;
        for &slot in &slots {
            let Place::Ring { buffer, offset } = self.slots.place(slot) else {
                continue;
            };
            if buffer != number {
                continue;
            }
            let length = self.slots.length(slot);
            if !self.overflow.is_known(length as usize) {
                self.spare_wanted = true;
                self.ledger.thin.push(number);
                break;
            }
            let block = self.take_block(length as usize);
            self.overflow.fill(
                block,
                0,
                crate::shared::bytes(&ring, offset as usize, length as usize),
            );
            self.slots.relocate(slot, block);
            self.totals.copied_out_bytes += u64::from(length);
            emptied = self.ledger.drop_reference(number, length);
        }
        self.ledger.buffers[number as usize].slots = slots;
        if emptied {
            self.release_buffer(number);
        }
    }

    /// Remembers how deep the ring was used: when completions were reaped, and when the batch ended,
    /// before what it held was moved out of the way.
    pub(crate) fn note_depth(&mut self) {
        let level = match self.driver.buffers().level() {
            Level::Open => 0,
            Level::Low => 1,
            Level::Critical => 2,
        };
        self.worst_level = self.worst_level.max(level);
    }

    /// Shows JavaScript and the statistics the worst level of the turn.
    fn publish_level(&mut self) {
        let level = std::mem::take(&mut self.worst_level);
        if level == self.control.get(CONTROL_LEVEL) {
            return;
        }
        self.control.set(CONTROL_LEVEL, level);
        self.totals.level_changes += 1;
        match level {
            1 => self.totals.level_low += 1,
            2 => self.totals.level_critical += 1,
            _ => {}
        }
    }

    /// Shows JavaScript how full the ring is, and whether the budget for unsent bytes is.
    pub(crate) fn publish_pressure(&mut self) {
        self.control
            .set(CONTROL_RING_FREE, self.driver.buffers().free());
        let was_full = self.control.get(CONTROL_OUTBOUND_FULL) == 1;
        let full = self.unsent_bytes() >= self.unsent_bound(was_full);
        self.control.set(CONTROL_OUTBOUND_FULL, u32::from(full));
        if was_full && !full {
            self.wake_writers();
        }
    }

    /// Shows JavaScript in the middle of its batch that the budget for unsent bytes is full: all of
    /// its handlers may be writing in this batch.
    pub(crate) fn notice_unsent(&mut self) {
        for position in 0..self.dirty.len() {
            self.count_framed(self.dirty[position]);
        }
        if self.unsent_bytes() >= self.unsent_bound(false) {
            self.control.set(CONTROL_OUTBOUND_FULL, 1);
        }
    }

    /// What counts against `unsent_bytes_max`.
    pub(crate) fn unsent_bytes(&self) -> u64 {
        self.pending_bytes + self.framed_bytes + self.hub.waiting_bytes()
    }

    /// Full from the maximum on, until a quarter of it is free.
    fn unsent_bound(&self, was_full: bool) -> u64 {
        let maximum = self.options.unsent_bytes_max;
        if was_full { maximum / 4 * 3 } else { maximum }
    }

    /// While the budget for unsent bytes is full: ends the calls whose peers have not taken what
    /// waits for them for too long, oldest first. Peers that do not read at all are cut by
    /// `send_progress_timeout_ms`; these may read, and give their streams no window.
    pub(crate) fn end_untaken_replies(&mut self) {
        let is_full = |engine: &Self| {
            engine.control.get(CONTROL_OUTBOUND_FULL) == 1
                && engine.unsent_bytes() >= engine.unsent_bound(true)
        };
        if !is_full(self) {
            return;
        }
        let limit = self
            .now
            .saturating_sub(self.options.stalled_stream_timeout_ms);
        let stuck: Vec<(u64, u32)> = self
            .calls
            .indices()
            .filter(|&index| {
                let call = &self.calls[index];
                call.in_use && !call.cancelled && call.pending_bytes > 0 && call.held_since < limit
            })
            .map(|index| (self.calls[index].held_since, index))
            .collect();
        self.end_oldest(
            stuck,
            is_full,
            |path| format!("what {path} has to send was not taken"),
            "the memory for unsent messages is full and this stream's were not taken",
        );
    }

    /// The thread's budget for unsent bytes has room again: whoever waited for it may write.
    fn wake_writers(&mut self) {
        for index in self.calls.indices() {
            let call = &self.calls[index];
            if call.in_use && call.announced && !call.released && !call.cancelled && !call.blocked {
                let reference = self.calls.reference(index);
                self.push_record([RECORD_WRITABLE, reference, NO_SLOT, 0]);
            }
        }
        for index in self.connections.indices() {
            self.unblock(index);
        }
    }

    /// Whether somebody has to do without memory.
    fn is_short(&self) -> bool {
        !self.raw_calls.is_empty() || self.is_full()
    }

    /// While memory is short: ends the calls that nobody has read for too long, oldest first.
    pub(crate) fn end_stalled_calls(&mut self) {
        if !self.is_short() {
            return;
        }
        let limit = self
            .now
            .saturating_sub(self.options.stalled_stream_timeout_ms);
        let stalled: Vec<(u64, u32)> = self
            .calls
            .indices()
            .filter(|&index| {
                let call = &self.calls[index];
                let stands = call
                    .assembly
                    .as_ref()
                    .map_or(call.unread > 0, |assembly| assembly.progress_at < limit);
                call.in_use && !call.cancelled && stands && call.unread_since < limit
            })
            .map(|index| (self.calls[index].unread_since, index))
            .collect();
        self.end_oldest(
            stalled,
            Self::is_short,
            |path| format!("{path} was not read"),
            "the server's memory for unread messages is full and this stream was not read",
        );
    }

    /// Ends calls, each with the time since when it has stood still, the oldest first, as long as memory is
    /// short. `complaint` says of a method what was not done, and `status` is for the peer.
    fn end_oldest(
        &mut self,
        mut stalled: Vec<(u64, u32)>,
        is_short: impl Fn(&Self) -> bool,
        complaint: impl Fn(&str) -> String,
        status: &str,
    ) {
        stalled.sort_unstable();
        for (_, index) in stalled {
            if !is_short(self) {
                return;
            }
            self.totals.stalled_streams += 1;
            let peer = self.peer_of(self.calls[index].connection);
            let what = complaint(&self.methods[self.calls[index].method as usize].path);
            let message = format!("{what} for too long while memory was full; its call was ended");
            self.notices
                .push(Severity::Warn, "stalled_stream", peer, message);
            let code = millrace_grpc::Code::ResourceExhausted;
            self.fail_call(index, CAUSE_STALLED, code, status);
        }
    }
}
