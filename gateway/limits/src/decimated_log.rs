//! The decimated log: a sliding window that never admits more than its limit, in 80 bytes.
//!
//! Of the last `limit` admissions, split into at most 16 groups, it keeps each group's latest time. A group is entered
//! again only a whole window after that, so the k-th admission is at least a window after the (k − limit)-th and no
//! half-open window holds more than the limit. Every step is O(1). It knows no rules and no clock; a tally calls it.

use crate::layout::{GROUPS_MAX, Layout};
use smallvec::SmallVec;

/// A log of admissions under one [`Layout`], which every call must be given again.
///
/// Invariants: stamps are ticks after `base`, 0 for a group without admissions; read from the group after `group` round to
/// `group` itself, they never decrease; every group but `group` is empty or full; groups past the layout's are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DecimatedLog {
    base: u64,
    stamps: [u32; GROUPS_MAX as usize],
    /// Admissions in `group`.
    filled: u32,
    /// How far the newest stamp lies past the newest admission, because stamps are rounded up.
    slack_us: u16,
    group: u8,
}

/// Where a counter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Requests that would be admitted now, one after the other.
    pub(crate) remaining: u32,
    /// Microseconds until `remaining` grows; 0 when nothing is used.
    pub(crate) grows_in_us: u64,
}

/// Admissions that are remembered as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Monotonic microseconds, not before the latest of them.
    pub(crate) at_us: u64,
    /// How many.
    pub(crate) count: u32,
}

/// What a counter remembers, oldest first.
pub(crate) type Batches = SmallVec<[Batch; GROUPS_MAX as usize]>;

impl DecimatedLog {
    /// An empty log that takes no time before `floor_us` for the present.
    pub(crate) fn starting_at(layout: &Layout, floor_us: u64) -> DecimatedLog {
        let mut log = DecimatedLog {
            base: layout.tick_up(floor_us),
            stamps: [0; _],
            filled: 0,
            slack_us: 0,
            group: 0,
        };
        log.set_newest_us(layout, floor_us);
        log
    }

    /// Microseconds until one more request has room; `None` when it has room now.
    pub(crate) fn wait_us(&self, layout: &Layout, now_us: u64) -> Option<u64> {
        let dead = self.dead_until(layout, now_us);
        if self.newest() <= dead || self.filled < layout.size(self.group) {
            return None;
        }
        let oldest = self.stamp(layout.next(self.group));
        (oldest > dead).then(|| self.free_in_us(layout, oldest, now_us))
    }

    /// Counts an admission for which [`DecimatedLog::wait_us`] said there is room, and tells where the log then stands.
    pub(crate) fn admit(&mut self, layout: &Layout, now_us: u64) -> Standing {
        let effective_us = now_us.max(self.newest_us(layout));
        let dead = self.dead_until(layout, now_us);
        let tick = layout.tick_up(effective_us);
        // Counted before the new stamp is written: a wide read straight after a narrow write would wait for it.
        let mut free = self.free_groups(layout, dead);
        if self.newest() <= dead {
            // A whole window without an admission: the first lap begins again, with the whole limit.
            *self = DecimatedLog {
                base: tick - 1,
                stamps: [0; _],
                filled: 0,
                slack_us: 0,
                group: 0,
            };
            free = layout.groups() - 1;
        } else if self.filled == layout.size(self.group) {
            self.group = layout.next(self.group);
            self.filled = 0;
            free -= 1;
        }
        self.filled += 1;
        let (stamp, dead) = match u32::try_from(tick - self.base) {
            Ok(stamp) => (stamp, dead),
            Err(_) => (self.rebase(dead, tick), 0),
        };
        self.stamps[usize::from(self.group)] = stamp;
        self.set_newest_us(layout, effective_us);
        self.standing_with(layout, free, dead, now_us)
    }

    /// Where the log stands.
    pub(crate) fn standing(&self, layout: &Layout, now_us: u64) -> Standing {
        let dead = self.dead_until(layout, now_us);
        if self.newest() <= dead {
            return Standing {
                remaining: layout.limit(),
                grows_in_us: 0,
            };
        }
        self.standing_with(layout, self.free_groups(layout, dead), dead, now_us)
    }

    /// Where a log stands that is not idle and has `free` groups, those with stamps up to `dead`.
    fn standing_with(&self, layout: &Layout, free: u8, dead: u32, now_us: u64) -> Standing {
        let mut remaining = layout.size(self.group) - self.filled + u32::from(free) * layout.group_size();
        if self.stamp(layout.groups() - 1) <= dead {
            remaining -= layout.group_size() - layout.last_size();
        }
        let mut oldest = self.group + 1 + free;
        if oldest >= layout.groups() {
            oldest -= layout.groups();
        }
        Standing {
            remaining,
            grows_in_us: self.free_in_us(layout, self.stamp(oldest), now_us),
        }
    }

