//! Bodies that are no JSON, of the wrong kind, too large or too slow are refused for what they are, and never repeated.

use crate::server::{Options, Server, TOKEN};
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn broken_json_is_refused_with_its_place() {
    let server = Server::start().await;
    for (body, parts) in [
        ("{", vec!["line 1 column 1"]),
        ("{\n  \"name\": hunter2\n}", vec!["line 2 column"]),
        ("{\"name\": \"hunter2", vec!["line 1 column"]),
        ("{\"a\": 1} hunter2", vec!["line 1 column 10"]),
        ("{hunter2: 1}", vec!["line 1 column 2"]),
        ("{\"a\": 01}", vec!["line 1"]),
        ("{\"a\": 1e999}", vec!["line 1"]),
        ("{\"a\": \"\\ud800hunter2\"}", vec!["line 1"]),
        ("{\"a\": \"\u{0}hunter2\"}", vec!["line 1"]),
        ("{\"$serde_json::private::RawValue\": 5}", vec!["line 1"]),
        ("\u{feff}{}", vec!["line 1 column 1"]),
    ] {
        let answer = server
            .call("POST", "/api-auth/apps")
            .bytes("application/json", body)
            .send()
            .await;
        assert!(!answer.text.contains("hunter2"), "{}", answer.text);
        answer.expect_error(400, &[40000], &parts);
    }
    let deep = "[".repeat(60_000);
    let answer = server
        .call("POST", "/api-auth/apps")
        .bytes("application/json", deep)
        .send()
        .await;
    answer.expect_error(400, &[40000], &["line 1 column 128"]);
    let not_utf8 = b"{\"a\": \"\xff\xfe\"}".to_vec();
    let answer = server
        .call("POST", "/api-auth/apps")
        .bytes("application/json", not_utf8)
        .send()
        .await;
    answer.expect_error(400, &[40000], &["line 1"]);
}

#[tokio::test]
async fn other_json_than_an_object_is_refused() {
    let server = Server::start().await;
    for body in ["[]", "\"hunter2\"", "5", "true", "null", "[{\"name\": \"hunter2\"}]"] {
        let answer = server
            .call("POST", "/api-auth/apps")
            .bytes("application/json", body)
            .send()
            .await;
        assert!(!answer.text.contains("hunter2"), "{}", answer.text);
        answer.expect_error(400, &[40001], &["must be a JSON object"]);
    }
    let answer = server.call("POST", "/api-auth/apps").send().await;
    answer.expect_error(400, &[40002], &["empty"]);
}

#[tokio::test]
async fn of_a_repeated_field_the_last_counts() {
    let server = Server::start().await;
    let body = r#"{"app_slug": "a", "name": "first", "key_prefix": "a", "name": "last"}"#;
    let created = server
        .call("POST", "/api-auth/apps")
        .bytes("application/json", body)
        .send()
        .await
        .expect(201);
    assert_eq!(created["name"], "last");
}

#[tokio::test]
async fn other_content_types_are_refused_where_there_is_content() {
    let server = Server::start().await;
    server.app("a").await;
    let body = r#"{"app_slug": "b", "name": "B", "key_prefix": "b"}"#;
    let types = [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "text/json",
        "multipart/form-data; boundary=x",
    ];
    for path in [
        "/api-auth/apps",
        "/api-auth/apps/a/keys/1/revoke",
        "/api-auth/apps/a/keys/1/rotate",
    ] {
        for content_type in types {
            let answer = server.call("POST", path).bytes(content_type, body).send().await;
            answer.expect_error(415, &[41500], &["application/json"]);
        }
        server
            .call("POST", path)
            .untyped(body)
            .send()
            .await
            .expect_error(415, &[41500], &[]);
    }
    for content_type in [
        "application/json",
        "Application/JSON ; charset=utf-8",
        "application/merge-patch+json",
    ] {
        let answer = server
            .call("PATCH", "/api-auth/apps/a")
            .bytes(content_type, "{}")
            .send()
            .await;
        answer.expect(200);
    }
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused() {
    let server = Server::with(Options {
        body_bytes_max: 1_000,
        ..Options::default()
    })
    .await;
    let body = |bytes: usize| format!("{{\"x\":\"{}\"}}", "y".repeat(bytes - 8));
    let answer = server
        .call("POST", "/api-auth/apps")
        .bytes("application/json", body(1_000))
        .send()
        .await;
    assert_eq!(answer.status, 400, "what fits is read");
    let answer = server
        .call("POST", "/api-auth/apps")
        .bytes("application/json", body(1_001))
        .send()
        .await;
    answer.expect_error(413, &[41300], &["1000 bytes"]);
    // Without a length that could be looked at first.
    let chunked = format!(
        "POST /api-auth/apps HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n3e9\r\n{}\r\n0\r\n\r\n",
        body(1_001)
    );
    let answer = raw(&server, chunked.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && answer.contains("41300"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let server = Server::with(Options {
        request_timeout: Duration::from_millis(200),
        ..Options::default()
    })
    .await;
    let request = format!(
        "POST /api-auth/apps HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n\
         Content-Length: 100\r\n\r\n{{\"name\": "
    );
    let answer = raw(&server, request.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.contains("40800"),
        "{answer}"
    );
    assert!(
        answer.to_ascii_lowercase().contains("connection: close"),
        "the rest must not be read as a request"
    );
    server.get("/api-auth/apps").await.expect(200);
}

#[tokio::test]
async fn a_body_that_breaks_off_changes_nothing() {
    let server = Server::start().await;
    let body = json!({"app_slug": "a", "name": "A", "key_prefix": "a"}).to_string();
    let request = format!(
        "POST /api-auth/apps HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len() + 1
    );
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    server.get("/api-auth/apps/a").await.expect_error(404, &[40401], &[]);
}

/// Sends bytes as they are and reads until the server hangs up or has answered.
async fn raw(server: &Server, bytes: &[u8]) -> String {
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut buffer))
            .await
            .unwrap()
            .unwrap_or(0);
        answer.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&answer);
        if read == 0 || text.ends_with('}') {
            return text.into_owned();
        }
    }
}
