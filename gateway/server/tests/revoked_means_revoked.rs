//! The promise that a revoked key is dead: after the control API's answer, no request with it is let through, on any
//! of 64 busy connections, however the key was ended; and what is under way with it ends too.

#![expect(clippy::panic, reason = "a test ends where what it needs is not there")]

mod support;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use support::control::{Api, Issued};
use support::upstream::Upstream;
use support::{PATIENCE, Server, client, route};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;

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

/// An upstream that does not end by itself: `/socket` is a WebSocket that echoes, everything else an answer that begins and waits
/// for `go_on`; `/events` says that it is an event stream.
async fn endless(go_on: &CancellationToken) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let go_on = go_on.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let go_on = go_on.clone();
            tokio::spawn(async move {
                // Whoever was cut off is not told how it would have ended.
                let _ = last(stream, go_on).await;
            });
        }
    });
    address
}

async fn last(mut stream: TcpStream, go_on: CancellationToken) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut start = [0; 8];
    stream.peek(&mut start).await?;
    if &start == b"GET /soc" {
        let mut socket = tokio_tungstenite::accept_async(stream).await?;
        while let Some(message) = socket.next().await {
            socket.send(message?).await?;
        }
        return Ok(());
    }
    let media_type = match &start {
        b"GET /eve" => "text/event-stream",
        _ => "text/plain",
    };
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\ntransfer-encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(b"5\r\nfirst\r\n").await?;
    go_on.cancelled().await;
    stream.write_all(b"4\r\nlast\r\n0\r\n\r\n").await?;
    Ok(())
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn socket(server: &Server, key: &Issued) -> Socket {
    let mut request = format!("ws://{}/socket", server.proxy)
        .into_client_request()
        .expect("a request");
    let value = key.secret.parse().expect("a value");
    request.headers_mut().insert("x-api-key", value);
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.expect("upgraded");
    echoes(&mut socket).await;
    socket
}

async fn echoes(socket: &mut Socket) {
    socket.send("echo".into()).await.expect("sent");
    let answer = tokio::time::timeout(PATIENCE, socket.next()).await.expect("in time");
    assert_eq!(answer.expect("open").expect("a message"), "echo".into());
}

/// Waits until the WebSocket's connection is gone, with nothing more on it.
async fn is_closed(socket: &mut Socket) {
    let end = tokio::time::timeout(PATIENCE, socket.next())
        .await
        .expect("closed in time");
    assert!(!matches!(end, Some(Ok(_))), "{end:?}");
}

/// An answer that has begun.
async fn answer(server: &Server, path: &str, key: &Issued) -> reqwest::Response {
    let answer = client().get(server.url(path)).bearer_auth(&key.secret).send().await;
    let mut answer = answer.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.chunk().await.expect("a body").expect("a chunk"), "first");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_with_a_revoked_key_is_cut_and_nothing_else() {
    let upstream = endless(&CancellationToken::new()).await;
    let server = Server::start(&format!(
        "[gateway]\ncut_streams_after = \"200ms\"\n{NO_LIMITS}{}",
        route(upstream, &["api"])
    ))
    .await;
    let api = server.api();
    api.app("api").await;
    let (key, other) = (api.key("api").await, api.key("api").await);
    let mut ended = socket(&server, &key).await;
    let mut stays = socket(&server, &other).await;
    let mut events = answer(&server, "/events", &key).await;
    let mut download = answer(&server, "/download", &key).await;
    api.revoke("api", &key.id).await;
    is_closed(&mut ended).await;
    events.chunk().await.expect_err("cut off, not ended");
    download.chunk().await.expect_err("cut off, not ended");
    echoes(&mut stays).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_young_request_with_a_revoked_key_may_finish() {
    let go_on = CancellationToken::new();
    let upstream = endless(&go_on).await;
    let server = Server::start(&format!(
        "[gateway]\ncut_streams_after = \"1h\"\n{NO_LIMITS}{}",
        route(upstream, &["api"])
    ))
    .await;
    let api = server.api();
    api.app("api").await;
    let key = api.key("api").await;
    let mut ended = socket(&server, &key).await;
    let mut events = answer(&server, "/events", &key).await;
    let download = answer(&server, "/download", &key).await;
    api.revoke("api", &key.id).await;
    is_closed(&mut ended).await;
    events.chunk().await.expect_err("cut off, not ended");
    go_on.cancel();
    assert_eq!(download.text().await.expect("a whole body"), "last");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_a_rotated_key_lasts_as_long_as_its_grace() {
    let upstream = endless(&CancellationToken::new()).await;
    let server = Server::start(&format!("{NO_LIMITS}{}", route(upstream, &["api"]))).await;
    let api = server.api();
    api.app("api").await;
    let old = api.key("api").await;
    let mut ended = socket(&server, &old).await;
    // Read from the machine's clock, as the server does.
    let clock = portcullis_verify::Clock::system();
    let before_us = clock.now().wall_us;
    let fresh = api
        .rotate("api", &old.id, Some(json!({"grace_period_seconds": 2})))
        .await;
    let mut stays = socket(&server, &fresh).await;
    echoes(&mut ended).await;
    is_closed(&mut ended).await;
    assert!(clock.now().wall_us >= before_us + 2_000_000, "closed within its grace");
    echoes(&mut stays).await;
}
