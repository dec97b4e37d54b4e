//! The promise that an operator sees what happens: metrics, health, readiness, log lines, and a drain that loses nothing.

mod support;

use serde_json::json;
use std::time::Duration;
use support::upstream::Upstream;
use support::{Server, client, field, raw, route};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn page(server: &Server, path: &str) -> (u16, String) {
    let answer = client()
        .get(format!("http://{}{path}", server.admin))
        .send()
        .await
        .expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a body"))
}

/// The value of a sample, 0 when it is not there.
fn sample(metrics: &str, name: &str) -> f64 {
    let line = metrics
        .lines()
        .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    line.and_then(|line| line.rsplit(' ').next())
        .and_then(|value| value.parse().ok())
        .unwrap_or(0.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_count_what_happened() {
    let upstream = Upstream::start().await;
    let dead = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let dead_address = dead.local_addr().expect("an address");
    drop(dead);
    let config = format!(
        "{}[[routes]]\npath = \"/dead\"\nupstreams = [\"http://{dead_address}\"]\napps = [\"api\"]\n",
        route(upstream.address, &["api"])
    );
    let server = Server::start(&config).await;
    let api = server.api();
    api.scheme(
        "s",
        json!([{"unit": "hour", "duration": 1, "max_requests": 3, "mode": "per_key"}]),
    )
    .await;
    api.app_with("api", json!({"rate_limit_scheme_slug": "s"})).await;
    let key = api.key("api").await;
    let client = client();
    let status = async |path: &str, key: Option<&str>| {
        let mut request = client.get(server.url(path));
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(status("/", Some(&key.secret)).await, 200);
    assert_eq!(status("/", Some(&key.secret)).await, 200);
    assert_eq!(status("/dead", Some(&key.secret)).await, 502);
    assert_eq!(status("/", Some(&key.secret)).await, 429);
    assert_eq!(status("/", None).await, 403);
    assert_eq!(status("/", Some("junk")).await, 403);

    let (code, metrics) = page(&server, "/metrics").await;
    assert_eq!(code, 200);
    for (name, expected) in [
        ("portcullis_decisions_total{outcome=\"allowed\",surface=\"proxy\"}", 3.0),
        (
            "portcullis_decisions_total{outcome=\"rate_limited\",surface=\"proxy\"}",
            1.0,
        ),
        (
            "portcullis_decisions_total{outcome=\"key_missing\",surface=\"proxy\"}",
            1.0,
        ),
        (
            "portcullis_decisions_total{outcome=\"key_malformed\",surface=\"proxy\"}",
            1.0,
        ),
        ("portcullis_upstream_errors_total{kind=\"connect_refused\"}", 1.0),
        ("portcullis_cache_misses_total", 1.0),
        ("portcullis_cache_hits_total", 3.0),
        ("portcullis_decision_seconds_count", 6.0),
    ] {
        assert_eq!(sample(&metrics, name), expected, "{name}\n{metrics}");
    }
    // The cache counts what it holds a moment later.
    support::eventually("the cache's size is told", async || {
        let (_, metrics) = page(&server, "/metrics").await;
        (sample(&metrics, "portcullis_cache_keys{state=\"known\"}") == 1.0).then_some(())
    })
    .await;
}

/// What an alert on a table of counters that fills up looks at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_table_of_counters_is_seen_coming_and_told() {
    let upstream = Upstream::start().await;
    let settings = "[gateway]\ntrusted_proxies = [\"127.0.0.1\"]\n[limits]\ncounters_max = 50\n";
    let server = Server::start(&format!("{settings}{}", route(upstream.address, &["api"]))).await;
    let api = server.api();
    api.scheme(
        "s",
        json!([{"unit": "second", "duration": 8, "max_requests": 1000, "mode": "per_ip"}]),
    )
    .await;
    api.app_with("api", json!({"rate_limit_scheme_slug": "s"})).await;
    let key = api.key("api").await;
    let client = client();
    let visit = async |host: usize| {
        let request = client.get(server.url("/")).bearer_auth(&key.secret);
        let request = request.header("x-forwarded-for", format!("10.0.0.{host}"));
        assert_eq!(request.send().await.expect("an answer").status().as_u16(), 200);
    };
    let look = async || {
        let (_, metrics) = page(&server, "/metrics").await;
        ["counters", "counters_max", "overflow_total", "evictions_total"]
            .map(|name| sample(&metrics, &format!("portcullis_limit_{name}")))
    };
    assert_eq!(look().await, [0.0, 50.0, 0.0, 0.0]);
    for host in 0..40 {
        visit(host).await;
    }
    assert_eq!(look().await[..3], [40.0, 50.0, 0.0]);
    for host in 40..60 {
        visit(host).await;
    }
    let [counters, _, overflowed, _] = look().await;
    assert!(counters > 50.0 && overflowed == 10.0, "{counters} {overflowed}");
    // All are idle after eight seconds, and one thirty-second of them is looked at every second.
    support::eventually("idle counters are dropped", async || {
        (look().await[3] > 0.0).then_some(())
    })
    .await;
    let (_, metrics) = page(&server, "/metrics").await;
    for name in ["counters", "counters_max", "overflow_total", "evictions_total"] {
        let help = format!("# HELP portcullis_limit_{name} ");
        assert!(
            metrics.lines().any(|line| line.starts_with(&help)),
            "{name} says nothing of itself"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_readiness_tell_the_truth() {
    let server = Server::start("").await;
    assert_eq!(page(&server, "/healthz").await, (200, "ok\n".into()));
    let (status, ready) = page(&server, "/readyz").await;
    let lines: Vec<&str> = ready.lines().collect();
    assert_eq!((status, lines[0]), (200, "ready"), "{ready}");
    assert!(lines[1].starts_with("up to date 0."), "{ready}");
    assert!(lines[2].starts_with("applied revision 2 of history "), "{ready}");
    let (_, metrics) = page(&server, "/metrics").await;
    for sample in [
        "portcullis_sync_applied_revision 2",
        "portcullis_sync_following 1",
        "portcullis_sync_refusing 0",
        "portcullis_sync_staleness_seconds 0.",
    ] {
        assert!(metrics.lines().any(|line| line.starts_with(sample)), "{sample}");
    }
    assert_eq!(page(&server, "/nothing").await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_finishes_what_is_in_flight_and_takes_nothing_new() {
    // An upstream that answers when it is told to.
    let upstream = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = upstream.local_addr().expect("an address");
    let mut server = Server::start(&route(address, &["api"])).await;
    let api = server.api();
    api.app("api").await;
    let key = api.key("api").await;

    let mut slow = TcpStream::connect(server.proxy).await.expect("connected");
    let head = format!(
        "GET /slow HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        key.secret
    );
    slow.write_all(head.as_bytes()).await.expect("sent");
    let (mut at_upstream, _) = upstream.accept().await.expect("the request arrives");
    let mut seen = vec![0; 4096];
    let n = at_upstream.read(&mut seen).await.expect("its head");
    assert!(seen[..n].starts_with(b"GET /slow"));
    // An idle keep-alive connection must not hold the drain up.
    let idle = TcpStream::connect(server.proxy).await.expect("connected");

    server.terminate();
    server.wait_for_log("draining", |line| {
        field(line, "message").is_some_and(|m| m.starts_with("draining"))
    });
    support::eventually("new connections are refused", async || {
        TcpStream::connect(server.proxy).await.err().map(|_| ())
    })
    .await;
    assert_eq!(
        page(&server, "/readyz").await.0,
        503,
        "an orchestrator hears of the drain"
    );

    at_upstream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
        .await
        .expect("answered");
    let mut answer = Vec::new();
    tokio::time::timeout(support::PATIENCE, slow.read_to_end(&mut answer))
        .await
        .expect("in time")
        .expect("read");
    let answer = String::from_utf8_lossy(&answer);
    assert_eq!(raw::status(&answer), 200, "{answer}");
    assert!(answer.ends_with("done"), "{answer}");
    drop(idle);
    assert_eq!(server.wait(), 0, "a drained server ends well");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_at_its_time_limit_even_if_the_upstream_never_answers() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = upstream.local_addr().expect("an address");
    let mut server = Server::start(&format!(
        "[gateway]\ndrain_timeout = \"1s\"\n{}",
        route(address, &["api"])
    ))
    .await;
    let api = server.api();
    api.app("api").await;
    let key = api.key("api").await;
    let mut slow = TcpStream::connect(server.proxy).await.expect("connected");
    let head = format!(
        "GET /slow HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        key.secret
    );
    slow.write_all(head.as_bytes()).await.expect("sent");
    let _held = upstream.accept().await.expect("the request arrives");
    server.terminate();
    let ended = tokio::task::spawn_blocking(move || server.wait());
    tokio::time::timeout(Duration::from_secs(20), ended)
        .await
        .expect("the drain is bounded")
        .expect("it ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_can_be_followed_by_its_id() {
    let upstream = Upstream::start().await;
    let server = Server::start(&format!(
        "[log]\nrequests = true\n{}",
        route(upstream.address, &["api"])
    ))
    .await;
    let api = server.api();
    api.app("api").await;
    let key = api.key("api").await;
    let client = client();
    client
        .get(server.url("/a"))
        .bearer_auth(&key.secret)
        .send()
        .await
        .expect("an answer");
    let id = upstream.last().header("x-request-id").expect("an id").to_owned();
    let line = server.wait_for_log("the request", |line| field(line, "request_id").as_deref() == Some(&id));
    assert_eq!(field(&line, "outcome").as_deref(), Some("allowed"), "{line}");
    assert_eq!(field(&line, "key_id").as_deref(), Some(key.id.as_str()), "{line}");

    let refused = client
        .get(server.url("/a"))
        .bearer_auth("junk")
        .send()
        .await
        .expect("an answer");
    let body: serde_json::Value = refused.json().await.expect("JSON");
    assert_eq!(body["reason"], "key_invalid");
    let id = body["request_id"].as_str().expect("an id");
    let line = server.wait_for_log("the refusal", |line| field(line, "request_id").as_deref() == Some(id));
    assert_eq!(
        field(&line, "outcome").as_deref(),
        Some("key_malformed"),
        "the log knows more: {line}"
    );

    // At 3 a.m.: which rule of whom is it?
    api.scheme(
        "s",
        json!([{"unit": "hour", "duration": 1, "max_requests": 1, "mode": "per_key"}]),
    )
    .await;
    api.must(
        "PATCH",
        "/api-auth/apps/api",
        Some(json!({"rate_limit_scheme_slug": "s"})),
    )
    .await;
    for _ in 0..2 {
        client
            .get(server.url("/a"))
            .bearer_auth(&key.secret)
            .send()
            .await
            .expect("an answer");
    }
    let line = server.wait_for_log("the limited request", |line| {
        field(line, "status").as_deref() == Some("429")
    });
    assert_eq!(field(&line, "blocked_rule").as_deref(), Some("per_key-3600s"), "{line}");
    assert_eq!(field(&line, "app").as_deref(), Some("api"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_bootstrap_token_at_a_later_start_opens_nothing_and_that_is_said() {
    const LATER: &str = "another-token-0123456789";
    let says = |line: &String| field(line, "variable").as_deref() == Some("PORTCULLIS_BOOTSTRAP_TOKEN");
    let folder = std::sync::Arc::new(tempfile::TempDir::new().expect("a temporary folder"));
    for (token, opens, told) in [(support::TOKEN, 200, 0), (support::TOKEN, 200, 0), (LATER, 401, 1)] {
        let environment = [("PORTCULLIS_BOOTSTRAP_TOKEN", token)];
        let server = Server::start_in(std::sync::Arc::clone(&folder), "", &environment).await;
        let api = support::control::Api::new(server.control, token);
        assert_eq!(api.call("GET", "/api-auth/apps", None).await.0, opens, "{token}");
        let lines = server.log_lines();
        assert_eq!(lines.iter().filter(|line| says(line)).count(), told, "{lines:?}");
        assert!(!lines.join("\n").contains(token), "named, not repeated");
        assert_eq!(server.stop(), 0);
    }
}

/// Whoever is called at night asks: who changed what, and how did it end?
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_can_be_followed_by_its_id_and_names_what_it_changed() {
    let server = Server::start("").await;
    let api = server.api();
    api.app("api").await;
    let key = api.key("api").await;
    let revoke = format!("http://{}/api-auth/apps/api/keys/{}/revoke", server.control, key.id);
    for (status, code, known) in [(200, None, true), (404, Some(40402), false)] {
        let answer = client()
            .post(&revoke)
            .bearer_auth(support::TOKEN)
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status().as_u16(), status);
        let id = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
        let line = server.wait_for_log("the change", |line| line.contains(&id) && line.contains("answered"));
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let span = &line["span"];
        assert_eq!(span["request_id"], id.as_str(), "{line}");
        assert_eq!(
            line["route"], "/api-auth/apps/{app_slug}/keys/{key_id}/revoke",
            "{line}"
        );
        assert_eq!(
            (&line["status"], &line["code"]),
            (&json!(status), &json!(code)),
            "{line}"
        );
        // Of what is not there nothing is repeated: it may be a secret in the wrong place.
        let named = known.then(|| json!(["api", key.id])).unwrap_or(json!([null, null]));
        assert_eq!(json!([span["app"], span["key_id"]]), named, "{line}");
        assert!(span["deployment"].is_string(), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_token_is_generated_and_shown_once_when_none_is_given() {
    let folder = std::sync::Arc::new(tempfile::TempDir::new().expect("a temporary folder"));
    let server = Server::start_in(
        std::sync::Arc::clone(&folder),
        "",
        &[("PORTCULLIS_BOOTSTRAP_TOKEN", "")],
    )
    .await;
    let printed = server.printed();
    let token = printed.trim().rsplit(' ').next().expect("a token").to_owned();
    assert!(token.len() >= 40, "{printed}");
    let api = support::control::Api::new(server.control, &token);
    api.app("api").await;
    assert!(!server.log_lines().join("\n").contains(&token), "printed, not logged");
    assert_eq!(server.stop(), 0);
    let again = Server::start_in(folder, "", &[("PORTCULLIS_BOOTSTRAP_TOKEN", "")]).await;
    assert_eq!(again.printed(), "", "never again");
    assert_eq!(
        support::control::Api::new(again.control, &token)
            .call("GET", "/api-auth/apps", None)
            .await
            .0,
        200
    );
}
