//! How connections and calls begin and end.

use std::{net::SocketAddr, os::fd::OwnedFd};

use millrace_grpc::Code;
use millrace_http2::{self as http2, ErrorKind, GoAwayLast, Reason, StreamKey};
use millrace_ring::ListenerId;

use crate::{
    Engine,
    call::NOBODY,
    connection::{Connection, State},
    layout::*,
    linger::Manner,
    notice::Severity,
    tls::is_client_hello,
};

/// The PING whose answer ends the first step of a drain: the peer has seen our GOAWAY by then.
const DRAIN_PING: [u8; 8] = *b"draining";
/// How long that answer is waited for: a client may be busy, or far behind with what it reads, and what
/// it opens until then is not to be left out.
const DRAIN_PING_MS: u64 = 5000;

/// How long a thread distrusts new connections after it has cut one for abuse.
const DISTRUST_MS: u64 = 60_000;

const HTTP1_ANSWER: &[u8] = b"HTTP/1.1 505 HTTP Version Not Supported\r\n\
content-type: text/plain; charset=utf-8\r\n\
content-length: 116\r\n\
connection: close\r\n\r\n\
This port speaks gRPC over HTTP/2 with prior knowledge (h2c), not HTTP/1.1. Use a gRPC client, for example grpcurl.\n";

impl Engine {
    pub(crate) fn accept(&mut self, descriptor: OwnedFd, peer: Option<SocketAddr>) {
        if let Some(descriptor) = self.deal(descriptor) {
            self.admit(descriptor, peer);
            self.count_taken();
        }
    }

    /// A connection that this engine has to serve.
    pub(crate) fn admit(&mut self, descriptor: OwnedFd, peer: Option<SocketAddr>) {
        if self.live_connections >= self.options.connections as usize {
            self.totals.connections_refused += 1;
            return;
        }
        let mut is_unix = false;
        let peer = peer.or_else(|| {
            let address = socket2::SockRef::from(&descriptor).peer_addr().ok()?;
            is_unix = address.is_unix();
            address.as_socket()
        });
        let socket = match self.driver.attach(descriptor) {
            Ok(socket) => socket,
            Err(error) => {
                self.totals.connections_refused += 1;
                let message = format!("a connection could not be set up: {error}");
                self.notices.push(
                    Severity::Warn,
                    "connection_refused",
                    peer.map(|peer| peer.to_string()),
                    message,
                );
                return;
            }
        };
        self.serial = self.serial.wrapping_add(1);
        let http2 = http2::Connection::new(http2::Role::Server, self.server_limits(), self.now);
        let pool = self.driver.chunks().clone();
        let tls = self.begin_tls(&pool);
        let mut connection = Box::new(Connection::new(socket, http2, peer, pool, self.serial));
        let refused = tls.as_ref().err().cloned();
        connection.is_unix = is_unix;
        connection.tls = tls.ok().flatten();
        self.connections.insert(socket.0, connection);
        self.live_connections += 1;
        self.show_load();
        self.totals.connections += 1;
        if let Some(cause) = refused {
            // Never in the clear instead.
            let message = format!("a connection could not be set up: {cause}");
            let peer = self.peer_of(socket.0);
            self.notices
                .push(Severity::Warn, "connection_refused", peer, message);
            return self.close_connection(socket.0, true);
        }
        self.mark_dirty(socket.0);
        if self.draining {
            // The kernel accepted it before it heard that nothing is to be accepted: what the client
            // sent by now is answered, and it learns that it should go elsewhere.
            self.drain_connection(socket.0, b"");
        }
    }

    pub(crate) fn accept_failed(&mut self, listener: ListenerId, error: i32) {
        if !self.listeners.contains(&listener) {
            return;
        }
        self.accepting_failed = true;
        let cause = std::io::Error::from_raw_os_error(error);
        let remedy = if error == libc::EMFILE {
            "; raise the limit of open files (ulimit -n)"
        } else {
            ""
        };
        let message = format!("no connection can be accepted: {cause}{remedy}; trying again");
        self.notices
            .push(Severity::Warn, "accept_failed", None, message);
    }

