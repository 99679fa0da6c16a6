//! TLS between the driver and HTTP/2. What arrives is decrypted into memory of its own, so that
//! its receive buffer returns at once; what leaves is encrypted when it is flushed, in wire order.
//!
//! Bounds: one receive buffer is decrypted at a time, into at most its size and a record of 16 KiB;
//! ciphertext exists for the one send in flight, so at most as much as is built ahead.

use std::{collections::VecDeque, io, sync::Arc};

use millrace_grpc::Code;
use millrace_http2::Reason;
use millrace_ring::{Chunk, ChunkPool};
use millrace_tls::{ClientConfig, ServerConfig, ServerOptions, Session, SessionError};

use crate::{
    Engine, EngineError, Target,
    connection::{Building, State},
    engine::{Input, Part},
    layout::CAUSE_PROTOCOL,
    linger::Manner,
    notice::{Severity, quote},
    shared,
};

/// Handshake messages answered in a batch: each costs a signature, which takes about as long as a
/// hundred calls.
pub(crate) const HANDSHAKES: u32 = 8;

/// Configurations of clients that are kept: reading the system's authorities takes milliseconds.
const CLIENT_CONFIGS: usize = 16;

/// Told to HTTP/2 clients that forgot TLS.
const NEEDS_TLS: &[u8] = b"this port speaks gRPC over TLS: connect with TLS credentials";

/// What a server's side of HTTP/2 begins with (RFC 9113, 3.4).
const EMPTY_SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
/// The type of a GOAWAY frame (RFC 9113, 6.8).
const GO_AWAY: u8 = 7;

const HTTP1_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
content-type: text/plain; charset=utf-8\r\n\
content-length: 97\r\n\
connection: close\r\n\r\n\
This port speaks gRPC over TLS (HTTP/2), not plain HTTP/1.1. Use a gRPC client, such as grpcurl.\n";

/// The TLS of one connection.
pub(crate) struct Tls {
    session: Session,
    /// Ciphertext for the send in flight.
    sealed: Building,
    /// When its handshake began, and how long it may take.
    since: u64,
    limit: u64,
}

impl Tls {
    pub(crate) fn new(session: Session, pool: ChunkPool, now: u64, limit: u64) -> Self {
        Self {
            session,
            sealed: Building::new(pool),
            since: now,
            limit,
        }
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    /// When its handshake has to be over; `None` when it is.
    pub(crate) fn handshake_due(&self) -> Option<u64> {
        self.is_handshaking()
            .then(|| self.since.saturating_add(self.limit))
    }

    /// The protocol's own messages wait to leave.
    pub(crate) fn has_output(&self) -> bool {
        self.session.has_output()
    }

    /// Puts close_notify behind everything, once.
    pub(crate) fn close(&mut self) {
        self.session.close();
    }

    /// Encrypts all that was built, for [`Tls::sealed`], and tells how many bytes that are now; the
    /// protocol's own messages go first, as they were made before.
    pub(crate) fn seal(&mut self, building: &mut Building) -> usize {
        let Self {
            session, sealed, ..
        } = self;
        session.write_output(&mut Sink(sealed));
        if !session.is_handshaking() {
            for chunk in building.chunks.drain(..) {
                session.encrypt(chunk.as_slice(), &mut Sink(sealed));
            }
            building.clear();
        }
        std::mem::take(&mut sealed.bytes)
    }

    /// The ciphertext that has to be sent.
    pub(crate) fn sealed(&mut self) -> &mut VecDeque<Chunk> {
        &mut self.sealed.chunks
    }
}

struct Sink<'a>(&'a mut Building);

impl io::Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Engine {
    /// Speaks TLS with everybody who connects from now on; connections that exist keep what they
    /// have. Called again, it takes the place of the certificates before.
    ///
    /// # Errors
    /// `MILLRACE_TLS_*` with the cause; what was there before stays.
    pub fn set_tls(&mut self, options: &ServerOptions) -> Result<(), EngineError> {
        let config = ServerConfig::new(options).map_err(|error| EngineError {
            code: error.code,
            message: error.message,
        })?;
        self.tls = Some(config);
        Ok(())
    }

    /// A connection that was accepted has to begin with a handshake, where the server has TLS.
    pub(crate) fn begin_tls(&self, pool: &ChunkPool) -> Result<Option<Box<Tls>>, String> {
        let Some(config) = &self.tls else {
            return Ok(None);
        };
        let session = config.session().map_err(|error| error.message)?;
        Ok(Some(Box::new(Tls::new(
            session,
            pool.clone(),
            self.now,
            self.options.handshake_timeout_ms,
        ))))
    }

