//! What saving and restoring ask of a shard.
//!
//! Decides what becomes of a counter that comes from outside. Knows no file and no other shard; the table and the saving call it.

use super::{Shard, Spot};
use crate::subject::Hashed;
use crate::tally::{Floor, Tally};
use portcullis_verify::Moment;

impl Shard {
    /// Takes up a counter that was kept elsewhere. One that the subject has already becomes one that covers both. Answers
    /// whether it is new.
    pub(crate) fn restore(&mut self, key: &Hashed, tally: &Tally, now: Moment) -> bool {
        let spot = match self.logs.find(key.hash) {
            Some(index) => Some(Spot::Log(index)),
            None if self
                .rest
                .calendars
                .contains_key(&super::under(key, key.subject.is_shared())) =>
            {
                Some(Spot::Calendar {
                    is_shared: key.subject.is_shared(),
                })
            }
            None => None,
        };
        let tally = match spot.and_then(|spot| self.tally(key, spot)) {
            Some(present) => present.covering(tally, now),
            None => *tally,
        };
        self.put(key, spot, &tally);
        if spot.is_none() && key.subject.is_shared() {
            self.rest.shared += 1;
        }
        spot.is_none()
    }

    /// Up to when counters were forgotten here.
    pub(crate) fn floor(&self) -> Floor {
        self.rest.floor
    }

    /// Goes on from where another process had forgotten counters.
    pub(crate) fn set_floor(&mut self, floor: Floor) {
        self.rest.floor = floor;
    }

    /// Notes that a counter which nothing is lost with is not taken up at `now`.
    pub(crate) fn raise_floor(&mut self, tally: &Tally, now: Moment) {
        self.rest.floor.raise(tally, now);
    }
}
