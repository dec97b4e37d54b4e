use super::*;
use crate::fixture::{Api, CHECK, FORWARD, NOW, Setup, check_request};
use http_body_util::Full;
use portcullis_record::usage::UsageOutcome;
use serde_json::json;

fn request(method: Method, target: &str, lines: &[(&str, &str)], body: &str) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(target).header("host", "authz");
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    request
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .unwrap()
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn what_is_no_endpoint_is_refused_in_the_one_shape() {
    let api = Setup::default().start().await;
    for target in [
        "/",
        "/v1/authz",
        "/v1/authz/check/",
        "/v1/authz/Check",
        "//v1/authz/check",
        "/v1/forward-auth/x",
        "/metrics",
    ] {
        api.send(request(Method::POST, target, &[JSON], "{}"))
            .await
            .assert_refused(404, "not_found");
    }
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
        let reply = api.send(request(method, CHECK, &[JSON], "{}")).await;
        reply.assert_refused(405, "method_not_allowed");
        assert_eq!(reply.header("allow"), Some("POST"));
    }
    assert_eq!(api.metric("portcullis_refusals_total{reason=\"not_found\"}"), 7);
    assert_eq!(
        api.metric("portcullis_refusals_total{reason=\"method_not_allowed\"}"),
        5
    );
}

#[tokio::test]
async fn only_json_is_read() {
    let api = Setup::default().start().await;
    let secret = api.keys.issue(|_| {});
    let body = json!({"principal": {"type": "api_key", "value": secret.expose()}, "resource": "/", "method": "GET"})
        .to_string();
    for good in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/problem+json",
        "application/json;",
    ] {
        let reply = api
            .send(request(Method::POST, CHECK, &[("content-type", good)], &body))
            .await;
        assert_eq!((reply.status, &reply.json()["allowed"]), (200, &json!(true)), "{good}");
    }
    for bad in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "text/json",
        "",
        "json",
        "application/+jsonx",
    ] {
        let reply = api
            .send(request(Method::POST, CHECK, &[("content-type", bad)], &body))
            .await;
        reply.assert_refused(415, "unsupported_media_type");
    }
    api.send(request(Method::POST, CHECK, &[], &body))
        .await
        .assert_refused(415, "unsupported_media_type");
}

#[tokio::test]
async fn bad_questions_are_400_in_the_one_shape() {
    let api = Setup::default().start().await;
    let question = |field: &str, value: serde_json::Value| {
        let mut body = json!({"principal": {"type": "api_key", "value": "k"}, "resource": "/", "method": "GET"});
        body[field] = value;
        body.to_string()
    };
    for body in [
        "{".to_owned(),
        "[]".to_owned(),
        String::new(),
        question("method", json!("G T")),
        question("resource", json!("x")),
        question("resource", json!("/../x")),
        question("client_ip", json!("x")),
        question("required_permissions", json!(["a AND"])),
    ] {
        api.send(check_request(body)).await.assert_refused(400, "bad_request");
    }
    let oauth = question("principal", json!({"type": "oauth_access_token", "value": "k"}));
    api.send(check_request(oauth))
        .await
        .assert_refused(400, "unsupported_principal");
    assert_eq!(api.metric("portcullis_refusals_total{reason=\"bad_request\"}"), 8);
    assert_eq!(
        api.metric("portcullis_refusals_total{reason=\"unsupported_principal\"}"),
        1
    );
}

