//! The promise that whoever is asked at night why a customer gets 429 finds it with one command: for the key, for the app and
//! for the address, the rule that refuses and the wait are the ones that the customer was told.

#![expect(clippy::panic, reason = "a test ends where what it needs is not there")]

mod support;

use serde_json::{Value, json};
use support::control::Issued;
use support::upstream::Upstream;
use support::{Finished, Server, client, route, run};

const ADDRESS: &str = "2001:db8:0:7::1";

struct World {
    server: Server,
    client: reqwest::Client,
}

impl World {
    /// A gateway behind a load balancer that reports addresses.
    async fn new(apps: &[&str]) -> World {
        let upstream = Upstream::start().await;
        let trusted = "[gateway]\ntrusted_proxies = [\"127.0.0.1\"]\n";
        World {
            server: Server::start(&format!("{trusted}{}", route(upstream.address, apps))).await,
            client: client(),
        }
    }

    async fn send(&self, key: &Issued) -> reqwest::Response {
        let request = self.client.get(self.server.url("/")).bearer_auth(&key.secret);
        request
            .header("x-forwarded-for", ADDRESS)
            .send()
            .await
            .expect("an answer")
    }

    /// `Retry-After` of a request that is refused, and the rules that have nothing left.
    async fn refused(&self, key: &Issued) -> (u64, Vec<String>) {
        let answer = self.send(key).await;
        assert_eq!(answer.status().as_u16(), 429);
        let header = |name: &str| answer.headers()[name].to_str().expect("ASCII").to_owned();
        let exhausted = header("ratelimit")
            .split(", ")
            .filter(|member| member.contains(";r=0;"))
            .map(|member| member.split('"').nth(1).expect("a quoted name").to_owned())
            .collect();
        (header("retry-after").parse().expect("seconds"), exhausted)
    }

    /// The rule that the decision API names.
    async fn blocked_rule(&self, key: &Issued) -> String {
        let body = json!({
            "principal": {"type": "api_key", "value": key.secret},
            "resource": "/", "method": "GET", "client_ip": ADDRESS,
        });
        let request = self.client.post(format!("http://{}/v1/authz/check", self.server.authz));
        let answer: Value = request
            .json(&body)
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        assert_eq!(answer["reason"], "rate_limited", "{answer}");
        answer["blocked_rule"].as_str().expect("a rule").to_owned()
    }

    fn show(&self, whose: &str, output: &str) -> Finished {
        let url = format!("http://{}", self.server.control);
        let environment = [("PORTCULLIS_URL", url.as_str()), ("PORTCULLIS_TOKEN", support::TOKEN)];
        let line = ["limits", "show", whose, "--output", output];
        run(self.server.folder(), &line, &environment, "")
    }

