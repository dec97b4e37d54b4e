use super::*;

fn rule(unit: Unit, duration: i32) -> Rule {
    Rule {
        unit,
        duration,
        max_requests: 10,
        mode: None,
        endpoints: None,
        priority: None,
    }
}

fn with_endpoints(endpoints: &[&str]) -> Rule {
    Rule {
        endpoints: Some(endpoints.iter().map(|&entry| entry.to_owned()).collect()),
        ..rule(Unit::Second, 1)
    }
}

#[test]
fn bounds_of_every_unit() {
    for (unit, max, expected) in [
        (
            Unit::Millisecond,
            60_000,
            "with the unit `millisecond` it must be from 1 to 60000",
        ),
        (Unit::Second, 1_800, "with the unit `second` it must be from 1 to 1800"),
        (Unit::Minute, 1_440, "with the unit `minute` it must be from 1 to 1440"),
        (Unit::Hour, 720, "with the unit `hour` it must be from 1 to 720"),
        (Unit::Day, 30, "with the unit `day` it must be from 1 to 30"),
        (Unit::CalendarDay, 1, "with the unit `calendar_day` it must be 1"),
        (Unit::Month, 1, "with the unit `month` it must be 1"),
        (Unit::CalendarMonth, 1, "with the unit `calendar_month` it must be 1"),
    ] {
        assert_eq!(rule(unit, 1).validate(), Ok(()));
        assert_eq!(rule(unit, max).validate(), Ok(()));
        for value in [i32::MIN, -1, 0, max + 1, i32::MAX] {
            let fault = rule(unit, value).validate().unwrap_err();
            assert_eq!(fault.to_string(), format!("`duration` is {value}, but {expected}"));
            assert_eq!(fault.field(), "duration");
        }
        let wire = serde_json::to_string(&unit).unwrap();
        assert_eq!(wire, format!("\"{}\"", unit.name()));
    }
}

#[test]
fn limits_are_at_least_one() {
    for (value, expected) in [(1, true), (i32::MAX, true), (0, false), (-1, false), (i32::MIN, false)] {
        let result = Rule {
            max_requests: value,
            ..rule(Unit::Second, 1)
        }
        .validate();
        assert_eq!(result.is_ok(), expected);
        if let Err(fault) = result {
            assert_eq!(
                fault.to_string(),
                format!("`max_requests` is {value}, but it must be from 1 to 2147483647")
            );
        }
    }
}

#[test]
fn endpoint_shapes() {
    #[track_caller]
    fn check(entry: &str, expected: bool) {
        let result = with_endpoints(&["/fine", entry]).validate();
        assert_eq!(result.is_ok(), expected, "{entry:?}: {result:?}");
        if let Err(fault) = result {
            assert!(fault.to_string().starts_with("`endpoints[1]` "), "{fault}");
        }
    }
    check("*", true);
    check("/", true);
    check("/v1", true);
    check("/v1/", true);
    check("/v1/*", true);
    check("/*", true);
    check("/v1/ä", true);
    check("", false);
    check("v1", false);
    check("v1/*", false);
    check("**", false);
    check("/v1*", false);
    check("/v1/**", false);
    check("/*/x", false);
    check("/v1/*/x/*", false);
    check("/v1?x=1", false);
    check("/v1#x", false);
    check("/v1 ", false);
    check(" /v1", false);
    check("GET /v1", false);
    check("/v1\n", false);
    check("/v1\0", false);
    check(&format!("/{}", "x".repeat(ENDPOINT_BYTES_MAX - 1)), true);
    check(&format!("/{}", "x".repeat(ENDPOINT_BYTES_MAX)), false);
    assert_eq!(with_endpoints(&["/x"; ENDPOINTS_MAX]).validate(), Ok(()));
    assert_eq!(
        with_endpoints(&["/x"; ENDPOINTS_MAX + 1])
            .validate()
            .unwrap_err()
            .to_string(),
        "`endpoints` has 257 entries, but at most 256 are allowed"
    );
}

