use super::*;
use crate::fixture::{Api, FORWARD, Reply, Setup, per_ip, per_key};
use http::Method;
use portcullis_verify::{SchemeId, SchemeRecord, Secret};

/// Header fields of a request.
type Lines<'a> = &'a [(&'a str, &'a str)];

async fn ask(api: &Api, method: Method, query: &str, lines: Lines<'_>) -> Reply {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{FORWARD}{query}"))
        .header("host", "authz");
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    api.send(request.body(Full::new(Bytes::new())).unwrap()).await
}

async fn get(api: &Api, secret: &Secret, lines: Lines<'_>) -> Reply {
    let bearer = format!("Bearer {}", secret.expose());
    let lines = [&[("authorization", bearer.as_str())], lines].concat();
    ask(api, Method::GET, "", &lines).await
}

const TARGET: (&str, &str) = ("x-forwarded-uri", "/v1/x?y=1");

#[tokio::test]
async fn a_good_key_is_200_with_identity_and_limits() {
    let api = Setup::default().start().await;
    let secret = api.keys.issue(|key| {
        key.name = "naïve\r\nX-Wacht-Key-ID: 1".into();
        key.permissions = vec!["read".into()];
        key.owner_user_id = Some(42);
    });
    for method in [Method::GET, Method::POST, Method::DELETE, Method::OPTIONS] {
        let lines = [
            TARGET,
            ("x-api-key", secret.expose()),
            ("x-wacht-key-id", "1"),
            ("x-forwarded-method", "POST"),
        ];
        let reply = ask(&api, method, "", &lines).await;
        assert_eq!(reply.status, 200);
        assert!(reply.body.is_empty());
        assert_eq!(
            reply.headers.get_all("x-wacht-key-id").iter().collect::<Vec<_>>(),
            ["100"]
        );
        assert_eq!(
            reply.header("x-wacht-key-name"),
            Some("na%C3%AFve%0D%0AX-Wacht-Key-ID: 1")
        );
        assert_eq!(reply.header("x-wacht-permissions"), Some("read"));
        assert_eq!(reply.header("x-wacht-owner-user-id"), Some("42"));
        assert_eq!(reply.header("ratelimit-policy"), Some("\"per_key-60s\";q=1000;w=60"));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert!(reply.header("ratelimit").is_some() && reply.header("x-request-id").is_some());
        assert!(
            reply
                .headers
                .values()
                .all(|value| !value.as_bytes().ends_with(secret.suffix().as_bytes()))
        );
    }
}

