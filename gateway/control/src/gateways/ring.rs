//! The recent changes, held once for all who watch, and bounded.
//!
//! Holds a run of the log without gaps up to its head. Knows neither who reads nor what is sent; a reader who is behind what is
//! held reads the store.

use portcullis_sync::message::{ChangeLine, Touches};
use portcullis_verify::{Change, DeploymentId, Version};
use std::collections::VecDeque;

/// Most changes held: some four megabytes.
const CHANGES_MAX: usize = 65_536;
/// Most changes of one run, so that a line stays well below [`portcullis_sync::message::LINE_BYTES_MAX`].
pub(crate) const RUN_CHANGES_MAX: usize = 2_000;

/// What follows a cursor.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing: the cursor is at the head.
    Nothing,
    /// These changes of the deployment, perhaps none, up to `through`.
    Run { through: Version, changes: Vec<ChangeLine> },
    /// The changes after the cursor are not held any more; the store may have them.
    NotHeld,
    /// The cursor is of another history, or ahead of this one: nothing can be told from it on.
    Elsewhere,
}

/// The last changes of one history.
#[derive(Debug)]
pub(crate) struct Ring {
    head: Version,
    /// The changes up to `head`, without gaps.
    changes: VecDeque<Change>,
    changes_max: usize,
    resets: u64,
}

impl Ring {
    /// Holds nothing, and stands in no history.
    pub(crate) fn new() -> Ring {
        Ring {
            head: Version { epoch: 0, revision: 0 },
            changes: VecDeque::new(),
            changes_max: CHANGES_MAX,
            resets: 0,
        }
    }

    /// The last change that is known of.
    pub(crate) fn head(&self) -> Version {
        self.head
    }

    /// How often changes were missed. Whoever saw a smaller number must look anew at all that changes would have told.
    pub(crate) fn resets(&self) -> u64 {
        self.resets
    }

    /// Adds the next change.
    pub(crate) fn push(&mut self, change: Change) {
        if change.version.epoch != self.head.epoch || change.version.revision != self.head.revision + 1 {
            // The log has no gaps; should one come all the same, nothing is told across it.
            self.changes.clear();
        }
        if self.changes.len() >= self.changes_max {
            self.changes.pop_front();
        }
        self.head = change.version;
        self.changes.push_back(change);
    }

    /// Changes were missed: goes on from `head`.
    pub(crate) fn reset(&mut self, head: Version) {
        self.changes.clear();
        self.head = head;
        self.resets += 1;
    }

    /// What of a deployment follows `cursor`.
    pub(crate) fn after(&self, cursor: Version, deployment_id: DeploymentId) -> Next {
        if cursor.epoch != self.head.epoch || cursor.revision > self.head.revision {
            return Next::Elsewhere;
        }
        let Ok(behind) = usize::try_from(self.head.revision - cursor.revision) else {
            return Next::NotHeld;
        };
        if behind == 0 {
            return Next::Nothing;
        }
        let Some(first) = self.changes.len().checked_sub(behind) else {
            return Next::NotHeld;
        };
        let (through, changes) = run(self.changes.range(first..), deployment_id);
        Next::Run {
            through: through.unwrap_or(self.head),
            changes,
        }
    }
}

/// Those of `changes` that concern a deployment, as they are sent, and the version that they lead to: short of the last one where
/// they are too many for one line.
pub(crate) fn run<'a>(
    changes: impl Iterator<Item = &'a Change>,
    deployment_id: DeploymentId,
) -> (Option<Version>, Vec<ChangeLine>) {
    let (mut through, mut lines) = (None, Vec::new());
    for change in changes {
        let touches = Touches::of(change.kind).filter(|_| change.deployment_id == deployment_id);
        if let Some(touches) = touches {
            if lines.len() >= RUN_CHANGES_MAX {
                break;
            }
            lines.push(ChangeLine {
                revision: change.version.revision,
                touches,
            });
        }
        through = Some(change.version);
    }
    (through, lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_verify::{AppId, ChangeKind};

    const OURS: DeploymentId = DeploymentId(1);
    const THEIRS: DeploymentId = DeploymentId(2);

    fn version(epoch: u64, revision: u64) -> Version {
        Version { epoch, revision }
    }

    fn change(revision: u64, deployment_id: DeploymentId) -> Change {
        Change {
            version: version(7, revision),
            deployment_id,
            kind: ChangeKind::AppChanged(AppId(i64::try_from(revision).unwrap())),
        }
    }

    /// A ring of four that began at 10 and heard of changes up to 16, the even ones ours.
    fn ring() -> Ring {
        let mut ring = Ring::new();
        ring.changes_max = 4;
        ring.reset(version(7, 10));
        for revision in 11..=16 {
            let of = if revision % 2 == 0 { OURS } else { THEIRS };
            ring.push(change(revision, of));
        }
        ring
    }

    #[test]
    fn what_follows_a_cursor_is_told_whole_or_not_at_all() {
        fn check(cursor: Version, expected: Option<&[u64]>, otherwise: Next) {
            match (ring().after(cursor, OURS), expected) {
                (Next::Run { through, changes }, Some(expected)) => {
                    assert_eq!(through, version(7, 16));
                    let revisions: Vec<u64> = changes.iter().map(|change| change.revision).collect();
                    assert_eq!(revisions, expected, "after {cursor:?}");
                }
                (found, _) => assert_eq!(found, otherwise, "after {cursor:?}"),
            }
        }
        check(version(7, 16), None, Next::Nothing);
        check(version(7, 15), Some(&[16]), Next::Nothing);
        check(version(7, 12), Some(&[14, 16]), Next::Nothing);
        check(version(7, 11), None, Next::NotHeld);
        check(version(7, 0), None, Next::NotHeld);
        check(version(7, 17), None, Next::Elsewhere);
        check(version(8, 16), None, Next::Elsewhere);
    }

    #[test]
    fn a_deployment_that_nothing_concerns_is_led_past_the_others() {
        let expected = Next::Run {
            through: version(7, 16),
            changes: Vec::new(),
        };
        assert_eq!(ring().after(version(7, 12), DeploymentId(3)), expected);
    }

    #[test]
    fn nothing_is_told_across_a_gap_or_a_reset() {
        let mut gap = ring();
        gap.push(change(18, OURS));
        assert_eq!(gap.after(version(7, 16), OURS), Next::NotHeld);
        assert!(matches!(gap.after(version(7, 17), OURS), Next::Run { .. }));
        let mut reset = ring();
        let before = reset.resets();
        reset.reset(version(7, 20));
        assert_eq!(reset.resets(), before + 1);
        assert_eq!(reset.after(version(7, 16), OURS), Next::NotHeld);
        reset.reset(version(9, 3));
        assert_eq!(reset.after(version(7, 2), OURS), Next::Elsewhere);
    }

    #[test]
    fn a_long_run_ends_where_its_line_is_full() {
        let count = u64::try_from(RUN_CHANGES_MAX).unwrap();
        let changes: Vec<Change> = (1..=count + 5).map(|revision| change(revision, OURS)).collect();
        let (through, lines) = run(changes.iter(), OURS);
        assert_eq!(through, Some(version(7, count)));
        assert_eq!(lines.len(), RUN_CHANGES_MAX);
        let (through, lines) = run(changes.iter(), THEIRS);
        assert_eq!((through, lines.len()), (Some(version(7, count + 5)), 0));
    }
}
