//! What processes have used, and what else ran on their cores, as the kernel counts it.
//!
//! Decides what counts as foreign; measures no time itself. The rotation reads it before and after each slice.

use anyhow::{Context, Result};
use std::collections::BTreeSet;

/// Nanoseconds of a tick of `/proc/stat`: the kernel tells user space a hundred a second, whatever it uses itself.
const TICK_NS: u64 = 10_000_000;

/// Processor time of a few processes, all their threads together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Exact, but not split.
    pub(crate) total_ns: u64,
    /// Ticks in user and system mode: coarse, and scaled by the kernel so that they add up.
    pub(crate) user_ticks: u64,
    pub(crate) system_ticks: u64,
}

impl Usage {
    /// Of these processes up to now. One that has ended counts nothing.
    pub(crate) fn of(processes: &[u32]) -> Usage {
        let mut usage = Usage::default();
        for process in processes {
            let threads = std::fs::read_dir(format!("/proc/{process}/task"))
                .into_iter()
                .flatten()
                .flatten();
            for thread in threads {
                let schedstat = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
                usage.total_ns += on_processor_ns(&schedstat).unwrap_or(0);
            }
            let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            let stat = Stat::parse(&stat).unwrap_or_default();
            usage.user_ticks += stat.user_ticks;
            usage.system_ticks += stat.system_ticks;
        }
        usage
    }

    /// What has been used since.
    pub(crate) fn since(self, before: Usage) -> Usage {
        Usage {
            total_ns: self.total_ns.saturating_sub(before.total_ns),
            user_ticks: self.user_ticks.saturating_sub(before.user_ticks),
            system_ticks: self.system_ticks.saturating_sub(before.system_ticks),
        }
    }

    /// The share of it in user mode.
    pub(crate) fn user_share(self) -> f64 {
        let ticks = self.user_ticks + self.system_ticks;
        if ticks == 0 {
            f64::NAN
        } else {
            self.user_ticks as f64 / ticks as f64
        }
    }
}

/// A process and all that it started, as they are now.
pub(crate) fn family(ancestor: u32) -> Vec<u32> {
    let processes: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let process = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            Some((process, Stat::parse(&stat)?.parent))
        })
        .collect();
    descendants(ancestor, &processes)
}

fn descendants(ancestor: u32, processes: &[(u32, u32)]) -> Vec<u32> {
    let mut family = BTreeSet::from([ancestor]);
    loop {
        let before = family.len();
        let children = processes.iter().filter(|(_, parent)| family.contains(parent));
        let children: Vec<u32> = children.map(|(process, _)| *process).collect();
        family.extend(children);
        if family.len() == before {
            return family.into_iter().collect();
        }
    }
}

/// Memory of a few processes in bytes; a page that several share counts in equal parts.
pub(crate) fn memory_bytes(processes: &[u32]) -> Result<u64> {
    let mut kib = 0;
    for process in processes {
        let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
        kib += proportional_kib(&rollup).context("the kernel tells no memory of a process")?;
    }
    Ok(kib * 1024)
}

fn proportional_kib(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Time that a thread was on a processor.
fn on_processor_ns(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Stat {
    parent: u32,
    user_ticks: u64,
    system_ticks: u64,
}

impl Stat {
    fn parse(stat: &str) -> Option<Stat> {
        // The name stands in parentheses and may hold anything, other parentheses too.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Stat {
            parent: fields.get(1)?.parse().ok()?,
            user_ticks: fields.get(11)?.parse().ok()?,
            system_ticks: fields.get(12)?.parse().ok()?,
        })
    }
}

/// What ran on some cores, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Busy {
    /// By anybody.
    pub(crate) ran_ns: u64,
    /// The host gave to other machines.
    pub(crate) stolen_ns: u64,
}

impl Busy {
    /// Of these cores up to now.
    pub(crate) fn of(cores: &[usize]) -> Result<Busy> {
        Busy::parse(&std::fs::read_to_string("/proc/stat")?, cores).context("/proc/stat is not as it should be")
    }

