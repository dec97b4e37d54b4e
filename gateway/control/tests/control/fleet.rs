//! After `?wait=fleet` was answered, no gateway anywhere decides by what held before; and every answer says how far it has come.

use crate::gateway::{Gateway, SOON, hello};
use crate::server::{Answer, Options, Server};
use portcullis_control::GatewayBounds;
use portcullis_sync::message::Hello;
use portcullis_verify::Version;
use serde_json::{Value, json};
use std::time::Duration;

/// A gateway that is connected, has been answered, and holds all there is.
async fn up_to_date(server: &Server, hello: Hello) -> (Gateway, Version) {
    let (_, token) = server.gateway_token(server.deployment.id, &[]).await;
    let mut gateway = Gateway::watch(server, &token, hello).await;
    let start = gateway.expect_reset().await;
    let applied = gateway.catch_up(start).await;
    (gateway, applied)
}

/// Creates a key and lets `gateway` hear of it, if there is one.
async fn key(server: &Server) -> String {
    server.app("a").await;
    server.key("a").await["id"].as_str().unwrap().to_owned()
}

/// Revokes a key and waits for the fleet, while something else goes on.
async fn revoke_and_wait(server: &Server, key_id: &str) -> Answer {
    let path = format!("/api-auth/apps/a/keys/{key_id}/revoke?wait=fleet");
    server.post(&path, json!({})).await
}

#[track_caller]
fn expect_counts(body: &Value, enforced: u64, gateways: u64, unenforced: u64) {
    let found = [&body["enforced"], &body["gateways"], &body["unenforced"]].map(|count| count.as_u64().unwrap());
    assert_eq!(found, [enforced, gateways, unenforced], "{body}");
}

#[tokio::test]
async fn alone_a_change_is_enforced_when_it_is_answered() {
    for local_gateway in [false, true] {
        let options = Options {
            local_gateway,
            ..Options::default()
        };
        let server = Server::with(options).await;
        let key_id = key(&server).await;
        let own = u64::from(local_gateway);
        let revoked = revoke_and_wait(&server, &key_id).await.expect(200);
        expect_counts(&revoked, own, own, 0);
        assert_eq!(revoked["revision"], server.head().await.revision.to_string());
        let rotated = server
            .post("/api-auth/apps/a/keys?wait=fleet", json!({"name": "k"}))
            .await
            .expect(201);
        expect_counts(&rotated, own, own, 0);
        let path = format!(
            "/api-auth/apps/a/keys/{}/rotate?wait=fleet",
            rotated["id"].as_str().unwrap()
        );
        expect_counts(&server.post(&path, json!({})).await.expect(200), own, own, 0);
        let patched = server
            .patch("/api-auth/apps/a?wait=fleet", json!({"is_active": false}))
            .await
            .expect(200);
        expect_counts(&patched, own, own, 0);
        let deleted = server.delete("/api-auth/apps/a?wait=fleet").await;
        assert_eq!(deleted.status, 204);
        assert_eq!(deleted.header("portcullis-enforced"), Some(own.to_string().as_str()));
        assert_eq!(deleted.header("portcullis-gateways"), Some(own.to_string().as_str()));
        assert_eq!(deleted.header("portcullis-unenforced"), Some("0"));
        assert_eq!(
            deleted.header("portcullis-revision"),
            Some(server.head().await.revision.to_string().as_str())
        );
        for wrong in ["?wait", "?wait=", "?wait=all", "?wait=fleet&wait=fleet"] {
            let path = format!("/api-auth/apps/b{wrong}");
            server.delete(&path).await.expect_error(400, &[40004], &["`wait`"]);
        }
    }
}

/// Time stands still, so that only an acknowledgement can end the wait.
#[tokio::test]
async fn the_wait_ends_when_every_gateway_has_applied_the_change() {
    let server = Server::start().await;
    let key_id = key(&server).await;
    let (mut one, one_applied) = up_to_date(&server, hello("one", None)).await;
    let (mut two, two_applied) = up_to_date(&server, hello("two", None)).await;
    let one_applied = one.catch_up(one_applied).await;
    let mut waiting = std::pin::pin!(revoke_and_wait(&server, &key_id));
    let applied = async {
        let changes = one.expect_changes().await;
        let at = Version {
            revision: changes.through,
            ..one_applied
        };
        one.ping(at);
        one.expect_pong().await;
        at
    };
    let at = tokio::select! {
        answer = &mut waiting => panic!("{answer:?} came before anybody acknowledged"),
        at = applied => at,
    };
    let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    assert!(early.is_err(), "one gateway has not heard of it: {early:?}");
    let ((), answer) = tokio::join!(
        async {
            two.catch_up(two_applied).await;
            two.ping(at);
        },
        waiting
    );
    expect_counts(&answer.expect(200), 2, 2, 0);
    // Without the wait, what is true now is told.
    let other = server
        .post("/api-auth/apps/a/keys", json!({"name": "k"}))
        .await
        .expect(201);
    expect_counts(&other, 0, 2, 0);
}

