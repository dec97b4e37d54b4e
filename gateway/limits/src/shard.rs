//! A part of the counters, under one lock.
//!
//! Decides who has a counter and who shares one, and in which of its two tables a counter lies. Knows no requests and no other
//! shard; the table makes shards and locks them, charging asks them.

use crate::calendar::CalendarCount;
use crate::decimated_log::{Prospect, Standing};
use crate::layout::Layout;
use crate::log_table::LogTable;
use crate::quota::Quota;
use crate::subject::{Hashed, Subject, SubjectHasher};
use crate::tally::{Floor, Tally};
use portcullis_verify::Moment;
use std::collections::HashMap;

mod carried;

/// Slots looked at for an idle counter when there is no room for a new one.
const HAND_STEP: usize = 16;

/// The counters of the subjects that hash here, and of those who share.
///
/// A subject's admissions are all in its own counter if it has one, else all in the one that the subjects of its rule in this
/// shard share. It moves from the second to the first with a copy of what the others have used too.
///
/// Most requests need the logs alone: the rest lies elsewhere, so that a shard and its lock are one line of the processor's
/// cache.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    logs: LogTable,
    rest: Box<Rest>,
}

/// What few requests need of a shard.
#[derive(Debug, Default)]
struct Rest {
    calendars: HashMap<Subject, Kept>,
    floor: Floor,
    /// Counters that are shared.
    shared: usize,
    /// Where the search for an idle counter goes on.
    hand: usize,
}

/// A calendar count. It lies under what its subject and all its kin have in common, or under the subject itself if it is shared.
#[derive(Debug, Clone, Copy)]
struct Kept {
    subject: Subject,
    count: CalendarCount,
}

/// Where a counter lies. Means nothing after the shard has placed, reshaped or dropped another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spot {
    /// In the table of logs, at this index.
    Log(usize),
    /// Among the calendar counts, under this owner.
    Calendar { is_shared: bool },
}

/// The counter of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Located {
    /// Its own.
    Own(Spot),
    /// Its own, as another scheme's rule left it.
    Inherited(Spot),
    /// One that it shares, for want of room.
    Shared(Spot),
    /// There is none, because it has admitted nothing that counts.
    Missing,
}

/// Counters that a shard dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Dropped {
    /// Of one subject each.
    pub(crate) own: usize,
    /// Shared ones.
    pub(crate) shared: usize,
}

/// What one counter says to one more request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// It has room and is in shape.
    Room,
    /// It has room, but the subject has no counter of its own yet, or one in the shape of an earlier rule.
    RoomOnceMade,
    /// It has none.
    Blocked {
        /// Microseconds until it has.
        wait_us: u64,
    },
}

impl Located {
    /// Where.
    #[inline]
    pub(crate) fn spot(self) -> Option<Spot> {
        match self {
            Located::Own(spot) | Located::Inherited(spot) | Located::Shared(spot) => Some(spot),
            Located::Missing => None,
        }
    }
}

impl Shard {
    /// Asks the memory for where the subject's counter may be, and does not wait for it.
    #[inline]
    pub(crate) fn fetch(&self, tag: u64) {
        self.logs.fetch(tag);
    }

    /// What one more admission makes of the log under a tag, and where that is; `None` when there is no such log in the shape of
    /// `layout`, when it has no room, or when the answer takes more than a look at it.
    #[inline(always)]
    pub(crate) fn prospect(&self, tag: u64, layout: &Layout, now_us: u64) -> Option<(usize, Prospect)> {
        let (index, head) = self.logs.find_head(tag)?;
        let prospect = head.fits(layout).then(|| head.prospect(layout, now_us))??;
        Some((index, prospect))
    }

    /// Makes a prospect come true, of which nothing has changed since.
    #[inline]
    pub(crate) fn fulfil(&mut self, index: usize, prospect: &Prospect) {
        *self.logs.head_mut(index) = prospect.head;
    }

    /// Finds the counter that holds the subject's admissions.
    #[inline]
    pub(crate) fn locate(&self, key: &Hashed, hasher: &SubjectHasher) -> Located {
        if let Some(index) = self.logs.find(key.hash) {
            return Located::Own(Spot::Log(index));
        }
        if let Some(index) = self.logs.find_kin(key) {
            return Located::Inherited(Spot::Log(index));
        }
        if self.rest.calendars.is_empty() && self.rest.shared == 0 {
            return Located::Missing;
        }
        self.locate_rest(key, hasher)
    }

