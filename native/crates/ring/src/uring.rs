//! The unsafe corner: rings, registrations and entries shared with the kernel.
