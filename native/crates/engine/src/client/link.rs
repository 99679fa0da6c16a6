//! A connection that a client opened: from the first attempt to its end, told by notices.
//!
//! ```text
//!                 connected          SETTINGS           GOAWAY
//!   Connecting ─────────────▶ Handshake ─────────▶ Ready ─────────▶ Draining
//!        └──────── failed ────────┴── failed          └── closed ──────┴──▶ Gone
//! ```

use std::{collections::VecDeque, os::fd::OwnedFd};

use millrace_grpc::Code;
use millrace_http2::{self as http2, ErrorKind, GoAwayLast, Reason};
use millrace_tls::ClientOptions as TlsClientOptions;
use socket2::{Socket, Type};

use super::address;
use crate::{
    Engine, EngineError,
    call::NOBODY,
    connection::{Connection, State},
    linger::Manner,
    notice::{ConnectionState, Notice, Severity},
    tls::Tls,
};

/// What `user-agent` says where the application says nothing.
const USER_AGENT: &str = concat!("grpc-node-millrace/", env!("CARGO_PKG_VERSION"));
/// The connection part of a reference whose socket could not even be made.
const NO_SOCKET: u32 = 0xffff;
/// What grpc servers say when keepalive PINGs come too often (proposal A8).
const TOO_MANY_PINGS: &[u8] = b"too_many_pings";

/// Where to connect to, and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// `127.0.0.1:50051`, `[::1]:50051`, `unix:/path` or `unix-abstract:name`.
    pub address: String,
    /// What `:authority` says.
    pub authority: String,
    /// What `user-agent` says; `None`: Millrace's own.
    pub user_agent: Option<String>,
    /// PING after so many milliseconds without a byte from the server; 0: never.
    pub keepalive_time_ms: u64,
    /// Milliseconds for its answer.
    pub keepalive_timeout_ms: u64,
    /// PING also while there is no call.
    pub keepalive_without_calls: bool,
    /// Milliseconds for the connection, TLS and the server's SETTINGS, each.
    pub connect_timeout_ms: u64,
    /// Speak TLS; `None`: in the clear.
    pub tls: Option<TlsClientOptions>,
    /// What the server's certificate has to be for; `None`: the host of the authority.
    pub server_name: Option<String>,
}

impl Target {
    /// A target with the defaults for everything but its address.
    pub fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            authority: address.to_owned(),
            user_agent: None,
            keepalive_time_ms: 0,
            keepalive_timeout_ms: 20_000,
            keepalive_without_calls: false,
            connect_timeout_ms: 20_000,
            tls: None,
            server_name: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Handshake,
    Ready,
    Draining,
    Gone,
}

/// What only a client's connection has.
pub(crate) struct Link {
    reference: u32,
    pub(crate) address: String,
    pub(super) authority: Box<[u8]>,
    pub(super) user_agent: Box<[u8]>,
    phase: Phase,
    /// No new calls: it closes when those under way are over.
    shut: bool,
    connect_timeout_ms: u64,
    pub(super) deadline: u64,
    /// Calls that wait for the connection, or for one of the streams that the server allows.
    pub(super) waiting: VecDeque<u32>,
    /// Calls that are not over, those that wait among them.
    pub(super) active: u32,
    /// A call was sent on it.
    pub(super) used: bool,
    /// The server has answered one.
    pub(super) answered: bool,
    /// Why it ended.
    cause: Option<String>,
}

impl Link {
    pub(super) fn starts_calls(&self) -> bool {
        self.phase == Phase::Ready
    }

    pub(super) fn takes_calls(&self) -> bool {
        !self.shut && !matches!(self.phase, Phase::Draining | Phase::Gone)
    }

    fn is_set_up(&self) -> bool {
        !matches!(self.phase, Phase::Connecting | Phase::Handshake)
    }

    /// Why calls on it cannot be made, or go on.
    pub(super) fn text(&self) -> String {
        match &self.cause {
            Some(cause) => cause.clone(),
            None if self.shut => format!("{}: the connection is being closed", self.address),
            None => format!("{}: the server takes no new calls", self.address),
        }
    }
}