/// A gateway that hangs, or is gone, is waited for until it refuses by itself.
#[tokio::test]
async fn the_wait_for_the_dead_ends_with_their_trust() {
    // The wait has an end of its own: it is not cut short with other requests.
    let options = Options {
        request_timeout: Duration::from_millis(150),
        ..Options::default()
    };
    let server = Server::with(options).await;
    let key_id = key(&server).await;
    let (hung, _) = up_to_date(&server, hello("hung", None)).await;
    let (gone, _) = up_to_date(&server, hello("gone", None)).await;
    drop(gone);
    server
        .until_listed("gone", |gateway| gateway["connected"] == false)
        .await;
    let mut waiting = std::pin::pin!(revoke_and_wait(&server, &key_id));
    let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    assert!(early.is_err(), "{early:?}");
    server.clock.advance_us(1_999_000);
    let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    assert!(early.is_err(), "{early:?}");
    server.clock.advance_us(1_001);
    let answer = tokio::time::timeout(SOON, waiting).await.expect("stale_max has passed");
    expect_counts(&answer.expect(200), 2, 2, 0);
    drop(hung);
}

/// One that serves on without news is reported, not counted among those that enforce.
#[tokio::test]
async fn who_serves_stale_is_reported_as_unenforced() {
    let server = Server::start().await;
    let key_id = key(&server).await;
    let serves = Hello {
        serves_stale: true,
        ..hello("serves", None)
    };
    let (mut gateway, applied) = up_to_date(&server, serves).await;
    let mut waiting = std::pin::pin!(revoke_and_wait(&server, &key_id));
    let early = tokio::time::timeout(Duration::from_millis(100), &mut waiting).await;
    assert!(early.is_err(), "it may still acknowledge: {early:?}");
    server.clock.advance_us(2_000_001);
    let answer = tokio::time::timeout(SOON, waiting).await.unwrap();
    expect_counts(&answer.expect(200), 0, 1, 1);

    gateway.catch_up(applied).await;
    let head = server.head().await;
    gateway.ping(head);
    gateway.expect_pong().await;
    let gateways = server.get("/api-auth/gateways").await.expect(200);
    assert_eq!(
        (&gateways["gateways"][0]["on_stale"], &gateways["gateways"][0]["lag"]),
        (&json!("serve"), &json!(0))
    );
    let answered = tokio::join!(
        server.patch("/api-auth/apps/a?wait=fleet", json!({"is_active": false})),
        async {
            let changes = gateway.expect_changes().await;
            gateway.ping(Version {
                revision: changes.through,
                ..head
            });
        }
    );
    expect_counts(&answered.0.expect(200), 1, 1, 0);
}

/// The control API was killed: who watched it is in the registry, and waited for by the next one.
#[tokio::test]
async fn a_killed_control_api_is_inherited() {
    let mut server = Server::mortal().await;
    let key_id = key(&server).await;
    let (mut gateway, applied) = up_to_date(&server, hello("edge", None)).await;
    server.kill();
    gateway.expect_end().await;
    let next = server.another_process().await;
    assert_eq!(
        next.get("/api-auth/gateways").await.expect(200)["gateways"][0]["connected"],
        true
    );
    let mut waiting = std::pin::pin!(revoke_and_wait(&next, &key_id));
    let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    assert!(
        early.is_err(),
        "it may still trust what it was told by the first one: {early:?}"
    );

    // It comes back to the next one, and applies what it missed.
    let (_, token) = next.gateway_token(next.deployment.id, &[]).await;
    let mut back = Gateway::watch(&next, &token, hello("edge", Some(applied))).await;
    let ((), answer) = tokio::join!(
        async {
            let applied = back.catch_up(applied).await;
            back.ping(applied);
        },
        waiting
    );
    expect_counts(&answer.expect(200), 1, 1, 0);
}

/// The same, and the gateway is never heard of again.
#[tokio::test]
async fn who_dies_with_the_control_api_is_waited_for_until_it_refuses() {
    let mut server = Server::mortal().await;
    let key_id = key(&server).await;
    let (gateway, _) = up_to_date(&server, hello("edge", None)).await;
    server.kill();
    drop(gateway);
    let next = server.another_process().await;
    let mut waiting = std::pin::pin!(revoke_and_wait(&next, &key_id));
    let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    assert!(early.is_err(), "{early:?}");
    server.clock.advance_us(2_000_001);
    let answer = tokio::time::timeout(SOON, waiting).await.unwrap();
    expect_counts(&answer.expect(200), 1, 1, 0);
    // Once its trust is over for good, nobody waits.
    server.clock.advance_us(60_000_000);
    let created = next
        .post("/api-auth/apps/a/keys?wait=fleet", json!({"name": "k"}))
        .await
        .expect(201);
    expect_counts(&created, 0, 0, 0);
}

