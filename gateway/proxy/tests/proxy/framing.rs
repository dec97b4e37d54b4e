//! Requests that two servers could read differently are refused, and nothing of them reaches the upstream.

use crate::client::{Client, ask};
use crate::gateway::{start, start_with};
use crate::upstream::{serving, upstream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[tokio::test]
async fn ambiguous_requests_are_refused() {
    let upstream = upstream().await;
    let gateway = start(&[upstream.address]).await;
    let key = format!("Authorization: Bearer {}\r\n", gateway.key);
    let check = async |head: &str, body: &str| {
        let answer = ask(gateway.address, format!("{head}{key}\r\n{body}")).await;
        assert_eq!(answer.status, 400, "{head:?}");
        assert!(upstream.requests().is_empty(), "{head:?} reached the upstream");
    };
    // Who is asked.
    check("GET / HTTP/1.1\r\n", "").await;
    check("GET / HTTP/1.0\r\n", "").await;
    check("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n", "").await;
    check("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n", "").await;
    check("GET / HTTP/1.1\r\nHost: \r\n", "").await;
    check("GET / HTTP/1.1\r\nHost: a, b\r\n", "").await;
    check("GET / HTTP/1.1\r\nHost: user@a\r\n", "").await;
    check("GET / HTTP/1.1\r\nHost: a/b\r\n", "").await;
    check("GET / HTTP/1.1\r\nHost: a:x\r\n", "").await;
    check("GET / HTTP/1.1\r\nHost: a:99999\r\n", "").await;
    check("GET / HTTP/1.1\r\nHost: a:80:80\r\n", "").await;
    check("GET / HTTP/1.1\r\nHost: [::1\r\n", "").await;
    check("GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n", "").await;
    check("GET / HTTP/1.2\r\nHost: a\r\n", "").await;
    check("OPTIONS * HTTP/1.1\r\nHost: a\r\n", "").await;
    check("GET http://a/ HTTP/1.1\r\nHost: b\r\n", "").await;
    // What is asked for.
    for path in [
        "//admin",
        "/a%2Fb",
        "/a%5Cb",
        "/a\\b",
        "/a/./b",
        "/a/../b",
        "/a/..;/b",
        "/%2e%2e/b",
        "/a%3Fb",
        "/a%00b",
        "/a%zz",
        "*",
    ] {
        check(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n"), "").await;
    }
    for target in [
        "foo",
        "foo:bar",
        "a.example:80",
        "?x",
        "ftp://a/",
        "http:/a",
        "http:///a",
        "/\u{e4}",
        "/a b",
    ] {
        check(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n"), "").await;
    }
    check("TRACE / HTTP/1.1\r\nHost: a\r\n", "").await;
    check("GET  / HTTP/1.1\r\nHost: a\r\n", "").await;
    check("GET\t/ HTTP/1.1\r\nHost: a\r\n", "").await;
    // Where it ends.
    let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    check(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        smuggled,
    )
    .await;
    check(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        smuggled,
    )
    .await;
    check(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        smuggled,
    )
    .await;
    check(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n",
        smuggled,
    )
    .await;
    check(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n",
        smuggled,
    )
    .await;
    check(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n",
        smuggled,
    )
    .await;
    check("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", smuggled).await;
    check(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 4\r\n",
        "body",
    )
    .await;
    check(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n",
        "body",
    )
    .await;
    check("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 4\r\n", "body").await;
    check("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n", "body").await;
    check("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x4\r\n", "body").await;
    check("POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 4\r\n", "body").await;
    check("GET / HTTP/1.1\nHost: a\r\n", "").await;
    check("GET / HTTP/1.1\r\nHost: a\r\nX: y\nTransfer-Encoding: chunked\r\n", "").await;
    check("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n folded\r\n", "").await;
    check(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n",
        "abc",
    )
    .await;
}

#[tokio::test]
async fn connect_is_refused() {
    let gateway = start(&[upstream().await.address]).await;
    let answer = ask(gateway.address, "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n").await;
    assert!(matches!(answer.status, 400 | 405), "{}", answer.status);
}

#[tokio::test]
async fn the_absolute_form_is_served_and_forwarded_as_a_path() {
    let upstream = upstream().await;
    let gateway = start(&[upstream.address]).await;
    let request = gateway.get("http://example.com/a?b=1", "");
    assert_eq!(ask(gateway.address, request).await.status, 200);
    assert_eq!(upstream.only().line(), "GET /a?b=1 HTTP/1.1");
    assert_eq!(upstream.only().header("host").as_deref(), Some("example.com"));
}

#[tokio::test]
async fn too_large_is_said() {
    let upstream = upstream().await;
    let gateway = start_with(&[upstream.address], |setup| {
        setup.gateway.header_bytes_max = 2000;
        setup.gateway.header_count_max = 10;
        setup.gateway.uri_bytes_max = 500;
        setup.gateway.body_bytes_max = Some(100);
    })
    .await;
    let check = async |request: String, status: u16, reason: &str| {
        let answer = ask(gateway.address, request).await;
        assert_eq!((answer.status, answer.reason().as_str()), (status, reason));
    };
    check(gateway.get(&format!("/{}", "x".repeat(600)), ""), 414, "uri_too_long").await;
    check(gateway.get(&format!("/{}", "x".repeat(3000)), ""), 414, "uri_too_long").await;
    check(
        gateway.get("/", &format!("X: {}\r\n", "x".repeat(3000))),
        431,
        "header_too_large",
    )
    .await;
    check(gateway.get("/", &"X: y\r\n".repeat(20)), 431, "header_too_large").await;
    check(gateway.get("/", "Content-Length: 101\r\n"), 413, "payload_too_large").await;
    let chunk = format!("65\r\n{}\r\n", "x".repeat(101));
    check(
        gateway.get("/", "Transfer-Encoding: chunked\r\n") + &chunk,
        413,
        "payload_too_large",
    )
    .await;
    check(
        gateway.get("/", "Transfer-Encoding: chunked\r\n") + &chunk + "0\r\n\r\n",
        413,
        "payload_too_large",
    )
    .await;
    assert_eq!(
        ask(gateway.address, gateway.get("/", "Content-Length: 2\r\n") + "ok")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn what_follows_an_upgrade_is_no_request_until_the_upstream_agrees() {
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let address = serving(move |stream| {
        let counted = Arc::clone(&counted);
        async move {
            let mut stream = Client::over(stream);
            while let Some(received) = crate::upstream::next(&mut stream).await {
                counted.fetch_add(1, Ordering::SeqCst);
                assert!(!received.head.contains("/smuggled"), "{}", received.head);
                stream.send(crate::upstream::OK).await;
            }
        }
    })
    .await;
    let gateway = start(&[address]).await;
    let mut client = Client::connect(gateway.address).await;
    let upgrade = gateway.get("/", "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    client.send(upgrade + "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    // It is read as what it is: the next request, which carries no key.
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.reason().as_str()), (403, "key_missing"));
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn only_a_proper_websocket_upgrade_is_forwarded() {
    for offered in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
    ] {
        let upstream = upstream().await;
        let gateway = start(&[upstream.address]).await;
        assert_eq!(ask(gateway.address, gateway.get("/", offered)).await.status, 200);
        let received = upstream.only();
        for name in ["upgrade", "http2-settings", "connection"] {
            assert_eq!(received.header(name), None, "{offered}");
        }
    }
}

#[tokio::test]
async fn an_upgrade_that_nobody_asked_for_is_not_passed_on() {
    let upstream =
        crate::upstream::answering("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
            .await;
    let gateway = start(&[upstream.address]).await;
    let answer = ask(gateway.address, gateway.get("/", "")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (502, "upstream_unreachable"));
}
