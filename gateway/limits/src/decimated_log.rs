//! The decimated log: a sliding window that never admits more than its limit, in 96 bytes.
//!
//! Of the last `limit` admissions, split into at most 16 groups, it keeps each group's latest time. A group is entered
//! again only a whole window after that, so the k-th admission is at least a window after the (k − limit)-th and no
//! half-open window holds more than the limit. Every step is O(1). It knows no rules and no clock; tallies and tables call it.
//!
//! A log is in two parts, so that tables can keep them apart: the head, 32 bytes that every check needs, and the stamps of
//! full groups, which are needed once per group. Most checks thereby touch one line of the processor's cache.

use crate::layout::{GROUPS_MAX, Layout};
use smallvec::SmallVec;

mod carried;

/// When the groups between the tail and the current one were last entered, in ticks after the head's base.
pub(crate) type Stamps = [u32; GROUPS_MAX as usize];

/// The part of a log that every check needs.
///
/// Invariants: the groups from `tail` round to `group` hold admissions, all of them full but `group`; their stamps never
/// decrease on that way; `oldest` is the stamp of `tail`, `newest` that of `group`, and the stamps between lie in the
/// [`Stamps`] beside the head. What the other stamps say means nothing. A limit of 0 is no log at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LogHead {
    base: u64,
    newest: u32,
    oldest: u32,
    /// Admissions in `group`.
    filled: u32,
    limit: u32,
    window_ticks: u32,
    /// How far the newest stamp lies past the newest admission, because stamps are rounded up.
    slack_us: u16,
    tick_shift: u8,
    /// `group` in the low half, `tail` in the high half.
    ends: u8,
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

impl LogHead {
    /// The head of an empty log that takes no time before `floor_us` for the present.
    pub(crate) fn starting_at(layout: &Layout, floor_us: u64) -> LogHead {
        let (limit, window_ticks, tick_shift) = layout.parts();
        let mut head = LogHead {
            base: layout.tick_up(floor_us),
            limit,
            window_ticks,
            tick_shift,
            ..LogHead::default()
        };
        head.set_newest_us(layout, floor_us);
        head
    }

    /// Whether there is no log here.
    #[inline]
    pub(crate) fn is_vacant(&self) -> bool {
        self.limit == 0
    }

    /// Whether the log has this layout.
    #[inline]
    pub(crate) fn fits(&self, layout: &Layout) -> bool {
        (self.limit, self.window_ticks, self.tick_shift) == layout.parts()
    }

    /// The layout of the log.
    pub(crate) fn layout(&self) -> Layout {
        Layout::of_parts(self.limit, self.window_ticks, self.tick_shift)
    }

    /// Microseconds until one more request has room; `None` when it has room now. `layout` is the log's own.
    #[inline]
    pub(crate) fn wait_us(&self, layout: &Layout, now_us: u64) -> Option<u64> {
        let dead = self.dead_until(layout, now_us);
        let is_blocked = self.newest > dead
            && self.filled >= layout.size(self.group())
            && layout.next(self.group()) == self.tail()
            && self.oldest > dead;
        is_blocked.then(|| self.free_in_us(layout, self.oldest, now_us))
    }

    /// Counts an admission for which [`LogHead::wait_us`] said there is room, and tells where the log then stands.
    #[inline]
    pub(crate) fn admit(&mut self, stamps: &mut Stamps, layout: &Layout, now_us: u64) -> Standing {
        let effective_us = now_us.max(self.newest_us(layout));
        let dead = self.dead_until(layout, now_us);
        let tick = layout.tick_up(effective_us);
        if self.newest <= dead {
            // A whole window without an admission: the first lap begins again, with the whole limit.
            self.base = tick - 1;
            self.filled = 0;
            self.ends = 0;
        } else {
            if self.oldest <= dead {
                self.advance(stamps, layout, dead);
            }
            if self.filled >= layout.size(self.group()) {
                stamps[usize::from(self.group())] = self.newest;
                self.set_group(layout.next(self.group()));
                self.filled = 0;
            }
        }
        self.filled += 1;
        self.newest = match u32::try_from(tick - self.base) {
            Ok(stamp) => stamp,
            Err(_) => self.rebase(stamps, dead, tick),
        };
        if self.tail() == self.group() {
            self.oldest = self.newest;
        }
        self.set_newest_us(layout, effective_us);
        self.standing_of_live(layout, now_us)
    }

