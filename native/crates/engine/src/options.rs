//! Every limit of a thread's engine, with its default (design: one row, one counter).

use millrace_ring::DriverChoice;

/// What an engine is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It listens and answers.
    #[default]
    Server,
    /// It connects and calls.
    Client,
}

/// Limits and choices of one engine. Sizes are bytes and times milliseconds, as named.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which I/O driver to use.
    pub driver: DriverChoice,
    /// Whether it serves or calls; never both.
    pub role: Role,
    /// Buffers of the receive ring; a power of two from 16 to 32,768.
    pub ring_buffers: u16,
    /// Bytes of one receive buffer.
    pub ring_buffer_bytes: u32,
    /// Entries of the submission queue.
    pub submission_entries: u32,
    /// Entries of the completion queue.
    pub completion_entries: u32,
    /// Entries of one send ring.
    pub send_ring_entries: u16,
    /// Send rings of this thread at most.
    pub send_rings: u16,
    /// Initial receive window of a stream.
    pub stream_window_bytes: u32,
    /// Receive window to which a stream grows while it is read.
    pub stream_window_bytes_max: u32,
    /// Receive window of a connection that has been used, as far as the budget allows.
    pub connection_window_bytes: u32,
    /// Unread bytes of one connection from which it gets no more credit.
    pub connection_budget_bytes: u32,
    /// Unread bytes outside the ring, extra connection windows and reservations, all together.
    pub buffered_bytes_max: u64,
    /// Unsent bytes of a stream from which its handler has to wait.
    pub stream_unsent_bytes: u32,
    /// Unsent bytes of a connection at most; all its handlers have to wait from a quarter on.
    pub connection_unsent_bytes: u32,
    /// Unsent bytes of the thread from which all handlers have to wait.
    pub unsent_bytes_max: u64,
    /// Streams of one connection that may be open at a time.
    pub concurrent_streams: u32,
    /// Calls of this thread that may be open at a time; at most 65,536.
    pub concurrent_calls: u32,
    /// Largest message received.
    pub receive_message_bytes: u32,
    /// Largest message sent.
    pub send_message_bytes: u32,
    /// Header list of a request: size from which the request is refused.
    pub header_list_bytes: u32,
    /// How long a stream may stay unread while the budget is full.
    pub stalled_stream_timeout_ms: u64,
    /// How long a peer may take nothing of what was sent to it; while the memory for unsent bytes is full,
    /// how long a send may last. It is up to half as long again until this is noticed.
    pub send_progress_timeout_ms: u64,
    /// Connections of this thread at most.
    pub connections: u32,
    /// Preface, SETTINGS and header blocks have to arrive within this time.
    pub handshake_timeout_ms: u64,
    /// A connection without a call is closed after this time; 0 means never.
    pub max_connection_idle_ms: u64,
    /// A connection is closed after this time, a tenth more or less; 0 means never.
    pub max_connection_age_ms: u64,
    /// Calls that are open then may take so much longer; 0 means as long as they want.
    pub max_connection_age_grace_ms: u64,
    /// A silent connection is probed with PING after this time; 0 means never.
    pub keepalive_time_ms: u64,
    /// A probe has to be answered within this time.
    pub keepalive_timeout_ms: u64,
    /// Clients may probe no more often than this; 0 means as often as they want.
    pub keepalive_min_time_ms: u64,
    /// Also while they have no call; otherwise once in two hours.
    pub keepalive_permit_without_calls: bool,
    /// How often they may do so all the same, until something is sent to them.
    pub keepalive_ping_strikes: u32,
    /// What HTTP/2 lets a peer do; what has a name above goes before it.
    pub http2: millrace_http2::Limits,
    /// How replies are compressed unless a handler says otherwise: 0 not, 1 gzip, 2 deflate.
    pub reply_encoding: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            driver: DriverChoice::Automatic,
            role: Role::Server,
            ring_buffers: 1024,
            ring_buffer_bytes: 16 * 1024,
            submission_entries: 1024,
            completion_entries: 16_384,
            send_ring_entries: 256,
            send_rings: 512,
            stream_window_bytes: 64 * 1024,
            stream_window_bytes_max: 256 * 1024,
            connection_window_bytes: 1024 * 1024,
            connection_budget_bytes: 8 * 1024 * 1024,
            buffered_bytes_max: 256 * 1024 * 1024,
            stream_unsent_bytes: 256 * 1024,
            connection_unsent_bytes: 8 * 1024 * 1024,
            unsent_bytes_max: 256 * 1024 * 1024,
            concurrent_streams: 1000,
            concurrent_calls: 10_000,
            receive_message_bytes: 4 * 1024 * 1024,
            send_message_bytes: 4 * 1024 * 1024,
            header_list_bytes: 8 * 1024,
            stalled_stream_timeout_ms: 60_000,
            send_progress_timeout_ms: 30_000,
            connections: 65_536,
            handshake_timeout_ms: 10_000,
            max_connection_idle_ms: 0,
            max_connection_age_ms: 0,
            max_connection_age_grace_ms: 0,
            keepalive_time_ms: 7_200_000,
            keepalive_timeout_ms: 20_000,
            keepalive_min_time_ms: 300_000,
            keepalive_permit_without_calls: false,
            keepalive_ping_strikes: 2,
            http2: millrace_http2::Limits::default(),
            reply_encoding: 0,
        }
    }
}

impl Options {
    /// Names the first pair of limits that cannot work together, with the remedy.
    pub fn check(&self) -> Result<(), String> {
        if !self.ring_buffers.is_power_of_two()
            || self.ring_buffers < 16
            || self.ring_buffers > 32_768
        {
            return Err(format!(
                "ringBuffers is {}, but has to be a power of two from 16 to 32,768",
                self.ring_buffers
            ));
        }
        if self.ring_buffer_bytes < 1024 || !self.ring_buffer_bytes.is_multiple_of(1024) {
            return Err(format!(
                "ringBufferBytes is {}, but has to be a multiple of 1,024",
                self.ring_buffer_bytes
            ));
        }
        if self.stream_window_bytes < 1024 || self.stream_window_bytes > 0x7fff_ffff {
            return Err(format!(
                "streamWindowBytes is {}, but has to be from 1,024 to 2,147,483,647 (RFC 9113, 6.5.2)",
                self.stream_window_bytes
            ));
        }
        if self.stream_window_bytes_max < self.stream_window_bytes {
            return Err(
                "streamWindowBytesMax is smaller than streamWindowBytes; raise it".to_owned(),
            );
        }
        if u64::from(self.receive_message_bytes) > self.buffered_bytes_max {
            return Err(format!(
                "one message of receiveMessageBytes ({}) does not fit into bufferedBytesMax ({}); raise the second or lower the first",
                self.receive_message_bytes, self.buffered_bytes_max
            ));
        }
        if self.concurrent_calls == 0 || self.concurrent_calls > 65_536 {
            return Err(format!(
                "concurrentCalls is {}, but has to be from 1 to 65,536",
                self.concurrent_calls
            ));
        }
        if millrace_grpc::Encoding::from_number(self.reply_encoding).is_none() {
            return Err(format!(
                "replyEncoding is {}, but has to be 0, 1 or 2",
                self.reply_encoding
            ));
        }
        if self.concurrent_streams == 0 {
            return Err(
                "concurrentStreams is 0, so no call could ever begin; give at least 1".to_owned(),
            );
        }
        Ok(())
    }
}