    /// The TLS of a connection to be opened, where it has any.
    pub(crate) fn client_session(&mut self, target: &Target) -> Result<Option<Session>, String> {
        let Some(options) = &target.tls else {
            return Ok(None);
        };
        let known = self
            .tls_clients
            .iter()
            .position(|(known, _)| known == options);
        let position = match known {
            Some(position) => position,
            None => {
                let config = ClientConfig::new(options).map_err(|error| error.message)?;
                if self.tls_clients.len() == CLIENT_CONFIGS {
                    self.tls_clients.remove(0);
                }
                self.tls_clients.push((options.clone(), config));
                self.tls_clients.len() - 1
            }
        };
        let name = target
            .server_name
            .as_deref()
            .unwrap_or_else(|| host(&target.authority));
        self.tls_clients[position]
            .1
            .session(name)
            .map(Some)
            .map_err(|error| error.message)
    }

    /// Decrypts a receive buffer, gives it back, and parses what it said.
    pub(crate) fn receive_sealed(&mut self, index: u32, buffer: u16, length: usize) {
        let ring = Arc::clone(&self.ring);
        let base = buffer as usize * self.options.ring_buffer_bytes as usize;
        let mut plaintext = std::mem::take(&mut self.plaintext);
        plaintext.clear();
        let mut result = Ok(());
        let mut serial = 0;
        if let Some(connection) = self.connections.get_mut(index)
            && let Some(tls) = connection.tls.as_mut()
        {
            serial = connection.serial;
            let handshaking = tls.is_handshaking();
            result = tls
                .session
                .receive(shared::bytes(&ring, base, length), &mut plaintext);
            if handshaking {
                self.handshakes += 1;
                if result.is_ok() && !tls.is_handshaking() {
                    self.totals.tls_handshakes += 1;
                }
            }
        }
        self.driver.release(buffer);
        self.batch_bytes += length;
        self.mark_dirty(index);
        if let Err(error) = result {
            self.plaintext = plaintext;
            return self.tls_error(index, error);
        }
        if plaintext.is_empty() {
            self.plaintext = plaintext;
            return self.end_if_closed(index);
        }
        let length = plaintext.len();
        self.parse(Part {
            connection: index,
            serial,
            input: Input::Memory(plaintext),
            position: 0,
            length,
        });
    }

    /// All of a decrypted piece was parsed: its memory serves the next.
    pub(crate) fn decrypted_parsed(&mut self, index: u32, serial: u32, memory: Vec<u8>) {
        self.plaintext = memory;
        let current = self
            .connections
            .get(index)
            .is_some_and(|connection| connection.serial == serial);
        if current {
            self.settle_connection(index);
            self.end_if_closed(index);
        }
    }

    /// The peer's close_notify is its end of the connection.
    fn end_if_closed(&mut self, index: u32) {
        let closed = self.connections.get(index).is_some_and(|connection| {
            connection.state == State::Open
                && connection
                    .tls
                    .as_ref()
                    .is_some_and(|tls| tls.session.is_closed())
        });
        if closed {
            self.receive_ended(index, 0);
        }
    }

