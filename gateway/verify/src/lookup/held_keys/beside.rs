//! What a bucket notes beside its records, in four bytes: how often each was used, and how many records passed it by.
//!
//! Decides how both share a word; knows no record.

use super::BUCKET_SLOTS;

/// Uses that are told apart.
pub(super) const USES_MAX: usize = 3;

/// Bits for the uses of one slot.
const USE_BITS: usize = 2;
const USES: u32 = 0b11;

/// Where the count of those that passed begins. Twenty-two bits are left for it: a stripe with four million keys would be one of
/// four thousand million.
const PASSED_SHIFT: usize = BUCKET_SLOTS * USE_BITS;

/// The word.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Beside(u32);

impl Beside {
    /// Records whose home is this bucket or one before, and which lie in one behind it.
    #[inline]
    pub(super) fn passed(self) -> u32 {
        self.0 >> PASSED_SHIFT
    }

    pub(super) fn is_passed_by_one_more(&mut self) {
        self.0 += 1 << PASSED_SHIFT;
    }

    pub(super) fn is_passed_by_one_less(&mut self) {
        self.0 -= 1 << PASSED_SHIFT;
    }

    /// Counts a use of a slot's record. Writes nothing once it has been used as often as is told apart.
    #[inline]
    pub(super) fn use_once(&mut self, slot: usize) {
        if self.uses(slot) < USES {
            self.0 += 1 << (slot * USE_BITS);
        }
    }

    /// Takes one use off. False: there was none.
    pub(super) fn forget_use(&mut self, slot: usize) -> bool {
        let is_used = self.uses(slot) > 0;
        if is_used {
            self.0 -= 1 << (slot * USE_BITS);
        }
        is_used
    }

    /// Takes all uses off: the record has gone.
    pub(super) fn forget_uses(&mut self, slot: usize) {
        self.0 &= !(USES << (slot * USE_BITS));
    }

    #[inline]
    fn uses(self, slot: usize) -> u32 {
        self.0 >> (slot * USE_BITS) & USES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_and_those_that_passed_do_not_meet() {
        let mut beside = Beside::default();
        for slot in 0..BUCKET_SLOTS {
            for _ in 0..=slot {
                beside.use_once(slot);
                beside.is_passed_by_one_more();
            }
        }
        assert_eq!(beside.passed(), 15);
        for slot in 0..BUCKET_SLOTS {
            let uses = (0..9).take_while(|_| beside.forget_use(slot)).count();
            assert_eq!(uses, (slot + 1).min(USES_MAX), "slot {slot}");
        }
        assert_eq!(beside, Beside(15 << PASSED_SHIFT));
        beside.use_once(4);
        beside.use_once(4);
        beside.forget_uses(4);
        (0..15).for_each(|_| beside.is_passed_by_one_less());
        assert_eq!(beside, Beside::default());
    }
}
