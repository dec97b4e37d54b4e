//! The promise that a secret goes nowhere: sent in every place a credential can be, good or bad, it appears in no log,
//! no metric, no error body and nowhere at the upstream.

mod support;

use serde_json::json;
use support::upstream::Upstream;
use support::{Server, client, raw};

/// Logs everything our own code can log; other crates stay capped.
const LOUD: &str = "[log]\nlevel = \"trace\"\nrequests = true\n";

fn config(upstream: std::net::SocketAddr) -> String {
    format!(
        "{LOUD}[[routes]]\nupstreams = [\"http://{upstream}\"]\napps = [\"api\"]\n\
         credentials = [\"bearer\", \"header:x-api-key\", \"header:x-other-key\", \"query:api_key\", \"cookie:key\", \"basic\"]\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_seen_by_nobody_but_the_gateway() {
    let upstream = Upstream::start().await;
    let server = Server::start(&config(upstream.address)).await;
    let api = server.api();
    api.app("api").await;
    let good = api.key("api").await;
    let revoked = api.key("api").await;
    api.revoke("api", &revoked.id).await;
    // Well-formed but never issued, wrong in its last character, and not even of our shape.
    let unknown = portcullis_verify::Secret::generate("sk")
        .expect("randomness")
        .expose()
        .to_owned();
    let mut wrong = good.secret.clone();
    wrong.push('x');
    let secrets = [
        good.secret.clone(),
        revoked.secret.clone(),
        unknown,
        wrong,
        "sk_live_0123456789abcdef".to_owned(),
    ];

    let client = client();
    let mut told = Vec::new();
    let mut let_through = 0;
    for secret in &secrets {
        let basic = basic_credential(secret);
        let places: Vec<reqwest::RequestBuilder> = vec![
            client.get(server.url("/a")).bearer_auth(secret),
            client.get(server.url("/a")).header("X-API-Key", secret),
            client.get(server.url("/a")).header("x-other-key", secret),
            client.get(server.url(&format!("/a?x=1&api_key={secret}&y=2"))),
            client
                .get(server.url("/a"))
                .header("cookie", format!("a=b; key={secret}; c=d")),
            client.get(server.url("/a")).header("authorization", &basic),
            // In two places at once, and beside a different key.
            client
                .get(server.url(&format!("/a?api_key={secret}")))
                .bearer_auth(secret),
            client
                .get(server.url("/a"))
                .bearer_auth(secret)
                .header("x-api-key", &secrets[1]),
            client
                .get(server.url("/a"))
                .header("authorization", format!("Bearer {secret}, Bearer {secret}")),
            // Through a path that is refused before any look-up, and a route that is not there.
            client.get(server.url(&format!("/a%2fb?api_key={secret}"))),
        ];
        for request in places {
            let answer = request.send().await.expect("an answer");
            let_through += usize::from(answer.status().as_u16() == 200);
            told.push(format!("{:?}", answer.headers()));
            told.push(answer.text().await.expect("a body"));
        }
        // Requests that no HTTP library would send.
        for request in [
            format!("GET /a HTTP/1.1\r\nAuthorization: Bearer {secret}\r\nConnection: close\r\n\r\n"),
            format!("GET /a HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer {secret}\r\nConnection: close\r\n\r\n"),
            format!("GET /a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\0\r\nConnection: close\r\n\r\n"),
            format!("GET /{secret} {secret} HTTP/1.1\r\nHost: {secret}\r\nConnection: close\r\n\r\n"),
            format!("{secret}\r\n\r\n"),
        ] {
            told.push(raw::exchange(server.proxy, request.as_bytes()).await);
        }
        for body in [
            json!({"principal": {"type": "api_key", "value": secret}, "resource": "/a", "method": "GET"}),
            json!({"principal": {"type": "oauth_access_token", "value": secret}, "resource": "/a", "method": "GET"}),
            json!({"principal": secret, "resource": secret, "method": secret}),
            // Services that take their keys in the path exist.
            json!({"principal": {"type": "api_key", "value": secret}, "resource": format!("/bot/{secret}/x"), "method": "GET"}),
        ] {
            let request = client
                .post(format!("http://{}/v1/authz/check", server.authz))
                .json(&body);
            told.push(request.send().await.expect("an answer").text().await.expect("a body"));
        }
        let forward = client
            .get(format!("http://{}/v1/forward-auth", server.authz))
            .bearer_auth(secret);
        let forward = forward
            .header("x-forwarded-method", "GET")
            .header("x-forwarded-uri", format!("/bot/{secret}?api_key={secret}"));
        let answer = forward.send().await.expect("an answer");
        told.push(format!("{:?}", answer.headers()));
        told.push(answer.text().await.expect("a body"));
        for body in [
            json!({"key": secret}),
            json!({"key": {"nested": secret}}),
            json!([secret]),
        ] {
            told.push(api.call("POST", "/api-auth/verify", Some(body)).await.1.to_string());
        }
        // As a management token too.
        let posed = client
            .get(format!("http://{}/api-auth/apps", server.control))
            .bearer_auth(secret);
        told.push(posed.send().await.expect("an answer").text().await.expect("a body"));
    }
    assert_eq!(let_through, 7, "the good key opens in each of its places");
    assert_eq!(upstream.count(), 7);

    // The npm client sends itself, token and all, where a body's options are left out.
    let another = api.key("api").await;
    let posed =
        json!({"baseUrl": "http://x", "defaultHeaders": {"Authorization": format!("Bearer {}", support::TOKEN)}});
    api.must(
        "POST",
        &format!("/api-auth/apps/api/keys/{}/revoke", another.id),
        Some(posed),
    )
    .await;

    let metrics = client
        .get(format!("http://{}/metrics", server.admin))
        .send()
        .await
        .expect("an answer");
    let metrics = metrics.text().await.expect("a body");
    assert!(metrics.contains("portcullis_decisions_total"), "{metrics}");
    let logs = server.log_lines().join("\n");
    assert!(
        logs.contains("key_revoked") && logs.contains("key_unknown"),
        "the log tells reasons apart:\n{logs}"
    );
    let seen = format!("{:?}", upstream.seen());

    for secret in secrets.iter().map(String::as_str).chain([support::TOKEN]) {
        let basic = basic_credential(secret);
        let basic = basic.trim_start_matches("Basic ");
        for form in [secret, basic] {
            assert!(!logs.contains(form), "in the log: {}", around(&logs, form));
            assert!(!metrics.contains(form), "in the metrics");
            assert!(!seen.contains(form), "at the upstream: {}", around(&seen, form));
            for body in &told {
                assert!(!body.contains(form), "in an answer: {body}");
            }
        }
    }
}

/// The `Authorization` value of HTTP Basic with this password.
fn basic_credential(secret: &str) -> String {
    use base64::Engine;
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(format!("user:{secret}"))
    )
}

fn around(text: &str, needle: &str) -> String {
    let line = text.lines().find(|line| line.contains(needle)).unwrap_or("");
    line.replace(needle, "<SECRET>")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_holds_no_secret_in_the_clear() {
    let server = Server::start("").await;
    let api = server.api();
    api.app("api").await;
    let created = api.key("api").await;
    let rotated = api.rotate("api", &created.id, None).await;
    let folder = server.folder().to_owned();
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        bytes.extend(std::fs::read(entry.expect("an entry").path()).expect("a file"));
    }
    assert!(bytes.windows(4).any(|w| w == b"test"), "the store was read");
    for secret in [created.secret.as_str(), rotated.secret.as_str(), support::TOKEN] {
        assert!(
            !bytes.windows(secret.len()).any(|w| w == secret.as_bytes()),
            "a secret is stored in the clear"
        );
    }
}
