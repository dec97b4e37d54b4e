//! A gateway is told of every change, in order, without a gap, and answered only when it has been told of all.

use crate::gateway::{Connection, Gateway, hello};
use crate::server::{Options, Server};
use http::Method;
use portcullis_control::GatewayBounds;
use portcullis_store::Store;
use portcullis_sync::message::{self, Touches};
use portcullis_verify::{Clock, Version};
use serde_json::{Value, json};
use std::time::Duration;

fn id(key: &Value) -> &str {
    key["id"].as_str().unwrap()
}

async fn revoke(server: &Server, app: &str, key: &Value) -> Value {
    let path = format!("/api-auth/apps/{app}/keys/{}/revoke", id(key));
    server.post(&path, json!({})).await.expect(200)
}

#[tokio::test]
async fn changes_come_as_they_happen_and_a_ping_is_answered_after_them() {
    let server = Server::start().await;
    server.app("a").await;
    let (_, token) = server.gateway_token(server.deployment.id, &[]).await;
    let mut gateway = Gateway::watch(&server, &token, hello("edge", None)).await;
    assert_eq!(gateway.welcome.deployment_id, server.deployment.id);
    assert_eq!(gateway.welcome.deployment_name, server.deployment.name);
    let start = gateway.expect_reset().await;
    assert_eq!(start, server.head().await, "who holds nothing begins at the head");
    assert_eq!(gateway.catch_up(start).await, start);

    let key = server.key("a").await;
    let created = gateway.expect_changes().await;
    assert_eq!((created.after, created.through), (start.revision, start.revision + 1));
    let revoked = revoke(&server, "a", &key).await;
    let changed = gateway.expect_changes().await;
    assert_eq!(changed.through.to_string(), revoked["revision"]);
    let hash_of = |touches: &Touches| match touches {
        Touches::KeyCreated(hash) | Touches::KeyChanged(hash) => hash.0,
        other => panic!("{other:?}"),
    };
    assert!(matches!(created.changes[0].touches, Touches::KeyCreated(_)));
    assert!(matches!(changed.changes[0].touches, Touches::KeyChanged(_)));
    assert_eq!(
        hash_of(&created.changes[0].touches),
        hash_of(&changed.changes[0].touches)
    );

    let applied = Version {
        revision: changed.through,
        ..start
    };
    let number = gateway.ping(applied);
    let pong = gateway.expect_pong().await;
    assert_eq!((pong.number, pong.at), (number, applied));
}

/// Whatever was committed before a ping was sent is told before its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_answer_never_overtakes_a_change() {
    let server = Server::start().await;
    server.app("a").await;
    let (_, token) = server.gateway_token(server.deployment.id, &[]).await;
    let mut gateway = Gateway::watch(&server, &token, hello("edge", None)).await;
    let mut applied = gateway.expect_reset().await;
    let another = Store::open(&server.store_url, Clock::system()).await.unwrap();
    for number in 0..40 {
        // Committed by another process: only a read of the log tells of it.
        another.create_deployment(&format!("t{number}")).await.unwrap();
        let head = server.head().await;
        applied = gateway.catch_up(applied).await;
        assert!(applied.covers(head), "{applied:?} {head:?}");
    }
}

#[tokio::test]
async fn who_was_away_is_told_what_it_missed() {
    let server = Server::start().await;
    server.app("a").await;
    let (_, token) = server.gateway_token(server.deployment.id, &[]).await;
    let start = server.head().await;
    let (first, second) = (server.key("a").await, server.key("a").await);
    revoke(&server, "a", &first).await;
    let mut gateway = Gateway::watch(&server, &token, hello("edge", Some(start))).await;
    let missed = gateway.expect_changes().await;
    let revisions: Vec<u64> = missed
        .changes
        .iter()
        .map(|change| change.revision - start.revision)
        .collect();
    assert_eq!((missed.after, revisions), (start.revision, vec![1, 2, 3]));
    let head = Version {
        revision: missed.through,
        ..start
    };
    assert_eq!(head, server.head().await);
    drop(gateway);

    // It is at the head: there is nothing to tell.
    let mut gateway = Gateway::watch(&server, &token, hello("edge", Some(head))).await;
    assert_eq!(gateway.catch_up(head).await, head);
    revoke(&server, "a", &second).await;
    assert_eq!(gateway.expect_changes().await.after, head.revision);
}

