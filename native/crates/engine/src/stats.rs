//! What a thread has counted, for `server.stats()` and the metrics.

use std::fmt::Write;

use millrace_http2::Counters;

use crate::{Engine, notice::quote};

macro_rules! totals {
    ($($(#[$doc:meta])* $name:ident => $shown:literal;)*) => {
        /// Counts since the engine was made.
        #[derive(Default)]
        pub(crate) struct Totals {
            $($(#[$doc])* pub(crate) $name: u64,)*
            /// Of connections that have ended.
            pub(crate) http2: Counters,
        }

        impl Totals {
            fn entries(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$(($shown, self.$name),)*].into_iter()
            }
        }
    };
}

totals! {
    /// Connections accepted.
    connections => "connectionsAccepted";
    /// Connections beyond the limit, or during a drain.
    connections_refused => "connectionsRefused";
    /// Connections that ended for breaking the protocol.
    connection_errors => "connectionErrors";
    /// TLS handshakes that succeeded.
    tls_handshakes => "tlsHandshakes";
    /// Connections that ended because of their TLS.
    tls_failures => "tlsFailures";
    /// Connections cut because their peer did not take what was sent (`sendProgressTimeoutMs`), or sent requests and did not read their answers.
    send_timeouts => "sendTimeouts";
    /// Connections that had ended in order and were closed because their peer did not end them.
    lingers_cut => "lingersCut";
    /// Calls begun.
    calls => "calls";
    /// Calls that ended with OK.
    calls_ok => "callsOk";
    /// Calls that ended with another status.
    calls_failed => "callsFailed";
    /// Calls that were cancelled, or whose connection was lost.
    calls_cancelled => "callsCancelled";
    /// Requests that were answered without a call.
    rejected => "requestsRejected";
    /// Calls whose deadline passed.
    deadlines_exceeded => "deadlinesExceeded";
    /// Calls ended because nobody read them, or took what they sent, while memory was full.
    stalled_streams => "stalledStreams";
    /// Messages received.
    messages_received => "messagesReceived";
    /// Messages sent.
    messages_sent => "messagesSent";
    /// Events that topics have sent to subscribers.
    events_delivered => "eventsDelivered";
    /// Events dropped because a subscriber was slow, or memory full.
    events_dropped => "eventsDropped";
    /// Subscribers that were cut off because they were slow.
    subscribers_disconnected => "subscribersDisconnected";
    /// Streams that broke gRPC's framing, or a message limit.
    message_errors => "messageErrors";
    /// Messages received compressed.
    messages_unpacked => "messagesDecompressed";
    /// Bytes of those messages, compressed.
    packed_bytes_received => "compressedBytesReceived";
    /// Bytes of those messages, decompressed.
    unpacked_bytes_received => "decompressedBytesReceived";
    /// Compressed messages that were larger than the limit, or no stream of their encoding.
    unpacking_refused => "decompressionsRefused";
    /// Messages sent compressed.
    messages_packed => "messagesCompressed";
    /// Bytes that this saved.
    packing_saved_bytes => "compressionSavedBytes";
    /// Batches that entered JavaScript.
    batches => "batches";
    /// Records of those batches.
    records => "records";
    /// Records of the largest batch.
    batch_largest => "largestBatch";
    /// Operations drained.
    operations => "operations";
    /// Times JavaScript had to drain in the middle of a batch.
    flushes => "flushes";
    /// Sends given to the driver.
    sends => "sends";
    /// Bytes of those sends.
    sent_bytes => "sentBytes";
    /// Bytes moved out of the ring because their buffer was thin, or the ring under pressure.
    copied_out_bytes => "copiedOutBytes";
    /// Bytes of messages assembled from several pieces.
    assembled_bytes => "assembledBytes";
    /// Bytes kept undivided because too many messages waited.
    raw_bytes => "undividedBytes";
    /// Times a message had to wait for memory.
    deferred_messages => "messagesDeferred";
    /// Times a connection's credit was withheld.
    credit_withheld => "creditWithheld";
    /// Highest of `bufferedBytes`.
    buffered_highest => "bufferedBytesHighest";
    /// Changes of the ring's level.
    level_changes => "levelChanges";
    /// Times the ring's level became low.
    level_low => "levelLow";
    /// Times it became critical.
    level_critical => "levelCritical";
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let mut out = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at(word.len().min(1));
        out.push_str(&first.to_ascii_uppercase());
        out.push_str(rest);
    }
    out
}

impl Engine {
    /// Everything that can be counted, as one JSON object.
    pub fn stats(&self) -> String {
        let buffers = self.driver.buffers();
        let mut json = String::from("{\"driver\":");
        quote(self.driver_name(), &mut json);
        let mut field = |name: &str, value: u64| {
            let _ = write!(json, ",\"{name}\":{value}");
        };
        field("connections", self.live_connections as u64);
        field("activeCalls", self.calls.live() as u64);
        field("waitingMessages", self.slots.live() as u64);
        field("bufferedBytes", self.buffered_bytes());
        field("overflowBytes", self.overflow.used_bytes());
        field("extraWindowBytes", self.window_extra);
        field("unsentBytes", self.pending_bytes);
        field("framedBytes", self.framed_bytes);
        field("subscribedCalls", self.hub.subscribed() as u64);
        field("eventBytesWaiting", self.hub.waiting_bytes());
        field("sendChunks", self.driver.chunks().taken() as u64);
        field("ringBuffers", u64::from(buffers.count()));
        field("ringFree", u64::from(buffers.free()));
        field("ringHeld", u64::from(buffers.held()));
        field("ringLowestFree", u64::from(buffers.lowest_free()));
        for (name, value) in self.totals.entries() {
            field(name, value);
        }
        let counters = self.driver.counters();
        for (name, value) in [
            ("receives", counters.receives),
            ("receiveBundles", counters.receive_bundles),
            ("receiveBuffers", counters.receive_buffers),
            ("receivedBytes", counters.receive_bytes),
            ("enobufs", counters.enobufs),
            ("rearms", counters.rearms),
            ("parked", counters.parked),
            ("provides", counters.provides),
            ("provideFailures", counters.provide_failures),
            ("acceptFailures", counters.accept_failures),
            ("sendBundles", counters.send_bundles),
            ("sendEntries", counters.send_entries),
            ("singleSends", counters.single_sends),
            ("vectoredSends", counters.vectored_sends),
            ("sendRestarts", counters.send_restarts),
            ("sendFailures", counters.send_failures),
            ("sendRingLeases", counters.leases),
            ("sendRingRefusals", counters.lease_failures),
            ("interruptions", counters.interruptions),
            ("missedCancels", counters.missed_cancels),
            ("completionOverflows", counters.completion_overflows),
            ("enters", counters.enters),
            ("leakedRegions", counters.leaked_regions),
        ] {
            field(name, value);
        }
        let mut http2 = self.totals.http2;
        for connection in self.connections.iter() {
            http2.add(connection.http2.counters());
        }
        json.push_str(",\"http2\":{");
        for (number, (name, value)) in http2.entries().enumerate() {
            if number > 0 {
                json.push(',');
            }
            let _ = write!(json, "\"{}\":{value}", camel(name));
        }
        json.push_str("}}");
        json
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_camel_case() {
        assert_eq!(
            super::camel("header_lists_over_soft"),
            "headerListsOverSoft"
        );
        assert_eq!(super::camel("plain"), "plain");
    }
}
