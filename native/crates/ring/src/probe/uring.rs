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

/// The first that can be made. Its sentence tells why it is not one of the better ones: each may lack
/// something else.
fn first(mut make: impl FnMut(Preset) -> Result<Selection, String>) -> Result<Selection, String> {
    let mut shortfalls: Vec<String> = Vec::new();
    for preset in PRESETS {
        match make(preset) {
            Ok(mut selection) => {
                if !shortfalls.is_empty() {
                    let shortfalls = shortfalls.join("; ");
                    selection.reason = format!("{}, since {shortfalls}", selection.reason);
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
    let multishot = matches!(preset.receive, ReceiveMode::Bundle | ReceiveMode::Multishot);
    if multishot && !options.receive_multishot {
        preset.receive = ReceiveMode::Single;
        reason = format!("{}: arms a receive for each buffer", preset.name);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::portable::Portable;

    /// A driver that stands in for the one of a preset.
    fn stand_in(preset: Preset) -> Selection {
        Selection {
            driver: Box::new(Portable::new(&Options::default()).unwrap()),
            name: preset.name,
            reason: format!("{}: made", preset.name),
        }
    }

    #[test]
    fn the_first_that_can_be_made_tells_why_it_is_not_a_better_one() {
        for (place, (name, reason)) in [
            ("bundle", "bundle: made"),
            ("ring", "ring: made, since bundle is refused"),
            (
                "classic",
                "classic: made, since bundle is refused; ring is refused",
            ),
        ]
        .into_iter()
        .enumerate()
        {
            let mut tried = 0;
            let found = first(|preset| {
                tried += 1;
                if tried > place {
                    return Ok(stand_in(preset));
                }
                Err(format!("{} is refused", preset.name))
            });
            let found = found.unwrap();
            assert_eq!((found.name, tried), (name, place + 1));
            assert_eq!(found.reason, reason);
        }
    }

    #[test]
    fn when_none_can_be_made_each_reason_is_told_once() {
        let refused = |reasons: [&'static str; 3]| {
            let mut reasons = reasons.into_iter();
            first(|_| Err(reasons.next().unwrap().to_string()))
                .map(|made| made.name)
                .unwrap_err()
        };
        assert_eq!(refused(["forbidden"; 3]), "forbidden");
        assert_eq!(refused(["no bundles", "slow", "slow"]), "no bundles; slow");
    }

    #[test]
    fn kernels_that_reorder_are_not_asked_for_bundled_receives() {
        for release in [
            "6.10.3", "6.11.0", "6.12.35", "6.13.9", "6.14.11", "6.15.4", "",
        ] {
            let mut tried = Vec::new();
            let (preset, reason) = sound(BUNDLE, release, |preset| {
                tried.push(preset.receive);
                Ok(())
            })
            .unwrap();
            assert_eq!(preset.receive, ReceiveMode::Multishot, "{release}");
            assert_eq!(tried, [ReceiveMode::Multishot], "{release}");
            assert!(reason.contains("may reorder bundled receives"), "{reason}");
        }
        for release in ["6.12.36", "6.15.5", "6.16.0", "6.18.44", "7.0.1"] {
            let (preset, reason) = sound(BUNDLE, release, |_| Ok(())).unwrap();
            assert_eq!(preset, BUNDLE, "{release}");
            assert!(reason.contains("passed the self-test"), "{reason}");
        }
    }

    /// A kernel of good name where some ways to receive change the order: the self-test itself
    /// finds out, over loopback.
    #[cfg(feature = "__fault")]
    fn reordering(reorders: &[ReceiveMode], preset: Preset) -> Result<(), String> {
        use crate::FaultPlan;
        use crate::driver::fault::Fault;
        let chance = if reorders.contains(&preset.receive) {
            100
        } else {
            0
        };
        let plan = FaultPlan {
            seed: 7,
            reorder_chance: chance,
            ..FaultPlan::default()
        };
        for round in self_test::ROUNDS {
            let driver = Box::new(Portable::new(&round.options()).unwrap());
            let deadline = Instant::now() + Duration::from_secs(60);
            self_test::run(Box::new(Fault::new(driver, &plan)), round, deadline)?;
        }
        Ok(())
    }

    #[cfg(feature = "__fault")]
    #[test]
    fn bundled_receives_that_reorder_are_left_alone() {
        let (preset, reason) = sound(BUNDLE, "6.18.1", |preset| {
            reordering(&[ReceiveMode::Bundle], preset)
        })
        .unwrap();
        assert_eq!(
            (preset.name, preset.receive),
            ("bundle", ReceiveMode::Multishot)
        );
        assert_eq!(preset.send, BUNDLE.send);
        let failed = "bundled receives failed on kernel 6.18.1: wrong bytes were received near";
        assert!(reason.contains(failed), "{reason}");
    }

    #[cfg(feature = "__fault")]
    #[test]
    fn multishot_receives_that_reorder_leave_classic() {
        let broken = [ReceiveMode::Bundle, ReceiveMode::Multishot];
        let found = first(|preset| {
            sound(preset, "6.18.1", |preset| reordering(&broken, preset))
                .map(|(preset, _)| stand_in(preset))
        })
        .unwrap();
        assert_eq!(found.name, "classic");
        assert!(
            found.reason.contains("wrong bytes were received near"),
            "{}",
            found.reason
        );
    }
}
