//! The promise that a limit is a limit: through the real binary, to the exact request, for every unit and mode.
//!
//! Windows long enough not to slide during a test are counted to the request; short ones are checked against a log of
//! what was admitted when. How the windows slide is proved in `portcullis-limits`.

#![expect(clippy::panic, reason = "a test ends where what it needs is not there")]

mod support;

use portcullis_verify::Clock;
use serde_json::{Value, json};
use support::control::Issued;
use support::upstream::Upstream;
use support::{Server, client, route};

struct World {
    server: Server,
    upstream: Upstream,
    client: reqwest::Client,
}

impl World {
    async fn new() -> World {
        World::with("").await
    }

    /// One with further settings.
    async fn with(settings: &str) -> World {
        let upstream = Upstream::start().await;
        // The tests play clients at many addresses, as a trusted load balancer would report them.
        let config = format!(
            "[gateway]\ntrusted_proxies = [\"127.0.0.1\"]\n{settings}{}",
            route(upstream.address, &["api", "other"])
        );
        World {
            server: Server::start(&config).await,
            upstream,
            client: client(),
        }
    }

    async fn send(&self, key: &Issued, from: &str, path: &str) -> reqwest::Response {
        let request = self.client.get(self.server.url(path)).bearer_auth(&key.secret);
        request.header("x-forwarded-for", from).send().await.expect("an answer")
    }

    async fn status(&self, key: &Issued, from: &str) -> u16 {
        self.send(key, from, "/").await.status().as_u16()
    }

