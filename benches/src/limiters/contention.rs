//! What two threads gain when all their requests meet one counter, against requests spread over a thousand.
//!
//! Decides which counters are hot. Figures are requests per second of all threads together; the page reads them.

use super::contender::{Contender, Rules, Settings};
use super::cost::run;
use super::draws::{self, Spread};
use super::governed::{Governed, Share};
use super::memory_floor::{Access, MemoryFloor};
use super::portcullis::{AtHand, Portcullis};
use super::{Effort, progress};
use anyhow::{Result, ensure};
use governor::clock::DefaultClock;
use portcullis_verify::Clock;
use std::sync::Arc;

/// How often each thread serves its requests in one turn, so that starting and ending weigh little beside what is between.
const TIMES: usize = 8;

/// Requests per second of one contender, one figure per round and column.
#[derive(Debug, Clone)]
pub(crate) struct Contention {
    pub(crate) contender: String,
    pub(crate) rules: Rules,
    /// One thread on one app, two threads on one app, one on a thousand, two on a thousand.
    pub(crate) per_second: [Vec<f64>; 4],
}

/// Measures every contender on one hot app and on a thousand.
pub(crate) fn measure(effort: &Effort) -> Result<Vec<Contention>> {
    let mut contentions = Vec::new();
    // With one rule few keys will do, so that their records are at hand and the app's counter is all that is met.
    for (rules, keys) in [(Rules::App, 1_000), (Rules::Three, effort.sizes[1])] {
        progress(&format!("contention: {rules:?}"));
        let hot = Settings::wide(rules, keys, 1);
        let spread = Settings::wide(rules, keys, 1_000);
        let (on_hot, on_spread) = (contenders(&hot), contenders(&spread));
        let requests = [hot, spread].map(|settings| draws::draw(&settings, Spread::Uniform, effort.draws()));
        for (settings, contenders) in [(hot, &on_hot), (spread, &on_spread)] {
            for contender in contenders {
                contender.serve(&draws::everyone(&settings), &Clock::system());
            }
        }
        let labelled = on_hot.iter().map(|contender| Contention {
            contender: contender.name(),
            rules,
            per_second: Default::default(),
        });
        let mut measured: Vec<Contention> = labelled.collect();
        for round in 0..effort.rounds {
            for (index, contention) in measured.iter_mut().enumerate() {
                let columns = [(&on_hot, 0, 1), (&on_hot, 0, 2), (&on_spread, 1, 1), (&on_spread, 1, 2)];
                for (column, (contenders, drawn, threads)) in columns.into_iter().enumerate() {
                    let slices = effort.slices(&requests[drawn], round, threads);
                    let run = run(contenders[index].as_ref(), &slices, TIMES);
                    ensure!(
                        run.admitted == run.requests,
                        "{} refused where it must not",
                        contention.contender
                    );
                    contention.per_second[column].push(run.per_second_elapsed);
                }
            }
        }
        contentions.append(&mut measured);
    }
    Ok(contentions)
}

fn contenders(settings: &Settings) -> Vec<Box<dyn Contender>> {
    vec![
        Box::new(Portcullis::new(settings).with(AtHand::Time)),
        Box::new(Governed::<u64, DefaultClock>::new(settings, &Arc::default())),
        Box::new(Governed::told(settings, Share::Whole)),
        Box::new(MemoryFloor::new(settings, Access::Atomic)),
    ]
}
