//! A key is found in every place that a route names, and reaches the upstream in none.

use crate::client::ask;
use crate::gateway::{start, start_with};
use crate::upstream::upstream;
use portcullis_config::settings::CredentialPlace;

fn every_place() -> Vec<CredentialPlace> {
    vec![
        CredentialPlace::Bearer,
        CredentialPlace::BasicPassword,
        CredentialPlace::Header("x-api-key".to_owned()),
        CredentialPlace::Query("api_key".to_owned()),
        CredentialPlace::Cookie("session".to_owned()),
    ]
}

fn basic(password: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(format!("user:{password}"))
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[tokio::test]
async fn the_key_is_taken_from_each_place_and_out_of_each() {
    let check = async |target: &dyn Fn(&str) -> String, headers: &dyn Fn(&str) -> String, line: &str, kept: &str| {
        let upstream = upstream().await;
        let gateway = start_with(&[upstream.address], |setup| setup.routes[0].credentials = every_place()).await;
        let (target, headers) = (target(&gateway.key), headers(&gateway.key));
        let answer = ask(
            gateway.address,
            format!("GET {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n"),
        )
        .await;
        assert_eq!(answer.status, 200, "{target} {headers} {}", answer.body);
        let received = upstream.only();
        assert_eq!(received.line(), line);
        assert!(
            !received.head.contains(&gateway.key),
            "the key reached the upstream: {}",
            received.head
        );
        assert!(
            !received.head.contains(&basic(&gateway.key)),
            "the key reached the upstream: {}",
            received.head
        );
        assert!(
            kept.is_empty() || received.head.to_lowercase().contains(kept),
            "{kept} is not in {}",
            received.head
        );
    };
    let root = |_: &str| "/".to_owned();
    let none = |_: &str| String::new();
    let get = "GET / HTTP/1.1";
    check(&root, &|key| format!("Authorization: Bearer {key}\r\n"), get, "").await;
    check(&root, &|key| format!("authorization: bearer   {key}\r\n"), get, "").await;
    check(&root, &|key| format!("X-API-Key: {key}\r\n"), get, "").await;
    check(
        &root,
        &|key| format!("X-API-Key: {key}\r\nx-api-key: {key}\r\n"),
        get,
        "",
    )
    .await;
    check(
        &root,
        &|key| format!("Authorization: Bearer {key}\r\nX-API-Key: {key}\r\n"),
        get,
        "",
    )
    .await;
    check(
        &root,
        &|key| format!("Authorization: Basic {}\r\n", basic(key)),
        get,
        "",
    )
    .await;
    check(
        &root,
        &|key| format!("Cookie: a=1; session={key}; b=2\r\n"),
        get,
        "cookie: a=1; b=2",
    )
    .await;
    check(&root, &|key| format!("Cookie: session=\"{key}\"\r\n"), get, "").await;
    check(&|key| format!("/p?api_key={key}"), &none, "GET /p HTTP/1.1", "").await;
    check(
        &|key| format!("/p?x=%20+1&api_key={key}&&y"),
        &none,
        "GET /p?x=%20+1&&y HTTP/1.1",
        "",
    )
    .await;
    check(&root, &|key| format!("Authorization: BEARER\t{key}\r\n"), get, "").await;
    check(
        &|key| format!("http://a/p?z=1&api_key={key}"),
        &none,
        "GET /p?z=1 HTTP/1.1",
        "",
    )
    .await;
    check(&|key| format!("http://a?api_key={key}"), &none, get, "").await;
    check(
        &|key| format!("/p?api_key={key}&api_key=&api_key={key}"),
        &none,
        "GET /p HTTP/1.1",
        "",
    )
    .await;
    check(
        &|key| format!("/p?api_key={}", escaped(key)),
        &none,
        "GET /p HTTP/1.1",
        "",
    )
    .await;
    check(
        &|key| format!("/p?api%5Fkey={key}&x=1"),
        &none,
        "GET /p?x=1 HTTP/1.1",
        "",
    )
    .await;
    check(
        &|key| format!("/p?api_key={key}"),
        &|key| format!("Authorization: Bearer {key}\r\nCookie: session={key}\r\n"),
        "GET /p HTTP/1.1",
        "",
    )
    .await;
}

#[tokio::test]
async fn two_different_keys_are_refused_wherever_they_stand() {
    let upstream = upstream().await;
    let gateway = start_with(&[upstream.address], |setup| setup.routes[0].credentials = every_place()).await;
    let (first, second) = (gateway.key.clone(), gateway.issue(|_| {}));
    let check = async |target: String, headers: String| {
        let answer = ask(
            gateway.address,
            format!("GET {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n"),
        )
        .await;
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (403, "ambiguous_credentials"),
            "{target} {headers}"
        );
    };
    check(
        "/".into(),
        format!("Authorization: Bearer {first}\r\nX-API-Key: {second}\r\n"),
    )
    .await;
    check(
        "/".into(),
        format!("Authorization: Bearer {first}\r\nAuthorization: Bearer {second}\r\n"),
    )
    .await;
    check("/".into(), format!("X-API-Key: {first}\r\nX-API-Key: {second}\r\n")).await;
    check(
        "/".into(),
        format!("X-API-Key: {first}\r\nCookie: session={second}\r\n"),
    )
    .await;
    check(
        "/".into(),
        format!("Authorization: Bearer {first}\r\nX-API-Key: nonsense\r\n"),
    )
    .await;
    check(format!("/?api_key={first}&api_key={second}"), String::new()).await;
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn what_is_no_place_of_the_route_passes_untouched() {
    let upstream = upstream().await;
    let gateway = start(&[upstream.address]).await;
    let extra = "Authorization: Basic dXNlcjpwdw==\r\nCookie: session=abc\r\n";
    let request = format!(
        "GET /?api_key=abc HTTP/1.1\r\nHost: a\r\nX-API-Key: {}\r\n{extra}\r\n",
        gateway.key
    );
    assert_eq!(ask(gateway.address, request).await.status, 200);
    let received = upstream.only();
    assert_eq!(received.line(), "GET /?api_key=abc HTTP/1.1");
    assert_eq!(received.header("authorization").as_deref(), Some("Basic dXNlcjpwdw=="));
    assert_eq!(received.header("cookie").as_deref(), Some("session=abc"));
}

#[tokio::test]
async fn a_route_may_keep_the_credential() {
    let upstream = upstream().await;
    let gateway = start_with(&[upstream.address], |setup| setup.routes[0].keep_credential = true).await;
    assert_eq!(ask(gateway.address, gateway.get("/", "")).await.status, 200);
    assert_eq!(
        upstream.only().header("authorization"),
        Some(format!("Bearer {}", gateway.key))
    );
}

#[tokio::test]
async fn a_key_under_an_alias_of_its_header_is_stripped_and_opens_nothing() {
    for alias in ["X_API_Key", "x-api_key", "X.API.Key"] {
        let upstream = upstream().await;
        let gateway = start(&[upstream.address]).await;
        let key = gateway.key.clone();
        let alone = format!("GET / HTTP/1.1\r\nHost: a\r\n{alias}: {key}\r\n\r\n");
        assert_eq!(ask(gateway.address, alone).await.reason(), "key_missing", "{alias}");
        let beside = gateway.get("/", &format!("{alias}: {key}\r\nX-API-Keys: kept\r\n"));
        assert_eq!(ask(gateway.address, beside).await.status, 200, "{alias}");
        let received = upstream.only();
        assert!(!received.head.contains(&key), "{alias}: {}", received.head);
        assert_eq!(received.header("x-api-keys").as_deref(), Some("kept"));
    }
}

#[tokio::test]
async fn what_only_looks_like_a_place_holds_no_key() {
    let check = async |target: &str, headers: &str, reason: &str| {
        let upstream = upstream().await;
        let gateway = start_with(&[upstream.address], |setup| setup.routes[0].credentials = every_place()).await;
        let with_key = |text: &str| {
            text.replace("BASIC2", &basic(&format!("x:{}", gateway.key)))
                .replace("KEY", &gateway.key)
        };
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        let answer = ask(gateway.address, with_key(&request)).await;
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (403, reason),
            "{target} {headers}"
        );
        assert!(upstream.requests().is_empty(), "{target} {headers}");
    };
    check("/", "Authorization: Bearer\r\n", "key_missing").await;
    check("/", "Authorization: BearerKEY\r\n", "key_missing").await;
    check("/", "Authorization: Token KEY\r\n", "key_missing").await;
    check("/", "Authorization: Bearer KEY KEY\r\n", "key_invalid").await;
    check("/", "Authorization: Basic\r\n", "key_missing").await;
    check("/", "Authorization: Basic !!!\r\n", "key_invalid").await;
    check("/", "Authorization: Basic dTpw, Bearer KEY\r\n", "key_invalid").await;
    // Everything behind the first colon is the password.
    check("/", "Authorization: Basic BASIC2\r\n", "key_invalid").await;
    check("/?api_key", "", "key_missing").await;
    check("/?API_KEY=KEY", "", "key_missing").await;
    check("/?api_key[]=KEY", "", "key_missing").await;
    check("/?a=1;api_key=KEY", "", "key_missing").await;
    check("/?api_key=KEY%00", "", "key_invalid").await;
    check("/?api_key=KEY+", "", "key_invalid").await;
    check("/?api_key=KEY%zz", "", "key_invalid").await;
    check("/", "Cookie: SESSION=KEY\r\n", "key_missing").await;
    check("/", "Cookie: session=\"KEY\r\n", "key_invalid").await;
    check("/", "Cookie: session=KEY,b=1\r\n", "key_invalid").await;
    check("/", "Cookie: session=KEY; session=other\r\n", "ambiguous_credentials").await;
}