impl Engine {
    /// Begins to connect. What becomes of it is said by notices `connection_state`, which name the
    /// connection by what this returns.
    ///
    /// # Errors
    /// `MILLRACE_TARGET_INVALID`: the address cannot be read. `MILLRACE_ROLE`: the engine is a
    /// server's. What the network says is no error here.
    pub fn open(&mut self, target: &Target) -> Result<u32, EngineError> {
        if !self.is_client() {
            return Err(EngineError {
                code: "MILLRACE_ROLE",
                message: "this engine serves; connections are opened by one whose role is client"
                    .to_owned(),
            });
        }
        let address = address::parse(&target.address).map_err(|message| EngineError {
            code: "MILLRACE_TARGET_INVALID",
            message,
        })?;
        self.tick();
        self.serial = self.serial.wrapping_add(1);
        let generation = (self.serial & 0xffff) << 16;
        let peer = address.as_socket();
        let session = match self.client_session(target) {
            Ok(session) => session,
            // Wrong certificates are like an address that nobody listens on: calls hear of it.
            Err(error) => return Ok(self.cannot_connect(target, generation, &error)),
        };
        let begun = Socket::new(address.domain(), Type::STREAM, None)
            .and_then(|socket| self.driver.connect(OwnedFd::from(socket), address));
        let socket = match begun {
            Ok(socket) if socket.0 < NO_SOCKET => socket,
            failed => {
                let cause = match failed {
                    Ok(socket) => {
                        self.driver.abort(socket);
                        "too many connections".to_owned()
                    }
                    Err(error) => error.to_string(),
                };
                return Ok(self.cannot_connect(target, generation, &cause));
            }
        };
        let limits = http2::Limits {
            handshake_timeout: target.connect_timeout_ms,
            keepalive_interval: (target.keepalive_time_ms > 0).then_some(target.keepalive_time_ms),
            keepalive_timeout: target.keepalive_timeout_ms,
            keepalive_without_streams: target.keepalive_without_calls,
            ping_strike_interval: None,
            max_connection_idle: None,
            ..self.http2_limits()
        };
        let http2 = http2::Connection::new(http2::Role::Client, limits, self.now);
        let pool = self.driver.chunks().clone();
        let reference = socket.0 | generation;
        let mut connection = Connection::new(socket, http2, peer, pool, self.serial);
        connection.state = State::Connecting;
        connection.tls = session.map(|session| {
            let pool = self.driver.chunks().clone();
            // Both take their time: connecting, then the handshake.
            let limit = target.connect_timeout_ms.saturating_mul(2);
            Box::new(Tls::new(session, pool, self.now, limit))
        });
        connection.link = Some(Box::new(Link {
            reference,
            address: target.address.clone(),
            authority: target.authority.as_bytes().into(),
            user_agent: target
                .user_agent
                .as_deref()
                .unwrap_or(USER_AGENT)
                .as_bytes()
                .into(),
            phase: Phase::Connecting,
            shut: false,
            connect_timeout_ms: target.connect_timeout_ms,
            deadline: self.now.saturating_add(target.connect_timeout_ms),
            waiting: VecDeque::new(),
            active: 0,
            used: false,
            answered: false,
            cause: None,
        }));
        self.connections.insert(socket.0, Box::new(connection));
        self.live_connections += 1;
        self.setups += 1;
        self.totals.connections += 1;
        self.watch_link(socket.0);
        Ok(reference)
    }

    /// A connection that failed before there was a socket.
    fn cannot_connect(&mut self, target: &Target, generation: u32, cause: &str) -> u32 {
        let reference = NO_SOCKET | generation;
        self.notices.push_state(Notice {
            severity: Severity::Debug,
            event: "connection_state",
            peer: None,
            message: format!("cannot connect to {}: {cause}", target.address),
            connection: Some(ConnectionState::new(reference, "failed")),
        });
        reference
    }

    /// Takes no new calls on a connection, and closes it when those under way are over.
    pub fn shut(&mut self, reference: u32) {
        let Some(index) = self.find_link(reference) else {
            return;
        };
        if let Some(link) = self.link_mut(index) {
            link.shut = true;
        }
        self.check_link(index);
    }

    /// Closes a connection at once; its calls end with UNAVAILABLE.
    pub fn abort(&mut self, reference: u32) {
        if let Some(index) = self.find_link(reference) {
            self.blame(index, "it was closed on this side");
            self.close_connection(index, true);
        }
    }

