//! The table of every key: when it is whole, what is pending in it, and what it makes of answers that come late.
//!
//! Drives `Lookup` directly, with a source that answers when told and a clock that stands still.

use super::completeness::PENDING_MAX;
use super::scripted_source::{Script, record, scripted};
use super::tests::SETTINGS;
use super::*;
use crate::{AppId, DeploymentId, KeyId, KeyRecord, ManualClock};

struct Fixture {
    lookup: Arc<Lookup>,
    script: Script,
    hand: ManualClock,
}

fn fixture(settings: CacheSettings) -> Fixture {
    let (source, script) = scripted();
    let (clock, hand) = Clock::manual(Moment {
        monotonic_us: 1,
        wall_us: 1,
    });
    let rules = Arc::new(RuleSet::compile(None, &[]));
    Fixture {
        lookup: Arc::new(Lookup::of_every_key(settings, source, rules, clock)),
        script,
        hand,
    }
}

fn hash(byte: u8) -> KeyHash {
    KeyHash([byte; 32])
}

const fn at(revision: u64) -> Version {
    Version { epoch: 1, revision }
}

fn live() -> KeyRecord {
    record(KeyId(1))
}

impl Fixture {
    /// What a request would be told from memory.
    fn held(&self, byte: u8) -> &'static str {
        match self.lookup.held(&hash(byte), self.lookup.clock.now()) {
            Some(Found::Known(_)) => "known",
            Some(Found::Unknown) => "unknown",
            None => "not known whether",
        }
    }

    fn change(&self, revision: u64, kind: ChangeKind) {
        self.lookup.apply(&Change {
            version: at(revision),
            deployment_id: DeploymentId(1),
            kind,
        });
    }

    /// Walks over one key, at revision 5.
    fn fill(&self) {
        self.lookup.distrust_all(at(5));
        self.lookup.incomplete();
        assert!(self.lookup.admit(hash(1), live(), at(5)));
        assert!(self.lookup.complete(at(5)));
    }
}

#[test]
fn what_a_whole_table_does_not_hold_is_unknown_without_asking() {
    let fixture = fixture(SETTINGS);
    fixture.lookup.distrust_all(at(5));
    fixture.lookup.incomplete();
    assert!(fixture.lookup.admit(hash(1), live(), at(5)));
    assert_eq!((fixture.held(1), fixture.held(2)), ("known", "not known whether"));
    assert!(fixture.lookup.complete(at(5)));
    assert_eq!((fixture.held(1), fixture.held(2)), ("known", "unknown"));
    fixture.hand.advance_us(1_000_000_000);
    assert_eq!(fixture.held(2), "unknown", "nothing runs out");
    fixture.lookup.incomplete();
    assert_eq!((fixture.held(1), fixture.held(2)), ("known", "not known whether"));
    assert!(fixture.script.try_call().is_none());
}

#[test]
fn a_source_of_another_tenant_leaves_nothing_held() {
    let table = fixture(SETTINGS);
    table.fill();
    table.lookup.forget_all();
    assert_eq!(
        (table.held(1), table.held(2)),
        ("not known whether", "not known whether")
    );
    assert_eq!(table.lookup.stats().known_keys, 0);
    table.fill();
    assert_eq!((table.held(1), table.held(2)), ("known", "unknown"));

    let (source, _script) = scripted();
    let rules = Arc::new(RuleSet::compile(None, &[]));
    let cache = Lookup::new(SETTINGS, source, rules, Clock::system());
    assert!(cache.admit(hash(1), live(), at(5)));
    cache.note_absent(&hash(2), at(5));
    let now = Clock::system().now();
    assert!(cache.held(&hash(1), now).is_some() && cache.held(&hash(2), now).is_some());
    cache.forget_all();
    assert!(cache.held(&hash(1), now).is_none() && cache.held(&hash(2), now).is_none());
}

#[test]
fn a_whole_table_that_may_have_missed_something_calls_nothing_unknown() {
    let fixture = fixture(SETTINGS);
    let freshness = Arc::new(Freshness::new(
        Duration::from_micros(10),
        Duration::from_micros(30),
        false,
    ));
    fixture.lookup.judge_by(Arc::clone(&freshness));
    fixture.fill();
    freshness.note(1);
    assert_eq!((fixture.held(1), fixture.held(2)), ("known", "unknown"));
    fixture.hand.advance_us(11);
    assert_eq!((fixture.held(1), fixture.held(2)), ("known", "not known whether"));
    freshness.note(12);
    assert_eq!((fixture.held(1), fixture.held(2)), ("known", "unknown"));
}

#[test]
fn a_changed_key_is_pending_until_an_answer_covers_the_change() {
    fn check(kind: ChangeKind, settle: impl Fn(&Lookup), expected: &str) {
        let fixture = fixture(SETTINGS);
        fixture.fill();
        fixture.change(6, kind);
        assert_eq!(
            fixture.held(1),
            if kind == ChangeKind::KeyCreated(hash(2)) {
                "known"
            } else {
                "not known whether"
            }
        );
        let byte = if let ChangeKind::KeyCreated(_) = kind { 2 } else { 1 };
        assert_eq!(fixture.held(byte), "not known whether");
        settle(&fixture.lookup);
        assert_eq!(fixture.held(byte), expected, "{kind:?}");
        assert!(fixture.lookup.table().unwrap().is_complete);
        assert_eq!(fixture.held(3), "unknown");
    }
    let admit = |byte, revision| {
        move |lookup: &Lookup| assert!(lookup.admit(hash(byte), live(), at(revision)) == (revision > 5))
    };
    let absent = |byte, revision| move |lookup: &Lookup| lookup.note_absent(&hash(byte), at(revision));
    check(ChangeKind::KeyChanged(hash(1)), admit(1, 6), "known");
    check(ChangeKind::KeyChanged(hash(1)), admit(1, 5), "not known whether");
    check(ChangeKind::KeyChanged(hash(1)), absent(1, 6), "unknown");
    check(ChangeKind::KeyChanged(hash(1)), absent(1, 5), "not known whether");
    check(ChangeKind::KeyCreated(hash(2)), admit(2, 7), "known");
    check(ChangeKind::KeyCreated(hash(2)), absent(2, 5), "not known whether");
    check(ChangeKind::AppChanged(AppId(1)), admit(1, 6), "known");
    check(ChangeKind::AppChanged(AppId(1)), absent(3, 6), "not known whether");
}