/// What happened before this process started is read from the store.
#[tokio::test]
async fn who_was_away_for_longer_than_the_process_is_told_from_the_store() {
    let server = Server::start().await;
    server.app("a").await;
    let (_, token) = server.gateway_token(server.deployment.id, &[]).await;
    // Before everything: the tailer began later.
    let epoch = server.head().await.epoch;
    for _ in 0..5 {
        server.key("a").await;
    }
    let start = Version { epoch, revision: 0 };
    let mut gateway = Gateway::watch(&server, &token, hello("edge", Some(start))).await;
    assert_eq!(gateway.catch_up(start).await, server.head().await);
}

#[tokio::test]
async fn what_cannot_be_told_is_a_reset() {
    let options = Options {
        change_log_rows_max: 3,
        ..Options::default()
    };
    let server = Server::with(options).await;
    server.app("a").await;
    let (_, token) = server.gateway_token(server.deployment.id, &[]).await;
    let early = server.head().await;
    for _ in 0..8 {
        server.key("a").await;
    }
    let head = server.head().await;
    let check = async |what: &str, applied: Version| {
        let mut gateway = Gateway::watch(&server, &token, hello("edge", Some(applied))).await;
        assert_eq!(gateway.expect_reset().await, head, "{what}");
        assert_eq!(gateway.catch_up(head).await, head, "{what}");
    };
    let other = Version {
        epoch: head.epoch + 1,
        ..head
    };
    check("another history", other).await;
    check("below the floor of another history", Version { revision: 0, ..other }).await;
    // The log is compacted, though not told to whom: the floor rises above the beginning.
    let floor = async {
        while !matches!(
            server.store.changes_after(0, 1).await.unwrap(),
            portcullis_store::Changes::Reset { .. }
        ) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), floor)
        .await
        .expect("the log is compacted");
    check("below the floor", Version { revision: 0, ..early }).await;
}

#[tokio::test]
async fn who_has_applied_more_than_there_is_makes_the_log_begin_a_new_history_but_not_again_and_again() {
    let server = Server::start().await;
    server.app("a").await;
    let (_, token) = server.gateway_token(server.deployment.id, &[]).await;
    let head = server.head().await;
    let ahead = |head: Version| Version {
        revision: head.revision + 1,
        ..head
    };
    // The machine was set back with its disk: the revisions that the gateway has seen will be used for other changes.
    let mut gateway = Gateway::watch(&server, &token, hello("edge", Some(ahead(head)))).await;
    let to = gateway.expect_reset().await;
    assert_ne!(to.epoch, head.epoch);
    assert_eq!((to.revision, server.head().await), (head.revision, to));
    // Another gateway that had applied as much is simply of another history now.
    let mut other = Gateway::watch(&server, &token, hello("other", Some(ahead(head)))).await;
    assert_eq!(other.expect_reset().await, to);
    // One that lies cannot have everything read again at will.
    Gateway::refused(&server, &token, hello("liar", Some(ahead(to)))).await;
    assert_eq!(server.head().await, to);
}

