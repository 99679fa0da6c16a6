//! How much pressure there is on the receive buffers.

/// Pressure on the group, by the share of buffers that are not held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// More than a quarter is available.
    Open,
    /// At most a quarter is available.
    Low,
    /// At most a sixteenth (6 %) is available.
    Critical,
}

impl Level {
    /// The level of a group of `count` buffers of which `available` are not held.
    pub(crate) fn of(available: u32, count: u32) -> Self {
        if available * 16 <= count {
            Self::Critical
        } else if available * 4 <= count {
            Self::Low
        } else {
            Self::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_at_a_quarter_and_at_a_sixteenth() {
        assert_eq!(Level::of(1024, 1024), Level::Open);
        assert_eq!(Level::of(257, 1024), Level::Open);
        assert_eq!(Level::of(256, 1024), Level::Low);
        assert_eq!(Level::of(65, 1024), Level::Low);
        assert_eq!(Level::of(64, 1024), Level::Critical);
        assert_eq!(Level::of(0, 4), Level::Critical);
        assert_eq!(Level::of(1, 4), Level::Low);
    }
}
