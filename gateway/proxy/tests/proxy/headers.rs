//! The upstream learns who is calling from us, and from nobody else.

use crate::client::ask;
use crate::gateway::{start, start_with};
use crate::upstream::{answering, upstream};

#[tokio::test]
async fn the_upstream_is_told_who_holds_the_key() {
    let upstream = upstream().await;
    let gateway = start(&[upstream.address]).await;
    let answer = ask(gateway.address, gateway.get("/", "")).await;
    let received = upstream.only();
    let check = |name: &str, value: Option<&str>| assert_eq!(received.header(name).as_deref(), value, "{name}");
    check("x-wacht-key-id", Some("1"));
    check("x-wacht-deployment-id", Some("1"));
    check("x-wacht-app-slug", Some("api"));
    check("x-wacht-key-name", Some("test key"));
    check("x-wacht-owner-user-id", Some("42"));
    check("x-wacht-organization-id", None);
    check("x-wacht-permissions", Some("read,write"));
    check("host", Some("example.com"));
    check("x-forwarded-for", Some("127.0.0.1"));
    check("x-forwarded-proto", Some("http"));
    check("x-forwarded-host", Some("example.com"));
    check("x-request-id", answer.header("x-request-id").as_deref());
    assert_eq!(answer.header("x-request-id").map(|id| id.len()), Some(26));
}

#[tokio::test]
async fn identity_headers_of_a_client_are_dropped_in_every_spelling() {
    for name in [
        "X-Wacht-Key-ID",
        "x-wacht-key-id",
        "X_Wacht_Key_ID",
        "X-Wacht_Permissions",
        "X.Wacht.Permissions",
        "x-wacht-anything-else",
        "X-WACHT-OWNER-USER-ID",
    ] {
        let upstream = upstream().await;
        let gateway = start(&[upstream.address]).await;
        assert_eq!(
            ask(gateway.address, gateway.get("/", &format!("{name}: forged\r\n")))
                .await
                .status,
            200
        );
        let received = upstream.only();
        assert!(!received.head.contains("forged"), "{name}: {}", received.head);
        assert_eq!(received.header("x-wacht-key-id").as_deref(), Some("1"));
    }
}

#[tokio::test]
async fn a_connection_nomination_cannot_remove_what_we_say() {
    for nominated in [
        "X-Wacht-Key-ID",
        "x-wacht-permissions, close",
        "X-Request-ID",
        "keep-alive, X-Wacht-App-Slug",
    ] {
        let upstream = upstream().await;
        let gateway = start(&[upstream.address]).await;
        let answer = ask(
            gateway.address,
            gateway.get("/", &format!("Connection: {nominated}\r\n")),
        )
        .await;
        assert_eq!(answer.status, 200);
        let received = upstream.only();
        for name in [
            "x-wacht-key-id",
            "x-wacht-permissions",
            "x-wacht-app-slug",
            "x-request-id",
            "x-forwarded-for",
        ] {
            assert!(received.header(name).is_some(), "{nominated} removed {name}");
        }
    }
}

#[tokio::test]
async fn forwarding_headers_are_replaced_when_nobody_vouches_for_them() {
    let upstream = upstream().await;
    let gateway = start(&[upstream.address]).await;
    let forged = "X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nX-Forwarded-Proto: forged\r\n\
                  X-Forwarded-Host: forged\r\nX-Forwarded-Prefix: forged\r\nX-Forwarded-Port: forged\r\n\
                  Forwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Original-URL: /forged\r\nX-Request-ID: forged\r\n";
    assert_eq!(ask(gateway.address, gateway.get("/", forged)).await.status, 200);
    let received = upstream.only();
    assert!(
        !received.head.contains("6.6.6.6") && !received.head.contains("forged"),
        "{}",
        received.head
    );
    assert_eq!(received.header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
}

#[tokio::test]
async fn forwarding_headers_of_a_trusted_peer_are_continued() {
    let upstream = upstream().await;
    let gateway = start_with(&[upstream.address], |setup| {
        setup.gateway.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let told = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n\
                X-Request-ID: from-the-edge\r\nX_Forwarded_Host: forged\r\n";
    let answer = ask(gateway.address, gateway.get("/", told)).await;
    assert_eq!(answer.header("x-request-id").as_deref(), Some("from-the-edge"));
    let received = upstream.only();
    assert_eq!(
        received.header("x-forwarded-for").as_deref(),
        Some("192.0.2.7, 127.0.0.1")
    );
    assert_eq!(received.header("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(received.header("x-forwarded-host").as_deref(), Some("shop.example"));
    assert_eq!(received.header("x-request-id").as_deref(), Some("from-the-edge"));
    assert!(!received.head.contains("forged"));
}

#[tokio::test]
async fn the_request_target_is_forwarded_byte_for_byte() {
    for target in [
        "/",
        "/a/b/",
        "/a%20b",
        "/%61",
        "/a;v=1",
        "/a?x=%2F..%2f&y",
        "/a?b=?//",
        "/a?",
        "/~a!$&'()*+,=:@",
    ] {
        let upstream = upstream().await;
        let gateway = start(&[upstream.address]).await;
        assert_eq!(
            ask(gateway.address, gateway.get(target, "")).await.status,
            200,
            "{target}"
        );
        assert_eq!(upstream.only().line(), format!("GET {target} HTTP/1.1"));
    }
}

#[tokio::test]
async fn hop_by_hop_headers_stay_on_their_hop() {
    let upstream = answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=5\r\nConnection: x-private\r\nX-Private: 1\r\n\
         RateLimit: forged\r\nRateLimit-Limit: 9\r\nX-Kept: 1\r\n\r\nok",
    )
    .await;
    let gateway = start(&[upstream.address]).await;
    let request = gateway.get(
        "/",
        "TE: trailers\r\nKeep-Alive: 5\r\nProxy-Authorization: Basic eA==\r\nConnection: x-mine\r\nX-Mine: 1\r\n",
    );
    let answer = ask(gateway.address, request).await;
    for name in ["keep-alive", "x-private", "ratelimit-limit"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    assert_eq!(answer.header("x-kept").as_deref(), Some("1"));
    assert!(!answer.head.contains("forged"));
    let received = upstream.only();
    for name in ["te", "keep-alive", "proxy-authorization", "x-mine", "connection"] {
        assert_eq!(received.header(name), None, "{name}");
    }
}
