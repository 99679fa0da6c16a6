//! What a client can know of where the time of a call went.

use crate::Engine;

/// When a call came how far; in the engine's milliseconds, 0 for not yet.
#[derive(Clone, Copy, Default)]
pub(crate) struct Progress {
    pub(super) started: u64,
    pub(super) opened: u64,
    pub(super) answered: u64,
}

impl Engine {
    /// The message of a call whose deadline has passed.
    pub(crate) fn deadline_text(&self, index: u32) -> String {
        let call = &self.calls[index];
        let Progress {
            started,
            opened,
            answered,
        } = call.client.progress;
        let now = self.now;
        let connection = self.connections.get(call.connection);
        if opened == 0 {
            let ready = connection
                .and_then(|connection| connection.link.as_ref())
                .is_some_and(|link| link.starts_calls());
            let allowed = connection.map_or(0, |connection| {
                connection.http2.peer_max_concurrent_streams()
            });
            let waited = now.saturating_sub(started);
            return if ready {
                format!(
                    "the deadline passed: {waited} ms waiting for one of the {allowed} streams that the server allows at once; nothing was sent"
                )
            } else {
                format!(
                    "the deadline passed: {waited} ms waiting for the connection to be ready; nothing was sent"
                )
            };
        }
        let mut text = format!(
            "the deadline passed: {} ms waiting for a stream, ",
            opened.saturating_sub(started)
        );
        if answered == 0 {
            let waited = now.saturating_sub(opened);
            text.push_str(&format!("{waited} ms waiting for the server's answer"));
        } else {
            text.push_str(&format!(
                "{} ms until the server's answer began, {} ms since then",
                answered.saturating_sub(opened),
                now.saturating_sub(answered)
            ));
        }
        if call.pending_bytes > 0 {
            text.push_str(&format!(
                "; {} bytes of the request wait for the server's window",
                call.pending_bytes
            ));
        }
        if call.waiting() > 0 {
            text.push_str(&format!(
                "; messages that are here and not read: {}",
                call.waiting()
            ));
        }
        text
    }
}
