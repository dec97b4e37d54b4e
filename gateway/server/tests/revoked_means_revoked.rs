//! The promise that a revoked key is dead: after the control API's answer, no request with it is let through, on any
//! of 64 busy connections, however the key was ended.

#![expect(clippy::panic, reason = "a test ends where what it needs is not there")]

mod support;

use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use support::control::{Api, Issued};
use support::upstream::Upstream;
use support::{PATIENCE, Server, client, route};

const CONNECTIONS: usize = 64;

/// Rules wide enough that none of these tests meets one.
const NO_LIMITS: &str = "[limits]\ndefault_rules = [{ unit = \"second\", duration = 1, max_requests = 1000000 }]\n";

struct Ending {
    /// 403's `reason` of `POST /api-auth/verify` afterwards.
    reason: &'static str,
    /// Ends the key and returns once the control API has answered.
    end: fn(Api, Issued) -> Ended,
}

type Ended = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Hammers one key from many connections; ends it; asserts that no request sent after the answer got through.
async fn check(ending: Ending) {
    let upstream = Upstream::start().await;
    let server = Server::start(&format!("{NO_LIMITS}{}", route(upstream.address, &["api"]))).await;
    let api = server.api();
    api.app("api").await;
    let key = api.key("api").await;

    let ended = Arc::new(AtomicBool::new(false));
    let stop = Arc::new(AtomicBool::new(false));
    let admitted = Arc::new(AtomicU64::new(0));
    let admitted_after = Arc::new(AtomicU64::new(0));
    let refused_after = Arc::new(AtomicU64::new(0));
    let url = server.url("/work");
    let hammers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            // A client of its own, so a connection of its own.
            let client = client();
            let (url, secret) = (url.clone(), key.secret.clone());
            let (ended, stop) = (Arc::clone(&ended), Arc::clone(&stop));
            let (admitted, admitted_after, refused_after) = (
                Arc::clone(&admitted),
                Arc::clone(&admitted_after),
                Arc::clone(&refused_after),
            );
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let sent_after_the_end = ended.load(Ordering::SeqCst);
                    let status = client
                        .get(&url)
                        .bearer_auth(&secret)
                        .send()
                        .await
                        .expect("an answer")
                        .status();
                    match (sent_after_the_end, status.as_u16()) {
                        (false, 200) => admitted.fetch_add(1, Ordering::SeqCst),
                        (true, 200) => admitted_after.fetch_add(1, Ordering::SeqCst),
                        (true, 403) => refused_after.fetch_add(1, Ordering::SeqCst),
                        // Sent before the answer, decided after the commit.
                        (false, 403) => 0,
                        (_, other) => panic!("unexpected status {other}"),
                    };
                }
            })
        })
        .collect();
    support::eventually("the key opens", async || {
        (admitted.load(Ordering::SeqCst) >= 2 * CONNECTIONS as u64).then_some(())
    })
    .await;

    (ending.end)(api.clone(), key.clone()).await;
    ended.store(true, Ordering::SeqCst);

    support::eventually("every connection is refused", async || {
        (refused_after.load(Ordering::SeqCst) >= 4 * CONNECTIONS as u64).then_some(())
    })
    .await;
    stop.store(true, Ordering::SeqCst);
    for hammer in hammers {
        tokio::time::timeout(PATIENCE, hammer)
            .await
            .expect("it stops")
            .expect("no connection saw anything odd");
    }
    assert_eq!(
        admitted_after.load(Ordering::SeqCst),
        0,
        "a request sent after the answer was let through"
    );

    let told = api
        .must("POST", "/api-auth/verify", Some(json!({"key": key.secret})))
        .await;
    assert_eq!(told["reason"], ending.reason, "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_revocation() {
    check(Ending {
        reason: "key_revoked",
        end: |api, key| Box::pin(async move { api.revoke("api", &key.id).await }),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_revocation_by_the_older_call() {
    check(Ending {
        reason: "key_revoked",
        end: |api, key| {
            Box::pin(async move {
                api.must("POST", "/api-auth/keys/revoke", Some(json!({"key_id": key.id})))
                    .await;
            })
        },
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_rotation() {
    check(Ending {
        reason: "key_revoked",
        end: |api, key| {
            Box::pin(async move {
                let fresh = api.rotate("api", &key.id, None).await;
                assert_ne!(fresh.id, key.id);
                assert_ne!(fresh.secret, key.secret);
            })
        },
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_app_is_switched_off() {
    check(Ending {
        reason: "app_inactive",
        end: |api, _| {
            Box::pin(async move {
                api.must("PATCH", "/api-auth/apps/api", Some(json!({"is_active": false})))
                    .await;
            })
        },
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_app_is_deleted_even_if_its_slug_is_used_again() {
    check(Ending {
        reason: "app_inactive",
        end: |api, _| {
            Box::pin(async move {
                api.must("DELETE", "/api-auth/apps/api", None).await;
                api.app("api").await;
            })
        },
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_stops_at_its_expiry_although_it_is_cached() {
    let upstream = Upstream::start().await;
    let server = Server::start(&format!("{NO_LIMITS}{}", route(upstream.address, &["api"]))).await;
    let api = server.api();
    api.app("api").await;
    // Read from the machine's clock, as the server does; the key lives two seconds.
    let clock = portcullis_verify::Clock::system();
    let expires_at_us = clock.now().wall_us + 2_000_000;
    let expires_at = jiff::Timestamp::from_microsecond(expires_at_us).expect("a time");
    let key = api.key_with("api", json!({"expires_at": expires_at.to_string()})).await;
    let client = client();
    let mut admitted = 0;
    loop {
        let before_us = clock.now().wall_us;
        let status = client
            .get(server.url("/"))
            .bearer_auth(&key.secret)
            .send()
            .await
            .expect("an answer")
            .status();
        match status.as_u16() {
            200 => {
                assert!(
                    before_us < expires_at_us,
                    "a request sent after the expiry was let through"
                );
                admitted += 1;
            }
            403 => {
                assert!(clock.now().wall_us >= expires_at_us, "refused before its expiry");
                break;
            }
            other => panic!("unexpected status {other}"),
        }
    }
    assert!(admitted > 0, "the key opened before its expiry");
    let told = api
        .must("POST", "/api-auth/verify", Some(json!({"key": key.secret})))
        .await;
    assert_eq!(told["reason"], "key_expired");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_with_grace_keeps_the_old_secret_that_long_and_revoking_it_ends_it_at_once() {
    let upstream = Upstream::start().await;
    let server = Server::start(&format!("{NO_LIMITS}{}", route(upstream.address, &["api"]))).await;
    let api = server.api();
    api.app("api").await;
    let old = api.key("api").await;
    let fresh = api
        .rotate("api", &old.id, Some(json!({"grace_period_seconds": 3600})))
        .await;
    let client = client();
    let status = async |secret: &str| {
        client
            .get(server.url("/"))
            .bearer_auth(secret)
            .send()
            .await
            .expect("an answer")
            .status()
            .as_u16()
    };
    assert_eq!(status(&old.secret).await, 200);
    assert_eq!(status(&fresh.secret).await, 200);
    api.revoke("api", &old.id).await;
    assert_eq!(status(&old.secret).await, 403);
    assert_eq!(status(&fresh.secret).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_works_from_the_answer_to_its_creation() {
    let upstream = Upstream::start().await;
    let server = Server::start(&format!("{NO_LIMITS}{}", route(upstream.address, &["api"]))).await;
    let api = server.api();
    api.app("api").await;
    let client = client();
    for _ in 0..20 {
        let key = api.key("api").await;
        let status = client
            .get(server.url("/"))
            .bearer_auth(&key.secret)
            .send()
            .await
            .expect("an answer")
            .status();
        assert_eq!(status.as_u16(), 200);
    }
}
