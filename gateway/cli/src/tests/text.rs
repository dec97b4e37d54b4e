//! The small grammars: rules, times, JSON.

use crate::rule_text::AnsweredRule;
use crate::{instant, json_text, rule_text};
use portcullis_config::{Mode, Rule, Unit};
use proptest::prelude::*;
use serde_json::Value;

#[test]
fn rules_are_read() {
    let rule = |max_requests, duration, unit| Rule {
        unit,
        duration,
        max_requests,
        mode: None,
        endpoints: None,
        priority: None,
    };
    for (text, expected) in [
        ("100/minute", rule(100, 1, Unit::Minute)),
        ("100/10s", rule(100, 10, Unit::Second)),
        ("1_000/500ms", rule(1_000, 500, Unit::Millisecond)),
        ("5/calendar_month", rule(5, 1, Unit::CalendarMonth)),
        (
            "9/2hours per_ip",
            Rule {
                mode: Some(Mode::PerIp),
                ..rule(9, 2, Unit::Hour)
            },
        ),
        (
            "1/day priority=-1 /a /b/* per_key_and_ip *",
            Rule {
                mode: Some(Mode::PerKeyAndIp),
                endpoints: Some(vec!["/a".to_owned(), "/b/*".to_owned(), "*".to_owned()]),
                priority: Some(-1),
                ..rule(1, 1, Unit::Day)
            },
        ),
    ] {
        assert_eq!(rule_text::parse(text), Ok(expected), "{text}");
    }
    for (text, expected) in [
        ("", "`` is not a rate"),
        ("100", "`100` is not a rate"),
        ("x/minute", "`x/minute` is not a rate"),
        ("1/10", "`1/10` is not a rate"),
        ("1/fortnight", "`1/fortnight` is not a rate"),
        ("3000000000/s", "`3000000000/s` is not a rate"),
        ("0/minute", "`max_requests` is 0"),
        ("1/2month", "`duration` is 2"),
        ("1/minute per_user", "`per_user` is neither a mode"),
        ("1/minute v1/*", "`v1/*` is neither a mode"),
        ("1/minute priority=high", "`priority=high` is not a priority"),
        ("1/minute per_key per_ip", "`per_ip` is said twice"),
    ] {
        let fault = rule_text::parse(text).unwrap_err();
        assert!(fault.contains(expected), "{text}: {fault}");
    }
}

#[test]
fn times_are_read_and_shown() {
    let now = "2026-11-21T12:00:00Z".parse().unwrap();
    for (text, expected) in [
        ("30d", "2026-12-21T12:00:00Z"),
        ("2w", "2026-12-05T12:00:00Z"),
        ("90s", "2026-11-21T12:01:30Z"),
        ("2027-01-31T12:00:00+02:00", "2027-01-31T10:00:00Z"),
    ] {
        assert_eq!(instant::parse(text, now).unwrap().to_string(), expected);
    }
    for text in [
        "",
        "30",
        "d",
        "tomorrow",
        "2027-01-31",
        "-1d",
        "9223372036854775807w",
        "9999999999999d",
    ] {
        assert!(instant::parse(text, now).is_err(), "{text}");
    }
    for (text, expected) in [
        ("2026-11-21T12:00:59Z", "2026-11-21 12:00:59Z (in 59 seconds)"),
        ("2026-11-21T11:58:59.9Z", "2026-11-21 11:58:59Z (1 minute ago)"),
        ("2026-11-21T14:00:00+02:00", "2026-11-21 12:00:00Z (now)"),
        ("2026-12-01T12:00:00Z", "2026-12-01 12:00:00Z (in 10 days)"),
        ("soon", "soon"),
    ] {
        assert_eq!(instant::exact_and_relative(text, now), expected);
    }
}

#[test]
fn spans_are_said_and_never_too_short() {
    for (seconds, expected) in [
        (0, "0 s"),
        (1, "1 s"),
        (119, "119 s"),
        (120, "2 min"),
        (121, "3 min"),
        (7_140, "119 min"),
        (7_141, "2 h"),
        (7_201, "2 h 1 min"),
        (86_400, "24 h"),
        (172_740, "47 h 59 min"),
        (172_741, "2 d"),
        (172_801, "2 d 1 h"),
        (2_678_400, "31 d"),
    ] {
        assert_eq!(instant::span(seconds), expected, "{seconds}");
    }
}

#[test]
fn json_keeps_its_text() {
    for (text, expected) in [
        ("{}", "{}"),
        ("[ ]", "[]"),
        ("[]", "[]"),
        ("12345678901234567890.10e1", "12345678901234567890.10e1"),
        (
            r#"{"b":[1,{"a":""}],"a":"\"{,:"}"#,
            "{\n  \"b\": [\n    1,\n    {\n      \"a\": \"\"\n    }\n  ],\n  \"a\": \"\\\"{,:\"\n}",
        ),
        (r#"{"a" : "\\", "a":null}"#, "{\n  \"a\": \"\\\\\",\n  \"a\": null\n}"),
    ] {
        assert_eq!(json_text::indented(text), expected);
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((".*", inner), 0..4).prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let units = [
        Unit::Millisecond,
        Unit::Second,
        Unit::Minute,
        Unit::Hour,
        Unit::Day,
        Unit::CalendarDay,
        Unit::Month,
        Unit::CalendarMonth,
    ];
    let modes = [
        Mode::PerKey,
        Mode::PerIp,
        Mode::PerApp,
        Mode::PerKeyAndIp,
        Mode::PerAppAndIp,
    ];
    let paths = prop::collection::vec("/[a-z]{0,5}(/\\*)?", 1..4);
    (
        prop::sample::select(units.to_vec()),
        0..60_000_i32,
        1..=i32::MAX,
        prop::option::of(prop::sample::select(modes.to_vec())),
        prop::option::of(paths),
        prop::option::of(any::<i32>()),
    )
        .prop_map(|(unit, duration, max_requests, mode, endpoints, priority)| Rule {
            unit,
            duration: duration % unit.duration_max() + 1,
            max_requests,
            mode,
            endpoints,
            priority,
        })
        .prop_filter("legal", |rule| rule.validate().is_ok())
}

proptest! {
    #[test]
    fn indented_json_is_the_same_json(value in any_json()) {
        let indented = json_text::indented(&value.to_string());
        prop_assert_eq!(&indented, &serde_json::to_string_pretty(&value).unwrap());
    }

    /// What `show` prints can be typed into `create`.
    #[test]
    fn rules_round_trip(rule in any_rule()) {
        let answered: AnsweredRule = serde_json::from_value(serde_json::to_value(&rule).unwrap()).unwrap();
        prop_assert_eq!(rule_text::parse(&answered.text()), Ok(rule));
    }
}
