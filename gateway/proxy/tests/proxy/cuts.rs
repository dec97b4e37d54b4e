//! What a key no longer opens ends: streams at once, everything else once it is old enough, and nothing of anybody else's.

use crate::client::Client;
use crate::gateway::{Gateway, Setup, eventually, get_with, start_with};
use crate::upstream::serving;
use http_body_util::{BodyExt, Empty, combinators::BoxBody};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_verify::KeyRecord;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Older than anything here becomes.
const NOT_IN_THIS_TEST: Duration = Duration::from_secs(3600);

/// An upstream whose answers do not end: `/socket` is a tunnel that echoes, `/events` and `/download` begin and wait for
/// `go_on`, `/silent` does not begin, and `/upload` takes a body and never answers.
async fn endless(go_on: &CancellationToken) -> SocketAddr {
    let go_on = go_on.clone();
    serving(move |stream| {
        let go_on = go_on.clone();
        async move {
            let mut stream = Client::over(stream);
            let head = stream.head().await;
            let path = head.split(' ').nth(1).unwrap();
            match path {
                "/socket" => {
                    stream
                        .send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
                        .await;
                    let (mut reader, mut writer) = stream.stream.split();
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                }
                "/events" | "/download" => {
                    let media_type = match path {
                        "/events" => "Text/Event-Stream; charset=utf-8",
                        _ => "application/octet-stream",
                    };
                    stream
                        .send(format!(
                            "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
                        ))
                        .await;
                    go_on.cancelled().await;
                    stream.send("4\r\nlast\r\n0\r\n\r\n").await;
                }
                _ => {
                    let _ = tokio::io::copy(&mut stream.stream, &mut tokio::io::sink()).await;
                }
            }
        }
    })
    .await
}

async fn gateway(go_on: &CancellationToken, adjust: impl FnOnce(&mut Setup)) -> Gateway {
    start_with(&[endless(go_on).await], |setup| {
        setup.gateway.cut_streams_after = Some(NOT_IN_THIS_TEST);
        adjust(setup);
    })
    .await
}