    /// The peer broke the protocol: it is told so, and the connection ends.
    pub(crate) fn connection_error(
        &mut self,
        index: u32,
        error: http2::ConnectionError,
        input: &[u8],
    ) {
        self.blame_error(index, error, input);
        let peer = self.peer_of(index);
        let (severity, event) = match error.kind {
            _ if self.is_client() => (Severity::Debug, "connection_error"),
            ErrorKind::Http1 => (Severity::Warn, "http1_request"),
            ErrorKind::Abuse => (Severity::Warn, "abuse"),
            _ => (Severity::Warn, "connection_error"),
        };
        let mut message = error.to_string();
        if error.kind == ErrorKind::NotHttp2 && is_client_hello(input) {
            message = "a TLS client came to this port, which has no TLS: serve with tls, or connect without TLS credentials".to_owned();
        } else if error.kind == ErrorKind::NotHttp2 {
            message.push_str("; the first bytes were \"");
            message.extend(
                input
                    .iter()
                    .take(24)
                    .flat_map(|&byte| std::ascii::escape_default(byte))
                    .map(char::from),
            );
            message.push('"');
        }
        self.totals.connection_errors += 1;
        if error.kind == ErrorKind::Abuse {
            self.attacked_until = self.now + DISTRUST_MS;
        }
        self.notices.push(severity, event, peer, message);
        self.end_calls(index, CAUSE_PROTOCOL, Code::Unavailable);
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        if error.kind == ErrorKind::Http1 {
            connection.building.write(HTTP1_ANSWER);
        }
        connection.finish(match error.kind {
            ErrorKind::Protocol | ErrorKind::Abuse | ErrorKind::Http1 => Manner::Moment,
            _ => Manner::Never,
        });
        self.mark_dirty(index);
    }

    /// The connection is gone, or has nothing left to say.
    pub(crate) fn close_connection(&mut self, index: u32, broken: bool) {
        self.end_calls(index, CAUSE_CONNECTION_LOST, Code::Cancelled);
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        if connection.state == State::Closing {
            return;
        }
        connection.state = State::Closing;
        connection.closing_since = self.now.max(1);
        connection.building.clear();
        let socket = connection.socket;
        if broken {
            self.driver.abort(socket);
        } else {
            self.send_close_notify(index);
            self.driver.close(socket);
        }
    }

    pub(crate) fn socket_closed(&mut self, index: u32) {
        self.end_calls(index, CAUSE_CONNECTION_LOST, Code::Cancelled);
        if let Some(connection) = self.connections.take(index) {
            self.live_connections -= 1;
            self.show_load();
            self.window_extra -= u64::from(connection.window_extra);
            self.framed_bytes -= connection.framed_counted;
            self.totals.http2.add(connection.http2.counters());
            self.raw_wake = true;
        }
        self.accepting_failed = false;
        self.check_drained();
    }

    pub(crate) fn end_calls(&mut self, index: u32, cause: u32, code: Code) {
        if self.is_client() {
            return self.end_link(index);
        }
        loop {
            let Some(connection) = self.connections.get(index) else {
                return;
            };
            let call = connection.first_call;
            if call == NOBODY {
                return;
            }
            self.unlink(call);
            self.calls[call].connection_lost = true;
            let reference = self.calls.reference(call);
            self.end_call(call, cause, code);
            if self.calls.find(reference).is_some() {
                // The socket's number may soon be another connection's.
                self.calls[call].connection = NOBODY;
                self.calls[call].stream = None;
            }
        }
    }

    /// The stream of a call is over without a proper end; its handler is told.
    pub(crate) fn end_call(&mut self, index: u32, cause: u32, code: Code) {
        let call = &mut self.calls[index];
        if call.cancelled {
            call.stream_over = true;
            return self.free_if_over(index);
        }
        call.cancelled = true;
        call.stream_over = true;
        self.totals.calls_cancelled += 1;
        if self.calls[index].announced && self.withdraw(index) {
            self.calls[index].announced = false;
        }
        self.drop_inbound(index);
        self.drop_pending(index);
        let call = &self.calls[index];
        if call.announced && !call.released {
            let method = u32::from(call.method);
            let reference = self.calls.reference(index);
            self.push_record([
                RECORD_CANCEL | cause << 8 | method << 16,
                reference,
                NO_SLOT,
                code.number(),
            ]);
        }
        self.free_if_over(index);
    }

