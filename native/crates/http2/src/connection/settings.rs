//! SETTINGS in both directions (RFC 9113 section 6.5).

use super::{Connection, Role};
use crate::error::{ConnectionError, ErrorKind, Reason};
use crate::event::Event;
use crate::flow;
use crate::frame::settings;
use crate::timer::Timer;

/// What the peer has told us, with the defaults of RFC 9113 section 6.5.2.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerSettings {
    pub(super) max_concurrent_streams: u32,
    pub(super) initial_window: u32,
    pub(super) max_frame_bytes: u32,
    pub(super) max_header_list_bytes: u32,
}

impl Default for PeerSettings {
    fn default() -> Self {
        Self {
            max_concurrent_streams: u32::MAX,
            initial_window: flow::DEFAULT,
            max_frame_bytes: super::MAX_FRAME_SIZE as u32,
            max_header_list_bytes: u32::MAX,
        }
    }
}

impl Connection {
    pub(super) fn queue_settings(&mut self) {
        let limits = &self.limits;
        let role_specific = match self.role {
            Role::Server => (
                settings::MAX_CONCURRENT_STREAMS,
                limits.max_concurrent_streams,
            ),
            Role::Client => (settings::ENABLE_PUSH, 0),
        };
        settings::write(
            &[
                (settings::HEADER_TABLE_SIZE, limits.header_table_bytes),
                role_specific,
                (settings::INITIAL_WINDOW_SIZE, limits.initial_window_bytes),
                (settings::MAX_FRAME_SIZE, super::MAX_FRAME_SIZE as u32),
                (
                    settings::MAX_HEADER_LIST_SIZE,
                    limits.header_list_soft_bytes,
                ),
            ],
            &mut self.urgent,
        );
        self.timers.set(
            Timer::SettingsAcknowledgement,
            self.now.saturating_add(limits.handshake_timeout),
        );
    }

    pub(super) fn receive_settings_acknowledgement(&mut self) -> Result<(), ConnectionError> {
        if self.settings_acknowledged {
            return self.spend_ignored();
        }
        self.settings_acknowledged = true;
        self.timers.stop(Timer::SettingsAcknowledgement);
        self.decoder
            .acknowledge(self.limits.header_table_bytes as usize);
        Ok(())
    }

    pub(super) fn receive_settings(
        &mut self,
        payload: &[u8],
    ) -> Result<Option<Event>, ConnectionError> {
        self.spend_settings()?;
        let before = self.peer.initial_window;
        for (identifier, value) in settings::entries(payload) {
            self.apply_setting(identifier, value).inspect_err(|_| {
                self.counters.settings_invalid += 1;
            })?;
        }
        // The peer goes by the new size of the header table from the acknowledgement on: it stands
        // behind the header blocks of before, and `write_headers` puts it before those to come.
        self.owed_acknowledgements += 1;
        let opened = self.peer.initial_window > before && self.streams.len() > 0;
        let opened = opened.then_some(Event::WindowOpened { stream: None });
        if self.settings_received {
            return Ok(opened);
        }
        self.settings_received = true;
        self.timers.stop(Timer::Handshake);
        self.pending = opened;
        Ok(Some(Event::SettingsReceived))
    }

    fn apply_setting(&mut self, identifier: u16, value: u32) -> Result<(), ConnectionError> {
        match identifier {
            settings::HEADER_TABLE_SIZE => self.encoder.set_peer_maximum(value as usize),
            settings::ENABLE_PUSH => {
                if value > 1 {
                    return Err(ConnectionError::protocol("ENABLE_PUSH is neither 0 nor 1"));
                }
                if value == 1 && self.role == Role::Client {
                    return Err(ConnectionError::protocol("a server enabled push"));
                }
            }
            settings::MAX_CONCURRENT_STREAMS => self.peer.max_concurrent_streams = value,
            settings::INITIAL_WINDOW_SIZE => self.change_initial_window(value)?,
            settings::MAX_FRAME_SIZE => {
                if !(16_384..=16_777_215).contains(&value) {
                    return Err(ConnectionError::protocol("MAX_FRAME_SIZE out of range"));
                }
                self.peer.max_frame_bytes = value;
            }
            settings::MAX_HEADER_LIST_SIZE => self.peer.max_header_list_bytes = value,
            _ => {}
        }
        Ok(())
    }

    /// Windows are kept relative to this value, so that only the check for overflow may have to
    /// look at them, and only if one of them might be near.
    fn change_initial_window(&mut self, value: u32) -> Result<(), ConnectionError> {
        const ERROR: ConnectionError = ConnectionError::new(
            Reason::FLOW_CONTROL_ERROR,
            ErrorKind::Protocol,
            "INITIAL_WINDOW_SIZE makes a window too large",
        );
        let value_wide = i64::from(value);
        if value_wide > flow::MAXIMUM {
            return Err(ERROR);
        }
        if value_wide + self.send_offset_bound > flow::MAXIMUM {
            let highest = self
                .streams
                .iter_from(0)
                .map(|(_, stream)| stream.send_offset)
                .max();
            self.send_offset_bound = highest.unwrap_or(0).max(0);
            if value_wide + self.send_offset_bound > flow::MAXIMUM {
                return Err(ERROR);
            }
        }
        self.peer.initial_window = value;
        Ok(())
    }
}
