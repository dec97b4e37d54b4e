//! How long single decisions take, each timed by itself: the percentiles that a mean does not tell.
//!
//! The whole decision as in `verifier.rs`, drawn in the same way; what a request has in hand, its credential in a buffer, is read before
//! it is timed. Writes `target/decisions.md`, which `record-results` puts into its page.

use portcullis_benches::{Population, SIZES, Spread, draws, requirement, three_rules, warm_verifier};
use portcullis_record::usage::{METER_ROWS_MAX, UsageMeter};
use portcullis_verify::{Verifier, VerifyRequest};
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Requests drawn beforehand.
const DRAWS: usize = 1 << 20;
/// Requests whose credentials are read before they are timed.
const BATCH: usize = 64;
/// Times that all draws are gone through, the first of them untimed: everybody's counters are there then, and every first note of usage
/// is made.
const ROUNDS: usize = 4;

struct Drawn {
    credential: Box<[u8]>,
    address: IpAddr,
}

/// Nanoseconds of decisions, in order.
struct Taken(Vec<u64>);

impl Taken {
    fn percentile(&self, thousandths: usize) -> u64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get(last * thousandths / 1_000).copied().unwrap_or(0)
    }

    fn mean(&self) -> f64 {
        self.0.iter().sum::<u64>() as f64 / self.0.len() as f64
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench is what measures time")]
fn instant() -> Instant {
    Instant::now()
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn main() -> std::io::Result<()> {
    let mut page = String::from("| decided | keys | p50 | p90 | p99 | mean |\n|---|---:|---:|---:|---:|---:|\n");
    let timer = taken((0..DRAWS).map(|_| nanoseconds(instant())).collect());
    row(&mut page, "nothing: the timer itself", 0, &timer);
    for size in SIZES {
        let population = Arc::new(Population::new(size, &three_rules()));
        for (kept, is_table) in [("cached", false), ("preloaded", true)] {
            let verifier = warm_verifier(&population, is_table);
            for spread in Spread::ALL {
                let taken = measure(&verifier, &population, spread);
                row(&mut page, &format!("{kept}, {}", spread.name()), size, &taken);
            }
        }
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
        std::path::PathBuf::from,
    );
    std::fs::write(target.join("decisions.md"), &page)?;
    write!(std::io::stdout(), "{page}")
}

fn measure(verifier: &Verifier, population: &Population, spread: Spread) -> Taken {
    let requirement = requirement();
    let usage = UsageMeter::new(METER_ROWS_MAX, verifier.clock().now());
    let drawn: Vec<Drawn> = draws(population.secrets.len(), spread, DRAWS)
        .into_iter()
        .map(|pick| Drawn {
            credential: population.secrets[pick].as_bytes().into(),
            address: IpAddr::V4(Ipv4Addr::from(u32::try_from(pick).unwrap_or(0))),
        })
        .collect();
    let decide = |drawn: &Drawn| {
        let request = VerifyRequest {
            credential: &drawn.credential,
            path: "/v1/users",
            address: Some(drawn.address),
            requirement: &requirement,
        };
        let now = verifier.clock().now();
        let answer = verifier.verify_held(&request, now);
        if let Some(Ok(verdict)) = &answer {
            usage.note(verdict, now);
        }
        black_box(answer.is_some())
    };
    let mut all = Vec::with_capacity(DRAWS * ROUNDS);
    for round in 0..ROUNDS {
        for batch in drawn.chunks(BATCH) {
            for drawn in batch {
                black_box(drawn.credential.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)));
            }
            for drawn in batch {
                let begun = instant();
                let is_held = decide(drawn);
                let took = nanoseconds(begun);
                assert!(is_held, "every key is held");
                if round > 0 {
                    all.push(took);
                }
            }
        }
    }
    taken(all)
}

fn taken(mut all: Vec<u64>) -> Taken {
    all.sort_unstable();
    Taken(all)
}

fn row(page: &mut String, decided: &str, keys: usize, taken: &Taken) {
    let [half, nine_tenths, most] = [500, 900, 990].map(|thousandths| taken.percentile(thousandths));
    // Writing to a string cannot fail.
    let _ = writeln!(
        page,
        "| {decided} | {keys} | {half} | {nine_tenths} | {most} | {:.0} |",
        taken.mean()
    );
}