#[test]
fn endpoints_match() {
    #[track_caller]
    fn check(entries: &[&str], path: &str, expected: bool) {
        let rules = RuleSet::compile(None, &[with_endpoints(entries)]);
        assert_eq!(rules.rules[0].endpoints.matches(path), expected, "{entries:?} {path}");
    }
    check(&[], "/anything", true);
    check(&["*"], "/anything", true);
    check(&["/other", "*"], "/anything", true);
    check(&["/v1"], "/v1", true);
    check(&["/v1"], "/v1/", false);
    check(&["/v1"], "/V1", false);
    check(&["/v1"], "/v1/x", false);
    check(&["/v1/*"], "/v1/x", true);
    check(&["/v1/*"], "/v1/x/y", true);
    check(&["/v1/*"], "/v1/", true);
    check(&["/v1/*"], "/v1", false);
    check(&["/v1/*"], "/v1x", false);
    check(&["/v1/*"], "/v2/v1/x", false);
    check(&["/*"], "/", true);
    check(&["/*"], "/x", true);
    check(&["/"], "/", true);
    check(&["/"], "/x", false);
    check(&["/a", "/b/*"], "/b/c", true);
    check(&["/a", "/b/*"], "/c", false);
}

#[test]
fn names_and_order() {
    #[track_caller]
    fn check(rules: &[(Unit, i32, Option<Mode>, Option<i32>)], expected: &[(&str, u16)]) {
        let rules: Vec<Rule> = rules
            .iter()
            .map(|&(unit, duration, mode, priority)| Rule {
                mode,
                priority,
                ..rule(unit, duration)
            })
            .collect();
        let compiled = RuleSet::compile(Some(SchemeId(7)), &rules);
        let actual: Vec<(&str, u16)> = compiled.rules.iter().map(|rule| (&*rule.name, rule.position)).collect();
        assert_eq!(actual, expected);
        assert_eq!(compiled.scheme_id, Some(SchemeId(7)));
    }
    check(&[], &[]);
    check(&[(Unit::Minute, 1, None, None)], &[("per_app-60s", 0)]);
    check(
        &[(Unit::Millisecond, 500, Some(Mode::PerApp), None)],
        &[("per_app-500ms", 0)],
    );
    check(
        &[(Unit::Millisecond, 60_000, Some(Mode::PerKey), None)],
        &[("per_key-60s", 0)],
    );
    check(&[(Unit::Month, 1, Some(Mode::PerIp), None)], &[("per_ip-2592000s", 0)]);
    check(
        &[(Unit::CalendarDay, 1, Some(Mode::PerKey), None)],
        &[("per_key-calendar_day", 0)],
    );
    check(
        &[(Unit::CalendarMonth, 1, Some(Mode::PerAppAndIp), None)],
        &[("per_app_and_ip-calendar_month", 0)],
    );
    check(
        &[
            (Unit::Second, 60, Some(Mode::PerKey), None),
            (Unit::Minute, 1, Some(Mode::PerKey), None),
            (Unit::Minute, 1, Some(Mode::PerKeyAndIp), None),
            (Unit::Minute, 1, Some(Mode::PerKey), None),
        ],
        &[
            ("per_key-60s", 0),
            ("per_key-60s-2", 1),
            ("per_key_and_ip-60s", 2),
            ("per_key-60s-3", 3),
        ],
    );
    check(
        &[
            (Unit::Second, 1, None, Some(5)),
            (Unit::Second, 2, None, None),
            (Unit::Second, 3, None, Some(-1)),
            (Unit::Second, 4, None, Some(0)),
            (Unit::Second, 1, None, Some(-1)),
        ],
        &[
            ("per_app-3s", 2),
            ("per_app-1s", 4),
            ("per_app-2s", 1),
            ("per_app-4s", 3),
            ("per_app-1s-2", 0),
        ],
    );
}

#[test]
fn rules_out_of_bounds_compile_to_the_strictest_near_them() {
    let stored = Rule {
        max_requests: -5,
        ..with_endpoints(&["/v1", "nonsense"])
    };
    let compiled = RuleSet::compile(None, &[stored, rule(Unit::Second, 0), rule(Unit::Second, i32::MAX)]);
    assert_eq!(compiled.rules[0].limit, 1);
    assert_eq!(compiled.rules[0].endpoints, Endpoints::Every);
    assert_eq!(compiled.rules[1].window, Window::Rolling { us: 1_000_000 });
    assert_eq!(compiled.rules[2].window, Window::Rolling { us: 1_800_000_000 });
}

#[test]
fn what_was_left_out_stays_left_out() {
    let wire = r#"{"unit":"minute","duration":1,"max_requests":5}"#;
    let parsed: Rule = serde_json::from_str(wire).unwrap();
    assert_eq!(serde_json::to_string(&parsed).unwrap(), wire);
}
