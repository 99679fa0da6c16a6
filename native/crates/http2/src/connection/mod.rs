//! One HTTP/2 connection: its parts, and the verbs that need nothing but looking something up.

mod abuse;
mod data;
mod flow_control;
mod go_away;
mod header_block;
mod input;
mod output;
mod ping;
mod preface;
mod settings;
mod timeout;

use std::cell::Cell;

use crate::error::{ConnectionError, Reason};
use crate::event::{Event, StreamKey};
use crate::flow::{self, ReceiveWindow};
use crate::hpack::{Decoder, Encoder, FieldList, Fields};
use crate::limits::{Counters, Limits};
use crate::stream::Stream;
use crate::stream::state::Cause;
use crate::stream::store::Store;
use crate::timer::{Timer, Timers};
use crate::{Millis, frame};

use abuse::{Guard, ResetCause};
use go_away::GoAway;
pub use go_away::GoAwayLast;
use header_block::{Block, Memo};
use input::Phase;
use ping::Pings;
use settings::PeerSettings;
pub use timeout::Expired;

/// The largest payload of a frame, in both directions.
pub(crate) const MAX_FRAME_SIZE: usize = 16_384;

/// Which side of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Accepts streams.
    Server,
    /// Opens streams.
    Client,
}

/// One HTTP/2 connection.
///
/// # How to drive it
///
/// 1. *Input*: give what the transport delivered to [`receive`](Self::receive), again and again
///    with what it has not consumed, until everything is consumed and no event comes. Between two
///    calls act on the event; `Data` events point into the slice of that very call, and
///    [`fields`](Self::fields) is valid until the next one.
/// 2. *Commands*: [`send_headers`](Self::send_headers) and [`data_head`](Self::data_head) give
///    bytes to the caller's own buffers, and have to be called in the order in which those bytes
///    leave, for header compression and windows depend on it. Ask
///    [`send_window`](Self::send_window) first.
/// 3. *Output*: at each flush take all of [`urgent`](Self::urgent) and put it in front of whatever
///    is not yet committed to the transport, between two frames; take all of
///    [`ordered`](Self::ordered) and put it behind what has been framed.
/// 4. *Time*: [`next_timeout`](Self::next_timeout) says when
///    [`handle_timeout`](Self::handle_timeout) is due.
///
/// A [`ConnectionError`] from `receive` or `handle_timeout` is final: flush both outputs, then close
/// the transport. Streams that are still open get no further event.
///
/// # What it leaves to the caller
///
/// Giving credit for `Data` that was delivered, to the stream and to the connection; and releasing
/// every stream it heard of by [`release`](Self::release), which alone gives the slot back.
pub struct Connection {
    role: Role,
    limits: Limits,
    now: Millis,
    received_at: Millis,
    failed: Option<ConnectionError>,

    phase: Phase,
    head: [u8; frame::Head::LENGTH],
    head_length: usize,
    /// A payload that came in pieces; never that of DATA.
    payload: Vec<u8>,
    block: Block,
    /// An event that its frame brought beside another.
    pending: Option<Event>,

    decoder: Decoder,
    list: FieldList,
    memo: Memo,
    encoder: Encoder,
    /// A frame head and the header block behind it, while they are made.
    encoded: Vec<u8>,

    streams: Store,
    identifiers: Identifiers,
    go_away: GoAway,

    receive_window: ReceiveWindow,
    send_available: i64,
    /// As `Stream::short`.
    send_short: Cell<bool>,
    /// No stream's `send_offset` is above this.
    send_offset_bound: i64,
    peer: PeerSettings,
    settings_received: bool,
    settings_acknowledged: bool,

    urgent: Vec<u8>,
    ordered: Vec<u8>,
    /// SETTINGS that were received and applied, and whose acknowledgement has not been written.
    owed_acknowledgements: u32,
    /// What a server has to say before the client's preface: it stands behind our SETTINGS.
    held: Vec<u8>,
    timers: Timers,
    pings: Pings,
    /// The idle timer has run once since the last stream ended.
    idle_confirmed: bool,
    guard: Guard,
    counters: Counters,
}

