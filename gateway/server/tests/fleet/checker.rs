//! Holds a history against what the product promises, and says where it breaks a promise.
//!
//! Pure: decides from the history alone, knows nothing of processes or of how the promises are kept. The scenarios call it, and
//! tables of hand-made histories show that every rule can fail.
//!
//! No rule has any slack for scheduling, and none is needed. All processes read one monotonic clock. What a gateway knows is as old as
//! the moment before it sent the last ping that was answered; the answer covers what was committed when the ping came; and the
//! clock that decides a request is read after the request was sent. A gateway that had not heard of a commit therefore knows,
//! at any time later than commit + `stale_max`, that it is too stale.

mod ending;
mod timeline;

use super::history::{Answer, Event, GatewayNo, KeyNo, Span, Us};
use ending::Ending;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use timeline::{Is, Timeline};

/// How the gateways of a run were set up.
#[derive(Debug, Clone)]
pub struct Terms {
    /// `stale_soft` of all gateways.
    pub stale_soft: Us,
    /// `stale_max` of all gateways.
    pub stale_max: Us,
    /// Each gateway, by its place.
    pub gateways: Vec<GatewayTerms>,
}

/// How one gateway was set up.
#[derive(Debug, Clone, Copy)]
pub struct GatewayTerms {
    /// Past `stale_max` it goes on serving.
    pub serves_stale: bool,
    /// It holds every key from the start.
    pub preloads: bool,
}

/// A promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A gateway that said it had applied the end of a key admits it no more.
    AppliedMeansEnforced,
    /// No gateway that refuses when it is too stale admits a key later than `stale_max` after its end was answered.
    EnforcedWithinStaleMax,
    /// Once a call that waited for the fleet was answered, no gateway that refuses when it is too stale admits the key.
    FleetMeansAll,
    /// A valid key is never told that it is none: it is served, or refused for want of news.
    ValidIsNeverUnknown,
    /// A gateway answers 200, 403 or 503, and nothing else.
    NothingElseIsAnswered,
    /// The revision that a process has applied never goes back within one history of the store.
    AppliedNeverGoesBack,
    /// No process ever finds that the other end leaves out changes or says what cannot be, and none breaks.
    NoComplaints,
    /// When all is healed, every gateway agrees with all that was acknowledged.
    NothingAcknowledgedIsLost,
    /// Where the outcome of a call was never learnt, all gateways see the same one.
    AllSeeTheSame,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// Where, for a person.
    pub how: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.how)
    }
}

/// How much there was to judge: a run in which nothing happened proves nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Judged {
    /// Requests that were let through.
    pub admitted: usize,
    /// Requests refused with a key that had been ended.
    pub refused_ended: usize,
    /// Requests that the rules on ended keys forbade to admit.
    pub forbidden: usize,
    /// Requests that the rule on valid keys forbade to refuse as unknown.
    pub protected: usize,
    /// Answers 503.
    pub unavailable: usize,
    /// Calls done.
    pub calls: usize,
    /// Calls of which it was never learnt whether they had been done.
    pub unknown: usize,
    /// Requests at the end.
    pub last: usize,
}

/// A request of the history.
struct Asked<'a> {
    span: Span,
    gateway: GatewayNo,
    life: u32,
    key: KeyNo,
    answer: &'a Answer,
    is_last: bool,
}

