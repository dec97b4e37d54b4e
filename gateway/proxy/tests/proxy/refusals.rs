//! What a caller is told who does not get in, and that the upstream never hears of it.

use crate::client::{Client, ask};
use crate::gateway::{start, start_with};
use crate::upstream::upstream;
use portcullis_verify::PermissionExpression;
use std::sync::atomic::Ordering;

#[tokio::test]
async fn each_denial_has_its_status_and_reason() {
    let upstream = upstream().await;
    let gateway = start_with(&[upstream.address], |setup| {
        setup.routes[0].path = "/open".to_owned();
        let mut guarded = setup.routes[0].clone();
        guarded.path = "/guarded".to_owned();
        guarded.permissions = vec!["admin".parse::<PermissionExpression>().unwrap()];
        let mut closed = setup.routes[0].clone();
        closed.path = "/closed".to_owned();
        closed.apps = Vec::new();
        let mut challenging = setup.routes[0].clone();
        challenging.path = "/challenging".to_owned();
        challenging.challenge = true;
        setup.routes.extend([guarded, closed, challenging]);
    })
    .await;
    let revoked = gateway.issue(|record| record.revoked_at_us = Some(1));
    let expired = gateway.issue(|record| record.expires_at_us = Some(1));
    let of_inactive_app = gateway.issue(|record| record.app.is_active = false);
    let of_other_app = gateway.issue(|record| record.app.slug = "other".to_owned());
    let limited_to_invoices = gateway.issue(|record| record.app.resources = vec!["invoices/*".to_owned()]);
    let unknown = portcullis_verify::Secret::generate("sk_test")
        .unwrap()
        .expose()
        .to_owned();
    let with_extra_character = format!("{}x", gateway.key);
    let good = gateway.key.clone();

    let check = async |path: &str, key: Option<&str>, status: u16, reason: &str| {
        let authorization = key
            .map(|key| format!("Authorization: Bearer {key}\r\n"))
            .unwrap_or_default();
        let answer = ask(
            gateway.address,
            format!("GET {path} HTTP/1.1\r\nHost: a\r\n{authorization}\r\n"),
        )
        .await;
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (status, reason),
            "{path} {}",
            answer.body
        );
        assert_eq!(answer.header("content-type").as_deref(), Some("application/json"));
        assert_eq!(answer.header("connection").as_deref(), Some("keep-alive"));
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["errors"][0]["message"], body["message"]);
        assert_eq!(
            Some(body["request_id"].as_str().unwrap()),
            answer.header("x-request-id").as_deref()
        );
        assert!(
            key.is_none_or(|key| !answer.body.contains(key)),
            "a key is in the answer"
        );
    };
    check("/open", None, 403, "key_missing").await;
    check("/open", Some("nonsense"), 403, "key_invalid").await;
    check("/open", Some(&with_extra_character), 403, "key_invalid").await;
    check("/open", Some(&unknown), 403, "key_invalid").await;
    check("/open", Some(&revoked), 403, "key_invalid").await;
    check("/open", Some(&expired), 403, "key_invalid").await;
    check("/open", Some(&of_inactive_app), 403, "key_invalid").await;
    check("/open", Some(&of_other_app), 403, "key_invalid").await;
    check("/open", Some(&limited_to_invoices), 403, "resource_denied").await;
    check("/guarded", Some(&good), 403, "permission_denied").await;
    check("/closed", Some(&good), 403, "key_invalid").await;
    check("/closed", None, 403, "key_missing").await;
    check("/challenging", None, 401, "key_missing").await;
    check("/nowhere", Some(&good), 404, "no_route").await;
    assert!(upstream.requests().is_empty());
    assert!(gateway.metric("portcullis_decisions_total{outcome=\"key_revoked\",surface=\"proxy\"} 1"));
    assert!(gateway.metric("portcullis_refusals_total{reason=\"no_route\"} 1"));
}

#[tokio::test]
async fn a_challenge_names_the_scheme() {
    let gateway = start_with(&[upstream().await.address], |setup| setup.routes[0].challenge = true).await;
    let answer = ask(gateway.address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(answer.header("www-authenticate").as_deref(), Some("Bearer"));
}

#[tokio::test]
async fn without_routes_nothing_passes() {
    let gateway = start_with(&[], |setup| setup.routes.clear()).await;
    let answer = ask(gateway.address, gateway.get("/", "")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (404, "no_route"));
}

#[tokio::test]
async fn an_unreachable_key_source_is_not_an_answer_about_the_key() {
    let upstream = upstream().await;
    let gateway = start(&[upstream.address]).await;
    gateway.keys.is_away.store(true, Ordering::Relaxed);
    let answer = ask(gateway.address, gateway.get("/", "")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (503, "control_unavailable"));
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_refused_head_request_has_no_body_and_keeps_its_connection() {
    let gateway = start(&[upstream().await.address]).await;
    let mut client = Client::connect(gateway.address).await;
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = client.answer_to("HEAD").await;
    assert_eq!(answer.status, 403);
    assert!(answer.header("content-length").is_some_and(|length| length != "0"));
    client.send(gateway.get("/", "")).await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn a_small_body_of_a_refused_request_is_read_over() {
    let upstream = upstream().await;
    let gateway = start(&[upstream.address]).await;
    let mut client = Client::connect(gateway.address).await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello")
        .await;
    assert_eq!(client.answer().await.status, 403);
    client.send(" world").await;
    client.send(gateway.get("/after", "")).await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(upstream.only().line(), "GET /after HTTP/1.1");
}

#[tokio::test]
async fn a_client_that_waits_for_a_continue_gets_the_refusal() {
    let gateway = start(&[upstream().await.address]).await;
    let mut client = Client::connect(gateway.address).await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    assert_eq!(crate::client::header(&head, "connection").as_deref(), Some("close"));
}

#[tokio::test]
async fn the_answer_to_a_long_refused_upload_arrives() {
    let gateway = start_with(&[upstream().await.address], |setup| {
        setup.gateway.body_bytes_max = Some(1000)
    })
    .await;
    let mut client = Client::connect(gateway.address).await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
            512 * 1024
        ))
        .await;
    client.send(vec![b'x'; 512 * 1024]).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.reason().as_str()), (413, "payload_too_large"));
}
