//! Whatever the rules and the charge: what is spelled is read back by the structured-field parser, name by name and number by
//! number, and no two of the times contradict each other.

use super::tests::{admitted, members, refused};
use super::*;
use portcullis_verify::{Mode, Rule, Unit, rule::Endpoints};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use std::collections::HashSet;

const UNITS: [Unit; 8] = [
    Unit::Millisecond,
    Unit::Second,
    Unit::Minute,
    Unit::Hour,
    Unit::Day,
    Unit::CalendarDay,
    Unit::Month,
    Unit::CalendarMonth,
];
const MODES: [Option<Mode>; 6] = [
    None,
    Some(Mode::PerKey),
    Some(Mode::PerIp),
    Some(Mode::PerApp),
    Some(Mode::PerKeyAndIp),
    Some(Mode::PerAppAndIp),
];

/// A rule as somebody may have stored it; few durations, so that rules share their mode and window often.
fn rule() -> impl Strategy<Value = Rule> {
    let fields = (
        select(&UNITS[..]),
        prop_oneof![1..4i32, 999..1_002i32, 1..60_000i32],
        prop_oneof![1..10i32, 1..i32::MAX],
        select(&MODES[..]),
        proptest::option::of(-2..3i32),
    );
    fields.prop_map(|(unit, duration, max_requests, mode, priority)| Rule {
        unit,
        duration: duration.min(unit.duration_max()),
        max_requests,
        mode,
        endpoints: None,
        priority,
    })
}

/// Microseconds: none, around a second, days, and what no limiter would say.
fn wait_us() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        1..3 * SECOND_US,
        SECOND_US - 2..SECOND_US + 3,
        0..40 * DAY_S * SECOND_US,
        any::<u64>(),
    ]
}

/// Rules, and a charge of some of them.
fn charged() -> impl Strategy<Value = (RuleSet, Charge)> {
    proptest::collection::vec(rule(), 0..33).prop_flat_map(|rules| {
        let count = rules.len();
        let matched = subsequence((0..count).collect::<Vec<_>>(), 0..=count);
        let numbers = proptest::collection::vec((prop_oneof![Just(0), 0..5u32, any::<u32>()], wait_us()), count);
        (Just(rules), matched, numbers, proptest::option::of(wait_us())).prop_map(
            |(rules, matched, numbers, refusal)| {
                let rules = RuleSet::compile(None, &rules);
                let states: Vec<RuleState> = matched
                    .into_iter()
                    .zip(numbers)
                    .map(|(rule, (remaining, grows_in_us))| RuleState {
                        rule,
                        limit: rules.rules[rule].limit,
                        remaining,
                        grows_in_us,
                    })
                    .collect();
                let charge = match refusal {
                    Some(retry_after_us) => refused(retry_after_us, &states),
                    None => admitted(&states),
                };
                (rules, charge)
            },
        )
    })
}

fn value(headers: &[(HeaderName, HeaderValue)], name: &HeaderName) -> Option<HeaderValue> {
    let mut found = headers.iter().filter(|(found, _)| found == name);
    let value = found.next().map(|(_, value)| value.clone());
    assert!(found.next().is_none(), "{name} is there twice");
    value
}

fn number(headers: &[(HeaderName, HeaderValue)], name: &HeaderName) -> Option<u64> {
    value(headers, name).map(|value| value.to_str().unwrap().parse().unwrap())
}

fn told(headers: &[(HeaderName, HeaderValue)], name: &HeaderName) -> Vec<(String, Vec<(String, i64)>)> {
    value(headers, name).map(|value| members(&value)).unwrap_or_default()
}

/// Whole seconds that last at least as long.
fn lasts(seconds: u64, us: u64) -> bool {
    u128::from(seconds) * u128::from(SECOND_US) >= u128::from(us)
}

/// The lines, as they must be: those of the headers.
fn lines(headers: &[(HeaderName, HeaderValue)]) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in headers {
        lines.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    lines
}

