//! A connection is kept while it is of use, cut when it is slow on purpose, and left in order when the gateway stops.

use crate::client::{Client, ask};
use crate::gateway::{eventually, start, start_with};
use crate::upstream::{answering, serving, upstream};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;

#[tokio::test]
async fn connections_are_kept_on_both_sides() {
    let upstream = upstream().await;
    let gateway = start(&[upstream.address]).await;
    let mut client = Client::connect(gateway.address).await;
    let chunked = gateway.get("/", "Transfer-Encoding: chunked\r\n") + "2\r\nhi\r\n0\r\n\r\n";
    let counted = gateway.get("/", "Content-Length: 2\r\n") + "hi";
    let plain = gateway.get("/", "");
    for request in [&plain, &chunked, &counted, &chunked, &plain] {
        client.send(request).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    }
    // One for the plain requests, one for those that go through pingora.
    assert_eq!((upstream.requests().len(), upstream.connections()), (5, 2));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let upstream = upstream().await;
    let gateway = start(&[upstream.address]).await;
    let mut client = Client::connect(gateway.address).await;
    let post = gateway.get("/2", "Content-Length: 4\r\n") + "body";
    client
        .send(gateway.get("/1", "") + &post + "\r\n" + &gateway.get("/3", ""))
        .await;
    for _ in 0..3 {
        assert_eq!(client.answer().await.status, 200);
    }
    let lines: Vec<String> = upstream
        .requests()
        .iter()
        .map(|received| received.line().to_owned())
        .collect();
    assert_eq!(lines, ["GET /1 HTTP/1.1", "GET /2 HTTP/1.1", "GET /3 HTTP/1.1"]);
}

#[tokio::test]
async fn a_connection_ends_after_so_many_requests() {
    let gateway = start_with(&[upstream().await.address], |setup| {
        setup.gateway.keepalive_requests = 2
    })
    .await;
    let mut client = Client::connect(gateway.address).await;
    client.send(gateway.get("/", "")).await;
    assert_eq!(
        client.answer().await.header("connection").as_deref(),
        Some("keep-alive")
    );
    client.send(gateway.get("/", "")).await;
    assert_eq!(client.answer().await.header("connection").as_deref(), Some("close"));
    assert!(client.rest().await.is_empty());
}

#[tokio::test]
async fn a_client_may_ask_for_the_end() {
    let gateway = start(&[upstream().await.address]).await;
    let mut client = Client::connect(gateway.address).await;
    client.send(gateway.get("/", "Connection: close\r\n")).await;
    assert_eq!(client.answer().await.header("connection").as_deref(), Some("close"));
    assert!(client.rest().await.is_empty());
}

