use super::*;
use portcullis_verify::{Mode, rule::Endpoints};
use sfv::{BareItem, Item, List, ListEntry, Parser};

const MINUTE_US: u64 = 60 * SECOND_US;

fn rules(windows: &[(&str, Window)]) -> RuleSet {
    let rule = |(position, (name, window)): (usize, &(&str, Window))| CompiledRule {
        name: (*name).into(),
        mode: Mode::PerKey,
        window: *window,
        limit: 100,
        endpoints: Endpoints::Every,
        position: u16::try_from(position).unwrap(),
    };
    RuleSet {
        scheme_id: None,
        is_keys_own: false,
        rules: windows.iter().enumerate().map(rule).collect(),
        limiter_view: Default::default(),
    }
}

fn state(rule: usize, remaining: u32, grows_in_us: u64) -> RuleState {
    RuleState {
        rule,
        limit: 100,
        remaining,
        grows_in_us,
    }
}

pub(super) fn admitted(states: &[RuleState]) -> Charge {
    Charge {
        outcome: ChargeOutcome::Admitted,
        states: states.iter().copied().collect(),
    }
}

pub(super) fn refused(retry_after_us: u64, states: &[RuleState]) -> Charge {
    let outcome = ChargeOutcome::Refused {
        blocked_rule: 0,
        retry_after_us,
    };
    Charge {
        outcome,
        states: states.iter().copied().collect(),
    }
}

/// Every member of a header, read back by the structured-field parser: name and parameters.
pub(super) fn members(value: &HeaderValue) -> Vec<(String, Vec<(String, i64)>)> {
    let list: List = Parser::new(value.as_bytes()).parse().unwrap();
    let member = |entry: ListEntry| {
        let ListEntry::Item(Item {
            bare_item: BareItem::String(name),
            params,
        }) = entry
        else {
            panic!("a member is no string")
        };
        let parameters = params.into_iter().map(|(key, value)| {
            let BareItem::Integer(value) = value else {
                panic!("{key:?} is no integer")
            };
            (key.as_str().to_owned(), i64::from(value))
        });
        (name.as_str().to_owned(), parameters.collect())
    };
    list.into_iter().map(member).collect()
}

fn check(rules: &RuleSet, charge: &Charge, expect: &[(&str, &str)]) {
    let headers = of(rules, charge, false);
    let found: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    assert_eq!(found, expect);
    for (name, value) in &headers {
        if name != RETRY_AFTER {
            assert!(!members(value).is_empty(), "{name}");
        }
    }
}

