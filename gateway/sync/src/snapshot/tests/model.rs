//! Whatever is told in whatever order, with new bases and restarts in between: every key that is found is one that still counts, and
//! every key is found that was told in time.

use super::*;
use proptest::prelude::*;

const KEYS: u64 = 6;

/// One step.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A key that was read so many changes ago, or (negative) that many changes ahead of what is told here.
    Put {
        key: u64,
        lag: i8,
    },
    ChangeKey(u64),
    ChangeApp(u8),
    ChangeScheme,
    ChangeNothing(u8),
    Reset(u8),
    Fresh,
    Compact,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..KEYS;
    let lag = prop_oneof![6 => Just(0_i8), 2 => 1..4_i8, 1 => -2..0_i8];
    proptest::collection::vec(
        prop_oneof![
            10 => (key.clone(), lag).prop_map(|(key, lag)| Step::Put { key, lag }),
            4 => key.prop_map(Step::ChangeKey),
            1 => (0..2_u8).prop_map(Step::ChangeApp),
            1 => Just(Step::ChangeScheme),
            2 => (1..5_u8).prop_map(Step::ChangeNothing),
            1 => (1..5_u8).prop_map(Step::Reset),
            1 => Just(Step::Fresh),
            2 => Just(Step::Compact),
            2 => Just(Step::Restart),
        ],
        0..60,
    )
}

/// What was told.
struct Model {
    applied: u64,
    /// What was read before it counts no more.
    floor: u64,
    changes: Vec<(u64, Touches)>,
    /// When each key was read that was told, and whether nothing was known here yet that is newer.
    puts: Vec<(u64, u64, bool)>,
}

impl Model {
    fn counts(&self, key: u64, as_of: u64) -> bool {
        let app = AppId(i64::try_from(key % 2).unwrap());
        as_of >= self.floor
            && !self.changes.iter().any(|&(revision, touches)| {
                revision > as_of
                    && match touches {
                        Touches::KeyCreated(of) | Touches::KeyChanged(of) => of.0 == hash(key),
                        Touches::App(of) => of == app,
                        Touches::Scheme(_) => key.is_multiple_of(2),
                    }
            })
    }

    fn check(&self, usable: Usable) {
        assert_eq!(usable.applied, at(self.applied));
        let found = keys(usable.keys);
        for key in 0..KEYS {
            let told = self
                .puts
                .iter()
                .filter(|&&(of, as_of, _)| of == key && self.counts(key, as_of));
            let newest = told.clone().map(|&(_, as_of, _)| as_of.max(self.applied)).max();
            let in_time = told
                .filter(|&&(_, _, in_time)| in_time)
                .map(|&(_, as_of, _)| as_of.max(self.applied))
                .max();
            match found.get(&key) {
                Some(&as_of) => assert!(
                    Some(as_of) <= newest && Some(as_of) >= in_time,
                    "{key} {as_of} {newest:?}"
                ),
                None => assert_eq!(in_time, None, "{key} is lost"),
            }
        }
    }
}

fn play(steps: Vec<Step>) {
    let desk = desk();
    let mut snapshot = desk.begin();
    let mut model = Model {
        applied: 5,
        floor: 5,
        changes: Vec::new(),
        puts: Vec::new(),
    };
    for step in steps {
        let next = model.applied + 1;
        let mut change = |touches| {
            snapshot.changed(&run(next - 1, next, &[(next, touches)])).unwrap();
            model.changes.push((next, touches));
            model.applied = next;
        };
        match step {
            Step::Put { key, lag } => {
                let as_of = model.applied.saturating_add_signed(-i64::from(lag));
                put(&snapshot, key, at(as_of));
                model.puts.push((key, as_of, lag <= 0));
            }
            Step::ChangeKey(key) => change(changed(key)),
            Step::ChangeApp(app) => change(Touches::App(AppId(app.into()))),
            Step::ChangeScheme => change(Touches::Scheme(SchemeId(10))),
            Step::ChangeNothing(by) => {
                let through = model.applied + u64::from(by);
                snapshot.changed(&run(model.applied, through, &[])).unwrap();
                model.applied = through;
            }
            Step::Reset(by) => {
                model.applied += u64::from(by);
                model.floor = model.applied;
                snapshot.reset(at(model.applied)).unwrap();
            }
            Step::Fresh => snapshot.fresh(at(model.applied), desk.clock.now()),
            Step::Compact => snapshot.keeper.compact(),
            Step::Restart => {
                drop(snapshot);
                let loaded;
                (snapshot, loaded) = desk.open();
                let Loaded::Usable(usable) = loaded else {
                    panic!("{loaded:?}")
                };
                model.check(*usable);
                assert_eq!(snapshot.bind(&welcome()).unwrap(), Bound::Resumed);
            }
        }
    }
    drop(snapshot);
    model.check(desk.usable());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_found_is_what_still_counts(steps in steps()) {
        play(steps);
    }
}
