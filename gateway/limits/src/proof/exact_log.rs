//! Every admission to the microsecond, as far back as any question goes.
//!
//! Decides nothing; it is what the decimated log is compared with. A question about the n-th newest admission, which is all
//! that strictness takes, costs one look into a ring.

/// Admissions in the order of their times, the newest `ring.len()` of them.
#[derive(Debug, Default)]
pub(crate) struct ExactLog {
    /// A power of two of slots; an admission is in the one that its ordinal names.
    ring: Vec<u64>,
    admitted: u64,
    forgotten: u64,
}

impl ExactLog {
    /// Begins anew, with room for this many.
    pub(crate) fn clear(&mut self, room: u64) {
        let slots = usize::try_from(room + 1).unwrap().next_power_of_two();
        self.ring.resize(slots, 0);
        self.admitted = 0;
        self.forgotten = 0;
    }

    /// Admissions remembered.
    pub(crate) fn len(&self) -> u64 {
        self.admitted - self.forgotten
    }

    pub(crate) fn admit(&mut self, at_us: u64) {
        let slot = self.slot(self.admitted);
        self.ring[slot] = at_us;
        self.admitted += 1;
        self.keep(u64::try_from(self.ring.len()).unwrap());
    }

    /// Forgets all but the newest `count`.
    pub(crate) fn keep(&mut self, count: u64) {
        self.forgotten = self.forgotten.max(self.admitted.saturating_sub(count));
    }

    /// When the n-th newest admission was made; the newest is the first.
    #[inline]
    pub(crate) fn newest(&self, nth: u64) -> Option<u64> {
        (nth <= self.len()).then(|| self.ring[self.slot(self.admitted - nth)])
    }

    /// Admissions after `now_us - window_us`.
    pub(crate) fn used(&self, now_us: u64, window_us: u64) -> u64 {
        let (mut inside, mut outside) = (0, self.len() + 1);
        while outside - inside > 1 {
            let nth = inside.midpoint(outside);
            if self.newest(nth).is_some_and(|at_us| at_us + window_us > now_us) {
                inside = nth;
            } else {
                outside = nth;
            }
        }
        inside
    }

    #[inline]
    fn slot(&self, nth: u64) -> usize {
        usize::try_from(nth).unwrap() & (self.ring.len() - 1)
    }
}

#[test]
fn it_counts_what_a_list_counts() {
    let mut log = ExactLog::default();
    log.clear(5);
    assert_eq!((log.newest(1), log.used(10, 5)), (None, 0));
    for at_us in [1, 3, 3, 7, 9, 9, 12, 12, 14] {
        log.admit(at_us);
    }
    let check = |window_us, used| assert_eq!(log.used(14, window_us), used, "{window_us}");
    check(1, 1);
    check(2, 1);
    check(3, 3);
    check(5, 3);
    check(6, 5);
    check(8, 6);
    check(100, 8);
    assert_eq!((log.newest(1), log.newest(4), log.newest(9)), (Some(14), Some(9), None));
    log.keep(2);
    assert_eq!((log.len(), log.newest(2), log.newest(3)), (2, Some(12), None));
}
