use super::*;
use crate::message::{Recorded, USAGE};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use portcullis_record::usage::{UsageOutcome, UsageRow};
use portcullis_verify::KeyId;
use std::convert::Infallible;
use tokio::net::TcpListener;

type Received = Arc<Mutex<Vec<(Method, String, String, UsageBatch)>>>;

/// A control API that answers every report like this, and the reports it got.
async fn control(status: u16, body: String) -> (String, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let received = Received::default();
    let noted = Arc::clone(&received);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (noted, body) = (Arc::clone(&noted), body.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (noted, body) = (Arc::clone(&noted), body.clone());
                async move {
                    let (head, sent) = request.into_parts();
                    let sent = sent.collect().await.unwrap().to_bytes();
                    noted.lock().push((
                        head.method,
                        head.uri.path().to_owned(),
                        head.headers["authorization"].to_str().unwrap().to_owned(),
                        serde_json::from_slice(&sent).unwrap(),
                    ));
                    let mut answer = Response::new(Full::new(Bytes::from(body)));
                    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
                    Ok::<_, Infallible>(answer)
                }
            });
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (url, received)
}

fn batch() -> UsageBatch {
    UsageBatch {
        batch_id: "0123456789abcdef0123456789abcdef".into(),
        rows: vec![UsageRow {
            key_id: KeyId(7),
            minute: 30_000_000,
            outcome: UsageOutcome::RateLimited("per_key-60s".into()),
            count: 3,
            last_at_us: 1_800_000_000_000_001,
        }],
    }
}

fn recorded(is_new: bool) -> String {
    serde_json::to_string(&Recorded { is_new }).unwrap()
}

#[derive(Debug, PartialEq, Eq)]
enum Means {
    Done,
    Again,
    Never,
}

async fn send(url: &str) -> Means {
    let sink = ControlUsageSink::new(Arc::new(Link::new(url, "pgw_test").unwrap()));
    match sink.send(&batch()).await {
        Ok(()) => Means::Done,
        Err(SinkError::Unanswered(_)) => Means::Again,
        Err(SinkError::Refused(_)) => Means::Never,
    }
}

async fn check(status: u16, body: String, expect: Means) {
    let (url, received) = control(status, body.clone()).await;
    assert_eq!(send(&url).await, expect, "{status} {body}");
    let received = received.lock();
    assert_eq!(
        *received,
        [(Method::POST, USAGE.to_owned(), "Bearer pgw_test".to_owned(), batch())],
        "{status} {body}"
    );
}

#[tokio::test]
async fn a_recorded_batch_is_done_with_whether_it_was_new_or_not() {
    for is_new in [true, false] {
        check(200, recorded(is_new), Means::Done).await;
    }
}

#[tokio::test]
async fn a_batch_that_would_fail_in_the_same_way_again_is_not_sent_again() {
    for status in [400, 413, 422] {
        check(status, "{}".into(), Means::Never).await;
    }
}

#[tokio::test]
async fn whatever_may_pass_is_a_reason_to_send_again() {
    for status in [401, 403, 404, 405, 408, 429, 500, 502, 503, 504] {
        check(status, "{}".into(), Means::Again).await;
    }
    // Something answered, and what it did is not known.
    check(200, "not JSON".into(), Means::Again).await;
}

#[tokio::test]
async fn nobody_there_is_a_reason_to_send_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(send(&url).await, Means::Again);
}
