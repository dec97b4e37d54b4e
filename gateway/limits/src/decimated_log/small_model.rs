//! Every state that small logs can reach, beside an exact log: what holds in all of them holds for any arrivals.
//!
//! Decides nothing about requests. A state is a log and the exact times of its admissions, both as seen from the newest one;
//! `PROOF.md` says why that is enough. Larger logs are in `proof/`, at random.

use super::*;
use crate::proof::setting;
use std::collections::{HashSet, VecDeque};

/// Times from which every step is taken, at the beginning of a tick of any length used here: near the clock's start, far from
/// where the low half of a tick wraps around, shortly before that, and on it.
const AT_US: [u64; 4] = [64, (1 << 40) + (1 << 20), (1 << 44) - 4, 1 << 44];

/// How far a reading of the clock may be behind the newest admission.
const LATE_US: u64 = 3;

/// One layout of a model.
#[derive(Debug, Clone, Copy)]
struct Rule {
    layout: Layout,
    window_us: u64,
}

impl Rule {
    fn new(limit: u32, groups_max: u32, window_us: u64, tick_shift: u8) -> Rule {
        Rule {
            layout: Layout::small(limit, groups_max, window_us, tick_shift),
            window_us,
        }
    }

    fn tick_us(&self) -> u64 {
        self.layout.begins_us(1)
    }

    /// How long an admission may take room: stamps are rounded up and the present down.
    fn reach_us(&self) -> u64 {
        self.window_us + 2 * (self.tick_us() - 1)
    }

    fn limit(&self) -> usize {
        usize::try_from(self.layout.limit()).unwrap()
    }
}

/// A log and its exact twin, as seen from the newest admission.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// The index of the rule under which the newest admission was charged.
    rule: usize,
    /// The newest admission's time within its tick.
    phase_us: u64,
    tail: u8,
    group: u8,
    filled: u32,
    /// How many ticks the groups from the tail on were entered before the newest admission, the current group aside.
    behind: Vec<u64>,
    /// How long before the newest admission the others were made, oldest first, as far back as they matter.
    ages_us: Vec<u64>,
    /// Whether admissions from before an edit may still be in the window.
    is_edited: bool,
}

impl State {
    /// The log in this state whose newest admission was in the tick that begins at `at_us`. Stamps that mean nothing say `noise`.
    fn log(&self, rule: &Rule, at_us: u64, noise: u32) -> DecimatedLog {
        let layout = &rule.layout;
        let newest_us = at_us + self.phase_us;
        let stamp = |behind: u64| low_half(layout.tick_up(newest_us) - behind);
        let mut log = DecimatedLog::starting_at(layout, newest_us);
        log.stamps = [noise; GROUPS_MAX as usize];
        log.head.filled = self.filled;
        log.head.set_ends(self.tail, self.group);
        log.head.oldest = stamp(self.behind.first().copied().unwrap_or(0));
        let mut group = layout.next(self.tail);
        for &behind in self.behind.iter().skip(1) {
            log.stamps[usize::from(group)] = stamp(behind);
            group = layout.next(group);
        }
        log
    }

    /// What is in a log, as seen from its newest admission.
    fn of(rule: usize, layout: &Layout, log: &DecimatedLog, exact_us: &[u64], reach_us: u64, is_edited: bool) -> State {
        let head = &log.head;
        let newest_us = *exact_us.last().unwrap();
        assert_eq!(head.newest_us(), newest_us);
        let newest = layout.tick_up(newest_us);
        let mut behind = Vec::new();
        let mut group = head.tail();
        while group != head.group() {
            let stamp = if group == head.tail() {
                head.oldest
            } else {
                log.stamps[usize::from(group)]
            };
            behind.push(newest - tick_of(stamp, newest));
            group = layout.next(group);
        }
        State {
            rule,
            phase_us: newest_us % layout.begins_us(1),
            tail: head.tail(),
            group: head.group(),
            filled: head.filled,
            behind,
            ages_us: exact_us
                .iter()
                .map(|at_us| newest_us - at_us)
                .filter(|&age_us| age_us < reach_us)
                .collect(),
            is_edited,
        }
    }
}

/// Walks through the states that a set of rules can reach, edits between any two of them included.
struct Model {
    rules: Vec<Rule>,
    /// How long an admission may matter.
    reach_us: u64,
    seen: HashSet<State>,
    waiting: VecDeque<State>,
    steps: u64,
    refusals: u64,
}

