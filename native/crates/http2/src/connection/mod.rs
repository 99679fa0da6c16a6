//! The public verbs of a connection.

use crate::error::{ConnectionError, OpenError, Reason};
use crate::event::{Event, StreamKey};
use crate::limits::{Counters, Limits};
use crate::{Millis, Output};

/// Which side of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Accepts streams.
    Server,
    /// Opens streams.
    Client,
}

/// How a field may be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Indexing {
    /// Repeated: goes into the dynamic table.
    Index,
    /// Varies: literal, not added.
    Skip,
    /// Secret: literal, never to be indexed by anyone on the way.
    Never,
}

/// A field to send. Names are lowercase; pseudo-header fields come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Lowercase name.
    pub name: &'a [u8],
    /// Value.
    pub value: &'a [u8],
    /// How it may be compressed.
    pub indexing: Indexing,
}

/// The identifier in a GOAWAY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GoAwayLast {
    /// 2^31-1: the first step of a graceful end; streams are still accepted.
    Max,
    /// The highest stream accepted; later ones are ignored.
    Real,
}

/// Name and value of each field of the last `Headers` event, in order.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    marker: std::marker::PhantomData<&'a [u8]>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        None
    }
}

/// One HTTP/2 connection.
pub struct Connection {
    counters: Counters,
}

#[allow(unused_variables, missing_docs)]
impl Connection {
    pub fn new(role: Role, limits: Limits, now: Millis) -> Self {
        unimplemented!()
    }
    pub fn receive(
        &mut self,
        input: &[u8],
        now: Millis,
    ) -> Result<(usize, Option<Event>), ConnectionError> {
        unimplemented!()
    }
    pub fn fields(&self) -> Fields<'_> {
        unimplemented!()
    }
    pub fn set_token(&mut self, stream: StreamKey, token: u32) {
        unimplemented!()
    }
    pub fn token(&self, stream: StreamKey) -> Option<u32> {
        unimplemented!()
    }
    pub fn stream_id(&self, stream: StreamKey) -> u32 {
        unimplemented!()
    }
    pub fn is_open_for_send(&self, stream: StreamKey) -> bool {
        unimplemented!()
    }
    pub fn is_remote_closed(&self, stream: StreamKey) -> bool {
        unimplemented!()
    }
    pub fn credit_connection(&mut self, bytes: u32) {
        unimplemented!()
    }
    pub fn credit_stream(&mut self, stream: StreamKey, bytes: u32) {
        unimplemented!()
    }
    pub fn flush_connection_credit(&mut self) {
        unimplemented!()
    }
    pub fn flush_stream_credit(&mut self, stream: StreamKey) {
        unimplemented!()
    }
    pub fn receive_window(&self, stream: StreamKey) -> i64 {
        unimplemented!()
    }
    pub fn connection_receive_window(&self) -> i64 {
        unimplemented!()
    }
    pub fn send_window(&self, stream: StreamKey) -> usize {
        unimplemented!()
    }
    pub fn max_frame_size(&self) -> usize {
        unimplemented!()
    }
    pub fn data_head(&mut self, stream: StreamKey, length: usize, end_stream: bool) -> [u8; 9] {
        unimplemented!()
    }
    pub fn extend_data(&mut self, stream: StreamKey, bytes: usize) {
        unimplemented!()
    }
    pub fn send_headers<'f>(
        &mut self,
        stream: StreamKey,
        fields: impl Iterator<Item = Field<'f>>,
        end_stream: bool,
        out: &mut impl Output,
    ) {
        unimplemented!()
    }
    /// Opens a stream and sends its head at once: identifiers must leave in order.
    pub fn open_stream<'f>(
        &mut self,
        fields: impl Iterator<Item = Field<'f>>,
        end_stream: bool,
        out: &mut impl Output,
    ) -> Result<StreamKey, OpenError> {
        unimplemented!()
    }
    pub fn send_reset(&mut self, stream: StreamKey, reason: Reason) {
        unimplemented!()
    }
    pub fn release(&mut self, stream: StreamKey) {
        unimplemented!()
    }
    pub fn send_ping(&mut self, payload: [u8; 8]) {
        unimplemented!()
    }
    pub fn send_go_away(&mut self, last: GoAwayLast, reason: Reason, debug: &[u8]) {
        unimplemented!()
    }
    pub fn urgent(&mut self) -> &mut Vec<u8> {
        unimplemented!()
    }
    pub fn ordered(&mut self) -> &mut Vec<u8> {
        unimplemented!()
    }
    pub fn next_timeout(&self) -> Option<Millis> {
        unimplemented!()
    }
    pub fn handle_timeout(&mut self, now: Millis) -> Result<(), ConnectionError> {
        unimplemented!()
    }
    pub fn open_streams(&self) -> usize {
        unimplemented!()
    }
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
