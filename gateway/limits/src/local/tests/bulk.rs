//! The limiter in bulk: several keys, all modes, edits, sweeps and full tables, beside exact logs.

use super::*;
use crate::layout::Layout;
use crate::proof::chance::Chance;
use crate::proof::exact_log::ExactLog;
use crate::proof::{Referee, sessions};
use portcullis_verify::{CompiledRule, Window};
use std::collections::HashMap;

/// Keys that share an app, and one that does not.
const KEYS: [(i64, i64); 3] = [(1, 1), (2, 1), (3, 2)];

/// Addresses, and which of them are one client.
const ADDRESSES: [(&str, u64); 4] = [
    ("192.0.2.1", 1),
    ("192.0.2.2", 2),
    ("2001:db8::1", 3),
    ("2001:db8::2", 3),
];

const LIMIT_MAX: u64 = 2_000;

/// What one counter has admitted.
#[derive(Default)]
struct Counter {
    /// Each at the earliest time that it may be remembered by: its own reading, or that of one before it.
    exact: ExactLog,
    newest_us: u64,
    /// What it was last charged under.
    window: Option<Window>,
}

struct Session<'a> {
    chance: Chance,
    referee: &'a mut Referee,
    limiter: LocalLimiter,
    rules: Vec<Rule>,
    keys: Vec<StoredKey>,
    counters: HashMap<(usize, i64, u64), Counter>,
    /// Whether every subject has a counter of its own.
    is_roomy: bool,
    /// Whether no clock was late.
    is_on_time: bool,
    is_edited: bool,
    is_to_be_edited: bool,
    /// How late a clock may be. Where rules are edited it is less than the shortest window: else a rolling counter that was
    /// forgotten may come back as a calendar count of the period before.
    late_us_max: u64,
    /// The latest reading of the clock, after [`start`].
    now_us: u64,
}

