//! Quiet and attack in turn, and what the customer felt: one line of the table, and the verdict.

use crate::attack::Attack;
use crate::attacker::{Plan, Tally};
use crate::customer::{Customer, Felt};
use crate::gateway::Gateway;
use std::time::{Duration, Instant};

/// One slice: two hundred requests of the customer.
const SLICE: Duration = Duration::from_millis(800);
/// Rounds of a quiet slice and one under attack, and how many there may be where somebody disturbs them.
const ROUNDS: usize = 4;
const ROUNDS_MAX: usize = 14;
/// How much longer the customer may wait under attack.
const RATIO_MAX: f64 = 2.0;
/// How much longer is not told apart from the attacker's own share of the cores: one time slice of the scheduler.
const SLICE_OF_TIME_MS: f64 = 4.0;
/// How long memory has to come back, and how much may stay: the allocator keeps some for the next time.
const COMES_BACK_WITHIN: Duration = Duration::from_secs(5);
const STAYS_SHARE: u64 = 2;

/// What came of one attack.
pub(crate) struct Outcome {
    /// What the attacker saw.
    pub(crate) tally: Tally,
    /// What the gateway weighed before, at most, and afterwards, in KiB.
    pub(crate) rss_kib: (u64, u64, u64),
    quiet_ms: f64,
    attack_ms: f64,
    rounds: usize,
}

/// Where a round is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Before the quiet slice, and after everything.
    Quiet,
    /// Before the attack begins.
    Attack,
    /// The attack has begun, and its slice has not.
    InForce,
}

/// What is done besides, in each phase.
pub(crate) type Besides<'a> = &'a mut dyn FnMut(Phase);

/// Alternates until the ratio holds, or it is clear that it does not. `growth_max_kib` is how much more than before the gateway may
/// weigh.
pub(crate) fn alternate(
    gateway: &Gateway,
    customer: &mut Customer,
    plan: &Plan,
    growth_max_kib: u64,
    besides: Besides<'_>,
) -> Result<Outcome, String> {
    let mut attack = Attack::prepare(plan);
    // Whatever is made at first use is made.
    customer.feel(SLICE / 2);
    let before = gateway.rss_kib();
    let (mut quiet, mut attacked) = (Vec::new(), Vec::new());
    let mut peak = 0;
    let mut tally = Tally::default();
    while quiet.len() < ROUNDS || (is_felt(median(&quiet), median(&attacked)) && quiet.len() < ROUNDS_MAX) {
        besides(Phase::Quiet);
        quiet.push(served(customer.feel(SLICE), "quiet")?);
        besides(Phase::Attack);
        attack.on();
        besides(Phase::InForce);
        let felt = customer.feel(SLICE);
        peak = peak.max(gateway.rss_kib());
        tally = attack.off();
        attacked.push(served(felt, "under attack")?);
    }
    besides(Phase::Quiet);
    let after = comes_back(gateway, customer, before, peak);
    let outcome = Outcome {
        tally,
        rss_kib: (before, peak, after),
        quiet_ms: median(&quiet),
        attack_ms: median(&attacked),
        rounds: quiet.len(),
    };
    outcome.verdict(growth_max_kib)?;
    Ok(outcome)
}

impl Outcome {
    fn verdict(&self, growth_max_kib: u64) -> Result<(), String> {
        let ratio = self.attack_ms / self.quiet_ms;
        if is_felt(self.quiet_ms, self.attack_ms) {
            return Err(format!("p99 under attack is {ratio:.2} x quiet: {self}"));
        }
        let (before, peak, after) = self.rss_kib;
        if peak > before + growth_max_kib {
            return Err(format!("memory grew by more than {growth_max_kib} KiB: {self}"));
        }
        if after > may_stay(before, peak) {
            return Err(format!("memory does not come back: {self}"));
        }
        Ok(())
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (before, peak, after) = self.rss_kib;
        write!(
            f,
            "p99 {:.2} -> {:.2} ms ({:.2} x, {} rounds), rss {}/{}/{} MiB, opened {} shown out {} sent {} answers {:?}",
            self.quiet_ms,
            self.attack_ms,
            self.attack_ms / self.quiet_ms,
            self.rounds,
            before / 1024,
            peak / 1024,
            after / 1024,
            self.tally.opened,
            self.tally.shown_out,
            self.tally.sent,
            self.tally.answered,
        )
    }
}

/// The slice's p99 in ms, if everybody was served.
fn served(felt: Felt, when: &str) -> Result<f64, String> {
    match felt.failed.first() {
        None => Ok(felt.p99().as_secs_f64() * 1e3),
        Some(first) => Err(format!("{} requests failed {when}: {first}", felt.failed.len())),
    }
}

/// Waits until memory came back, or has had its time.
fn comes_back(gateway: &Gateway, customer: &mut Customer, before: u64, peak: u64) -> u64 {
    let start = Instant::now();
    loop {
        let now = gateway.rss_kib();
        if now <= may_stay(before, peak) || start.elapsed() > COMES_BACK_WITHIN {
            return now;
        }
        // An allocator gives back when it is used.
        customer.feel(Duration::from_millis(100));
    }
}

/// What may be left of a growth from `before` to `peak`: a part of it, and 32 MiB in any case, which the allocator keeps for the
/// next connections.
fn may_stay(before: u64, peak: u64) -> u64 {
    before + (peak.saturating_sub(before) / STAYS_SHARE).max(32 * 1024)
}

/// Whether the customer waits much longer under attack.
fn is_felt(quiet_ms: f64, attack_ms: f64) -> bool {
    attack_ms > RATIO_MAX * quiet_ms && attack_ms > quiet_ms + SLICE_OF_TIME_MS
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}
