//! Callers are told where they stand with their limits, and are stopped where these end.

use crate::client::ask;
use crate::gateway::{start, start_with};
use crate::upstream::{answering, upstream};

#[tokio::test]
async fn an_admitted_request_is_told_what_is_left() {
    let gateway = start(&[upstream().await.address]).await;
    let answer = ask(gateway.address, gateway.get("/", "")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("ratelimit-policy").as_deref(),
        Some("\"per_key-60s\";q=100;w=60")
    );
    assert_eq!(answer.header("ratelimit").as_deref(), Some("\"per_key-60s\";r=99;t=17"));
    assert_eq!(answer.header("retry-after"), None);
}

#[tokio::test]
async fn the_request_after_the_last_is_refused() {
    let upstream = upstream().await;
    let gateway = start_with(&[upstream.address], |setup| setup.allowance = 1).await;
    assert_eq!(ask(gateway.address, gateway.get("/", "")).await.status, 200);
    let answer = ask(gateway.address, gateway.get("/", "")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (429, "rate_limited"));
    assert_eq!(answer.header("retry-after").as_deref(), Some("17"));
    assert_eq!(answer.header("ratelimit").as_deref(), Some("\"per_key-60s\";r=0;t=17"));
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn the_older_headers_come_where_they_are_asked_for_and_the_upstreams_own_do_not() {
    const OLD: [&str; 3] = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"];
    for legacy_headers in [false, true] {
        let upstream = answering(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nRateLimit: forged\r\nX-RateLimit-Limit: 9\r\n\
             X-RateLimit-Remaining: 8\r\nX-RateLimit-Reset: 1700000000\r\nX-RateLimit-Limit-Day: 9\r\n\r\nok",
        )
        .await;
        let gateway = start_with(&[upstream.address], |setup| {
            setup.allowance = 1;
            setup.legacy_headers = legacy_headers;
        })
        .await;
        let (admitted, refused) = match legacy_headers {
            false => ([Some("9"), Some("8"), Some("1700000000")], [None; 3]),
            true => (
                [Some("100"), Some("0"), Some("17")],
                [Some("100"), Some("0"), Some("17")],
            ),
        };
        for (status, expect) in [(200, admitted), (429, refused)] {
            let answer = ask(gateway.address, gateway.get("/", "")).await;
            assert_eq!(answer.status, status);
            let found = OLD.map(|name| answer.header(name));
            assert_eq!(found, expect.map(|value| value.map(str::to_owned)), "{}", answer.head);
            for name in OLD {
                let count = answer.head.to_lowercase().matches(&format!("\r\n{name}: ")).count();
                assert!(count <= 1, "{}", answer.head);
            }
            assert!(answer.header("ratelimit").is_some_and(|value| value != "forged"));
            let theirs_passes = status == 200 && !legacy_headers;
            assert_eq!(answer.header("x-ratelimit-limit-day").is_some(), theirs_passes);
        }
    }
}
