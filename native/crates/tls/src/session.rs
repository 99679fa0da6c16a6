//! One TLS connection: ciphertext in, plaintext out, and the other way round.

use std::{
    cell::OnceCell,
    io::{BufRead, Write},
};

use rustls::Connection;

use crate::{HTTP2, PeerIdentity, SessionError};

/// The type byte of a handshake record, with which both sides begin (RFC 8446, 5.1).
const HANDSHAKE: u8 = 0x16;
/// An alert record: all that a server may say before the handshake.
const ALERT: u8 = 0x15;

/// One TLS connection of either role.
///
/// Whatever was called, [`Session::write_output`] has to be called before the next
/// [`Session::encrypt`] and before waiting: handshake messages and alerts are in it.
pub struct Session {
    connection: Connection,
    /// Bytes of the peer have come.
    begun: bool,
    handshaking: bool,
    closed: bool,
    close_sent: bool,
    identity: OnceCell<Box<PeerIdentity>>,
}

impl Session {
    pub(crate) fn new(mut connection: Connection) -> Self {
        // Everything written is taken out at once, and bounded by whoever writes.
        connection.set_buffer_limit(None);
        Self {
            connection,
            begun: false,
            handshaking: true,
            closed: false,
            close_sent: false,
            identity: OnceCell::new(),
        }
    }

    /// Takes bytes of the wire, in pieces of any size, and appends what they say to `plaintext`:
    /// at most as many bytes as the input has and one record of 16 KiB.
    ///
    /// # Errors
    /// The connection cannot go on; an alert for the peer may be in the output.
    pub fn receive(
        &mut self,
        mut ciphertext: &[u8],
        plaintext: &mut Vec<u8>,
    ) -> Result<(), SessionError> {
        if !self.begun && !ciphertext.is_empty() {
            self.begun = true;
            self.check_first(ciphertext)?;
        }
        while !ciphertext.is_empty() && !self.closed {
            let taken = self
                .connection
                .read_tls(&mut ciphertext)
                .map_err(|error| SessionError::Failed(error.to_string()))?;
            let state = self
                .connection
                .process_new_packets()
                .map_err(|error| SessionError::from_rustls(&error, self.handshaking))?;
            if state.plaintext_bytes_to_read() > 0 {
                self.take_plaintext(plaintext);
            }
            self.closed = state.peer_has_closed();
            if self.handshaking && !self.connection.is_handshaking() {
                self.handshaking = false;
                self.check_protocol()?;
            }
            if taken == 0 {
                break;
            }
        }
        Ok(())
    }

    fn take_plaintext(&mut self, plaintext: &mut Vec<u8>) {
        let mut reader = self.connection.reader();
        // WouldBlock says that there is no more for now.
        while let Ok(bytes) = reader.fill_buf()
            && !bytes.is_empty()
        {
            plaintext.extend_from_slice(bytes);
            let length = bytes.len();
            reader.consume(length);
        }
    }

    /// Names the peers that do not speak TLS at all.
    fn check_first(&self, bytes: &[u8]) -> Result<(), SessionError> {
        let client = matches!(self.connection, Connection::Client(_));
        if bytes[0] == HANDSHAKE || (client && bytes[0] == ALERT) {
            return Ok(());
        }
        let begins = |text: &[u8]| {
            let length = bytes.len().min(text.len());
            bytes[..length] == text[..length]
        };
        // A server's first frame is SETTINGS, on stream 0 and never very long.
        let settings = |bytes: &[u8]| bytes[0] == 0 && bytes.get(3).is_none_or(|&kind| kind == 4);
        Err(
            if begins(b"PRI * HTTP/2.0\r\n") || (client && settings(bytes)) {
                SessionError::PlaintextHttp2
            } else if begins(b"HTTP/1.") || begins_with_method(bytes) {
                SessionError::PlaintextHttp1
            } else {
                SessionError::NotTls
            },
        )
    }

    /// HTTP/2 has to be what was agreed on (RFC 9113, 3.2); a peer without ALPN agreed on nothing.
    fn check_protocol(&self) -> Result<(), SessionError> {
        if self.connection.alpn_protocol() == Some(HTTP2) {
            return Ok(());
        }
        Err(SessionError::Failed(
            "the TLS handshake failed: the peer does not negotiate HTTP/2 by ALPN, which gRPC over TLS needs".to_owned(),
        ))
    }

    /// Encrypts into records of up to 16 KiB each and writes them, in order. Only after the
    /// handshake.
    pub fn encrypt(&mut self, mut plaintext: &[u8], out: &mut impl Write) {
        debug_assert!(!self.handshaking && !self.connection.wants_write());
        while !plaintext.is_empty() {
            match self.connection.writer().write(plaintext) {
                Ok(taken) if taken > 0 => plaintext = &plaintext[taken..],
                _ => return,
            }
            self.write_output(out);
        }
    }

    /// Writes what the protocol itself has to say: handshake messages, tickets, alerts.
    pub fn write_output(&mut self, out: &mut impl Write) {
        while self.connection.wants_write() {
            match self.connection.write_tls(out) {
                Ok(written) if written > 0 => {}
                // Memory takes everything.
                _ => return,
            }
        }
    }

    /// Whether there is something for [`Session::write_output`].
    pub fn has_output(&self) -> bool {
        self.connection.wants_write()
    }

    /// Whether the handshake is under way: nothing can be encrypted yet.
    pub fn is_handshaking(&self) -> bool {
        self.handshaking
    }

    /// Whether the peer has said that it sends no more (close_notify).
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Puts close_notify into the output, once; nothing may be encrypted afterwards.
    pub fn close(&mut self) {
        if !self.close_sent {
            self.close_sent = true;
            self.connection.send_close_notify();
        }
    }

    /// Who the peer is, once the handshake is over, if it presented a certificate. A server's
    /// certificate is verified in any case, a client's if it was asked for.
    pub fn peer(&self) -> Option<&PeerIdentity> {
        if self.handshaking {
            return None;
        }
        let certificate = self.connection.peer_certificates()?.first()?;
        Some(
            self.identity
                .get_or_init(|| Box::new(PeerIdentity::read(certificate))),
        )
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Session")
            .field("handshaking", &self.handshaking)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// Whether bytes begin like a request of HTTP/1.x: a method of capital letters, then a space.
fn begins_with_method(bytes: &[u8]) -> bool {
    let letters = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_uppercase())
        .count();
    letters > 0 && letters < 20 && bytes.get(letters).is_none_or(|&byte| byte == b' ')
}