    /// The number of groups that can be entered now.
    fn free_groups(&self, layout: &Layout, dead: u32) -> u8 {
        // Groups past the layout's are 0 and would count, too. The sum is as wide as the stamps, for vector units.
        let free = self.stamps.iter().map(|&stamp| u32::from(stamp <= dead)).sum::<u32>();
        u8::try_from(free).unwrap_or(GROUPS_MAX) + layout.groups() - GROUPS_MAX
    }

    /// Whether no admission lies within a window of `now_us`: forgetting such a log loses nothing.
    pub(crate) fn is_idle(&self, layout: &Layout, now_us: u64) -> bool {
        self.newest() <= self.dead_until(layout, now_us)
    }

    /// All that is remembered, also what has left the window but was not overwritten yet.
    pub(crate) fn batches(&self, layout: &Layout) -> Batches {
        let newest_us = self.newest_us(layout);
        let mut batches = Batches::new();
        let mut group = self.group;
        for _ in 0..layout.groups() {
            group = layout.next(group);
            let stamp = self.stamp(group);
            if stamp > 0 {
                let count = if group == self.group {
                    self.filled
                } else {
                    layout.size(group)
                };
                let at_us = layout.begins_us(self.base + u64::from(stamp)).min(newest_us);
                batches.push(Batch { at_us, count });
            }
        }
        batches
    }

    /// A log under `layout` that has admitted those of `batches` which its window still holds, the newest ones if they
    /// are more than its limit.
    ///
    /// Batches that share a group take the time of the latest of them: the replay may refuse more than an exact log
    /// would, never less.
    pub(crate) fn replay(layout: &Layout, batches: &Batches, now_us: u64) -> DecimatedLog {
        let newest_us = batches.last().map_or(0, |batch| batch.at_us);
        let mut log = DecimatedLog::starting_at(layout, newest_us);
        let expired = layout
            .tick_down(now_us.max(newest_us))
            .saturating_sub(layout.window_ticks());
        let live = || batches.iter().filter(|batch| layout.tick_up(batch.at_us) > expired);
        let Some(oldest) = live().next() else { return log };
        log.base = layout.tick_up(oldest.at_us) - 1;
        let used: u64 = live().map(|batch| u64::from(batch.count)).sum();
        let mut surplus = used.saturating_sub(u64::from(layout.limit()));
        for batch in live() {
            let dropped = u32::try_from(surplus).unwrap_or(u32::MAX).min(batch.count);
            surplus -= u64::from(dropped);
            log.fill(layout, batch.at_us, batch.count - dropped);
        }
        log.set_newest_us(layout, newest_us);
        log
    }

    fn fill(&mut self, layout: &Layout, at_us: u64, mut count: u32) {
        let stamp = u32::try_from(layout.tick_up(at_us) - self.base).unwrap_or(u32::MAX);
        while count > 0 {
            if self.filled == layout.size(self.group) {
                self.group = layout.next(self.group);
                self.filled = 0;
            }
            let taken = count.min(layout.size(self.group) - self.filled);
            self.filled += taken;
            self.stamps[usize::from(self.group)] = stamp;
            count -= taken;
        }
    }

    /// The latest stamp whose admissions have left the window. Time never runs back past the newest admission.
    fn dead_until(&self, layout: &Layout, now_us: u64) -> u32 {
        let now = layout.tick_down(now_us.max(self.newest_us(layout)));
        u32::try_from(now.saturating_sub(self.base).saturating_sub(layout.window_ticks())).unwrap_or(u32::MAX)
    }

    /// Microseconds until the admissions with this stamp have left the window.
    fn free_in_us(&self, layout: &Layout, stamp: u32, now_us: u64) -> u64 {
        layout
            .begins_us(self.base + u64::from(stamp) + layout.window_ticks())
            .saturating_sub(now_us)
    }

    /// Moves `base` up to the dead stamps, which become 0, and answers the stamp of `tick`.
    ///
    /// Live stamps are less than a window old, which leaves three quarters of 32 bits free. Only an admission does this:
    /// it pins the present, so that nobody later asks about a time at which a dead stamp was alive.
    #[cold]
    fn rebase(&mut self, dead: u32, tick: u64) -> u32 {
        self.base += u64::from(dead);
        for stamp in &mut self.stamps {
            *stamp = stamp.saturating_sub(dead);
        }
        u32::try_from(tick - self.base).unwrap_or(u32::MAX)
    }

    fn stamp(&self, group: u8) -> u32 {
        self.stamps[usize::from(group)]
    }

    fn newest(&self) -> u32 {
        self.stamp(self.group)
    }

    /// When the newest admission was made, to the microsecond; the floor, when there is none.
    fn newest_us(&self, layout: &Layout) -> u64 {
        layout.begins_us(self.base + u64::from(self.newest())) - u64::from(self.slack_us)
    }

    fn set_newest_us(&mut self, layout: &Layout, newest_us: u64) {
        let stamped_us = layout.begins_us(self.base + u64::from(self.newest()));
        self.slack_us = u16::try_from(stamped_us.saturating_sub(newest_us)).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests;
