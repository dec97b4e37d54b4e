//! The page of results: every table, and under each what it measures and what it does not.
//!
//! Decides how figures are shown; measures nothing. The comparison writes what it returns.

use super::Effort;
use super::arrivals::Pattern;
use super::contender::Rules;
use super::contention::Contention;
use super::cost::Cost;
use super::draws::Spread;
use super::figures::{counted, median, row, rule, span, spanned, thousands, worst};
use super::footprint::{self, Footprint};
use super::notes;
use super::strictness::Outcome;
use crate::machine::machine;
use anyhow::Result;
use std::fmt::Write as _;

/// All that was measured.
pub(crate) struct Measured<'a> {
    pub(crate) date: &'a str,
    pub(crate) effort: &'a Effort,
    pub(crate) outcomes: &'a [Outcome],
    pub(crate) footprints: &'a [Footprint],
    pub(crate) costs: &'a [Cost],
    pub(crate) refusals: &'a [Cost],
    pub(crate) contentions: &'a [Contention],
}

impl Measured<'_> {
    /// The page in Markdown.
    pub(crate) fn page(&self) -> Result<String> {
        let mut page = format!("# Limiters compared, {}\n\n{}\n\n", self.date, machine());
        writeln!(
            page,
            "All limiters ran in one process and took turns: {} rounds, {} requests a turn and thread. Figures are medians of the \
             rounds, with the lowest and highest in brackets. Compare lines of this page with each other, not with another day's.\n",
            self.effort.rounds, self.effort.requests
        )?;
        page.push_str(notes::CONTENDERS);
        self.strictness(&mut page)?;
        self.bars(&mut page)?;
        for (rules, threads, title) in [
            (Rules::Key, 1, "One rule, one thread: ns per request"),
            (Rules::Three, 1, "Three rules, one thread: ns per request"),
            (
                Rules::Key,
                2,
                "One rule, two threads: ns per request and thread; million requests per second of both",
            ),
            (
                Rules::Three,
                2,
                "Three rules, two threads: ns per request and thread; million requests per second of both",
            ),
        ] {
            self.cost(&mut page, rules, threads, title)?;
        }
        page.push_str(notes::COST);
        writeln!(
            page,
            "![ns per request by number of subjects]({}-limits-cost.svg)\n",
            self.date
        )?;
        self.refusals(&mut page)?;
        self.contention(&mut page)?;
        self.footprint(&mut page)?;
        Ok(page)
    }

    fn strictness(&self, page: &mut String) -> Result<()> {
        page.push_str("## Strictness\n\nWorst over-admission and worst shortfall per limit, over all patterns and windows (1 s, 60 s, 1 h).\n\n");
        let limits = self.effort.limits;
        row(
            page,
            "limiter",
            limits.iter().map(|limit| format!("{limit}: over | {limit}: short")),
        )?;
        rule(page, limits.len() * 2)?;
        for contender in self.strict_contenders() {
            let cells = limits.iter().map(|&limit| {
                let chosen = || {
                    let of = move |outcome: &&Outcome| (outcome.contender, outcome.limit) == (contender, limit);
                    self.outcomes.iter().filter(of)
                };
                let over = worst(chosen(), |outcome| outcome.excess);
                let short = worst(chosen(), |outcome| outcome.shortfall);
                format!("{} | {}", counted(over), counted(short))
            });
            row(page, contender, cells)?;
        }
        page.push_str(notes::STRICTNESS);
        let unforgiven = self.strict_contenders().into_iter().map(|contender| {
            let of = self.outcomes.iter().filter(|outcome| outcome.contender == contender);
            let percent = worst(of, |outcome| outcome.shortfall_unforgiven).map_or(0.0, |worst| worst.percent);
            format!("{contender} {percent:.1} %")
        });
        writeln!(
            page,
            "Worst shortfall with nothing forgiven: {}. Ours counts the windows of an hour in ticks of 4 µs and rounds against the \
             caller, so that at the very microsecond of expiry it may still refuse.\n",
            unforgiven.collect::<Vec<_>>().join("; ")
        )?;
        page.push_str("Per pattern, in % of the limit, over all limits and windows: over-admission / shortfall.\n\n");
        row(
            page,
            "limiter",
            Pattern::ALL.iter().map(|pattern| pattern.name().to_owned()),
        )?;
        rule(page, Pattern::ALL.len())?;
        for contender in self.strict_contenders() {
            let cells = Pattern::ALL.iter().map(|&pattern| {
                let chosen = || {
                    let of = move |outcome: &&Outcome| (outcome.contender, outcome.pattern) == (contender, pattern);
                    self.outcomes.iter().filter(of)
                };
                let percent = |figure: fn(&Outcome) -> u64| worst(chosen(), figure).map_or(0.0, |worst| worst.percent);
                format!(
                    "{:.1} / {:.1}",
                    percent(|outcome| outcome.excess),
                    percent(|outcome| outcome.shortfall)
                )
            });
            row(page, contender, cells)?;
        }
        writeln!(
            page,
            "\n![worst over-admission and shortfall]({0}-limits-strictness.svg)\n\n![admissions in the sliding window]({0}-limits-window.svg)\n",
            self.date
        )?;
        Ok(())
    }

    fn strict_contenders(&self) -> Vec<&'static str> {
        let mut contenders = Vec::new();
        for outcome in self.outcomes {
            if !contenders.contains(&outcome.contender) {
                contenders.push(outcome.contender);
            }
        }
        contenders
    }

    fn bars(&self, page: &mut String) -> Result<()> {
        page.push_str("## Cost against the bars\n\nUniform, one thread, ns per request.\n\n");
        page.push_str("| subjects | bar, three rules | portcullis, three rules, time given | reads the clock | governor by u64, one rule | its time given | three rules, reads the clock ÷ governor, one rule | one rule ÷ one rule |\n");
        rule(page, 7)?;
        for &keys in &self.effort.sizes {
            let of = |contender: &str, rules: Rules| {
                let cost = self.costs.iter().find(|cost| {
                    (cost.contender.as_str(), cost.rules, cost.keys) == (contender, rules, keys)
                        && (cost.threads, cost.spread) == (1, Spread::Uniform)
                });
                cost.map_or(f64::NAN, |cost| median(&cost.nanoseconds))
            };
            let bar = match keys {
                100_000 => "150",
                1_000_000 => "400",
                _ => "–",
            };
            let [given, reads] =
                ["portcullis, time given", "portcullis, reads the clock"].map(|name| of(name, Rules::Three));
            let governor = of("governor, by u64", Rules::Key);
            writeln!(
                page,
                "| {} | {bar} | {given:.0} | {reads:.0} | {governor:.0} | {:.0} | {:.2} | {:.2} |",
                thousands(keys),
                of("governor, by u64, time given", Rules::Key),
                reads / governor,
                of("portcullis, reads the clock", Rules::Key) / governor
            )?;
        }
        page.push_str(notes::BARS);
        Ok(())
    }

    fn cost(&self, page: &mut String, rules: Rules, threads: usize, title: &str) -> Result<()> {
        writeln!(page, "## {title}\n")?;
        let columns = || {
            let spreads = [Spread::Uniform, Spread::Zipf].into_iter();
            spreads.flat_map(|spread| self.effort.sizes.iter().map(move |&keys| (spread, keys)))
        };
        row(
            page,
            "limiter",
            columns().map(|(spread, keys)| format!("{}, {}", thousands(keys), spread.name())),
        )?;
        rule(page, self.effort.sizes.len() * 2)?;
        let chosen = || {
            self.costs
                .iter()
                .filter(|cost| (cost.rules, cost.threads) == (rules, threads))
        };
        let mut contenders: Vec<&str> = Vec::new();
        for cost in chosen() {
            if !contenders.contains(&cost.contender.as_str()) {
                contenders.push(&cost.contender);
            }
        }
        for contender in contenders {
            let cells = columns().map(|(spread, keys)| {
                let mut of = chosen().filter(|cost| (cost.spread, cost.keys) == (spread, keys));
                let Some(cost) = of.find(|cost| cost.contender == contender) else {
                    return String::new();
                };
                match threads {
                    1 => spanned(&cost.nanoseconds),
                    _ => format!(
                        "{}; {:.1} M/s",
                        spanned(&cost.nanoseconds),
                        median(&cost.per_second) / 1e6
                    ),
                }
            });
            row(page, contender, cells)?;
        }
        page.push('\n');
        Ok(())
    }

    fn refusals(&self, page: &mut String) -> Result<()> {
        let keys = thousands(self.effort.sizes[1]);
        writeln!(
            page,
            "## Refusing: ns per request, {keys} subjects, uniform, one thread\n"
        )?;
        page.push_str("| limiter | one rule | three rules |\n");
        rule(page, 2)?;
        let of = |rules: Rules| self.refusals.iter().filter(move |cost| cost.rules == rules);
        for (one, three) in of(Rules::Key).zip(of(Rules::Three)) {
            writeln!(
                page,
                "| {} | {} | {} |",
                one.contender,
                spanned(&one.nanoseconds),
                spanned(&three.nanoseconds)
            )?;
        }
        page.push_str(notes::REFUSALS);
        Ok(())
    }

    fn contention(&self, page: &mut String) -> Result<()> {
        page.push_str("## Two threads on one app: million requests per second of all threads\n\n");
        page.push_str("| limiter | rules | 1 app, 1 thread | 1 app, 2 threads | gain | 1 000 apps, 1 thread | 1 000 apps, 2 threads | gain |\n");
        rule(page, 7)?;
        for contention in self.contentions {
            let millions = contention.per_second.each_ref().map(|figures| {
                let figures: Vec<f64> = figures.iter().map(|figure| figure / 1e6).collect();
                let [low, middle, high] = span(&figures);
                (middle, format!("{middle:.1} ({low:.1}–{high:.1})"))
            });
            let [hot_one, hot_two, spread_one, spread_two] = millions;
            let rules = match contention.rules {
                Rules::App => "the app's",
                Rules::Key => "the key's",
                Rules::Three => "three",
            };
            writeln!(
                page,
                "| {} | {rules} | {} | {} | × {:.2} | {} | {} | × {:.2} |",
                contention.contender,
                hot_one.1,
                hot_two.1,
                hot_two.0 / hot_one.0,
                spread_one.1,
                spread_two.1,
                spread_two.0 / spread_one.0
            )?;
        }
        page.push_str(notes::CONTENTION);
        Ok(())
    }

    fn footprint(&self, page: &mut String) -> Result<()> {
        page.push_str("## Memory: bytes per counter\n\n");
        let fillings = footprint::fillings(self.effort);
        row(
            page,
            "limiter",
            fillings
                .iter()
                .map(|&(keys, admissions)| format!("{}, {admissions} admitted each", thousands(keys))),
        )?;
        rule(page, fillings.len())?;
        for footprint in self.footprints {
            row(
                page,
                footprint.contender,
                footprint.bytes.iter().map(|bytes| format!("{bytes:.0}")),
            )?;
        }
        write!(page, "\nOne rule of {} requests per hour. ", footprint::LIMIT)?;
        page.push_str(notes::FOOTPRINT);
        Ok(())
    }
}
