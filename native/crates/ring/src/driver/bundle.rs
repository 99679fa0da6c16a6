//! io_uring with bundles.
