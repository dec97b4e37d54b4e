//! What is told of counters is what the next request meets, and telling it changes nothing.

use super::*;
use crate::LimiterSettings;
use portcullis_verify::{
    AppRecord, Charge, ChargeOutcome, ChargeRequest, KeyRecord, Limiter as _, Rule, SchemeId, SchemeRecord, StoredKey,
    Unit, Version,
};
use std::sync::Arc;

const SECOND: u64 = 1_000_000;

fn later(by_us: u64) -> Moment {
    Moment {
        monotonic_us: 8_640_000 * SECOND + by_us,
        wall_us: 1_795_255_200_000_000 + i64::try_from(by_us).unwrap(),
    }
}

fn limiter(counters_max: usize) -> LocalLimiter {
    LocalLimiter::new(LimiterSettings { counters_max })
}

fn rule(mode: Mode, unit: Unit, max_requests: i32) -> Rule {
    Rule {
        unit,
        duration: 1,
        max_requests,
        mode: Some(mode),
        endpoints: None,
        priority: None,
    }
}

/// A key of the tenant 9, under a scheme or the default rules.
fn key(lineage: i64, app: i64, scheme: Option<i64>, rules: &[Rule]) -> StoredKey {
    let record = KeyRecord {
        key_id: KeyId(lineage + 1_000),
        lineage_id: KeyId(lineage),
        deployment_id: DeploymentId(9),
        app: AppRecord {
            id: AppId(app),
            slug: "app".to_owned(),
            is_active: true,
            permissions: Vec::new(),
            resources: Vec::new(),
        },
        name: "key".to_owned(),
        permissions: Vec::new(),
        metadata: Default::default(),
        owner_user_id: None,
        organization_id: None,
        workspace_id: None,
        expires_at_us: None,
        revoked_at_us: None,
        scheme: scheme.map(|id| SchemeRecord {
            is_keys_own: true,
            id: SchemeId(id),
            rules: rules.to_vec(),
        }),
    };
    let default_rules = Arc::new(RuleSet::compile(None, rules));
    StoredKey::compile(record, Version { epoch: 1, revision: 1 }, &default_rules)
}

fn charge(limiter: &LocalLimiter, key: &StoredKey, address: &str, now: Moment) -> Charge {
    let address = Some(address.parse().unwrap());
    limiter.charge(
        key,
        &ChargeRequest {
            path: "/",
            address,
            now,
        },
    )
}

fn of_key(lineage: i64, app: i64) -> Whose {
    Whose::Key {
        lineage_id: KeyId(lineage),
        app_id: AppId(app),
        deployment_id: DeploymentId(9),
    }
}

fn of_address(address: &str) -> Whose {
    Whose::Address {
        address: address.parse().unwrap(),
        deployment_id: DeploymentId(9),
    }
}

/// What is told, having checked that telling it changed nothing.
fn told(limiter: &LocalLimiter, sets: &[&RuleSet], whose: Whose, now: Moment) -> Vec<Vec<RuleUsage>> {
    let before = (limiter.table().tallies(), limiter.stats());
    let told = limiter.usage(sets, whose, 3, now);
    assert_eq!((limiter.table().tallies(), limiter.stats()), before);
    told
}

/// Rule, whose, where from, what is left: in one line each.
fn lines(usages: &[RuleUsage]) -> Vec<String> {
    let line = |usage: &RuleUsage, counter: &CounterUsage| {
        let from = counter
            .address
            .map_or(String::new(), |address| format!(" at {address}"));
        format!("rule {} of {}{from}: {}", usage.rule, counter.owner, counter.remaining)
    };
    let of_rule = |usage: &RuleUsage| usage.counters.iter().map(|c| line(usage, c)).collect::<Vec<_>>();
    usages.iter().flat_map(of_rule).collect()
}

fn every_mode() -> Vec<Rule> {
    vec![
        rule(Mode::PerKey, Unit::Minute, 10),
        rule(Mode::PerKeyAndIp, Unit::Minute, 10),
        rule(Mode::PerApp, Unit::Hour, 10),
        rule(Mode::PerAppAndIp, Unit::CalendarDay, 10),
        rule(Mode::PerIp, Unit::Day, 10),
    ]
}