/// Every broken promise of a history, whose events stand in the order in which they began. Calls that concern one app must not
/// overlap each other, save creations.
pub fn check(history: &[Event], terms: &Terms) -> (Vec<Violation>, Judged) {
    let mut found = Vec::new();
    let mut judged = Judged::default();
    let timeline = Timeline::of(history);
    let endings = ending::all(history, &timeline, terms.gateways.len());
    for event in history {
        match event {
            Event::Call { outcome, .. } => match outcome {
                super::history::Outcome::Unknown => judged.unknown += 1,
                _ => judged.calls += 1,
            },
            Event::Request {
                span,
                gateway,
                life,
                key,
                answer,
                is_last,
            } => {
                let asked = Asked {
                    span: *span,
                    gateway: *gateway,
                    life: *life,
                    key: *key,
                    answer,
                    is_last: *is_last,
                };
                let ends = endings.get(key).map_or(&[][..], Vec::as_slice);
                check_ended(&asked, ends, terms, &mut found, &mut judged);
                check_valid(&asked, &timeline, terms, &mut found, &mut judged);
            }
            _ => {}
        }
    }
    check_reports(history, &mut found);
    check_last(history, &timeline, &mut found, &mut judged);
    (found, judged)
}

/// Rules on keys that have been ended.
fn check_ended(asked: &Asked<'_>, ends: &[Ending], terms: &Terms, found: &mut Vec<Violation>, judged: &mut Judged) {
    let serves_stale = terms.gateways[asked.gateway.0].serves_stale;
    let mut broken: BTreeMap<Rule, String> = BTreeMap::new();
    let mut is_ended = false;
    // One that was still under way when the end was taken back may have been decided afterwards.
    let holding = ends
        .iter()
        .filter(|end| end.known_at <= asked.span.start && asked.span.end <= end.holds_until);
    for end in holding {
        is_ended = true;
        let mut forbid = |rule: Rule, why: String| {
            broken.insert(rule, format!("{}, answered at {}; {why}", end.call, end.known_at));
        };
        if let Some(applied_at) = end.applied_at[asked.gateway.0]
            && applied_at <= asked.span.start
        {
            let why = format!("revision {:?} reported as applied at {applied_at}", end.revision);
            forbid(Rule::AppliedMeansEnforced, why);
        }
        if !serves_stale && asked.span.start > end.known_at + terms.stale_max {
            forbid(Rule::EnforcedWithinStaleMax, "stale_max has passed".to_owned());
        }
        if !serves_stale && end.waited_for_fleet {
            forbid(Rule::FleetMeansAll, "it had waited for the fleet".to_owned());
        }
    }
    judged.forbidden += usize::from(!broken.is_empty());
    if asked.answer.admitted() {
        judged.admitted += 1;
        found.extend(broken.into_iter().map(|(rule, why)| Violation {
            rule,
            how: format!("{} was admitted: {why}", described(asked)),
        }));
    } else if is_ended && matches!(asked.answer, Answer::Status(403, _)) {
        judged.refused_ended += 1;
    }
}

/// Rules on keys that are valid, and on what may be answered at all.
fn check_valid(asked: &Asked<'_>, timeline: &Timeline, terms: &Terms, found: &mut Vec<Violation>, judged: &mut Judged) {
    let mut violation = |rule, how| found.push(Violation { rule, how });
    match asked.answer {
        Answer::Nothing => return,
        Answer::Status(503, _) => judged.unavailable += 1,
        Answer::Status(200 | 403, _) => {}
        Answer::Status(status, reason) => {
            let how = format!("{} was answered {status} {reason}", described(asked));
            violation(Rule::NothingElseIsAnswered, how);
        }
    }
    let settings = terms.gateways[asked.gateway.0];
    let protected = timeline.valid(asked.key).iter().any(|valid| {
        // A new key is found by asking; only who holds all keys may not have heard of it, for as long as that passes for fresh.
        // That an app is on again, or that the store is another, need not be known before `stale_max`.
        let settled_at = match (valid.is_new, settings.preloads, settings.serves_stale) {
            (true, false, _) => valid.from,
            (true, true, _) => valid.from.saturating_add(terms.stale_soft),
            (false, _, false) => valid.from.saturating_add(terms.stale_max),
            (false, _, true) => Us::MAX,
        };
        asked.span.start > settled_at && asked.span.end < valid.until
    });
    judged.protected += usize::from(protected);
    if protected && let Answer::Status(403, reason) = asked.answer {
        let how = format!("{} was answered 403 {reason}", described(asked));
        violation(Rule::ValidIsNeverUnknown, how);
    }
}