    /// Where the log stands.
    pub(crate) fn standing(&self, stamps: &Stamps, layout: &Layout, now_us: u64) -> Standing {
        let dead = self.dead_until(layout, now_us);
        if self.newest <= dead {
            return Standing {
                remaining: layout.limit(),
                grows_in_us: 0,
            };
        }
        let mut head = *self;
        head.advance(stamps, layout, dead);
        head.standing_of_live(layout, now_us)
    }

    /// Whether no admission lies within a window of `now_us`: forgetting such a log loses nothing.
    pub(crate) fn is_idle(&self, layout: &Layout, now_us: u64) -> bool {
        self.newest <= self.dead_until(layout, now_us)
    }

    /// All that is remembered, also what has left the window since the last admission.
    pub(crate) fn batches(&self, stamps: &Stamps, layout: &Layout) -> Batches {
        let mut batches = Batches::new();
        if self.filled == 0 {
            return batches;
        }
        let newest_us = self.newest_us(layout);
        let mut group = self.tail();
        loop {
            let is_last = group == self.group();
            let stamp = if is_last {
                self.newest
            } else {
                stamps[usize::from(group)]
            };
            batches.push(Batch {
                at_us: layout.begins_us(self.base + u64::from(stamp)).min(newest_us),
                count: if is_last { self.filled } else { layout.size(group) },
            });
            if is_last {
                return batches;
            }
            group = layout.next(group);
        }
    }

    /// Takes the tail past the groups whose admissions have left the window. The newest has not.
    fn advance(&mut self, stamps: &Stamps, layout: &Layout, dead: u32) {
        while self.oldest <= dead && self.tail() != self.group() {
            self.set_tail(layout.next(self.tail()));
            self.oldest = if self.tail() == self.group() {
                self.newest
            } else {
                stamps[usize::from(self.tail())]
            };
        }
    }

    /// Where a log stands whose tail and newest admission are in the window.
    #[inline]
    fn standing_of_live(&self, layout: &Layout, now_us: u64) -> Standing {
        let (group, tail) = (self.group(), self.tail());
        let mut remaining = layout.size(group) - self.filled;
        let free = if tail > group {
            tail - group - 1
        } else {
            layout.groups() + tail - group - 1
        };
        remaining += u32::from(free) * layout.group_size();
        if tail <= group && group + 1 < layout.groups() {
            // The last group, which is smaller, is among the free ones.
            remaining -= layout.group_size() - layout.last_size();
        }
        Standing {
            remaining,
            grows_in_us: self.free_in_us(layout, self.oldest, now_us),
        }
    }

    /// The latest stamp whose admissions have left the window. Time never runs back past the newest admission.
    #[inline]
    fn dead_until(&self, layout: &Layout, now_us: u64) -> u32 {
        let now = layout.tick_down(now_us.max(self.newest_us(layout)));
        u32::try_from(now.saturating_sub(self.base).saturating_sub(layout.window_ticks())).unwrap_or(u32::MAX)
    }

    /// Microseconds until the admissions with this stamp have left the window.
    #[inline]
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
    fn rebase(&mut self, stamps: &mut Stamps, dead: u32, tick: u64) -> u32 {
        self.base += u64::from(dead);
        self.oldest = self.oldest.saturating_sub(dead);
        for stamp in stamps {
            *stamp = stamp.saturating_sub(dead);
        }
        u32::try_from(tick - self.base).unwrap_or(u32::MAX)
    }

    /// When the newest admission was made, to the microsecond; the floor, when there is none.
    #[inline]
    fn newest_us(&self, layout: &Layout) -> u64 {
        layout.begins_us(self.base + u64::from(self.newest)) - u64::from(self.slack_us)
    }

    #[inline]
    fn set_newest_us(&mut self, layout: &Layout, newest_us: u64) {
        let stamped_us = layout.begins_us(self.base + u64::from(self.newest));
        self.slack_us = u16::try_from(stamped_us.saturating_sub(newest_us)).unwrap_or(0);
    }

    #[inline]
    fn group(&self) -> u8 {
        self.ends & 0x0f
    }

    #[inline]
    fn tail(&self) -> u8 {
        self.ends >> 4
    }