    /// How many of `tries` requests in a row are let through.
    async fn admitted(&self, key: &Issued, from: &str, tries: usize) -> usize {
        let mut admitted = 0;
        for _ in 0..tries {
            match self.status(key, from).await {
                200 => admitted += 1,
                429 => {}
                other => panic!("unexpected status {other}"),
            }
        }
        admitted
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_unit_admits_exactly_its_limit() {
    let world = World::new().await;
    let api = world.server.api();
    // Unit, duration, and the limit; the windows outlast the test, but for the millisecond one (its longest, a minute).
    let rules = [
        ("millisecond", 60_000, 7),
        ("second", 1_800, 5),
        ("minute", 60, 1),
        ("hour", 720, 17),
        ("day", 30, 20),
        ("calendar_day", 1, 3),
        ("month", 1, 33),
        ("calendar_month", 1, 4),
    ];
    for (unit, duration, limit) in rules {
        let slug = format!("by-{}", unit.replace('_', "-"));
        let rule = json!({"unit": unit, "duration": duration, "max_requests": limit, "mode": "per_key"});
        api.scheme(&slug, json!([rule])).await;
        // A slug may serve a second app once the first is deleted.
        api.app_with("api", json!({"rate_limit_scheme_slug": slug})).await;
        let key = api.key("api").await;
        let limit = usize::try_from(limit).expect("positive");
        // A calendar window may turn over once while a test runs; twice it cannot.
        let admitted = world.admitted(&key, "10.0.0.1", 2 * limit + 3).await;
        let calendar = unit.starts_with("calendar");
        assert!(
            admitted == limit || (calendar && admitted <= 2 * limit && turned_over()),
            "{unit}: {admitted} of {limit}"
        );
        api.must("DELETE", "/api-auth/apps/api", None).await;
    }
}

/// Whether a UTC midnight lies within the last minute.
fn turned_over() -> bool {
    Clock::system().now().wall_us.rem_euclid(86_400_000_000) < 60_000_000
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mode_counts_together_what_it_says() {
    const LIMIT: usize = 6;
    // For each mode: is the second subject's budget its own? (same key other address, other key same address,
    // other key other address, other app same address)
    let modes: [(Option<&str>, [bool; 4]); 6] = [
        (Some("per_key"), [false, true, true, true]),
        (Some("per_ip"), [true, false, true, false]),
        (Some("per_app"), [false, false, false, true]),
        (None, [false, false, false, true]),
        (Some("per_key_and_ip"), [true, true, true, true]),
        (Some("per_app_and_ip"), [true, false, true, true]),
    ];
    for (mode, own_budget) in modes {
        let world = World::new().await;
        let api = world.server.api();
        let mut rule = json!({"unit": "hour", "duration": 1, "max_requests": LIMIT});
        if let Some(mode) = mode {
            rule["mode"] = json!(mode);
        }
        api.scheme("s", json!([rule])).await;
        for app in ["api", "other"] {
            api.app_with(app, json!({"rate_limit_scheme_slug": "s"})).await;
        }
        let (first, second, foreign) = (api.key("api").await, api.key("api").await, api.key("other").await);
        assert_eq!(world.admitted(&first, "10.0.0.1", LIMIT + 4).await, LIMIT, "{mode:?}");
        let others = [
            (&first, "10.0.0.2"),
            (&second, "10.0.0.1"),
            (&second, "10.0.0.3"),
            (&foreign, "10.0.0.1"),
        ];
        for (index, ((key, from), own)) in others.into_iter().zip(own_budget).enumerate() {
            let expected = if own { 1 } else { 0 };
            assert_eq!(
                world.admitted(key, from, 1).await,
                expected,
                "{mode:?}, subject {index}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_at_once_are_admitted_exactly_the_limit() {
    const LIMIT: usize = 100;
    let world = World::new().await;
    let api = world.server.api();
    api.scheme(
        "s",
        json!([{"unit": "hour", "duration": 1, "max_requests": LIMIT, "mode": "per_app"}]),
    )
    .await;
    api.app_with("api", json!({"rate_limit_scheme_slug": "s"})).await;
    let key = api.key("api").await;
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (client, url, secret) = (client(), world.server.url("/"), key.secret.clone());
        senders.spawn(async move {
            let mut admitted = 0;
            for _ in 0..10 {
                let status = client
                    .get(&url)
                    .bearer_auth(&secret)
                    .send()
                    .await
                    .expect("an answer")
                    .status();
                admitted += usize::from(status.as_u16() == 200);
            }
            admitted
        });
    }
    let admitted: usize = senders.join_all().await.into_iter().sum();
    // 16 groups of ⌈100/16⌉ sum to exactly the limit when nothing has left the window.
    assert_eq!(admitted, LIMIT);
    assert_eq!(
        world.upstream.count(),
        LIMIT,
        "what was refused never reached the upstream"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_window_slides_and_never_holds_more_than_its_limit() {
    const LIMIT: usize = 5;
    const WINDOW_US: i64 = 300_000;
    let world = World::new().await;
    let api = world.server.api();
    api.scheme(
        "s",
        json!([{"unit": "millisecond", "duration": 300, "max_requests": LIMIT, "mode": "per_key"}]),
    )
    .await;
    api.app_with("api", json!({"rate_limit_scheme_slug": "s"})).await;
    let key = api.key("api").await;
    let clock = Clock::system();
    // For every admission: when it was sent and when its answer was here. The decision lies between.
    let mut admissions: Vec<(i64, i64)> = Vec::new();
    while admissions.len() < 4 * LIMIT {
        let sent_us = clock.now().wall_us;
        if world.status(&key, "10.0.0.1").await == 200 {
            admissions.push((sent_us, clock.now().wall_us));
        }
    }
    for pair in admissions.windows(LIMIT + 1) {
        let (first, last) = (pair[0], pair[LIMIT]);
        // Even the widest reading of the two times must leave a whole window between them.
        assert!(
            last.1 - first.0 >= WINDOW_US,
            "{} admissions within {} µs",
            LIMIT + 1,
            last.1 - first.0
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_says_when_to_come_back_and_charges_nothing() {
    let world = World::new().await;
    let api = world.server.api();
    let rules = json!([
        {"unit": "hour", "duration": 1, "max_requests": 2, "mode": "per_key_and_ip"},
        {"unit": "hour", "duration": 1, "max_requests": 4, "mode": "per_key"},
    ]);
    api.scheme("s", rules).await;
    api.app_with("api", json!({"rate_limit_scheme_slug": "s"})).await;
    let key = api.key("api").await;

    let first = world.send(&key, "10.0.0.1", "/").await;
    let header = |answer: &reqwest::Response, name: &str| -> String {
        answer
            .headers()
            .get(name)
            .unwrap_or_else(|| panic!("{name}: {:?}", answer.headers()))
            .to_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        header(&first, "ratelimit-policy"),
        "\"per_key_and_ip-3600s\";q=2;w=3600, \"per_key-3600s\";q=4;w=3600"
    );
    assert!(
        header(&first, "ratelimit").starts_with("\"per_key_and_ip-3600s\";r=1;t="),
        "{first:?}"
    );
    assert_eq!(world.status(&key, "10.0.0.1").await, 200);
    for _ in 0..10 {
        let refused = world.send(&key, "10.0.0.1", "/").await;
        assert_eq!(refused.status().as_u16(), 429);
        let wait: u64 = header(&refused, "retry-after").parse().expect("seconds");
        assert!((3_500..=3_600).contains(&wait), "{wait}");
        let body: Value = refused.json().await.expect("JSON");
        assert_eq!(body["reason"], "rate_limited");
    }
    // Ten refusals took nothing from the key's own budget of four.
    assert_eq!(world.admitted(&key, "10.0.0.2", 5).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_priorities_and_the_defaults_hold() {
    let world = World::new().await;
    let api = world.server.api();
    let rules = json!([
        {"unit": "hour", "duration": 1, "max_requests": 1, "mode": "per_key", "endpoints": ["/export", "/admin/*"]},
        {"unit": "hour", "duration": 1, "max_requests": 3, "mode": "per_key", "priority": -1},
    ]);
    api.scheme("s", rules).await;
    api.app_with("api", json!({"rate_limit_scheme_slug": "s"})).await;
    let key = api.key("api").await;
    let status = async |path: &str| world.send(&key, "10.0.0.1", path).await.status().as_u16();
    assert_eq!(status("/export").await, 200);
    assert_eq!(
        status("/admin/users").await,
        429,
        "one counter for all endpoints of a rule"
    );
    assert_eq!(status("/other").await, 200);
    assert_eq!(status("/adminx").await, 200);
    assert_eq!(status("/other").await, 429);

    // Without any scheme: 1 000 per minute per app.
    api.app("other").await;
    let plain = api.key("other").await;
    let answer = world.send(&plain, "10.0.0.1", "/").await;
    assert_eq!(answer.headers()["ratelimit-policy"], "\"per_app-60s\";q=1000;w=60");
    // A key's own scheme comes before its app's.
    let own = api.key_with("other", json!({"rate_limit_scheme_slug": "s"})).await;
    let answer = world.send(&own, "10.0.0.1", "/").await;
    assert_eq!(answer.headers()["ratelimit-policy"], "\"per_key-3600s\";q=3;w=3600");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_a_rotation_nor_an_edit_hands_out_a_fresh_budget() {
    let world = World::new().await;
    let api = world.server.api();
    api.scheme(
        "s",
        json!([{"unit": "hour", "duration": 1, "max_requests": 5, "mode": "per_key"}]),
    )
    .await;
    api.app_with("api", json!({"rate_limit_scheme_slug": "s"})).await;
    let key = api.key("api").await;
    assert_eq!(world.admitted(&key, "10.0.0.1", 3).await, 3);
    let fresh = api.rotate("api", &key.id, None).await;
    assert_eq!(
        world.admitted(&fresh, "10.0.0.1", 5).await,
        2,
        "the budget follows the key through its rotation"
    );
    api.must("PATCH", "/api-auth/apps/api", Some(json!({"name": "renamed"})))
        .await;
    assert_eq!(
        world.admitted(&fresh, "10.0.0.1", 2).await,
        0,
        "an invalidation resets no counter"
    );
    let raised = json!({"rules": [{"unit": "hour", "duration": 1, "max_requests": 7, "mode": "per_key"}]});
    api.must("PATCH", "/api-auth/rate-limit-schemes/s", Some(raised)).await;
    assert_eq!(
        world.admitted(&fresh, "10.0.0.1", 5).await,
        2,
        "raising a limit by two gives two more"
    );
}

/// The numbers of the older headers: limit, remaining, reset.
type Old = [Option<u64>; 3];

fn old(header: impl Fn(&str) -> Option<String>) -> Old {
    ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"]
        .map(|name| header(name).map(|value| value.parse().expect("a whole number")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_the_older_headers_are_told_of_the_tightest_rule_on_every_surface() {
    let rules = json!([
        {"unit": "hour", "duration": 1, "max_requests": 100, "mode": "per_app"},
        {"unit": "hour", "duration": 2, "max_requests": 3, "mode": "per_key"},
    ]);
    for is_on in [true, false] {
        let world = World::with(if is_on { "[limits]\nlegacy_headers = true\n" } else { "" }).await;
        let api = world.server.api();
        api.scheme("s", rules.clone()).await;
        api.app_with("api", json!({"rate_limit_scheme_slug": "s"})).await;
        let key = api.key("api").await;
        // A whole second may pass while a test runs, or several on a busy machine.
        let check = |found: Old, remaining: u64, retry_after: Option<u64>, surface: &str| {
            let [limit, left, Some(reset)] = found else {
                assert!(!is_on && found == [None; 3], "{surface}: {found:?}");
                return;
            };
            assert!(is_on, "{surface}: {found:?}");
            assert_eq!((limit, left), (Some(3), Some(remaining)), "{surface}");
            // Stamps of long windows are coarser than a microsecond and rounded up: that may be a second more.
            assert!((7_000..=7_201).contains(&reset), "{surface}: {reset}");
            assert!(retry_after.is_none_or(|seconds| seconds == reset), "{surface}: {reset}");
        };
        let of_answer = |answer: &reqwest::Response| {
            old(|name| Some(answer.headers().get(name)?.to_str().expect("ASCII").to_owned()))
        };
        let retry_after = |answer: &reqwest::Response| {
            let value = answer.headers().get("retry-after")?;
            value.to_str().expect("ASCII").parse().ok()
        };

        let admitted = world.send(&key, "10.0.0.1", "/").await;
        assert_eq!(admitted.status().as_u16(), 200);
        assert!(
            admitted.headers().contains_key("ratelimit"),
            "the others are sent as ever"
        );
        check(of_answer(&admitted), 2, None, "proxy");

        let forward_auth = async || {
            let request = world
                .client
                .get(format!("http://{}/v1/forward-auth", world.server.authz));
            let request = request
                .header("x-forwarded-uri", "/")
                .header("x-forwarded-method", "GET");
            request.bearer_auth(&key.secret).send().await.expect("an answer")
        };
        let asked = forward_auth().await;
        assert_eq!(asked.status().as_u16(), 200);
        check(of_answer(&asked), 1, None, "forward-auth");

        let decide = async || {
            let body = json!({"principal": {"type": "api_key", "value": key.secret}, "resource": "/", "method": "GET"});
            let request = world
                .client
                .post(format!("http://{}/v1/authz/check", world.server.authz));
            let answer = request.json(&body).send().await.expect("an answer");
            answer.json::<Value>().await.expect("JSON")
        };
        let of_decision = |answer: &Value| old(|name| Some(answer["headers"][name].as_str()?.to_owned()));
        let decided = decide().await;
        assert_eq!(decided["allowed"], true, "{decided}");
        check(of_decision(&decided), 0, None, "decision API");

        let refused = world.send(&key, "10.0.0.1", "/").await;
        assert_eq!(refused.status().as_u16(), 429);
        check(of_answer(&refused), 0, retry_after(&refused), "proxy, refused");
        let asked = forward_auth().await;
        assert_eq!(asked.status().as_u16(), 429);
        check(of_answer(&asked), 0, retry_after(&asked), "forward-auth, refused");
        let decided = decide().await;
        assert_eq!(decided["reason"], "rate_limited", "{decided}");
        let wait = decided["retry_after"].as_u64();
        check(of_decision(&decided), 0, wait, "decision API, refused");
    }
}

/// The value of a response header, or of one among the decision API's.
fn told(found: Option<&str>, name: &str) -> String {
    found.unwrap_or_else(|| panic!("{name} is missing")).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_rules_that_match_all_are_told_and_the_longest_wait_holds() {
    let world = World::new().await;
    let api = world.server.api();
    // In the order of their priorities: two on the key, one of them for some paths only, then two more.
    let rules = json!([
        {"unit": "hour", "duration": 1, "max_requests": 2, "mode": "per_key", "priority": 2},
        {"unit": "minute", "duration": 1, "max_requests": 2, "mode": "per_key", "priority": 1},
        {"unit": "hour", "duration": 2, "max_requests": 3, "mode": "per_key", "endpoints": ["/v1/*"], "priority": 3},
        {"unit": "minute", "duration": 30, "max_requests": 50, "mode": "per_ip", "endpoints": ["/v1/*"], "priority": 3},
        {"unit": "day", "duration": 1, "max_requests": 9, "endpoints": ["/elsewhere"], "priority": -5},
    ]);
    api.scheme("s", rules).await;
    api.app_with("api", json!({"rate_limit_scheme_slug": "s"})).await;
    let key = api.key("api").await;
    let of_v1 = [
        ("per_key-60s", 2, 60),
        ("per_key-3600s", 2, 3_600),
        ("per_key-7200s", 3, 7_200),
        ("per_ip-1800s", 50, 1_800),
    ];
    // Names and what is left of each, from a `RateLimit` header.
    let left = |header: &str| -> Vec<(String, u64)> {
        let member = |member: &str| {
            let name = member.split('"').nth(1).expect("a quoted name");
            let left = member.split(";r=").nth(1).expect("what is left").split(';').next();
            (
                name.to_owned(),
                left.and_then(|left| left.parse().ok()).expect("a number"),
            )
        };
        header.split(", ").map(member).collect()
    };
    let expected = |left: [u64; 4]| -> Vec<(String, u64)> {
        of_v1
            .iter()
            .zip(left)
            .map(|((name, _, _), left)| ((*name).to_owned(), left))
            .collect()
    };
    let decide = async |from: &str, path: &str| {
        let body = json!({
            "principal": {"type": "api_key", "value": key.secret}, "resource": path, "method": "GET", "client_ip": from,
        });
        let request = world
            .client
            .post(format!("http://{}/v1/authz/check", world.server.authz));
        let answer = request.json(&body).send().await.expect("an answer");
        answer.json::<Value>().await.expect("JSON")
    };
    let of_decision = |decided: &Value| -> Vec<(String, u64)> {
        let rules = decided["rate_limits"].as_array().expect("rules").iter();
        let rule = |rule: &Value| {
            let name = rule["rule"].as_str().expect("a name");
            let limit = of_v1.iter().find(|(rule, _, _)| *rule == name).expect("one of ours").1;
            assert_eq!(rule["limit"], limit, "{decided}");
            (name.to_owned(), rule["remaining"].as_u64().expect("a number"))
        };
        rules.map(rule).collect()
    };

    let first = world.send(&key, "10.0.0.1", "/v1/a").await;
    let header = |answer: &reqwest::Response, name: &str| {
        told(
            answer.headers().get(name).map(|value| value.to_str().expect("ASCII")),
            name,
        )
    };
    let policy = of_v1
        .map(|(name, limit, window)| format!("\"{name}\";q={limit};w={window}"))
        .join(", ");
    assert_eq!(header(&first, "ratelimit-policy"), policy);
    assert_eq!(left(&header(&first, "ratelimit")), expected([1, 1, 2, 49]));
    let second = decide("10.0.0.2", "/v1/b").await;
    assert_eq!(second["allowed"], true, "{second}");
    assert_eq!(of_decision(&second), expected([0, 0, 1, 49]));

    // Two rules are full: the minute's would pass sooner than the hour's, which therefore holds. What is full is told of both.
    let refused = world.send(&key, "10.0.0.1", "/v1/c").await;
    assert_eq!(refused.status().as_u16(), 429);
    let wait: u64 = header(&refused, "retry-after").parse().expect("seconds");
    assert!((3_500..=3_601).contains(&wait), "{wait}");
    assert_eq!(header(&refused, "ratelimit-policy"), policy);
    assert_eq!(left(&header(&refused, "ratelimit")), expected([0, 0, 1, 49]));
    let decided = decide("10.0.0.2", "/v1/d").await;
    assert_eq!(
        (&decided["reason"], &decided["blocked_rule"]),
        (&json!("rate_limited"), &json!("per_key-3600s"))
    );
    assert!(
        (3_500..=3_601).contains(&decided["retry_after"].as_u64().expect("seconds")),
        "{decided}"
    );
    assert_eq!(of_decision(&decided), expected([0, 0, 1, 49]));
    let headers = &decided["headers"];
    let told_with = |name: &str| told(headers[name].as_str(), name);
    assert_eq!(told_with("RateLimit-Policy"), policy);
    assert_eq!(told_with("Retry-After"), decided["retry_after"].to_string());

    // A path that fewer rules hold for is told of fewer.
    let refused = world.send(&key, "10.0.0.1", "/v2").await;
    assert_eq!(left(&header(&refused, "ratelimit")), expected([0, 0, 0, 0])[..2]);
    // Without an address the rule by address is skipped.
    let body = json!({"principal": {"type": "api_key", "value": key.secret}, "resource": "/v1/e", "method": "GET"});
    let request = world
        .client
        .post(format!("http://{}/v1/authz/check", world.server.authz));
    let decided: Value = request
        .json(&body)
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert_eq!(of_decision(&decided), expected([0, 0, 1, 0])[..3]);
}
