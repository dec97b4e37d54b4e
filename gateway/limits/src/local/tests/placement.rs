//! Which requests share a counter: modes, rotations, tenants, addresses, edits of a scheme.

use super::*;

/// Charges `first` until it is refused, then tells whether `second` is refused, too.
fn shares(rule: &Rule, first: (Holder, &str), second: (Holder, &str)) -> bool {
    let limiter = limiter();
    let rules = std::slice::from_ref(rule);
    let (left, right) = (stored(first.0, rules), stored(second.0, rules));
    assert_eq!(admitted(&limiter, &left, &from(first.1, start()), 5), 3);
    match admitted(&limiter, &right, &from(second.1, start()), 5) {
        0 => true,
        3 => false,
        other => panic!("{other} admitted"),
    }
}

#[test]
fn a_mode_says_who_counts_together() {
    let check = |mode: Mode, other: Holder, address: &str, expected: bool| {
        let rule = per_minute(mode, 3);
        let context = format!("{mode:?} with {other:?} from {address}");
        assert_eq!(
            shares(&rule, (ANYONE, "192.0.2.1"), (other, address)),
            expected,
            "{context}"
        );
    };
    let same = "192.0.2.1";
    let elsewhere = "192.0.2.2";
    let rotated = Holder { key: 2, ..ANYONE };
    let other_key = Holder {
        key: 2,
        lineage: 2,
        ..ANYONE
    };
    let other_app = Holder {
        key: 2,
        lineage: 2,
        app: 2,
        ..ANYONE
    };
    check(Mode::PerKey, rotated, elsewhere, true);
    check(Mode::PerKey, other_key, same, false);
    check(Mode::PerApp, other_key, elsewhere, true);
    check(Mode::PerApp, other_app, same, false);
    check(Mode::PerIp, other_app, same, true);
    check(Mode::PerIp, ANYONE, elsewhere, false);
    check(Mode::PerKeyAndIp, rotated, same, true);
    check(Mode::PerKeyAndIp, rotated, elsewhere, false);
    check(Mode::PerKeyAndIp, other_key, same, false);
    check(Mode::PerAppAndIp, other_key, same, true);
    check(Mode::PerAppAndIp, other_key, elsewhere, false);
    check(Mode::PerAppAndIp, other_app, same, false);
}

#[test]
fn who_comes_under_another_scheme_is_counted_on_and_tenants_never_meet() {
    let other_scheme = Holder {
        scheme: Some(2),
        ..ANYONE
    };
    let default = Holder { scheme: None, ..ANYONE };
    let by_itself = Holder {
        is_keys_own: true,
        ..other_scheme
    };
    let default_elsewhere = Holder {
        deployment: 2,
        app: 2,
        key: 2,
        lineage: 2,
        scheme: None,
        is_keys_own: false,
    };
    let check = |mode: Mode, as_app_moves: bool, as_key_moves: bool| {
        let rule = per_minute(mode, 3);
        let shares = |left, right| shares(&rule, (left, "192.0.2.1"), (right, "192.0.2.1"));
        assert_eq!(shares(ANYONE, other_scheme), as_app_moves, "{mode:?}");
        assert_eq!(shares(ANYONE, default), as_app_moves, "{mode:?}");
        assert_eq!(shares(ANYONE, by_itself), as_key_moves, "{mode:?}");
        assert!(!shares(default, default_elsewhere), "{mode:?}");
    };
    check(Mode::PerKey, true, true);
    check(Mode::PerKeyAndIp, true, true);
    check(Mode::PerApp, true, false);
    check(Mode::PerAppAndIp, true, false);
    check(Mode::PerIp, false, false);
}

#[test]
fn who_comes_under_another_scheme_takes_along_what_was_used() {
    for mode in [Mode::PerKey, Mode::PerKeyAndIp, Mode::PerApp, Mode::PerAppAndIp] {
        let limiter = limiter();
        let (wide, narrow) = ([per_minute(mode, 10)], [per_minute(mode, 8)]);
        let day = [rule(mode, Unit::CalendarDay, 1, 20)];
        let tight_day = [rule(mode, Unit::CalendarDay, 1, 12)];
        let under = |scheme| Holder { scheme, ..ANYONE };
        let admitted = |scheme, rules: &[Rule], tries| {
            let request = from("192.0.2.1", start());
            admitted(&limiter, &stored(under(scheme), rules), &request, tries)
        };
        assert_eq!(admitted(Some(1), &wide, 7), 7);
        assert_eq!(
            admitted(Some(2), &narrow, 5),
            1,
            "of 8 in a minute, 7 were used elsewhere"
        );
        assert_eq!(admitted(Some(1), &wide, 5), 2, "and back");
        assert_eq!(admitted(None, &day, 3), 3, "from a log to a calendar count");
        assert_eq!(admitted(Some(3), &tight_day, 5), 0, "of 12 in a day, 13 were used");
        assert_eq!(limiter.stats().counters, 1, "it is one counter all the while");
    }
}

#[test]
fn a_look_takes_no_counter_over() {
    let limiter = limiter();
    let (here, there) = (
        ANYONE,
        Holder {
            scheme: Some(2),
            ..ANYONE
        },
    );
    let rules = [per_minute(Mode::PerKey, 10)];
    assert_eq!(
        admitted(&limiter, &stored(here, &rules), &from("192.0.2.1", start()), 4),
        4
    );
    let before = limiter.table().tallies();
    let peeked = limiter.peek(&stored(there, &rules), &from("192.0.2.1", start()));
    assert_eq!(peeked.states[0].remaining, 6);
    assert_eq!(limiter.table().tallies(), before);
}