#[tokio::test]
async fn a_body_has_a_limit_whether_announced_or_not() {
    let api = Setup {
        body_bytes_max: 200,
        ..Setup::default()
    }
    .start()
    .await;
    let body = |bytes: usize| {
        let frame =
            json!({"principal": {"type": "api_key", "value": "k"}, "resource": "/", "method": "GET", "pad": ""});
        frame.to_string().replace(
            "\"pad\":\"\"",
            &format!("\"pad\":\"{}\"", "x".repeat(bytes - frame.to_string().len())),
        )
    };
    assert_eq!(body(200).len(), 200);
    api.send(check_request(body(200)))
        .await
        .assert_refused(401, "key_invalid");
    api.send(check_request(body(201)))
        .await
        .assert_refused(413, "payload_too_large");
    // Chunked: nothing is announced.
    let chunked = |text: String| {
        let head = format!(
            "POST {CHECK} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        );
        format!("{head}{:x}\r\n{text}\r\n0\r\n\r\n", text.len())
    };
    assert!(raw(&api, &chunked(body(200))).await.starts_with("HTTP/1.1 401 "));
    assert!(raw(&api, &chunked(body(201))).await.starts_with("HTTP/1.1 413 "));
}

/// Sends bytes as they are and reads until the server closes.
async fn raw(api: &Api, text: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = api.connect().await;
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_request_id_is_ours_unless_a_trusted_peer_gave_one() {
    let given = ("x-request-id", "caller-4711");
    let target = ("x-forwarded-uri", "/");
    let ask = async |setup: Setup, id: (&str, &str)| {
        let api = setup.start().await;
        let reply = api.send(request(Method::GET, FORWARD, &[target, id], "")).await;
        reply.assert_refused(401, "key_missing");
        reply.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(ask(Setup::behind_a_trusted_proxy(), given).await, "caller-4711");
    assert_ne!(ask(Setup::default(), given).await, "caller-4711");
    assert_eq!(
        ask(Setup::behind_a_trusted_proxy(), ("x-request-id", "not \"sane\""))
            .await
            .len(),
        26
    );
}

#[tokio::test]
async fn each_decision_is_counted_once_under_its_outcome() {
    let api = Setup::default().start().await;
    let secret = api.keys.issue(|_| {});
    let revoked = api.keys.issue(|key| key.revoked_at_us = Some(1));
    let ask = async |value: &str| {
        let body = json!({"principal": {"type": "api_key", "value": value}, "resource": "/", "method": "GET"});
        api.check(&body).await;
    };
    for value in [secret.expose(), secret.expose(), revoked.expose(), "junk", ""] {
        ask(value).await;
    }
    let count = |outcome: &str| {
        api.metric(&format!(
            "portcullis_decisions_total{{outcome=\"{outcome}\",surface=\"authz\"}}"
        ))
    };
    let counts = ["allowed", "key_revoked", "key_malformed", "key_missing", "other"].map(count);
    assert_eq!(counts, [2, 1, 1, 1, 0]);
    assert_eq!(api.metric("portcullis_decision_seconds_count"), 5);
    assert_eq!(api.metric("portcullis_requests_in_flight"), 0);
    assert!(!api.metrics.render().unwrap().contains(secret.suffix()));
    // And under the key, where one is known.
    api.usage.gather();
    let mut used: Vec<_> = api
        .usage
        .take(usize::MAX)
        .into_iter()
        .map(|row| (row.key_id.0, row.outcome, row.minute, row.count, row.last_at_us))
        .collect();
    used.sort_by_key(|row| row.0);
    let (minute, last_us) = (NOW.wall_us / 60_000_000, NOW.wall_us);
    let revoked = UsageOutcome::Denied("key_revoked".into());
    assert_eq!(
        used,
        [
            (100, UsageOutcome::Allowed, minute, 2, last_us),
            (101, revoked, minute, 1, last_us)
        ]
    );
}

#[tokio::test]
async fn framing_that_two_servers_read_differently_is_refused() {
    let api = Setup::default().start().await;
    for head in [
        "content-length: 2\r\ncontent-length: 3\r\n",
        "content-length: +2\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: gzip\r\n",
        "bad header: x\r\n",
        "host : a\r\n",
    ] {
        let text = format!("POST {CHECK} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n{head}\r\n{{}}");
        let answer = raw(&api, &text).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head:?}: {answer}");
    }
    assert_eq!(api.metric("portcullis_decision_seconds_count"), 0);
}