#[tokio::test]
async fn deployments_never_meet_and_others_changes_are_passed_over() {
    let server = Server::start().await;
    server.app("a").await;
    let (other, management) = server.tenant("other").await;
    let (_, ours) = server.gateway_token(server.deployment.id, &[]).await;
    let (_, theirs) = server.gateway_token(other.id, &[]).await;
    let mut our_gateway = Gateway::watch(&server, &ours, hello("ours", None)).await;
    let mut their_gateway = Gateway::watch(&server, &theirs, hello("theirs", None)).await;
    assert_eq!(their_gateway.welcome.deployment_id, other.id);
    let start = our_gateway.expect_reset().await;
    assert_eq!(our_gateway.catch_up(start).await, start);
    let start = their_gateway.expect_reset().await;
    assert_eq!(their_gateway.catch_up(start).await, start);

    for _ in 0..3 {
        server.key("a").await;
    }
    let mut heard = 0;
    while heard < 3 {
        heard += our_gateway.expect_changes().await.changes.len();
    }
    assert!(their_gateway.is_left_alone().await, "nothing of it is theirs");
    their_gateway.ping(start);
    let passed_over = their_gateway.expect_changes().await;
    assert_eq!(passed_over.changes, vec![]);
    assert_eq!(
        (passed_over.after, passed_over.through),
        (start.revision, start.revision + 3)
    );
    assert_eq!(their_gateway.expect_pong().await.at.revision, start.revision + 3);

    let listed = server
        .bare("GET", "/api-auth/gateways")
        .token(&management)
        .send()
        .await
        .expect(200);
    let names: Vec<&str> = listed["gateways"]
        .as_array()
        .unwrap()
        .iter()
        .map(|g| g["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["theirs"]);
}

#[tokio::test]
async fn a_revoked_token_ends_its_watch_at_once_and_opens_nothing_after() {
    let server = Server::start().await;
    let created = server
        .post(
            "/api-auth/gateway-tokens",
            json!({"name": "edge token", "apps": ["b", "a"]}),
        )
        .await
        .expect(201);
    let token = created["secret"].as_str().unwrap().to_owned();
    let mut gateway = Gateway::watch(&server, &token, hello("edge", None)).await;
    assert_eq!(gateway.welcome.apps, ["a", "b"]);
    gateway.expect_reset().await;
    let (_, other) = server.gateway_token(server.deployment.id, &[]).await;
    let mut bystander = Gateway::watch(&server, &other, hello("bystander", None)).await;
    let start = bystander.expect_reset().await;

    let path = format!("/api-auth/gateway-tokens/{}/revoke", id(&created));
    assert!(server.post(&path, json!({})).await.expect(200)["revoked_at"].is_string());
    gateway.expect_end().await;
    bystander.catch_up(start).await;
    let mut connection = Connection::open(&server).await;
    for (method, path) in [
        (Method::POST, message::WATCH),
        (Method::POST, message::LOOK_UP),
        (Method::GET, message::KEYS),
        (Method::POST, message::USAGE),
    ] {
        let (status, body) = connection.call(method, path, &token, &Value::Null).await;
        assert_eq!(
            (status.as_u16(), &body["errors"][0]["code"]),
            (401, &json!(40100)),
            "{path}"
        );
    }
    server.post(&path, json!({})).await.expect_error(404, &[40404], &[]);
    let listed = server.get("/api-auth/gateway-tokens").await.expect(200);
    assert!(listed["tokens"][0]["revoked_at"].is_string() && listed["tokens"][1]["revoked_at"].is_null());
    assert!(!listed.to_string().contains(&token), "a token is shown once");
}

/// A gateway that takes nothing any more is cut off, together with its connection, and holds up nobody.
#[tokio::test]
async fn who_takes_nothing_is_cut_off() {
    let options = Options {
        bounds: GatewayBounds {
            line_timeout: Duration::from_millis(300),
            ..GatewayBounds::default()
        },
        ..Options::default()
    };
    let server = Server::with(options).await;
    server.app("a").await;
    let (_, token) = server.gateway_token(server.deployment.id, &[]).await;
    let connection = Connection::with_window(&server, 600).await;
    let slow = Gateway::on(connection, &token, hello("slow", None)).await;
    let mut quick = Gateway::watch(&server, &token, hello("quick", None)).await;
    let start = quick.expect_reset().await;
    for _ in 0..12 {
        server.key("a").await;
    }
    let applied = quick.catch_up(start).await;
    assert_eq!(applied, server.head().await);
    let cut = tokio::time::timeout(Duration::from_secs(5), slow.connection.driver).await;
    cut.expect("the connection of the slow one is cut").unwrap();
    server
        .until_listed("slow", |gateway| gateway["connected"] == false)
        .await;
    server
        .until_listed("quick", |gateway| gateway["connected"] == true)
        .await;
}

#[tokio::test]
async fn nonsense_ends_a_watch() {
    let server = Server::start().await;
    let (_, token) = server.gateway_token(server.deployment.id, &[]).await;
    for nonsense in ["nonsense\n".to_owned(), "{}\n".to_owned(), "1".repeat(9_000)] {
        let mut gateway = Gateway::watch(&server, &token, hello("edge", None)).await;
        gateway.say_bytes(nonsense);
        gateway.expect_end().await;
    }
    let mut gateway = Gateway::watch(&server, &token, hello("edge", None)).await;
    gateway.ping(Version {
        epoch: u64::MAX,
        revision: 1,
    });
    gateway.expect_end().await;
}

#[tokio::test]
async fn a_watch_needs_http_2_and_a_place() {
    let options = Options {
        bounds: GatewayBounds {
            watchers_max: 2,
            ..GatewayBounds::default()
        },
        ..Options::default()
    };
    let server = Server::with(options).await;
    let (_, token) = server.gateway_token(server.deployment.id, &[]).await;
    let over_http_1 = server.bare("POST", message::WATCH).token(&token).send().await;
    over_http_1.expect_error(400, &[40007], &["HTTP/2"]);
    let one = Gateway::watch(&server, &token, hello("one", None)).await;
    let two = Gateway::watch(&server, &token, hello("two", None)).await;
    let mut connection = Connection::open(&server).await;
    let (status, body) = connection
        .call(Method::POST, message::WATCH, &token, &Value::Null)
        .await;
    assert_eq!((status.as_u16(), &body["errors"][0]["code"]), (503, &json!(50303)));
    drop(one);
    let again = async {
        while connection
            .call(Method::POST, message::WATCH, &token, &Value::Null)
            .await
            .0
            != 200
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), again)
        .await
        .expect("a place that was left is free again");
    drop(two);
}

/// Gateways do not take up the places of operators: far more of them are connected than there are connections for others.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn gateways_keep_no_operator_out() {
    let server = Server::start().await;
    let (_, token) = server.gateway_token(server.deployment.id, &[]).await;
    let mut gateways = Vec::new();
    for batch in 0..33 {
        let batch = (0..32).map(|number| {
            let name = format!("edge-{batch}-{number}");
            let (server, token) = (&server, &token);
            async move { Gateway::watch(server, token, hello(&name, None)).await }
        });
        gateways.extend(futures_util::future::join_all(batch).await);
    }
    server.get("/api-auth/apps").await.expect(200);
    let start = gateways[0].expect_reset().await;
    assert!(gateways[0].catch_up(start).await.covers(start));
    assert_eq!(gateways.len(), 1_056);
}