/// Which stream identifiers were used, by range.
#[derive(Debug)]
struct Identifiers {
    /// The highest the peer has opened.
    highest_remote: u32,
    /// The next of ours; odd for a client.
    next_local: u32,
    /// Up to here a closed stream may have been reset by us, so that frames for it are late rather
    /// than wrong.
    highest_reset: u32,
    /// Ranges the peer skipped when it opened a higher one, first and last, the latest few.
    skipped: Vec<(u32, u32)>,
}

/// What a frame's stream identifier refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Stream(StreamKey),
    /// Used and released, or implicitly closed.
    Closed,
    Idle,
}

impl Connection {
    /// A client's preface and SETTINGS are in `urgent` at once. A server's SETTINGS follow when the
    /// client's preface has been recognised, so that nothing is sent to a peer that speaks another
    /// protocol.
    pub fn new(role: Role, limits: Limits, now: Millis) -> Self {
        let mut connection = Self {
            role,
            now,
            received_at: now,
            failed: None,
            phase: match role {
                Role::Server => Phase::Preface,
                Role::Client => Phase::Head,
            },
            head: [0; frame::Head::LENGTH],
            head_length: 0,
            payload: Vec::new(),
            block: Block::default(),
            pending: None,
            decoder: Decoder::new(limits.header_table_bytes as usize),
            list: FieldList::default(),
            memo: Memo::default(),
            encoder: Encoder::new(limits.encoder_table_bytes as usize),
            encoded: Vec::new(),
            streams: Store::default(),
            identifiers: Identifiers {
                highest_remote: 0,
                next_local: match role {
                    Role::Server => 2,
                    Role::Client => 1,
                },
                highest_reset: 0,
                skipped: Vec::new(),
            },
            go_away: GoAway::default(),
            receive_window: ReceiveWindow::new(flow::DEFAULT),
            send_available: i64::from(flow::DEFAULT),
            send_short: Cell::new(false),
            send_offset_bound: 0,
            peer: PeerSettings::default(),
            settings_received: false,
            settings_acknowledged: false,
            urgent: Vec::new(),
            ordered: Vec::new(),
            owed_acknowledgements: 0,
            held: Vec::new(),
            timers: Timers::new(),
            pings: Pings::default(),
            idle_confirmed: false,
            guard: Guard::new(&limits, now),
            counters: Counters::default(),
            limits,
        };
        if role == Role::Client {
            connection.urgent.extend_from_slice(preface::PREFACE);
            connection.queue_settings();
        }
        connection.start_timers();
        connection
    }