    /// Ends a call with a status of ours; its handler is told.
    pub(crate) fn fail_call(&mut self, index: u32, cause: u32, code: Code, text: &str) {
        let call = &self.calls[index];
        if call.cancelled || call.stream_over {
            return;
        }
        if self.is_client() {
            return self.end_locally(index, code, text, 0);
        }
        let reference = self.calls.reference(index);
        self.drop_inbound(index);
        self.drop_pending(index);
        self.calls[index].finished = false;
        self.finish(index, code, text.as_bytes(), &[]);
        if self.calls.find(reference) == Some(index) {
            self.end_call(index, cause, code);
        }
    }

    pub(crate) fn drop_pending(&mut self, index: u32) {
        let call = &mut self.calls[index];
        let bytes = call.pending_bytes;
        call.pending.clear();
        call.pending_start = 0;
        call.pending_bytes = 0;
        call.framed = 0;
        call.in_flight = 0;
        call.trailers = None;
        let connection = call.connection;
        self.pending_bytes -= bytes as u64;
        self.pending.set(index as usize, 0);
        self.drop_feed(index);
        if let Some(connection) = self.connections.get_mut(connection) {
            connection.pending_bytes -= bytes;
        }
    }

    /// JavaScript has let go of a cancelled call.
    pub(crate) fn released(&mut self, index: u32) {
        self.calls[index].released = true;
        self.free_if_over(index);
    }

    /// Frees a call once neither the peer nor JavaScript can name it.
    pub(crate) fn free_if_over(&mut self, index: u32) {
        let call = &self.calls[index];
        if !call.stream_over || (call.announced && !call.released) {
            return;
        }
        self.drop_inbound(index);
        self.drop_pending(index);
        let call = &self.calls[index];
        let (connection_index, stream) = (call.connection, call.stream);
        if !call.connection_lost {
            self.unlink(index);
            if let Some(stream) = stream {
                self.release_stream(connection_index, stream);
            }
            self.check_drain(connection_index);
        }
        self.calls.give_back(index);
    }

    pub(crate) fn unlink(&mut self, index: u32) {
        let call = &mut self.calls[index];
        let (next, previous, connection) = (
            call.next_of_connection,
            call.previous_of_connection,
            call.connection,
        );
        call.next_of_connection = NOBODY;
        call.previous_of_connection = NOBODY;
        if next != NOBODY {
            self.calls[next].previous_of_connection = previous;
        }
        let Some(connection) = self.connections.get_mut(connection) else {
            return;
        };
        connection.calls -= 1;
        if previous == NOBODY {
            connection.first_call = next;
        } else {
            self.calls[previous].next_of_connection = next;
        }
    }

    pub(crate) fn release_stream(&mut self, index: u32, stream: StreamKey) {
        if let Some(connection) = self.connections.get_mut(index) {
            connection.http2.release(stream);
        }
    }

    pub(crate) fn peer_of(&self, index: u32) -> Option<String> {
        Some(self.connections.get(index)?.peer_name())
    }