/// A process that ends in good order takes back what its leases promised.
#[tokio::test]
async fn a_drain_notes_who_is_gone() {
    let server = Server::start().await;
    let (mut gateway, _) = up_to_date(&server, hello("edge", None)).await;
    let answered_us = server.time.now().wall_us;
    server.clock.advance_us(500_000);
    server.stop.cancel();
    gateway.expect_end().await;
    let noted = async {
        loop {
            let rows = server.store.list_gateways(server.deployment.id, jiff::Timestamp::MIN);
            let row = rows.await.unwrap().remove(0);
            if !row.is_connected {
                return row;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let row = tokio::time::timeout(SOON, noted).await.expect("it is noted");
    assert_eq!(row.counts_until.as_microsecond(), answered_us + 2_000_000);
}

/// Two control processes on one store: a gateway of the one is waited for by the other.
#[tokio::test]
async fn a_gateway_of_another_control_process_is_waited_for() {
    let server = Server::start().await;
    let other = server.another_process().await;
    let key_id = key(&server).await;
    let (_, token) = other.gateway_token(other.deployment.id, &[]).await;
    let mut gateway = Gateway::watch(&other, &token, hello("edge", None)).await;
    let start = gateway.expect_reset().await;
    let applied = gateway.catch_up(start).await;
    let mut waiting = std::pin::pin!(revoke_and_wait(&server, &key_id));
    let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    assert!(early.is_err(), "{early:?}");
    let applied = gateway.catch_up(applied).await;
    gateway.ping(applied);
    let answer = tokio::time::timeout(SOON, waiting)
        .await
        .expect("its acknowledgement is read");
    expect_counts(&answer.expect(200), 1, 1, 0);
}

/// No ping is answered while the registry cannot say whom to wait for, nor after a lease that was not renewed.
#[tokio::test]
async fn without_a_row_in_the_registry_there_is_no_answer() {
    let options = Options {
        bounds: GatewayBounds {
            lease: Duration::from_secs(4),
            ..GatewayBounds::default()
        },
        ..Options::default()
    };
    let server = Server::with(options).await;
    let (mut gateway, applied) = up_to_date(&server, hello("edge", None)).await;
    let rows = server
        .store
        .list_gateways(server.deployment.id, jiff::Timestamp::MIN)
        .await
        .unwrap();
    let counts_for = rows[0].counts_until.duration_since(rows[0].seen_at);
    assert!(
        counts_for.as_millis() >= 6_000,
        "the lease and stale_max: {counts_for:?}"
    );
    // The lease is over at once; before it is renewed, nothing is answered, and after that again.
    server.clock.advance_us(5_000_000);
    gateway.catch_up(applied).await;
    let rows = server
        .store
        .list_gateways(server.deployment.id, jiff::Timestamp::MIN)
        .await
        .unwrap();
    assert!(rows[0].counts_until.as_microsecond() >= server.time.now().wall_us + 6_000_000);
}

#[tokio::test]
async fn gateways_are_listed_as_they_are() {
    let server = Server::start().await;
    let empty = server.get("/api-auth/gateways").await.expect(200);
    assert_eq!(
        empty,
        json!({"gateways": [], "revision": server.head().await.revision.to_string()})
    );
    let (token, secret) = server.gateway_token(server.deployment.id, &[]).await;
    let mut gateway = Gateway::watch(&server, &secret, hello("edge", None)).await;
    let start = gateway.expect_reset().await;
    let applied = gateway.catch_up(start).await;
    server.app("a").await;
    server.key("a").await;
    let expected = json!({
        "id": hello("edge", None).gateway_id,
        "name": "edge",
        "version": "1.2.3",
        "address": "127.0.0.1",
        "connected": true,
        "applied_revision": applied.revision.to_string(),
        "lag": 2,
        "staleness_ms": 7,
        "stale_max_ms": 2_000,
        "on_stale": "refuse",
        "last_seen_at": "2026-01-01T00:00:00Z",
        "token_id": token.id.to_string(),
        "deployment_id": server.deployment.id.to_string(),
    });
    assert_eq!(
        server.until_listed("edge", |gateway| gateway["lag"] == 2).await,
        expected
    );
    server.clock.advance_us(1_000_000);
    server
        .until_listed("edge", |gateway| gateway["staleness_ms"] == 1_007)
        .await;
    drop(gateway);
    server
        .until_listed("edge", |gateway| gateway["connected"] == false)
        .await;
}