impl Session<'_> {
    fn compile(&mut self) {
        let shortest_us = |key: &StoredKey| key.rules.rules.iter().map(|rule| window_us(rule.window)).min();
        let holder = |(key, app)| Holder {
            key,
            lineage: key,
            app,
            ..ANYONE
        };
        self.keys = KEYS.iter().map(|&key| stored(holder(key), &self.rules)).collect();
        if self.is_to_be_edited {
            self.late_us_max = self.late_us_max.min(shortest_us(&self.keys[0]).unwrap() - 1);
        }
    }

    /// One request of anybody, by a clock that may be late, and everything that is promised of the answer.
    fn request(&mut self) {
        let key = usize::try_from(self.chance.between(0, 2)).unwrap();
        let (address, client) = self.chance.one_of(&ADDRESSES);
        let late_us = if self.is_on_time || !self.chance.one_in(8) {
            0
        } else {
            self.chance.scaled(0, self.now_us.min(self.late_us_max))
        };
        let read_us = self.now_us - late_us;
        let request = from(address, later(read_us));
        let stored = &self.keys[key];
        // One in a few looks at all counters of the table, too. Where a full table drops a counter that an edit left idle, a
        // charge may find more room than a look did.
        let may_be_dropped = self.is_edited && !self.is_roomy;
        let charge = if self.chance.one_in(32) && !may_be_dropped {
            charge(&self.limiter, stored, &request)
        } else {
            self.limiter.charge(stored, &request)
        };
        let peek = |at_us: u64| self.limiter.peek(stored, &from(address, later(at_us))).outcome;
        match charge.outcome {
            ChargeOutcome::Admitted => {
                for state in &charge.states {
                    self.admitted(key, client, state, read_us);
                }
                self.referee.check(
                    charge.states.len() == self.rules.len(),
                    "a rule was left out",
                    format_args!("{charge:?}"),
                );
            }
            ChargeOutcome::Refused {
                blocked_rule,
                retry_after_us,
            } => {
                let (early, on_time) = (peek(read_us + retry_after_us - 1), peek(read_us + retry_after_us));
                self.referee.check(
                    on_time == ChargeOutcome::Admitted,
                    "refused when a retry was promised",
                    format_args!("{on_time:?} at {read_us} + {retry_after_us}"),
                );
                self.referee.check(
                    matches!(early, ChargeOutcome::Refused { retry_after_us: 1, .. }),
                    "promised too late",
                    format_args!("{early:?} at {read_us} + {retry_after_us} - 1"),
                );
                if self.is_roomy && self.is_on_time && !self.is_edited {
                    self.refused(key, client, blocked_rule);
                }
            }
        }
    }

    fn rule(&self, key: usize, rule: usize) -> &CompiledRule {
        &self.keys[key].rules.rules[rule]
    }

    fn subject(&self, key: usize, client: u64, rule: usize) -> (usize, i64, u64) {
        let (lineage, app) = KEYS[key];
        match self.rule(key, rule).mode {
            Mode::PerKey => (rule, lineage, 0),
            Mode::PerApp => (rule, app, 0),
            Mode::PerIp => (rule, 0, client),
            Mode::PerKeyAndIp => (rule, lineage, client),
            Mode::PerAppAndIp => (rule, app, client),
        }
    }

    /// Compares an admission with what the exact log of the counter has in the window that ends with it.
    fn admitted(&mut self, key: usize, client: u64, state: &RuleState, read_us: u64) {
        let (window, limit) = (self.rule(key, state.rule).window, u64::from(state.limit));
        let (subject, now_us) = (self.subject(key, client, state.rule), self.now_us);
        let counter = self.counters.entry(subject).or_insert_with(|| {
            let mut counter = Counter::default();
            counter.exact.clear(LIMIT_MAX);
            counter
        });
        let old = counter.window.replace(window);
        if old != Some(window) {
            let kept = match (old, window) {
                // What both windows hold is kept by an edit, as far as the limit goes.
                (Some(Window::Rolling { us: old_us }), Window::Rolling { us }) => {
                    counter.exact.used(now_us, old_us.min(us))
                }
                _ => 0,
            };
            counter.exact.keep(kept);
        }
        counter.exact.keep(limit);
        let earliest_us = counter.newest_us.max(read_us);
        let used = used(&counter.exact, window, earliest_us, now_us);
        self.referee.check(
            used < limit,
            "one too many in a window",
            format_args!("{used} used, {state:?} of {subject:?} at {read_us} of {now_us}"),
        );
        self.referee.check(
            u64::from(state.remaining) + used < limit,
            "more is said to remain than does",
            format_args!("{used} used before, {state:?} of {subject:?} at {read_us} of {now_us}"),
        );
        counter.newest_us = earliest_us;
        counter.exact.admit(earliest_us);
    }

    /// Compares a refusal with the least that must be used for it.
    fn refused(&mut self, key: usize, client: u64, rule: usize) {
        let (subject, now_us) = (self.subject(key, client, rule), self.now_us);
        let rule = self.rule(key, rule);
        let (window, least) = match rule.window {
            Window::Rolling { us } => {
                let layout = Layout::new(rule.limit, us);
                let us = us + 2 * (layout.begins_us(1) - 1);
                (Window::Rolling { us }, rule.limit - layout.group_size() + 1)
            }
            calendar => (calendar, rule.limit),
        };
        let used = self
            .counters
            .get(&subject)
            .map_or(0, |counter| used(&counter.exact, window, now_us, now_us));
        self.referee.check(
            used >= u64::from(least),
            "refused although little is used",
            format_args!("{used} used, {least} must be, of {subject:?} at {now_us}"),
        );
    }

    /// Changes the limit, the window or both of one rule.
    fn edit(&mut self) {
        let index = usize::try_from(self.chance.between(1, u64::try_from(self.rules.len()).unwrap()) - 1).unwrap();
        let mode = self.rules[index].mode.unwrap();
        let edited = any_rule(&mut self.chance, mode);
        let rule = &mut self.rules[index];
        match self.chance.between(0, 2) {
            0 => rule.max_requests = edited.max_requests,
            1 => (rule.unit, rule.duration) = (edited.unit, edited.duration),
            _ => *rule = edited,
        }
        self.referee.tell(format_args!("edit at {}: {rule:?}", self.now_us));
        self.is_edited = true;
        if !self.is_roomy {
            // Whose admissions a shared counter keeps is not said.
            self.counters.retain(|(rule, ..), _| *rule != index);
        }
        self.compile();
    }

    fn sweep(&mut self) {
        let late_us = if self.is_on_time {
            0
        } else {
            self.chance.scaled(0, self.now_us.min(self.late_us_max))
        };
        for _ in 0..self.chance.one_of(&[1, SWEEPS_PER_ROUND]) {
            self.limiter.sweep(later(self.now_us - late_us));
        }
    }

    /// Lets time pass: none, a little, part of a window, until a retry is due, or long.
    fn pass(&mut self) {
        let rule = self.chance.between(1, u64::try_from(self.rules.len()).unwrap()) - 1;
        let window_us = window_us(self.rule(0, usize::try_from(rule).unwrap()).window);
        self.now_us += match self.chance.between(0, 19) {
            0..10 => 0,
            10..15 => self.chance.scaled(0, window_us / 20),
            15..17 => self.chance.between(0, window_us),
            17 | 18 => match self
                .limiter
                .peek(&self.keys[0], &from("192.0.2.1", later(self.now_us)))
                .outcome
            {
                ChargeOutcome::Refused { retry_after_us, .. } => retry_after_us,
                ChargeOutcome::Admitted => 1,
            },
            _ => window_us + self.chance.scaled(0, window_us),
        };
    }
}

