//! The promise that a gateway apart from its control API does all that `serve` does: it ends what is under way with a revoked key,
//! tells exactly what keys were used for, and says in words why it decides nothing.

mod support;

use serde_json::{Value, json};
use std::net::SocketAddr;
use support::upstream::Upstream;
use support::{Server, client, eventually, route};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const GATEWAY_TOKEN: &str = "test-gateway-token-0123456789";

/// Rules wide enough that none of these tests meets one, and news that are soon missed.
const SETTINGS: &str = "[limits]\ndefault_rules = [{ unit = \"second\", duration = 1, max_requests = 1000000 }]\n\
    [gateway]\nstale_soft = \"300ms\"\nstale_max = \"2s\"\nusage_interval = \"100ms\"\n";

/// A control API; `serve`, so that it has a proxy that nobody uses.
async fn control() -> Server {
    let server = Server::start_with("", &[("PORTCULLIS_BOOTSTRAP_GATEWAY_TOKEN", GATEWAY_TOKEN)]).await;
    server.api().app("api").await;
    server
}

async fn gateway(control: &Server, token: &str, routes: &str) -> Server {
    Server::gateway(control.control, token, &format!("{SETTINGS}{routes}")).await
}

async fn status(gateway: &Server, secret: &str) -> u16 {
    let answer = client().get(gateway.url("/")).bearer_auth(secret).send().await;
    answer.expect("an answer").status().as_u16()
}

async fn page(server: &Server, path: &str) -> (u16, String) {
    let answer = client().get(format!("http://{}{path}", server.admin)).send().await;
    let answer = answer.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a text"))
}

/// Waits until `/readyz` answers so and says this.
async fn until_ready_says(gateway: &Server, status: u16, text: &str) {
    eventually(&format!("{status} {text}"), async || {
        let (found, ready) = page(gateway, "/readyz").await;
        (found == status && ready.contains(text)).then_some(())
    })
    .await;
}

/// An upstream whose answers are event streams that never end.
async fn endless() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
                let _ = stream.write_all(head.as_bytes()).await;
                until_gone(stream).await;
            });
        }
    });
    address
}

