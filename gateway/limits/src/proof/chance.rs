//! A generator of chances: seeded, and fast enough not to be what a proof spends its time on.
//!
//! Decides only how numbers are drawn; what they mean is for whoever draws. SplitMix64, from Steele, Lea and Flood, "Fast
//! splittable pseudorandom number generators", 2014.

/// A sequence of numbers that its seed decides.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        // Neighbouring seeds begin far apart.
        Chance(seed.wrapping_mul(0xd134_2543_de82_ef95))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        let wide = u128::from(self.next()) * (u128::from(high - low) + 1);
        low + u64::try_from(wide >> 64).unwrap()
    }

    /// A number from `low` to `high`, of every length in bits equally often.
    pub(crate) fn scaled(&mut self, low: u64, high: u64) -> u64 {
        let bits = |number: u64| u64::from((number + 1).ilog2());
        let bits = self.between(bits(low), bits(high));
        let (from, until) = ((1 << bits) - 1, (2 << bits) - 2);
        self.between(from.max(low), until.min(high))
    }

    pub(crate) fn one_in(&mut self, many: u64) -> bool {
        self.between(1, many) == 1
    }

    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.between(1, u64::try_from(choices.len()).unwrap()) - 1).unwrap()]
    }
}
