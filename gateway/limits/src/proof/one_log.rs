//! One decimated log beside an exact one, over generated rules, arrivals and edits.
//!
//! Decides what is asked of the log and compares every answer; knows no tables and no keys. Requests of many keys are in
//! `requests.rs`.

use super::chance::Chance;
use super::exact_log::ExactLog;
use super::{Referee, sessions};
use crate::decimated_log::{DecimatedLog, TIME_US_MAX};
use crate::layout::Layout;

const DAY_US: u64 = 86_400_000_000;

const LIMIT_MAX: u64 = 1_000_000;

/// Of so many admissions one is followed by a look at where the log stands.
const STANDINGS_APART: u64 = 16;

struct Session<'a> {
    chance: Chance,
    referee: &'a mut Referee,
    exact: &'a mut ExactLog,
    log: DecimatedLog,
    lay_out: fn(u64, u64) -> Layout,
    layout: Layout,
    limit: u64,
    window_us: u64,
    tick_us: u64,
    /// The largest limit that an edit may set.
    limit_max: u64,
    /// The newest admission, or the time up to which others were forgotten.
    newest_us: u64,
    /// Whether admissions from before an edit may still be in the window: they may be remembered later than they were.
    is_edited: bool,
    now_us: u64,
}

impl Session<'_> {
    /// Requests one admission by a clock that shows `read_us`, and compares what the log says with what is promised.
    fn request(&mut self, read_us: u64) -> bool {
        let head = &self.log.head;
        match head.wait_us(&self.layout, read_us) {
            None => {
                self.admit(read_us);
                true
            }
            Some(wait_us) => {
                self.refuse(read_us, wait_us);
                false
            }
        }
    }

    #[inline]
    fn admit(&mut self, read_us: u64) {
        // An admission is never before one that was made before it, whatever the clock that was read for it said.
        let at_us = self.newest_us.max(read_us);
        let displaced_us = self.exact.newest(self.limit);
        let is_strict = displaced_us.is_none_or(|displaced_us| at_us - displaced_us >= self.window_us);
        self.referee.check(
            is_strict,
            "one too many in a window",
            format_args!("at {read_us}, {displaced_us:?} being the limit-th before"),
        );
        if self.is_edited && self.log.head.is_idle(&self.layout, read_us) {
            self.is_edited = false;
        }
        let standing = self.log.head.admit(&mut self.log.stamps, &self.layout, read_us);
        self.exact.admit(at_us);
        self.newest_us = at_us;
        if self.chance.one_in(STANDINGS_APART) {
            let again = self.log.head.standing(&self.log.stamps, &self.layout, read_us);
            self.referee.check(
                standing == again,
                "the standing after an admission is another",
                format_args!("{standing:?} {again:?}"),
            );
            self.stand(read_us);
        }
    }

    fn refuse(&mut self, read_us: u64, wait_us: u64) {
        let at_us = self.newest_us.max(read_us);
        let head = &self.log.head;
        let (on_time, early) = (
            head.wait_us(&self.layout, read_us + wait_us),
            head.wait_us(&self.layout, (read_us + wait_us).saturating_sub(1)),
        );
        self.referee.check(
            on_time.is_none(),
            "refused when a retry was promised",
            format_args!("{on_time:?} at {read_us} + {wait_us}"),
        );
        self.referee.check(
            early == Some(1),
            "promised too late",
            format_args!("{early:?} at {read_us} + {wait_us} - 1"),
        );
        let longest_us = (at_us - read_us) + self.window_us + 2 * self.tick_us;
        self.referee.check(
            wait_us <= longest_us,
            "waits for more than a window",
            format_args!("{wait_us} at {read_us}"),
        );
        if !self.is_edited {
            // The least that must be used for a refusal; two ticks may be lost to rounding.
            let least = self.limit - u64::from(self.layout.group_size()) + 1;
            let reaches_us = self.window_us + 2 * (self.tick_us - 1);
            let least_us = self.exact.newest(least);
            self.referee.check(
                least_us.is_some_and(|least_us| least_us + reaches_us > at_us),
                "refused although little is used",
                format_args!("at {read_us}: the {least}-th newest is at {least_us:?}"),
            );
        }
    }

    /// Compares where the log stands with what the exact log has in the window.
    fn stand(&mut self, read_us: u64) {
        let at_us = self.newest_us.max(read_us);
        let stand = |us: u64| self.log.head.standing(&self.log.stamps, &self.layout, us);
        let now = stand(read_us);
        let remaining = u64::from(now.remaining);
        let used = self.exact.used(at_us, self.window_us).min(self.limit);
        self.referee.check(
            remaining + used <= self.limit,
            "more is said to remain than does",
            format_args!("{now:?} with {used} used at {read_us}"),
        );
        if !self.is_edited {
            let remembered = self.exact.used(at_us, self.window_us + 2 * (self.tick_us - 1));
            self.referee.check(
                remaining + remembered + u64::from(self.layout.group_size()) > self.limit,
                "less is said to remain than may",
                format_args!("{now:?} with {remembered} remembered at {read_us}"),
            );
        }
        if now.grows_in_us > 0 {
            let (early, grown) = (stand(read_us + now.grows_in_us - 1), stand(read_us + now.grows_in_us));
            self.referee.check(
                early.remaining == now.remaining,
                "grows before promised",
                format_args!("{now:?} {early:?} at {read_us}"),
            );
            self.referee.check(
                grown.remaining > now.remaining,
                "does not grow when promised",
                format_args!("{now:?} {grown:?} at {read_us}"),
            );
        } else {
            self.referee.check(
                remaining == self.limit && used == 0,
                "does not grow although something is used",
                format_args!("{now:?} with {used} used at {read_us}"),
            );
        }
    }

    /// Gives the rule another limit and window while the log holds admissions.
    fn edit(&mut self) {
        let is_to_limit = self.chance.between(0, 2);
        let limit = if is_to_limit == 0 {
            self.limit
        } else {
            self.chance.scaled(1.max(self.limit / 8), self.limit_max)
        };
        let window_us = if is_to_limit == 1 {
            self.window_us
        } else {
            window(&mut self.chance)
        };
        let batches = self.log.head.batches(&self.log.stamps, &self.layout);
        let held: u64 = batches.iter().map(|batch| u64::from(batch.count)).sum();
        let at_us = self.newest_us.max(self.now_us);
        let used = self.exact.used(at_us, self.window_us);
        self.referee.check(
            (used..=self.exact.len()).contains(&held),
            "an edit begins with other admissions than were made",
            format_args!("{held} held, {used} used of {}", self.exact.len()),
        );
        self.referee
            .tell(format_args!("edit to {limit} per {window_us} µs at {}", self.now_us));
        self.rule(limit, window_us);
        let grows_in_us = DecimatedLog::replay_grows_in_us(&self.layout, &batches, self.now_us);
        let again = |us| DecimatedLog::replay(&self.layout, &batches, us);
        let remaining = |us| {
            let log = again(us);
            u64::from(log.head.standing(&log.stamps, &self.layout, us).remaining)
        };
        let now = remaining(self.now_us);
        let used = self.exact.used(at_us, window_us).min(used).min(limit);
        self.referee.check(
            now + used <= limit,
            "an edit gives something back",
            format_args!("{now} {used}"),
        );
        self.referee.check(
            now + held.min(limit) >= limit,
            "an edit takes what nobody used",
            format_args!("{now} remain of {limit}, {held} held"),
        );
        if grows_in_us > 0 {
            let (early, grown) = (
                remaining(self.now_us + grows_in_us - 1),
                remaining(self.now_us + grows_in_us),
            );
            self.referee.check(
                early == now && grown > now,
                "an edit promises a wrong retry",
                format_args!("{now} {early} {grown} in {grows_in_us}"),
            );
        }
        self.log = again(self.now_us);
        self.exact.keep(held.min(limit));
        self.is_edited = true;
        // What makes an edit last is the admission after it, by the same clock.
        if now > 0 {
            let is_admitted = self.request(self.now_us);
            self.referee
                .check(is_admitted, "an edit promises room", format_args!("{now}"));
        }
    }

    fn rule(&mut self, limit: u64, window_us: u64) {
        self.layout = (self.lay_out)(limit, window_us);
        self.limit = limit;
        self.window_us = window_us;
        self.tick_us = self.layout.begins_us(1);
    }

    fn requests_at_once(&mut self, count: u64) {
        for _ in 0..count {
            self.request(self.now_us);
        }
    }

    /// As many at one instant as are admitted, and two more.
    fn fill(&mut self) {
        while self.request(self.now_us) {}
        self.request(self.now_us);
    }

    /// Whether the next stretch could lead past the times that a log can note.
    fn is_late(&self) -> bool {
        self.now_us > TIME_US_MAX / 2
    }

    /// One stretch of an arrival pattern, of about `many` requests.
    fn stretch(&mut self, many: u64) {
        let window_us = self.window_us;
        let kind = self.chance.between(0, 11);
        self.referee
            .tell(format_args!("stretch {kind} of {many} at {}", self.now_us));
        match kind {
            0 => self.requests_at_once(many),
            1 => {
                // Bursts on both sides of the edge of a window that began with one.
                self.fill();
                let before_us = self.chance.between(0, 3 * self.tick_us).min(window_us);
                self.now_us += window_us - before_us;
                self.fill();
                self.now_us += before_us;
                self.fill();
            }
            2 | 3 => {
                // A trickle near the rate of the limit.
                let gap_us = window_us * self.chance.between(1, 300) / (100 * self.limit);
                let jitter_us = self.chance.scaled(0, gap_us);
                for _ in 0..many {
                    self.now_us += gap_us + self.chance.between(0, jitter_us);
                    self.request(self.now_us);
                }
            }
            4 => {
                // So slow that a few windows pass from one to the next, or not quite one.
                for _ in 0..many.min(64) {
                    self.now_us += window_us * self.chance.between(50, 130) / 100;
                    self.request(self.now_us);
                }
            }
            5 => {
                let gap_us = self.chance.scaled(0, 100);
                for _ in 0..many {
                    self.now_us += self.chance.between(0, gap_us);
                    self.request(self.now_us);
                }
            }
            6 => {
                // Whoever retries exactly when told to.
                for _ in 0..many {
                    if self.is_late() {
                        break;
                    }
                    let wait_us = self.log.head.wait_us(&self.layout, self.now_us).unwrap_or(0);
                    self.now_us += wait_us;
                    let is_admitted = self.request(self.now_us);
                    self.referee.check(
                        is_admitted,
                        "a retry on time is refused",
                        format_args!("{}", self.now_us),
                    );
                }
            }
            7 => {
                // Whoever retries a microsecond before that, and a little after.
                for _ in 0..many / 2 {
                    if self.is_late() {
                        break;
                    }
                    let wait_us = self.log.head.wait_us(&self.layout, self.now_us).unwrap_or(0);
                    self.request(self.now_us + wait_us.saturating_sub(1));
                    self.now_us += wait_us + self.chance.scaled(0, window_us);
                    self.request(self.now_us);
                }
            }
            8 => {
                // Clocks that were read long before, among others that were not.
                for _ in 0..many {
                    if self.is_late() {
                        break;
                    }
                    self.now_us += self.chance.scaled(0, window_us / 8);
                    let late_us = self.chance.scaled(0, 2 * window_us);
                    self.request(self.now_us.saturating_sub(late_us));
                    self.request(self.now_us);
                }
            }
            9 => self.now_us += self.chance.between(0, window_us * 5 / 2),
            10 => self.now_us += self.chance.between(1 << 31, 1 << 34) * self.tick_us,
            _ => {
                // Bursts of any size at any distance.
                for _ in 0..8 {
                    let burst = self.chance.scaled(1, self.limit);
                    self.requests_at_once(burst);
                    self.now_us += self.chance.scaled(0, window_us);
                }
            }
        }
        self.stand(self.now_us);
    }
}

