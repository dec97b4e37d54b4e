//! The limiter through the engine's trait: units, modes, identities, edits, all or none, sweeping, threads.

use super::*;
use crate::table::SWEEPS_PER_ROUND;
use portcullis_verify::{
    AppId, AppRecord, ChargeOutcome, DeploymentId, KeyId, KeyRecord, Mode, Rule, RuleSet, RuleState, SchemeId,
    SchemeRecord, Unit, Version,
};
use std::net::IpAddr;
use std::sync::Arc;

mod bulk;
mod concurrent;
mod placement;
#[cfg(feature = "shuttle")]
mod schedules;

const SECOND: u64 = 1_000_000;
const DAY: u64 = 86_400 * SECOND;

/// 2026-11-21 10:00:00 UTC, a hundred days after the monotonic clock started.
fn start() -> Moment {
    Moment {
        monotonic_us: 100 * DAY,
        wall_us: 1_795_255_200_000_000,
    }
}

fn later(by_us: u64) -> Moment {
    let start = start();
    Moment {
        monotonic_us: start.monotonic_us + by_us,
        wall_us: start.wall_us + i64::try_from(by_us).unwrap(),
    }
}

fn limiter() -> LocalLimiter {
    LocalLimiter::new(LimiterSettings { counters_max: 100_000 })
}

fn rule(mode: Mode, unit: Unit, duration: i32, max_requests: i32) -> Rule {
    Rule {
        unit,
        duration,
        max_requests,
        mode: Some(mode),
        endpoints: None,
        priority: None,
    }
}

fn per_minute(mode: Mode, max_requests: i32) -> Rule {
    rule(mode, Unit::Minute, 1, max_requests)
}

fn on(rule: Rule, endpoints: &[&str]) -> Rule {
    Rule {
        endpoints: Some(endpoints.iter().map(ToString::to_string).collect()),
        ..rule
    }
}

/// Whose key it is, as far as counters care.
#[derive(Debug, Clone, Copy)]
struct Holder {
    key: i64,
    lineage: i64,
    app: i64,
    deployment: i64,
    scheme: Option<i64>,
    /// The key has the scheme by itself.
    is_keys_own: bool,
}

const ANYONE: Holder = Holder {
    key: 1,
    lineage: 1,
    app: 1,
    deployment: 1,
    scheme: Some(1),
    is_keys_own: false,
};

fn stored(holder: Holder, rules: &[Rule]) -> StoredKey {
    let scheme = holder.scheme.map(|id| SchemeRecord {
        id: SchemeId(id),
        is_keys_own: holder.is_keys_own,
        rules: rules.to_vec(),
    });
    let record = KeyRecord {
        key_id: KeyId(holder.key),
        lineage_id: KeyId(holder.lineage),
        deployment_id: DeploymentId(holder.deployment),
        app: AppRecord {
            id: AppId(holder.app),
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
        scheme,
    };
    let default_rules = Arc::new(RuleSet::compile(None, rules));
    StoredKey::compile(record, Version { epoch: 1, revision: 1 }, &default_rules)
}

fn from(address: &str, now: Moment) -> ChargeRequest<'static> {
    ChargeRequest {
        path: "/v1/x",
        address: Some(address.parse().unwrap()),
        now,
    }
}

fn charge(limiter: &LocalLimiter, key: &StoredKey, request: &ChargeRequest<'_>) -> Charge {
    let peeked = limiter.peek(key, request);
    let before = limiter.table.tallies();
    let charged = limiter.charge(key, request);
    assert_eq!(peeked.outcome, charged.outcome, "peek foretells charge");
    if charged.outcome == ChargeOutcome::Admitted {
        for (before, after) in peeked.states.iter().zip(&charged.states) {
            assert_eq!(
                (before.rule, before.remaining),
                (after.rule, after.remaining + 1),
                "peek charges nothing"
            );
        }
    } else {
        assert_eq!(peeked.states, charged.states);
        assert_eq!(limiter.table.tallies(), before, "a refusal changes no counter");
    }
    charged
}

fn admits(limiter: &LocalLimiter, key: &StoredKey, request: &ChargeRequest<'_>) -> bool {
    charge(limiter, key, request).outcome == ChargeOutcome::Admitted
}