/// Rules on what gateways say of themselves.
fn check_reports(history: &[Event], found: &mut Vec<Violation>) {
    let restores: Vec<Us> = history
        .iter()
        .filter_map(|event| match event {
            Event::Restored { at } => Some(*at),
            _ => None,
        })
        .collect();
    struct Last {
        applied: u64,
        /// Reports that were under way when a later one began: end and revision. They may have been made in any order.
        under_way: Vec<(Us, u64)>,
        /// Restores that may still explain that the revision goes back.
        restores_left: usize,
    }
    let mut last: BTreeMap<(GatewayNo, u32), Last> = BTreeMap::new();
    for event in history {
        if let Event::Complaint { at, who, line } = event {
            found.push(Violation {
                rule: Rule::NoComplaints,
                how: format!("{who} said at {at}: {line}"),
            });
        }
        let Event::Report {
            span,
            gateway,
            life,
            applied: Some(applied),
            ..
        } = event
        else {
            continue;
        };
        let last = last.entry((*gateway, *life)).or_insert(Last {
            applied: 0,
            under_way: Vec::new(),
            restores_left: restores.len(),
        });
        last.under_way.sort_unstable();
        let ended = last.under_way.partition_point(|(end, _)| *end <= span.start);
        if let Some((_, applied)) = last.under_way.drain(..ended).next_back() {
            last.applied = applied;
        }
        last.under_way.push((span.end, *applied));
        let restores_to_come = restores.iter().filter(|&&at| at > span.end).count();
        if *applied < last.applied {
            if last.restores_left > restores_to_come {
                last.restores_left = restores_to_come;
                // Others that are under way may be of the earlier history, and this one is under way as well.
                last.under_way.retain(|(_, other)| other <= applied);
                last.applied = 0;
            } else {
                found.push(Violation {
                    rule: Rule::AppliedNeverGoesBack,
                    how: format!(
                        "gateway {} life {life} went from revision {} to {applied} at {}",
                        gateway.0, last.applied, span.end
                    ),
                });
            }
        }
    }
}

/// Rules on how everything stands at the end.
fn check_last(history: &[Event], timeline: &Timeline, found: &mut Vec<Violation>, judged: &mut Judged) {
    let mut seen: BTreeMap<KeyNo, BTreeSet<u16>> = BTreeMap::new();
    for event in history {
        let Event::Request {
            span,
            gateway,
            key,
            answer,
            is_last: true,
            ..
        } = event
        else {
            continue;
        };
        judged.last += 1;
        let status = match answer {
            Answer::Status(status, _) => *status,
            Answer::Nothing => 0,
        };
        let wanted: &[u16] = match timeline.at_the_end(*key) {
            Is::Valid => &[200],
            Is::Ended => &[403],
            Is::Either => &[200, 403],
        };
        if !wanted.contains(&status) {
            found.push(Violation {
                rule: Rule::NothingAcknowledgedIsLost,
                how: format!(
                    "gateway {} answers {answer:?} to key {} at the end ({}), which is {:?}",
                    gateway.0,
                    key.0,
                    span.start,
                    timeline.at_the_end(*key)
                ),
            });
        }
        seen.entry(*key).or_default().insert(status);
    }
    for (key, statuses) in seen {
        if statuses.len() > 1 {
            found.push(Violation {
                rule: Rule::AllSeeTheSame,
                how: format!("at the end key {} is answered {statuses:?}", key.0),
            });
        }
    }
}

fn described(asked: &Asked<'_>) -> String {
    format!(
        "the request {} – {} with key {} to gateway {} (life {}){}",
        asked.span.start,
        asked.span.end,
        asked.key.0,
        asked.gateway.0,
        asked.life,
        if asked.is_last { ", one of the last," } else { "" }
    )
}
