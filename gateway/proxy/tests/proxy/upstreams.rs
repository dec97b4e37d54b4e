//! An upstream that is away costs nobody a request while another one is there.

use crate::client::{Client, ask};
use crate::gateway::{start, start_with};
use crate::upstream::{nobody, serving, upstream};
use portcullis_config::settings;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[tokio::test]
async fn requests_go_round() {
    let (first, second) = (upstream().await, upstream().await);
    let gateway = start(&[first.address, second.address]).await;
    for _ in 0..6 {
        assert_eq!(ask(gateway.address, gateway.get("/", "")).await.status, 200);
    }
    assert_eq!((first.requests().len(), second.requests().len()), (3, 3));
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_is_passed_over() {
    let there = upstream().await;
    let gateway = start(&[nobody().await, there.address, nobody().await]).await;
    for index in 0..6 {
        // Nothing was sent, so that even what must not be done twice may go elsewhere.
        let request = gateway.get("/", "Content-Length: 4\r\n").replace("GET", "POST") + "body";
        assert_eq!(ask(gateway.address, request).await.status, 200, "request {index}");
    }
    assert_eq!(there.requests().len(), 6);
    assert!(there.requests().iter().all(|received| received.body == b"body"));
}

#[tokio::test]
async fn without_any_upstream_there_is_a_502() {
    let gateway = start(&[nobody().await, nobody().await]).await;
    let answer = ask(gateway.address, gateway.get("/", "")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (502, "upstream_unreachable"));
    assert!(gateway.metric("portcullis_upstream_errors_total{kind=\"connect_refused\"} 2"));
}

#[tokio::test]
async fn an_upstream_that_stays_silent_is_a_504() {
    let silent = serving(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let gateway = start_with(&[silent], |setup| {
        setup.routes[0].read_timeout = Duration::from_millis(200)
    })
    .await;
    let answer = ask(gateway.address, gateway.get("/", "")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (504, "upstream_timeout"));
}

#[tokio::test]
async fn what_was_sent_and_must_not_be_done_twice_is_not_sent_again() {
    let other = upstream().await;
    let hangs_up = serving(|stream| async move {
        let mut stream = Client::over(stream);
        stream.head().await;
    })
    .await;
    let gateway = start(&[hangs_up, other.address]).await;
    let answer = ask(gateway.address, gateway.get("/", "").replace("GET", "POST")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (502, "upstream_unreachable"));
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_meanwhile_is_replaced() {
    let address = serving(|stream| async move {
        let mut stream = Client::over(stream);
        let _ = crate::upstream::next(&mut stream).await;
        stream.send(crate::upstream::OK).await;
    })
    .await;
    let gateway = start(&[address]).await;
    for _ in 0..20 {
        assert_eq!(ask(gateway.address, gateway.get("/", "")).await.status, 200);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off() {
    let address = serving(|stream| async move {
        let mut stream = Client::over(stream);
        stream.head().await;
        stream.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
    })
    .await;
    let gateway = start(&[address]).await;
    let mut client = Client::connect(gateway.address).await;
    client.send(gateway.get("/", "")).await;
    assert!(client.head().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(client.rest().await, b"half");
}

#[tokio::test]
async fn a_name_is_resolved() {
    let there = upstream().await;
    let gateway = start_with(&[there.address], |setup| {
        setup.routes[0].upstreams[0].host = "localhost".to_owned()
    })
    .await;
    assert_eq!(ask(gateway.address, gateway.get("/", "")).await.status, 200);
    let gateway = start_with(&[there.address], |setup| {
        setup.routes[0].upstreams[0].host = "no-such-name.invalid".to_owned();
    })
    .await;
    assert_eq!(ask(gateway.address, gateway.get("/", "")).await.status, 502);
}

fn certificate(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/certificates")
        .join(file)
}

/// An upstream that speaks TLS, and how many requests reached it.
async fn tls_upstream() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    use rustls::pki_types::pem::PemObject;
    let chain = vec![rustls::pki_types::CertificateDer::from_pem_file(certificate("server.pem")).unwrap()];
    let key = rustls::pki_types::PrivateKeyDer::from_pem_file(certificate("server.key")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = pingora_core::tls::TlsAcceptor::from(Arc::new(config));
    let address = serving(move |stream| {
        let (acceptor, counted) = (acceptor.clone(), Arc::clone(&counted));
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                let mut stream = Client::over(stream);
                stream.head().await;
                counted.fetch_add(1, Ordering::SeqCst);
                stream.send(crate::upstream::OK).await;
            }
        }
    })
    .await;
    (address, seen)
}

#[tokio::test]
async fn the_certificate_of_an_upstream_is_verified() {
    let check = async |host: &str, authorities: Option<&str>, status: u16| {
        let (upstream, seen) = tls_upstream().await;
        let gateway = start_with(&[upstream], |setup| {
            setup.routes[0].upstreams = vec![settings::Upstream {
                tls: true,
                host: host.to_owned(),
                port: upstream.port(),
            }];
            setup.routes[0].upstream_ca = authorities.map(certificate);
        })
        .await;
        let answer = ask(gateway.address, gateway.get("/", "")).await;
        assert_eq!(answer.status, status, "{host} {authorities:?}");
        let arrived = usize::from(status == 200);
        assert_eq!(seen.load(Ordering::SeqCst), arrived, "{host} {authorities:?}");
    };
    check("localhost", Some("authority.pem"), 200).await;
    check("127.0.0.1", Some("authority.pem"), 200).await;
    // Right authority, wrong name; unknown authority.
    check("127.0.0.2", Some("authority.pem"), 502).await;
    check("localhost", None, 502).await;
    check("127.0.0.1", None, 502).await;
}