#[test]
fn a_key_that_only_an_outdated_page_told_of_is_not_taken_for_unknown() {
    let fixture = fixture(SETTINGS);
    fixture.lookup.distrust_all(at(5));
    fixture.lookup.incomplete();
    fixture.change(6, ChangeKind::AppChanged(AppId(1)));
    assert!(!fixture.lookup.admit(hash(1), live(), at(5)));
    assert!(fixture.lookup.complete(at(6)));
    assert_eq!((fixture.held(1), fixture.held(2)), ("not known whether", "unknown"));
    assert_eq!(fixture.lookup.table().unwrap().pending, 1);
}

#[test]
fn an_older_answer_does_not_take_the_place_of_a_newer_one() {
    let fixture = fixture(SETTINGS);
    fixture.fill();
    let revoked = KeyRecord {
        revoked_at_us: Some(0),
        ..live()
    };
    // Read after a change that was not applied here yet.
    assert!(fixture.lookup.admit(hash(1), revoked, at(8)));
    assert!(fixture.lookup.admit(hash(1), live(), at(6)));
    fixture.lookup.note_absent(&hash(1), at(7));
    let found = fixture.lookup.held(&hash(1), fixture.lookup.clock.now());
    assert!(matches!(found, Some(Found::Known(key)) if key.revoked_at_us().is_some()));
}

#[test]
fn after_a_reset_only_a_walk_that_began_later_makes_it_whole() {
    let fixture = fixture(SETTINGS);
    fixture.fill();
    fixture.lookup.distrust_all(at(9));
    assert_eq!(
        (fixture.held(1), fixture.held(2)),
        ("not known whether", "not known whether")
    );
    assert!(!fixture.lookup.complete(at(9)), "the walk began before");
    assert!(fixture.lookup.table().unwrap().needs_walk);
    fixture.lookup.incomplete();
    assert!(!fixture.lookup.complete(at(8)), "the walk read too early");
    assert!(fixture.lookup.complete(at(9)));
    assert_eq!((fixture.held(1), fixture.held(2)), ("not known whether", "unknown"));
}

#[test]
fn a_table_that_is_full_is_never_whole() {
    let fixture = fixture(CacheSettings {
        keys_max: 1,
        ..SETTINGS
    });
    fixture.fill();
    assert!(!fixture.lookup.admit(hash(2), live(), at(6)));
    assert_eq!(
        (fixture.held(1), fixture.held(2), fixture.held(3)),
        ("known", "not known whether", "not known whether")
    );
    assert!(!fixture.lookup.complete(at(6)));
    assert!(fixture.lookup.table().unwrap().needs_walk);
}

#[tokio::test]
async fn a_key_without_room_is_answered_all_the_same() {
    let fixture = fixture(CacheSettings {
        keys_max: 0,
        ..SETTINGS
    });
    let lookup = Arc::clone(&fixture.lookup);
    let asking = tokio::spawn(async move { lookup.fill(&hash(1)).await });
    fixture.script.call().await.answer(at(1), Some(live()));
    assert!(matches!(asking.await.unwrap(), Ok(Found::Known(_))));
}

#[test]
fn more_pending_keys_than_there_is_room_for_end_the_completeness() {
    let fixture = fixture(SETTINGS);
    fixture.fill();
    let mut revision = 5;
    let nth = |n: usize| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        KeyHash(bytes)
    };
    for n in 0..PENDING_MAX {
        revision += 1;
        fixture.change(revision, ChangeKind::KeyCreated(nth(n)));
    }
    assert!(fixture.lookup.table().unwrap().is_complete);
    assert_eq!(fixture.held(7), "unknown");
    fixture.change(revision + 1, ChangeKind::KeyCreated(nth(PENDING_MAX)));
    assert_eq!(fixture.held(7), "not known whether");
    fixture.lookup.note_absent(&nth(0), at(revision + 1));
    assert_eq!(fixture.lookup.table().unwrap().pending, PENDING_MAX - 1);
}

#[test]
fn a_cache_is_never_whole() {
    let (source, _script) = scripted();
    let (clock, _hand) = Clock::manual(Moment {
        monotonic_us: 1,
        wall_us: 1,
    });
    let lookup = Lookup::new(SETTINGS, source, Arc::new(RuleSet::compile(None, &[])), clock);
    assert!(
        lookup.admit(hash(1), live(), at(5)),
        "a record from elsewhere is welcome"
    );
    assert!(!lookup.complete(at(5)));
    assert!(lookup.held(&hash(2), lookup.clock.now()).is_none());
    assert!(matches!(
        lookup.held(&hash(1), lookup.clock.now()),
        Some(Found::Known(_))
    ));
    assert!(lookup.table().is_none());
}
