//! What is known of kernels: their versions, and what their refusals mean.

use std::fs;
use std::io;

/// A kernel's version: major, minor, patch.
type Version = (u32, u32, u32);

/// The running kernel's version as it says it; empty if it does not.
pub(super) fn release() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().to_string()
}

/// Whether bundled receives keep their order on this kernel, as far as is known. They were wrong
/// from 6.10 on; the fixes came with 6.16 and were backported to 6.12.36 and 6.15.5. A kernel whose
/// version cannot be read, and a vendor's kernel that carries backports under an old number, count
/// as wrong: it costs a little speed.
pub(super) fn has_sound_receive_bundles(release: &str) -> bool {
    match parse(release) {
        Some((6, 12, patch)) => patch >= 36,
        Some((6, 15, patch)) => patch >= 5,
        Some(version) => version >= (6, 16, 0),
        None => false,
    }
}

/// Reads `6.12.38-generic`, `6.16-rc1` and the like.
fn parse(release: &str) -> Option<Version> {
    let end = release.find(|symbol: char| symbol != '.' && !symbol.is_ascii_digit());
    let mut numbers = release[..end.unwrap_or(release.len())]
        .split('.')
        .map(str::parse::<u32>);
    let major = numbers.next()?.ok()?;
    let minor = numbers.next()?.ok()?;
    Some((
        major,
        minor,
        numbers.next().and_then(Result::ok).unwrap_or(0),
    ))
}

/// Cause and remedy for an error at set-up.
pub(super) fn explain(error: &io::Error) -> String {
    let text = match error.raw_os_error() {
        None => "this kernel has io_uring without send bundles; Linux 6.10 has them",
        Some(libc::EPERM | libc::EACCES) => {
            "io_uring is forbidden here: set the sysctl kernel.io_uring_disabled to 0, and in a \
             container allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp \
             profile"
        }
        Some(libc::ENOSYS) => {
            "there is no io_uring here: the kernel was built without it, or a container's seccomp \
             profile hides it; allow io_uring_setup, io_uring_enter and io_uring_register"
        }
        Some(libc::EINVAL) => {
            "this kernel's io_uring is too old: Linux 5.7 has what the driver classic needs, Linux \
             6.0 what ring needs, and Linux 6.10 what bundle needs"
        }
        Some(libc::ENOMEM) => {
            "there is not enough lockable memory for io_uring: raise RLIMIT_MEMLOCK (ulimit -l, \
             LimitMEMLOCK)"
        }
        Some(libc::EMFILE | libc::ENFILE) => {
            "there are no file descriptors left for io_uring: raise RLIMIT_NOFILE (ulimit -n)"
        }
        Some(_) => "io_uring cannot be set up",
    };
    format!("{text} ({error})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_vendors_write_them() {
        assert_eq!(parse("6.18.44-fc-v509"), Some((6, 18, 44)));
        assert_eq!(parse("6.16-rc1"), Some((6, 16, 0)));
        assert_eq!(parse("5.14.0-427.13.1.el9_4.x86_64"), Some((5, 14, 0)));
        assert_eq!(parse("6.12.41+deb13-amd64"), Some((6, 12, 41)));
        assert_eq!(parse("unknown"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn kernels_that_reorder_receive_one_buffer_at_a_time() {
        for release in [
            "6.12.36",
            "6.12.90",
            "6.15.5",
            "6.16.0",
            "6.18.44-x",
            "7.0.1",
        ] {
            assert!(has_sound_receive_bundles(release), "{release}");
        }
        for release in [
            "6.10.0", "6.11.9", "6.12.35", "6.13.12", "6.14.11", "6.15.4", "5.14", "",
        ] {
            assert!(!has_sound_receive_bundles(release), "{release}");
        }
    }

    #[test]
    fn every_refusal_names_a_remedy() {
        for (error, remedy) in [
            (libc::EPERM, "seccomp"),
            (libc::EACCES, "io_uring_disabled"),
            (libc::ENOSYS, "allow io_uring_setup"),
            (libc::EINVAL, "Linux 6.10"),
            (libc::ENOMEM, "RLIMIT_MEMLOCK"),
            (libc::EMFILE, "RLIMIT_NOFILE"),
        ] {
            let text = explain(&io::Error::from_raw_os_error(error));
            assert!(text.contains(remedy), "{text}");
        }
    }
}