impl Model {
    fn of(rules: Vec<Rule>) -> Model {
        let mut model = Model {
            reach_us: rules.iter().map(Rule::reach_us).max().unwrap(),
            rules,
            seen: HashSet::new(),
            waiting: VecDeque::new(),
            steps: 0,
            refusals: 0,
        };
        for index in 0..model.rules.len() {
            for phase_us in 0..model.rules[index].tick_us() {
                let first = model.first(index, AT_US[0] + phase_us);
                model.reach(first);
            }
        }
        while let Some(state) = model.waiting.pop_front() {
            assert!(model.seen.len() < 20_000_000, "the states do not end");
            for rule in 0..model.rules.len() {
                model.leave(&state, rule);
            }
        }
        model
    }

    /// The state after the first admission of a log, or the first after an idle window.
    fn first(&self, index: usize, at_us: u64) -> State {
        let layout = &self.rules[index].layout;
        let mut log = DecimatedLog::starting_at(layout, at_us);
        assert_eq!(log.wait_us(layout, at_us), None);
        log.admit(layout, at_us);
        State::of(index, layout, &log, &[at_us], self.reach_us, false)
    }

    fn reach(&mut self, state: State) {
        if !self.seen.contains(&state) {
            self.seen.insert(state.clone());
            self.waiting.push_back(state);
        }
    }

    /// Requests one admission under a rule at every time that can follow a state.
    fn leave(&mut self, state: &State, index: usize) {
        // Then nothing of any window is left, and whatever comes later is the same.
        let last_us = self.reach_us + self.rules[index].tick_us();
        for step_us in 0..=LATE_US + last_us {
            let next = self.step(state, index, state.phase_us + step_us);
            if step_us == LATE_US + last_us {
                assert_eq!(
                    next,
                    Some(self.first(index, AT_US[0] + state.phase_us + step_us - LATE_US)),
                    "not idle after {last_us} µs: {state:?}"
                );
            }
            if let Some(next) = next {
                self.reach(next);
            }
        }
    }

    /// Requests one admission, so long after [`LATE_US`] before the tick in which the newest was made, and asserts all that is
    /// promised of the answer, whatever the time.
    fn step(&mut self, state: &State, index: usize, after_us: u64) -> Option<State> {
        self.steps += 1;
        let noise = [0, u32::MAX, 1 << 31, 7];
        let next: Vec<Option<State>> = AT_US
            .into_iter()
            .zip(noise)
            .map(|(at_us, noise)| self.request(state, index, at_us, at_us + after_us - LATE_US, noise))
            .collect();
        assert!(
            next.iter().all(|other| *other == next[0]),
            "{next:?} after {state:?} at {after_us}"
        );
        self.refusals += u64::from(next[0].is_none());
        next.into_iter().next().unwrap()
    }

    fn request(&self, state: &State, index: usize, newest_at_us: u64, read_us: u64, noise: u32) -> Option<State> {
        let (old, rule) = (&self.rules[state.rule], &self.rules[index]);
        let layout = &rule.layout;
        let context = || format!("{state:?} to {rule:?} at {read_us}");
        let newest_us = newest_at_us + state.phase_us;
        let at_us = read_us.max(newest_us);
        let mut exact_us: Vec<u64> = state.ages_us.iter().map(|age_us| newest_us - age_us).collect();
        let used = |exact_us: &[u64], window_us: u64| exact_us.iter().filter(|&us| us + window_us > at_us).count();
        let mut log = state.log(old, newest_at_us, noise);
        let batches = log.batches(&old.layout);
        self.remembers(&batches, &exact_us, at_us, old);
        let mut is_edited = state.is_edited;
        if index != state.rule {
            let used_before = used(&exact_us, old.window_us.min(rule.window_us)).min(rule.limit());
            log = DecimatedLog::replay(layout, &batches, read_us);
            let kept: u32 = kept(layout, &batches, read_us).iter().map(|batch| batch.count).sum();
            let kept = usize::try_from(kept).unwrap();
            assert!(kept >= used_before, "an edit gives something back: {}", context());
            exact_us.drain(..exact_us.len().saturating_sub(kept));
            is_edited = true;
        }
        is_edited &= !log.is_idle(layout, read_us);
        // What a look says at another time, before an admission makes an edit last.
        let look = |us: u64| {
            let replayed = DecimatedLog::replay(layout, &batches, us);
            if index == state.rule { &log } else { &replayed }.standing(layout, us)
        };
        let standing = look(read_us);
        assert_eq!(
            log.wait_us(layout, read_us).is_some(),
            standing.remaining == 0,
            "{}",
            context()
        );
        let grows_in_us = if index == state.rule {
            standing.grows_in_us
        } else {
            DecimatedLog::replay_grows_in_us(layout, &batches, read_us)
        };
        let remaining = usize::try_from(standing.remaining).unwrap();
        let in_window = used(&exact_us, rule.window_us);
        assert!(
            remaining + in_window.min(rule.limit()) <= rule.limit(),
            "too many remain: {}",
            context()
        );
        if !is_edited {
            let group = usize::try_from(layout.group_size()).unwrap();
            assert!(
                remaining + used(&exact_us, rule.reach_us()) + group > rule.limit(),
                "too few remain: {}",
                context()
            );
        }
        // Whenever nobody is admitted, what remains stays as it is, and then grows at the promised time.
        for later_us in 1..grows_in_us {
            assert_eq!(
                look(read_us + later_us).remaining,
                standing.remaining,
                "early: {}",
                context()
            );
        }
        if grows_in_us > 0 {
            assert!(
                look(read_us + grows_in_us).remaining > standing.remaining,
                "late: {}",
                context()
            );
        } else {
            assert_eq!(remaining, rule.limit(), "{}", context());
        }
        if remaining == 0 {
            if index == state.rule {
                assert_eq!(log.wait_us(layout, read_us), Some(grows_in_us), "{}", context());
            }
            assert!(
                grows_in_us <= (at_us - read_us) + rule.window_us + 2 * rule.tick_us(),
                "{}",
                context()
            );
            return None;
        }
        assert!(in_window < rule.limit(), "one too many in a window: {}", context());
        let after = log.admit(layout, read_us);
        assert_eq!(after, log.standing(layout, read_us), "{}", context());
        assert_eq!(after.remaining + 1, standing.remaining, "{}", context());
        exact_us.push(at_us);
        Some(State::of(index, layout, &log, &exact_us, self.reach_us, is_edited))
    }