#[test]
fn everybody_is_told_of_the_counters_that_count_them() {
    let limiter = limiter(1_000);
    let first = key(1, 5, Some(7), &every_mode());
    let second = key(2, 5, Some(7), &every_mode());
    let foreign = key(3, 6, Some(7), &every_mode());
    for (key, address) in [
        (&first, "192.0.2.1"),
        (&first, "192.0.2.1"),
        (&first, "2001:db8::1"),
        (&second, "192.0.2.1"),
        (&foreign, "192.0.2.1"),
    ] {
        assert_eq!(
            charge(&limiter, key, address, later(0)).outcome,
            ChargeOutcome::Admitted
        );
    }
    let check = |whose: Whose, expected: &[&str]| {
        let told = told(&limiter, &[&first.rules], whose, later(1));
        assert_eq!(lines(&told[0]), expected, "{whose:?}");
        assert!(told[0].iter().all(|usage| !usage.is_overflowing));
    };
    check(
        of_key(1, 5),
        &[
            "rule 0 of 1: 7",
            "rule 1 of 1 at 192.0.2.1: 8",
            "rule 1 of 1 at 2001:db8::: 9",
            "rule 2 of 5: 6",
            "rule 3 of 5 at 192.0.2.1: 7",
            "rule 3 of 5 at 2001:db8::: 9",
            "rule 4 of 9 at 192.0.2.1: 6",
            "rule 4 of 9 at 2001:db8::: 9",
        ],
    );
    check(Whose::App(AppId(6)), &["rule 2 of 6: 9", "rule 3 of 6 at 192.0.2.1: 9"]);
    check(
        of_address("192.0.2.1"),
        &[
            "rule 1 of 1 at 192.0.2.1: 8",
            "rule 1 of 2 at 192.0.2.1: 9",
            "rule 1 of 3 at 192.0.2.1: 9",
            "rule 3 of 5 at 192.0.2.1: 7",
            "rule 3 of 6 at 192.0.2.1: 9",
            "rule 4 of 9 at 192.0.2.1: 6",
        ],
    );
    check(
        of_address("2001:db8::ffff"),
        &[
            "rule 1 of 1 at 2001:db8::: 9",
            "rule 3 of 5 at 2001:db8::: 9",
            "rule 4 of 9 at 2001:db8::: 9",
        ],
    );
    // Who has used nothing: whole counters where they need not be searched for, and no others.
    check(
        of_key(4, 8),
        &[
            "rule 0 of 4: 10",
            "rule 2 of 8: 10",
            "rule 4 of 9 at 192.0.2.1: 6",
            "rule 4 of 9 at 2001:db8::: 9",
        ],
    );
    check(of_address("192.0.2.9"), &["rule 4 of 9 at 192.0.2.9: 10"]);
}

#[test]
fn sets_are_answered_one_by_one_and_stay_apart() {
    let limiter = limiter(1_000);
    let rules = [
        rule(Mode::PerApp, Unit::Minute, 4),
        rule(Mode::PerAppAndIp, Unit::Minute, 4),
    ];
    let (own, default) = (key(1, 5, Some(7), &rules), key(2, 5, None, &rules));
    charge(&limiter, &own, "192.0.2.1", later(0));
    charge(&limiter, &default, "192.0.2.1", later(0));
    charge(&limiter, &default, "192.0.2.1", later(0));
    let told = told(&limiter, &[&own.rules, &default.rules], Whose::App(AppId(5)), later(0));
    assert_eq!(lines(&told[0]), ["rule 0 of 5: 3", "rule 1 of 5 at 192.0.2.1: 3"]);
    assert_eq!(lines(&told[1]), ["rule 0 of 5: 2", "rule 1 of 5 at 192.0.2.1: 2"]);
}