async fn until_gone(mut stream: TcpStream) {
    let mut bytes = [0; 1_024];
    while matches!(stream.read(&mut bytes).await, Ok(count) if count > 0) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_its_key_and_no_other() {
    let control = control().await;
    let gateway = gateway(&control, GATEWAY_TOKEN, &route(endless().await, &["api"])).await;
    until_ready_says(&gateway, 200, "ready").await;
    let api = control.api();
    let (key, other) = (api.key("api").await, api.key("api").await);
    let open = async |secret: &str| {
        let answer = client().get(gateway.url("/")).bearer_auth(secret).send().await;
        let mut answer = answer.expect("an answer");
        assert_eq!(answer.chunk().await.expect("a body").expect("a chunk"), "first");
        answer
    };
    let (mut ended, mut stays) = (open(&key.secret).await, open(&other.secret).await);
    let path = format!("/api-auth/apps/api/keys/{}/revoke?wait=fleet", key.id);
    let answer = api.must("POST", &path, Some(json!({}))).await;
    assert_eq!(
        (&answer["enforced"], &answer["gateways"], &answer["unenforced"]),
        (&json!(2), &json!(2), &json!(0)),
        "this gateway, and the control API's own process"
    );
    ended.chunk().await.expect_err("cut off, not ended");
    let more = tokio::time::timeout(std::time::Duration::from_millis(700), stays.chunk()).await;
    assert!(more.is_err(), "nothing happens to the other key's: {more:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_keys_were_used_for_comes_back_exactly_though_the_control_api_dies_meanwhile() {
    let upstream = Upstream::start().await;
    let mut control = control().await;
    let listen = control.control.to_string();
    let gateway = gateway(&control, GATEWAY_TOKEN, &route(upstream.address, &["api"])).await;
    until_ready_says(&gateway, 200, "ready").await;
    let api = control.api();
    let (key, unused) = (api.key("api").await, api.key("api").await);
    let mut used = 0;
    for _ in 0..5 {
        for _ in 0..10 {
            assert_eq!(status(&gateway, &key.secret).await, 200);
            used += 1;
        }
        // On the same port, which the gateway knows.
        control = control
            .kill_and_restart_with(&[
                ("PORTCULLIS__CONTROL__LISTEN", listen.as_str()),
                ("PORTCULLIS_BOOTSTRAP_GATEWAY_TOKEN", GATEWAY_TOKEN),
            ])
            .await;
    }
    // The last report goes out with the gateway.
    until_ready_says(&gateway, 200, "ready").await;
    assert_eq!(gateway.stop(), 0);

    let listed = control.api().must("GET", "/api-auth/apps/api/keys", None).await;
    let last_used = |id: &str| -> Value {
        let keys = listed["keys"].as_array().expect("keys");
        let key = keys.iter().find(|key| key["id"] == id).expect("the key");
        key["last_used_at"].clone()
    };
    assert!(last_used(&key.id).is_string(), "{listed}");
    assert!(last_used(&unused.id).is_null(), "{listed}");
    let url = format!("sqlite://{}/portcullis.db", control.folder().display());
    let store = portcullis_store::Store::open(&url, portcullis_verify::Clock::system())
        .await
        .expect("the store opens");
    let deployment = store.ensure_first_deployment().await.expect("a deployment");
    let id = portcullis_verify::KeyId(key.id.parse().expect("an id"));
    let usage = store
        .usage_of_key(deployment.id, id, 0..=i64::MAX)
        .await
        .expect("counts");
    assert_eq!(usage.iter().map(|row| row.count).sum::<u64>(), used, "{usage:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_opens_nothing_is_said_and_a_revoked_one_ends_trust_in_time() {
    let upstream = Upstream::start().await;
    let control = control().await;
    let routes = route(upstream.address, &["api"]);
    let stranger = gateway(&control, "wrong-gateway-token-012345", &routes).await;
    until_ready_says(&stranger, 503, "token").await;

    let api = control.api();
    let made = api
        .must(
            "POST",
            "/api-auth/gateway-tokens",
            Some(json!({"name": "edge", "apps": ["api"]})),
        )
        .await;
    let token = made["secret"].as_str().expect("a secret");
    let edge = gateway(&control, token, &routes).await;
    until_ready_says(&edge, 200, "ready").await;
    let key = api.key("api").await;
    assert_eq!(status(&edge, &key.secret).await, 200);
    assert_eq!(status(&stranger, &key.secret).await, 503);

    // It may watch, ask and report, and nothing else.
    let as_manager = support::control::Api::new(control.control, token);
    assert_eq!(as_manager.call("GET", "/api-auth/apps", None).await.0, 403);
    // Apps it was not made for are unknown to it.
    api.app("other").await;
    let foreign = api.key("other").await;
    let refused = status(&edge, &foreign.secret).await;
    assert_eq!(refused, 403);

    let id = made["id"].as_str().expect("an id");
    api.must(
        "POST",
        &format!("/api-auth/gateway-tokens/{id}/revoke"),
        Some(json!({})),
    )
    .await;
    until_ready_says(&edge, 503, "gateway.stale_max").await;
    assert_eq!(status(&edge, &key.secret).await, 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_expires_and_an_app_is_switched_off_there_too() {
    let upstream = Upstream::start().await;
    let control = control().await;
    let gateway = gateway(&control, GATEWAY_TOKEN, &route(upstream.address, &["api"])).await;
    until_ready_says(&gateway, 200, "ready").await;
    let api = control.api();
    let wall_us = portcullis_verify::Clock::system().now().wall_us;
    let soon = jiff::Timestamp::from_microsecond(wall_us + 4_000_000).expect("a time");
    let expiring = api.key_with("api", json!({"expires_at": soon.to_string()})).await;
    let lasting = api.key("api").await;
    assert_eq!(status(&gateway, &expiring.secret).await, 200);
    eventually("the key expires", async || {
        (status(&gateway, &expiring.secret).await == 403).then_some(())
    })
    .await;
    assert!(
        portcullis_verify::Clock::system().now().wall_us >= wall_us + 4_000_000,
        "not before its time"
    );
    for (is_active, expected) in [(false, 403), (true, 200)] {
        api.must(
            "PATCH",
            "/api-auth/apps/api?wait=fleet",
            Some(json!({"is_active": is_active})),
        )
        .await;
        assert_eq!(status(&gateway, &lasting.secret).await, expected);
    }
    api.must("DELETE", "/api-auth/apps/api?wait=fleet", None).await;
    assert_eq!(status(&gateway, &lasting.secret).await, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_of_another_deployment_are_said_and_never_served() {
    let upstream = Upstream::start().await;
    let control = control().await;
    let routes = format!("{}deployment = \"elsewhere\"\n", route(upstream.address, &["api"]));
    let gateway = gateway(&control, GATEWAY_TOKEN, &routes).await;
    until_ready_says(&gateway, 503, "routes[0].deployment is `elsewhere`").await;
    let key = control.api().key("api").await;
    assert_eq!(status(&gateway, &key.secret).await, 503);
}
