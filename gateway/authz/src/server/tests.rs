use super::*;
use crate::fixture::{Api, CHECK, LOOK_UPS_MAX, Reply, Setup, check_request};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn question(value: &str) -> Value {
    json!({"principal": {"type": "api_key", "value": value}, "resource": "/", "method": "GET"})
}

/// Everything at once, for the tests that wait for the server's patience to end.
fn impatient() -> Patience {
    let soon = Duration::from_millis(60);
    Patience {
        first_head: soon,
        body: soon,
        keepalive: soon,
        goodbye: soon,
    }
}

/// Far longer than any of the above, far shorter than a test that hangs.
const LONG: Duration = Duration::from_secs(20);

/// What comes until the server closes; fails if it does not.
async fn until_closed(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A connection that is cut may end in a reset; what came before counts.
    let _cut = timeout(LONG, stream.read_to_end(&mut bytes))
        .await
        .expect("the server never closed");
    String::from_utf8(bytes).unwrap()
}

fn head(content_length: usize) -> String {
    format!(
        "POST {CHECK} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {content_length}\r\n\r\n"
    )
}

const CONNECTIONS: &str = "portcullis_connections{surface=\"authz\"}";

#[tokio::test]
async fn one_connection_takes_many_requests() {
    let api = Setup::default().start().await;
    let secret = api.keys.issue(|_| {});
    let io = TokioIo::new(api.connect().await);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    let connection = tokio::spawn(connection);
    for left in (990..1_000).rev() {
        let request = check_request(question(secret.expose()).to_string());
        let reply = Reply::read(sender.send_request(request).await.unwrap()).await;
        assert_eq!(reply.json()["rate_limits"][0]["remaining"], left);
    }
    assert_eq!(api.metric(CONNECTIONS), 1);
    connection.abort();
    api.until_metric(CONNECTIONS, 0).await;
}