/// How many of `tries` are admitted.
fn admitted(limiter: &LocalLimiter, key: &StoredKey, request: &ChargeRequest<'_>, tries: usize) -> usize {
    (0..tries).filter(|_| admits(limiter, key, request)).count()
}

fn retry_after_us(charge: &Charge) -> u64 {
    match charge.outcome {
        ChargeOutcome::Refused { retry_after_us, .. } => retry_after_us,
        ChargeOutcome::Admitted => panic!("admitted"),
    }
}

#[test]
fn every_unit_and_mode_is_counted_to_the_request() {
    use Unit::{CalendarDay, CalendarMonth, Day, Hour, Millisecond, Minute, Month, Second};
    let windows = [
        (Millisecond, 1, 1_000),
        (Millisecond, 60_000, 60 * SECOND),
        (Second, 1, SECOND),
        (Second, 1_800, 1_800 * SECOND),
        (Minute, 1, 60 * SECOND),
        (Minute, 1_440, DAY),
        (Hour, 1, 3_600 * SECOND),
        (Hour, 720, 30 * DAY),
        (Day, 1, DAY),
        (Day, 30, 30 * DAY),
        (Month, 1, 30 * DAY),
        (CalendarDay, 1, 14 * 3_600 * SECOND),
        (CalendarMonth, 1, 9 * DAY + 14 * 3_600 * SECOND),
    ];
    let modes = [
        Mode::PerKey,
        Mode::PerIp,
        Mode::PerApp,
        Mode::PerKeyAndIp,
        Mode::PerAppAndIp,
    ];
    for (unit, duration, frees_in_us) in windows {
        for mode in modes {
            for limit in [1, 2, 16, 17, 40, 250] {
                let (limiter, key) = (limiter(), stored(ANYONE, &[rule(mode, unit, duration, limit)]));
                let context = format!("{limit} per {duration} {unit:?} {mode:?}");
                for left in (0..limit.unsigned_abs()).rev() {
                    let charge = charge(&limiter, &key, &from("192.0.2.1", start()));
                    assert_eq!(charge.outcome, ChargeOutcome::Admitted, "{context}");
                    let state = RuleState {
                        rule: 0,
                        limit: limit.unsigned_abs(),
                        remaining: left,
                        grows_in_us: charge.states[0].grows_in_us,
                    };
                    assert_eq!(charge.states.as_slice(), [state], "{context}");
                }
                let refused = charge(&limiter, &key, &from("192.0.2.1", start()));
                let outcome = ChargeOutcome::Refused {
                    blocked_rule: 0,
                    retry_after_us: frees_in_us,
                };
                assert_eq!(refused.outcome, outcome, "{context}");
                assert_eq!(
                    (refused.states[0].remaining, refused.states[0].grows_in_us),
                    (0, frees_in_us),
                    "{context}"
                );
                assert!(
                    !admits(&limiter, &key, &from("192.0.2.1", later(frees_in_us - 1))),
                    "{context}"
                );
                assert!(
                    admits(&limiter, &key, &from("192.0.2.1", later(frees_in_us))),
                    "{context}"
                );
            }
        }
    }
}

#[test]
fn a_key_without_matching_rules_is_admitted_and_not_counted() {
    let limiter = limiter();
    let key = stored(
        ANYONE,
        &[on(per_minute(Mode::PerKey, 1), &["/other"]), per_minute(Mode::PerIp, 1)],
    );
    let request = ChargeRequest {
        path: "/v1/x",
        address: None,
        now: start(),
    };
    for _ in 0..5 {
        let charge = charge(&limiter, &key, &request);
        assert_eq!((charge.outcome, charge.states.len()), (ChargeOutcome::Admitted, 0));
    }
    assert_eq!(
        limiter.stats(),
        LimiterStats {
            counters: 0,
            counters_max: 100_000,
            overflowed: 0,
            evicted: 0
        }
    );
}

