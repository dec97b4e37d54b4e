//! Which monotonic clock a time was read from.
//!
//! Decides whether two processes read the same one, so that their times compare. Reads the kernel's names, no time.

/// Stands for one run of the kernel, seen from one time namespace: the two decide what `CLOCK_BOOTTIME` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockIdentity(pub(crate) [u8; 32]);

impl ClockIdentity {
    /// No clock that can be told from another; not even itself.
    pub(crate) const UNKNOWN: ClockIdentity = ClockIdentity([0; 32]);

    /// The clock of this process. Unknown where the kernel does not name its runs.
    pub(crate) fn of_this_process() -> ClockIdentity {
        let Ok(boot) = std::fs::read("/proc/sys/kernel/random/boot_id") else {
            return ClockIdentity::UNKNOWN;
        };
        // Kernels without time namespaces have no such file.
        let offsets = std::fs::read("/proc/self/timens_offsets").unwrap_or_default();
        let mut hasher = blake3::Hasher::new_derive_key("portcullis 2026 clock of saved counters");
        hasher.update(&boot);
        hasher.update(&offsets);
        ClockIdentity(*hasher.finalize().as_bytes())
    }

    /// Whether times of both compare.
    pub(crate) fn is_known_to_be(self, other: ClockIdentity) -> bool {
        self == other && self != ClockIdentity::UNKNOWN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_clock_and_nobody_knows_an_unknown_one() {
        let clock = ClockIdentity::of_this_process();
        assert_ne!(clock, ClockIdentity::UNKNOWN, "this machine names its boots");
        assert!(clock.is_known_to_be(ClockIdentity::of_this_process()));
        assert!(!clock.is_known_to_be(ClockIdentity([1; 32])));
        assert!(!ClockIdentity::UNKNOWN.is_known_to_be(ClockIdentity::UNKNOWN));
    }
}