/// What is written as bytes is what the headers say, after whatever stood there before, and as telling.
fn check_written(rules: &RuleSet, charge: &Charge, with_legacy: bool) {
    let headers = of(rules, charge, with_legacy);
    let mut out = b"before".to_vec();
    let told = write(rules, charge, with_legacy, &mut out);
    assert_eq!(
        out.strip_prefix(b"before").unwrap().escape_ascii().to_string(),
        lines(&headers).escape_ascii().to_string()
    );
    for name in [
        "ratelimit",
        "ratelimit-limit",
        "x-ratelimit-reset",
        "x-ratelimitless",
        "x-rate",
        "retry-after",
        "x",
    ] {
        let expect = contradicts(&headers, &HeaderName::from_static(name));
        assert_eq!(told.contradicts(name.as_bytes()), expect, "{name}");
        assert_eq!(told.contradicts(name.to_ascii_uppercase().as_bytes()), expect, "{name}");
        assert!(!Told::NOTHING.contradicts(name.as_bytes()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_written_is_what_the_headers_say((rules, charge) in charged(), with_legacy in any::<bool>()) {
        check_written(&rules, &charge, with_legacy);
    }

    #[test]
    fn what_is_told_is_what_was_charged((rules, charge) in charged(), with_legacy in any::<bool>()) {
        let headers = of(&rules, &charge, with_legacy);
        let (policies, limits) = (told(&headers, &RATE_LIMIT_POLICY), told(&headers, &RATE_LIMIT));
        let told_of: Vec<_> = charge.states.iter().filter(|state| match rules.rules[state.rule].window {
            Window::Rolling { us } => us >= SECOND_US,
            Window::CalendarDay | Window::CalendarMonth => true,
        }).collect();
        prop_assert_eq!(policies.len(), told_of.len());
        prop_assert_eq!(limits.len(), told_of.len());
        let retry_after = number(&headers, &RETRY_AFTER);
        prop_assert_eq!(retry_after.is_some(), charge.outcome != ChargeOutcome::Admitted);

        for ((policy, limit), state) in policies.iter().zip(&limits).zip(&told_of) {
            let rule = &rules.rules[state.rule];
            prop_assert_eq!(&policy.0, &*rule.name);
            prop_assert_eq!(&limit.0, &*rule.name);
            let [q, w] = &policy.1[..] else { panic!("{policy:?}") };
            prop_assert_eq!(q, &("q".to_owned(), i64::from(rule.limit)));
            prop_assert!(w.0 == "w" && w.1 >= 1);
            if let Window::Rolling { us } = rule.window {
                let window_s = u64::try_from(w.1).unwrap();
                prop_assert!(lasts(window_s, us) && !lasts(window_s - 1, us));
            }
            prop_assert_eq!(&limit.1[0], &("r".to_owned(), i64::from(state.remaining)));
            match &limit.1[1..] {
                [(name, t)] => {
                    let t = u64::try_from(*t).unwrap();
                    prop_assert!(name == "t" && t >= 1);
                    prop_assert!(lasts(t, state.grows_in_us) && !lasts(t - 1, state.grows_in_us));
                    prop_assert!(retry_after.is_none_or(|retry_after| t <= retry_after));
                }
                [] => prop_assert!(
                    state.grows_in_us == 0 || retry_after.is_some_and(|seconds| !lasts(seconds, state.grows_in_us))
                ),
                more => panic!("{more:?}"),
            }
        }
        let names: HashSet<_> = policies.iter().map(|(name, _)| name).collect();
        prop_assert_eq!(names.len(), policies.len(), "several rules on one subject are told apart");
    }

    #[test]
    fn nobody_is_called_back_too_early((rules, charge) in charged()) {
        let headers = of(&rules, &charge, true);
        let retry_after = number(&headers, &RETRY_AFTER);
        if let (ChargeOutcome::Refused { retry_after_us, .. }, Some(seconds)) = (charge.outcome, retry_after) {
            prop_assert!(seconds >= 1 && lasts(seconds, retry_after_us));
            for state in charge.states.iter().filter(|state| state.remaining == 0) {
                prop_assert!(lasts(seconds, state.grows_in_us));
            }
        }

        let reset = number(&headers, &X_RATE_LIMIT_RESET);
        prop_assert_eq!(reset.is_some(), !charge.states.is_empty());
        let Some(reset) = reset else { return Ok(()) };
        prop_assert!(retry_after.is_none_or(|retry_after| reset <= retry_after));
        let (limit, remaining) = (number(&headers, &X_RATE_LIMIT_LIMIT), number(&headers, &X_RATE_LIMIT_REMAINING));
        let is_told = |state: &&RuleState| {
            limit == Some(u64::from(state.limit)) && remaining == Some(u64::from(state.remaining))
        };
        let tightest: Vec<_> = charge.states.iter().filter(is_told).collect();
        prop_assert!(!tightest.is_empty());
        prop_assert!(charge.states.iter().all(|state| state.remaining >= tightest[0].remaining));
        if retry_after.is_none() {
            let longest = charge.states.iter().filter(|state| state.remaining == tightest[0].remaining);
            let longest = longest.map(|state| state.grows_in_us).max().unwrap();
            prop_assert!(lasts(reset, longest) && (reset == 0 || !lasts(reset - 1, longest)));
        }
    }

    /// Names are ours and tame; should one ever not be, it is quoted as it must be, or its rule is left out, and the rest stands.
    #[test]
    fn no_name_breaks_a_header(name in "\\PC{0,12}|[ -~]{0,12}|[\"\\\\a]{0,6}") {
        let rule = |name: &str, position| CompiledRule {
            name: name.into(),
            mode: Mode::PerKey,
            window: Window::CalendarDay,
            limit: 7,
            endpoints: Endpoints::Every,
            position,
        };
        let rules = RuleSet { scheme_id: None, is_keys_own: false, rules: [rule(&name, 0), rule("per_key-60s", 1)].into(), limiter_view: Default::default() };
        let state = |rule| RuleState { rule, limit: 7, remaining: 6, grows_in_us: 1 };
        check_written(&rules, &admitted(&[state(0), state(1), state(9)]), true);
        let headers = of(&rules, &admitted(&[state(0), state(1)]), false);
        let is_string = name.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let expect: Vec<&str> = if is_string { vec![&name, "per_key-60s"] } else { vec!["per_key-60s"] };
        for header in [RATE_LIMIT_POLICY, RATE_LIMIT] {
            let found = told(&headers, &header);
            let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
            prop_assert_eq!(&names, &expect);
        }
    }
}