#[tokio::test]
async fn a_gateway_that_comes_back_takes_its_own_place() {
    let server = Server::start().await;
    let (_, token) = server.gateway_token(server.deployment.id, &[]).await;
    let mut before = Gateway::watch(&server, &token, hello("edge", None)).await;
    let start = before.expect_reset().await;
    let mut after = Gateway::watch(&server, &token, hello("edge", Some(start))).await;
    before.expect_end().await;
    after.catch_up(start).await;
    let listed = server.get("/api-auth/gateways").await.expect(200);
    assert_eq!(listed["gateways"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_drain_sends_gateways_away_at_once() {
    let server = Server::start().await;
    let (_, token) = server.gateway_token(server.deployment.id, &[]).await;
    let mut gateway = Gateway::watch(&server, &token, hello("edge", None)).await;
    let start = gateway.expect_reset().await;
    gateway.catch_up(start).await;
    server.stop.cancel();
    gateway.expect_end().await;
    tokio::time::timeout(Duration::from_secs(3), gateway.connection.driver)
        .await
        .expect("its connection is closed, too")
        .unwrap();
}

/// A control API that cannot read its log answers no ping: the gateway must find out that it is on its own.
#[tokio::test]
async fn while_the_log_cannot_be_read_nothing_is_answered() {
    let server = Server::start().await;
    let (_, token) = server.gateway_token(server.deployment.id, &[]).await;
    let mut gateway = Gateway::watch(&server, &token, hello("edge", None)).await;
    let start = gateway.expect_reset().await;
    gateway.catch_up(start).await;
    server.store.close().await;
    gateway.ping(start);
    assert!(gateway.is_left_alone().await);
    let (status, body) = gateway
        .connection
        .call(Method::POST, message::LOOK_UP, &token, &json!({"hashes": []}))
        .await;
    assert_eq!((status.as_u16(), &body["errors"][0]["code"]), (503, &json!(50300)));
}

/// The listener tells HTTP/2 from HTTP/1.1 by the first bytes, however they are cut.
#[tokio::test]
async fn both_versions_of_http_are_told_apart_byte_by_byte() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let server = Server::start().await;
    let check = async |bytes: &[u8], expected: &[u8]| {
        let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for byte in bytes {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut answer = vec![0; expected.len()];
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut answer));
        read.await.expect("an answer comes").unwrap();
        assert_eq!(answer, expected, "{}", String::from_utf8_lossy(bytes));
    };
    let http_1 = b"HTTP/1.1 401 ";
    check(b"GET /api-auth/apps HTTP/1.1\r\nHost: x\r\n\r\n", http_1).await;
    check(
        b"POST /api-auth/apps HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        http_1,
    )
    .await;
    check(b"PRI /api-auth/apps HTTP/1.1\r\nHost: x\r\n\r\n", http_1).await;
    // An empty SETTINGS frame of the client; the server's begins with its length, type 4.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    check(preface, &[0, 0]).await;
}
