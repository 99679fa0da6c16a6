//! Why a driver could not be made.

use std::fmt;
use std::io;

/// Why [`crate::select`] gave no driver. The text says what, where and how to mend it.
#[derive(Debug)]
pub enum RingError {
    /// An option is out of range.
    InvalidOptions(String),
    /// The driver that was asked for by name does not run here.
    Unavailable {
        /// The driver's name.
        driver: &'static str,
        /// Cause and remedy.
        reason: String,
    },
    /// The operating system refused something every driver needs.
    System {
        /// What was tried.
        action: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl fmt::Display for RingError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidOptions(text) => formatter.write_str(text),
            Self::Unavailable { driver, reason } => {
                write!(
                    formatter,
                    "the driver '{driver}' does not run here: {reason}"
                )
            }
            Self::System { action, source } => write!(formatter, "cannot {action}: {source}"),
        }
    }
}

impl std::error::Error for RingError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { source, .. } => Some(source),
            _ => None,
        }
    }
}
