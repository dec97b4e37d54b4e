//! What a request costs each limiter: by number of subjects, spread, rules and threads.
//!
//! Decides what is run in which order: the contenders take turns, round after round, over the same requests. Judges nothing; the page
//! reads the figures.

use super::contender::{Contender, Request, Rules, Served, Settings, instant};
use super::counters::{ExactLog, FixedWindow, WeightedWindow};
use super::draws::{self, Dice, Spread};
use super::figures::spanned;
use super::governed::{Governed, Share};
use super::keyed::Keyed;
use super::memory_floor::{Access, MemoryFloor};
use super::portcullis::{AtHand, Portcullis};
use super::{Effort, progress};
use anyhow::{Result, ensure};
use governor::clock::DefaultClock;
use portcullis_verify::Clock;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What was measured of one contender in one setting.
#[derive(Debug, Clone)]
pub(crate) struct Cost {
    pub(crate) contender: String,
    pub(crate) rules: Rules,
    pub(crate) threads: usize,
    pub(crate) spread: Spread,
    pub(crate) keys: u32,
    /// Nanoseconds per request and thread, one figure per round.
    pub(crate) nanoseconds: Vec<f64>,
    /// Requests per second of all threads together, one figure per round.
    pub(crate) per_second: Vec<f64>,
}

/// Apps in every population here.
const APPS: u32 = 1_000;

/// Measures every contender in every setting, with nothing refused.
pub(crate) fn measure(effort: &Effort) -> Result<Vec<Cost>> {
    let mut costs = Vec::new();
    for &keys in &effort.sizes {
        for rules in [Rules::Key, Rules::Three] {
            let settings = Settings::wide(rules, keys, APPS);
            let contenders = filled(&settings);
            for spread in [Spread::Uniform, Spread::Zipf] {
                let requests = draws::draw(&settings, spread, effort.draws());
                for threads in [1, 2] {
                    costs.extend(take_turns(effort, &contenders, &settings, spread, &requests, threads)?);
                }
            }
        }
    }
    Ok(costs)
}

/// The settings that the bars are for, with these numbers of keys or else all, as they come, on standard output.
pub(crate) fn bars(effort: &Effort, sizes: &[u32]) -> Result<()> {
    let mut out = std::io::stdout();
    for &keys in if sizes.is_empty() { &effort.sizes } else { sizes } {
        for rules in [Rules::Key, Rules::Three] {
            let settings = Settings::wide(rules, keys, APPS);
            let portcullis = Portcullis::new(&settings);
            let contenders: Vec<Box<dyn Contender>> = vec![
                Box::new(portcullis.with(AtHand::RecordAndTime)),
                Box::new(portcullis.with(AtHand::Time)),
                Box::new(Governed::<u64, DefaultClock>::new(&settings, &Arc::default())),
                Box::new(Governed::told(&settings, Share::Whole)),
            ];
            fill(&contenders, &settings);
            let requests = draws::draw(&settings, Spread::Uniform, effort.draws());
            for cost in take_turns(effort, &contenders, &settings, Spread::Uniform, &requests, 1)? {
                let figures = spanned(&cost.nanoseconds);
                writeln!(out, "{keys} {rules:?} {}: {figures} ns", cost.contender)?;
            }
        }
    }
    Ok(())
}

/// Measures what refusing costs at the middle size, drawn evenly, one thread: every key and every address has spent its limit.
pub(crate) fn measure_refusals(effort: &Effort) -> Result<Vec<Cost>> {
    let mut costs = Vec::new();
    for rules in [Rules::Key, Rules::Three] {
        let settings = Settings {
            limits: [1, 1, i32::MAX.unsigned_abs()],
            window_us: 3_600_000_000,
            ..Settings::wide(rules, effort.sizes[1], APPS)
        };
        let mut contenders = filled(&settings);
        contenders.retain(|contender| !contender.name().starts_with("memory floor"));
        let requests = draws::draw(&settings, Spread::Uniform, effort.draws());
        costs.extend(take_turns(
            effort,
            &contenders,
            &settings,
            Spread::Uniform,
            &requests,
            1,
        )?);
    }
    Ok(costs)
}

