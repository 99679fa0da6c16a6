//! Every limit and abuse budget in one table, and the counter of each.

use crate::Millis;

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $kind:ty = $default:expr;)*) => {
        /// What a peer may ask of one connection. Each row says what happens beyond it; the counter
        /// named there is in [`Counters`].
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Limits {
            $($(#[$doc])* pub $name: $kind,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }
    };
}

limits! {
    /// SETTINGS_MAX_CONCURRENT_STREAMS of a server: slots held until `release`. Beyond:
    /// REFUSED_STREAM; counter `streams_refused`.
    max_concurrent_streams: u32 = 1_000;
    /// SETTINGS_INITIAL_WINDOW_SIZE, bytes (0 ..= 2^31-1). Beyond a window: FLOW_CONTROL_ERROR.
    initial_window_bytes: u32 = 65_536;
    /// SETTINGS_MAX_HEADER_LIST_SIZE, bytes as RFC 9113 section 10.5.1 counts them. What lies
    /// between this and `header_list_hard_bytes` is accepted; counter `header_lists_over_soft`.
    header_list_soft_bytes: u32 = 8_192;
    /// Beyond: the block is decoded for its effect on the table, nothing is kept, and the event
    /// says `oversized`; counter `header_lists_oversized`. Beyond four times of it ENHANCE_YOUR_CALM;
    /// counter `hpack_bombs`.
    header_list_hard_bytes: u32 = 16_384;
    /// Fields of one list. Beyond: as `header_list_hard_bytes`.
    header_fields: u32 = 128;
    /// Compressed bytes of one header block. Beyond: ENHANCE_YOUR_CALM; counter `header_blocks_cut`.
    header_block_bytes: u32 = 32_768;
    /// SETTINGS_HEADER_TABLE_SIZE, bytes: the table the peer may use towards us.
    header_table_bytes: u32 = 4_096;
    /// Our own table towards the peer, bytes, if the peer allows as much.
    encoder_table_bytes: u32 = 4_096;
    /// CONTINUATION frames of one block, an empty one counting twice. Beyond: ENHANCE_YOUR_CALM;
    /// counter `continuation_floods`.
    continuation_frames: u32 = 8;
    /// Entries of one SETTINGS frame. Beyond: ENHANCE_YOUR_CALM; counter `settings_floods`.
    settings_entries: u32 = 32;
    /// Resets received before an answer, resets provoked and streams refused: burst. When the
    /// budget is empty: ENHANCE_YOUR_CALM; counter `rapid_resets`, `made_you_resets` or
    /// `refused_stream_floods`, after what came most often.
    reset_burst: u32 = 1_000;
    /// What of it a connection begins with; each stream that finishes adds to it as below.
    reset_burst_initial: u32 = 1_000;
    /// Refill of that budget per second.
    reset_refill_per_second: u32 = 33;
    /// One more for so many streams that finished normally (0: none). Where every call is hedged,
    /// each comes with an attempt that is cancelled.
    reset_refill_streams: u32 = 1;
    /// SETTINGS frames (acknowledgements not counted) per second. Beyond: ENHANCE_YOUR_CALM;
    /// counter `settings_floods`.
    settings_per_second: u32 = 50;
    /// PING frames (acknowledgements not counted) in a second beyond this + one for each DATA frame
    /// sent lately, for grpc-go measures the path at most so often: ENHANCE_YOUR_CALM; counter
    /// `ping_floods`.
    pings_per_second: u32 = 100;
    /// DATA frames without payload and without END_STREAM per second, for open and for closed
    /// streams. Beyond: ENHANCE_YOUR_CALM;
    /// counter `empty_data_floods`.
    empty_data_per_second: u32 = 100;
    /// DATA frames of 1 to 4 bytes without END_STREAM, less than the prefix of a gRPC message, in a
    /// second beyond this + one for each larger DATA frame received lately: ENHANCE_YOUR_CALM;
    /// counter `tiny_data_floods`.
    tiny_data_per_second: u32 = 2_000;
    /// WINDOW_UPDATE frames in a second beyond this + 2 x (streams + 10 x DATA frames sent):
    /// ENHANCE_YOUR_CALM; counter `window_update_floods`. Streams are those open and those opened
    /// lately; DATA frames are those sent lately, each enlargement counting as one, and those left
    /// out that a nearly closed window made tiny: who drips credit would earn more by it.
    window_updates_base: u32 = 5;
    /// Frames without effect (PRIORITY, unknown types, GOAWAY, 1xx responses, HEADERS and
    /// RST_STREAM for closed streams) in a second beyond this + 100 x streams: ENHANCE_YOUR_CALM;
    /// counter `priority_floods` or `ignored_floods`, after what came last. Streams are those open
    /// and those opened lately.
    ignored_frames_per_second: u32 = 1_000;
    /// Bytes of unflushed control frames. Beyond: ENHANCE_YOUR_CALM; counter `control_overflows`.
    control_bytes: usize = 65_536;
    /// Milliseconds for the peer's preface and first SETTINGS, and for the acknowledgement of ours.
    /// Beyond: SETTINGS_TIMEOUT; counter `handshake_timeouts`.
    handshake_timeout: Millis = 10_000;
    /// Milliseconds from the first byte of a header block to its last. Beyond: ENHANCE_YOUR_CALM;
    /// counter `header_block_timeouts`.
    header_block_timeout: Millis = 10_000;
    /// Milliseconds without a byte from the peer until a PING is sent; `None`: never.
    keepalive_interval: Option<Millis> = Some(7_200_000);
    /// Milliseconds to answer it. Beyond: the connection ends; counter `keepalive_timeouts`.
    keepalive_timeout: Millis = 20_000;
    /// Whether keepalive PINGs are sent while no stream is open.
    keepalive_without_streams: bool = true;
    /// Server: milliseconds a peer has to leave between PINGs while we send nothing; sooner is a
    /// strike. `None`: no strikes.
    ping_strike_interval: Option<Millis> = Some(300_000);
    /// Server: whether a peer may PING at that interval while no stream is open; otherwise once in
    /// two hours (gRFC A8).
    pings_without_streams: bool = false;
    /// Strikes that are forgiven until we send HEADERS or DATA. Beyond: GOAWAY ENHANCE_YOUR_CALM
    /// "too_many_pings"; counter `ping_strikes`.
    ping_strikes: u32 = 2;
    /// Milliseconds without an open stream until the connection has to end gracefully; `None`:
    /// never. Counter `idle_closes`.
    max_connection_idle: Option<Millis> = None;
    /// Milliseconds of its whole life until the connection has to end gracefully; `None`: never. The
    /// caller spreads it, so that connections made together do not end together (gRFC A9). Counter
    /// `age_closes`.
    max_connection_age: Option<Millis> = None;
    /// Milliseconds that streams have after that; `None`: as long as they take. Counter
    /// `age_grace_closes`.
    max_connection_age_grace: Option<Millis> = None;
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        /// Monotonic counts of one connection.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Adds another connection's counts: totals survive their connections.
            pub fn add(&mut self, other: &Counters) {
                $(self.$name += other.$name;)*
            }

            /// Name and value of each, for statistics.
            pub fn entries(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Frames received.
    frames_received;
    /// DATA frames sent (enlarged ones count once).
    data_frames_sent;
    /// Streams opened, by either side, refused ones not counted.
    streams_opened;
    /// Streams that both sides ended with END_STREAM.
    streams_finished;
    /// RST_STREAM received on open streams.
    resets_received;
    /// RST_STREAM sent by the caller.
    resets_sent;
    /// RST_STREAM sent because the peer broke a rule on a stream.
    resets_provoked;
    /// Streams beyond `max_concurrent_streams`.
    streams_refused;
    /// Accepted lists over `header_list_soft_bytes`.
    header_lists_over_soft;
    /// Lists over `header_list_hard_bytes` or `header_fields`.
    header_lists_oversized;
    /// Lists that break RFC 9113 section 8: empty or illegal names, misplaced pseudo-header fields.
    header_lists_malformed;
    /// Connections ended: `header_block_bytes`.
    header_blocks_cut;
    /// Connections ended: `continuation_frames` (CVE-2024-27316 and its kin).
    continuation_floods;
    /// Connections ended: four times `header_list_hard_bytes` in one list (CVE-2016-6581).
    hpack_bombs;
    /// Connections ended: COMPRESSION_ERROR, a wrong Huffman code for example.
    compression_errors;
    /// Connections ended: `reset_burst`, by resets received before an answer (CVE-2023-44487).
    rapid_resets;
    /// Connections ended: `reset_burst`, by resets provoked (CVE-2025-8671).
    made_you_resets;
    /// Connections ended: `reset_burst`, by streams beyond `max_concurrent_streams`.
    refused_stream_floods;
    /// Connections ended: `settings_per_second`, `settings_entries`.
    settings_floods;
    /// Connections ended: `pings_per_second`.
    ping_floods;
    /// Connections ended: `empty_data_per_second`.
    empty_data_floods;
    /// Connections ended: `tiny_data_per_second`.
    tiny_data_floods;
    /// Connections ended: WINDOW_UPDATE frames.
    window_update_floods;
    /// Connections ended: FLOW_CONTROL_ERROR, a window overrun or made too large.
    flow_control_errors;
    /// Connections ended: `ignored_frames_per_second`, by PRIORITY (CVE-2019-9513).
    priority_floods;
    /// Connections ended: `ignored_frames_per_second`.
    ignored_floods;
    /// Connections ended: `control_bytes`.
    control_overflows;
    /// Connections ended: a setting out of its range, MAX_FRAME_SIZE 0 for example.
    settings_invalid;
    /// Connections ended: PUSH_PROMISE.
    pushes_refused;
    /// PINGs that came too soon.
    ping_strikes;
    /// Connections ended: `handshake_timeout`.
    handshake_timeouts;
    /// Connections ended: `header_block_timeout`.
    header_block_timeouts;
    /// Connections ended: `keepalive_timeout`.
    keepalive_timeouts;
    /// Connections asked to end: `max_connection_idle`.
    idle_closes;
    /// Connections asked to end: `max_connection_age`.
    age_closes;
    /// Connections ended with open streams: `max_connection_age_grace`.
    age_grace_closes;
    /// Connections ended by any error of the peer, those above included.
    connection_errors;
}