    #[inline]
    fn set_group(&mut self, group: u8) {
        self.ends = self.ends & 0xf0 | group;
    }

    #[inline]
    fn set_tail(&mut self, tail: u8) {
        self.ends = self.ends & 0x0f | tail << 4;
    }
}

/// A whole log, as it is handed about; tables keep its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DecimatedLog {
    /// What every check needs.
    pub(crate) head: LogHead,
    /// The rest.
    pub(crate) stamps: Stamps,
}

impl DecimatedLog {
    /// An empty log that takes no time before `floor_us` for the present.
    pub(crate) fn starting_at(layout: &Layout, floor_us: u64) -> DecimatedLog {
        DecimatedLog {
            head: LogHead::starting_at(layout, floor_us),
            stamps: [0; _],
        }
    }

    /// A log under `layout` that has admitted those of `batches` which its window still holds, the newest ones if they
    /// are more than its limit.
    ///
    /// Batches that share a group take the time of the latest of them: the replay may refuse more than an exact log
    /// would, never less.
    pub(crate) fn replay(layout: &Layout, batches: &Batches, now_us: u64) -> DecimatedLog {
        let newest_us = batches.last().map_or(0, |batch| batch.at_us);
        let mut log = DecimatedLog::starting_at(layout, newest_us);
        let kept = kept(layout, batches, now_us);
        let Some(oldest) = kept.first() else { return log };
        log.head.base = layout.tick_up(oldest.at_us) - 1;
        for batch in &kept {
            log.fill(layout, batch.at_us, batch.count);
        }
        log.head.set_newest_us(layout, newest_us);
        log
    }

    /// Microseconds until a replay of `batches` keeps fewer of them than now; 0 when it keeps none.
    ///
    /// This comes before the first group of today's replay leaves, if that holds later batches, too.
    pub(crate) fn replay_grows_in_us(layout: &Layout, batches: &Batches, now_us: u64) -> u64 {
        kept(layout, batches, now_us).first().map_or(0, |oldest| {
            let free = layout.tick_up(oldest.at_us) + layout.window_ticks();
            layout.begins_us(free).saturating_sub(now_us)
        })
    }

    fn fill(&mut self, layout: &Layout, at_us: u64, mut count: u32) {
        let head = &mut self.head;
        let stamp = u32::try_from(layout.tick_up(at_us) - head.base).unwrap_or(u32::MAX);
        while count > 0 {
            if head.filled == layout.size(head.group()) {
                self.stamps[usize::from(head.group())] = head.newest;
                head.set_group(layout.next(head.group()));
                head.filled = 0;
            }
            let taken = count.min(layout.size(head.group()) - head.filled);
            head.filled += taken;
            head.newest = stamp;
            if head.group() == head.tail() {
                head.oldest = stamp;
            }
            count -= taken;
        }
    }
}

/// Those of `batches` that the window holds, the newest ones if they are more than the limit.
fn kept(layout: &Layout, batches: &Batches, now_us: u64) -> Batches {
    let newest_us = batches.last().map_or(0, |batch| batch.at_us);
    let expired = layout
        .tick_down(now_us.max(newest_us))
        .saturating_sub(layout.window_ticks());
    let mut room = layout.limit();
    let mut kept = Batches::new();
    for batch in batches.iter().rev() {
        let count = batch.count.min(room);
        if count == 0 || layout.tick_up(batch.at_us) <= expired {
            break;
        }
        room -= count;
        kept.push(Batch { count, ..*batch });
    }
    kept.reverse();
    kept
}

#[cfg(test)]
impl DecimatedLog {
    fn wait_us(&self, layout: &Layout, now_us: u64) -> Option<u64> {
        self.head.wait_us(layout, now_us)
    }

    fn admit(&mut self, layout: &Layout, now_us: u64) -> Standing {
        self.head.admit(&mut self.stamps, layout, now_us)
    }

    fn standing(&self, layout: &Layout, now_us: u64) -> Standing {
        self.head.standing(&self.stamps, layout, now_us)
    }

    fn is_idle(&self, layout: &Layout, now_us: u64) -> bool {
        self.head.is_idle(layout, now_us)
    }

    fn batches(&self, layout: &Layout) -> Batches {
        self.head.batches(&self.stamps, layout)
    }
}

#[cfg(test)]
mod small_model;

#[cfg(test)]
mod tests;
