//! What is known of every key over time: valid for certain, ended for certain, or either.
//!
//! Follows the calls of a history as a careful caller would: from the moment a call is sent until its answer both may hold. A copy of
//! the store brings back what was known when it was made.

use super::super::history::{Act, AppNo, Event, KeyNo, Outcome, Us};
use std::collections::BTreeMap;

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Is {
    /// It opens.
    Valid,
    /// It does not.
    Ended,
    /// One of the two.
    Either,
}

/// A time in which a key is valid for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Valid {
    /// From when on that is known.
    pub from: Us,
    /// The first moment at which it may no longer be so.
    pub until: Us,
    /// It was made that way: no gateway can have known the key as anything else before.
    pub is_new: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Tri {
    #[default]
    No,
    Maybe,
    Yes,
}

/// What the store holds, as far as its callers can know.
#[derive(Debug, Clone, Default)]
struct State {
    keys: BTreeMap<KeyNo, KeyState>,
    apps: BTreeMap<AppNo, AppState>,
}

#[derive(Debug, Clone, Copy)]
struct KeyState {
    app: AppNo,
    ended: Tri,
}

#[derive(Debug, Clone, Copy, Default)]
struct AppState {
    off: Tri,
    deleted: Tri,
}

impl State {
    fn of(&self, key: KeyNo) -> Is {
        let Some(state) = self.keys.get(&key) else {
            // It was made after the copy that was put back.
            return Is::Ended;
        };
        let app = self.apps.get(&state.app).copied().unwrap_or_default();
        let ends = [state.ended, app.off, app.deleted];
        if ends.contains(&Tri::Yes) {
            Is::Ended
        } else if ends.contains(&Tri::Maybe) {
            Is::Either
        } else {
            Is::Valid
        }
    }

    /// The one thing that an act decides: what it makes of it, and where that stands. A creation decides nothing that was there.
    fn place(&mut self, act: Act) -> Option<(&mut Tri, Tri)> {
        match act {
            Act::Create { .. } => None,
            Act::Revoke { key } | Act::Rotate { old: key, .. } => {
                Some((self.keys.get_mut(&key).map(|state| &mut state.ended)?, Tri::Yes))
            }
            Act::AppOff(app) => Some((&mut self.apps.entry(app).or_default().off, Tri::Yes)),
            Act::AppOn(app) => Some((&mut self.apps.entry(app).or_default().off, Tri::No)),
            Act::AppDelete(app) => Some((&mut self.apps.entry(app).or_default().deleted, Tri::Yes)),
        }
    }
}

/// A moment at which what is known changes.
#[derive(Clone, Copy)]
enum Turn {
    Sent(Act),
    Answered(Act, Outcome),
    BackedUp,
    Restored,
}

/// What is known of every key over time.
pub struct Timeline {
    valid: BTreeMap<KeyNo, Vec<Valid>>,
    /// The app of each key, and when it was known to have been made.
    made: BTreeMap<KeyNo, (AppNo, Us)>,
    restores: Vec<(Us, Us)>,
    last: State,
}

impl Timeline {
    /// That of a history.
    pub fn of(history: &[Event]) -> Timeline {
        let mut timeline = Timeline {
            valid: BTreeMap::new(),
            made: BTreeMap::new(),
            restores: Vec::new(),
            last: State::default(),
        };
        let mut backup = (0, State::default());
        // What each act stood before when it was sent, for those that turn out not to have been done.
        let mut before: Vec<(Act, Tri)> = Vec::new();
        for (at, turn) in turns(history) {
            let state = &mut timeline.last;
            match turn {
                Turn::Sent(act) => {
                    if let Some((place, becomes)) = state.place(act) {
                        before.push((act, *place));
                        if *place != becomes {
                            *place = Tri::Maybe;
                        }
                    }
                }
                Turn::Answered(act, outcome) => {
                    let was = before.iter().position(|(sent, _)| *sent == act);
                    let was = was.map(|index| before.swap_remove(index).1);
                    if let (Some((place, becomes)), Some(was)) = (state.place(act), was) {
                        match outcome {
                            Outcome::Done { .. } | Outcome::Already => *place = becomes,
                            Outcome::NotDone => *place = was,
                            Outcome::Unknown => {}
                        }
                    }
                    if let (Outcome::Done { .. }, Some((key, app))) = (outcome, made(act)) {
                        state.keys.insert(key, KeyState { app, ended: Tri::No });
                        timeline.made.insert(key, (app, at));
                    }
                }
                Turn::BackedUp => backup = (at, state.clone()),
                Turn::Restored => {
                    timeline.close_all(at);
                    timeline.restores.push((backup.0, at));
                    timeline.last = backup.1.clone();
                }
            }
            timeline.turn(at);
        }
        timeline
    }

    /// Opens and closes the times in which keys are valid.
    fn turn(&mut self, at: Us) {
        for (&key, &(_, made_at)) in &self.made {
            let is_valid = self.last.of(key) == Is::Valid;
            let times = self.valid.entry(key).or_default();
            match times.last_mut().filter(|last| last.until == Us::MAX) {
                Some(open) => open.until = if is_valid { Us::MAX } else { at },
                None if is_valid => times.push(Valid {
                    from: at,
                    until: Us::MAX,
                    is_new: at == made_at,
                }),
                None => {}
            }
        }
    }

    fn close_all(&mut self, at: Us) {
        for times in self.valid.values_mut() {
            if let Some(open) = times.last_mut() {
                open.until = open.until.min(at);
            }
        }
    }

    /// When a key was valid for certain, in order.
    pub fn valid(&self, key: KeyNo) -> &[Valid] {
        self.valid.get(&key).map_or(&[], Vec::as_slice)
    }

    /// What a key is when all has happened.
    pub fn at_the_end(&self, key: KeyNo) -> Is {
        self.last.of(key)
    }

    /// Every key that is known to have been made, with its app.
    pub fn keys(&self) -> impl Iterator<Item = (KeyNo, AppNo)> {
        self.made.iter().map(|(key, (app, _))| (*key, *app))
    }

    /// When copies of the store were made and put back.
    pub fn restores(&self) -> &[(Us, Us)] {
        &self.restores
    }
}

fn made(act: Act) -> Option<(KeyNo, AppNo)> {
    match act {
        Act::Create { key, app } => Some((key, app)),
        Act::Rotate {
            new: Some(new), app, ..
        } => Some((new, app)),
        _ => None,
    }
}

/// All turns in order. At one moment an answer stands before what is sent: it came first to be heard at all.
fn turns(history: &[Event]) -> Vec<(Us, Turn)> {
    let mut turns = Vec::new();
    for event in history {
        match event {
            Event::Call { span, act, outcome } => {
                turns.push((span.start, 2, Turn::Sent(*act)));
                turns.push((span.end, 1, Turn::Answered(*act, *outcome)));
            }
            Event::BackedUp { at } => turns.push((*at, 0, Turn::BackedUp)),
            Event::Restored { at } => turns.push((*at, 0, Turn::Restored)),
            _ => {}
        }
    }
    turns.sort_by_key(|(at, rank, _)| (*at, *rank));
    turns.into_iter().map(|(at, _, turn)| (at, turn)).collect()
}
