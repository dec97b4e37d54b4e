//! The decimated log: a sliding window that never admits more than its limit, in 88 bytes.
//!
//! Of the last `limit` admissions, split into at most 16 groups, it keeps each group's latest time. A group is entered
//! again only a whole window after that, so the k-th admission is at least a window after the (k − limit)-th and no
//! half-open window holds more than the limit. Every step is O(1). It knows no rules and no clock; tallies and tables call it.
//!
//! A log is in two parts, so that tables can keep them apart: the head, 24 bytes that every check needs, and the stamps of
//! full groups, which are needed once per group, and not at all before a third group is entered.

use crate::layout::{GROUPS_MAX, Layout};
use smallvec::SmallVec;

mod carried;

/// When the groups between the tail and the current one were last entered: the low halves of ticks.
pub(crate) type Stamps = [u32; GROUPS_MAX as usize];

/// The latest time that a log can note, in microseconds: 142 years.
pub(crate) const TIME_US_MAX: u64 = (1 << 52) - 1;

/// Where the newest admission's time begins in its word.
const TIME_SHIFT: u32 = 12;

/// The part of a log that every check needs.
///
/// Invariants: the groups from `tail` round to `group` hold admissions, all of them full but `group`; their stamps never
/// decrease on that way; `oldest` is the stamp of `tail`, that of `group` is the newest admission's tick, and the stamps
/// between lie in the [`Stamps`] beside the head. What the other stamps say means nothing. When the newest admission was
/// counted, all of them were in the window, which is no longer than 2^30 ticks: so half a tick's bits say which tick it is.
/// With nothing in `filled` the log has admitted nothing. A limit of 0 is no log at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LogHead {
    /// The layout's [`Layout::shape`].
    shape: u64,
    /// The newest admission's time in microseconds, or, without any, the time before which there is no present; then, four bits
    /// each, `tail`, `group` and the layout's tick shift.
    newest: u64,
    oldest: u32,
    /// Admissions in `group`.
    filled: u32,
}

/// Where a counter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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

/// The ticks that a look at a log compares.
#[derive(Debug, Clone, Copy)]
struct Ticks {
    /// The present: never before the newest admission.
    now: u64,
    /// The newest admission's.
    newest: u64,
    /// The tail's.
    oldest: u64,
}

/// What one more admission makes of a log, when that takes no look at its stamps.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Prospect {
    /// The head after it.
    pub(crate) head: LogHead,
    /// Where the log then stands.
    pub(crate) standing: Standing,
}

impl LogHead {
    /// The head of an empty log that takes no time before `floor_us` for the present.
    pub(crate) fn starting_at(layout: &Layout, floor_us: u64) -> LogHead {
        let mut head = LogHead {
            shape: layout.shape(),
            newest: u64::from(layout.tick_shift()),
            oldest: 0,
            filled: 0,
        };
        head.set_newest_us(floor_us);
        head
    }

    /// Whether there is no log here.
    #[inline]
    pub(crate) fn is_vacant(&self) -> bool {
        self.shape == 0
    }

    /// Whether the log has this layout.
    #[inline]
    pub(crate) fn fits(&self, layout: &Layout) -> bool {
        self.shape == layout.shape() && self.tick_shift() == layout.tick_shift()
    }

    /// The layout of the log.
    pub(crate) fn layout(&self) -> Layout {
        Layout::of_shape(self.shape, self.tick_shift())
    }

    /// Microseconds until one more request has room; `None` when it has room now. `layout` is the log's own.
    #[inline]
    pub(crate) fn wait_us(&self, layout: &Layout, now_us: u64) -> Option<u64> {
        let ticks = self.ticks(layout, now_us);
        let is_blocked = self.filled >= layout.size(self.group())
            && layout.next(self.group()) == self.tail()
            && !self.is_over(&ticks, layout)
            && ticks.oldest + layout.window_ticks() > ticks.now;
        is_blocked.then(|| free_in_us(layout, ticks.oldest, now_us))
    }

    /// What one more admission makes of the log; `None` when there is no room, or when it takes the stamps to say.
    #[inline(always)]
    pub(crate) fn prospect(&self, layout: &Layout, now_us: u64) -> Option<Prospect> {
        let ticks = self.ticks(layout, now_us);
        let mut head = *self;
        if self.is_over(&ticks, layout) {
            head.begin_again();
        } else if self.filled >= layout.size(self.group()) || ticks.oldest + layout.window_ticks() <= ticks.now {
            return None;
        }
        let standing = head.count(layout, ticks.oldest, now_us);
        Some(Prospect { head, standing })
    }

