//! `limits show`: what the argument is taken for, and what somebody who was just woken reads.

use super::{json, run, typed};
use crate::limits::Whose;
use serde_json::{Value, json as value};

fn counter(more: Value) -> Value {
    let mut counter = value!({
        "key_id": null, "key_name": null, "app_slug": null, "address": null, "used": 0, "remaining": 100,
        "next_in_seconds": 0, "next_at": null, "frees_in_seconds": 0, "frees_at": null, "is_shared": false,
    });
    merge(&mut counter, more);
    counter
}

fn rule(name: &str, counters: Vec<Value>, more: Value) -> Value {
    let mut rule = value!({
        "rule": name, "scheme": "gold", "mode": "per_key", "limit": 100, "window": "60s", "endpoints": [],
        "counters_total": counters.len(), "counters": counters, "is_overflowing": false,
    });
    merge(&mut rule, more);
    rule
}

fn merge(into: &mut Value, more: Value) {
    let (Value::Object(into), Value::Object(more)) = (into, more) else {
        panic!("two objects")
    };
    into.extend(more);
}

fn answer(whose: Value, limits: Vec<Value>) -> String {
    let mut answer = value!({
        "key_id": null, "key_name": null, "app_slug": null, "address": null, "at": "2026-11-21T12:00:00.5Z",
        "limits": limits, "is_cut_short": false,
    });
    merge(&mut answer, whose);
    answer.to_string()
}

/// Asks about `argument` with one played answer, and holds what is asked and shown against what it should be.
async fn check(argument: &str, asked: &str, body: &str, shown: &[&str]) {
    let outcome = run(typed(&["limits", "show", argument]), &[&json(200, body)]).await;
    assert_eq!((outcome.code, outcome.err.as_str()), (0, ""));
    assert_eq!(outcome.requests, [format!("GET /api-auth/limits?{asked}")]);
    let lines: Vec<&str> = outcome.out.lines().collect();
    assert_eq!(lines, shown, "{}", outcome.out);
}

fn of_key() -> Value {
    value!({"key_id": "42", "key_name": "Acme", "app_slug": "internal-api"})
}

#[tokio::test]
async fn a_key_that_is_blocked_is_told_by_what_and_until_when() {
    let key = value!({"key_id": "7", "key_name": "Acme", "app_slug": "internal-api"});
    let full = value!({"used": 100, "remaining": 0, "next_in_seconds": 12, "frees_in_seconds": 12});
    let mut own = key.clone();
    merge(&mut own, full.clone());
    let app = value!({"app_slug": "internal-api", "used": 40, "remaining": 9960, "frees_in_seconds": 3000});
    let mut from = key.clone();
    merge(
        &mut from,
        value!({"address": "203.0.113.7", "used": 5, "remaining": 0, "next_in_seconds": 4000, "frees_in_seconds": 4000}),
    );
    let body = answer(
        of_key(),
        vec![
            rule("per_key-60s", vec![counter(own)], value!({})),
            rule("per_app-3600s", vec![counter(app)], value!({"limit": 10_000})),
            rule(
                "per_key_and_ip-7200s",
                vec![counter(from)],
                value!({"limit": 5, "counters_total": 31, "endpoints": ["/login", "/v1/*"]}),
            ),
        ],
    );
    check(
        "42",
        "key_id=42",
        &body,
        &[
            "Key   42 (Acme)",
            "App   internal-api",
            "At    2026-11-21 12:00:00Z",
            "Says  blocked by per_key-60s (scheme gold): next request in 12 s; 1 more counter is full",
            "",
            "RULE                  SCHEME  COUNTS              USED         NOW",
            "per_key-60s           gold    key 7 (Acme)        100 of 100   full, next request in 12 s",
            "per_app-3600s         gold    app internal-api    40 of 10000  9960 left, more in 50 min",
            "per_key_and_ip-7200s  gold    key 7 (Acme) from   5 of 5       full, next request in 67 min",
            "  on /login                   203.0.113.7",
            "  on /v1/*",
            "per_key_and_ip-7200s  gold    30 more, less used",
        ],
    )
    .await;
}