#[test]
fn rules_hold_for_their_endpoints_only() {
    let limiter = limiter();
    let rules = [
        on(per_minute(Mode::PerKey, 2), &["/a", "/b/*"]),
        per_minute(Mode::PerKey, 5),
    ];
    let key = stored(ANYONE, &rules);
    let check = |path: &str, states: &[(usize, u32)], admitted: bool| {
        let charge = charge(
            &limiter,
            &key,
            &ChargeRequest {
                path,
                address: None,
                now: start(),
            },
        );
        let seen: Vec<_> = charge
            .states
            .iter()
            .map(|state| (state.rule, state.remaining))
            .collect();
        assert_eq!(
            (seen.as_slice(), charge.outcome == ChargeOutcome::Admitted),
            (states, admitted),
            "{path}"
        );
    };
    check("/a", &[(0, 1), (1, 4)], true);
    check("/b/x", &[(0, 0), (1, 3)], true);
    check("/a", &[(0, 0), (1, 3)], false);
    check("/c", &[(1, 2)], true);
    check("/a/x", &[(1, 1)], true);
    check("/b", &[(1, 0)], true);
    check("/c", &[(1, 0)], false);
}

#[test]
fn all_rules_are_charged_or_none() {
    let limiter = limiter();
    let rules = [
        per_minute(Mode::PerApp, 100),
        per_minute(Mode::PerKey, 3),
        per_minute(Mode::PerIp, 2),
    ];
    let key = stored(ANYONE, &rules);
    assert_eq!(admitted(&limiter, &key, &from("192.0.2.1", start()), 10), 2);
    assert_eq!(admitted(&limiter, &key, &from("192.0.2.2", start()), 10), 1);
    let refused = charge(&limiter, &key, &from("192.0.2.3", start()));
    let remaining: Vec<_> = refused.states.iter().map(|state| state.remaining).collect();
    assert_eq!(remaining, [97, 0, 2]);
    assert_eq!(
        limiter.stats().counters,
        4,
        "a refused request leaves no counter behind"
    );
}

#[test]
fn the_rule_that_blocks_longest_is_named() {
    let limiter = limiter();
    let rules = [
        rule(Mode::PerKey, Unit::Second, 10, 1),
        rule(Mode::PerKey, Unit::Minute, 1, 2),
        rule(Mode::PerKey, Unit::Hour, 1, 9),
    ];
    let key = stored(ANYONE, &rules);
    let blocked = |now: Moment| match charge(&limiter, &key, &from("192.0.2.1", now)).outcome {
        ChargeOutcome::Refused {
            blocked_rule,
            retry_after_us,
        } => Some((blocked_rule, retry_after_us)),
        ChargeOutcome::Admitted => None,
    };
    assert_eq!(blocked(start()), None);
    assert_eq!(blocked(later(SECOND)), Some((0, 9 * SECOND)));
    assert_eq!(blocked(later(10 * SECOND)), None);
    assert_eq!(blocked(later(11 * SECOND)), Some((1, 49 * SECOND)));
    assert_eq!(blocked(later(59 * SECOND)), Some((1, SECOND)));
    assert_eq!(blocked(later(60 * SECOND)), None);
}

#[test]
fn a_promised_retry_is_kept_over_many_rules() {
    let limiter = limiter();
    let rules = [
        rule(Mode::PerKey, Unit::Millisecond, 700, 3),
        rule(Mode::PerApp, Unit::Second, 7, 20),
        rule(Mode::PerIp, Unit::Minute, 1, 70),
        rule(Mode::PerKeyAndIp, Unit::CalendarDay, 1, 300),
        rule(Mode::PerAppAndIp, Unit::Hour, 2, 150),
    ];
    let key = stored(ANYONE, &rules);
    let mut now_us = 0;
    for _ in 0..2_000 {
        let refused = charge(&limiter, &key, &from("192.0.2.1", later(now_us)));
        if refused.outcome == ChargeOutcome::Admitted {
            continue;
        }
        let wait_us = retry_after_us(&refused);
        assert!(
            limiter
                .peek(&key, &from("192.0.2.1", later(now_us + wait_us - 1)))
                .outcome
                != ChargeOutcome::Admitted
        );
        now_us += wait_us;
        assert!(admits(&limiter, &key, &from("192.0.2.1", later(now_us))));
    }
    assert!(now_us > DAY);
}

