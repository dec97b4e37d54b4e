//! When each key was ended, from when on that was known, and from when on each gateway said that it had applied it.
//!
//! Decides nothing about requests; the rules on ended keys do, from this.

use super::super::history::{Act, AppNo, Event, GatewayNo, KeyNo, Outcome, Span, Us};
use super::timeline::Timeline;
use std::collections::BTreeMap;

/// A key's end.
#[derive(Debug, Clone)]
pub struct Ending {
    /// What ended it.
    pub call: String,
    /// When that was answered.
    pub known_at: Us,
    /// When it may have been taken back: the app switched on again, an older copy of the store put in place.
    pub holds_until: Us,
    /// The answer's revision.
    pub revision: Option<u64>,
    /// The answer came after waiting for the fleet.
    pub waited_for_fleet: bool,
    /// For each gateway, when it had first said that it had applied the revision.
    pub applied_at: Vec<Option<Us>>,
}

/// Who is ended.
enum Whom {
    Key(KeyNo),
    AllOf(AppNo),
}

/// The ends of all keys. Those whose outcome is unknown are none.
pub fn all(history: &[Event], timeline: &Timeline, gateways: usize) -> BTreeMap<KeyNo, Vec<Ending>> {
    let mut endings: BTreeMap<KeyNo, Vec<Ending>> = BTreeMap::new();
    for event in history {
        let Event::Call { span, act, outcome } = event else {
            continue;
        };
        let whom = match act {
            Act::Revoke { key } | Act::Rotate { old: key, .. } => Whom::Key(*key),
            Act::AppOff(app) | Act::AppDelete(app) => Whom::AllOf(*app),
            Act::Create { .. } | Act::AppOn(_) => continue,
        };
        let (revision, waited_for_fleet) = match outcome {
            Outcome::Done { revision, fleet } => ((*revision > 0).then_some(*revision), *fleet),
            Outcome::Already => (None, false),
            Outcome::NotDone | Outcome::Unknown => continue,
        };
        let taken_back = [taken_back_by_call(history, *act, *span), lost(timeline, *span)];
        let ending = Ending {
            call: format!("{act:?}"),
            known_at: span.end,
            holds_until: taken_back.into_iter().flatten().min().unwrap_or(Us::MAX),
            revision,
            waited_for_fleet,
            applied_at: (0..gateways)
                .map(|gateway| applied_at(history, timeline, GatewayNo(gateway), revision?, *span))
                .collect(),
        };
        match whom {
            Whom::Key(key) => endings.entry(key).or_default().push(ending),
            Whom::AllOf(app) => {
                for (key, _) in timeline.keys().filter(|(_, of)| *of == app) {
                    endings.entry(key).or_default().push(ending.clone());
                }
            }
        }
    }
    endings
}

fn taken_back_by_call(history: &[Event], act: Act, ended: Span) -> Option<Us> {
    let Act::AppOff(app) = act else { return None };
    history.iter().find_map(|event| match event {
        Event::Call {
            span,
            act: Act::AppOn(on),
            ..
        } if *on == app && span.start >= ended.end => Some(span.start),
        _ => None,
    })
}

/// When a copy that was made before was put back.
fn lost(timeline: &Timeline, ended: Span) -> Option<Us> {
    let mut restores = timeline.restores().iter();
    restores.find_map(|&(copied_at, at)| (copied_at <= ended.start && ended.end <= at).then_some(at))
}

/// The first report of a gateway that it has applied a revision of the history that the call was made in: it knew itself fresh at a
/// time after the store last became another.
fn applied_at(history: &[Event], timeline: &Timeline, who: GatewayNo, revision: u64, ended: Span) -> Option<Us> {
    let restores = timeline.restores().iter().map(|(_, at)| *at);
    let began = restores.filter(|&at| at <= ended.start).max().unwrap_or(0);
    history.iter().find_map(|event| match event {
        Event::Report {
            span,
            gateway,
            applied: Some(applied),
            staleness,
            ..
        } => {
            let is_of_this_history = began == 0 || staleness.is_some_and(|ago| span.start.saturating_sub(ago) >= began);
            let counts = *gateway == who && *applied >= revision && span.start >= ended.start && is_of_this_history;
            counts.then_some(span.end)
        }
        _ => None,
    })
}
