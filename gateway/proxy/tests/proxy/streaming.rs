//! Bodies pass as they arrive, in both directions, and tunnels carry anything once the upstream agreed.

use crate::client::Client;
use crate::gateway::start;
use crate::upstream::serving;
use futures_util::{SinkExt, StreamExt};
use std::sync::Arc;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

#[tokio::test]
async fn an_upload_is_seen_before_it_is_complete() {
    let arrived = Arc::new(Notify::new());
    let tell = Arc::clone(&arrived);
    let address = serving(move |stream| {
        let tell = Arc::clone(&tell);
        async move {
            let mut stream = Client::over(stream);
            stream.head().await;
            assert_eq!(stream.chunk().await, b"first");
            tell.notify_one();
            assert_eq!(stream.chunk().await, b"second");
            assert!(stream.chunk().await.is_empty());
            stream.send(crate::upstream::OK).await;
        }
    })
    .await;
    let gateway = start(&[address]).await;
    let mut client = Client::connect(gateway.address).await;
    client.send(gateway.get("/", "Transfer-Encoding: chunked\r\n")).await;
    client.send("5\r\nfirst\r\n").await;
    arrived.notified().await;
    client.send("6\r\nsecond\r\n0\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn a_download_is_seen_before_it_is_complete() {
    let go_on = Arc::new(Notify::new());
    let wait = Arc::clone(&go_on);
    let address = serving(move |stream| {
        let wait = Arc::clone(&wait);
        async move {
            let mut stream = Client::over(stream);
            stream.head().await;
            stream
                .send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            stream.send("5\r\nfirst\r\n").await;
            wait.notified().await;
            stream.send("6\r\nsecond\r\n0\r\n\r\n").await;
        }
    })
    .await;
    let gateway = start(&[address]).await;
    let mut client = Client::connect(gateway.address).await;
    client.send(gateway.get("/", "")).await;
    assert!(client.head().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(client.chunk().await, b"first");
    go_on.notify_one();
    assert_eq!(client.chunk().await, b"second");
    assert!(client.chunk().await.is_empty());
}

#[tokio::test]
async fn large_bodies_arrive_whole_both_ways() {
    let address = serving(|stream| async move {
        let mut stream = Client::over(stream);
        while let Some(received) = crate::upstream::next(&mut stream).await {
            stream
                .send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                    received.body.len()
                ))
                .await;
            stream.send(received.body).await;
        }
    })
    .await;
    let gateway = start(&[address]).await;
    let mut client = Client::connect(gateway.address).await;
    for length in [1, 2047, 2048, 65_536, 1_000_001] {
        let body: String = (0..length)
            .map(|index| char::from(b'a' + u8::try_from(index % 26).unwrap()))
            .collect();
        client
            .send(gateway.get("/", &format!("Content-Length: {length}\r\n")))
            .await;
        client.send(&body).await;
        let answer = client.answer().await;
        assert!(answer.body == body, "{length} bytes came back as {}", answer.body.len());
    }
}

#[tokio::test]
async fn a_continue_is_passed_on_and_the_body_follows() {
    let address = serving(|stream| async move {
        let mut stream = Client::over(stream);
        stream.head().await;
        stream.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        assert_eq!(stream.exactly(4).await, b"body");
        stream.send(crate::upstream::OK).await;
    })
    .await;
    let gateway = start(&[address]).await;
    let mut client = Client::connect(gateway.address).await;
    client
        .send(gateway.get("/", "Expect: 100-continue\r\nContent-Length: 4\r\n"))
        .await;
    assert!(client.head().await.starts_with("HTTP/1.1 100 "));
    client.send("body").await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn a_websocket_works_end_to_end() {
    let address = serving(|stream| async move {
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                socket.send(message).await.unwrap();
            }
        }
    })
    .await;
    let gateway = start(&[address]).await;
    let url = format!("ws://{}/socket", gateway.address);
    let refused = tokio_tungstenite::connect_async(url.as_str()).await;
    assert!(refused.is_err(), "without a key");
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("x-api-key", gateway.key.parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    for text in ["one", "two", &"long ".repeat(20_000)] {
        socket.send(Message::text(text)).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(text));
    }
    socket.close(None).await.unwrap();
}

#[tokio::test]
async fn data_sent_with_the_handshake_reaches_the_tunnel_after_it() {
    let address = serving(|stream| async move {
        let mut stream = Client::over(stream);
        stream.head().await;
        stream
            .send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            .await;
        let early = stream.exactly(5).await;
        stream.send(early).await;
    })
    .await;
    let gateway = start(&[address]).await;
    let mut client = Client::connect(gateway.address).await;
    client
        .send(gateway.get("/", "Connection: Upgrade\r\nUpgrade: websocket\r\n") + "early")
        .await;
    assert_eq!(client.answer().await.status, 101);
    assert_eq!(client.exactly(5).await, b"early");
}
