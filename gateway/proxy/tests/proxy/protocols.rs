//! What a listener can ask for besides plain HTTP/1.1: TLS, HTTP/2, the PROXY protocol.

use crate::client::Client;
use crate::gateway::{Gateway, Setup, start_with};
use crate::upstream::{Upstream, upstream};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pingora_core::tls::{ClientTlsStream, TlsConnector};
use portcullis_config::settings::ListenerTls;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

async fn gateway(adjust: impl FnOnce(&mut Setup)) -> (Gateway, Upstream) {
    let upstream = upstream().await;
    let gateway = start_with(&[upstream.address], adjust).await;
    (gateway, upstream)
}

fn certificate(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/certificates")
        .join(file)
}

fn with_tls(setup: &mut Setup) {
    setup.gateway.listen[0].tls = Some(ListenerTls {
        cert: certificate("server.pem"),
        key: certificate("server.key"),
    });
}

async fn tls(stream: TcpStream, protocol: &str) -> ClientTlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(certificate("authority.pem")).unwrap())
        .unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap()
}

type Body = http_body_util::Either<Empty<Bytes>, Full<Bytes>>;

async fn http2(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> SendRequest<Body> {
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

/// Three requests over one HTTP/2 connection: one that passes, one with a body, one without a key.
async fn speak_http2(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, key: &str) {
    let mut sender = http2(stream).await;
    let request = |method: &str, authorization: Option<&str>, body| {
        let mut builder = hyper::Request::builder()
            .method(method)
            .uri("http://example.com/h2?x=1");
        if let Some(key) = authorization {
            builder = builder.header("authorization", format!("Bearer {key}"));
        }
        builder.header("X-Wacht-Key-ID", "forged").body(body).unwrap()
    };
    let empty = || http_body_util::Either::Left(Empty::new());
    let answer = sender.send_request(request("GET", Some(key), empty())).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().contains_key("ratelimit"));
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
    let body = http_body_util::Either::Right(Full::from("a body"));
    assert_eq!(
        sender
            .send_request(request("POST", Some(key), body))
            .await
            .unwrap()
            .status(),
        200
    );
    let refused = sender.send_request(request("GET", None, empty())).await.unwrap();
    assert_eq!(refused.status(), 403);
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["reason"], "key_missing");
}

fn check_http2(upstream: &Upstream, scheme: &str) {
    let requests = upstream.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].line(), "GET /h2?x=1 HTTP/1.1");
    assert_eq!(requests[1].body, b"a body");
    for received in requests {
        assert_eq!(received.header("host").as_deref(), Some("example.com"));
        assert_eq!(received.header("x-forwarded-proto").as_deref(), Some(scheme));
        assert_eq!(received.header("x-wacht-key-id").as_deref(), Some("1"));
        assert_eq!(received.header("authorization"), None);
    }
}

#[tokio::test]
async fn tls_carries_http1() {
    let (gateway, upstream) = gateway(with_tls).await;
    let mut client = Client::over(tls(TcpStream::connect(gateway.address).await.unwrap(), "http/1.1").await);
    for _ in 0..2 {
        client.send(gateway.get("/", "")).await;
        assert_eq!(client.answer().await.status, 200);
    }
    assert_eq!(
        upstream.requests()[0].header("x-forwarded-proto").as_deref(),
        Some("https")
    );
}

#[tokio::test]
async fn tls_carries_http2() {
    let (gateway, upstream) = gateway(with_tls).await;
    speak_http2(
        tls(TcpStream::connect(gateway.address).await.unwrap(), "h2").await,
        &gateway.key,
    )
    .await;
    check_http2(&upstream, "https");
}

#[tokio::test]
async fn a_listener_may_take_http2_with_prior_knowledge_beside_http1() {
    let (gateway, upstream) = gateway(|setup| setup.gateway.listen[0].h2c = true).await;
    speak_http2(TcpStream::connect(gateway.address).await.unwrap(), &gateway.key).await;
    check_http2(&upstream, "http");
    assert_eq!(
        crate::client::ask(gateway.address, gateway.get("/", "")).await.status,
        200
    );
}

#[tokio::test]
async fn a_failure_over_http2_ends_its_stream_only() {
    let gateway = start_with(&[crate::upstream::nobody().await], |setup| {
        setup.gateway.listen[0].h2c = true
    })
    .await;
    let mut sender = http2(TcpStream::connect(gateway.address).await.unwrap()).await;
    for _ in 0..2 {
        let request = hyper::Request::builder()
            .uri("http://example.com/")
            .header("x-api-key", &gateway.key)
            .body(Body::Left(Empty::new()))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 502);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["reason"], "upstream_unreachable");
    }
}

#[tokio::test]
async fn idle_http2_connections_do_not_hold_up_a_drain() {
    let (mut gateway, _upstream) = gateway(|setup| setup.gateway.listen[0].h2c = true).await;
    let mut sender = http2(TcpStream::connect(gateway.address).await.unwrap()).await;
    let request = hyper::Request::builder()
        .uri("http://example.com/")
        .body(Body::Left(Empty::new()))
        .unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 403);
    gateway.stop.cancel();
    let running = &mut gateway.running;
    tokio::time::timeout(Duration::from_secs(3), running)
        .await
        .expect("the drain ends")
        .unwrap();
}