    pub(super) fn find_link(&self, reference: u32) -> Option<u32> {
        let index = reference & 0xffff;
        let connection = self.connections.get(index)?;
        let link = connection.link.as_ref()?;
        (link.reference == reference && link.phase != Phase::Gone).then_some(index)
    }

    pub(super) fn link_mut(&mut self, index: u32) -> Option<&mut Link> {
        let connection = self.connections.get_mut(index)?;
        connection.link.as_deref_mut()
    }

    /// Whether connections are being set up: somebody waits for what becomes of them.
    pub(crate) fn is_setting_up(&self) -> bool {
        self.setups > 0
    }

    pub(crate) fn connected(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let Some(link) = &mut connection.link else {
            return;
        };
        if connection.state == State::Connecting {
            connection.state = State::Open;
            link.phase = Phase::Handshake;
            self.mark_dirty(index);
        }
    }

    pub(crate) fn connect_failed(&mut self, index: u32, error: i32) {
        let cause = std::io::Error::from_raw_os_error(error).to_string();
        self.blame(index, &cause);
        self.close_connection(index, true);
    }

    /// Gives up what takes too long to connect; called by the sweep.
    pub(crate) fn check_connecting(&mut self, index: u32) {
        let now = self.now;
        if let Some(link) = self.link_mut(index)
            && link.phase == Phase::Connecting
            && link.deadline <= now
        {
            let cause = format!("no answer within {} ms", link.connect_timeout_ms);
            self.blame(index, &cause);
            self.close_connection(index, true);
        }
    }

    /// The server's first SETTINGS have arrived.
    pub(crate) fn link_ready(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let maximum = connection.http2.peer_max_concurrent_streams();
        let Some(link) = &mut connection.link else {
            return;
        };
        if link.phase != Phase::Handshake {
            return;
        }
        link.phase = Phase::Ready;
        self.setups -= 1;
        let message = format!("{}: ready", link.address);
        let mut state = ConnectionState::new(link.reference, "ready");
        state.max_concurrent_streams = (maximum != u32::MAX).then_some(maximum);
        self.notices.push_state(Notice {
            severity: Severity::Debug,
            event: "connection_state",
            peer: None,
            message,
            connection: Some(state),
        });
        self.mark_dirty(index);
    }