    #[cold]
    fn locate_rest(&self, key: &Hashed, hasher: &SubjectHasher) -> Located {
        if let Some(kept) = self.rest.calendars.get(&key.subject.kin()) {
            let spot = Spot::Calendar { is_shared: false };
            return if kept.subject == key.subject {
                Located::Own(spot)
            } else {
                Located::Inherited(spot)
            };
        }
        let shared = shared(key, hasher);
        match self.logs.find(shared.hash) {
            Some(index) => Located::Shared(Spot::Log(index)),
            None if self.rest.calendars.contains_key(&shared.subject) => {
                Located::Shared(Spot::Calendar { is_shared: true })
            }
            None => Located::Missing,
        }
    }

    /// Whether `quota` has room for one more request.
    #[inline]
    pub(crate) fn look(&self, key: &Hashed, located: Located, quota: &Quota, now: Moment) -> Look {
        if let (Located::Own(Spot::Log(index)), Quota::Rolling(layout)) = (located, quota) {
            let head = self.logs.head(index);
            if head.fits(layout) {
                return match head.wait_us(layout, now.monotonic_us) {
                    None => Look::Room,
                    Some(wait_us) => Look::Blocked { wait_us },
                };
            }
        }
        self.look_at_any(key, located, quota, now)
    }

    #[cold]
    #[inline(never)]
    fn look_at_any(&self, key: &Hashed, located: Located, quota: &Quota, now: Moment) -> Look {
        let Some(tally) = located.spot().and_then(|spot| self.tally(key, spot)) else {
            return Look::RoomOnceMade;
        };
        match tally.wait_us(quota, now) {
            Some(wait_us) => Look::Blocked { wait_us },
            None if matches!(located, Located::Own(_)) && tally.fits(quota) => Look::Room,
            // One that shares is tried for a counter of its own.
            None => Look::RoomOnceMade,
        }
    }

    /// Where `quota` stands.
    pub(crate) fn standing(&self, key: &Hashed, spot: Option<Spot>, quota: &Quota, now: Moment) -> Standing {
        if let (Some(Spot::Log(index)), Quota::Rolling(layout)) = (spot, quota)
            && self.logs.head(index).fits(layout)
        {
            return self.logs.standing(index, layout, now.monotonic_us);
        }
        spot.and_then(|spot| self.tally(key, spot))
            .unwrap_or_else(|| Tally::fresh(quota, &self.rest.floor))
            .standing(quota, now)
    }

    /// Counts an admission for which [`Shard::look`] found room, and tells where `quota` then stands. The counter
    /// is in the shape of `quota`.
    #[inline]
    pub(crate) fn admit(&mut self, key: &Hashed, spot: Spot, quota: &Quota, now: Moment) -> Option<Standing> {
        match (spot, quota) {
            (Spot::Log(index), Quota::Rolling(layout)) => Some(self.logs.admit(index, layout, now.monotonic_us)),
            (Spot::Calendar { is_shared }, Quota::Calendar { limit, .. }) => self
                .rest
                .calendars
                .get_mut(&under(key, is_shared))
                .map(|kept| kept.count.admit(*limit, now)),
            _ => None,
        }
    }

    /// Gives the subject a counter in the shape of `quota`: its own if `has_room`, else a shared one, unless it has one.
    pub(crate) fn place(&mut self, key: &Hashed, quota: &Quota, has_room: bool, now: Moment, hasher: &SubjectHasher) {
        let located = self.locate(key, hasher);
        let tally = match located.spot().and_then(|spot| self.tally(key, spot)) {
            Some(tally) => tally.reshaped(quota, now),
            None => Tally::fresh(quota, &self.rest.floor),
        };
        match located {
            Located::Own(spot) | Located::Inherited(spot) => self.put(key, Some(spot), &tally),
            Located::Shared(_) | Located::Missing if has_room => self.put(key, None, &tally),
            Located::Shared(spot) => self.put(&shared(key, hasher), Some(spot), &tally),
            Located::Missing => {
                self.put(&shared(key, hasher), None, &tally);
                self.rest.shared += 1;
            }
        }
    }

