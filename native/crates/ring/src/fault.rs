//! What goes wrong on purpose below a driver, between it and the kernel: what a kernel does seldom
//! happens often, by a seed. Without the feature `__fault` it never does, and costs nothing.

/// An operation that may be answered in the kernel's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    Accept,
    Receive,
    /// A send whose bytes stay ours until they have left.
    Send,
    /// A send from a ring, whose entries the kernel takes.
    #[cfg(target_os = "linux")]
    SendFromRing,
    #[cfg(target_os = "linux")]
    Cancel,
    #[cfg(target_os = "linux")]
    Provide,
    /// A system call that gives the kernel submissions.
    #[cfg(target_os = "linux")]
    Enter,
}

#[cfg(feature = "__fault")]
pub use plan::FaultPlan;

#[cfg(feature = "__fault")]
pub(crate) use plan::Saboteur;

#[cfg(feature = "__fault")]
mod plan {
    use super::Attempt;

    /// What goes wrong, and how often. Chances are of 256 and default to 0.
    #[derive(Clone, Debug, Default)]
    pub struct FaultPlan {
        /// The seed; the same seed and the same completions give the same faults.
        pub seed: u64,
        /// A socket's completions are held back for some turns, in order, while others overtake
        /// them.
        pub delay_chance: u8,
        /// Two neighbouring receives of a socket change places, as on kernels that reorder. The only
        /// fault that breaks a promise: it is for what has to notice.
        pub reorder_chance: u8,
        /// A released buffer is kept for some turns, so that the group runs empty and sockets park.
        pub keep_chance: u8,
        /// A socket that has just received is reset: its stream ends with `ECONNRESET`.
        pub reset_chance: u8,
        /// An accept, a receive, or a send without a ring ends with `EINTR` or `EAGAIN` and was not
        /// made.
        pub interrupt_chance: u8,
        /// A receive finds no buffer (`ENOBUFS`), though there are some.
        pub starve_chance: u8,
        /// A send without a ring sends less than it was given.
        pub short_chance: u8,
        /// A send from a ring ends with `EINTR`, and nobody knows what it took.
        pub break_chance: u8,
        /// A multishot receive is cancelled while it goes on.
        pub end_chance: u8,
        /// A cancel finds nothing (`ENOENT`).
        pub miss_chance: u8,
        /// Buffers cannot be provided (`ENOMEM`).
        pub refuse_chance: u8,
        /// The kernel takes no submissions and gives no completions (`EINTR`, `EAGAIN`, `EBUSY`).
        pub busy_chance: u8,
    }

    /// Decides by the plan.
    #[derive(Debug)]
    pub(crate) struct Saboteur {
        plan: FaultPlan,
        random: Random,
    }

    impl Saboteur {
        pub(crate) fn new(options: &crate::Options) -> Self {
            let plan = options.fault.clone().unwrap_or_default();
            let random = Random::new(plan.seed ^ 0x5ab0);
            Self { plan, random }
        }

        /// The negative `errno` that an operation ends with instead of being made.
        pub(crate) fn answer(&mut self, attempt: Attempt) -> Option<i32> {
            let plan = self.plan.clone();
            let random = &mut self.random;
            let interruption = [libc::EINTR, libc::EAGAIN][(random.next() % 2) as usize];
            let (chance, error) = match attempt {
                Attempt::Receive if random.chance(plan.starve_chance) => {
                    return Some(-libc::ENOBUFS);
                }
                Attempt::Accept | Attempt::Receive | Attempt::Send => {
                    (plan.interrupt_chance, interruption)
                }
                #[cfg(target_os = "linux")]
                Attempt::SendFromRing => (plan.break_chance, libc::EINTR),
                #[cfg(target_os = "linux")]
                Attempt::Cancel => (plan.miss_chance, libc::ENOENT),
                #[cfg(target_os = "linux")]
                Attempt::Provide => (plan.refuse_chance, libc::ENOMEM),
                #[cfg(target_os = "linux")]
                Attempt::Enter if random.chance(128) => (plan.busy_chance, libc::EBUSY),
                #[cfg(target_os = "linux")]
                Attempt::Enter => (plan.busy_chance, interruption),
            };
            random.chance(chance).then_some(-error)
        }

        /// How many of `bytes` a send is given, at least one.
        pub(crate) fn shorten(&mut self, bytes: usize) -> usize {
            if bytes > 1 && self.random.chance(self.plan.short_chance) {
                return 1 + self.random.next() as usize % (bytes - 1);
            }
            bytes
        }

        /// Whether to cancel a multishot receive that has just said that it goes on.
        #[cfg(target_os = "linux")]
        pub(crate) fn ends(&mut self) -> bool {
            self.random.chance(self.plan.end_chance)
        }
    }

    /// xorshift64.
    #[derive(Debug)]
    pub(crate) struct Random(u64);

    impl Random {
        pub(crate) fn new(seed: u64) -> Self {
            Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
        }

        pub(crate) fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 >> 8
        }

        pub(crate) fn chance(&mut self, of_256: u8) -> bool {
            self.next() % 256 < u64::from(of_256)
        }
    }
}

#[cfg(feature = "__fault")]
pub(crate) use plan::Random;

/// Nothing goes wrong.
#[cfg(not(feature = "__fault"))]
#[derive(Debug)]
pub(crate) struct Saboteur;

#[cfg(not(feature = "__fault"))]
impl Saboteur {
    pub(crate) fn new(_options: &crate::Options) -> Self {
        Self
    }

    #[inline]
    pub(crate) fn answer(&mut self, _attempt: Attempt) -> Option<i32> {
        None
    }

    #[inline]
    pub(crate) fn shorten(&mut self, bytes: usize) -> usize {
        bytes
    }

    #[cfg(target_os = "linux")]
    #[inline]
    pub(crate) fn ends(&mut self) -> bool {
        false
    }
}