#[tokio::test]
async fn what_does_not_block_everybody_is_told_with_whom_it_blocks() {
    let full = |more: Value| {
        let mut full = value!({"used": 100, "remaining": 0, "next_in_seconds": 60, "frees_in_seconds": 60});
        merge(&mut full, more);
        counter(full)
    };
    let says = async |argument: &str, asked: &str, whose: Value, limits: Vec<Value>, expected: &str| {
        let body = answer(whose, limits);
        let outcome = run(typed(&["limits", "show", argument]), &[&json(200, &body)]).await;
        assert_eq!(outcome.requests, [format!("GET /api-auth/limits?{asked}")]);
        assert!(
            outcome.out.contains(&format!("Says     {expected}\n")),
            "{}",
            outcome.out
        );
    };
    let key = || value!({"key_id": "7", "key_name": "Acme", "app_slug": "a"});
    let address = || value!({"address": "203.0.113.7"});
    let app = || value!({"app_slug": "a"});
    let with = |mut left: Value, right: Value| {
        merge(&mut left, right);
        left
    };
    // The address is in the answer, so that it is no part of what was asked about.
    says(
        "203.0.113.7",
        "address=203.0.113.7",
        address(),
        vec![rule("per_ip-60s", vec![full(address())], value!({"scheme": null}))],
        "blocked by per_ip-60s (default rules): next request in 60 s",
    )
    .await;
    says(
        "203.0.113.7",
        "address=203.0.113.7",
        address(),
        vec![rule("per_key_and_ip-60s", vec![full(with(key(), address()))], value!({}))],
        "blocked in part by per_key_and_ip-60s (scheme gold), for key 7 (Acme) from 203.0.113.7:\n         next request in 60 s",
    )
    .await;
    says(
        "2001:db8::/64",
        "address=2001%3Adb8%3A%3A%2F64",
        value!({"address": "2001:db8::/64"}),
        vec![rule("per_ip-60s", vec![counter(address())], value!({}))],
        "no limit blocks",
    )
    .await;
    let body = |whose: Value, limits: Vec<Value>| answer(whose, limits);
    // Of two that are full, the one that blocks everything comes first, however short its wait.
    let far = value!({"next_in_seconds": 90_000, "frees_in_seconds": 90_000});
    let limits = vec![
        rule("per_app-60s", vec![full(app())], value!({})),
        rule(
            "per_app_and_ip-60s",
            vec![full(with(with(app(), address()), far.clone()))],
            value!({}),
        ),
        rule(
            "per_app-60s-2",
            vec![full(with(app(), far))],
            value!({"endpoints": ["/v1/*"]}),
        ),
    ];
    check(
        "a",
        "app_slug=a",
        &body(app(), limits.clone()),
        &[
            "App   a",
            "At    2026-11-21 12:00:00Z",
            "Says  blocked by per_app-60s (scheme gold): next request in 60 s; 2 more counters are full",
            "",
            "RULE                SCHEME  COUNTS                  USED        NOW",
            "per_app-60s         gold    app a                   100 of 100  full, next request in 60 s",
            "per_app_and_ip-60s  gold    app a from 203.0.113.7  100 of 100  full, next request in 25 h",
            "per_app-60s-2       gold    app a                   100 of 100  full, next request in 25 h",
            "  on /v1/*",
        ],
    )
    .await;
    check(
        "a",
        "app_slug=a",
        &body(app(), limits[2..].to_vec()),
        &[
            "App   a",
            "At    2026-11-21 12:00:00Z",
            "Says  blocked in part by per_app-60s-2 (scheme gold), for app a on /v1/*: next request in 25 h",
            "",
            "RULE           SCHEME  COUNTS  USED        NOW",
            "per_app-60s-2  gold    app a   100 of 100  full, next request in 25 h",
            "  on /v1/*",
        ],
    )
    .await;
}