/// A limit, so that every magnitude has about the same part of all checks: a session takes as long as its limit is large.
fn limit(chance: &mut Chance) -> u64 {
    let (low, high) = match chance.between(0, 999) {
        0..350 => (1, 16),
        350..600 => (17, 40),
        600..800 => (41, 300),
        800..950 => (301, 3_000),
        950..990 => (3_001, 30_000),
        990..998 => (30_001, 300_000),
        _ => (300_001, LIMIT_MAX),
    };
    chance.between(low, high)
}

fn window(chance: &mut Chance) -> u64 {
    let edges = [
        1_000,
        1 << 30,
        (1 << 30) + 1_000,
        1 << 31,
        3_600_000_000,
        DAY_US,
        30 * DAY_US,
    ];
    if chance.one_in(4) {
        return chance.one_of(&edges);
    }
    chance.scaled(1, 30 * DAY_US / 1_000) * 1_000
}

/// Plays one session with a log that `lay_out` makes of the limit and the window.
fn play(referee: &mut Referee, exact: &mut ExactLog, lay_out: fn(u64, u64) -> Layout) {
    let mut chance = Chance::new(referee.seed());
    let (limit, window_us) = (limit(&mut chance), window(&mut chance));
    let is_to_be_edited = chance.one_in(3);
    let limit_max = if is_to_be_edited {
        LIMIT_MAX.min(limit * 4 + 20)
    } else {
        limit
    };
    let now_us = match chance.between(0, 3) {
        0 => 0,
        _ => chance.between(0, 400 * DAY_US),
    };
    let floor_us = chance.one_of(&[0, now_us / 2, now_us]);
    let layout = lay_out(limit, window_us);
    exact.clear(limit_max);
    let mut session = Session {
        chance,
        log: DecimatedLog::starting_at(&layout, floor_us),
        exact,
        lay_out,
        layout,
        limit,
        window_us,
        tick_us: layout.begins_us(1),
        limit_max,
        newest_us: floor_us,
        is_edited: false,
        now_us,
        referee,
    };
    session
        .referee
        .tell(format_args!("{limit} per {window_us} µs at {now_us}"));
    let wanted = 3_000 + 6 * limit;
    while session.referee.checks() < wanted && !session.is_late() {
        let many = session.chance.scaled(1, 40 + session.limit);
        session.stretch(many);
        if is_to_be_edited && session.chance.one_in(4) {
            session.edit();
        }
    }
}

fn faithful(limit: u64, window_us: u64) -> Layout {
    Layout::new(u32::try_from(limit).unwrap(), window_us)
}

#[test]
fn a_log_keeps_its_promises_in_bulk() {
    let mut exact = ExactLog::default();
    sessions("one log", 98, |referee| play(referee, &mut exact, faithful));
}

#[test]
fn a_log_that_is_off_by_the_least_is_caught() {
    let check = |what: &str, lay_out: fn(u64, u64) -> Layout| {
        let is_caught = (0..200).any(|seed| {
            std::panic::catch_unwind(|| play(&mut Referee::new(seed), &mut ExactLog::default(), lay_out)).is_err()
        });
        assert!(is_caught, "{what} is not caught");
    };
    check("one too many", |limit, us| faithful(limit + 1, us));
    check("one too few", |limit, us| faithful(1.max(limit - 1), us));
    check("a window too short", |limit, us| faithful(limit, us - us / 1_000));
    check("a window too long", |limit, us| faithful(limit, us + us / 1_000));
}