#[tokio::test]
async fn http2_is_understood_without_asking() {
    let api = Setup::default().start().await;
    let secret = api.keys.issue(|_| {});
    let sender = api.http2().await;
    let requests = (0..20).map(|_| {
        let (mut sender, body) = (sender.clone(), question(secret.expose()).to_string());
        tokio::spawn(async move {
            let mut request = check_request(body);
            *request.uri_mut() = format!("http://authz{CHECK}").parse().unwrap();
            request.headers_mut().remove("host");
            Reply::read(sender.send_request(request).await.unwrap()).await
        })
    });
    let mut remaining = Vec::new();
    for request in requests.collect::<Vec<_>>() {
        remaining.push(
            request.await.unwrap().json()["rate_limits"][0]["remaining"]
                .as_u64()
                .unwrap(),
        );
    }
    remaining.sort_unstable();
    assert_eq!(
        remaining,
        (980..1_000).collect::<Vec<_>>(),
        "each stream was charged once"
    );
    assert_eq!(api.metric(CONNECTIONS), 1);
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut() {
    let api = Setup {
        patience: impatient(),
        ..Setup::default()
    }
    .start()
    .await;
    for start in [
        "",
        "P",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\n",
    ] {
        let mut stream = api.connect().await;
        stream.write_all(start.as_bytes()).await.unwrap();
        assert_eq!(until_closed(&mut stream).await, "", "{start:?}");
    }
    api.until_metric(CONNECTIONS, 0).await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_408() {
    let api = Setup {
        patience: Patience {
            body: impatient().body,
            ..Patience::default()
        },
        ..Setup::default()
    }
    .start()
    .await;
    let mut stream = api.connect().await;
    stream.write_all(head(10).as_bytes()).await.unwrap();
    stream.write_all(b"{").await.unwrap();
    let answer = until_closed(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("\"reason\":\"request_timeout\""), "{answer}");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let patience = Patience {
        first_head: LONG,
        body: LONG,
        ..impatient()
    };
    let api = Setup {
        patience,
        ..Setup::default()
    }
    .start()
    .await;
    let mut stream = api.connect().await;
    let body = question("junk").to_string();
    stream
        .write_all(format!("{}{body}", head(body.len())).as_bytes())
        .await
        .unwrap();
    assert!(until_closed(&mut stream).await.starts_with("HTTP/1.1 401 "));

    let sender = api.http2().await;
    timeout(LONG, async {
        while !sender.is_closed() {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .expect("an idle HTTP/2 connection was kept");
    api.until_metric(CONNECTIONS, 0).await;
}

#[tokio::test]
async fn a_request_under_way_is_not_idleness() {
    let patience = Patience {
        first_head: LONG,
        body: LONG,
        ..impatient()
    };
    let api = Setup {
        patience,
        ..Setup::default()
    }
    .start()
    .await;
    let secret = api.keys.issue(|_| {});
    let held = hold_look_ups(&api).await;
    let mut sender = api.http2().await;
    let mut request = check_request(question(secret.expose()).to_string());
    *request.uri_mut() = format!("http://authz{CHECK}").parse().unwrap();
    request.headers_mut().remove("host");
    let reply = tokio::spawn(async move { Reply::read(sender.send_request(request).await.unwrap()).await });
    api.until_metric("portcullis_requests_in_flight", 1).await;
    // Several times as long as an idle connection may live.
    sleep(impatient().keepalive * 5).await;
    drop(held);
    assert_eq!(reply.await.unwrap().json()["allowed"], true);
}

#[tokio::test]
async fn connections_past_the_limit_wait_their_turn() {
    let api = Setup {
        connections_max: 1,
        ..Setup::default()
    }
    .start()
    .await;
    let first = api.connect().await;
    api.until_metric(CONNECTIONS, 1).await;
    let body = question("junk").to_string();
    let mut second = api.connect().await;
    second
        .write_all(format!("{}{body}", head(body.len())).as_bytes())
        .await
        .unwrap();
    let waiting = timeout(Duration::from_millis(100), second.read_u8()).await;
    assert!(waiting.is_err(), "the second connection was served beside the first");
    drop(first);
    assert_eq!(timeout(LONG, second.read_u8()).await.unwrap().unwrap(), b'H');
}

/// Keeps every look-up waiting until the guard is dropped.
async fn hold_look_ups(api: &Api) -> tokio::sync::SemaphorePermit<'_> {
    api.keys
        .gate
        .acquire_many(u32::try_from(LOOK_UPS_MAX).unwrap())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_drain_finishes_what_is_under_way_and_takes_nothing_new() {
    let mut api = Setup::default().start().await;
    let secret = api.keys.issue(|_| {});
    let mut idle = api.connect().await;
    api.until_metric(CONNECTIONS, 1).await;
    let mut busy = api.connect().await;
    let held = hold_look_ups(&api).await;
    let body = question(secret.expose()).to_string();
    busy.write_all(format!("{}{body}", head(body.len())).as_bytes())
        .await
        .unwrap();
    api.until_metric("portcullis_requests_in_flight", 1).await;

    api.shutdown.cancel();
    assert_eq!(until_closed(&mut idle).await, "");
    let refused = async {
        while TcpStream::connect(api.address).await.is_ok() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(LONG, refused)
        .await
        .expect("a draining server took a new connection");
    assert!(!api.running.is_finished());
    drop(held);
    let answer = until_closed(&mut busy).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"allowed\":true"),
        "{answer}"
    );
    timeout(LONG, &mut api.running)
        .await
        .expect("the drain never ended")
        .unwrap();
}

#[tokio::test]
async fn a_drain_that_takes_too_long_is_cut() {
    let mut api = Setup {
        drain_timeout: Duration::from_millis(50),
        ..Setup::default()
    }
    .start()
    .await;
    let secret = api.keys.issue(|_| {});
    let held = hold_look_ups(&api).await;
    let mut busy = api.connect().await;
    let body = question(secret.expose()).to_string();
    busy.write_all(format!("{}{body}", head(body.len())).as_bytes())
        .await
        .unwrap();
    api.until_metric("portcullis_requests_in_flight", 1).await;
    api.shutdown.cancel();
    assert_eq!(until_closed(&mut busy).await, "");
    drop(held);
    timeout(LONG, &mut api.running)
        .await
        .expect("the drain never ended")
        .unwrap();
    assert_eq!(
        (api.metric(CONNECTIONS), api.metric("portcullis_requests_in_flight")),
        (0, 0)
    );
}

#[tokio::test]
async fn too_many_header_fields_are_refused() {
    let api = Setup::default().start().await;
    for fields in [
        (0..HEAD_FIELDS_MAX + 1)
            .map(|n| format!("x-{n}: y\r\n"))
            .collect::<String>(),
        format!("x: {}\r\n", "y".repeat(HEAD_BYTES_MAX)),
    ] {
        let mut stream = api.connect().await;
        stream
            .write_all(format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n").as_bytes())
            .await
            .unwrap();
        assert!(until_closed(&mut stream).await.starts_with("HTTP/1.1 431 "));
    }
}