#[tokio::test]
async fn what_is_missing_or_shared_is_said() {
    let shared = value!({"app_slug": "a", "used": 3, "remaining": 97, "frees_in_seconds": 7, "is_shared": true});
    let limits = vec![
        rule("per_app-60s", vec![counter(shared)], value!({})),
        rule("per_app_and_ip-60s", vec![], value!({"is_overflowing": true})),
        rule("per_app_and_ip-1s", vec![], value!({})),
        rule("per_app-1s", vec![counter(value!({"app_slug": "a"}))], value!({})),
    ];
    check(
        "a",
        "app_slug=a",
        &answer(value!({"app_slug": "a", "is_cut_short": true}), limits),
        &[
            "App   a",
            "At    2026-11-21 12:00:00Z",
            "Says  no limit blocks",
            "",
            "RULE                SCHEME  COUNTS  USED      NOW",
            "per_app-60s         gold    app a   3 of 100  97 left, more in 7 s; shared with others, since",
            "                                              limits.counters_max is reached",
            "per_app_and_ip-60s  gold    others            further ones share counters, since",
            "                                              limits.counters_max is reached",
            "per_app_and_ip-1s   gold    nobody  0 of 100  nothing used",
            "per_app-1s          gold    app a   0 of 100  nothing used",
            "",
            "There are further schemes that count something; these are the first.",
        ],
    )
    .await;
    let nothing = answer(value!({"address": "203.0.113.7"}), vec![]);
    check(
        "203.0.113.7",
        "address=203.0.113.7",
        &nothing,
        &[
            "Address  203.0.113.7",
            "At       2026-11-21 12:00:00Z",
            "Says     no limit counts anything here",
        ],
    )
    .await;
    let line = ["limits", "show", "203.0.113.7", "--output", "json"];
    let outcome = run(typed(&line), &[&json(200, &nothing)]).await;
    assert_eq!((outcome.code, outcome.err.as_str()), (0, ""));
    assert_eq!(outcome.out.parse::<Value>().unwrap(), nothing.parse::<Value>().unwrap());
}

#[test]
fn the_argument_is_told_by_its_shape() {
    let check = |text: &str, expected: Whose| assert_eq!(Whose::read(text).unwrap(), expected, "{text}");
    check("1", Whose::Key("1".to_owned()));
    check("9223372036854775807", Whose::Key("9223372036854775807".to_owned()));
    check("internal-api", Whose::App("internal-api".to_owned()));
    check("1st", Whose::App("1st".to_owned()));
    for address in [
        "203.0.113.7",
        "::1",
        "2001:db8::7",
        "2001:db8::/64",
        "::ffff:203.0.113.7",
    ] {
        check(address, Whose::Address(address.to_owned()));
    }
}

/// Made for this test.
const SECRET: &str = "sk_live_0123456789abcdefghijklmnopqrstuvwxyzA2mGWex";

#[tokio::test]
async fn what_can_be_no_argument_is_refused_and_not_repeated() {
    for (line, expected) in [
        (
            vec![SECRET],
            "this is the secret of a key, and it is in the shell's history now",
        ),
        (vec!["sk_live_S3cr3t"], "name the key by its id"),
        (vec!["a", "sk_live_S3cr3t"], "takes one argument"),
        (vec![""], "the argument is none of what"),
        (vec!["0"], "ids are positive"),
        (vec!["9223372036854775808"], "ids are positive"),
        (vec!["203.0.113.7/64"], "the argument is none of what"),
        (vec!["203.0.113.7:80"], "the argument is none of what"),
        (vec!["../keys"], "the argument is none of what"),
    ] {
        let outcome = run(typed(&[["limits", "show"].as_slice(), &line].concat()), &[]).await;
        assert_eq!((outcome.code, outcome.requests.len()), (2, 0), "{line:?}");
        assert!(outcome.err.contains(expected), "{line:?}: {}", outcome.err);
        assert!(
            outcome.out.is_empty() && !outcome.err.contains("sk_live"),
            "{}",
            outcome.err
        );
    }
}