    /// The server takes no new calls; those that still wait may be made elsewhere. One that goes away
    /// with an error before the first call has failed to connect: to try again at once would go on
    /// for ever.
    pub(crate) fn link_going_away(&mut self, index: u32, reason: Reason) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let debug = connection.http2.go_away_debug();
        let too_many_pings = reason == Reason::ENHANCE_YOUR_CALM && debug == TOO_MANY_PINGS;
        let why = format!("GOAWAY {reason} {}", String::from_utf8_lossy(debug));
        let used = connection.link.as_ref().is_some_and(|link| link.used);
        let state = if reason == Reason::NO_ERROR || used {
            "draining"
        } else {
            "failed"
        };
        self.drain_link(index, state, &why, too_many_pings);
    }

    /// No new call starts on the connection, for it says so or has no stream identifiers left.
    pub(super) fn drain_link(
        &mut self,
        index: u32,
        state: &'static str,
        why: &str,
        too_many_pings: bool,
    ) {
        let Some(link) = self.link_mut(index) else {
            return;
        };
        if !matches!(link.phase, Phase::Handshake | Phase::Ready) {
            return;
        }
        let set_up = link.is_set_up();
        link.phase = Phase::Draining;
        let text = format!("{}: {}", link.address, why.trim_end());
        let mut state = ConnectionState::new(link.reference, state);
        state.too_many_pings = too_many_pings;
        state.answered = link.answered;
        let waiting = std::mem::take(&mut link.waiting);
        if !set_up {
            self.setups -= 1;
        }
        self.notices.push_state(Notice {
            severity: Severity::Debug,
            event: "connection_state",
            peer: None,
            message: text.clone(),
            connection: Some(state),
        });
        for reference in waiting {
            if let Some(call) = self.calls.find(reference) {
                self.end_locally(call, Code::Unavailable, &text, 0);
            }
        }
        self.check_link(index);
    }

    /// Closes a connection that takes no new calls and has none left.
    pub(super) fn check_link(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let Some(link) = &connection.link else { return };
        if link.active > 0 || link.takes_calls() || link.phase == Phase::Gone {
            return;
        }
        match connection.state {
            State::Connecting => {
                self.blame(index, "it was closed on this side");
                self.close_connection(index, true);
            }
            State::Open => {
                let reason = Reason::NO_ERROR;
                connection.http2.send_go_away(GoAwayLast::Real, reason, b"");
                connection.finish(Manner::Never);
                self.blame(index, "no call is left, and it takes no new ones");
                self.report_end(index);
                self.mark_dirty(index);
            }
            State::Flushing | State::Lingering | State::Closing => {}
        }
    }

    /// Keeps the first reason why a connection ends.
    pub(crate) fn blame(&mut self, index: u32, why: &str) {
        if let Some(link) = self.link_mut(index)
            && link.cause.is_none()
        {
            link.cause = Some(match link.phase {
                Phase::Connecting => format!("cannot connect to {}: {why}", link.address),
                _ => format!("{}: the connection ended: {why}", link.address),
            });
        }
    }

    /// The connection was lost. One that was never ready says what that may mean.
    pub(crate) fn blame_loss(&mut self, index: u32, how: &str) {
        let secured = self
            .connections
            .get(index)
            .and_then(|connection| connection.tls.as_ref())
            .map(|tls| tls.is_handshaking());
        let Some(link) = self.link_mut(index) else {
            return;
        };
        let hint = match (link.phase, secured) {
            (Phase::Handshake, Some(true)) => {
                " in the TLS handshake; the server may not speak TLS on this port"
            }
            (Phase::Handshake, None) => {
                " before it said anything; the server may not speak HTTP/2 on this port, or only over TLS"
            }
            _ => "",
        };
        self.blame(index, &format!("{how}{hint}"));
    }

    /// The connection ends by an error; `input` is what was being read.
    pub(crate) fn blame_error(&mut self, index: u32, error: http2::ConnectionError, input: &[u8]) {
        let Some(link) = self.link_mut(index) else {
            return;
        };
        if link.phase != Phase::Handshake {
            return self.blame(index, &error.to_string());
        }
        let text = if error.kind == ErrorKind::Timeout {
            format!(
                "{} took the connection and sent no HTTP/2 SETTINGS within {} ms",
                link.address, link.connect_timeout_ms
            )
        } else if input.starts_with(&[0x15, 3]) {
            format!(
                "{} speaks TLS, and this connection does not: give it tls",
                link.address
            )
        } else {
            let shown: String = input
                .iter()
                .take(24)
                .flat_map(|&byte| std::ascii::escape_default(byte))
                .map(char::from)
                .collect();
            format!(
                "{} is not an HTTP/2 server: first bytes \"{shown}\" ({error})",
                link.address
            )
        };
        link.cause.get_or_insert(text);
    }

    /// Says once that a connection is gone.
    fn report_end(&mut self, index: u32) {
        let Some(link) = self.link_mut(index) else {
            return;
        };
        if link.phase == Phase::Gone {
            return;
        }
        let set_up = link.is_set_up();
        link.phase = Phase::Gone;
        let state = if set_up { "closed" } else { "failed" };
        let mut state = ConnectionState::new(link.reference, state);
        state.answered = link.answered;
        let message = link.text();
        if !set_up {
            self.setups -= 1;
        }
        self.notices.push_state(Notice {
            severity: Severity::Debug,
            event: "connection_state",
            peer: None,
            message,
            connection: Some(state),
        });
    }

    /// The connection is gone: so are its calls.
    pub(crate) fn end_link(&mut self, index: u32) {
        self.report_end(index);
        let Some(link) = self.link_mut(index) else {
            return;
        };
        let text = link.text();
        link.waiting.clear();
        loop {
            let first = self
                .connections
                .get(index)
                .map_or(NOBODY, |connection| connection.first_call);
            if first == NOBODY {
                return;
            }
            self.unlink(first);
            let reference = self.calls.reference(first);
            self.calls[first].connection_lost = true;
            if self.calls[first].client.ended.is_none() {
                self.end_lost(first, Code::Unavailable, &text, 0);
            }
            if self.calls.find(reference).is_some() {
                // The socket's number may soon be another connection's.
                self.calls[first].connection = NOBODY;
                self.calls[first].stream = None;
            }
        }
    }
}