    /// Counts an admission for which [`LogHead::wait_us`] said there is room, and tells where the log then stands.
    pub(crate) fn admit(&mut self, stamps: &mut Stamps, layout: &Layout, now_us: u64) -> Standing {
        let mut ticks = self.ticks(layout, now_us);
        if self.is_over(&ticks, layout) {
            self.begin_again();
        } else {
            self.advance(stamps, layout, &mut ticks);
            if self.filled >= layout.size(self.group()) {
                stamps[usize::from(self.group())] = low_half(ticks.newest);
                self.set_group(layout.next(self.group()));
                self.filled = 0;
            }
        }
        self.count(layout, ticks.oldest, now_us)
    }

    /// Where the log stands.
    pub(crate) fn standing(&self, stamps: &Stamps, layout: &Layout, now_us: u64) -> Standing {
        let mut ticks = self.ticks(layout, now_us);
        if self.is_over(&ticks, layout) {
            return Standing {
                remaining: layout.limit(),
                grows_in_us: 0,
            };
        }
        let mut head = *self;
        head.advance(stamps, layout, &mut ticks);
        head.standing_of_live(layout, ticks.oldest, now_us)
    }

    /// Whether no admission lies within a window of `now_us`: forgetting such a log loses nothing.
    pub(crate) fn is_idle(&self, layout: &Layout, now_us: u64) -> bool {
        self.is_over(&self.ticks(layout, now_us), layout)
    }

    /// All that is remembered, also what has left the window since the last admission.
    pub(crate) fn batches(&self, stamps: &Stamps, layout: &Layout) -> Batches {
        let mut batches = Batches::new();
        if self.filled == 0 {
            return batches;
        }
        let newest_us = self.newest_us();
        let newest = layout.tick_up(newest_us);
        let mut group = self.tail();
        loop {
            let is_last = group == self.group();
            let tick = match group {
                _ if is_last => newest,
                _ if group == self.tail() => tick_of(self.oldest, newest),
                _ => tick_of(stamps[usize::from(group)], newest),
            };
            batches.push(Batch {
                at_us: layout.begins_us(tick).min(newest_us),
                count: if is_last { self.filled } else { layout.size(group) },
            });
            if is_last {
                return batches;
            }
            group = layout.next(group);
        }
    }

    #[inline]
    fn ticks(&self, layout: &Layout, now_us: u64) -> Ticks {
        let newest = layout.tick_up(self.newest_us());
        Ticks {
            now: layout.tick_down(now_us.max(self.newest_us())),
            newest,
            oldest: tick_of(self.oldest, newest),
        }
    }

    /// Whether nothing was admitted within the window.
    #[inline]
    fn is_over(&self, ticks: &Ticks, layout: &Layout) -> bool {
        self.filled == 0 || ticks.newest + layout.window_ticks() <= ticks.now
    }

    /// A whole window without an admission: the first lap begins again, with the whole limit.
    #[inline]
    fn begin_again(&mut self) {
        self.filled = 0;
        self.set_ends(0, 0);
    }

    /// Takes the tail past the groups whose admissions have left the window. The newest has not.
    fn advance(&mut self, stamps: &Stamps, layout: &Layout, ticks: &mut Ticks) {
        while ticks.oldest + layout.window_ticks() <= ticks.now && self.tail() != self.group() {
            let tail = layout.next(self.tail());
            self.set_ends(tail, self.group());
            ticks.oldest = if tail == self.group() {
                ticks.newest
            } else {
                tick_of(stamps[usize::from(tail)], ticks.newest)
            };
            self.oldest = low_half(ticks.oldest);
        }
    }

    /// Counts an admission in the current group, which has room, beside a tail that is in the window.
    #[inline]
    fn count(&mut self, layout: &Layout, oldest: u64, now_us: u64) -> Standing {
        let newest_us = now_us.max(self.newest_us()).min(TIME_US_MAX);
        let newest = layout.tick_up(newest_us);
        self.filled += 1;
        self.newest = newest_us << TIME_SHIFT | u64::from(self.ends());
        let oldest = if self.tail() == self.group() { newest } else { oldest };
        self.oldest = low_half(oldest);
        self.standing_of_live(layout, oldest, now_us)
    }