#[test]
fn the_waits_told_are_those_of_a_refusal() {
    for mode in [
        Mode::PerKey,
        Mode::PerKeyAndIp,
        Mode::PerApp,
        Mode::PerAppAndIp,
        Mode::PerIp,
    ] {
        for (unit, limit) in [
            (Unit::Millisecond, 1),
            (Unit::Minute, 3),
            (Unit::Hour, 100),
            (Unit::CalendarDay, 2),
            (Unit::Month, 40),
        ] {
            let limiter = limiter(1_000);
            let key = key(1, 5, Some(7), &[rule(mode, unit, limit)]);
            let mut now = later(0);
            let refused = loop {
                let charge = charge(&limiter, &key, "192.0.2.1", now);
                let told = told(&limiter, &[&key.rules], of_key(1, 5), now);
                let [counter] = told[0][0].counters[..] else {
                    panic!("{mode:?} {unit:?}: {told:?}")
                };
                assert_eq!(counter.remaining, charge.states[0].remaining, "{mode:?} {unit:?}");
                assert_eq!(counter.grows_in_us, charge.states[0].grows_in_us, "{mode:?} {unit:?}");
                if let ChargeOutcome::Refused { retry_after_us, .. } = charge.outcome {
                    assert_eq!(counter.next_in_us(), retry_after_us, "{mode:?} {unit:?}");
                    break retry_after_us;
                }
                assert_eq!(counter.next_in_us() == 0, counter.remaining > 0, "{mode:?} {unit:?}");
                now.monotonic_us += 1;
                now.wall_us += 1;
            };
            let at = |wait_us: u64| Moment {
                monotonic_us: now.monotonic_us + wait_us,
                wall_us: now.wall_us + i64::try_from(wait_us).unwrap(),
            };
            let next =
                |wait_us| told(&limiter, &[&key.rules], of_key(1, 5), at(wait_us))[0][0].counters[0].next_in_us();
            assert_eq!(next(refused - 1), 1, "{mode:?} {unit:?}");
            let after = told(&limiter, &[&key.rules], of_key(1, 5), at(refused));
            let has_room = after[0][0].counters.iter().all(|counter| counter.next_in_us() == 0);
            assert!(has_room, "{mode:?} {unit:?}: {after:?}");
        }
    }
}

#[test]
fn an_edited_limit_is_told_with_what_was_used() {
    let limiter = limiter(1_000);
    let before = key(1, 5, Some(7), &[rule(Mode::PerKey, Unit::Hour, 10)]);
    for _ in 0..6 {
        charge(&limiter, &before, "192.0.2.1", later(0));
    }
    for (limit, remaining) in [(20, 14), (6, 0), (4, 0)] {
        let after = RuleSet::compile(Some(SchemeId(7)), &[rule(Mode::PerKey, Unit::Hour, limit)]);
        let told = told(&limiter, &[&after], of_key(1, 5), later(SECOND));
        let counter = told[0][0].counters[0];
        assert_eq!(counter.remaining, remaining, "limit {limit}");
        assert_eq!(counter.next_in_us() > 0, remaining == 0, "limit {limit}");
    }
}

#[test]
fn of_many_addresses_the_most_used_are_told_and_all_are_counted() {
    let limiter = limiter(1_000);
    let key = key(1, 5, Some(7), &[rule(Mode::PerIp, Unit::Minute, 100)]);
    for host in 0..50_u64 {
        for _ in 0..=host {
            charge(&limiter, &key, &format!("192.0.2.{host}"), later(host));
        }
    }
    let told_then = |now| told(&limiter, &[&key.rules], of_key(1, 5), now);
    assert_eq!(
        lines(&told_then(later(100))[0]),
        [
            "rule 0 of 9 at 192.0.2.49: 50",
            "rule 0 of 9 at 192.0.2.48: 51",
            "rule 0 of 9 at 192.0.2.47: 52",
        ]
    );
    assert_eq!(told_then(later(100))[0][0].counters_total, 50);
    // What has left the window is not told of, swept or not.
    let idle = told_then(later(61 * SECOND));
    assert_eq!((idle[0][0].counters_total, lines(&idle[0])), (0, Vec::new()));
}

#[test]
fn who_shares_for_want_of_room_is_told() {
    let limiter = limiter(0);
    let rules = [
        rule(Mode::PerKey, Unit::Minute, 10),
        rule(Mode::PerIp, Unit::Minute, 10),
        rule(Mode::PerAppAndIp, Unit::Minute, 10),
    ];
    let key = key(1, 5, Some(7), &rules);
    charge(&limiter, &key, "192.0.2.1", later(0));
    let of_key = told(&limiter, &[&key.rules], of_key(1, 5), later(0));
    assert!(of_key[0][0].counters[0].is_shared && of_key[0][0].counters[0].remaining == 9);
    assert!(of_key[0][1].is_overflowing && of_key[0][1].counters.is_empty());
    let of_address = told(&limiter, &[&key.rules], of_address("192.0.2.1"), later(0));
    assert!(of_address[0][0].counters[0].is_shared && of_address[0][0].counters[0].remaining == 9);
    assert!(of_address[0][1].is_overflowing && of_address[0][1].counters_total == 0);
}