/// Lets every contender serve in turn, round after round. All requests must be admitted, or none where the limits were spent.
fn take_turns(
    effort: &Effort,
    contenders: &[Box<dyn Contender>],
    settings: &Settings,
    spread: Spread,
    requests: &[Request],
    threads: usize,
) -> Result<Vec<Cost>> {
    let Settings {
        rules, keys, limits, ..
    } = *settings;
    progress(&format!(
        "cost: {keys} subjects, {rules:?}, {}, threads: {threads}",
        spread.name()
    ));
    let labelled = contenders.iter().map(|contender| Cost {
        contender: contender.name(),
        rules,
        threads,
        spread,
        keys,
        nanoseconds: Vec::new(),
        per_second: Vec::new(),
    });
    let mut costs: Vec<Cost> = labelled.collect();
    for round in 0..effort.rounds {
        for (contender, cost) in contenders.iter().zip(&mut costs) {
            let run = run(contender.as_ref(), &effort.slices(requests, round, threads), 1);
            let expected = if limits[0] == 1 { 0 } else { run.requests };
            ensure!(
                run.admitted == expected,
                "{} admitted {} of {} where it must admit {expected}",
                cost.contender,
                run.admitted,
                run.requests
            );
            cost.nanoseconds.push(run.nanoseconds);
            cost.per_second.push(run.per_second);
        }
    }
    Ok(costs)
}

/// Every contender, with a counter for every subject.
fn filled(settings: &Settings) -> Vec<Box<dyn Contender>> {
    progress(&format!(
        "cost: {} subjects, {:?}: filling",
        settings.keys, settings.rules
    ));
    let contenders = contenders(settings);
    fill(&contenders, settings);
    contenders
}

fn fill(contenders: &[Box<dyn Contender>], settings: &Settings) {
    let everyone = draws::everyone(settings);
    for contender in contenders {
        contender.serve(&everyone, &Clock::system());
    }
}

/// Every contender, empty, in the order of the tables.
fn contenders(settings: &Settings) -> Vec<Box<dyn Contender>> {
    let portcullis = Portcullis::new(settings);
    let hashes = hashes(settings.keys);
    vec![
        Box::new(portcullis.with(AtHand::RecordAndTime)),
        Box::new(portcullis.with(AtHand::Record)),
        Box::new(portcullis.with(AtHand::Time)),
        Box::new(Governed::<u64, DefaultClock>::new(settings, &Arc::default())),
        Box::new(Governed::<[u8; 32], DefaultClock>::new(settings, &hashes)),
        Box::new(Governed::told(settings, Share::Whole)),
        Box::new(Keyed::<WeightedWindow>::new(settings)),
        Box::new(Keyed::<ExactLog>::new(settings)),
        Box::new(Keyed::<FixedWindow>::new(settings)),
        Box::new(MemoryFloor::new(settings, Access::Atomic)),
        Box::new(MemoryFloor::new(settings, Access::Plain)),
    ]
}

/// A random 32-byte name for every key.
pub(crate) fn hashes(keys: u32) -> Arc<Vec<[u8; 32]>> {
    let mut dice = Dice::new(7);
    let mut byte = || u8::try_from(dice.below(256)).unwrap_or(0);
    Arc::new((0..keys).map(|_| std::array::from_fn(|_| byte())).collect())
}

/// One contender's turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) requests: u64,
    pub(crate) admitted: u64,
    /// Per request and thread, of the time spent on serving.
    pub(crate) nanoseconds: f64,
    /// Of all threads together, each by the time it spent on serving.
    pub(crate) per_second: f64,
    /// Of all threads together, from when all had begun until the last was done.
    pub(crate) per_second_elapsed: f64,
}

