//! How a rolling rule is laid out in a decimated log: group sizes and the length of a tick.
//!
//! Decides the rounding that keeps a window strict; holds no admissions and reads no clock.
//! Computed once per rule, compared and used by the log on every check.

/// The most groups a log has.
pub(crate) const GROUPS_MAX: u8 = 16;

/// Longer windows get a coarser tick, so that a stamp of 32 bits spans a window four times over.
const WINDOW_TICKS_MAX: u64 = 1 << 30;

/// The shift of a tick of 4 096 µs, which the longest window takes.
const TICK_SHIFT_MAX: u8 = 12;

/// The most admissions per window.
const LIMIT_MAX: u32 = i32::MAX.unsigned_abs();

/// The shortest window a rule may have, in microseconds.
const WINDOW_US_MIN: u64 = 1_000;

/// The longest window a rule may have, in microseconds.
const WINDOW_US_MAX: u64 = 30 * 24 * 3_600 * 1_000_000;

/// The shape of a log for one limit and one window.
///
/// A lap of `limit` admissions is split into `groups` groups of `group_size`, the last one smaller, so that the sizes add up
/// to the limit exactly. With at most [`GROUPS_MAX`] admissions every group is one admission and the log is exact.
///
/// Time is counted in ticks of 2^`tick_shift` µs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Limit and window in ticks, in the halves of a word.
    shape: u64,
    group_size: u32,
    /// How much smaller the last group is.
    short: u32,
    groups: u8,
    tick_shift: u8,
}

impl Layout {
    /// Lays out `limit` admissions per `window_us`. Values outside a rule's bounds are brought inside.
    pub(crate) fn new(limit: u32, window_us: u64) -> Layout {
        let limit = limit.clamp(1, LIMIT_MAX);
        let window_us = window_us.clamp(WINDOW_US_MIN, WINDOW_US_MAX);
        let mut tick_shift = 0;
        while window_us.div_ceil(1 << tick_shift) > WINDOW_TICKS_MAX {
            tick_shift += 1;
        }
        let window_ticks = u32::try_from(window_us.div_ceil(1 << tick_shift)).unwrap_or(u32::MAX);
        Layout::of_parts(limit, window_ticks, tick_shift)
    }

    /// The layout that a log noted down in these three figures.
    pub(crate) fn of_parts(limit: u32, window_ticks: u32, tick_shift: u8) -> Layout {
        Layout::in_groups_of(limit.div_ceil(u32::from(GROUPS_MAX)), limit, window_ticks, tick_shift)
    }

    /// The layout of a [`Layout::shape`] and a tick shift, which is below 16.
    pub(crate) fn of_shape(shape: u64, tick_shift: u8) -> Layout {
        let (limit, window_ticks) = halves(shape);
        Layout::of_parts(limit, window_ticks, tick_shift)
    }

    /// A layout of fewer groups than a log may have, for models small enough to walk through.
    #[cfg(test)]
    pub(crate) fn small(limit: u32, groups_max: u32, window_us: u64, tick_shift: u8) -> Layout {
        let window_ticks = u32::try_from(window_us.div_ceil(1 << tick_shift)).unwrap();
        Layout::in_groups_of(limit.div_ceil(groups_max), limit, window_ticks, tick_shift)
    }

    fn in_groups_of(group_size: u32, limit: u32, window_ticks: u32, tick_shift: u8) -> Layout {
        let groups = limit.div_ceil(group_size);
        Layout {
            shape: u64::from(limit) << 32 | u64::from(window_ticks),
            group_size,
            short: groups * group_size - limit,
            groups: u8::try_from(groups).unwrap_or(GROUPS_MAX),
            tick_shift,
        }
    }

    /// Limit and window in ticks, in one word; never 0.
    #[inline]
    pub(crate) fn shape(&self) -> u64 {
        self.shape
    }

    /// The logarithm of a tick's length in microseconds.
    #[inline]
    pub(crate) fn tick_shift(&self) -> u8 {
        self.tick_shift
    }

    /// The layout of a word that may be no [`Layout::shape`] at all, or one in which time overflows.
    pub(crate) fn of_word(word: u64, tick_shift: u8) -> Option<Layout> {
        let (limit, window_ticks) = halves(word);
        let is_sound = (1..=LIMIT_MAX).contains(&limit)
            && (1..=WINDOW_TICKS_MAX).contains(&u64::from(window_ticks))
            && tick_shift <= TICK_SHIFT_MAX;
        is_sound.then(|| Layout::of_parts(limit, window_ticks, tick_shift))
    }

    /// A layout whose window, 50 days, outlasts that of every rule and every calendar period.
    pub(crate) fn longest(limit: u32) -> Layout {
        let window_ticks = u32::try_from(WINDOW_TICKS_MAX).unwrap_or(u32::MAX);
        Layout::of_parts(limit.clamp(1, LIMIT_MAX), window_ticks, TICK_SHIFT_MAX)
    }

    /// The window's length in microseconds, rounded up to a tick.
    pub(crate) fn window_us(&self) -> u64 {
        self.window_ticks() << self.tick_shift
    }

    /// Admissions per window.
    #[inline]
    pub(crate) fn limit(&self) -> u32 {
        halves(self.shape).0
    }

    /// The number of groups in use.
    pub(crate) fn groups(&self) -> u8 {
        self.groups
    }

    /// Admissions in every group but the last.
    #[cfg(test)]
    pub(crate) fn group_size(&self) -> u32 {
        self.group_size
    }

