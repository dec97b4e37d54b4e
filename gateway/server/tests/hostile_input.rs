//! The promise that a stranger's bytes do no harm: what broke other gateways, sent to the real binary over real sockets.
//!
//! Each test names the hole it walks. In all of them the upstream must see nothing that was not authorised.

mod support;

use serde_json::json;
use support::control::Issued;
use support::upstream::Upstream;
use support::{Server, client, raw, route};

struct World {
    server: Server,
    upstream: Upstream,
    key: Issued,
}

impl World {
    async fn new() -> World {
        World::with("").await
    }

    async fn with(gateway: &str) -> World {
        let upstream = Upstream::start().await;
        let server = Server::start(&format!("{gateway}{}", route(upstream.address, &["api"]))).await;
        let api = server.api();
        api.app("api").await;
        let key = api.key("api").await;
        World { server, upstream, key }
    }

    /// Sends raw bytes, with `KEY` replaced by a good key.
    async fn send(&self, request: &str) -> String {
        raw::exchange(self.server.proxy, request.replace("KEY", &self.key.secret).as_bytes()).await
    }

    /// Sends one request with a good key, a Host and `lines` as further header lines.
    async fn get(&self, target: &str, lines: &str) -> String {
        self.send(&format!(
            "GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nConnection: close\r\n{lines}\r\n"
        ))
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_key_with_anything_added_is_refused() {
    let world = World::new().await;
    let good = &world.key.secret;
    let upper = good.to_uppercase();
    let variants = [
        format!("{good}x"),
        format!("x{good}"),
        format!("{good}{good}"),
        format!("{good}\u{e9}"),
        good[..good.len() - 1].to_owned(),
        upper,
        format!("\"{good}\""),
        format!("{good},"),
        format!("{good} x"),
        String::new(),
    ];
    let client = client();
    for variant in variants {
        for header in [
            ("authorization", format!("Bearer {variant}")),
            ("x-api-key", variant.clone()),
        ] {
            let value = reqwest::header::HeaderValue::from_bytes(header.1.as_bytes()).expect("bytes that go on a wire");
            let answer = client
                .get(world.server.url("/"))
                .header(header.0, value)
                .send()
                .await
                .expect("an answer");
            assert_eq!(
                answer.status().as_u16(),
                403,
                "{}: {:?}",
                header.0,
                header.1.replace(good, "KEY")
            );
        }
    }
    assert_eq!(world.upstream.count(), 0);
    assert_eq!(
        raw::status(&world.get("/", "").await),
        200,
        "and the good key still opens"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_different_keys_in_one_request_are_refused_wherever_they_are() {
    let world = World::new().await;
    let other = world.server.api().key("api").await.secret;
    let check = async |request: String, status: u16, reason: &str| {
        let answer = world.send(&request.replace("OTHER", &other)).await;
        assert_eq!(raw::status(&answer), status, "{answer}");
        assert!(answer.contains(reason), "{answer}");
    };
    let both = |lines: &str| format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n");
    let refused = "ambiguous_credentials";
    check(both("Authorization: Bearer KEY\r\nX-API-Key: OTHER\r\n"), 403, refused).await;
    check(
        both("Authorization: Bearer KEY\r\nAuthorization: Bearer OTHER\r\n"),
        403,
        refused,
    )
    .await;
    check(both("X-API-Key: KEY\r\nX-API-Key: OTHER\r\n"), 403, refused).await;
    check(both("X-API-Key: KEY\r\nx-api-key: junk\r\n"), 403, refused).await;
    check(both("X-API-Key: KEY, OTHER\r\n"), 403, "key_invalid").await;
    assert_eq!(world.upstream.count(), 0);
    check(both("Authorization: Bearer KEY\r\nX-API-Key: KEY\r\n"), 200, "ok").await;
    let seen = world.upstream.last();
    assert!(
        seen.header("authorization").is_none() && seen.header("x-api-key").is_none(),
        "both are stripped"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn identity_headers_cannot_be_spoofed_under_any_name() {
    let world = World::new().await;
    let spoofed = [
        "X-Wacht-Key-ID: 1",
        "x-wacht-key-id: 1",
        "X_Wacht_Key_ID: 1",
        "X-Wacht_Key-ID: 1",
        "X.Wacht.Key.ID: 1",
        "X-WACHT-OWNER-USER-ID: 1",
        "X-Wacht-Permissions: admin",
        "X-Wacht-Anything-New: 1",
        "x_wacht_metadata: {}",
    ];
    for line in spoofed {
        let answer = world.get("/", &format!("{line}\r\n")).await;
        assert_eq!(raw::status(&answer), 200, "{line}: {answer}");
        let seen = world.upstream.last();
        for (name, value) in &seen.headers {
            let plain: String = name
                .as_str()
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
                .collect();
            if plain.starts_with("x-wacht-") {
                assert_eq!(name.as_str(), plain, "an alias came through: {line}");
                assert_ne!(value, "1", "{line}");
                assert_ne!(value, "admin", "{line}");
            }
        }
        assert_eq!(seen.header("x-wacht-key-id"), Some(world.key.id.as_str()), "{line}");
        assert!(seen.header("x-wacht-owner-user-id").is_none(), "{line}");
        assert!(seen.header("x-wacht-anything-new").is_none(), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hop_by_hop_nomination_removes_nothing_of_ours() {
    let world = World::new().await;
    for nominated in [
        "X-Wacht-Key-ID",
        "x-wacht-app-slug, X-Forwarded-For",
        "X-Request-ID",
        "X-Forwarded-Proto",
    ] {
        let request =
            format!("GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nConnection: close, {nominated}\r\n\r\n");
        assert_eq!(raw::status(&world.send(&request).await), 200);
        let seen = world.upstream.last();
        for name in [
            "x-wacht-key-id",
            "x-wacht-app-slug",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-request-id",
        ] {
            assert!(
                seen.header(name).is_some(),
                "{name} was removed by `Connection: {nominated}`"
            );
        }
    }
    // A nomination of the credential must not stop it from being read.
    let request = "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nConnection: close, authorization\r\n\r\n";
    assert_eq!(raw::status(&world.send(request).await), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forwarding_headers_of_strangers_are_replaced() {
    let world = World::new().await;
    let lines = "X-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n\
                 X-Forwarded-Prefix: /admin\r\nX-Real-IP: 1.2.3.4\r\nX-Request-ID: mine\r\nX_Forwarded_For: 1.2.3.4\r\n\
                 X-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\n";
    assert_eq!(raw::status(&world.get("/", lines).await), 200);
    let seen = world.upstream.last();
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some("x"));
    assert_ne!(seen.header("x-request-id"), Some("mine"));
    for name in [
        "forwarded",
        "x-forwarded-prefix",
        "x-real-ip",
        "x_forwarded_for",
        "x-original-url",
        "x-rewrite-url",
    ] {
        assert!(seen.header(name).is_none(), "{name} came through");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn per_address_limits_see_through_spoofed_addresses() {
    let world = World::new().await;
    let api = world.server.api();
    api.scheme(
        "s",
        json!([{"unit": "hour", "duration": 1, "max_requests": 3, "mode": "per_ip"}]),
    )
    .await;
    api.must(
        "PATCH",
        "/api-auth/apps/api",
        Some(json!({"rate_limit_scheme_slug": "s"})),
    )
    .await;
    let mut admitted = 0;
    for n in 0..10 {
        admitted += usize::from(raw::status(&world.get("/", &format!("X-Forwarded-For: 10.0.0.{n}\r\n")).await) == 200);
    }
    assert_eq!(admitted, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_most_untrusted_address_counts_behind_a_trusted_proxy() {
    let world = World::with("[gateway]\ntrusted_proxies = [\"127.0.0.0/8\", \"10.9.0.0/16\"]\n").await;
    let api = world.server.api();
    api.scheme(
        "s",
        json!([{"unit": "hour", "duration": 1, "max_requests": 1, "mode": "per_ip"}]),
    )
    .await;
    api.must(
        "PATCH",
        "/api-auth/apps/api",
        Some(json!({"rate_limit_scheme_slug": "s"})),
    )
    .await;
    let status = async |line: &str| raw::status(&world.get("/", &format!("{line}\r\n")).await);
    assert_eq!(status("X-Forwarded-For: 6.6.6.6, 1.1.1.1, 10.9.0.1").await, 200);
    assert_eq!(
        status("X-Forwarded-For: 7.7.7.7, 1.1.1.1").await,
        429,
        "the left-most is the client's to invent"
    );
    assert_eq!(
        status("X-Forwarded-For: ::ffff:1.1.1.1").await,
        429,
        "IPv4-mapped IPv6 is IPv4"
    );
    assert_eq!(status("X-Forwarded-For: 2.2.2.2").await, 200);
    assert_eq!(status("X-Forwarded-For: 2001:db8:1:1::1").await, 200);
    assert_eq!(
        status("X-Forwarded-For: 2001:db8:1:1:ffff::2").await,
        429,
        "IPv6 clients are limited by /64"
    );
    assert_eq!(
        status("Forwarded: for=\"[2001:db8:2:2::1]:4711\";proto=https").await,
        200
    );
    assert_eq!(status("X-Forwarded-For: 2001:db8:2:2::9").await, 429);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ambiguous_paths_are_refused_and_plain_ones_arrive_byte_for_byte() {
    let world = World::new().await;
    let ambiguous = [
        "//admin",
        "/a//b",
        "/a%2Fb",
        "/a%2fb",
        "/a%5Cb",
        "/a\\b",
        "/./a",
        "/a/.",
        "/a/../b",
        "/..",
        "/a/%2e%2e/b",
        "/a/%2E./b",
        "/..;/admin",
        "/a/..;x=1/b",
        "/a%3Fb",
        "/a%00b",
        "/a%0d%0ab",
        "/a%zz",
        "/a%2",
        "/a#b",
        "a",
        "*",
    ];
    for path in ambiguous {
        let answer = world.get(path, "").await;
        assert_eq!(raw::status(&answer), 400, "{path}: {answer}");
    }
    assert_eq!(world.upstream.count(), 0);
    for target in [
        "/",
        "/a",
        "/a/",
        "/a.b/..c/c..",
        "/a%20b?x=%2F..&y=//&z=%3F",
        "/%E2%82%AC?",
        "/a;v=1/b",
        "/a?b?c",
        "/~u/a:b@c",
    ] {
        let answer = world.get(target, "").await;
        assert_eq!(raw::status(&answer), 200, "{target}: {answer}");
        assert_eq!(world.upstream.last().target, target);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_needs_exactly_one_host() {
    let world = World::new().await;
    let auth = "Authorization: Bearer KEY\r\nConnection: close\r\n";
    for request in [
        format!("GET / HTTP/1.1\r\n{auth}\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n{auth}\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n{auth}\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a b\r\n{auth}\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a/b\r\n{auth}\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a@b\r\n{auth}\r\n"),
        format!("GET http://a/ HTTP/1.1\r\nHost: b\r\n{auth}\r\n"),
    ] {
        let answer = world.send(&request).await;
        assert_eq!(raw::status(&answer), 400, "{request}: {answer}");
    }
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn framing_that_two_readers_could_read_two_ways_never_smuggles_a_request() {
    let world = World::new().await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    let n = smuggled.len();
    let post = |lines: &str, body: &str| {
        format!("POST /outer HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\n{lines}\r\n{body}")
    };
    let attacks = [
        // Content-Length beside Transfer-Encoding.
        post(
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            &format!("0\r\n\r\n{smuggled}"),
        ),
        post(
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
            &format!("0\r\n\r\n{smuggled}"),
        ),
        // Repeated, obscured or unknown Transfer-Encoding (CVE-2026-2835).
        post(
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            &format!("0\r\n\r\n{smuggled}"),
        ),
        post(
            "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
            &format!("0\r\n\r\n{smuggled}"),
        ),
        post("Transfer-Encoding: xchunked\r\n", &format!("0\r\n\r\n{smuggled}")),
        post(
            "Transfer-Encoding: chunked, identity\r\n",
            &format!("0\r\n\r\n{smuggled}"),
        ),
        post("Transfer-Encoding : chunked\r\n", &format!("0\r\n\r\n{smuggled}")),
        post("Transfer-Encoding:\r\n chunked\r\n", &format!("0\r\n\r\n{smuggled}")),
        // Different or malformed lengths.
        post(&format!("Content-Length: 0\r\nContent-Length: {n}\r\n"), smuggled),
        post(&format!("Content-Length: {n}, 0\r\n"), smuggled),
        post(&format!("Content-Length: +{n}\r\n"), smuggled),
        post("Content-Length: -1\r\n", smuggled),
        post("Content-Length: 0x10\r\n", smuggled),
        // Chunk sizes that do not parse.
        post("Transfer-Encoding: chunked\r\n", &format!("0x0\r\n\r\n{smuggled}")),
        post("Transfer-Encoding: chunked\r\n", &format!("-1\r\n\r\n{smuggled}")),
        post(
            "Transfer-Encoding: chunked\r\n",
            &format!("ffffffffffffffffff\r\n\r\n{smuggled}"),
        ),
        // HTTP/1.0 does not know chunks.
        format!(
            "POST /outer HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer KEY\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
        ),
        // A bare CR or LF inside a header line.
        post(
            "X-A: b\rTransfer-Encoding: chunked\r\n",
            &format!("0\r\n\r\n{smuggled}"),
        ),
        // Data right behind an upgrade that the upstream does not grant (CVE-2026-2833).
        format!(
            "GET /outer HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n{smuggled}"
        ),
        format!(
            "GET /outer HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nConnection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n{smuggled}"
        ),
        // A body behind a GET.
        format!("GET /outer HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Length: {n}\r\n\r\n{smuggled}"),
    ];
    for attack in attacks {
        let before = world.upstream.count();
        // The client hangs up behind its request, so that nobody waits for more; whether it still gets an answer is no matter.
        let answer = world.half_closed(&attack).await;
        let seen: Vec<_> = world.upstream.seen().into_iter().skip(before).collect();
        let smuggled: Vec<_> = seen.iter().filter(|request| request.target != "/outer").collect();
        assert!(
            smuggled.is_empty(),
            "{attack}\nreached the upstream: {smuggled:?}\n{answer}"
        );
    }
}

impl World {
    /// Sends bytes, closes the sending half, and reads to the end.
    async fn half_closed(&self, request: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(self.server.proxy)
            .await
            .expect("connected");
        let _ = stream
            .write_all(request.replace("KEY", &self.key.secret).as_bytes())
            .await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(support::PATIENCE, stream.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_requests_body_is_never_read_as_the_next_request() {
    let world = World::new().await;
    let inner = format!(
        "GET /smuggled HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        world.key.secret
    );
    // Refused before its body was read; then its body looks like a good request.
    let refused = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{inner}",
        inner.len()
    );
    let answer = world.half_closed(&refused).await;
    assert_eq!(raw::status(&answer), 403, "{answer}");
    assert_eq!(raw::answers(&answer), 1, "{answer}");
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_much_of_anything_is_refused_by_name() {
    let world = World::with(
        "[gateway]\nbody_bytes_max = 1000\nheader_bytes_max = 8192\nheader_count_max = 50\nuri_bytes_max = 2000\n",
    )
    .await;
    let check = async |what: &str, request: String, expected: &[u16]| {
        let answer = world.half_closed(&request).await;
        assert!(expected.contains(&raw::status(&answer)), "{what}: {answer}");
    };
    let head = |target: &str, lines: &str| {
        format!("POST {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nConnection: close\r\n{lines}\r\n")
    };
    check("long target", head(&format!("/{}", "a".repeat(3000)), ""), &[414]).await;
    check(
        "large head",
        head("/", &format!("X-A: {}\r\n", "a".repeat(10_000))),
        &[431],
    )
    .await;
    check("many headers", head("/", &"X-A: b\r\n".repeat(60)), &[431]).await;
    check("announced body", head("/", "Content-Length: 1001\r\n"), &[413]).await;
    let chunked = format!(
        "{}3e9\r\n{}\r\n0\r\n\r\n",
        head("/", "Transfer-Encoding: chunked\r\n"),
        "a".repeat(1001)
    );
    check("chunked body", chunked, &[413]).await;
    check(
        "huge head",
        head("/", &format!("X-A: {}\r\n", "a".repeat(3_000_000))),
        &[0, 400, 431],
    )
    .await;
    assert_eq!(
        world
            .upstream
            .seen()
            .iter()
            .filter(|request| request.body.len() > 1000)
            .count(),
        0
    );
    assert_eq!(raw::status(&world.get("/", "").await), 200, "and it still serves");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_heads_are_cut_at_a_total_deadline_and_cost_others_nothing() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = World::with("[gateway]\nheader_timeout = \"1s\"\n").await;
    let mut drips = Vec::new();
    for _ in 0..50 {
        let mut stream = tokio::net::TcpStream::connect(world.server.proxy)
            .await
            .expect("connected");
        stream.write_all(b"GET / HTTP/1.1\r\n").await.expect("sent");
        drips.push(tokio::spawn(async move {
            // A byte now and then would keep a per-read timeout alive for ever.
            let mut answer = Vec::new();
            loop {
                tokio::select! {
                    read = stream.read_buf(&mut answer) => if matches!(read, Ok(0) | Err(_)) { return answer },
                    () = tokio::time::sleep(std::time::Duration::from_millis(100)) => {
                        let _ = stream.write_all(b"X").await;
                    }
                }
            }
        }));
    }
    assert_eq!(
        raw::status(&world.get("/", "").await),
        200,
        "others are served meanwhile"
    );
    for drip in drips {
        let answer = tokio::time::timeout(support::PATIENCE, drip)
            .await
            .expect("cut")
            .expect("no panic");
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    assert_eq!(world.upstream.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strange_bytes_are_answered_or_cut_and_never_end_the_process() {
    let world = World::new().await;
    let mut noise = Vec::new();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..200 {
        noise.clear();
        for _ in 0..(state % 400) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            noise.push(u8::try_from(state & 0xff).expect("a byte"));
        }
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        for port in [
            world.server.proxy,
            world.server.authz,
            world.server.control,
            world.server.admin,
        ] {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let mut stream = tokio::net::TcpStream::connect(port).await.expect("connected");
            let _ = stream.write_all(&noise).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = tokio::time::timeout(support::PATIENCE, stream.read_to_end(&mut answer))
                .await
                .expect("closed");
        }
    }
    assert_eq!(raw::status(&world.get("/", "").await), 200);
    assert_eq!(world.upstream.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_unknown_keys_from_one_address_is_throttled_and_a_good_key_behind_it_is_not() {
    let world = World::new().await;
    assert_eq!(raw::status(&world.get("/", "").await), 200);
    let client = client();
    let (mut refused, mut throttled) = (0, 0);
    for n in 0..120 {
        let unknown = portcullis_verify::Secret::generate("sk").expect("randomness");
        let answer = client
            .get(world.server.url("/"))
            .bearer_auth(unknown.expose())
            .send()
            .await
            .expect("an answer");
        match answer.status().as_u16() {
            403 => refused += 1,
            429 => {
                assert!(n >= 50, "bursts of 50 are fine");
                assert!(answer.headers().contains_key("retry-after"));
                let body: serde_json::Value = answer.json().await.expect("JSON");
                assert_eq!(body["reason"], "too_many_failures");
                throttled += 1;
            }
            other => panic!("unexpected status {other}"),
        }
    }
    assert!(
        refused >= 50 && throttled > 0,
        "{refused} refused, {throttled} throttled"
    );
    assert_eq!(
        raw::status(&world.get("/", "").await),
        200,
        "a neighbour with a known key is not shut out"
    );
    assert_eq!(world.upstream.count(), 2);
    // How keys fare there that are not in memory yet is another promise: a_bad_neighbour_shuts_nobody_out.
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_let_through_without_a_route_or_an_app() {
    let upstream = Upstream::start().await;
    let config = format!(
        "[[routes]]\npath = \"/nobody\"\nupstreams = [\"http://{0}\"]\n[[routes]]\nhost = \"only.example.com\"\n\
         path = \"/here\"\nupstreams = [\"http://{0}\"]\napps = [\"api\"]\n",
        upstream.address
    );
    let server = Server::start(&config).await;
    let api = server.api();
    api.app("api").await;
    let key = api.key("api").await;
    let client = client();
    for (path, host, expected, reason) in [
        ("/nobody", "x", 403, "key_invalid"),
        ("/nobody/a", "only.example.com", 403, "key_invalid"),
        ("/here", "x", 404, "no_route"),
        ("/herex", "only.example.com", 404, "no_route"),
        ("/", "only.example.com", 404, "no_route"),
    ] {
        let request = client
            .get(server.url(path))
            .header("host", host)
            .bearer_auth(&key.secret);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), expected, "{host}{path}");
        let body: serde_json::Value = answer.json().await.expect("JSON");
        assert_eq!(body["reason"], reason, "{host}{path}");
    }
    assert_eq!(upstream.count(), 0);
    let request = client
        .get(server.url("/here/x"))
        .header("host", "Only.Example.com:8080")
        .bearer_auth(&key.secret);
    assert_eq!(request.send().await.expect("an answer").status().as_u16(), 200);

    let bare = Server::start("").await;
    let answer = client
        .get(bare.url("/"))
        .bearer_auth(&key.secret)
        .send()
        .await
        .expect("an answer");
    assert_eq!(
        answer.status().as_u16(),
        404,
        "without any route nothing is let through"
    );
}

#[tokio::test]
async fn a_crowd_at_the_proxy_keeps_nobody_from_the_other_listeners() {
    use tokio::io::AsyncWriteExt;
    let world = World::with("[gateway]\nconnections_max = 4\n").await;
    let mut crowd = Vec::new();
    for _ in 0..40 {
        let mut stream = tokio::net::TcpStream::connect(world.server.proxy)
            .await
            .expect("connected");
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ")
            .await
            .expect("sent");
        crowd.push(stream);
    }
    let client = client();
    for path in ["/readyz", "/healthz", "/metrics"] {
        let asked = client.get(format!("http://{}{path}", world.server.admin)).send();
        assert_eq!(asked.await.expect("an answer").status().as_u16(), 200, "{path}");
    }
    let key = world.server.api().key("api").await;
    let check = json!({"principal": {"type": "api_key", "value": key.secret}, "resource": "/", "method": "GET"});
    let asked = client
        .post(format!("http://{}/v1/authz/check", world.server.authz))
        .json(&check);
    assert_eq!(asked.send().await.expect("an answer").status().as_u16(), 200);
    drop(crowd);
    assert_eq!(
        raw::status(&world.get("/", "").await),
        200,
        "and the proxy serves again"
    );
}
