//! New ids: positive 63-bit numbers, 41 bits of milliseconds since 2025 above 22 random bits, rising within a process.
//!
//! Counted ids would tell strangers how many keys there are, and a restored backup would hand the lost ones out a second
//! time; these do neither. Order by id is order of creation. Callers are the `create_*` calls.

use crate::StoreError;
use std::sync::atomic::{AtomicI64, Ordering};

const RANDOM_BITS: u32 = 22;
const MILLISECONDS_MAX: i64 = (1 << (63 - RANDOM_BITS)) - 1;
/// 2025-01-01T00:00:00Z.
const START_MS: i64 = 1_735_689_600_000;

/// The source of ids of one process.
#[derive(Debug)]
pub(crate) struct NewIds {
    last: AtomicI64,
}

impl NewIds {
    /// Goes on after `last`, the largest id in use, so that a clock that stepped back cannot repeat one.
    pub(crate) fn after(last: i64) -> NewIds {
        NewIds { last: AtomicI64::new(last.max(0)) }
    }

    /// An id larger than all earlier ones of this process. Another process cannot meet it but by a chance of 2⁻²² in the
    /// same millisecond, and then the primary key refuses the second.
    pub(crate) fn next(&self, wall_us: i64) -> Result<i64, StoreError> {
        let mut random = [0; 4];
        getrandom::fill(&mut random).map_err(StoreError::unavailable)?;
        let random = i64::from(u32::from_le_bytes(random) >> (u32::BITS - RANDOM_BITS));
        let milliseconds = (wall_us.div_euclid(1_000) - START_MS).clamp(0, MILLISECONDS_MAX);
        let timed = (milliseconds << RANDOM_BITS) | random;
        let following = |last: i64| last.checked_add(1).map(|next| next.max(timed));
        self.last
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, following)
            .ok()
            .and_then(following)
            .ok_or_else(|| StoreError::unavailable("the id space is used up"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const NOW_US: i64 = (START_MS + 5_000) * 1_000;

    fn check(last: i64, wall_us: i64, least: i64, most: i64) {
        let id = NewIds::after(last).next(wall_us).unwrap();
        assert!((least..=most).contains(&id), "after {last} at {wall_us}: {id}");
    }

    #[test]
    fn an_id_carries_its_time_and_passes_the_last_one() {
        check(0, NOW_US, 5_000 << RANDOM_BITS, (5_001 << RANDOM_BITS) - 1);
        check(0, i64::MIN, 1, 1 << RANDOM_BITS);
        check(0, i64::MAX, MILLISECONDS_MAX << RANDOM_BITS, i64::MAX);
        check(9_000 << RANDOM_BITS, NOW_US, (9_000 << RANDOM_BITS) + 1, (9_000 << RANDOM_BITS) + 1);
        check(-7, 0, 1, 1 << RANDOM_BITS);
    }

    #[test]
    fn ids_never_wrap() {
        assert!(NewIds::after(i64::MAX).next(NOW_US).is_err());
    }

    #[test]
    fn threads_share_no_id() {
        let ids = NewIds::after(0);
        let mut all = HashSet::new();
        std::thread::scope(|scope| {
            let taken: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..2_000).map(|_| ids.next(NOW_US).unwrap()).collect::<Vec<_>>()))
                .collect();
            for thread in taken {
                let thread = thread.join().unwrap();
                assert!(thread.is_sorted());
                all.extend(thread);
            }
        });
        assert_eq!(all.len(), 8_000);
    }
}
