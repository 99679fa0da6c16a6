//! What a caller may choose, with the defaults of the design.

use std::str::FromStr;

/// Sizes of one driver. [`Options::default`] fits a server thread.
#[derive(Clone, Debug)]
pub struct Options {
    /// Receive buffers in the group; a power of two, 2 to 32,768. Default 1,024.
    pub buffers: u16,
    /// Bytes of a receive buffer. Default 16,384.
    pub buffer_bytes: u32,
    /// Entries of the submission queue. Default 1,024.
    pub submission_entries: u32,
    /// Entries of the completion queue. Default 16,384; an overflow costs order work, not bytes.
    pub completion_entries: u32,
    /// Entries of one leased send ring; a power of two, 2 to 32,768. Default 256, one page.
    pub send_ring_entries: u16,
    /// Send rings at most. Each pins a page that counts against `RLIMIT_MEMLOCK`. Default 512;
    /// 0 sends everything by vectored sends.
    pub send_rings: u16,
    /// Lets one receive fill several buffers where the kernel does that soundly. Default true;
    /// false is the way out should a kernel pass the self-test and still be wrong.
    pub receive_bundles: bool,
    /// Lets one receive go on filling buffers where the kernel has that. Default true; false arms a
    /// receive for each completion, without bundles.
    pub receive_multishot: bool,
    /// Bytes of a send chunk from the pool. Default 16,384.
    pub chunk_bytes: u32,
    /// Wraps the driver so that it fails now and then, by a seed. Default none.
    #[cfg(feature = "__fault")]
    pub fault: Option<crate::FaultPlan>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            buffers: 1024,
            buffer_bytes: 16_384,
            submission_entries: 1024,
            completion_entries: 16_384,
            send_ring_entries: 256,
            send_rings: 512,
            receive_bundles: true,
            receive_multishot: true,
            chunk_bytes: 16_384,
            #[cfg(feature = "__fault")]
            fault: None,
        }
    }
}

/// Which driver to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverChoice {
    /// The best one that the running kernel does soundly.
    #[default]
    Automatic,
    /// io_uring with bundled receives and sends, Linux 6.10 and later.
    Bundle,
    /// io_uring with multishot receives and vectored sends, Linux 6.0 and later.
    Ring,
    /// io_uring with a receive per buffer and vectored sends, Linux 5.7 and later.
    Classic,
    /// Readiness and non-blocking calls, anywhere.
    Portable,
}

impl FromStr for DriverChoice {
    type Err = String;

    /// Reads the value of `MILLRACE_DRIVER`: `auto`, `bundle`, `ring`, `classic` or `portable`.
    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "auto" | "" => Ok(Self::Automatic),
            "bundle" => Ok(Self::Bundle),
            "ring" => Ok(Self::Ring),
            "classic" => Ok(Self::Classic),
            "portable" => Ok(Self::Portable),
            other => Err(format!(
                "unknown driver '{other}': use auto, bundle, ring, classic or portable"
            )),
        }
    }
}
