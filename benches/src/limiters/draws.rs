//! Who asks next: keys and addresses drawn before anything is measured, so that drawing costs a read in order.
//!
//! Decides nothing about limits. Keys and addresses are drawn independently of each other.

use super::contender::{Request, Settings};

/// How often each subject is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spread {
    /// All alike: the hardest case for caches.
    Uniform,
    /// The n-th most frequent 1/n times as often as the first.
    Zipf,
}

impl Spread {
    /// What the tables call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Spread::Uniform => "uniform",
            Spread::Zipf => "zipf",
        }
    }
}

/// Draws this many requests.
pub(crate) fn draw(settings: &Settings, spread: Spread, count: usize) -> Vec<Request> {
    let subjects = Subjects::new(settings.keys, spread);
    let mut dice = Dice::new(0x9e37_79b9_7f4a_7c15);
    (0..count)
        .map(|_| settings.request(subjects.draw(&mut dice), subjects.draw(&mut dice)))
        .collect()
}

/// One request for every key and every address that exists, in no order that memory could profit from.
pub(crate) fn everyone(settings: &Settings) -> Vec<Request> {
    (0..settings.keys)
        .map(|rank| {
            let subject = scatter(rank, settings.keys);
            settings.request(subject, subject)
        })
        .collect()
}

/// Numbers from a xorshift generator with a fixed start, the same in every run.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed.max(1))
    }

    /// The next number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n.max(1)
    }

    /// The next number in 0 ≤ x < 1.
    fn fraction(&mut self) -> f64 {
        self.below(1 << 53) as f64 / (1_u64 << 53) as f64
    }
}

/// All subjects, and how often each is drawn.
pub(crate) enum Subjects {
    Uniform { count: u32 },
    Zipf { count: u32, cumulated: Vec<f64> },
}

impl Subjects {
    /// So many, numbered from 0.
    pub(crate) fn new(count: u32, spread: Spread) -> Subjects {
        match spread {
            Spread::Uniform => Subjects::Uniform { count },
            Spread::Zipf => {
                let mut sum = 0.0;
                let cumulate = |rank: u32| {
                    sum += 1.0 / f64::from(rank);
                    sum
                };
                Subjects::Zipf {
                    count,
                    cumulated: (1..=count).map(cumulate).collect(),
                }
            }
        }
    }

    /// The number of the next.
    pub(crate) fn draw(&self, dice: &mut Dice) -> u32 {
        match self {
            Subjects::Uniform { count } => u32::try_from(dice.below(u64::from(*count))).unwrap_or(0),
            Subjects::Zipf { count, cumulated } => {
                let at = dice.fraction() * cumulated.last().copied().unwrap_or(0.0);
                let rank = cumulated.partition_point(|&sum| sum <= at);
                scatter(u32::try_from(rank).unwrap_or(0).min(count - 1), *count)
            }
        }
    }
}

/// Spreads ranks over subjects, one to one, so that frequent subjects are no neighbours in memory.
pub(crate) fn scatter(rank: u32, count: u32) -> u32 {
    // A prime that divides no population used here shuffles it without repeats.
    let scattered = (u64::from(rank) * 2_654_435_761) % u64::from(count);
    u32::try_from(scattered).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiters::contender::Rules;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn everyone_is_drawn_once() {
        for count in [1, 1_000, 100_000, 1_000_000] {
            let requests = everyone(&Settings::wide(Rules::Three, count, 1_000));
            let keys: BTreeSet<u32> = requests.iter().map(|request| request.key).collect();
            assert_eq!(u32::try_from(keys.len()), Ok(count));
        }
    }

    #[test]
    fn draws_follow_their_spread() {
        let check = |spread: Spread, first_share: f64, second_share: f64| {
            let requests = draw(&Settings::wide(Rules::Three, 1_000, 1_000), spread, 400_000);
            let mut counts: BTreeMap<u32, f64> = BTreeMap::new();
            for request in &requests {
                *counts.entry(request.address).or_default() += 1.0 / 400_000.0;
            }
            let mut shares: Vec<f64> = counts.into_values().collect();
            shares.sort_by(|left, right| right.total_cmp(left));
            assert!((shares[0] / first_share - 1.0).abs() < 0.2, "{spread:?}: {}", shares[0]);
            assert!(
                (shares[1] / second_share - 1.0).abs() < 0.2,
                "{spread:?}: {}",
                shares[1]
            );
        };
        check(Spread::Uniform, 1.0 / 1_000.0, 1.0 / 1_000.0);
        // The first thousand terms of the harmonic series add up to 7.485.
        check(Spread::Zipf, 1.0 / 7.485, 0.5 / 7.485);
    }

    #[test]
    fn key_and_address_are_drawn_independently() {
        let requests = draw(&Settings::wide(Rules::Three, 1_000, 1_000), Spread::Uniform, 100_000);
        let alike = requests.iter().filter(|request| request.key == request.address).count();
        assert!((50..200).contains(&alike), "{alike}");
    }
}
