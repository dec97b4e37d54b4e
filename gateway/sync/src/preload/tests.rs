use super::*;
use crate::link::LinkError;
use crate::message::{HashText, KeyPage, PagedKey};
use crate::scripted_reader::{PATIENCE, Script, record, scripted};
use portcullis_verify::{AppId, ChangeKind, DeploymentId, KeyHash, KeyId, KeyRecord, Moment, SchemeId};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;

/// After a table could not be made whole.
const REFILL_PAUSE: Duration = Duration::from_millis(100);
const EPOCH: u64 = 7;

const fn at(revision: u64) -> Version {
    Version { epoch: EPOCH, revision }
}

fn hash(number: u8) -> KeyHash {
    KeyHash([number; 32])
}

/// A table that keeps what it is told.
#[derive(Default)]
struct Told(Mutex<ToldState>);

#[derive(Default)]
struct ToldState {
    keys: BTreeMap<u8, (i64, u64)>,
    absent: Vec<(u8, u64)>,
    complete: Option<Version>,
    refuses: bool,
    incompletes: u32,
}

impl KeyTable for Told {
    fn admit(&self, hash: KeyHash, record: KeyRecord, as_of: Version) -> bool {
        let told = (record.key_id.0, as_of.revision);
        self.0.lock().keys.insert(hash.0[0], told);
        true
    }

    fn absent(&self, hash: &KeyHash, as_of: Version) {
        self.0.lock().absent.push((hash.0[0], as_of.revision));
    }

    fn complete(&self, at: Version) -> bool {
        let mut told = self.0.lock();
        if !told.refuses {
            told.complete = Some(at);
        }
        !told.refuses
    }

    fn incomplete(&self) {
        let mut told = self.0.lock();
        told.complete = None;
        told.incompletes += 1;
    }
}

struct Scene {
    preloader: Preloader,
    table: Arc<Told>,
    script: Script,
    applied: watch::Sender<Option<Version>>,
    _running: tokio::task::JoinHandle<()>,
}

impl Scene {
    fn new() -> Scene {
        let (reader, script) = scripted();
        let table = Arc::new(Told::default());
        let preloader = Preloader::new(Arc::clone(&table) as Arc<dyn KeyTable>);
        let (applied, receiver) = watch::channel(None);
        let (clock, _) = Clock::manual(Moment {
            monotonic_us: 1,
            wall_us: 0,
        });
        let loader = Loader::new(reader, Arc::clone(&preloader.shared), receiver, clock, REFILL_PAUSE);
        let running = tokio::spawn(loader.run());
        Scene {
            preloader,
            table,
            script,
            applied,
            _running: running,
        }
    }

    /// One that has read keys 1 and 2 at 10.
    async fn whole() -> Scene {
        let scene = Scene::new();
        scene.applied.send_replace(Some(at(10)));
        scene.script.page().await.answer(page(10, &[1, 2], None));
        scene.until(|told| told.complete == Some(at(10))).await;
        scene
    }

    /// Hears of a change, as a follower would tell it.
    fn hear(&self, revision: u64, kind: ChangeKind) {
        self.preloader.apply(&Change {
            version: at(revision),
            deployment_id: DeploymentId(1),
            kind,
        });
        self.applied.send_replace(Some(at(revision)));
    }

    fn reset(&self, to: Version) {
        self.preloader.distrust_all(to);
        self.applied.send_replace(Some(to));
    }