    fn parse(stat: &str, cores: &[usize]) -> Option<Busy> {
        let mut busy = Busy::default();
        for core in cores.iter().collect::<BTreeSet<_>>() {
            let line = stat
                .lines()
                .find_map(|line| line.strip_prefix(&format!("cpu{core} ")))?;
            let ticks: Vec<u64> = line.split_whitespace().map_while(|ticks| ticks.parse().ok()).collect();
            // user, nice, system, idle, iowait, irq, softirq, steal
            let [user, nice, system, _, _, irq, softirq, steal, ..] = ticks[..] else {
                return None;
            };
            busy.ran_ns += (user + nice + system + irq + softirq) * TICK_NS;
            busy.stolen_ns += steal * TICK_NS;
        }
        Some(busy)
    }

    /// What has run since.
    pub(crate) fn since(self, before: Busy) -> Busy {
        Busy {
            ran_ns: self.ran_ns.saturating_sub(before.ran_ns),
            stolen_ns: self.stolen_ns.saturating_sub(before.stolen_ns),
        }
    }

    /// The share of `elapsed_us` on so many cores that went to others than ourselves, who used `own_ns`.
    pub(crate) fn foreign_share(self, own_ns: u64, elapsed_us: u64, cores: usize) -> f64 {
        let foreign_ns = self.ran_ns.saturating_sub(own_ns) + self.stolen_ns;
        foreign_ns as f64 / (elapsed_us as f64 * 1e3 * cores as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_be_called_anything() {
        let stat = "42 (a) b (c)) S 7 1 1 0 -1 4194304 1 2 3 4 150 250 0 0 20 0 1 0 99 100 200";
        let expected = Stat {
            parent: 7,
            user_ticks: 150,
            system_ticks: 250,
        };
        assert_eq!(Stat::parse(stat), Some(expected));
        assert_eq!(Stat::parse("42 (cut off"), None);
    }

    #[test]
    fn the_kernels_counts_are_read() {
        assert_eq!(on_processor_ns("2569979760 37860761 106\n"), Some(2_569_979_760));
        assert_eq!(on_processor_ns(""), None);
        assert_eq!(
            proportional_kib("00400000-7ff ---p 00000000 [rollup]\nRss:  912 kB\nPss:  456 kB\n"),
            Some(456)
        );
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 2 4 100 100 8 16 32 0 0\ncpu1 1 0 0 0 0 0 0 0 0 0\ncpu10 7 7 7 7 7 7 7 7 0 0\n";
        let check = |cores: &[usize], ran: u64, stolen: u64| {
            let expected = Busy {
                ran_ns: ran * TICK_NS,
                stolen_ns: stolen * TICK_NS,
            };
            assert_eq!(Busy::parse(stat, cores), Some(expected), "{cores:?}");
        };
        check(&[0], 31, 32);
        check(&[0, 1, 0], 32, 32);
        assert_eq!(Busy::parse(stat, &[2]), None);
    }

    #[test]
    fn what_is_not_ours_is_foreign() {
        let busy = Busy {
            ran_ns: 1_500_000_000,
            stolen_ns: 100_000_000,
        };
        assert!((busy.foreign_share(1_400_000_000, 1_000_000, 2) - 0.1).abs() < 1e-9);
        assert!((busy.foreign_share(1_600_000_000, 1_000_000, 2) - 0.05).abs() < 1e-9);
    }

    #[test]
    fn a_family_is_whoever_descends() {
        assert_eq!(
            descendants(2, &[(1, 0), (2, 1), (3, 2), (4, 3), (5, 1), (6, 4)]),
            [2, 3, 4, 6]
        );
    }

    #[test]
    fn this_process_has_used_something() {
        let own = [std::process::id()];
        assert!(Usage::of(&own).total_ns > 0);
        assert!(memory_bytes(&own).expect("it runs") > 100_000);
    }
}