#[tokio::test]
async fn each_refusal_has_its_status_and_can_be_told_as_403() {
    let api = Setup::default().start().await;
    let good = api.keys.issue(|key| key.app.resources = vec!["v1/*".into()]);
    let other = api.keys.issue(|_| {});
    let revoked = api.keys.issue(|key| key.revoked_at_us = Some(1));
    let spent = api.keys.issue(|key| {
        key.scheme = Some(SchemeRecord {
            is_keys_own: false,
            id: SchemeId(9),
            rules: vec![per_key(1)],
        })
    });
    assert_eq!(get(&api, &spent, &[TARGET]).await.status, 200);

    let bearer = |secret: &Secret| format!("Bearer {}", secret.expose());
    let (good, spent, revoked) = (bearer(&good), bearer(&spent), bearer(&revoked));
    let cases: [(Lines<'_>, u16, &str); 11] = [
        (&[TARGET], 401, "key_missing"),
        (&[TARGET, ("authorization", "Basic dXNlcg==")], 401, "key_missing"),
        (&[TARGET, ("authorization", "Bearer junk")], 401, "key_invalid"),
        (&[TARGET, ("authorization", &revoked)], 403, "key_invalid"),
        (
            &[TARGET, ("authorization", &good), ("x-api-key", other.expose())],
            403,
            "ambiguous_credentials",
        ),
        (
            &[("x-forwarded-uri", "/v2/x"), ("authorization", &good)],
            403,
            "resource_denied",
        ),
        (&[TARGET, ("authorization", &spent)], 429, "rate_limited"),
        (&[("authorization", &good)], 400, "bad_request"),
        (
            &[("x-forwarded-uri", "/v1/../x"), ("authorization", &good)],
            400,
            "bad_request",
        ),
        (
            &[TARGET, ("x-original-url", "http://h/v2/x"), ("authorization", &good)],
            400,
            "bad_request",
        ),
        (
            &[TARGET, ("x-forwarded-method", "G T"), ("authorization", &good)],
            400,
            "bad_request",
        ),
    ];
    for (lines, status, reason) in cases {
        let reply = ask(&api, Method::GET, "", lines).await;
        reply.assert_refused(status, reason);
        assert_eq!(reply.header("x-portcullis-status"), None);
        assert_eq!(reply.headers.contains_key("retry-after"), status == 429);
        assert!(
            !reply
                .headers
                .keys()
                .any(|name| identity_headers::is_identity_header(name.as_str())),
            "{reason}"
        );
        for query in ["?only=403", "?a=b&only=403&c"] {
            let reply = ask(&api, Method::GET, query, lines).await;
            assert_eq!((reply.status, &reply.json()["reason"]), (403, &reason.into()));
            assert_eq!(reply.header("x-portcullis-status"), Some(status.to_string().as_str()));
        }
    }
    ask(&api, Method::GET, "?only=401", &[TARGET])
        .await
        .assert_refused(400, "bad_request");
    let allowed = ask(&api, Method::GET, "?only=403", &[TARGET, ("authorization", &good)]).await;
    assert_eq!((allowed.status, allowed.header("x-portcullis-status")), (200, None));
}

#[tokio::test]
async fn a_spent_limit_is_told_as_headers_too() {
    let api = Setup::default().start().await;
    let secret = api.keys.issue(|key| {
        key.scheme = Some(SchemeRecord {
            is_keys_own: false,
            id: SchemeId(9),
            rules: vec![per_key(1)],
        })
    });
    assert_eq!(
        get(&api, &secret, &[TARGET]).await.header("ratelimit"),
        Some("\"per_key-60s\";r=0;t=60")
    );
    api.clock.advance_us(18_000_000);
    let reply = get(&api, &secret, &[TARGET]).await;
    reply.assert_refused(429, "rate_limited");
    assert_eq!(reply.header("retry-after"), Some("42"));
    assert_eq!(reply.headers.get_all("retry-after").iter().count(), 1);
    assert_eq!(reply.header("ratelimit-policy"), Some("\"per_key-60s\";q=1;w=60"));
    assert_eq!(reply.header("ratelimit"), Some("\"per_key-60s\";r=0;t=42"));
}

#[tokio::test]
async fn the_older_headers_are_sent_where_they_are_asked_for() {
    for legacy_headers in [false, true] {
        let setup = Setup {
            legacy_headers,
            ..Setup::default()
        };
        let api = setup.start().await;
        let secret = api.keys.issue(|key| {
            key.scheme = Some(SchemeRecord {
                is_keys_own: false,
                id: SchemeId(9),
                rules: vec![per_key(1_000), per_ip(1)],
            })
        });
        for status in [200, 429] {
            let reply = get(&api, &secret, &[TARGET]).await;
            assert_eq!(reply.status, status);
            let told = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"];
            let told = told.map(|name| reply.header(name));
            let expect = [Some("1"), Some("0"), Some("60")];
            assert_eq!(told, if legacy_headers { expect } else { [None; 3] });
        }
    }
}

#[tokio::test]
async fn the_clients_address_is_believed_from_a_trusted_proxy_only() {
    let limit = |api: &Api| {
        api.keys.issue(|key| {
            key.scheme = Some(SchemeRecord {
                is_keys_own: false,
                id: SchemeId(9),
                rules: vec![per_ip(1)],
            })
        })
    };
    let from = |address: &'static str| [TARGET, ("x-forwarded-for", address)];

    let trusting = Setup::behind_a_trusted_proxy().start().await;
    let secret = limit(&trusting);
    assert_eq!(get(&trusting, &secret, &from("192.0.2.1")).await.status, 200);
    assert_eq!(get(&trusting, &secret, &from("192.0.2.2")).await.status, 200);
    assert_eq!(
        get(&trusting, &secret, &from("192.0.2.9, 192.0.2.2")).await.status,
        429,
        "the right-most counts"
    );

    let wary = Setup::default().start().await;
    let secret = limit(&wary);
    assert_eq!(get(&wary, &secret, &from("192.0.2.1")).await.status, 200);
    assert_eq!(
        get(&wary, &secret, &from("192.0.2.2")).await.status,
        429,
        "a stranger's word is nothing"
    );
}

#[tokio::test]
async fn without_its_source_the_engine_says_so() {
    let api = Setup::default().start().await;
    let secret = api.keys.issue(|_| {});
    api.keys.go_away();
    get(&api, &secret, &[TARGET])
        .await
        .assert_refused(503, "control_unavailable");
}
