//! Slices of a few seconds, by turns through all targets, with the base before and after each few of them.
//!
//! Decides who has its turn when, and which slice is taken again; knows nothing of tables. Machines have moods that last longer than a
//! slice: a ratio to the neighbouring slices of the base is steadier than any figure alone.

use super::cores::Cores;
use super::generator::{Generator, Until};
use super::progress;
use super::requests::Requests;
use super::server::Server;
use super::transport::Endpoint;
use super::usage::{Busy, Usage, memory_bytes};
use crate::process::now_us;
use anyhow::{Context, Result, ensure};
use std::rc::Rc;

/// Targets between two slices of the base.
const GROUP: usize = 3;

/// A server and what is asked of it.
pub(crate) struct Target {
    pub(crate) server: Rc<Server>,
    /// What the table calls it, where that is not the server's name.
    pub(crate) name: String,
    pub(crate) requests: Requests,
    pub(crate) connections: usize,
    /// The statuses that answers may have.
    pub(crate) statuses: &'static [u16],
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Turns of each target.
    pub(crate) rounds: usize,
    /// Length of a slice.
    pub(crate) slice_us: u64,
    /// How often a slice that was disturbed is taken again.
    pub(crate) repeats: usize,
    /// The share of the cores that others may have before a slice counts as disturbed.
    pub(crate) foreign_max: f64,
}

/// What a slice came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slice {
    pub(crate) per_second: f64,
    /// Processor time of the server for each request.
    pub(crate) cpu_us: f64,
    pub(crate) user_us: f64,
    pub(crate) system_us: f64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) p999_us: u64,
    pub(crate) megabytes_per_second: f64,
    pub(crate) memory_bytes: u64,
    /// The share of its core that the server used.
    pub(crate) busy: f64,
    /// The share of all cores that went to others.
    pub(crate) foreign: f64,
    /// Requests per second against the neighbouring slices of the base.
    pub(crate) ratio: f64,
    /// Requests per second of processor time against them.
    pub(crate) core_ratio: f64,
}

/// All slices of a target.
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) does: &'static str,
    pub(crate) slices: Vec<Slice>,
}

/// Measures all targets by turns; the base comes first in what is given back.
pub(crate) fn rotate(base: &Target, targets: &[Target], effort: Effort, cores: &Cores) -> Result<Vec<Measured>> {
    let all = || std::iter::once(base).chain(targets);
    let mut measured: Vec<Measured> = all()
        .map(|target| Measured {
            name: target.name.clone(),
            does: target.server.does,
            slices: Vec::new(),
        })
        .collect();
    for round in 0..effort.rounds {
        let take = |target: &Target| undisturbed(target, round, effort, cores);
        let mut before = take(base)?;
        measured[0].slices.push(before);
        for (group, targets) in targets.chunks(GROUP).enumerate() {
            let slices: Vec<Slice> = targets.iter().map(take).collect::<Result<_>>()?;
            let after = take(base)?;
            measured[0].slices.push(after);
            let per_second = f64::midpoint(before.per_second, after.per_second);
            let cpu_us = f64::midpoint(before.cpu_us, after.cpu_us);
            for (index, mut slice) in slices.into_iter().enumerate() {
                slice.ratio = slice.per_second / per_second;
                slice.core_ratio = cpu_us / slice.cpu_us;
                measured[1 + group * GROUP + index].slices.push(slice);
            }
            before = after;
        }
    }
    Ok(measured)
}

/// Takes a slice again while others disturb it, and gives the least disturbed.
fn undisturbed(target: &Target, round: usize, effort: Effort, cores: &Cores) -> Result<Slice> {
    let mut best: Option<Slice> = None;
    for _ in 0..=effort.repeats {
        let slice = take(target, round, effort, cores).with_context(|| target.name.clone())?;
        if best.is_none_or(|best| slice.foreign < best.foreign) {
            best = Some(slice);
        }
        if slice.foreign <= effort.foreign_max {
            break;
        }
    }
    let slice = best.context("a slice is taken at least once")?;
    progress(&format!(
        "{:>3} {:<40} {:>8.0}/s {:>6.1} us/request, core {:>3.0} % busy, others {:.0} %",
        round + 1,
        target.name,
        slice.per_second,
        slice.cpu_us,
        slice.busy * 100.0,
        slice.foreign * 100.0
    ));
    Ok(slice)
}

fn take(target: &Target, round: usize, effort: Effort, cores: &Cores) -> Result<Slice> {
    let processes = &target.server.processes;
    // A prime stride, so that rounds begin far from each other.
    let requests = target.requests.clone().from(round.wrapping_mul(379_721));
    let mut generator = Generator::connect(&target.server.endpoint, target.connections, requests)?;
    // Connections to the upstream and code are warm then.
    generator.run(Until::Elapsed {
        us: effort.slice_us / 10,
    })?;
    let everyone = || -> Result<(Usage, Busy, u64)> {
        // What this machine ran for us: all that descends from this process.
        let own = Usage::of(&super::usage::family(std::process::id()));
        Ok((own, Busy::of(&cores.all())?, now_us()))
    };
    let (own, busy, begun_us) = everyone()?;
    let usage = Usage::of(processes);
    let driven = generator.run(Until::Elapsed { us: effort.slice_us })?;
    let usage = Usage::of(processes).since(usage);
    let (own_after, busy_after, ended_us) = everyone()?;
    let wrong: Vec<_> = driven
        .statuses
        .iter()
        .filter(|(status, _)| !target.statuses.contains(status))
        .collect();
    ensure!(
        wrong.is_empty(),
        "answered otherwise than {:?}: {wrong:?}",
        target.statuses
    );
    ensure!(driven.answers > 0, "nothing was answered");
    let seconds = driven.elapsed_us as f64 / 1e6;
    let cpu_us = usage.total_ns as f64 / 1e3 / driven.answers as f64;
    Ok(Slice {
        per_second: driven.answers as f64 / seconds,
        cpu_us,
        user_us: cpu_us * usage.user_share(),
        system_us: cpu_us * (1.0 - usage.user_share()),
        p50_us: driven.latencies.percentile(500),
        p99_us: driven.latencies.percentile(990),
        p999_us: driven.latencies.percentile(999),
        megabytes_per_second: driven.bytes as f64 / 1e6 / seconds,
        memory_bytes: memory_bytes(processes)?,
        busy: usage.total_ns as f64 / 1e9 / seconds,
        foreign: busy_after.since(busy).foreign_share(
            own_after.since(own).total_ns,
            ended_us - begun_us,
            cores.all().len(),
        ),
        ratio: f64::NAN,
        core_ratio: f64::NAN,
    })
}

/// Sends every request of a target's order once, so that whatever a server remembers of a key it remembers from then on.
pub(crate) fn warm(target: &Target) -> Result<()> {
    send_all(&target.server.endpoint, target.connections, target.requests.clone())
}

/// Sends every request of an order once; all must be answered 200.
pub(crate) fn send_all(endpoint: &Endpoint, connections: usize, requests: Requests) -> Result<()> {
    let answers = requests.order_len();
    let connections = connections.min(answers);
    let driven = Generator::connect(endpoint, connections, requests)?.run(Until::Answers(u64::try_from(answers)?))?;
    let wrong: Vec<_> = driven.statuses.iter().filter(|(status, _)| **status != 200).collect();
    ensure!(wrong.is_empty(), "answered otherwise than 200: {wrong:?}");
    Ok(())
}
