//! Which pings are under way, and when each was sent: what an answer proves is how things stood at that moment.
//!
//! Few at a time: when as many as may be are under way, the next is owed, and sent when an answer comes. Sends nothing itself.

use portcullis_verify::Moment;
use std::collections::VecDeque;

/// Most pings under way.
const UNDER_WAY_MAX: usize = 2;

/// The pings of one watch.
#[derive(Debug, Default)]
pub(super) struct Pings {
    /// Oldest first.
    under_way: VecDeque<(u64, Moment)>,
    last_number: u64,
    is_owed: bool,
}

impl Pings {
    /// The number of the next ping, if one may be sent now; otherwise it is owed. `now` must be read before it is sent.
    pub(super) fn next(&mut self, now: Moment) -> Option<u64> {
        self.is_owed = self.under_way.len() >= UNDER_WAY_MAX;
        if self.is_owed {
            return None;
        }
        self.last_number += 1;
        self.under_way.push_back((self.last_number, now));
        Some(self.last_number)
    }

    /// The ping that was to be sent was not.
    pub(super) fn take_back(&mut self) {
        self.under_way.pop_back();
        self.is_owed = true;
    }

    /// An answer came: when its ping was sent. Earlier ones will get none. `None`: there is no such ping under way.
    pub(super) fn answered(&mut self, number: u64) -> Option<Moment> {
        let at = self.under_way.iter().position(|(sent, _)| *sent == number)?;
        self.under_way.drain(..=at).next_back().map(|(_, at)| at)
    }

    /// The number of the ping that has been under way for longest.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.under_way.front().map(|(number, _)| *number)
    }

    /// Whether one should be sent now that there is room again.
    pub(super) fn is_owed(&self) -> bool {
        self.is_owed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(monotonic_us: u64) -> Moment {
        Moment {
            monotonic_us,
            wall_us: 0,
        }
    }

    #[test]
    fn no_more_than_two_are_under_way_and_a_third_is_owed() {
        let mut pings = Pings::default();
        assert_eq!(pings.next(at(10)), Some(1));
        assert_eq!(pings.next(at(20)), Some(2));
        assert!(!pings.is_owed());
        assert_eq!(pings.next(at(30)), None);
        assert!(pings.is_owed());
        assert_eq!(pings.answered(1), Some(at(10)));
        assert_eq!(pings.next(at(40)), Some(3));
        assert!(!pings.is_owed());
    }

    #[test]
    fn an_answer_stands_for_its_own_ping_and_ends_the_earlier_ones() {
        let mut pings = Pings::default();
        let (first, second) = (pings.next(at(10)).unwrap(), pings.next(at(20)).unwrap());
        assert_eq!(pings.answered(second + 1), None, "it was never sent");
        assert_eq!(pings.answered(second), Some(at(20)));
        assert_eq!(pings.answered(first), None, "a later one was answered");
        assert_eq!(pings.answered(second), None, "it was answered");
    }

    #[test]
    fn what_was_not_sent_is_owed_and_cannot_be_answered() {
        let mut pings = Pings::default();
        let number = pings.next(at(10)).unwrap();
        pings.take_back();
        assert!(pings.is_owed());
        assert_eq!(pings.answered(number), None);
    }
}