    async fn until(&self, is_so: impl Fn(&ToldState) -> bool) {
        let waiting = async {
            while !is_so(&self.table.0.lock()) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("it never came to it");
    }

    /// Gives the loader every chance to do what it should not.
    async fn idle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

fn page(as_of: u64, keys: &[u8], next: Option<i64>) -> KeyPage {
    KeyPage {
        as_of: at(as_of),
        keys: keys
            .iter()
            .map(|number| PagedKey {
                hash: HashText(hash(*number)),
                record: record(i64::from(*number)),
            })
            .collect(),
        next: next.map(KeyId),
    }
}

#[tokio::test]
async fn nothing_is_read_before_changes_are_heard_and_then_everything_is() {
    let scene = Scene::new();
    scene.idle().await;
    assert!(scene.script.try_page().is_none());
    scene.applied.send_replace(Some(at(10)));
    let first = scene.script.page().await;
    assert_eq!((first.after, first.app, first.limit), (None, None, 1_000));
    first.answer(page(10, &[1, 2], Some(2)));
    let second = scene.script.page().await;
    assert_eq!(second.after, Some(KeyId(2)));
    assert!(scene.table.0.lock().complete.is_none());
    second.answer(page(12, &[3], None));
    // The last page was read at 12, which has not been heard of yet.
    scene.until(|told| told.keys.len() == 3).await;
    scene.idle().await;
    assert!(scene.table.0.lock().complete.is_none());
    scene.applied.send_replace(Some(at(12)));
    scene.until(|told| told.complete == Some(at(12))).await;
    scene.preloader.completed().await;
    let progress = scene.preloader.progress();
    assert_eq!((progress.keys, progress.walks, progress.is_complete), (3, 1, true));
    assert_eq!(progress.to_string(), "all keys are held: 3 in 0.0 s");
}

#[tokio::test]
async fn a_page_from_before_what_was_heard_does_not_count() {
    let scene = Scene::new();
    scene.applied.send_replace(Some(at(10)));
    scene.script.page().await.answer(page(9, &[1], None));
    let again = scene.script.page().await;
    assert_eq!(again.after, None);
    assert!(scene.table.0.lock().keys.is_empty());
    again.answer(KeyPage {
        as_of: Version { epoch: 8, revision: 99 },
        ..page(10, &[1], None)
    });
    scene.script.page().await.answer(page(10, &[1], None));
    scene.until(|told| told.complete == Some(at(10))).await;
    assert_eq!(scene.preloader.progress().failures, 2);
}

#[tokio::test]
async fn a_failure_is_tried_again_where_it_happened_and_a_page_too_long_with_fewer_keys() {
    let scene = Scene::new();
    scene.applied.send_replace(Some(at(10)));
    scene.script.page().await.answer(page(10, &[1], Some(1)));
    scene.script.page().await.fail(LinkError::TooLong);
    let again = scene.script.page().await;
    assert_eq!((again.after, again.limit), (Some(KeyId(1)), 500));
    again.fail(LinkError::TimedOut(PATIENCE));
    let again = scene.script.page().await;
    assert_eq!((again.after, again.limit), (Some(KeyId(1)), 500));
    // A page that leads back would never end.
    again.answer(page(10, &[2], Some(1)));
    let again = scene.script.page().await;
    assert_eq!(again.after, Some(KeyId(1)));
    again.answer(page(10, &[2], None));
    scene.until(|told| told.complete.is_some()).await;
}

#[tokio::test]
async fn a_changed_key_is_read_again_at_its_change_or_later() {
    let scene = Scene::whole().await;
    scene.hear(11, ChangeKind::KeyChanged(hash(1)));
    scene.hear(12, ChangeKind::KeyCreated(hash(3)));
    let call = scene.script.look_up().await;
    assert_eq!(call.hashes[0], hash(1));
    let count = call.hashes.len();
    // Too old for the last of them: nothing of it is told.
    call.answer(at(10), |_| Some(record(99)));
    let call = scene.script.look_up().await;
    assert_eq!(call.hashes, [hash(1), hash(3)], "{count} were asked for at first");
    assert_eq!(scene.table.0.lock().keys[&1], (1, 10));
    call.answer(at(12), |found| (*found == hash(3)).then(|| record(3)));
    scene.until(|told| told.keys.contains_key(&3)).await;
    assert_eq!(scene.table.0.lock().absent, [(1, 12)]);
    assert_eq!(scene.table.0.lock().complete, Some(at(10)), "it stayed whole");
    assert!(scene.script.try_page().is_none());
}

#[tokio::test]
async fn a_walk_goes_on_while_keys_change() {
    let scene = Scene::new();
    scene.applied.send_replace(Some(at(10)));
    let mut held = scene.script.page().await;
    for round in 1..=5_u8 {
        scene.hear(10 + u64::from(round), ChangeKind::KeyChanged(hash(200)));
        held.answer(page(10, &[round], Some(i64::from(round))));
        let call = scene.script.look_up().await;
        call.answer(at(10 + u64::from(round)), |_| None);
        held = scene.script.page().await;
        assert_eq!(held.after, Some(KeyId(i64::from(round))));
    }
    held.answer(page(15, &[], None));
    scene.until(|told| told.complete == Some(at(15))).await;
}

#[tokio::test]
async fn changes_of_an_app_or_a_scheme_are_walked_without_doubt_about_the_rest() {
    let scene = Scene::whole().await;
    scene.hear(11, ChangeKind::AppChanged(AppId(5)));
    let call = scene.script.page().await;
    assert_eq!((call.after, call.app), (None, Some(AppId(5))));
    call.answer(page(10, &[1], None));
    let call = scene.script.page().await;
    call.answer(page(11, &[1], None));
    scene.until(|told| told.keys[&1] == (1, 11)).await;
    scene.hear(12, ChangeKind::SchemeChanged(SchemeId(5)));
    let call = scene.script.page().await;
    assert_eq!(call.app, None);
    // During that walk two more: one walk is enough for both.
    scene.hear(13, ChangeKind::SchemeChanged(SchemeId(6)));
    scene.hear(14, ChangeKind::SchemeChanged(SchemeId(7)));
    call.answer(page(12, &[1, 2], None));
    scene.script.page().await.answer(page(14, &[1, 2], None));
    scene.until(|told| told.keys[&2] == (2, 14)).await;
    scene.idle().await;
    assert!(scene.script.try_page().is_none());
    assert_eq!(scene.table.0.lock().complete, Some(at(10)), "it stayed whole");
}

#[tokio::test]
async fn a_reset_begins_everything_anew_even_within_a_walk() {
    let scene = Scene::whole().await;
    scene.hear(11, ChangeKind::SchemeChanged(SchemeId(5)));
    let old = scene.script.page().await;
    let to = Version { epoch: 8, revision: 3 };
    scene.reset(to);
    assert_eq!(scene.table.0.lock().complete, None);
    assert!(!scene.preloader.progress().is_complete);
    old.answer(page(11, &[1], Some(1)));
    let call = scene.script.page().await;
    assert_eq!((call.after, call.app), (None, None));
    call.answer(KeyPage {
        as_of: to,
        ..page(0, &[4], None)
    });
    scene.until(|told| told.complete == Some(to)).await;
}

#[tokio::test]
async fn a_walk_from_before_a_reset_never_makes_the_table_whole() {
    let scene = Scene::new();
    scene.applied.send_replace(Some(at(10)));
    let last = scene.script.page().await;
    // Its last page is under way when changes are missed.
    scene.reset(at(20));
    last.answer(page(20, &[1], None));
    let call = scene.script.page().await;
    assert!(scene.table.0.lock().complete.is_none());
    call.answer(page(20, &[1, 2], None));
    scene.until(|told| told.complete == Some(at(20))).await;
}

#[tokio::test]
async fn a_table_without_room_is_filled_again_after_a_while() {
    let scene = Scene::new();
    scene.table.0.lock().refuses = true;
    scene.applied.send_replace(Some(at(10)));
    scene.script.page().await.answer(page(10, &[1], None));
    scene.until(|told| told.keys.len() == 1).await;
    assert!(!scene.preloader.progress().is_complete);
    // What changes meanwhile is read as ever.
    scene.hear(11, ChangeKind::KeyCreated(hash(2)));
    scene.script.look_up().await.answer(at(11), |_| Some(record(2)));
    scene.until(|told| told.keys.len() == 2).await;
    scene.table.0.lock().refuses = false;
    scene.script.page().await.answer(page(11, &[1, 2], None));
    scene.until(|told| told.complete == Some(at(11))).await;
}
