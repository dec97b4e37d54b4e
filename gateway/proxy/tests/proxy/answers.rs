//! What an upstream answers reaches the client in one reading only, and leaves nothing behind for the next request.

use crate::client::{Client, ask};
use crate::gateway::{start, start_with};
use crate::upstream::{OK, answering, next, serving};
use std::time::Duration;

/// An upstream that answers `/odd` with these bytes and everything else with `ok`.
async fn odd(answer: &'static str) -> std::net::SocketAddr {
    serving(move |stream| async move {
        let mut stream = Client::over(stream);
        while let Some(received) = next(&mut stream).await {
            let is_odd = received.line().contains("/odd");
            stream.send(if is_odd { answer } else { OK }).await;
        }
    })
    .await
}

#[tokio::test]
async fn what_is_sent_behind_an_answer_is_nobodys_answer() {
    for answer in [
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
    ] {
        for method in ["GET", "HEAD"] {
            let gateway = start(&[odd(answer).await]).await;
            let mut client = Client::connect(gateway.address).await;
            client.send(gateway.get("/odd", "").replace("GET", method)).await;
            let answered = client.answer_to(method).await;
            assert!(!answered.body.contains("poison"), "{method} {answer:?}: {answered:?}");
            for _ in 0..3 {
                let after = ask(gateway.address, gateway.get("/after", "")).await;
                assert_eq!((after.status, after.body.as_str()), (200, "ok"), "{method} {answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_whose_end_is_not_certain_is_refused() {
    let check = async |answer: &'static str| {
        let gateway = start_with(&[odd(answer).await], |setup| {
            setup.routes[0].read_timeout = Duration::from_millis(500)
        })
        .await;
        let answered = ask(gateway.address, gateway.get("/odd", "")).await;
        assert_eq!(
            (answered.status, answered.reason().as_str()),
            (502, "upstream_unreachable"),
            "{answer:?}"
        );
        // The request was admitted and charged, and is told so.
        assert!(answered.header("ratelimit").is_some(), "{}", answered.head);
        assert_eq!(answered.header("retry-after"), None);
    };
    check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\nokxyz").await;
    check("HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok").await;
    check("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok").await;
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok").await;
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
        .await;
    check("HTTP/1.1 42 Odd\r\nContent-Length: 2\r\n\r\nok").await;
    check("SSH-2.0-OpenSSH\r\n\r\n").await;
}

#[tokio::test]
async fn the_framing_of_an_answer_is_stated_once() {
    let check = async |answer: &'static str, length: Option<&str>, coding: Option<&str>| {
        let gateway = start(&[odd(answer).await]).await;
        let mut client = Client::connect(gateway.address).await;
        client.send(gateway.get("/odd", "")).await;
        let answered = client.answer().await;
        assert_eq!(answered.header("content-length").as_deref(), length, "{answer:?}");
        assert_eq!(answered.header("transfer-encoding").as_deref(), coding, "{answer:?}");
        assert!(answered.head.starts_with("HTTP/1.1 "), "{}", answered.head);
    };
    check("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", Some("2"), None).await;
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        Some("2"),
        None,
    )
    .await;
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        None,
        Some("chunked"),
    )
    .await;
    check("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", None, None).await;
    check("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", Some("2"), None).await;
}

#[tokio::test]
async fn an_answer_to_head_is_in_our_version_and_has_no_body() {
    let gateway = start(&[odd("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n").await]).await;
    let mut client = Client::connect(gateway.address).await;
    client.send(gateway.get("/odd", "").replace("GET", "HEAD")).await;
    let answer = client.answer_to("HEAD").await;
    assert!(answer.head.starts_with("HTTP/1.1 200 "), "{}", answer.head);
    assert_eq!(answer.header("content-length").as_deref(), Some("2"));
}

#[tokio::test]
async fn early_hints_pass_without_what_is_ours_or_the_hops() {
    let upstream = answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nX-Request-ID: forged\r\nConnection: x-private\r\n\
         X-Private: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Request-ID: forged\r\n\r\nok",
    )
    .await;
    let gateway = start(&[upstream.address]).await;
    let mut client = Client::connect(gateway.address).await;
    client.send(gateway.get("/", "")).await;
    let hints = client.head().await;
    assert!(hints.starts_with("HTTP/1.1 103 "), "{hints}");
    assert_eq!(
        crate::client::header(&hints, "link").as_deref(),
        Some("</a.css>; rel=preload")
    );
    for name in ["x-request-id", "connection", "x-private"] {
        assert_eq!(crate::client::header(&hints, name), None, "{name}");
    }
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    assert!(!answer.head.contains("forged"), "{}", answer.head);
}

#[tokio::test]
async fn a_stalled_upload_is_not_blamed_on_the_upstream() {
    let gateway = start_with(&[odd(OK).await], |setup| {
        setup.routes[0].read_timeout = Duration::from_millis(300);
        setup.gateway.body_timeout = Duration::from_secs(5);
    })
    .await;
    let stalled = gateway.get("/", "Content-Length: 10\r\n") + "half";
    let answer = ask(gateway.address, stalled).await;
    assert_eq!((answer.status, answer.reason().as_str()), (408, "request_timeout"));
    // A slow but steady one takes as long as it needs.
    let mut client = Client::connect(gateway.address).await;
    client.send(gateway.get("/", "Content-Length: 8\r\n")).await;
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.send("x").await;
    }
    assert_eq!(client.answer().await.status, 200);
}
