//! From operations to frames: drains what JavaScript queued.

use std::sync::Arc;

use millrace_grpc::Code;
use millrace_http2::Reason;

use crate::{Engine, layout::*, shared};

impl Engine {
    pub(crate) fn drain_operations(&mut self) {
        // What was published before a call ended is sent before its end.
        self.fan_out();
        let count = (self.control.get(CONTROL_OPERATION_COUNT) as usize).min(OPERATION_CAPACITY);
        if count == 0 {
            return;
        }
        self.control.set(CONTROL_OPERATION_COUNT, 0);
        self.control.set(CONTROL_ARENA_USED, 0);
        self.control.set(
            CONTROL_EPOCH,
            self.control.get(CONTROL_EPOCH).wrapping_add(1),
        );
        if self.is_client() {
            // Calls that start now count their deadlines from now.
            self.tick();
        }
        self.drain_number = self.drain_number.wrapping_add(1);
        self.totals.operations += count as u64;
        let arena = Arc::clone(&self.arena);
        for number in 0..count {
            let [head, reference, a, b] = self.operations.get4(number);
            if head & 0xff == OPERATION_START && self.is_client() {
                self.start(head, reference, a, b);
                continue;
            }
            let Some(index) = self.calls.find(reference) else {
                continue;
            };
            let bytes = || shared::bytes(&arena, a as usize, b as usize);
            if self.is_client() && self.client_operation(head, index, bytes()) {
                continue;
            }
            match head & 0xff {
                OPERATION_REPLY => {
                    self.reply(index, bytes());
                }
                OPERATION_MESSAGE => self.send_message(index, bytes()),
                OPERATION_CONSUMED => self.consume(index),
                OPERATION_STATUS => {
                    self.status(index, Code::from_number(head >> 8 & 0xff), bytes())
                }
                OPERATION_HEADERS => self.headers(index, bytes()),
                OPERATION_REASON => self.reason(index, bytes()),
                OPERATION_READING => {
                    self.calls[index].reading = true;
                    self.wake_inbound(index);
                }
                OPERATION_DISCARD => self.discard(index),
                OPERATION_RELEASE => self.released(index),
                OPERATION_COMPRESSION => self.set_compression(index, a, b == 1),
                OPERATION_RESET => {
                    let call = &self.calls[index];
                    if let Some(stream) = call.stream
                        && !call.cancelled
                    {
                        self.reset_stream(call.connection, stream, Reason(a));
                        self.end_call(index, CAUSE_RESET, Code::Cancelled);
                    }
                }
                other => debug_assert!(false, "unknown operation {other}"),
            }
        }
    }

    /// An operation that means something else to a client; false if it does not.
    fn client_operation(&mut self, head: u32, index: u32, bytes: &[u8]) -> bool {
        let flags = head >> 8 & 0xff;
        match head & 0xff {
            OPERATION_MESSAGE => {
                self.send_message(index, bytes);
                if flags & MESSAGE_END != 0 {
                    self.end_request(index);
                }
            }
            OPERATION_END => self.end_request(index),
            OPERATION_HEADERS => self.request_metadata(index, bytes),
            OPERATION_CANCEL => self.cancel(index, Code::from_number(flags)),
            OPERATION_RELEASE => self.forget(index),
            OPERATION_RESET | OPERATION_REPLY | OPERATION_STATUS | OPERATION_REASON => {
                debug_assert!(false, "operation {} of a server", head & 0xff);
            }
            _ => return false,
        }
        true
    }

    /// JavaScript has consumed messages: their memory and their credit return.
    fn consume(&mut self, index: u32) {
        let total = self.consumed.get(index as usize);
        let call = &self.calls[index];
        let count = total.wrapping_sub(call.consumed).min(call.waiting());
        let mut credit: u64 = 0;
        for _ in 0..count {
            let slot = self.calls[index].first;
            if slot == NO_SLOT {
                break;
            }
            let next = self.slots.next(slot);
            let call = &mut self.calls[index];
            call.first = next;
            if next == NO_SLOT {
                call.last = NO_SLOT;
            }
            call.consumed = call.consumed.wrapping_add(1);
            credit += u64::from(self.slots.credit(slot));
            if call.unpacked_waiting > 0 && self.slots.is_compressed(slot) {
                call.unpacked_waiting -= u64::from(self.slots.length(slot));
            }
            self.free_slot(slot);
        }
        self.credit_read(index, credit);
        self.wake_inbound(index);
    }

    /// A reader has come, or moved on: what waited for it may go on.
    fn wake_inbound(&mut self, index: u32) {
        let call = &self.calls[index];
        if !call.raw.is_empty() && call.waiting() < crate::inbound::WAITING_MAX / 2 {
            self.wake_raw(index);
        }
    }

    /// The handler left its request stream: the rest is dropped and credited.
    pub(crate) fn discard(&mut self, index: u32) {
        if self.calls[index].cancelled {
            return;
        }
        self.calls[index].discarding = true;
        let unread = self.calls[index].unread;
        self.drop_inbound(index);
        self.credit_stream(index, unread as u32);
    }

    /// Frees everything that was received for a call and not consumed.
    pub(crate) fn drop_inbound(&mut self, index: u32) {
        let mut slot = std::mem::replace(&mut self.calls[index].first, NO_SLOT);
        // A record of this batch may name them: they must not hold another call's message yet.
        let named = self.collecting && self.calls[index].announced;
        while slot != NO_SLOT {
            let next = self.slots.next(slot);
            if named {
                self.request_slots.push(slot);
            } else {
                self.free_slot(slot);
            }
            slot = next;
        }
        let call = &mut self.calls[index];
        call.last = NO_SLOT;
        call.unpacked_waiting = 0;
        call.unpacked_needed = 0;
        call.consumed = call.delivered;
        self.drop_undivided(index);
        let unread = self.calls[index].unread;
        self.settle_unread(index, unread);
    }

    /// Frees what was received for a call and is no message that JavaScript knows of.
    pub(crate) fn drop_undelivered(&mut self, index: u32) {
        self.drop_undivided(index);
        let mut delivered = 0;
        let mut slot = self.calls[index].first;
        while slot != NO_SLOT {
            delivered += u64::from(self.slots.credit(slot));
            slot = self.slots.next(slot);
        }
        let unread = self.calls[index].unread;
        self.settle_unread(index, unread.saturating_sub(delivered));
    }

    fn drop_undivided(&mut self, index: u32) {
        let call = &mut self.calls[index];
        let connection = call.connection;
        if let Some(assembly) = call.assembly.take() {
            self.assemblies -= 1;
            self.raw_wake = true;
            if let Some(connection) = self.connections.get_mut(connection) {
                connection.expected -= u64::from(assembly.length - assembly.filled);
                if !assembly.eager {
                    connection.unread += u64::from(assembly.filled);
                }
            }
            self.give_back(assembly.block);
        }
        while let Some(raw) = self.calls[index].raw.pop_front() {
            self.give_back(raw.block);
        }
    }
}