    /// Where a log stands whose tail and newest admission are in the window.
    #[inline]
    fn standing_of_live(&self, layout: &Layout, oldest: u64, now_us: u64) -> Standing {
        Standing {
            remaining: layout.limit() - self.filled - layout.between(self.tail(), self.group()),
            grows_in_us: free_in_us(layout, oldest, now_us),
        }
    }

    /// When the newest admission was made, to the microsecond; the floor, when there is none.
    #[inline]
    pub(crate) fn newest_us(&self) -> u64 {
        self.newest >> TIME_SHIFT
    }

    fn set_newest_us(&mut self, newest_us: u64) {
        self.newest = newest_us.min(TIME_US_MAX) << TIME_SHIFT | u64::from(self.ends());
    }

    /// All that shares a word with the time.
    #[inline]
    fn ends(&self) -> u16 {
        u16::try_from(self.newest & 0xfff).unwrap_or(0)
    }

    #[inline]
    fn tick_shift(&self) -> u8 {
        u8::try_from(self.newest & 0xf).unwrap_or(0)
    }

    #[inline]
    fn group(&self) -> u8 {
        u8::try_from(self.newest >> 4 & 0xf).unwrap_or(0)
    }

    #[inline]
    fn tail(&self) -> u8 {
        u8::try_from(self.newest >> 8 & 0xf).unwrap_or(0)
    }

    #[inline]
    fn set_ends(&mut self, tail: u8, group: u8) {
        self.newest = self.newest & !0xff0 | u64::from(tail) << 8 | u64::from(group) << 4;
    }

    fn set_group(&mut self, group: u8) {
        self.set_ends(self.tail(), group);
    }
}

/// Microseconds until the admissions of this tick have left the window.
#[inline]
fn free_in_us(layout: &Layout, tick: u64, now_us: u64) -> u64 {
    layout.begins_us(tick + layout.window_ticks()).saturating_sub(now_us)
}

/// What a stamp keeps of a tick.
#[inline]
fn low_half(tick: u64) -> u32 {
    u32::try_from(tick & u64::from(u32::MAX)).unwrap_or(0)
}

/// The tick that a stamp was made of, which is at most 2^32 − 1 ticks before `newest`, and no earlier than the first.
#[inline]
fn tick_of(stamp: u32, newest: u64) -> u64 {
    newest.saturating_sub(u64::from(low_half(newest).wrapping_sub(stamp)))
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
        for batch in &kept {
            log.fill(layout, batch.at_us, batch.count);
        }
        log.head.set_newest_us(newest_us);
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

    /// Whether a group lies between the tail and the current one, so that the stamps say something.
    pub(crate) fn has_stamps(&self) -> bool {
        let head = &self.head;
        head.tail() != head.group() && head.layout().next(head.tail()) != head.group()
    }

    /// The same log, whose stamps are 0 where they mean nothing.
    pub(crate) fn without_noise(mut self) -> DecimatedLog {
        let (layout, tail, group) = (self.head.layout(), self.head.tail(), self.head.group());
        let said = std::mem::take(&mut self.stamps);
        let mut at = tail;
        while at != group {
            at = layout.next(at);
            if at != group {
                self.stamps[usize::from(at)] = said[usize::from(at)];
            }
        }
        self
    }

    fn fill(&mut self, layout: &Layout, at_us: u64, mut count: u32) {
        let head = &mut self.head;
        let stamp = low_half(layout.tick_up(at_us.min(TIME_US_MAX)));
        while count > 0 {
            let group = head.group();
            if head.filled == layout.size(group) {
                head.set_group(layout.next(group));
                head.filled = 0;
            }
            let group = head.group();
            let taken = count.min(layout.size(group) - head.filled);
            head.filled += taken;
            self.stamps[usize::from(group)] = stamp;
            if group == head.tail() {
                head.oldest = stamp;
            }
            count -= taken;
        }
    }
}

/// Those of `batches` that the window holds, the newest ones if they are more than the limit.
fn kept(layout: &Layout, batches: &Batches, now_us: u64) -> Batches {
    let newest_us = batches.last().map_or(0, |batch| batch.at_us);
    let now = layout.tick_down(now_us.max(newest_us));
    let mut room = layout.limit();
    let mut kept = Batches::new();
    for batch in batches.iter().rev() {
        let count = batch.count.min(room);
        if count == 0 || layout.tick_up(batch.at_us) + layout.window_ticks() <= now {
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