fn window_us(window: Window) -> u64 {
    match window {
        Window::Rolling { us } => us,
        Window::CalendarDay => DAY,
        Window::CalendarMonth => 31 * DAY,
    }
}

/// Admissions in the window or period of `now_us`, if that is the one of `earliest_us`, too.
fn used(exact: &ExactLog, window: Window, earliest_us: u64, now_us: u64) -> u64 {
    let begins_us = |us: u64| {
        let begins = jiff::Timestamp::from_microsecond(later(us).wall_us)
            .unwrap()
            .to_zoned(jiff::tz::TimeZone::UTC);
        let begins = match window {
            Window::CalendarMonth => begins.first_of_month().unwrap(),
            _ => begins,
        };
        begins.start_of_day().unwrap().timestamp().as_microsecond() - start().wall_us
    };
    match window {
        Window::Rolling { us } => exact.used(now_us, us),
        _ if begins_us(earliest_us) != begins_us(now_us) => 0,
        _ => {
            let since_us = i64::try_from(now_us).unwrap() - begins_us(now_us);
            exact.used(now_us, since_us.unsigned_abs() + 1)
        }
    }
}

fn any_rule(chance: &mut Chance, mode: Mode) -> Rule {
    use Unit::{CalendarDay, CalendarMonth, Day, Hour, Millisecond, Minute, Month, Second};
    let unit = chance.one_of(&[
        Millisecond,
        Millisecond,
        Second,
        Second,
        Minute,
        Hour,
        Day,
        Month,
        CalendarDay,
        CalendarMonth,
    ]);
    let duration = chance.scaled(1, u64::try_from(unit.duration_max()).unwrap());
    let limit = if chance.one_in(10) { LIMIT_MAX } else { 60 };
    let max_requests = chance.scaled(1, limit);
    rule(
        mode,
        unit,
        i32::try_from(duration).unwrap(),
        i32::try_from(max_requests).unwrap(),
    )
}

#[test]
fn a_limiter_keeps_its_promises_in_bulk() {
    sessions("limiter", 2, |referee| {
        let mut chance = Chance::new(referee.seed());
        let counters_max = chance.one_of(&[0, 1, 4, 100_000, 100_000, 100_000]);
        let modes = [
            Mode::PerKey,
            Mode::PerIp,
            Mode::PerApp,
            Mode::PerKeyAndIp,
            Mode::PerAppAndIp,
        ];
        let rules: Vec<Rule> = (0..chance.between(1, 4))
            .map(|_| {
                let mode = chance.one_of(&modes);
                any_rule(&mut chance, mode)
            })
            .collect();
        let mut session = Session {
            limiter: LocalLimiter::new(LimiterSettings { counters_max }),
            is_roomy: counters_max > 1_000,
            is_on_time: chance.one_in(2),
            is_edited: false,
            is_to_be_edited: chance.one_in(2),
            late_us_max: u64::MAX,
            now_us: chance.scaled(0, 40 * DAY),
            keys: Vec::new(),
            counters: HashMap::new(),
            rules,
            chance,
            referee,
        };
        session
            .referee
            .tell(format_args!("{counters_max} counters, {:?}", session.rules));
        session.compile();
        for _ in 0..200 {
            let burst = session.chance.scaled(1, 40);
            (0..burst).for_each(|_| session.request());
            session.pass();
            if session.chance.one_in(6) {
                session.sweep();
            }
            if session.is_to_be_edited && session.chance.one_in(30) {
                session.edit();
            }
        }
    });
}