    /// Admissions in the last group.
    #[cfg(test)]
    pub(crate) fn last_size(&self) -> u32 {
        self.group_size - self.short
    }

    /// Admissions in this group.
    #[inline]
    pub(crate) fn size(&self, group: u8) -> u32 {
        if group + 1 == self.groups {
            self.group_size - self.short
        } else {
            self.group_size
        }
    }

    /// Admissions in all groups from `tail` on that come before `group`.
    #[inline]
    pub(crate) fn between(&self, tail: u8, group: u8) -> u32 {
        if tail <= group {
            u32::from(group - tail) * self.group_size
        } else {
            u32::from(self.groups + group - tail) * self.group_size - self.short
        }
    }

    /// The group entered after this one.
    #[inline]
    pub(crate) fn next(&self, group: u8) -> u8 {
        if group + 1 == self.groups { 0 } else { group + 1 }
    }

    /// The window's length in ticks, rounded up.
    #[inline]
    pub(crate) fn window_ticks(&self) -> u64 {
        self.shape & u64::from(u32::MAX)
    }

    /// The tick of a reading of the clock: rounded down, so that nothing expires early.
    #[inline]
    pub(crate) fn tick_down(&self, us: u64) -> u64 {
        us >> self.tick_shift
    }

    /// The tick of an admission: rounded up, so that nothing expires early.
    #[inline]
    pub(crate) fn tick_up(&self, us: u64) -> u64 {
        us.saturating_add((1 << self.tick_shift) - 1) >> self.tick_shift
    }

    /// The microsecond at which a tick begins.
    #[inline]
    pub(crate) fn begins_us(&self, tick: u64) -> u64 {
        tick << self.tick_shift
    }
}

/// Limit and window of a shape.
#[inline]
fn halves(shape: u64) -> (u32, u32) {
    let half = |word: u64| u32::try_from(word & u64::from(u32::MAX)).unwrap_or(0);
    (half(shape >> 32), half(shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_add_up_to_the_limit() {
        for limit in (1..=5_000).chain([i32::MAX.unsigned_abs(), i32::MAX.unsigned_abs() - 1, 65_537, 1_000_000]) {
            let layout = Layout::new(limit, 60_000_000);
            let sum: u64 = (0..layout.groups()).map(|group| u64::from(layout.size(group))).sum();
            assert_eq!(sum, u64::from(limit), "limit {limit}");
            assert!(layout.groups() <= GROUPS_MAX, "limit {limit}");
            assert!(
                layout.last_size() >= 1 && layout.last_size() <= layout.group_size(),
                "limit {limit}"
            );
            assert_eq!(layout.group_size(), limit.div_ceil(16), "limit {limit}");
        }
    }

    #[test]
    fn up_to_sixteen_admissions_every_group_is_one() {
        for limit in 1..=16 {
            let layout = Layout::new(limit, 1_000);
            assert_eq!((u32::from(layout.groups()), layout.group_size()), (limit, 1));
        }
    }

    #[test]
    fn a_tick_is_a_microsecond_up_to_a_thousand_seconds_and_never_past_four_milliseconds() {
        let check = |window_us: u64, tick_us: u64| {
            let layout = Layout::new(1, window_us);
            assert_eq!(layout.begins_us(1), tick_us, "window {window_us}");
            assert!(layout.window_ticks() <= WINDOW_TICKS_MAX, "window {window_us}");
            assert!(
                layout.begins_us(layout.window_ticks()) >= window_us,
                "window {window_us}"
            );
            assert!(
                layout.begins_us(layout.window_ticks() - 1) < window_us,
                "window {window_us}"
            );
        };
        check(1_000, 1);
        check(60_000_000, 1);
        check(1 << 30, 1);
        check((1 << 30) + 1, 2);
        check(3_600_000_000, 4);
        check(86_400_000_000, 128);
        check(719 * 3_600_000_000, 4_096);
        check(WINDOW_US_MAX, 4_096);
    }

    #[test]
    fn every_layout_is_known_by_its_parts_and_none_outlasts_the_longest() {
        for window_us in [1_000, 60_000_000, (1 << 30) + 1, 86_400_000_000, WINDOW_US_MAX] {
            let layout = Layout::new(LIMIT_MAX, window_us);
            assert_eq!(Layout::of_word(layout.shape(), layout.tick_shift()), Some(layout));
            assert!(
                (window_us..window_us + 4_096).contains(&layout.window_us()),
                "window {window_us}"
            );
        }
        let longest = Layout::longest(7);
        assert!(longest.window_us() > crate::calendar::PERIOD_US_MAX);
        assert_eq!(Layout::of_word(longest.shape(), longest.tick_shift()), Some(longest));
        for (limit, window_ticks, tick_shift) in
            [(0, 1, 0), (1 << 31, 1, 0), (1, 0, 0), (1, (1 << 30) + 1, 0), (1, 1, 13)]
        {
            assert_eq!(Layout::of_word(limit << 32 | window_ticks, tick_shift), None);
        }
    }

    #[test]
    fn ticks_round_away_from_early_expiry() {
        let layout = Layout::new(1, WINDOW_US_MAX);
        for us in [0, 1, 4_095, 4_096, 4_097, 1 << 40] {
            assert!(layout.begins_us(layout.tick_down(us)) <= us);
            assert!(layout.begins_us(layout.tick_up(us)) >= us);
            assert!(layout.tick_up(us) - layout.tick_down(us) <= 1);
        }
    }
}