    /// The rules that are shown to be full, each with its wait.
    fn full(&self, whose: &str) -> Vec<(String, u64)> {
        let shown = self.show(whose, "json");
        assert_eq!(shown.code, 0, "{whose}: {}", shown.stderr);
        let shown: Value = serde_json::from_str(&shown.stdout).unwrap_or_else(|error| panic!("{whose}: {error}"));
        let mut full = Vec::new();
        for rule in shown["limits"].as_array().expect("rules") {
            for counter in rule["counters"].as_array().expect("counters") {
                let wait = counter["next_in_seconds"].as_u64().expect("seconds");
                assert_eq!(wait > 0, counter["remaining"] == 0, "{whose}: {counter}");
                if wait > 0 {
                    full.push((rule["rule"].as_str().expect("a name").to_owned(), wait));
                }
            }
        }
        full
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_refuses_a_customer_is_shown_for_the_key_the_app_and_the_address() {
    let modes = ["per_key", "per_app", "per_ip", "per_key_and_ip", "per_app_and_ip"];
    let slugs = modes.map(|mode| mode.replace('_', "-"));
    let apps: Vec<&str> = slugs.iter().map(String::as_str).collect();
    let world = World::new(&apps).await;
    let api = world.server.api();
    for (mode, app) in modes.into_iter().zip(apps) {
        let rules = json!([
            {"unit": "hour", "duration": 2, "max_requests": 50},
            {"unit": "hour", "duration": 1, "max_requests": 2, "mode": mode},
            {"unit": "minute", "duration": 1, "max_requests": 50, "mode": "per_ip"},
        ]);
        api.scheme(app, rules).await;
        api.app_with(app, json!({"rate_limit_scheme_slug": app})).await;
        let key = api.key(app).await;
        for _ in 0..2 {
            assert_eq!(world.send(&key).await.status().as_u16(), 200);
        }

        let rule = world.blocked_rule(&key).await;
        assert_eq!(rule, format!("{mode}-3600s"));
        let (mut before, exhausted) = world.refused(&key).await;
        assert_eq!(exhausted, [rule.as_str()]);
        for (whose, tells) in [
            (key.id.as_str(), true),
            (app, mode.starts_with("per_app")),
            (ADDRESS, mode.ends_with("_ip") || mode == "per_ip"),
        ] {
            let full = world.full(whose);
            // What refused an earlier mode's customer at this address is still full.
            let full: Vec<_> = full.iter().filter(|(name, _)| *name == rule).collect();
            if !tells {
                assert!(full.is_empty(), "{mode} {whose}: {full:?}");
                continue;
            }
            let [(_, wait)] = full[..] else {
                panic!("{mode} {whose}: {full:?}")
            };
            // Both are rounded up, so that neither may lie outside of what was told before and after.
            let (after, _) = world.refused(&key).await;
            assert!(
                (after..=before).contains(wait),
                "{mode} {whose}: {after} {wait} {before}"
            );
            before = after;
            let table = world.show(whose, "table");
            assert_eq!(table.code, 0, "{}", table.stderr);
            assert!(
                table.stdout.contains("blocked") && table.stdout.contains(&rule),
                "{mode} {whose}:\n{}",
                table.stdout
            );
            assert!(table.stdout.contains("full, next request in "), "{}", table.stdout);
        }
    }
    // A rotation hands out no fresh budget, and the answer for either key says so.
    let old = api.key("per-key").await;
    for _ in 0..2 {
        assert_eq!(world.send(&old).await.status().as_u16(), 200);
    }
    let fresh = api.rotate("per-key", &old.id, None).await;
    let names = |whose: &str| world.full(whose).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(
        (names(&old.id), names(&fresh.id)),
        (vec!["per_key-3600s".to_owned()], vec!["per_key-3600s".to_owned()])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_shown_is_said_in_words() {
    let world = World::new(&["api"]).await;
    let api = world.server.api();
    api.app("api").await;
    let key = api.key("api").await;
    for (whose, code, said) in [
        ("nothing", 1, "no app with this slug"),
        ("4611686018427387904", 1, "no key with this id"),
        ("10.0.0.0/8", 2, "IPv4 or IPv6 address"),
        (
            key.secret.as_str(),
            2,
            "the secret of a key, and it is in the shell's history now",
        ),
    ] {
        let shown = world.show(whose, "table");
        assert_eq!(shown.code, code, "{}", shown.stderr);
        assert!(shown.stderr.contains(said), "{}", shown.stderr);
        assert!(shown.stdout.is_empty() && !shown.stderr.contains(&key.secret));
    }
    // Nor does one that is sent all the same get into the log.
    for parameter in ["key_id", "app_slug", "address"] {
        let path = format!("/api-auth/limits?{parameter}={}", key.secret);
        let (status, answer) = api.call("GET", &path, None).await;
        assert!(
            (400..=404).contains(&status) && !answer.to_string().contains(&key.secret),
            "{answer}"
        );
    }
    let shown = world.show("192.0.2.1", "table");
    assert!(
        shown.stdout.contains("no limit counts anything here"),
        "{}",
        shown.stdout
    );
    assert!(world.server.log_lines().iter().all(|line| !line.contains(&key.secret)));
}
