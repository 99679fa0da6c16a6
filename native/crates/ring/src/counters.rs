//! What the drivers count.

/// Totals since the driver was made. All start at 0 and only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: u64,
    /// Times accepting stopped for an error.
    pub accept_failures: u64,
    /// Receive completions (a bundle, or one `readv`, counts once).
    pub receives: u64,
    /// Buffers filled.
    pub receive_buffers: u64,
    /// Bytes received.
    pub receive_bytes: u64,
    /// Receive completions that filled several buffers.
    pub receive_bundles: u64,
    /// Those whose buffers are no neighbours in memory: the ring wrapped, or they came back shuffled.
    pub shuffled_bundles: u64,
    /// Buffers that a completion named without filling them: at the end of a stream, or with an
    /// error.
    pub empty_buffers: u64,
    /// Operations that gave buffers to the kernel, where that takes operations.
    pub provides: u64,
    /// Those that failed, as when the kernel is short of memory; the buffers are given once more.
    pub provide_failures: u64,
    /// Receives that found the group empty. A signal of pressure, not an error.
    pub enobufs: u64,
    /// Receives armed again after they had ended.
    pub rearms: u64,
    /// Times a socket was put in the queue that waits for buffers.
    pub parked: u64,
    /// Sends from a leased ring.
    pub send_bundles: u64,
    /// Entries of those sends.
    pub send_entries: u64,
    /// Sends of one chunk, without a ring.
    pub single_sends: u64,
    /// Sends by an iovec: no ring could be leased, or the driver sends so.
    pub vectored_sends: u64,
    /// Bytes sent, by whatever way.
    pub send_bytes: u64,
    /// Sends that the kernel ended early, and that went on where they stopped.
    pub send_restarts: u64,
    /// Sends that failed.
    pub send_failures: u64,
    /// Send rings leased.
    pub leases: u64,
    /// Send rings that could not be registered (`RLIMIT_MEMLOCK`).
    pub lease_failures: u64,
    /// Cancels that found nothing to cancel: what they meant was completing just then.
    pub missed_cancels: u64,
    /// Operations, and calls that submit them, that ended with `EINTR`, `EAGAIN` or `EBUSY` and were
    /// made once more.
    pub interruptions: u64,
    /// Times the completion queue was seen overflowing.
    pub completion_overflows: u64,
    /// System calls into the kernel by `submit` and `complete`.
    pub enters: u64,
    /// Memory regions left mapped on purpose because the kernel might still write to them.
    pub leaked_regions: u64,
}