#[test]
fn a_policy_and_where_it_stands() {
    let rules = rules(&[("per_key-60s", Window::Rolling { us: MINUTE_US })]);
    let policy = ("ratelimit-policy", r#""per_key-60s";q=100;w=60"#);
    check(
        &rules,
        &admitted(&[state(0, 42, 16_100_000)]),
        &[policy, ("ratelimit", r#""per_key-60s";r=42;t=17"#)],
    );
    check(
        &rules,
        &admitted(&[state(0, 42, 17_000_000)]),
        &[policy, ("ratelimit", r#""per_key-60s";r=42;t=17"#)],
    );
    // Less than a second is one, and nothing used is nothing to wait for.
    check(
        &rules,
        &admitted(&[state(0, 99, 1)]),
        &[policy, ("ratelimit", r#""per_key-60s";r=99;t=1"#)],
    );
    check(
        &rules,
        &admitted(&[state(0, 100, 0)]),
        &[policy, ("ratelimit", r#""per_key-60s";r=100"#)],
    );
}

#[test]
fn windows_are_whole_seconds() {
    let all = rules(&[
        ("per_app-500ms", Window::Rolling { us: 500_000 }),
        ("per_app-1s", Window::Rolling { us: SECOND_US }),
        ("per_app-1500ms", Window::Rolling { us: 1_500_000 }),
        ("per_key-calendar_day", Window::CalendarDay),
        ("per_key-calendar_month", Window::CalendarMonth),
    ]);
    let states: Vec<_> = (0..5).map(|rule| state(rule, 1, 2 * SECOND_US)).collect();
    let headers = of(&all, &admitted(&states), false);
    let windows: Vec<_> = members(&headers[0].1)
        .into_iter()
        .map(|(name, parameters)| (name, parameters[1].1))
        .collect();
    let expect = [
        ("per_app-1s", 1),
        ("per_app-1500ms", 2),
        ("per_key-calendar_day", 86_400),
        ("per_key-calendar_month", 2_678_400),
    ];
    assert_eq!(windows, expect.map(|(name, seconds)| (name.to_owned(), seconds)));
    assert_eq!(members(&headers[1].1).len(), 4);
}

#[test]
fn only_rules_that_matched_are_told() {
    let two = rules(&[
        ("a-1s", Window::Rolling { us: SECOND_US }),
        ("b-2s", Window::Rolling { us: 2 * SECOND_US }),
    ]);
    check(&two, &admitted(&[]), &[]);
    check(
        &two,
        &admitted(&[state(1, 3, 0)]),
        &[
            ("ratelimit-policy", r#""b-2s";q=100;w=2"#),
            ("ratelimit", r#""b-2s";r=3"#),
        ],
    );
    check(
        &two,
        &admitted(&[state(0, 5, 0), state(1, 3, 0)]),
        &[
            ("ratelimit-policy", r#""a-1s";q=100;w=1, "b-2s";q=100;w=2"#),
            ("ratelimit", r#""a-1s";r=5, "b-2s";r=3"#),
        ],
    );
    // A state of another rule set's rule is no reason to fail.
    check(&two, &admitted(&[state(9, 3, 0)]), &[]);
    let short = rules(&[("a-500ms", Window::Rolling { us: 500_000 })]);
    check(&short, &admitted(&[state(0, 5, 0)]), &[]);
    check(&short, &refused(1, &[state(0, 0, 1)]), &[("retry-after", "1")]);
}

#[test]
fn retry_after_is_never_too_early() {
    let check = |charge: &Charge, expect: Option<u64>| assert_eq!(retry_after_s(charge), expect, "{charge:?}");
    check(&admitted(&[state(0, 0, 5 * SECOND_US)]), None);
    check(&refused(1, &[state(0, 0, 1)]), Some(1));
    check(&refused(SECOND_US, &[state(0, 0, 1)]), Some(1));
    check(&refused(SECOND_US + 1, &[state(0, 0, 1)]), Some(2));
    check(&refused(0, &[]), Some(1));
    // Not before the `t` of a rule with nothing left.
    check(
        &refused(SECOND_US, &[state(0, 0, SECOND_US), state(1, 0, 9 * SECOND_US)]),
        Some(9),
    );
    // A rule with something left does not hold anybody up.
    check(
        &refused(SECOND_US, &[state(0, 0, SECOND_US), state(1, 7, 3_600 * SECOND_US)]),
        Some(1),
    );
}

#[test]
fn a_refusal_tells_no_wait_that_is_later_than_its_retry_after() {
    let two = rules(&[
        ("a-1s", Window::Rolling { us: SECOND_US }),
        ("b-3600s", Window::Rolling { us: 3_600 * SECOND_US }),
    ]);
    let states = [state(0, 0, SECOND_US), state(1, 7, 1_800 * SECOND_US)];
    let policy = ("ratelimit-policy", r#""a-1s";q=100;w=1, "b-3600s";q=100;w=3600"#);
    check(
        &two,
        &refused(SECOND_US, &states),
        &[
            policy,
            ("ratelimit", r#""a-1s";r=0;t=1, "b-3600s";r=7"#),
            ("retry-after", "1"),
        ],
    );
    // An admission has no moment to contradict.
    check(
        &two,
        &admitted(&states),
        &[policy, ("ratelimit", r#""a-1s";r=0;t=1, "b-3600s";r=7;t=1800"#)],
    );
}

#[test]
fn the_older_headers_tell_of_the_tightest_rule() {
    let three = rules(&[
        ("a-500ms", Window::Rolling { us: 500_000 }),
        ("b-60s", Window::Rolling { us: MINUTE_US }),
        ("c-3600s", Window::Rolling { us: 60 * MINUTE_US }),
    ]);
    let check = |charge: &Charge, expect: Option<[&str; 3]>| {
        let headers = of(&three, charge, true);
        let value = |name: HeaderName| {
            headers
                .iter()
                .find(|(found, _)| *found == name)
                .map(|(_, value)| value.to_str().unwrap())
        };
        let found = [X_RATE_LIMIT_LIMIT, X_RATE_LIMIT_REMAINING, X_RATE_LIMIT_RESET].map(value);
        assert_eq!(found, [0, 1, 2].map(|at| expect.map(|expect| expect[at])), "{charge:?}");
        // They come beside the others and change nothing about them.
        let others: Vec<_> = headers
            .into_iter()
            .filter(|(name, _)| !name.as_str().starts_with("x-"))
            .collect();
        assert_eq!(others, of(&three, charge, false));
    };
    let limited = |limit, state| RuleState { limit, ..state };
    // The fewest left, wherever it stands.
    check(
        &admitted(&[state(0, 9, 1), limited(50, state(1, 3, 16_100_000)), state(2, 4, 7)]),
        Some(["50", "3", "17"]),
    );
    // Among equals the longer wait.
    check(
        &admitted(&[state(1, 3, 16_100_000), limited(70, state(2, 3, 100 * SECOND_US))]),
        Some(["70", "3", "100"]),
    );
    // A window below a second counts, and a part of a second is one.
    check(
        &admitted(&[limited(5, state(0, 1, 400_000)), state(1, 3, SECOND_US)]),
        Some(["5", "1", "1"]),
    );
    // Nothing used is nothing to wait for.
    check(&admitted(&[state(1, 100, 0)]), Some(["100", "100", "0"]));
    // Refused: the rule that refused longest, and the moment that `Retry-After` names.
    check(
        &refused(
            30 * SECOND_US,
            &[
                state(0, 0, 100_000),
                limited(60, state(1, 0, 30 * SECOND_US)),
                state(2, 1, MINUTE_US * 50),
            ],
        ),
        Some(["60", "0", "30"]),
    );
    check(&admitted(&[]), None);
    check(&admitted(&[state(9, 3, 0)]), None);
}

#[test]
fn what_would_stand_beside_ours_and_contradict_them() {
    let rules = rules(&[("per_key-60s", Window::Rolling { us: MINUTE_US })]);
    let charge = admitted(&[state(0, 1, 1)]);
    let (draft, both) = (of(&rules, &charge, false), of(&rules, &charge, true));
    let check = |name: &'static str, expect: [bool; 3]| {
        let name = HeaderName::from_static(name);
        let found = [&[], &*draft, &*both].map(|ours| contradicts(ours, &name));
        assert_eq!(found, expect, "{name}, with none of ours, the draft's, both");
    };
    check("ratelimit", [false, true, true]);
    check("ratelimit-policy", [false, true, true]);
    check("ratelimit-remaining", [false, true, true]);
    check("x-ratelimit-limit", [false, false, true]);
    check("x-ratelimit-reset", [false, false, true]);
    check("x-ratelimit-limit-day", [false, false, true]);
    check("x-rate", [false, false, false]);
    check("retry-after", [false, false, false]);
}

#[test]
fn extreme_numbers_still_parse() {
    let rules = rules(&[(
        "per_key-30d",
        Window::Rolling {
            us: 2_592_000 * SECOND_US,
        },
    )]);
    let extreme = RuleState {
        rule: 0,
        limit: u32::MAX,
        remaining: u32::MAX,
        grows_in_us: u64::MAX,
    };
    let headers = of(&rules, &refused(u64::MAX, &[extreme]), false);
    assert_eq!(
        members(&headers[0].1)[0].1,
        [("q".to_owned(), 4_294_967_295), ("w".to_owned(), 2_592_000)]
    );
    assert_eq!(members(&headers[1].1)[0].1[1], ("t".to_owned(), 18_446_744_073_710));
    assert_eq!(headers[2].1, "18446744073710");
}