    /// The connection cannot go on: the peer is told in the way that it understands.
    fn tls_error(&mut self, index: u32, error: SessionError) {
        let peer = self.peer_of(index);
        self.totals.tls_failures += 1;
        let calls = self.is_client();
        let message = match &error {
            SessionError::Failed(message) => message.clone(),
            other if calls => format!("{other}: connect without tls, or to a port with TLS"),
            SessionError::PlaintextHttp1 | SessionError::PlaintextHttp2 | SessionError::NotTls => {
                format!("{error}: connect with TLS credentials, or serve without tls")
            }
        };
        self.blame(index, &message);
        let severity = if calls {
            // Whoever called hears of it.
            Severity::Debug
        } else {
            Severity::Warn
        };
        self.notices.push(severity, "tls_error", peer, message);
        self.end_calls(index, CAUSE_PROTOCOL, Code::Unavailable);
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        connection.building.clear();
        match error {
            SessionError::PlaintextHttp2 if !calls => {
                connection.tls = None;
                connection.http2.ordered().clear();
                connection.http2.urgent().clear();
                // By hand: HTTP/2 has seen no preface, and would wait for it.
                let [length, reason] = [8 + NEEDS_TLS.len() as u32, Reason::INADEQUATE_SECURITY.0];
                connection.building.write(&EMPTY_SETTINGS);
                connection.building.write(&length.to_be_bytes()[1..]);
                connection
                    .building
                    .write(&[GO_AWAY, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
                connection.building.write(&reason.to_be_bytes());
                connection.building.write(NEEDS_TLS);
            }
            SessionError::PlaintextHttp1 if !calls => {
                connection.tls = None;
                connection.http2.ordered().clear();
                connection.http2.urgent().clear();
                connection.building.write(HTTP1_ANSWER);
            }
            // An alert, where there is one, is in the session's output.
            _ => {
                connection.http2.ordered().clear();
                connection.http2.urgent().clear();
            }
        }
        connection.finish(Manner::Moment);
        self.mark_dirty(index);
    }

    /// Cuts a connection whose handshake takes too long; tells whether it did.
    pub(crate) fn end_slow_handshake(&mut self, index: u32) -> bool {
        let Some(connection) = self.connections.get(index) else {
            return false;
        };
        let Some(limit) = connection
            .tls
            .as_ref()
            .filter(|tls| tls.is_handshaking() && self.now - tls.since >= tls.limit)
            .map(|tls| tls.limit)
        else {
            return false;
        };
        let peer = Some(connection.peer_name());
        let message = format!(
            "the TLS handshake was not over after {} seconds; the connection was cut",
            limit as f64 / 1000.0
        );
        self.totals.tls_failures += 1;
        self.blame(index, &message);
        self.notices
            .push(Severity::Warn, "tls_error", peer, message);
        self.close_connection(index, true);
        true
    }

    /// Sends close_notify as the last thing before the socket is closed, if nothing is in flight.
    pub(crate) fn send_close_notify(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        if connection.sending {
            return;
        }
        let Some(tls) = connection.tls.as_mut() else {
            return;
        };
        tls.close();
        connection.building.clear();
        tls.seal(&mut connection.building);
        let chunks = tls.sealed();
        let count = chunks.len();
        if count > 0 {
            self.driver.send(connection.socket, chunks, count);
            connection.sending = true;
        }
    }

    /// Who the peer of a call is by its certificate, as JSON; nothing without one.
    pub fn peer_identity(&self, reference: u32) -> Option<String> {
        let call = self.calls.find(reference)?;
        let index = self.calls[call].connection;
        let connection = self.connections.get(index)?;
        let identity = connection.tls.as_ref()?.session.peer()?;
        let mut json = String::from("{");
        for (name, text) in [
            ("subject", &identity.subject),
            ("issuer", &identity.issuer),
            ("serialNumber", &identity.serial_number),
            ("fingerprint256", &identity.fingerprint),
        ] {
            quote(name, &mut json);
            json.push(':');
            quote(text, &mut json);
            json.push(',');
        }
        for (name, list) in [
            ("dnsNames", &identity.dns_names),
            ("uris", &identity.uris),
            ("emails", &identity.emails),
            ("ipAddresses", &identity.ip_addresses),
        ] {
            quote(name, &mut json);
            json.push_str(":[");
            for (position, text) in list.iter().enumerate() {
                if position > 0 {
                    json.push(',');
                }
                quote(text, &mut json);
            }
            json.push_str("],");
        }
        json.push_str(&format!(
            "\"validFromMs\":{},\"validToMs\":{}}}",
            identity.valid_from * 1000,
            identity.valid_to * 1000
        ));
        Some(json)
    }
}

/// An authority without its port.
fn host(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port))
            if !host.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            // The last group of an IPv6 address without brackets is no port.
            if host.contains(':') && !host.starts_with('[') {
                authority
            } else {
                host
            }
        }
        _ => authority,
    }
}

/// Names a TLS client that came to a port without TLS, by the first byte of its handshake.
pub(crate) fn is_client_hello(input: &[u8]) -> bool {
    input.first() == Some(&0x16) && input.get(1).is_none_or(|&major| major == 3)
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn the_host_of_an_authority_has_no_port() {
        for (authority, expected) in [
            ("name.test:443", "name.test"),
            ("name.test", "name.test"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("[::1]:443", "[::1]"),
            ("[::1]", "[::1]"),
            ("::1", "::1"),
        ] {
            assert_eq!(host(authority), expected);
        }
    }

    #[test]
    fn the_answer_to_http1_has_the_length_it_names() {
        let text = std::str::from_utf8(super::HTTP1_ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
    }
}
