//! Streams: their states, where they are kept, and the rules for their header lists.

pub(crate) mod headers;
pub(crate) mod state;
pub(crate) mod store;

use std::cell::Cell;

use crate::flow::ReceiveWindow;
use state::State;

/// One stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) id: u32,
    /// The caller's.
    pub(crate) token: u32,
    pub(crate) state: State,
    /// We sent a header block: a reset is not premature any more.
    pub(crate) answered: bool,
    /// The peer's final head has come; the next header block is trailers.
    pub(crate) head_received: bool,
    /// `send_window` had less to give than a whole frame, so the caller may wait for more.
    pub(crate) short: Cell<bool>,
    pub(crate) receive: ReceiveWindow,
    /// The send window as a difference to the peer's SETTINGS_INITIAL_WINDOW_SIZE, so that a change
    /// of that costs nothing per stream.
    pub(crate) send_offset: i64,
    /// What is missing of the peer's content-length.
    pub(crate) content_left: Option<u64>,
}

impl Stream {
    pub(crate) fn new(id: u32, receive_window: u32) -> Self {
        Self {
            id,
            token: 0,
            state: State::default(),
            answered: false,
            head_received: false,
            short: Cell::new(false),
            receive: ReceiveWindow::new(receive_window),
            send_offset: 0,
            content_left: None,
        }
    }
}
