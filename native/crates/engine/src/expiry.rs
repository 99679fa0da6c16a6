//! Calls whose deadline has passed: what they say of where the time went.
//!
//! A server's call is over for its handler at once. Its status leaves at the end of the turn, so that
//! JavaScript, which has measured the handler, can put the breakdown into it.

use millrace_grpc::Code;

use crate::{Engine, call::Trailers, layout::*};

const PASSED: &str = "the deadline passed before the call was over";
const ARRIVING: &str = "the deadline passed before the whole request had arrived";
const LEAVING: &str = "the deadline passed while the response waited for the client's window";

impl Engine {
    pub(crate) fn deadline_passed(&mut self, reference: u32) {
        let Some(index) = self.calls.find(reference) else {
            return;
        };
        let call = &self.calls[index];
        if call.cancelled
            || call.stream_over
            || call.deadline.is_none_or(|deadline| deadline > self.now)
        {
            return;
        }
        self.totals.deadlines_exceeded += 1;
        if self.is_client() {
            let text = self.deadline_text(index);
            return self.end_locally(index, Code::DeadlineExceeded, &text, 0);
        }
        if call.announced && !call.released {
            return self.expire(index);
        }
        let text = if call.announced { LEAVING } else { ARRIVING };
        self.fail_call(index, CAUSE_DEADLINE, Code::DeadlineExceeded, text);
    }

    /// Tells the handler, and has the status wait for what JavaScript says.
    fn expire(&mut self, index: u32) {
        self.drop_inbound(index);
        self.drop_pending(index);
        let call = &mut self.calls[index];
        call.cancelled = true;
        call.expired = true;
        self.totals.calls_cancelled += 1;
        let method = u32::from(call.method);
        let reference = self.calls.reference(index);
        self.expired.push(reference);
        self.push_record([
            RECORD_CANCEL | CAUSE_DEADLINE << 8 | method << 16,
            reference,
            NO_SLOT,
            Code::DeadlineExceeded.number(),
        ]);
    }

    /// Where the time went, by JavaScript: u32 length of the message, message, trailers.
    pub(crate) fn reason(&mut self, index: u32, block: &[u8]) {
        let call = &mut self.calls[index];
        if !call.expired {
            return;
        }
        if let Some((length, rest)) = block.split_first_chunk::<4>() {
            let length = (u32::from_le_bytes(*length) as usize).min(rest.len());
            call.trailers = Some(Box::new(Trailers {
                code: Code::DeadlineExceeded,
                message: rest[..length].to_vec(),
                metadata: rest[length..].to_vec(),
            }));
        }
    }

    /// Sends the statuses of the calls that expired in this turn.
    pub(crate) fn end_expired(&mut self) {
        let mut expired = std::mem::take(&mut self.expired);
        for reference in expired.drain(..) {
            let Some(index) = self.calls.find(reference) else {
                continue;
            };
            let call = &mut self.calls[index];
            call.expired = false;
            let trailers = call.trailers.take();
            // Its client, or its connection, may have been faster.
            if call.stream_over {
                continue;
            }
            let (message, metadata) = trailers
                .as_ref()
                .map_or((PASSED.as_bytes(), &[][..]), |it| {
                    (it.message.as_slice(), it.metadata.as_slice())
                });
            self.send_trailers(index, Code::DeadlineExceeded, message, metadata);
        }
        self.expired = expired;
    }
}