#[test]
fn one_client_cannot_look_like_many() {
    let check = |left: &str, right: &str, expected: bool| {
        let rule = per_minute(Mode::PerIp, 3);
        assert_eq!(
            shares(&rule, (ANYONE, left), (ANYONE, right)),
            expected,
            "{left} and {right}"
        );
    };
    check("2001:db8::1", "2001:db8::dead:beef:0:1", true);
    check("2001:db8::1", "2001:db8:0:1::1", false);
    check("192.0.2.1", "::ffff:192.0.2.1", true);
    check("::ffff:192.0.2.1", "::ffff:192.0.2.2", false);
}

#[test]
fn counters_outlive_the_cached_record() {
    let limiter = limiter();
    let rules = [per_minute(Mode::PerKey, 3), per_minute(Mode::PerApp, 100)];
    for _ in 0..3 {
        assert!(admits(&limiter, &stored(ANYONE, &rules), &from("192.0.2.1", start())));
    }
    assert!(!admits(&limiter, &stored(ANYONE, &rules), &from("192.0.2.1", start())));
    assert_eq!(limiter.stats().counters, 2);
}

#[test]
fn a_record_that_met_another_limiter_is_still_counted_apart() {
    let key = stored(ANYONE, &[per_minute(Mode::PerKey, 3)]);
    let (left, right) = (limiter(), limiter());
    assert_eq!(admitted(&left, &key, &from("192.0.2.1", start()), 5), 3);
    assert_eq!(admitted(&right, &key, &from("192.0.2.1", start()), 5), 3);
    assert_eq!(admitted(&left, &key, &from("192.0.2.1", start()), 5), 0);
    assert_eq!(admitted(&right, &key, &from("192.0.2.1", start()), 5), 0);
}

/// Uses `used` of the first rule of `before`, edits the scheme, and answers what the first rule then has left.
fn left_after_edit(before: &[Rule], used: usize, after: &[Rule]) -> u32 {
    let limiter = limiter();
    let old = stored(ANYONE, before);
    assert_eq!(admitted(&limiter, &old, &from("192.0.2.1", start()), used), used);
    let new = stored(ANYONE, after);
    let charge = charge(&limiter, &new, &from("192.0.2.1", later(SECOND)));
    charge.states[0].remaining + u32::from(charge.outcome == ChargeOutcome::Admitted)
}

#[test]
fn an_edited_rule_keeps_what_was_used() {
    for mode in [
        Mode::PerKey,
        Mode::PerIp,
        Mode::PerApp,
        Mode::PerKeyAndIp,
        Mode::PerAppAndIp,
    ] {
        let before = [rule(mode, Unit::Minute, 10, 100)];
        let check = |after: Rule, left: u32| {
            let context = format!("{after:?}");
            assert_eq!(left_after_edit(&before, 60, &[after]), left, "{context}");
        };
        check(rule(mode, Unit::Minute, 10, 200), 140);
        check(rule(mode, Unit::Minute, 10, 70), 10);
        check(rule(mode, Unit::Minute, 10, 30), 0);
        check(rule(mode, Unit::Hour, 10, 100), 40);
        check(rule(mode, Unit::Millisecond, 1, 100), 100);
        check(rule(mode, Unit::Month, 1, 100), 40);
        check(rule(mode, Unit::CalendarDay, 1, 100), 40);
        check(
            Rule {
                priority: Some(7),
                ..rule(mode, Unit::Minute, 10, 100)
            },
            40,
        );
        check(on(rule(mode, Unit::Minute, 10, 100), &["*"]), 40);
        check(on(rule(mode, Unit::Minute, 10, 100), &["/v1/*"]), 100);
    }
}

#[test]
fn a_rule_is_known_by_mode_endpoints_and_position() {
    let of = |limit| per_minute(Mode::PerKey, limit);
    let narrow = on(of(100), &["/v1/*", "/w"]);
    let check = |before: &[Rule], after: &[Rule], left: u32| {
        assert_eq!(left_after_edit(before, 60, after), left, "{before:?} to {after:?}");
    };
    check(&[of(100)], &[of(100), of(100)], 40);
    check(&[of(100), of(1_000)], &[of(100)], 40);
    check(std::slice::from_ref(&narrow), &[on(of(100), &["/w", "/v1/*"])], 40);
    check(
        std::slice::from_ref(&narrow),
        &[on(of(100), &["/w", "/v1/*", "/y"])],
        100,
    );
    check(&[narrow], &[on(of(100), &["/v1/x"])], 100);
    check(&[of(100)], &[per_minute(Mode::PerApp, 100)], 100);
    // At the second position, ahead of the first by its priority.
    check(
        &[of(100)],
        &[
            of(1_000),
            Rule {
                priority: Some(-1),
                ..of(100)
            },
        ],
        100,
    );
}

#[test]
fn two_alike_rules_of_a_scheme_count_apart() {
    let limiter = limiter();
    let key = stored(ANYONE, &[per_minute(Mode::PerKey, 3), per_minute(Mode::PerKey, 3)]);
    for left in (0..3).rev() {
        let charge = charge(&limiter, &key, &from("192.0.2.1", start()));
        assert!(charge.states.iter().all(|state| state.remaining == left));
    }
    assert_eq!(limiter.stats().counters, 2);
}

#[test]
fn rules_past_the_last_position_do_not_wait_for_themselves() {
    let limiter = limiter();
    let rules: Vec<Rule> = (0..65_540).map(|_| per_minute(Mode::PerKey, 3)).collect();
    let mut key = stored(ANYONE, &[]);
    let mut compiled = RuleSet::compile(Some(SchemeId(1)), &rules);
    compiled.rules = compiled.rules.into_vec().split_off(65_530).into();
    key.rules = Arc::new(compiled);
    assert_eq!(admitted(&limiter, &key, &from("192.0.2.1", start()), 5), 3);
}