    /// Asserts that every admission in the window is remembered, and none earlier than it was made.
    fn remembers(&self, batches: &Batches, exact_us: &[u64], at_us: u64, rule: &Rule) {
        let remembered: Vec<u64> = batches
            .iter()
            .flat_map(|batch| (0..batch.count).map(|_| batch.at_us))
            .collect();
        let in_window = exact_us.iter().filter(|&us| us + rule.window_us > at_us).count();
        assert!(remembered.len() >= in_window, "{batches:?} {exact_us:?}");
        for (remembered_us, us) in remembered.iter().rev().zip(exact_us.iter().rev()) {
            assert!(remembered_us >= us, "{batches:?} {exact_us:?}");
        }
    }
}

#[test]
fn no_state_of_a_small_log_breaks_a_promise() {
    let (mut states, mut steps, mut refusals, mut models) = (0, 0, 0, 0);
    let mut walk = |rules: Vec<Rule>| {
        let model = Model::of(rules);
        assert!(model.waiting.is_empty() && model.refusals > 0);
        states += model.seen.len();
        steps += model.steps;
        refusals += model.refusals;
        models += 1;
    };
    // In a long run all of them, in a short one those that take no longer than a few seconds together.
    let is_long = setting("PORTCULLIS_PROOF_MODELS", 0) > 0;
    let (limit_max, window_us_max) = if is_long { (8, 6) } else { (6, 5) };
    for limit in 1..=limit_max {
        for groups_max in (1..=3).filter(|&groups_max| groups_max <= limit) {
            for window_us in 2..=window_us_max {
                walk(vec![Rule::new(limit, groups_max, window_us, 0)]);
            }
            // Ticks of 2 and 4 µs, and windows that end within one.
            if is_long || limit <= 4 {
                walk(vec![Rule::new(limit, groups_max, 6, 1)]);
                walk(vec![Rule::new(limit, groups_max, 7, 1)]);
            }
            if limit <= if is_long { 5 } else { 3 } {
                walk(vec![Rule::new(limit, groups_max, 8, 2)]);
                walk(vec![Rule::new(limit, groups_max, 9, 2)]);
            }
        }
    }
    println!("small models: {states} states of {models} models, {steps} steps, {refusals} of them refused");
}

#[test]
fn no_edit_between_small_logs_breaks_a_promise() {
    let (mut states, mut steps) = (0, 0);
    let mut walk = |rules: &[(u32, u32, u64, u8)]| {
        let rule = |&(limit, groups_max, window_us, tick_shift)| Rule::new(limit, groups_max, window_us, tick_shift);
        let model = Model::of(rules.iter().map(rule).collect());
        assert!(model.waiting.is_empty() && model.refusals > 0);
        assert!(model.seen.iter().any(|state| state.is_edited));
        states += model.seen.len();
        steps += model.steps;
    };
    // Limits, windows, both, and the length of a tick.
    walk(&[(2, 2, 3, 0), (4, 2, 3, 0), (5, 2, 3, 0)]);
    walk(&[(4, 2, 2, 0), (4, 2, 4, 0)]);
    walk(&[(5, 3, 4, 0), (3, 2, 2, 0), (1, 1, 3, 0)]);
    walk(&[(4, 2, 3, 0), (3, 2, 5, 1)]);
    println!("small models with edits: {states} states, {steps} steps");
}