/// Serves one slice of requests per thread, all at once, this many times over. The first eighth of each is not timed: it brings the
/// contender's own memory back into the processor's caches after the others' turns.
pub(crate) fn run(contender: &dyn Contender, slices: &[&[Request]], times: usize) -> Run {
    let ready = &AtomicUsize::new(0);
    let serve = &|index: usize, slice: &[Request]| {
        pin(index);
        let here = Arrival(ready);
        let clock = Clock::system();
        let (lead_in, timed) = slice.split_at(slice.len() / 8);
        let lead_in = contender.serve(lead_in, &clock);
        // A barrier of the system would wake one thread long after the other.
        drop(here);
        while ready.load(Ordering::Acquire) < slices.len() {
            std::thread::yield_now();
        }
        let start = instant();
        let mut served = Served::default();
        for _ in 0..times {
            served.add(contender.serve(timed, &clock));
        }
        (lead_in, served, start.elapsed().as_secs_f64())
    };
    let served: Vec<(Served, Served, f64)> = std::thread::scope(|scope| {
        let threads: Vec<_> = slices
            .iter()
            .enumerate()
            .map(|(index, slice)| scope.spawn(move || serve(index, slice)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let timed = || served.iter().map(|served| served.1);
    let both = || served.iter().flat_map(|served| [served.0, served.1]);
    let elapsed = served.iter().map(|served| served.2).fold(0.0, f64::max);
    Run {
        requests: both()
            .map(|served| u64::try_from(served.requests).unwrap_or(u64::MAX))
            .sum(),
        admitted: both().map(|served| served.admitted).sum(),
        nanoseconds: timed().map(|served| served.nanoseconds()).sum::<f64>() / served.len() as f64,
        per_second: timed().map(|served| 1e9 / served.nanoseconds()).sum(),
        per_second_elapsed: timed().map(|served| served.requests as f64).sum::<f64>() / elapsed,
    }
}

/// Counts a thread as ready when it is dropped: also when the thread panics, for which the others would else wait for ever.
struct Arrival<'a>(&'a AtomicUsize);

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// Keeps this thread on a processor of its own, where the system can do that: left alone, two threads of a short turn may well share
/// one. Where it cannot, the figures of two threads are the system's to spoil.
fn pin(index: usize) {
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
        let Ok(allowed) = sched_getaffinity(None) else { return };
        let mut own = CpuSet::new();
        if let Some(processor) = (0..CpuSet::MAX_CPU)
            .filter(|&processor| allowed.is_set(processor))
            .nth(index)
        {
            own.set(processor);
            // Refused, the thread runs wherever it is.
            let _ = sched_setaffinity(None, &own);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = index;
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_verify::Moment;

    /// Fails for one address, and admits every other request.
    struct Fails;

    impl Contender for Fails {
        fn name(&self) -> String {
            "fails".to_owned()
        }

        fn check(&self, request: &Request, _: Moment) -> bool {
            assert!(request.address != 1, "this address fails");
            true
        }
    }

    fn requests(address: u32) -> Vec<Request> {
        vec![Settings::wide(Rules::Key, 1, 1).request(0, address); 80]
    }

    #[test]
    fn a_turn_counts_what_all_threads_did() {
        let requests = requests(0);
        // Ten of eighty lead in; the others are served three times over.
        let run = run(&Fails, &[&requests, &requests], 3);
        assert_eq!((run.requests, run.admitted), (2 * (10 + 3 * 70), 2 * (10 + 3 * 70)));
        assert!(run.nanoseconds > 0.0 && run.per_second > 0.0 && run.per_second_elapsed > 0.0);
    }

    #[test]
    #[should_panic(expected = "this address fails")]
    fn a_thread_that_fails_ends_the_comparison() {
        run(&Fails, &[&requests(0), &requests(1)], 1);
    }
}
