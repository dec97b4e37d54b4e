//! Callers are told where they stand with their limits, and are stopped where these end.

use crate::client::ask;
use crate::gateway::{start, start_with};
use crate::upstream::upstream;

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
