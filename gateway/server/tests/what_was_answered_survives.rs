//! The promise that an answer is kept: whatever was answered 2xx is there after `kill -9` at any moment, and a restart
//! loses nothing.

#![expect(clippy::panic, reason = "a test ends where what it needs is not there")]

mod support;

use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use support::control::Issued;
use support::upstream::Upstream;
use support::{Server, client, route};

/// Times the process is killed in the middle of writes.
const KILLS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_answered_is_lost_when_the_process_is_killed_in_a_loop_of_writes() {
    let mut server = Server::start("").await;
    server.api().app("api").await;
    let mut acknowledged: Vec<Issued> = Vec::new();
    let mut revoked: Vec<String> = Vec::new();
    for round in 0..KILLS {
        let (keys, gone) = write_until_killed(server.pid(), server.api(), round).await;
        acknowledged.extend(keys);
        revoked.extend(gone);
        server = server.kill_and_restart().await;
        verify_all(&server, &acknowledged, &revoked).await;
    }
    assert!(
        acknowledged.len() >= KILLS,
        "writes were answered between the kills: {}",
        acknowledged.len()
    );
    assert!(!revoked.is_empty(), "revocations were answered between the kills");
}

/// Creates keys and revokes every third from several tasks until the process dies; returns what was answered 2xx.
async fn write_until_killed(pid: u32, api: support::control::Api, round: usize) -> (Vec<Issued>, Vec<String>) {
    let dead = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (api, dead, answered) = (api.clone(), Arc::clone(&dead), Arc::clone(&answered));
        writers.spawn(async move {
            let (mut keys, mut gone): (Vec<Issued>, Vec<String>) = (Vec::new(), Vec::new());
            while !dead.load(Ordering::SeqCst) {
                let Some(made) = api
                    .try_call("POST", "/api-auth/apps/api/keys", Some(json!({"name": "k"})))
                    .await
                else {
                    break;
                };
                assert_eq!(made.0, 201, "{}", made.1);
                answered.fetch_add(1, Ordering::SeqCst);
                let id = made.1["id"].as_str().expect("an id").to_owned();
                keys.push(Issued {
                    id: id.clone(),
                    secret: made.1["secret"].as_str().expect("a secret").to_owned(),
                });
                if keys.len() % 3 == 0 {
                    let path = format!("/api-auth/apps/api/keys/{id}/revoke");
                    match api.try_call("POST", &path, None).await {
                        Some((200, _)) => gone.push(id),
                        Some((status, body)) => panic!("revoke: {status} {body}"),
                        None => {
                            // The answer was lost, so the revocation may or may not hold: nothing is claimed of this key.
                            keys.pop();
                            break;
                        }
                    }
                }
            }
            (keys, gone)
        });
    }
    // With other writers under way the kill falls at another moment of a write each round.
    let enough = 8 + 5 * round;
    support::eventually("writes are answered", async || {
        (answered.load(Ordering::SeqCst) >= enough).then_some(())
    })
    .await;
    support::signal(pid, "KILL");
    dead.store(true, Ordering::SeqCst);
    let mut all = (Vec::new(), Vec::new());
    for (keys, gone) in writers.join_all().await {
        all.0.extend(keys);
        all.1.extend(gone);
    }
    all
}

async fn verify_all(server: &Server, acknowledged: &[Issued], revoked: &[String]) {
    let api = server.api();
    let listed = api
        .must("GET", "/api-auth/apps/api/keys?include_inactive=true", None)
        .await;
    let by_id: std::collections::HashMap<&str, &Value> = listed["keys"]
        .as_array()
        .expect("keys")
        .iter()
        .map(|k| (k["id"].as_str().expect("an id"), k))
        .collect();
    for key in acknowledged {
        let stored = by_id
            .get(key.id.as_str())
            .unwrap_or_else(|| panic!("key {} was answered 201 and is gone", key.id));
        assert_eq!(
            stored["revoked_at"].is_string(),
            revoked.contains(&key.id),
            "key {}",
            key.id
        );
    }
    // The newest few are asked for by their secrets too.
    for key in acknowledged.iter().rev().take(12) {
        let told = api
            .must("POST", "/api-auth/verify", Some(json!({"key": key.secret})))
            .await;
        let expected = if revoked.contains(&key.id) { "deny" } else { "allow" };
        assert_eq!(told["decision"], expected, "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_loses_nothing() {
    let upstream = Upstream::start().await;
    let server = Server::start(&route(upstream.address, &["api"])).await;
    let api = server.api();
    api.scheme(
        "gold",
        json!([{"unit": "hour", "duration": 1, "max_requests": 50, "mode": "per_key"}]),
    )
    .await;
    let more = json!({"rate_limit_scheme_slug": "gold", "permissions": ["read", "write"], "resources": ["v1/*"]});
    api.app_with("api", more).await;
    let kept = api
        .key_with("api", json!({"permissions": ["read"], "metadata": {"team": "a"}}))
        .await;
    let dead = api.key("api").await;
    api.revoke("api", &dead.id).await;
    let paths = [
        "/api-auth/apps/api",
        "/api-auth/apps/api/keys?include_inactive=true",
        "/api-auth/rate-limit-schemes",
    ];
    let mut before = Vec::new();
    for path in paths {
        before.push(api.must("GET", path, None).await);
    }

    let server = server.kill_and_restart().await;
    let api = server.api();
    for (path, before) in paths.into_iter().zip(before) {
        assert_eq!(api.must("GET", path, None).await, before, "{path}");
    }
    let client = client();
    for (key, expected) in [(&kept, 200), (&dead, 403)] {
        let answer = client
            .get(server.url("/v1/x"))
            .bearer_auth(&key.secret)
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status().as_u16(), expected);
    }
}