#[test]
fn a_sweep_gives_nothing_back() {
    let limiter = limiter();
    let key = stored(
        ANYONE,
        &[per_minute(Mode::PerKey, 5), rule(Mode::PerIp, Unit::CalendarDay, 1, 8)],
    );
    let sweep = |now: Moment| (0..SWEEPS_PER_ROUND).for_each(|_| limiter.sweep(now));
    assert_eq!(admitted(&limiter, &key, &from("192.0.2.1", start()), 10), 5);
    sweep(later(60 * SECOND - 1));
    assert_eq!(
        admitted(&limiter, &key, &from("192.0.2.1", later(60 * SECOND - 1)), 10),
        0
    );
    assert_eq!(limiter.stats().evicted, 0);
    // The key's counter is idle and goes; the day's stays.
    sweep(later(60 * SECOND));
    assert_eq!((limiter.stats().evicted, limiter.stats().counters), (1, 1));
    assert_eq!(admitted(&limiter, &key, &from("192.0.2.1", later(60 * SECOND)), 10), 3);
    assert_eq!(limiter.stats().counters, 2, "the subject has one counter again");
    assert_eq!(admitted(&limiter, &key, &from("192.0.2.2", later(60 * SECOND)), 10), 2);
    // Midnight passes; a wall clock that steps back before it finds the new day, not the old one.
    let midnight = later(14 * 3_600 * SECOND);
    sweep(midnight);
    assert_eq!(limiter.stats().counters, 0);
    let back = Moment {
        monotonic_us: midnight.monotonic_us + 1,
        wall_us: midnight.wall_us - 1_000_000,
    };
    assert_eq!(admitted(&limiter, &key, &from("192.0.2.1", back), 10), 5);
    assert_eq!(
        admitted(
            &limiter,
            &key,
            &from("192.0.2.1", later(14 * 3_600 * SECOND + 61 * SECOND)),
            10
        ),
        3
    );
}

#[test]
fn a_full_limiter_still_limits_everyone() {
    let limiter = LocalLimiter::new(LimiterSettings { counters_max: 0 });
    let key = stored(ANYONE, &[per_minute(Mode::PerIp, 3), per_minute(Mode::PerKey, 1_000)]);
    let mut total = 0;
    for host in 0..=255_u8 {
        let address = IpAddr::from([198, 51, 100, host]);
        let request = ChargeRequest {
            path: "/",
            address: Some(address),
            now: start(),
        };
        let of_this = admitted(&limiter, &key, &request, 5);
        assert!(of_this <= 3);
        total += of_this;
    }
    assert!(total > 350, "few share a counter: {total}");
    let stats = limiter.stats();
    assert!(stats.overflowed > 0 && stats.counters <= 2 * 256, "{stats:?}");
}

#[test]
fn overflow_is_counted_per_rule_and_charge_only() {
    let limiter = LocalLimiter::new(LimiterSettings { counters_max: 1 });
    let key = stored(ANYONE, &[per_minute(Mode::PerApp, 10), per_minute(Mode::PerIp, 10)]);
    for _ in 0..4 {
        limiter.charge(&key, &from("192.0.2.1", start()));
        limiter.peek(&key, &from("192.0.2.1", start()));
    }
    assert_eq!(
        limiter.stats(),
        LimiterStats {
            counters: 2,
            counters_max: 1,
            overflowed: 4,
            evicted: 0
        }
    );
}

#[test]
fn a_subject_stops_sharing_once_there_is_room() {
    let limiter = LocalLimiter::new(LimiterSettings { counters_max: 1 });
    let key = stored(ANYONE, &[per_minute(Mode::PerIp, 10)]);
    let sharing = from("192.0.2.2", later(SECOND));
    assert!(admits(&limiter, &key, &from("192.0.2.1", start())));
    assert_eq!(admitted(&limiter, &key, &sharing, 4), 4);
    assert_eq!(limiter.stats().overflowed, 4);
    (0..SWEEPS_PER_ROUND).for_each(|_| limiter.sweep(later(60 * SECOND)));
    let again = from("192.0.2.2", later(60 * SECOND));
    assert_eq!(
        admitted(&limiter, &key, &again, 10),
        6,
        "what it used while it shared counts"
    );
    assert_eq!(limiter.stats().overflowed, 4);
}
