//! What an operator should hear of, handed to the application's logger.

use std::fmt::Write;

/// How loud a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Of use when looking closely.
    Debug,
    /// Part of normal life.
    Info,
    /// Something that somebody should look at.
    Warn,
    /// Something is broken.
    Error,
}

/// One event of the engine, for the log.
#[derive(Clone, Debug)]
pub struct Notice {
    /// How loud.
    pub severity: Severity,
    /// A stable name such as `connection_error`.
    pub event: &'static str,
    /// The peer it is about, where there is one.
    pub peer: Option<String>,
    /// One sentence for people.
    pub message: String,
    /// What became of a client's connection, where that is what it tells.
    pub connection: Option<ConnectionState>,
}

/// A change of a client's connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionState {
    /// What `Engine::open` returned.
    pub connection: u32,
    /// `ready`, `failed`, `draining` or `closed`.
    pub state: &'static str,
    /// How many calls the server lets run at a time, where it says so.
    pub max_concurrent_streams: Option<u32>,
    /// The server says that keepalive PINGs come too often.
    pub too_many_pings: bool,
    /// The server had answered a call on it.
    pub answered: bool,
}

impl ConnectionState {
    pub(crate) fn new(connection: u32, state: &'static str) -> Self {
        Self {
            connection,
            state,
            max_concurrent_streams: None,
            too_many_pings: false,
            answered: false,
        }
    }
}

impl Notice {
    /// The notice as one JSON object.
    pub fn to_json(&self) -> String {
        let severity = match self.severity {
            Severity::Debug => "debug",
            Severity::Info => "info",
            Severity::Warn => "warn",
            Severity::Error => "error",
        };
        let mut json = format!(r#"{{"level":"{severity}","event":"{}""#, self.event);
        if let Some(peer) = &self.peer {
            json.push_str(r#","peer":"#);
            quote(peer, &mut json);
        }
        if let Some(change) = &self.connection {
            let _ = write!(
                json,
                r#","connection":{},"state":"{}""#,
                change.connection, change.state
            );
            if let Some(maximum) = change.max_concurrent_streams {
                let _ = write!(json, r#","maxConcurrentStreams":{maximum}"#);
            }
            if change.too_many_pings {
                json.push_str(r#","tooManyPings":true"#);
            }
            if change.answered {
                json.push_str(r#","answered":true"#);
            }
        }
        json.push_str(r#","message":"#);
        quote(&self.message, &mut json);
        json.push('}');
        json
    }
}

/// Appends a JSON string.
pub(crate) fn quote(text: &str, json: &mut String) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            control if control < ' ' => {
                let _ = write!(json, "\\u{:04x}", control as u32);
            }
            other => json.push(other),
        }
    }
    json.push('"');
}

/// Notices of one turn at most; what lies beyond is counted, not kept.
const KEPT: usize = 64;
/// Of those, below a warning: strangers cause them at will, and must not hide the louder ones.
const KEPT_QUIET: usize = 48;

/// The notices that wait for the application.
#[derive(Default)]
pub(crate) struct Notices {
    kept: Vec<Notice>,
    suppressed: u64,
}

impl Notices {
    pub(crate) fn push(
        &mut self,
        severity: Severity,
        event: &'static str,
        peer: Option<String>,
        message: String,
    ) {
        let room = match severity {
            Severity::Debug | Severity::Info => KEPT_QUIET,
            _ => KEPT,
        };
        if self.kept.len() >= room {
            self.suppressed += 1;
        } else {
            self.kept.push(Notice {
                severity,
                event,
                peer,
                message,
                connection: None,
            });
        }
    }

    /// Keeps a notice in any case, for somebody acts on it.
    pub(crate) fn push_state(&mut self, notice: Notice) {
        self.kept.push(notice);
    }

    /// Whether a further notice would not be kept: it need not be worded then.
    pub(crate) fn is_full(&self) -> bool {
        self.kept.len() >= KEPT
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub(crate) fn take(&mut self) -> Vec<Notice> {
        let mut kept = std::mem::take(&mut self.kept);
        if self.suppressed > 0 {
            kept.push(Notice {
                severity: Severity::Warn,
                event: "notices_suppressed",
                peer: None,
                message: format!(
                    "{} further notices of this turn were not logged",
                    self.suppressed
                ),
                connection: None,
            });
            self.suppressed = 0;
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_notices_leave_room_for_warnings() {
        let mut notices = Notices::default();
        let mut push = |severity| notices.push(severity, "x", None, String::new());
        for _ in 0..100 {
            push(Severity::Info);
        }
        push(Severity::Warn);
        let kept = notices.take();
        assert_eq!(kept.len(), KEPT_QUIET + 2);
        assert_eq!(kept[KEPT_QUIET].severity, Severity::Warn);
        assert_eq!(kept[KEPT_QUIET + 1].event, "notices_suppressed");
    }

    #[test]
    fn json_is_escaped() {
        let notice = Notice {
            severity: Severity::Warn,
            event: "x",
            peer: Some("127.0.0.1:1".to_owned()),
            message: "a \"b\"\n\\".to_owned(),
            connection: None,
        };
        assert_eq!(
            notice.to_json(),
            r#"{"level":"warn","event":"x","peer":"127.0.0.1:1","message":"a \"b\"\u000a\\"}"#
        );
    }
}
