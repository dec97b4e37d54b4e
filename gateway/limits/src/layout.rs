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
/// Time is counted in ticks of 2^`tick_shift` µs, the first of which is tick 1: a stamp of 0 is thereby free to mean
/// "never".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    limit: u32,
    group_size: u32,
    window_ticks: u32,
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
        let group_size = limit.div_ceil(u32::from(GROUPS_MAX));
        Layout {
            limit,
            group_size,
            window_ticks,
            groups: u8::try_from(limit.div_ceil(group_size)).unwrap_or(GROUPS_MAX),
            tick_shift,
        }
    }

    /// A layout of fewer groups than a log may have, for models small enough to walk through.
    #[cfg(test)]
    pub(crate) fn small(limit: u32, groups_max: u32, window_us: u64, tick_shift: u8) -> Layout {
        let group_size = limit.div_ceil(groups_max);
        Layout {
            limit,
            group_size,
            window_ticks: u32::try_from(window_us.div_ceil(1 << tick_shift)).unwrap(),
            groups: u8::try_from(limit.div_ceil(group_size)).unwrap(),
            tick_shift,
        }
    }

    /// The three figures from which [`Layout::of_parts`] makes this layout again: limit, window in ticks, tick shift.
    pub(crate) fn parts(&self) -> (u32, u32, u8) {
        (self.limit, self.window_ticks, self.tick_shift)
    }

    /// Whether [`Layout::of_parts`] makes a layout of these, and one in which no time overflows.
    pub(crate) fn are_parts(limit: u32, window_ticks: u32, tick_shift: u8) -> bool {
        (1..=LIMIT_MAX).contains(&limit)
            && (1..=WINDOW_TICKS_MAX).contains(&u64::from(window_ticks))
            && tick_shift <= TICK_SHIFT_MAX
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
    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    /// The number of groups in use.
    pub(crate) fn groups(&self) -> u8 {
        self.groups
    }

    /// Admissions in every group but the last.
    pub(crate) fn group_size(&self) -> u32 {
        self.group_size
    }

    /// Admissions in the last group.
    pub(crate) fn last_size(&self) -> u32 {
        self.limit - u32::from(self.groups - 1) * self.group_size
    }

    /// Admissions in this group.
    pub(crate) fn size(&self, group: u8) -> u32 {
        if group + 1 == self.groups {
            self.last_size()
        } else {
            self.group_size
        }
    }

    /// The group entered after this one.
    pub(crate) fn next(&self, group: u8) -> u8 {
        if group + 1 == self.groups { 0 } else { group + 1 }
    }

    /// The window's length in ticks, rounded up.
    pub(crate) fn window_ticks(&self) -> u64 {
        u64::from(self.window_ticks)
    }

    /// The tick of a reading of the clock: rounded down, so that nothing expires early.
    pub(crate) fn tick_down(&self, us: u64) -> u64 {
        (us >> self.tick_shift) + 1
    }

    /// The tick of an admission: rounded up, so that nothing expires early.
    pub(crate) fn tick_up(&self, us: u64) -> u64 {
        (us.saturating_add((1 << self.tick_shift) - 1) >> self.tick_shift) + 1
    }

    /// The microsecond at which a tick begins.
    pub(crate) fn begins_us(&self, tick: u64) -> u64 {
        tick.saturating_sub(1) << self.tick_shift
    }
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
            assert_eq!(layout.begins_us(2), tick_us, "window {window_us}");
            assert!(layout.window_ticks() <= WINDOW_TICKS_MAX, "window {window_us}");
            assert!(
                layout.begins_us(layout.window_ticks() + 1) >= window_us,
                "window {window_us}"
            );
            assert!(
                layout.begins_us(layout.window_ticks()) < window_us,
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
            let (limit, window_ticks, tick_shift) = layout.parts();
            assert!(Layout::are_parts(limit, window_ticks, tick_shift), "window {window_us}");
            assert!(
                (window_us..window_us + 4_096).contains(&layout.window_us()),
                "window {window_us}"
            );
        }
        let longest = Layout::longest(7);
        assert!(longest.window_us() > crate::calendar::PERIOD_US_MAX);
        let (limit, window_ticks, tick_shift) = longest.parts();
        assert!(Layout::are_parts(limit, window_ticks, tick_shift));
        for (limit, window_ticks, tick_shift) in
            [(0, 1, 0), (1 << 31, 1, 0), (1, 0, 0), (1, (1 << 30) + 1, 0), (1, 1, 13)]
        {
            assert!(!Layout::are_parts(limit, window_ticks, tick_shift));
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