    /// Drops every counter that is idle.
    pub(crate) fn sweep(&mut self, now: Moment) -> Dropped {
        let mut dropped = self.drop_idle(0, self.logs.slots(), now);
        let Rest {
            calendars,
            floor,
            shared,
            ..
        } = &mut *self.rest;
        calendars.retain(|_, kept| {
            let is_idle = kept.count.is_over(now);
            if is_idle {
                floor.raise(&Tally::Calendar(kept.count), now);
                if kept.subject.is_shared() {
                    *shared -= 1;
                    dropped.shared += 1;
                } else {
                    dropped.own += 1;
                }
            }
            !is_idle
        });
        if calendars.len() < calendars.capacity() / 4 {
            calendars.shrink_to_fit();
        }
        self.logs.shrink();
        dropped
    }

    /// Looks at the next few counters and drops the idle ones among them, to make room.
    pub(crate) fn make_room(&mut self, now: Moment) -> Dropped {
        let slots = self.logs.slots();
        let from = if self.rest.hand < slots { self.rest.hand } else { 0 };
        let until = (from + HAND_STEP).min(slots);
        self.rest.hand = until;
        self.drop_idle(from, until, now)
    }

    /// Every counter with its subject.
    pub(crate) fn tallies(&self) -> impl Iterator<Item = (Subject, Tally)> {
        let logs = (0..self.logs.slots())
            .filter_map(|index| Some((*self.logs.subject(index)?, Tally::Rolling(self.logs.log(index)))));
        let calendars = self
            .rest
            .calendars
            .values()
            .map(|kept| (kept.subject, Tally::Calendar(kept.count)));
        logs.chain(calendars)
    }

    fn drop_idle(&mut self, from: usize, until: usize, now: Moment) -> Dropped {
        let mut dropped = Dropped::default();
        let mut index = from;
        while index < until {
            let head = self.logs.head(index);
            match self.logs.subject(index).map(Subject::is_shared) {
                Some(is_shared) if head.is_idle(&head.layout(), now.monotonic_us) => {
                    self.rest.floor.raise(&Tally::Rolling(self.logs.log(index)), now);
                    // Another may take its place, so that this index is looked at again.
                    self.logs.remove(index);
                    if is_shared {
                        self.rest.shared -= 1;
                        dropped.shared += 1;
                    } else {
                        dropped.own += 1;
                    }
                }
                _ => index += 1,
            }
        }
        dropped
    }

    fn tally(&self, key: &Hashed, spot: Spot) -> Option<Tally> {
        match spot {
            Spot::Log(index) => Some(Tally::Rolling(self.logs.log(index))),
            Spot::Calendar { is_shared } => {
                let kept = self.rest.calendars.get(&under(key, is_shared))?;
                Some(Tally::Calendar(kept.count))
            }
        }
    }

    /// Puts a tally where its kind belongs, and takes away the counter that it replaces.
    fn put(&mut self, key: &Hashed, old: Option<Spot>, tally: &Tally) {
        match (tally, old) {
            (Tally::Rolling(log), Some(Spot::Log(index))) => self.logs.replace(index, key, log),
            (Tally::Rolling(log), old) => {
                if old.is_some() {
                    self.rest.calendars.remove(&under(key, key.subject.is_shared()));
                }
                self.logs.insert(key, log);
            }
            (Tally::Calendar(count), old) => {
                if let Some(Spot::Log(index)) = old {
                    self.logs.remove(index);
                }
                let kept = Kept {
                    subject: key.subject,
                    count: *count,
                };
                self.rest.calendars.insert(under(key, key.subject.is_shared()), kept);
            }
        }
    }
}

fn shared(key: &Hashed, hasher: &SubjectHasher) -> Hashed {
    let subject = Subject::shared(key.subject.rule);
    Hashed {
        hash: hasher.hash(&subject),
        subject,
    }
}

fn under(key: &Hashed, is_shared: bool) -> Subject {
    if is_shared {
        Subject::shared(key.subject.rule)
    } else {
        key.subject.kin()
    }
}
