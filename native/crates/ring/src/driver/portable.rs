//! Readiness and non-blocking calls.