    /// Name and value of each field of the last `Headers` event.
    #[inline]
    pub fn fields(&self) -> Fields<'_> {
        self.list.fields()
    }

    /// Stores a number of the caller's with the stream.
    #[inline]
    pub fn set_token(&mut self, stream: StreamKey, token: u32) {
        if let Some(stream) = self.streams.get_mut(stream) {
            stream.token = token;
        }
    }

    /// What `set_token` stored, 0 before; `None` for a key that was released.
    #[inline]
    pub fn token(&self, stream: StreamKey) -> Option<u32> {
        self.streams.get(stream).map(|stream| stream.token)
    }

    /// The identifier on the wire; 0 for a key that was released.
    #[inline]
    pub fn stream_id(&self, stream: StreamKey) -> u32 {
        self.streams.get(stream).map_or(0, |stream| stream.id)
    }

    /// HEADERS and DATA may be sent: neither END_STREAM was sent nor is the stream reset.
    #[inline]
    pub fn is_open_for_send(&self, stream: StreamKey) -> bool {
        self.streams
            .get(stream)
            .is_some_and(|stream| stream.state.is_sending())
    }

    /// Nothing comes from the peer any more: END_STREAM was received, or the stream is reset.
    #[inline]
    pub fn is_remote_closed(&self, stream: StreamKey) -> bool {
        self.streams
            .get(stream)
            .is_none_or(|stream| !stream.state.is_receiving())
    }

    /// Streams not yet released.
    #[inline]
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// SETTINGS_MAX_HEADER_LIST_SIZE of the peer, bytes; `u32::MAX` if it set none.
    pub fn peer_max_header_list_bytes(&self) -> u32 {
        self.peer.max_header_list_bytes
    }

    /// Bytes that the peer lets a new stream send.
    #[inline]
    pub fn peer_initial_window(&self) -> u32 {
        self.peer.initial_window
    }

    /// SETTINGS_MAX_CONCURRENT_STREAMS of the peer; `u32::MAX` if it set none.
    pub fn peer_max_concurrent_streams(&self) -> u32 {
        self.peer.max_concurrent_streams
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// SETTINGS, keepalive PINGs, a server's acknowledgements of PING, WINDOW_UPDATE: to be sent before
    /// anything that is not yet committed to the transport. Whole frames. The caller drains it.
    #[inline]
    pub fn urgent(&mut self) -> &mut Vec<u8> {
        &mut self.urgent
    }

    /// RST_STREAM, GOAWAY with the PING that follows it, a client's acknowledgements of PING and those
    /// of SETTINGS: to be sent behind what was framed before. Whole frames. The caller drains it.
    #[inline]
    pub fn ordered(&mut self) -> &mut Vec<u8> {
        for _ in 0..std::mem::take(&mut self.owed_acknowledgements) {
            frame::settings::write_acknowledgement(&mut self.ordered);
        }
        &mut self.ordered
    }

    /// Gives the stream's slot back; the key is dead from here on. A stream that is not closed is
    /// reset first: by NO_ERROR if we have sent everything, else by CANCEL.
    pub fn release(&mut self, stream: StreamKey) {
        let Some(state) = self.streams.get(stream).map(|stream| stream.state) else {
            return;
        };
        if !state.is_closed() {
            self.send_reset(
                stream,
                if state.is_sending() {
                    Reason::CANCEL
                } else {
                    Reason::NO_ERROR
                },
            );
        }
        self.streams.remove(stream);
        if self.streams.len() == 0 {
            self.start_idle_timer();
        }
    }

    #[inline]
    fn target(&self, id: u32) -> Target {
        if let Some(key) = self.streams.find(id) {
            return Target::Stream(key);
        }
        let is_local = (id & 1 == 1) == (self.role == Role::Client);
        let used = if is_local {
            id < self.identifiers.next_local
        } else {
            id <= self.identifiers.highest_remote
        };
        if used { Target::Closed } else { Target::Idle }
    }

    /// Frames for this closed stream are late, not wrong: the peer may not yet know of our reset.
    #[inline]
    fn may_be_late(&self, id: u32) -> bool {
        id <= self.identifiers.highest_reset
    }

    fn insert_stream(&mut self, id: u32) -> StreamKey {
        self.counters.streams_opened += 1;
        self.timers.stop(Timer::Idle);
        self.streams
            .insert(Stream::new(id, self.limits.initial_window_bytes))
    }

    /// Both sides have ended a stream.
    #[inline]
    fn finished(&mut self) {
        self.counters.streams_finished += 1;
        let per_token = u64::from(self.limits.reset_refill_streams);
        if per_token > 0 && self.counters.streams_finished.is_multiple_of(per_token) {
            self.guard.resets.give(self.limits.reset_burst);
        }
    }

    /// Queues RST_STREAM for a stream that may or may not have a slot.
    fn queue_reset(&mut self, id: u32, reason: Reason) {
        frame::rst_stream::write(id, reason, self.ordered());
        self.identifiers.highest_reset = self.identifiers.highest_reset.max(id);
    }

    /// The peer broke a rule on one stream.
    fn stream_error(
        &mut self,
        key: StreamKey,
        reason: Reason,
    ) -> Result<Option<Event>, ConnectionError> {
        let Some(stream) = self.streams.get_mut(key) else {
            return Ok(None);
        };
        if !stream.state.reset(Cause::ResetByUs) {
            return Ok(None);
        }
        let id = stream.id;
        self.queue_reset(id, reason);
        self.counters.resets_provoked += 1;
        self.spend_reset(ResetCause::Provoked)?;
        Ok(Some(Event::Reset {
            stream: key,
            reason,
            initiator: crate::error::Initiator::Local,
        }))
    }
}