/// A tunnel that works.
async fn socket(gateway: &Gateway, key: &str) -> Client {
    let mut client = Client::connect(gateway.address).await;
    client
        .send(get_with(
            key,
            "/socket",
            "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        ))
        .await;
    assert_eq!(client.answer().await.status, 101);
    echoes(&mut client).await;
    client
}

async fn echoes(socket: &mut Client) {
    socket.send("echo").await;
    assert_eq!(socket.exactly(4).await, b"echo");
}

/// A chunked answer that has begun.
async fn answer(gateway: &Gateway, path: &str) -> Client {
    let mut client = Client::connect(gateway.address).await;
    client.send(gateway.get(path, "")).await;
    assert!(client.head().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(client.chunk().await, b"first");
    client
}

/// Waits until so many requests were admitted.
async fn admitted(gateway: &Gateway, requests: u32) {
    let line = format!("portcullis_decisions_total{{outcome=\"allowed\",surface=\"proxy\"}} {requests}");
    eventually("all are under way", || gateway.metric(&line)).await;
}

/// Waits until the connection is closed, with nothing more on it.
async fn is_cut(client: &mut Client) {
    assert_eq!(client.rest().await, b"");
}

/// Opens a tunnel with a key that `end` puts an end to, and one with another key.
async fn check_end(setup: impl FnOnce(&mut Setup), end: impl FnOnce(&mut KeyRecord)) {
    let gateway = gateway(&CancellationToken::new(), setup).await;
    let mut ended = socket(&gateway, &gateway.key).await;
    let mut other = socket(&gateway, &gateway.issue(|_| {})).await;
    gateway.change(&gateway.key, end);
    is_cut(&mut ended).await;
    echoes(&mut other).await;
    eventually("the cut is counted", || {
        gateway.metric("portcullis_streams_cut_total 1")
    })
    .await;
}

#[tokio::test]
async fn however_a_key_ends_its_tunnels_end_and_no_others() {
    check_end(|_| {}, |key| key.revoked_at_us = Some(0)).await;
    check_end(|_| {}, |key| key.app.is_active = false).await;
    check_end(|_| {}, |key| key.app.slug = "other".to_owned()).await;
    let needs_write = |setup: &mut Setup| setup.routes[0].permissions = vec!["write".parse().unwrap()];
    check_end(needs_write, |key| key.permissions = vec!["read".to_owned()]).await;
    check_end(
        |_| {},
        |key| {
            let in_a_moment_us = portcullis_verify::Clock::system().now().wall_us + 300_000;
            key.revoked_at_us = Some(in_a_moment_us);
        },
    )
    .await;
}

/// No change tells of an expiry.
#[tokio::test]
async fn a_tunnel_ends_when_its_key_expires() {
    let gateway = gateway(&CancellationToken::new(), |_| {}).await;
    let clock = portcullis_verify::Clock::system();
    let expires_at_us = clock.now().wall_us + 500_000;
    let key = gateway.issue(|key| key.expires_at_us = Some(expires_at_us));
    let mut socket = socket(&gateway, &key).await;
    is_cut(&mut socket).await;
    assert!(clock.now().wall_us >= expires_at_us);
}

#[tokio::test]
async fn event_streams_end_at_any_age_and_young_requests_finish() {
    let go_on = CancellationToken::new();
    let gateway = gateway(&go_on, |_| {}).await;
    let mut events = answer(&gateway, "/events").await;
    let mut download = answer(&gateway, "/download").await;
    let mut upload = Client::connect(gateway.address).await;
    upload
        .send(
            gateway.get(
                "/upload",
                "Content-Type: Application/gRPC+proto\r\nContent-Length: 9\r\n",
            ) + "half",
        )
        .await;
    admitted(&gateway, 3).await;
    gateway.revoke(&gateway.key);
    is_cut(&mut events).await;
    is_cut(&mut upload).await;
    go_on.cancel();
    assert_eq!(download.chunk().await, b"last");
    assert!(download.chunk().await.is_empty());
    assert!(gateway.metric("portcullis_streams_cut_total 2"));
    eventually("every request ends", || {
        gateway.metric("portcullis_requests_in_flight 0")
    })
    .await;
    assert!(
        gateway.metric("portcullis_proxied_seconds_count{class=\"2xx\"} 2"),
        "one that was cut is recorded with what was answered"
    );
    assert!(gateway.metric("portcullis_proxied_seconds_count{class=\"4xx\"} 1"));
}

#[tokio::test]
async fn whatever_is_old_enough_ends() {
    let gateway = gateway(&CancellationToken::new(), |setup| {
        setup.gateway.cut_streams_after = Some(Duration::from_millis(200));
    })
    .await;
    let mut download = answer(&gateway, "/download").await;
    let mut upload = Client::connect(gateway.address).await;
    upload
        .send(gateway.get("/upload", "Content-Length: 9\r\n") + "half")
        .await;
    let mut unanswered = Client::connect(gateway.address).await;
    unanswered.send(gateway.get("/silent", "")).await;
    admitted(&gateway, 3).await;
    gateway.revoke(&gateway.key);
    for client in [&mut download, &mut upload, &mut unanswered] {
        is_cut(client).await;
    }
}

#[tokio::test]
async fn nothing_is_cut_for_what_is_not_known() {
    let gateway = gateway(&CancellationToken::new(), |_| {}).await;
    let mut socket = socket(&gateway, &gateway.key).await;
    gateway.keys.is_away.store(true, std::sync::atomic::Ordering::Relaxed);
    gateway.revoke(&gateway.key);
    eventually("the source is asked in vain, twice", || {
        gateway.verifier.stats().fill_errors >= 2
    })
    .await;
    echoes(&mut socket).await;
    gateway.keys.is_away.store(false, std::sync::atomic::Ordering::Relaxed);
    is_cut(&mut socket).await;
}

#[tokio::test]
async fn nothing_is_cut_where_it_is_switched_off() {
    let go_on = CancellationToken::new();
    let lenient = gateway(&go_on, |setup| setup.gateway.cut_streams_after = None).await;
    let strict = gateway(&go_on, |_| {}).await;
    let mut stays = socket(&lenient, &lenient.key).await;
    let mut ends = socket(&strict, &strict.key).await;
    lenient.revoke(&lenient.key);
    strict.revoke(&strict.key);
    is_cut(&mut ends).await;
    echoes(&mut stays).await;
}

type Body = BoxBody<Bytes, Infallible>;

async fn http2(gateway: &Gateway) -> SendRequest<Body> {
    let stream = TokioIo::new(TcpStream::connect(gateway.address).await.unwrap());
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

fn request(key: &str, path: &str, media_type: &str) -> hyper::Request<Body> {
    hyper::Request::builder()
        .uri(format!("http://example.com{path}"))
        .header("x-api-key", key)
        .header("content-type", media_type)
        .body(Empty::new().boxed())
        .unwrap()
}

async fn next_data(body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
    let frame = tokio::time::timeout(Duration::from_secs(10), body.frame())
        .await
        .expect("a frame in time")?;
    Some(frame.map(|frame| frame.into_data().unwrap()))
}

#[tokio::test]
async fn a_stream_of_http2_ends_alone() {
    let go_on = CancellationToken::new();
    let gateway = gateway(&go_on, |setup| setup.gateway.listen[0].h2c = true).await;
    let other = gateway.issue(|_| {});
    let mut connection = http2(&gateway).await;
    let mut begin = async |key: &str| {
        let answer = connection.send_request(request(key, "/events", "text/plain"));
        let mut body = answer.await.unwrap().into_body();
        assert_eq!(next_data(&mut body).await.unwrap().unwrap(), "first");
        body
    };
    let mut ended = begin(&gateway.key).await;
    let stays = begin(&other).await;
    // gRPC, and not answered yet.
    let unanswered = connection.send_request(request(&gateway.key, "/silent", "application/grpc"));
    let unanswered = tokio::spawn(unanswered);
    admitted(&gateway, 3).await;
    gateway.revoke(&gateway.key);
    assert!(next_data(&mut ended).await.unwrap().is_err(), "reset, not ended");
    let error = tokio::time::timeout(Duration::from_secs(10), unanswered)
        .await
        .expect("an ending in time")
        .unwrap()
        .unwrap_err();
    assert!(!error.is_closed(), "{error:?}: its connection goes on");
    go_on.cancel();
    assert_eq!(stays.collect().await.unwrap().to_bytes(), "last");
    let answer = connection.send_request(request(&gateway.key, "/events", "text/plain"));
    assert_eq!(answer.await.unwrap().status(), 403, "the connection can be used");
}