#[tokio::test]
async fn a_head_that_trickles_is_cut_at_the_deadline() {
    let gateway = start_with(&[upstream().await.address], |setup| {
        setup.gateway.header_timeout = Duration::from_millis(500);
    })
    .await;
    let (mut reader, mut writer) = TcpStream::connect(gateway.address).await.unwrap().into_split();
    let trickle = tokio::spawn(async move {
        // Each byte restarts a timeout per read; the total does not wait for them.
        for byte in b"GET / HTTP/1.1\r\nHost: a\r\nX: "
            .iter()
            .chain(std::iter::repeat_n(&b'x', 1000))
        {
            if writer.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut received = Vec::new();
    let closed = tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut received);
    let _ = tokio::time::timeout(Duration::from_secs(5), closed)
        .await
        .expect("the connection is cut");
    assert!(
        received.starts_with(b"HTTP/1.1 408 "),
        "{}",
        String::from_utf8_lossy(&received)
    );
    trickle.abort();
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let gateway = start_with(&[upstream().await.address], |setup| {
        setup.gateway.header_timeout = Duration::from_millis(200);
        setup.gateway.keepalive_timeout = Duration::from_millis(300);
    })
    .await;
    let mut silent = Client::connect(gateway.address).await;
    assert!(silent.rest().await.is_empty());
    let mut used = Client::connect(gateway.address).await;
    used.send(gateway.get("/", "")).await;
    assert_eq!(used.answer().await.status, 200);
    assert!(used.rest().await.is_empty());
}

#[tokio::test]
async fn a_body_that_stops_arriving_ends_the_request() {
    let gateway = start_with(&[upstream().await.address], |setup| {
        setup.gateway.body_timeout = Duration::from_millis(300);
    })
    .await;
    let answer = ask(gateway.address, gateway.get("/", "Content-Length: 10\r\n") + "half").await;
    assert_eq!((answer.status, answer.reason().as_str()), (408, "request_timeout"));
}

#[tokio::test]
async fn further_connections_wait_while_all_are_busy_and_replace_idle_ones() {
    let (arrived, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = slow(&arrived, &go_on).await;
    let gateway = start_with(&[slow], |setup| setup.gateway.connections_max = 1).await;
    let mut first = Client::connect(gateway.address).await;
    first.send(gateway.get("/", "")).await;
    arrived.notified().await;
    let mut second = Client::connect(gateway.address).await;
    second.send(gateway.get("/", "")).await;
    assert!(
        tokio::time::timeout(Duration::from_millis(300), arrived.notified())
            .await
            .is_err()
    );
    go_on.notify_one();
    assert_eq!(first.answer().await.status, 200);
    arrived.notified().await;
    go_on.notify_one();
    assert_eq!(second.answer().await.status, 200);
    assert!(first.rest().await.is_empty(), "it was idle, and made room");
}

#[tokio::test]
async fn an_address_has_so_many_connections_at_once() {
    let gateway = start_with(&[upstream().await.address], |setup| {
        setup.gateway.connections_per_address_max = 1;
    })
    .await;
    let mut first = Client::connect(gateway.address).await;
    first.send(gateway.get("/", "")).await;
    assert_eq!(first.answer().await.status, 200);
    let mut second = Client::connect(gateway.address).await;
    assert!(second.rest().await.is_empty(), "one too many");
    first.send(gateway.get("/", "")).await;
    assert_eq!(first.answer().await.status, 200);
}

#[tokio::test]
async fn a_body_that_drips_is_refused_though_it_is_never_silent() {
    let gateway = start_with(&[upstream().await.address], |setup| {
        setup.gateway.body_timeout = Duration::from_millis(300);
    })
    .await;
    let mut client = Client::connect(gateway.address).await;
    client.send(gateway.get("/", "Content-Length: 1000\r\n")).await;
    let mut drops = tokio::time::interval(Duration::from_millis(100));
    let head = loop {
        tokio::select! {
            head = client.head() => break head,
            _ = drops.tick() => {}
        }
        client.send("a").await;
    };
    assert!(head.starts_with("HTTP/1.1 408"), "{head}");
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_shown_out() {
    for fast_path in [true, false] {
        let endless = serving(|stream| async move {
            let mut stream = Client::over(stream);
            stream.head().await;
            stream
                .send("HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")
                .await;
            while stream.stream.write_all(&[b'a'; 64 * 1024]).await.is_ok() {}
        })
        .await;
        let gateway = start_with(&[endless], |setup| {
            setup.gateway.fast_path = fast_path;
            setup.gateway.body_timeout = Duration::from_millis(300);
            setup.gateway.keepalive_timeout = Duration::from_millis(300);
        })
        .await;
        let mut client = Client::connect(gateway.address).await;
        client.send(gateway.get("/", "")).await;
        assert!(client.head().await.starts_with("HTTP/1.1 200 "));
        eventually("it is shown out", || {
            gateway.metric("portcullis_connections_turned_away_total{reason=\"slow_reader\"} 1")
        })
        .await;
        // Reset, so that what the kernel still held for it is given up.
        eventually("it is told", || {
            let error = client.stream.take_error().unwrap();
            error.is_some_and(|error| error.kind() == ErrorKind::ConnectionReset)
        })
        .await;
    }
}

#[tokio::test]
async fn old_clients_are_answered_as_they_understand() {
    let chunked = answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
    let gateway = start(&[chunked.address]).await;
    let request = gateway.get("/", "").replace("HTTP/1.1", "HTTP/1.0");
    let answer = ask(gateway.address, request).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    assert_eq!(answer.header("transfer-encoding"), None);
    assert_eq!(answer.header("connection").as_deref(), Some("close"));
}

/// An upstream that says when a request has arrived, and answers when it is told to.
async fn slow(arrived: &Arc<Notify>, go_on: &Arc<Notify>) -> SocketAddr {
    let (arrived, go_on) = (Arc::clone(arrived), Arc::clone(go_on));
    serving(move |stream| {
        let (arrived, go_on) = (Arc::clone(&arrived), Arc::clone(&go_on));
        async move {
            let mut stream = Client::over(stream);
            while crate::upstream::next(&mut stream).await.is_some() {
                arrived.notify_one();
                go_on.notified().await;
                stream.send(crate::upstream::OK).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_drain_finishes_what_is_under_way_and_closes_the_rest() {
    let (arrived, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = slow(&arrived, &go_on).await;
    let mut gateway = start(&[slow]).await;
    let mut idle = Client::connect(gateway.address).await;
    idle.send(gateway.get("/", "")).await;
    arrived.notified().await;
    go_on.notify_one();
    assert_eq!(idle.answer().await.status, 200);
    let mut busy = Client::connect(gateway.address).await;
    busy.send(gateway.get("/", "")).await;
    arrived.notified().await;

    gateway.stop.cancel();
    assert!(idle.rest().await.is_empty(), "an idle connection is closed at once");
    assert!(!gateway.running.is_finished(), "a request is still under way");
    go_on.notify_one();
    let answer = busy.answer().await;
    assert_eq!(
        (answer.status, answer.header("connection").as_deref()),
        (200, Some("close"))
    );
    let running = &mut gateway.running;
    tokio::time::timeout(Duration::from_secs(5), running)
        .await
        .expect("the drain ends")
        .unwrap();
    assert!(
        TcpStream::connect(gateway.address).await.is_err(),
        "nothing is accepted any more"
    );
}

#[tokio::test]
async fn a_drain_does_not_wait_for_ever() {
    let silent = serving(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let mut gateway = start_with(&[silent], |setup| {
        setup.gateway.drain_timeout = Duration::from_millis(300)
    })
    .await;
    let mut client = Client::connect(gateway.address).await;
    client.send(gateway.get("/", "")).await;
    eventually("the request", || gateway.metric("portcullis_requests_in_flight 1")).await;
    gateway.stop.cancel();
    let running = &mut gateway.running;
    tokio::time::timeout(Duration::from_secs(5), running)
        .await
        .expect("the drain ends")
        .unwrap();
    assert!(gateway.metric("portcullis_requests_in_flight 0"));
    assert!(gateway.metric("portcullis_connections{surface=\"proxy\"} 0"));
}

#[tokio::test]
async fn a_client_that_leaves_is_counted_and_let_go() {
    let silent = serving(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let gateway = start(&[silent]).await;
    let mut client = Client::connect(gateway.address).await;
    client.send(gateway.get("/", "")).await;
    eventually("the request", || gateway.metric("portcullis_requests_in_flight 1")).await;
    drop(client);
    eventually("the end of the request", || {
        gateway.metric("portcullis_requests_in_flight 0")
    })
    .await;
    assert!(gateway.metric("portcullis_proxied_seconds_count{class=\"4xx\"} 1"));
}
