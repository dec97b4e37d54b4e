//! Which monotonic clock a time was read from.
//!
//! Decides whether two processes read the same one, so that their times compare. Reads the kernel's names, no time.

/// Stands for one run of the kernel, seen from one time namespace: the two decide what `CLOCK_BOOTTIME` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Boot(pub(super) [u8; 32]);

impl Boot {
    /// A run that cannot be told from another; not even from itself.
    const UNKNOWN: Boot = Boot([0; 32]);

    /// That of this process. Unknown where the kernel does not name its runs.
    pub(super) fn of_this_process() -> Boot {
        let Ok(name) = std::fs::read("/proc/sys/kernel/random/boot_id") else {
            return Boot::UNKNOWN;
        };
        // Kernels without time namespaces have no such file.
        let offsets = std::fs::read("/proc/self/timens_offsets").unwrap_or_default();
        let mut hasher = blake3::Hasher::new_derive_key("portcullis 2026 clock of saved keys");
        hasher.update(&name);
        hasher.update(&offsets);
        Boot(*hasher.finalize().as_bytes())
    }

    /// Whether times of both compare.
    pub(super) fn is_known_to_be(self, other: Boot) -> bool {
        self == other && self != Boot::UNKNOWN
    }
}
