use super::{Attempts, UpstreamPool};
use portcullis_config::settings::{Route, Upstream};
use portcullis_verify::Moment;
use std::net::SocketAddr;

fn pool(hosts: &[&str]) -> UpstreamPool {
    let upstreams = hosts
        .iter()
        .map(|host| Upstream {
            tls: true,
            host: (*host).to_owned(),
            port: 443,
        })
        .collect();
    UpstreamPool::compile(&Route {
        upstreams,
        ..Route::default()
    })
    .unwrap()
}

fn at(seconds: u64) -> Moment {
    Moment {
        monotonic_us: seconds * 1_000_000,
        wall_us: 0,
    }
}

async fn next(pool: &UpstreamPool, attempts: &mut Attempts, now: Moment) -> Option<SocketAddr> {
    pool.next(attempts, now)
        .await
        .and_then(|peer| peer._address.as_inet().copied())
}

/// The hosts that one request is sent to, if none of them takes it.
async fn order(pool: &UpstreamPool, now: Moment) -> Vec<String> {
    let mut attempts = Attempts::default();
    let mut tried = Vec::new();
    while let Some(address) = next(pool, &mut attempts, now).await {
        tried.push(address.ip().to_string());
    }
    tried
}

#[tokio::test]
async fn each_request_starts_at_the_next_and_tries_all() {
    let pool = pool(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    assert_eq!(order(&pool, at(0)).await, ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    assert_eq!(order(&pool, at(0)).await, ["10.0.0.2", "10.0.0.3", "10.0.0.1"]);
    assert_eq!(order(&pool, at(0)).await, ["10.0.0.3", "10.0.0.1", "10.0.0.2"]);
    assert_eq!(order(&pool, at(0)).await, ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
}

#[tokio::test]
async fn an_unreachable_upstream_is_tried_last_for_a_while() {
    let pool = pool(&["10.0.0.1", "10.0.0.2"]);
    let mut attempts = Attempts::default();
    assert_eq!(
        next(&pool, &mut attempts, at(10))
            .await
            .map(|address| address.to_string())
            .as_deref(),
        Some("10.0.0.1:443")
    );
    assert!(attempts.has_alternative());
    pool.unreachable(&attempts, at(10));
    assert_eq!(order(&pool, at(11)).await, ["10.0.0.2", "10.0.0.1"]);
    assert_eq!(order(&pool, at(11)).await, ["10.0.0.2", "10.0.0.1"]);
    assert_eq!(order(&pool, at(13)).await, ["10.0.0.2", "10.0.0.1"]);
    assert_eq!(order(&pool, at(13)).await, ["10.0.0.1", "10.0.0.2"]);
}

#[tokio::test]
async fn an_attempt_can_be_repeated() {
    let pool = pool(&["10.0.0.1", "10.0.0.2"]);
    let mut attempts = Attempts::default();
    let first = next(&pool, &mut attempts, at(0)).await;
    attempts.repeat();
    assert_eq!(next(&pool, &mut attempts, at(0)).await, first);
    assert_ne!(next(&pool, &mut attempts, at(0)).await, first);
    assert!(!attempts.has_alternative());
    assert_eq!(next(&pool, &mut attempts, at(0)).await, None);
}

#[tokio::test]
async fn the_certificate_is_compared_with_the_host() {
    for (host, name) in [
        ("example.com", "example.com"),
        ("10.0.0.1", "10.0.0.1"),
        ("[::1]", "::1"),
    ] {
        let peer = pool(&[host]);
        let template = &peer.upstreams[0].template;
        assert_eq!(template.sni, name);
        assert!(template.options.verify_cert && template.options.verify_hostname);
    }
}

#[test]
fn a_file_without_certificates_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for content in [
        "",
        "nonsense",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        std::fs::write(file.path(), content).unwrap();
        let route = Route {
            upstream_ca: Some(file.path().to_owned()),
            ..Route::default()
        };
        assert!(UpstreamPool::compile(&route).is_err(), "{content:?}");
    }
}
