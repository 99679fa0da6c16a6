//! Which driver runs here, and the sentence that explains the choice.
//!
//! The choice goes by what the running kernel does: the feature bit, a trial registration, then a
//! self-test that compares every byte. Version numbers only ever forbid: some released kernels
//! reorder bundled receives under conditions that a short test may not meet.

#[cfg(target_os = "linux")]
mod kernel;
mod self_test;
#[cfg(target_os = "linux")]
mod uring;

use crate::driver::portable::Portable;
use crate::{Driver, DriverChoice, Options, RingError};

/// The driver that was chosen.
pub struct Selection {
    /// The driver, made on this thread for this thread.
    pub driver: Box<dyn Driver>,
    /// Its name.
    pub name: &'static str,
    /// One sentence for the log: which driver, why, and what would lift it.
    pub reason: String,
}

/// Makes the driver that `choice` asks for, or the best that the running kernel does soundly.
/// The first call in a process tests the kernel for a few milliseconds over loopback.
///
/// # Errors
/// [`RingError`], with cause and remedy. [`DriverChoice::Automatic`] fails only where nothing runs.
pub fn select(choice: DriverChoice, options: &Options) -> Result<Selection, RingError> {
    check(options)?;
    let selection = match choice {
        DriverChoice::Portable => portable(options, "portable: asked for".to_string())?,
        DriverChoice::Automatic => match uring::best(options) {
            Ok(selection) => selection,
            Err(reason) => portable(options, format!("portable: {reason}"))?,
        },
        DriverChoice::Bundle => forced("bundle", options)?,
        DriverChoice::Ring => forced("ring", options)?,
        DriverChoice::Classic => forced("classic", options)?,
    };
    #[cfg(feature = "__fault")]
    if let Some(plan) = &options.fault {
        let driver = Box::new(crate::driver::fault::Fault::new(selection.driver, plan));
        return Ok(Selection {
            driver,
            ..selection
        });
    }
    Ok(selection)
}

/// Rejects sizes that no driver can have.
fn check(options: &Options) -> Result<(), RingError> {
    let power = |name: &str, value: u16| {
        if value.is_power_of_two() && (2..=32_768).contains(&value) {
            return Ok(());
        }
        let text = format!("{name} is {value}: use a power of two from 2 to 32768");
        Err(RingError::InvalidOptions(text))
    };
    let range = |name: &str, value: u32, least: u32, most: u32| {
        if (least..=most).contains(&value) {
            return Ok(());
        }
        let text = format!("{name} is {value}: use {least} to {most}");
        Err(RingError::InvalidOptions(text))
    };
    power("buffers", options.buffers)?;
    power("send_ring_entries", options.send_ring_entries)?;
    range("buffer_bytes", options.buffer_bytes, 16, 16 << 20)?;
    range("chunk_bytes", options.chunk_bytes, 16, 16 << 20)?;
    range("submission_entries", options.submission_entries, 1, 32_768)?;
    range(
        "completion_entries",
        options.completion_entries,
        options.submission_entries,
        65_536,
    )?;
    range("send_rings", u32::from(options.send_rings), 0, 32_768)
}

fn portable(options: &Options, reason: String) -> Result<Selection, RingError> {
    let driver = Portable::new(options).map_err(|source| RingError::System {
        action: "make the portable driver",
        source,
    })?;
    Ok(Selection {
        name: driver.name(),
        driver: Box::new(driver),
        reason,
    })
}

fn forced(driver: &'static str, options: &Options) -> Result<Selection, RingError> {
    uring::named(driver, options).map_err(|reason| RingError::Unavailable { driver, reason })
}

#[cfg(not(target_os = "linux"))]
mod uring {
    use super::{Options, Selection};

    const REASON: &str = "io_uring exists on Linux only";

    pub(super) fn best(_options: &Options) -> Result<Selection, String> {
        Err(REASON.to_string())
    }

    pub(super) fn named(_name: &str, _options: &Options) -> Result<Selection, String> {
        Err(REASON.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(options: Options) -> String {
        match select(DriverChoice::Automatic, &options) {
            Err(RingError::InvalidOptions(text)) => text,
            other => panic!("{:?}", other.map(|selection| selection.name)),
        }
    }

    #[test]
    fn impossible_sizes_are_refused_by_name() {
        let odd = Options {
            buffers: 1000,
            ..Options::default()
        };
        assert!(refuse(odd).starts_with("buffers is 1000"));
        let none = Options {
            buffer_bytes: 0,
            ..Options::default()
        };
        assert!(refuse(none).starts_with("buffer_bytes is 0"));
        let few = Options {
            completion_entries: 8,
            ..Options::default()
        };
        assert!(refuse(few).starts_with("completion_entries is 8"));
    }

    #[test]
    fn the_best_driver_explains_itself() {
        let selection = select(DriverChoice::Automatic, &Options::default()).unwrap();
        assert!(
            selection.reason.starts_with(selection.name),
            "{}",
            selection.reason
        );
        assert_eq!(selection.driver.name(), selection.name);
    }
}
