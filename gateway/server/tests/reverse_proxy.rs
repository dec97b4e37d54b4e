//! The promise that a good request passes as if nothing stood in between, but for what the contract adds and takes away.

mod support;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use support::upstream::Upstream;
use support::{Server, client, eventually, raw, route};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_upstream_is_told_who_asks_and_never_sees_the_key() {
    let upstream = Upstream::start().await;
    let server = Server::start(&route(upstream.address, &["internal-api"])).await;
    let api = server.api();
    let app =
        json!({"permissions": ["users:read", "users:write", "admin"], "organization_id": 77, "workspace_id": "88"});
    let app = api.app_with("internal-api", app).await;
    let key = json!({"name": "Grüße 100%", "permissions": ["users:write", "users:read"], "owner_user_id": "42",
        "metadata": {"plan": "pro", "city": "Zürich"}});
    let key = api.key_with("internal-api", key).await;
    let answer = client()
        .post(server.url("/v1/users?x=1&y=%20"))
        .bearer_auth(&key.secret)
        .header("x-custom", "kept")
        .body("payload")
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status().as_u16(), 200);
    assert!(answer.headers().contains_key("ratelimit-policy"));
    assert_eq!(answer.text().await.expect("a body"), "ok");

    let seen = upstream.last();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("POST", "/v1/users?x=1&y=%20")
    );
    assert_eq!(&seen.body[..], b"payload");
    for (name, expected) in [
        ("x-wacht-key-id", key.id.as_str()),
        ("x-wacht-deployment-id", app["deployment_id"].as_str().expect("an id")),
        ("x-wacht-app-slug", "internal-api"),
        ("x-wacht-key-name", "Gr%C3%BC%C3%9Fe 100%25"),
        ("x-wacht-owner-user-id", "42"),
        ("x-wacht-organization-id", "77"),
        ("x-wacht-workspace-id", "88"),
        ("x-wacht-permissions", "users:read,users:write"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-custom", "kept"),
        ("host", &server.proxy.to_string()),
        ("x-forwarded-host", &server.proxy.to_string()),
    ] {
        assert_eq!(seen.header(name), Some(expected), "{name}");
    }
    let metadata = seen.header("x-wacht-metadata").expect("metadata");
    assert!(metadata.is_ascii());
    let metadata: Value = serde_json::from_str(metadata).expect("JSON");
    assert_eq!(metadata, json!({"plan": "pro", "city": "Zürich"}));
    assert!(seen.header("authorization").is_none());

    // What is null is left out.
    let plain = api.key("internal-api").await;
    client()
        .get(server.url("/"))
        .header("X-API-Key", &plain.secret)
        .send()
        .await
        .expect("an answer");
    let seen = upstream.last();
    assert!(seen.header("x-wacht-owner-user-id").is_none());
    assert!(seen.header("x-api-key").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_the_shape_of_the_contract_and_tell_a_stranger_nothing() {
    let upstream = Upstream::start().await;
    let config = format!(
        "{0}[[routes]]\npath = \"/challenge\"\nupstreams = [\"http://{1}\"]\napps = [\"api\"]\nchallenge = true\n\
         [[routes]]\npath = \"/admin\"\nupstreams = [\"http://{1}\"]\napps = [\"api\"]\npermissions = [\"admin OR root\", \"read\"]\n",
        route(upstream.address, &["api"]),
        upstream.address
    );
    let server = Server::start(&config).await;
    let api = server.api();
    api.app_with(
        "api",
        json!({"resources": ["open/*", "admin/*", "challenge/*", "admin", "challenge"]}),
    )
    .await;
    api.app("foreign").await;
    let reader = api.key_with("api", json!({"permissions": ["read"]})).await;
    let admin = api.key_with("api", json!({"permissions": ["read", "root"]})).await;
    let foreign = api.key("foreign").await;
    let revoked = api.key("api").await;
    api.revoke("api", &revoked.id).await;
    let unknown = portcullis_verify::Secret::generate("sk").expect("randomness");

    let client = client();
    let mut invalid_bodies = std::collections::BTreeSet::new();
    for (path, key, status, reason) in [
        ("/open/x", None, 403, "key_missing"),
        ("/challenge", None, 401, "key_missing"),
        ("/challenge", Some("junk"), 403, "key_invalid"),
        ("/open/x", Some("junk"), 403, "key_invalid"),
        ("/open/x", Some(unknown.expose()), 403, "key_invalid"),
        ("/open/x", Some(&revoked.secret), 403, "key_invalid"),
        ("/open/x", Some(&foreign.secret), 403, "key_invalid"),
        ("/closed/x", Some(&reader.secret), 403, "resource_denied"),
        ("/openx", Some(&reader.secret), 403, "resource_denied"),
        ("/admin/x", Some(&reader.secret), 403, "permission_denied"),
    ] {
        let mut request = client.get(server.url(path));
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{path} {reason}");
        assert_eq!(answer.headers()["content-type"], "application/json");
        let challenged = answer
            .headers()
            .get("www-authenticate")
            .map(|value| value.to_str().expect("ASCII").to_owned());
        assert_eq!(challenged.is_some(), status == 401, "{challenged:?}");
        let mut body: Value = answer.json().await.expect("JSON");
        assert_eq!(body["reason"], reason, "{path}: {body}");
        assert_eq!(body["message"], body["errors"][0]["message"]);
        assert!(
            body["errors"][0]["code"].is_u64() && body["request_id"].is_string(),
            "{body}"
        );
        body["request_id"] = Value::Null;
        if reason == "key_invalid" {
            invalid_bodies.insert(body.to_string());
        }
    }
    assert_eq!(
        invalid_bodies.len(),
        1,
        "why a key is not good is nobody's business: {invalid_bodies:?}"
    );
    assert_eq!(upstream.count(), 0);
    let answer = client
        .get(server.url("/admin/x"))
        .bearer_auth(&admin.secret)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status().as_u16(), 200);
    // The true reason is the operator's.
    for (key, reason) in [
        (unknown.expose(), "key_unknown"),
        (&revoked.secret, "key_revoked"),
        ("junk", "key_malformed"),
    ] {
        assert_eq!(
            api.must("POST", "/api-auth/verify", Some(json!({"key": key}))).await["reason"],
            reason
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_and_longest_prefixes_choose_the_route() {
    let (any, wild, exact, deep) = (
        Upstream::named("any").await,
        Upstream::named("wild").await,
        Upstream::named("exact").await,
        Upstream::named("deep").await,
    );
    let one = |host: &str, path: &str, upstream: &Upstream| {
        format!(
            "[[routes]]\nhost = \"{host}\"\npath = \"{path}\"\nupstreams = [\"http://{}\"]\napps = [\"api\"]\n",
            upstream.address
        )
    };
    let config = one("*", "/", &any)
        + &one("*.example.com", "/", &wild)
        + &one("api.example.com", "/", &exact)
        + &one("*", "/v1", &deep);
    let server = Server::start(&config).await;
    let api = server.api();
    api.app("api").await;
    let key = api.key("api").await;
    let client = client();
    for (host, path, expected) in [
        ("other.org", "/x", "any"),
        ("other.org", "/v1", "deep"),
        ("other.org", "/v1/x", "deep"),
        ("other.org", "/v1x", "any"),
        ("a.example.com", "/x", "wild"),
        ("a.b.example.com", "/x", "wild"),
        ("example.com", "/x", "any"),
        ("api.example.com:7080", "/x", "exact"),
        ("API.EXAMPLE.COM", "/x", "exact"),
    ] {
        let request = client
            .get(server.url(path))
            .header("host", host)
            .bearer_auth(&key.secret);
        let answer = request.send().await.expect("an answer").text().await.expect("a body");
        assert_eq!(answer, expected, "{host}{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_upstreams_take_turns_and_a_dead_one_costs_no_request() {
    let (a, b, dead) = (
        Upstream::named("a").await,
        Upstream::named("b").await,
        free_port().await,
    );
    let config = format!(
        "[[routes]]\nupstreams = [\"http://{}\", \"http://{dead}\", \"http://{}\"]\napps = [\"api\"]\n",
        a.address, b.address
    );
    let server = Server::start(&config).await;
    let api = server.api();
    api.app("api").await;
    let key = api.key("api").await;
    let client = client();
    for n in 0..30 {
        let answer = client
            .post(server.url("/"))
            .bearer_auth(&key.secret)
            .body(format!("body {n}"))
            .send()
            .await;
        assert_eq!(answer.expect("an answer").status().as_u16(), 200);
    }
    assert_eq!(a.count() + b.count(), 30, "each request arrives once");
    assert!(a.count() >= 10 && b.count() >= 10, "{} and {}", a.count(), b.count());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_is_away_or_silent_is_told_apart() {
    let away = free_port().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let breaks = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let config = format!(
        "[[routes]]\npath = \"/away\"\nupstreams = [\"http://{away}\"]\napps = [\"api\"]\n\
         [[routes]]\npath = \"/silent\"\nupstreams = [\"http://{}\"]\napps = [\"api\"]\nread_timeout = \"300ms\"\n\
         [[routes]]\npath = \"/breaks\"\nupstreams = [\"http://{}\"]\napps = [\"api\"]\n",
        silent.local_addr().expect("an address"),
        breaks.local_addr().expect("an address")
    );
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = breaks.accept().await {
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
        }
    });
    let server = Server::start(&config).await;
    let api = server.api();
    api.app("api").await;
    let key = api.key("api").await;
    for (path, status, reason) in [
        ("/away", 502, "upstream_unreachable"),
        ("/silent", 504, "upstream_timeout"),
        ("/breaks", 502, "upstream_unreachable"),
    ] {
        let answer = client()
            .get(server.url(path))
            .bearer_auth(&key.secret)
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{path}");
        let body: Value = answer.json().await.expect("JSON");
        assert_eq!(body["reason"], reason, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_kept_alive_on_both_sides() {
    // An upstream that counts its connections.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let connections = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while let Ok(1..) = stream.read_buf(&mut seen).await {
                    while let Some(end) = seen.windows(4).position(|w| w == b"\r\n\r\n") {
                        seen.drain(..end + 4);
                        let _ = stream
                            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                            .await;
                    }
                }
            });
        }
    });
    let server = Server::start(&route(address, &["api"])).await;
    let api = server.api();
    api.app("api").await;
    let key = api.key("api").await;
    let mut stream = TcpStream::connect(server.proxy).await.expect("connected");
    for n in 0..20 {
        // A refusal in between must not cost the connection either.
        let secret = if n % 5 == 4 { "junk" } else { key.secret.as_str() };
        let request = format!("GET /{n} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let answer = read_one(&mut stream).await;
        assert_eq!(raw::status(&answer), if n % 5 == 4 { 403 } else { 200 }, "{answer}");
    }
    assert_eq!(
        connections.load(std::sync::atomic::Ordering::SeqCst),
        1,
        "one upstream connection served all"
    );
}

/// Reads one answer with a `Content-Length`.
async fn read_one(stream: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    loop {
        let n = tokio::time::timeout(support::PATIENCE, stream.read_buf(&mut seen))
            .await
            .expect("in time")
            .expect("read");
        assert!(n > 0, "closed after {:?}", String::from_utf8_lossy(&seen));
        let text = String::from_utf8_lossy(&seen).into_owned();
        let Some(end) = text.find("\r\n\r\n") else { continue };
        let length = text[..end]
            .to_lowercase()
            .lines()
            .find_map(|l| l.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if seen.len() >= end + 4 + length.expect("a length") {
            return text;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_stream_both_ways_without_being_gathered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = Server::start(&route(listener.local_addr().expect("an address"), &["api"])).await;
    let api = server.api();
    api.app("api").await;
    let key = api.key("api").await;
    let mut down = TcpStream::connect(server.proxy).await.expect("connected");
    let head = format!(
        "POST /stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
        key.secret
    );
    down.write_all(head.as_bytes()).await.expect("sent");
    let (mut up, _) = listener
        .accept()
        .await
        .expect("the request arrives before its body is complete");
    let mut seen = Vec::new();
    until(&mut up, &mut seen, "first").await;
    // The answer begins before the request ends, and each part arrives as it is sent.
    up.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nearl\r\n")
        .await
        .expect("sent");
    let mut got = Vec::new();
    until(&mut down, &mut got, "earl").await;
    down.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await.expect("sent");
    until(&mut up, &mut seen, "second").await;
    up.write_all(b"4\r\nlate\r\n0\r\n\r\n").await.expect("sent");
    until(&mut down, &mut got, "late").await;
}

async fn until(stream: &mut TcpStream, seen: &mut Vec<u8>, wanted: &str) {
    while !String::from_utf8_lossy(seen).contains(wanted) {
        let n = tokio::time::timeout(support::PATIENCE, stream.read_buf(seen))
            .await
            .expect("in time")
            .expect("read");
        assert!(n > 0, "closed before `{wanted}`: {:?}", String::from_utf8_lossy(seen));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_arrive_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let echo = std::process::Command::new(support::binary())
        .args(["echo", "--listen", &free_port().await.to_string()])
        .stdout(std::process::Stdio::piped())
        .spawn();
    drop(listener);
    let mut echo = echo.expect("the echo starts");
    let mut line = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(echo.stdout.as_mut().expect("piped")),
        &mut line,
    )
    .expect("a line");
    let echo_address: SocketAddr = line
        .trim()
        .rsplit('/')
        .next()
        .expect("an address")
        .parse()
        .expect("an address");
    assert_ne!(echo_address, address);
    let server = Server::start(&route(echo_address, &["api"])).await;
    let api = server.api();
    api.app("api").await;
    let key = api.key("api").await;
    let body = "0123456789abcdef".repeat(50_000);
    let answer = client()
        .put(server.url("/big"))
        .bearer_auth(&key.secret)
        .body(body.clone())
        .send()
        .await
        .expect("an answer");
    let seen: Value = answer.json().await.expect("JSON");
    let _ = echo.kill();
    let _ = echo.wait();
    assert_eq!(seen["body_bytes"], body.len());
    assert_eq!(seen["body"], body);
    assert_eq!((&seen["method"], &seen["target"]), (&json!("PUT"), &json!("/big")));
}

/// An upstream next door can grant the upgrade before the proxy has done with the request: the tunnel must not end there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_that_is_granted_at_once_stays_open() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while !seen.windows(4).any(|w| w == b"\r\n\r\n") {
                    if stream.read_buf(&mut seen).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let granted = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
                let _ = stream.write_all(granted.as_bytes()).await;
                let (mut reader, mut writer) = stream.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
    let server = Server::start(&route(address, &["api"])).await;
    let api = server.api();
    api.scheme(
        "s",
        json!([{"unit": "second", "duration": 1, "max_requests": 1_000_000}]),
    )
    .await;
    api.app_with("api", json!({"rate_limit_scheme_slug": "s"})).await;
    let key = api.key("api").await;
    let mut tunnels = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (to, secret) = (server.proxy, key.secret.clone());
        tunnels.spawn(async move {
            for n in 0..60 {
                let mut stream = TcpStream::connect(to).await.expect("connected");
                let head = format!(
                    "GET /socket HTTP/1.1\r\nHost: x\r\nX-API-Key: {secret}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).await.expect("sent");
                let mut seen = Vec::new();
                until(&mut stream, &mut seen, "\r\n\r\n").await;
                assert!(seen.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&seen));
                for word in ["first", "second"] {
                    stream.write_all(word.as_bytes()).await.unwrap_or_else(|e| panic!("tunnel {n}, {word}: {e}"));
                    until(&mut stream, &mut seen, word).await;
                }
            }
        });
    }
    tunnels.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_pass_with_a_key_and_do_not_without() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else {
                    return;
                };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() && socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let server = Server::start(&route(address, &["api"])).await;
    let api = server.api();
    api.app("api").await;
    let key = api.key("api").await;
    let request = |secret: &str| {
        use tokio_tungstenite::tungstenite::client::IntoClientRequest;
        let mut request = format!("ws://{}/socket", server.proxy)
            .into_client_request()
            .expect("a request");
        request
            .headers_mut()
            .insert("x-api-key", secret.parse().expect("a value"));
        request
    };
    let (mut socket, _) = tokio_tungstenite::connect_async(request(&key.secret))
        .await
        .expect("upgraded");
    for n in 0..10 {
        let text = format!("message {n}");
        socket.send(text.clone().into()).await.expect("sent");
        assert_eq!(
            socket
                .next()
                .await
                .expect("an echo")
                .expect("a message")
                .into_text()
                .expect("text")
                .as_str(),
            text
        );
    }
    match tokio_tungstenite::connect_async(request("junk")).await {
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => assert_eq!(answer.status().as_u16(), 403),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_a_route_names_may_appear_later() {
    let upstream = Upstream::start().await;
    let server = Server::start(&route(upstream.address, &["later"])).await;
    let api = server.api();
    api.app("later").await;
    let key = api.key("later").await;
    let status = client()
        .get(server.url("/"))
        .bearer_auth(&key.secret)
        .send()
        .await
        .expect("an answer")
        .status();
    assert_eq!(status.as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_credential_is_forwarded_and_only_then() {
    let upstream = Upstream::start().await;
    let config = format!(
        "[[routes]]\nupstreams = [\"http://{0}\"]\napps = [\"api\"]\n\
         credentials = [\"query:api_key\", \"cookie:key\"]\n\
         [[routes]]\npath = \"/kept\"\nupstreams = [\"http://{0}\"]\napps = [\"api\"]\nkeep_credential = true\n",
        upstream.address
    );
    let server = Server::start(&config).await;
    let api = server.api();
    api.app("api").await;
    let key = api.key("api").await;
    let client = client();
    client
        .get(server.url("/kept"))
        .bearer_auth(&key.secret)
        .send()
        .await
        .expect("an answer");
    assert_eq!(
        upstream.last().header("authorization"),
        Some(format!("Bearer {}", key.secret).as_str())
    );
    for (target, cookie, seen_target, seen_cookie) in [
        (
            format!("/a?x=1&api_key={}&y=%2F", key.secret),
            None,
            "/a?x=1&y=%2F",
            None,
        ),
        (format!("/a?api_key={}", key.secret), None, "/a", None),
        (
            "/a?x=1".to_owned(),
            Some(format!("a=1; key={}; b=2", key.secret)),
            "/a?x=1",
            Some("a=1; b=2"),
        ),
        ("/a".to_owned(), Some(format!("key={}", key.secret)), "/a", None),
    ] {
        let mut request = client.get(server.url(&target));
        if let Some(cookie) = &cookie {
            request = request.header("cookie", cookie);
        }
        assert_eq!(
            request.send().await.expect("an answer").status().as_u16(),
            200,
            "{target} {cookie:?}"
        );
        let seen = upstream.last();
        assert_eq!(seen.target, seen_target);
        assert_eq!(seen.header("cookie"), seen_cookie);
    }
    // A place that the route does not name is no credential place, and is left alone.
    let answer = client
        .get(server.url("/a"))
        .bearer_auth(&key.secret)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status().as_u16(), 403);
    eventually("nothing more arrives", async || (upstream.count() == 5).then_some(())).await;
}