#[tokio::test]
async fn idle_http2_connections_are_closed() {
    let (gateway, _upstream) = gateway(|setup| {
        setup.gateway.listen[0].h2c = true;
        setup.gateway.keepalive_timeout = Duration::from_millis(300);
    })
    .await;
    let _sender = http2(TcpStream::connect(gateway.address).await.unwrap()).await;
    let open = "portcullis_connections{surface=\"proxy\"} 1";
    let closed = "portcullis_connections{surface=\"proxy\"} 0";
    crate::gateway::eventually("the connection", || gateway.metric(open)).await;
    crate::gateway::eventually("its end", || gateway.metric(closed)).await;
}

#[tokio::test]
async fn without_being_asked_a_listener_takes_no_http2() {
    let (gateway, _) = gateway(|_| {}).await;
    let mut client = Client::connect(gateway.address).await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
}

#[tokio::test]
async fn the_proxy_protocol_names_the_client() {
    let v2 = |command: u8, family: u8, payload: &[u8]| {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        header.extend([0x20 | command, family]);
        header.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        header.extend(payload);
        header
    };
    let v4 = [203, 0, 113, 9, 10, 0, 0, 1, 0x1f, 0x90, 0, 80];
    let mut v6 = vec![0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    v6.extend([0; 16]);
    v6.extend([0x1f, 0x90, 0, 80]);
    let with_extra: Vec<u8> = v4.iter().copied().chain([4, 0, 1, 0]).collect();
    let check = async |header: &[u8], client: &str| {
        let (gateway, upstream) = gateway(|setup| setup.gateway.listen[0].proxy_protocol = true).await;
        let request = [header, gateway.get("/", "X-Forwarded-For: 6.6.6.6\r\n").as_bytes()].concat();
        assert_eq!(crate::client::ask(gateway.address, request).await.status, 200);
        assert_eq!(upstream.only().header("x-forwarded-for").as_deref(), Some(client));
    };
    check(b"PROXY TCP4 203.0.113.9 10.0.0.1 8080 80\r\n", "203.0.113.9").await;
    check(b"PROXY TCP6 2001:db8::7 ::1 8080 80\r\n", "2001:db8::7").await;
    check(b"PROXY UNKNOWN\r\n", "127.0.0.1").await;
    check(&v2(1, 0x11, &v4), "203.0.113.9").await;
    check(&v2(1, 0x11, &with_extra), "203.0.113.9").await;
    check(&v2(1, 0x21, &v6), "2001:db8::7").await;
    check(&v2(0, 0, &[]), "127.0.0.1").await;
}

#[tokio::test]
async fn the_proxy_protocol_comes_before_tls() {
    let (gateway, upstream) = gateway(|setup| {
        with_tls(setup);
        setup.gateway.listen[0].proxy_protocol = true;
    })
    .await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"PROXY TCP4 203.0.113.9 10.0.0.1 8080 80\r\n")
        .await
        .unwrap();
    let mut client = Client::over(tls(stream, "http/1.1").await);
    client.send(gateway.get("/", "")).await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(
        upstream.only().header("x-forwarded-for").as_deref(),
        Some("203.0.113.9")
    );
}

#[tokio::test]
async fn a_connection_without_the_header_that_was_asked_for_is_closed() {
    for start in ["", "PROXY TCP4 nonsense\r\n", "PROXY TCP4 203.0.113.9 ::1 8080 80\r\n"] {
        let (gateway, upstream) = gateway(|setup| setup.gateway.listen[0].proxy_protocol = true).await;
        let mut client = Client::connect(gateway.address).await;
        client.send(format!("{start}{}", gateway.get("/", ""))).await;
        assert!(client.rest().await.is_empty(), "{start:?}");
        assert!(upstream.requests().is_empty());
    }
}

#[tokio::test]
async fn the_proxy_protocol_is_believed_from_trusted_proxies_where_some_are_named() {
    let check = async |trusted: &str, client: &str| {
        let (gateway, upstream) = gateway(|setup| {
            setup.gateway.listen[0].proxy_protocol = true;
            setup.gateway.trusted_proxies = vec![trusted.parse().unwrap()];
        })
        .await;
        let request = format!("PROXY TCP4 203.0.113.9 10.0.0.1 8080 80\r\n{}", gateway.get("/", ""));
        assert_eq!(crate::client::ask(gateway.address, request).await.status, 200);
        assert_eq!(
            upstream.only().header("x-forwarded-for").as_deref(),
            Some(client),
            "{trusted}"
        );
    };
    check("127.0.0.0/8", "203.0.113.9").await;
    check("192.0.2.0/24", "127.0.0.1").await;
}

#[tokio::test]
async fn a_caller_of_an_ipv6_listener_that_has_an_ipv4_address_is_known_by_that() {
    let (gateway, upstream) = gateway(|setup| {
        setup.gateway.listen[0].address = "[::ffff:127.0.0.1]:0".parse().unwrap();
        setup.gateway.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let forwarded = gateway.get("/", "X-Forwarded-For: 192.0.2.7\r\n");
    assert_eq!(crate::client::ask(gateway.address, forwarded).await.status, 200);
    assert_eq!(
        upstream.only().header("x-forwarded-for").as_deref(),
        Some("192.0.2.7, 127.0.0.1")
    );
}
