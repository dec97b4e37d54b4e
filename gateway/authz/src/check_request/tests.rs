use super::*;
use serde_json::json;

/// A body that is right in every field, with one of them replaced.
fn with(field: &str, value: Value) -> Value {
    let mut body = json!({
        "principal": {"type": "api_key", "value": "sk_x"},
        "resource": "/v1/x",
        "method": "GET",
    });
    body[field] = value;
    body
}

fn parsed(body: &Value) -> CheckRequest {
    parse(body.to_string().as_bytes()).unwrap_or_else(|refusal| panic!("{body}: {}", refusal.message))
}

/// What is wrong with a body, from either step.
fn refusal(body: &[u8]) -> Refusal {
    let Err(refusal) = parse(body).and_then(|check| check.path().map(|path| path.as_str().to_owned())) else {
        panic!("{} passes", String::from_utf8_lossy(body))
    };
    assert_eq!(refusal.status, 400);
    refusal
}

fn check_refused(body: &Value, named: &str) {
    let refusal = refusal(body.to_string().as_bytes());
    assert!(
        refusal.message.contains(named) && refusal.message.ends_with('.'),
        "{body}: {}",
        refusal.message
    );
}

#[test]
fn what_the_clients_send_is_read() {
    let check = parsed(&json!({
        "principal": {"type": "api_key", "value": "sk_secret"},
        "resource": "/v1/x?y=/../1",
        "method": "POST",
        "client_ip": "::ffff:192.0.2.7",
        "user_agent": "curl",
        "required_permissions": ["a", "b OR (c AND d)"],
    }));
    assert_eq!(check.credential(), Some(b"sk_secret".as_slice()));
    assert_eq!(check.path().unwrap().as_str(), "/v1/x");
    assert_eq!(check.method, Method::POST);
    assert_eq!(check.address, Some("192.0.2.7".parse().unwrap()));
    assert_eq!(
        check.permissions,
        ["a".parse().unwrap(), "b OR (c AND d)".parse().unwrap()]
    );
}

#[test]
fn absent_and_null_are_the_same() {
    for field in ["client_ip", "user_agent", "required_permissions", "something_new"] {
        let check = parsed(&with(field, Value::Null));
        assert_eq!((check.address, check.permissions.len()), (None, 0), "{field}");
    }
    assert!(parsed(&with("required_permissions", json!([]))).permissions.is_empty());
    for value in [
        json!({"type": "api_key"}),
        json!({"type": "api_key", "value": null}),
        json!({"type": "api_key", "value": ""}),
    ] {
        assert_eq!(parsed(&with("principal", value)).credential(), None);
    }
}

#[test]
fn unknown_fields_are_ignored() {
    parsed(&with("something_new", json!({"deep": [1, {"er": null}]})));
    parsed(&with("principal", json!({"type": "api_key", "value": "k", "hint": 1})));
}

#[test]
fn methods_are_tokens() {
    for method in ["GET", "PATCH", "M-SEARCH", "get", "PURGE"] {
        assert_eq!(parsed(&with("method", json!(method))).method.as_str(), method);
    }
    for method in ["", "G ET", "GET\r\n", "GÉT", "A/B", &"X".repeat(33)] {
        check_refused(&with("method", json!(method)), "`method`");
    }
}

#[test]
fn a_wrong_field_is_named() {
    for (field, value) in [
        ("principal", Value::Null),
        ("principal", json!("sk_secret")),
        ("principal", json!(["api_key", "sk_secret"])),
        ("resource", Value::Null),
        ("resource", json!(5)),
        ("resource", json!("")),
        ("resource", json!("v1/x")),
        ("resource", json!("https://host/v1/x")),
        ("resource", json!("?x=/v1/x")),
        ("resource", json!("/v1//x")),
        ("resource", json!("/v1/../x")),
        ("resource", json!("/v1/%2e%2e/x")),
        ("resource", json!("/v1%2fx")),
        ("resource", json!("/v1/x#y")),
        ("resource", json!("/v1/é")),
        ("method", Value::Null),
        ("method", json!(["GET"])),
        ("client_ip", json!("")),
        ("client_ip", json!("192.0.2")),
        ("client_ip", json!("192.0.2.7:80")),
        ("client_ip", json!("[2001:db8::1]")),
        ("client_ip", json!(1)),
        ("user_agent", json!({})),
        ("required_permissions", json!("a")),
        ("required_permissions", json!({"0": "a"})),
    ] {
        check_refused(&with(field, value), &format!("`{field}`"));
    }
    check_refused(&with("principal", json!({"value": "k"})), "`principal.type`");
    check_refused(&with("principal", json!({"type": 1, "value": "k"})), "`principal.type`");
    check_refused(
        &with("principal", json!({"type": "api_key", "value": 1})),
        "`principal.value`",
    );
    check_refused(
        &with("required_permissions", json!(["a", null])),
        "`required_permissions[1]`",
    );
    check_refused(
        &with("required_permissions", json!(["a", 7])),
        "`required_permissions[1]`",
    );
    for malformed in ["", " ", "a AND", "AND", "a OR OR b", "(a", "a)", "a b"] {
        check_refused(
            &with("required_permissions", json!(["a", malformed])),
            "`required_permissions[1]`",
        );
    }
}

#[test]
fn other_principals_are_told_so() {
    for kind in ["oauth_access_token", "", "API_KEY", "session"] {
        let body = with("principal", json!({"type": kind, "value": "k"}));
        assert_eq!(refusal(body.to_string().as_bytes()).reason, "unsupported_principal");
    }
}

#[test]
fn a_body_is_one_object_without_repeated_fields() {
    let good = with("method", json!("GET")).to_string();
    for body in [
        "",
        "null",
        "\"sk_secret\"",
        "[]",
        r#"[{"type":"api_key","value":"k"},"/v1/x","GET",null,null,null]"#,
        "{",
        "{}}",
        &format!("{good}{good}"),
        &format!("\u{feff}{good}"),
        &good.replace('}', ""),
        &good.replacen('{', r#"{"resource":"/other","#, 1),
        &"[".repeat(100_000),
        &format!("{{\"x\":{}", "[".repeat(100_000)),
    ] {
        assert_eq!(refusal(body.as_bytes()).reason, "bad_request");
    }
    assert_eq!(refusal(b"{\"method\":\"\xff\"}").reason, "bad_request");
}

#[test]
fn no_message_repeats_what_was_sent() {
    let secret = "sk_live_0123456789";
    for body in [
        with("principal", json!(secret)),
        with("principal", json!([secret])),
        with("principal", json!({"type": secret, "value": secret})),
        with("principal", json!({"type": "oauth_access_token", "value": secret})),
        with("method", json!([secret])),
        with("method", json!(format!("{secret} x"))),
        with("resource", json!(secret)),
        with("client_ip", json!(secret)),
        with("user_agent", json!([secret])),
        with("required_permissions", json!(secret)),
        with("required_permissions", json!([[secret]])),
    ] {
        let refusal = refusal(body.to_string().as_bytes());
        assert!(!refusal.message.contains(secret), "{body}: {}", refusal.message);
    }
    for body in [
        secret.to_owned(),
        format!("{{\"principal\": {secret}}}"),
        format!("{{\"{secret}\"}}"),
    ] {
        assert!(!refusal(body.as_bytes()).message.contains(secret), "{body}");
    }
}
