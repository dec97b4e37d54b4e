//! Which core each part of the comparison has to itself, or shares.
//!
//! Decides nothing about load. The gateway under test has a core alone; the generator and the upstream share one where there are only
//! two, and have one each where there are more.

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cores {
    /// Of the gateway under test.
    pub(crate) gateway: usize,
    /// Of the load generator, which is this thread.
    pub(crate) generator: usize,
    /// Of the upstream.
    pub(crate) upstream: usize,
}

impl Cores {
    /// Out of those that this process may use; this thread goes to the generator's.
    pub(crate) fn take() -> Result<Cores> {
        let allowed = sched_getaffinity(None)?;
        let allowed: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect();
        let cores = Cores::among(&allowed).context("there is no processor")?;
        go_to(&[cores.generator])?;
        Ok(cores)
    }

    fn among(allowed: &[usize]) -> Option<Cores> {
        let generator = *allowed.first()?;
        let gateway = allowed.get(1).copied().unwrap_or(generator);
        let upstream = allowed.get(2).copied().unwrap_or(generator);
        Some(Cores {
            gateway,
            generator,
            upstream,
        })
    }

    /// Each of them once.
    pub(crate) fn all(&self) -> Vec<usize> {
        let mut all = vec![self.gateway, self.generator, self.upstream];
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Does something on another core, so that what is started there stays there, and comes back.
    pub(crate) fn on<T>(&self, core: usize, act: impl FnOnce() -> Result<T>) -> Result<T> {
        self.among_these(&[core], act)
    }

    /// The same on all of them.
    pub(crate) fn on_all<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        self.among_these(&self.all(), act)
    }

    fn among_these<T>(&self, cores: &[usize], act: impl FnOnce() -> Result<T>) -> Result<T> {
        go_to(cores)?;
        let done = act();
        go_to(&[self.generator])?;
        done
    }
}

fn go_to(cores: &[usize]) -> Result<()> {
    let mut own = CpuSet::new();
    cores.iter().for_each(|&core| own.set(core));
    sched_setaffinity(None, &own).with_context(|| format!("cores {cores:?} cannot be had"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_shares_its_core_only_where_there_is_one() {
        let check = |allowed: &[usize], gateway, generator, upstream| {
            let expected = Cores {
                gateway,
                generator,
                upstream,
            };
            assert_eq!(Cores::among(allowed), Some(expected), "{allowed:?}");
        };
        check(&[0], 0, 0, 0);
        check(&[0, 1], 1, 0, 0);
        check(&[2, 3, 5, 7], 3, 2, 5);
        assert_eq!(Cores::among(&[]), None);
    }
}