    /// Looks at every connection's timers, and at what has stalled.
    pub(crate) fn sweep_connections(&mut self) {
        let now = self.now;
        for index in self.connections.indices() {
            let Some(connection) = self.connections.get_mut(index) else {
                continue;
            };
            if connection.state == State::Closing {
                // The driver finishes the last send; a peer that never reads is cut.
                if connection.closing_since == 0 {
                    connection.closing_since = now.max(1);
                } else if now - connection.closing_since > self.options.send_progress_timeout_ms {
                    self.driver.abort(connection.socket);
                }
                continue;
            }
            if connection.state == State::Connecting {
                self.check_connecting(index);
                continue;
            }
            if connection.state == State::Lingering {
                self.sweep_lingering(index);
                continue;
            }
            if connection.tls.is_some() && self.end_slow_handshake(index) {
                continue;
            }
            if self.end_stalled_send(index) {
                continue;
            }
            let Some(connection) = self.connections.get_mut(index) else {
                continue;
            };
            if connection.state == State::Open
                && connection
                    .http2
                    .next_timeout()
                    .is_some_and(|due| due <= now)
            {
                self.run_connection_timers(index);
                continue;
            }
            if connection.withheld > 0 {
                self.settle_connection(index);
            }
            let Some(connection) = self.connections.get_mut(index) else {
                continue;
            };
            if let Some(since) = connection.draining
                && !connection.drain_final
                && now - since > DRAIN_PING_MS
            {
                self.drain_second_step(index);
            }
        }
        if self.accepting_failed {
            self.accepting_failed = false;
            for &listener in &self.listeners {
                self.driver.retry_accept(listener);
            }
        }
        self.end_stalled_calls();
        self.end_untaken_replies();
        self.end_blocking_subscribers();
    }

    /// Stops accepting and lets every connection finish its calls: GOAWAY in two steps, so that
    /// calls already on their way are still served (RFC 9113, 6.8).
    pub fn drain(&mut self) {
        if self.draining {
            return;
        }
        self.draining = true;
        for listener in std::mem::take(&mut self.listeners) {
            self.driver.stop_listening(listener);
        }
        self.unix_listeners.clear();
        self.leave_seat();
        for index in self.connections.indices() {
            self.drain_connection(index, b"");
        }
        self.check_drained();
    }

    /// Lets a connection finish its calls, in the two steps of [`Engine::drain`]; a drain that has
    /// begun goes on.
    pub(crate) fn drain_connection(&mut self, index: u32, reason: &'static [u8]) {
        if let Some(connection) = self.connections.get_mut(index)
            && connection.state == State::Open
            && connection.draining.is_none()
        {
            connection.draining = Some(self.now);
            connection.drain_reason = reason;
            connection
                .http2
                .send_go_away(GoAwayLast::Max, Reason::NO_ERROR, reason);
            connection.http2.send_ping(DRAIN_PING);
            self.mark_dirty(index);
        }
    }

    /// Whether a drain has been asked for and every connection has ended.
    pub fn is_drained(&self) -> bool {
        self.draining
            && self.live_connections == 0
            // What the kernel accepted meanwhile is served, too.
            && self.completions.is_empty()
            && !self.more_completions
            && !self.driver.is_listening()
    }

    pub(crate) fn ping_acknowledged(&mut self, index: u32, payload: [u8; 8]) {
        if payload == DRAIN_PING {
            self.drain_second_step(index);
        }
    }

    fn drain_second_step(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        if connection.draining.is_none() || connection.drain_final {
            return;
        }
        connection.drain_final = true;
        let reason = connection.drain_reason;
        connection
            .http2
            .send_go_away(GoAwayLast::Real, Reason::NO_ERROR, reason);
        self.mark_dirty(index);
        self.check_drain(index);
    }

    /// Closes a draining connection whose calls are all over.
    fn check_drain(&mut self, index: u32) {
        if let Some(connection) = self.connections.get_mut(index)
            && connection.drain_final
            && connection.calls == 0
            && connection.state == State::Open
        {
            connection.finish(Manner::Patient);
            self.mark_dirty(index);
        }
    }

    pub(crate) fn check_drained(&mut self) {
        if self.is_drained() && !self.drained_notice {
            self.drained_notice = true;
            self.notices.push(
                Severity::Info,
                "drained",
                None,
                "every connection has ended".to_owned(),
            );
        }
    }

    /// The custom metadata of a call, as a metadata block.
    pub fn metadata(&self, reference: u32) -> Option<Vec<u8>> {
        let index = self.calls.find(reference)?;
        self.calls[index]
            .metadata
            .as_ref()
            .map(|block| block.to_vec())
    }

    /// The address of the peer of a call.
    pub fn peer(&self, reference: u32) -> Option<String> {
        let index = self.calls.find(reference)?;
        self.peer_of(self.calls[index].connection)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_answer_to_http1_has_the_length_it_names() {
        let text = std::str::from_utf8(super::HTTP1_ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
    }
}
