//! Which of the drivers of io_uring runs here: by version numbers that forbid, by a trial of every
//! byte, and by making it.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::Selection;
use super::kernel::{explain, has_sound_receive_bundles, release};
use super::self_test;
use crate::driver::preset::{BUNDLE, CLASSIC, Preset, RING};
use crate::driver::uring::Uring;
use crate::uring::ReceiveMode;
use crate::{Driver, Options};

/// Best first.
const PRESETS: [Preset; 3] = [BUNDLE, RING, CLASSIC];
/// Self-tests take milliseconds; a machine that does not get them done in this time is too busy to
/// tell, and gets the driver that needs no test.
const DEADLINE: Duration = Duration::from_secs(3);

/// A preset that was found sound, and what was found.
type Found = (Preset, String);

/// Makes the best driver that runs here, or says why there is none.
pub(super) fn best(options: &Options) -> Result<Selection, String> {
    let deadline = Instant::now() + DEADLINE;
    first(|preset| {
        let (preset, reason) = tested(preset, deadline)?;
        make(preset, reason, options)
    })
}

/// Makes the driver that was asked for by name.
pub(super) fn named(name: &str, options: &Options) -> Result<Selection, String> {
    let preset = PRESETS.into_iter().find(|preset| preset.name == name);
    let preset = preset.ok_or("there is no such driver")?;
    let (preset, reason) = tested(preset, Instant::now() + DEADLINE)?;
    let mut selection = make(preset, reason, options)?;
    selection.reason.push_str(", as asked for");
    Ok(selection)
}

/// The first that can be made. Its sentence tells why it is not a better one.
fn first(mut make: impl FnMut(Preset) -> Result<Selection, String>) -> Result<Selection, String> {
    let mut shortfalls: Vec<String> = Vec::new();
    for preset in PRESETS {
        match make(preset) {
            Ok(mut selection) => {
                if let Some(shortfall) = shortfalls.first() {
                    selection.reason = format!("{}, since {shortfall}", selection.reason);
                }
                return Ok(selection);
            }
            Err(reason) if shortfalls.contains(&reason) => {}
            Err(reason) => shortfalls.push(reason),
        }
    }
    Err(shortfalls.join("; "))
}

fn make(mut preset: Preset, mut reason: String, options: &Options) -> Result<Selection, String> {
    if preset.receive == ReceiveMode::Bundle && !options.receive_bundles {
        preset.receive = ReceiveMode::Multishot;
        reason = "bundle: sends in bundles and receives one buffer at a time".into();
    }
    let driver = Uring::new(options, preset).map_err(|error| explain(&error))?;
    Ok(Selection {
        name: driver.name(),
        driver: Box::new(driver),
        reason,
    })
}

/// Tests a preset on the running kernel: once per process, since the kernel stays the same; a
/// failure is tested again the next time.
fn tested(preset: Preset, deadline: Instant) -> Result<Found, String> {
    static FOUND: [OnceLock<Found>; PRESETS.len()] = [const { OnceLock::new() }; PRESETS.len()];
    let place = PRESETS.iter().position(|one| *one == preset);
    let cell = &FOUND[place.unwrap_or_default()];
    if let Some(found) = cell.get() {
        return Ok(found.clone());
    }
    let found = sound(preset, &release(), |preset| trial(preset, deadline))?;
    Ok(cell.get_or_init(|| found).clone())
}

/// What of a preset is sound on the kernel `release`: `trial` tells whether bytes pass.
fn sound(
    preset: Preset,
    release: &str,
    mut trial: impl FnMut(Preset) -> Result<(), String>,
) -> Result<Found, String> {
    if preset.receive != ReceiveMode::Bundle {
        trial(preset)?;
        let receives = match preset.receive {
            ReceiveMode::Bundle | ReceiveMode::Multishot => "multishot receives",
            ReceiveMode::Single | ReceiveMode::Polled => "single receives",
        };
        let reason = format!("{}: {receives} and vectored sends", preset.name);
        return Ok((preset, reason));
    }
    let single_buffers = Preset {
        receive: ReceiveMode::Multishot,
        ..preset
    };
    trial(single_buffers)?;
    if !has_sound_receive_bundles(release) {
        let reason = format!(
            "bundle: sends in bundles and receives one buffer at a time, since kernel {release} \
             may reorder bundled receives; Linux 6.16, 6.15.5 or 6.12.36 lifts that"
        );
        return Ok((single_buffers, reason));
    }
    match trial(preset) {
        Ok(()) => {
            let reason = format!(
                "bundle: kernel {release} passed the self-test of bundled receives and sends"
            );
            Ok((preset, reason))
        }
        Err(failure) => {
            let reason = format!(
                "bundle: sends in bundles and receives one buffer at a time, since bundled \
                 receives failed on kernel {release}: {failure}"
            );
            Ok((single_buffers, reason))
        }
    }
}

/// Moves bytes through small drivers.
fn trial(preset: Preset, deadline: Instant) -> Result<(), String> {
    for round in self_test::ROUNDS {
        let driver = Uring::new(&round.options(), preset).map_err(|error| explain(&error))?;
        self_test::run(Box::new(driver), round, deadline)
            .map_err(|failure| format!("the io_uring self-test failed: {failure}"))?;
    }
    Ok(())
}
