//! A wrapper that lets things go wrong now and then, by a seed.

/// What goes wrong, and how often.
#[derive(Clone, Debug)]
pub struct FaultPlan {
    /// The seed; the same seed and the same calls give the same faults.
    pub seed: u64,
}
