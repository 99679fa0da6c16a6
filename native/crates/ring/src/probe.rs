//! Which driver runs here, and the sentence that explains the choice.

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
///
/// # Errors
/// [`RingError`], with cause and remedy.
pub fn select(choice: DriverChoice, options: &Options) -> Result<Selection, RingError> {
    let reason = match choice {
        DriverChoice::Ring => return Err(RingError::NotBuilt("ring")),
        DriverChoice::Classic => return Err(RingError::NotBuilt("classic")),
        _ => "portable".to_string(),
    };
    #[cfg(target_os = "linux")]
    if choice == DriverChoice::Bundle {
        use crate::driver::bundle::Bundle;
        use crate::uring::ReceiveMode;
        let driver =
            Bundle::new(options, ReceiveMode::Bundle).map_err(|source| RingError::System {
                action: "make the bundle driver",
                source,
            })?;
        return Ok(Selection {
            name: driver.name(),
            driver: Box::new(driver),
            reason,
        });
    }
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
