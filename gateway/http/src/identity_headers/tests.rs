use super::*;
use portcullis_verify::{AppId, AppRecord, DeploymentId, KeyId, KeyRecord, RuleSet, Version};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::Arc;

fn record() -> KeyRecord {
    KeyRecord {
        key_id: KeyId(42),
        lineage_id: KeyId(42),
        deployment_id: DeploymentId(7),
        app: AppRecord {
            id: AppId(3),
            slug: "internal-api".into(),
            is_active: true,
            permissions: Vec::new(),
            resources: Vec::new(),
        },
        name: "CI".into(),
        permissions: Vec::new(),
        metadata: Map::new(),
        owner_user_id: None,
        organization_id: None,
        workspace_id: None,
        expires_at_us: None,
        revoked_at_us: None,
        scheme: None,
    }
}

fn stored(record: KeyRecord) -> StoredKey {
    let rules = Arc::new(RuleSet {
        scheme_id: None,
        is_keys_own: false,
        rules: Box::new([]),
        limiter_view: Default::default(),
    });
    StoredKey::compile(record, Version { epoch: 1, revision: 1 }, &rules)
}

/// The value of one header of the record, after an edit.
fn check(name: &str, edit: impl FnOnce(&mut KeyRecord), expect: Option<&str>) {
    let mut record = record();
    edit(&mut record);
    let key = stored(record);
    let headers = of(&key);
    let found = headers
        .iter()
        .find(|(header, _)| header == name)
        .map(|(_, value)| value.to_str().unwrap());
    assert_eq!(found, expect, "{name}");
    check_written(&key);
    for (header, value) in &headers {
        assert!(
            value.as_bytes().iter().all(|byte| matches!(byte, b' '..=b'~')),
            "{header}: {value:?}"
        );
        assert!(
            is_identity_header(header.as_str()),
            "{header} is set but never stripped"
        );
    }
}

/// What is written as bytes is what the headers say.
fn check_written(key: &StoredKey) {
    let mut out = b"before".to_vec();
    write(key, &mut out);
    let mut lines = b"before".to_vec();
    for (name, value) in of(key) {
        lines.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    assert_eq!(out.escape_ascii().to_string(), lines.escape_ascii().to_string());
}

fn metadata(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn ids_are_decimal_and_left_out_when_not_set() {
    check("x-wacht-key-id", |_| {}, Some("42"));
    check(
        "x-wacht-key-id",
        |key| key.key_id = KeyId(i64::MAX),
        Some("9223372036854775807"),
    );
    check("x-wacht-deployment-id", |_| {}, Some("7"));
    check("x-wacht-app-slug", |_| {}, Some("internal-api"));
    for name in [
        "x-wacht-owner-user-id",
        "x-wacht-organization-id",
        "x-wacht-workspace-id",
    ] {
        check(name, |_| {}, None);
    }
    check("x-wacht-owner-user-id", |key| key.owner_user_id = Some(5), Some("5"));
    check(
        "x-wacht-organization-id",
        |key| key.organization_id = Some(6),
        Some("6"),
    );
    check("x-wacht-workspace-id", |key| key.workspace_id = Some(8), Some("8"));
}

#[test]
fn names_travel_without_loss() {
    for (name, expect) in [
        ("CI", "CI"),
        ("two words", "two words"),
        ("café ☕", "caf%C3%A9 %E2%98%95"),
        ("100%", "100%25"),
        ("%41", "%2541"),
        ("a\r\nX-Wacht-Key-ID: 1", "a%0D%0AX-Wacht-Key-ID: 1"),
        ("nul\0", "nul%00"),
        ("\u{7f}\u{85}", "%7F%C2%85"),
        (" both ends  ", "%20both ends%20%20"),
        ("   ", "%20%20%20"),
        ("", ""),
        ("a,b;c\"d", "a,b;c\"d"),
    ] {
        check("x-wacht-key-name", |key| key.name = name.into(), Some(expect));
        let decoded = percent_encoding::percent_decode_str(expect).decode_utf8().unwrap();
        assert_eq!(decoded, name);
    }
}

#[test]
fn permissions_are_a_list_that_cannot_be_forged_from_within() {
    let with = |permissions: &[&str]| {
        let permissions: Vec<String> = permissions.iter().map(|text| (*text).to_owned()).collect();
        move |key: &mut KeyRecord| key.permissions = permissions
    };
    check("x-wacht-permissions", with(&[]), Some(""));
    check(
        "x-wacht-permissions",
        with(&["b:write", "a:read"]),
        Some("a:read,b:write"),
    );
    check("x-wacht-permissions", with(&["read,admin"]), Some("read%2Cadmin"));
    check("x-wacht-permissions", with(&["é", " x"]), Some("%20x,%C3%A9"));
}

#[test]
fn metadata_is_ascii_json_of_bounded_length() {
    let with = |value: Value| move |key: &mut KeyRecord| key.metadata = metadata(&value);
    check("x-wacht-metadata", with(json!({})), Some("{}"));
    check(
        "x-wacht-metadata",
        with(json!({"team": "é😀\u{7f}\n"})),
        Some(r#"{"team":"\u00e9\ud83d\ude00\u007f\n"}"#),
    );
    let value = json!({"team": "é😀\u{7f}\n", "n": [1, null, {"deep": true}]});
    let key = stored(KeyRecord {
        metadata: metadata(&value),
        ..record()
    });
    let headers = of(&key);
    let (_, header) = headers.iter().find(|(name, _)| name == "x-wacht-metadata").unwrap();
    assert_eq!(serde_json::from_slice::<Value>(header.as_bytes()).unwrap(), value);
    // {"k":""} is eight bytes.
    let longest = "x".repeat(METADATA_BYTES_MAX - 8);
    check(
        "x-wacht-metadata",
        with(json!({"k": longest})),
        Some(&format!(r#"{{"k":"{longest}"}}"#)),
    );
    check("x-wacht-metadata", with(json!({"k": format!("{longest}x")})), None);
    // Escapes count: six bytes for each of these.
    check("x-wacht-metadata", with(json!({"k": "é".repeat(682)})), None);
}

/// The documented spelling, one character at a time.
fn spelled(text: &str, is_list_entry: bool) -> String {
    let body = text.trim_matches(' ');
    let start = body.as_ptr() as usize - text.as_ptr() as usize;
    let mut spelled = String::new();
    for (at, byte) in text.bytes().enumerate() {
        let is_at_an_end = body.is_empty() || at < start || at >= start + body.len();
        let is_odd = !matches!(byte, b' '..=b'~') || byte == b'%' || byte == b' ' && is_at_an_end;
        if is_odd || byte == b',' && is_list_entry {
            spelled += &format!("%{byte:02X}");
        } else {
            spelled.push(char::from(byte));
        }
    }
    spelled
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{0,20}",
        "[ -~]{0,40}",
        "[ ,%é\u{0}-\u{20}\u{7f}-\u{85}]{0,8}",
        any::<String>()
    ]
}

proptest! {
    #[test]
    fn whatever_a_key_is_called_its_headers_are_spelled_as_documented(
        name in any_text(),
        slug in any_text(),
        permissions in proptest::collection::vec(any_text(), 0..4),
        ids in any::<(i64, i64, Option<i64>, Option<i64>, Option<i64>)>(),
        metadata in proptest::collection::vec((any_text(), any_text()), 0..4),
    ) {
        let mut record = record();
        (record.name, record.app.slug, record.permissions) = (name, slug, permissions);
        (record.key_id.0, record.deployment_id.0) = (ids.0, ids.1);
        (record.owner_user_id, record.organization_id, record.workspace_id) = (ids.2, ids.3, ids.4);
        record.metadata = metadata.into_iter().map(|(name, value)| (name, Value::from(value))).collect();
        let key = stored(record);
        check_written(&key);
        let headers: HashMap<String, String> = of(&key)
            .into_iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        let value = |name: &str| headers.get(name).map(String::as_str);
        prop_assert_eq!(value("x-wacht-key-name"), Some(&*spelled(&key.name, false)));
        prop_assert_eq!(value("x-wacht-app-slug"), Some(&*spelled(&key.app.slug, false)));
        let permissions: Vec<String> = key.permissions.iter().map(|text| spelled(text, true)).collect();
        prop_assert_eq!(value("x-wacht-permissions"), Some(&*permissions.join(",")));
        prop_assert_eq!(value("x-wacht-key-id"), Some(&*ids.0.to_string()));
        prop_assert_eq!(value("x-wacht-deployment-id"), Some(&*ids.1.to_string()));
        let scopes = ["x-wacht-owner-user-id", "x-wacht-organization-id", "x-wacht-workspace-id"];
        for (name, id) in scopes.into_iter().zip([ids.2, ids.3, ids.4]) {
            prop_assert_eq!(value(name).map(str::to_owned), id.map(|id| id.to_string()));
        }
        let told: Value = serde_json::from_str(value("x-wacht-metadata").unwrap()).unwrap();
        prop_assert_eq!(told, Value::Object(key.metadata().clone()));
    }
}

#[test]
fn every_alias_of_an_identity_header_is_known() {
    for name in [
        "x-wacht-key-id",
        "X-Wacht-Key-ID",
        "X_WACHT_KEY_ID",
        "x.wacht.key.id",
        "x-wacht_anything",
        "X~Wacht!Key",
        "x+wacht^x",
        "x-wacht-",
    ] {
        assert!(is_identity_header(name), "{name}");
    }
    for name in [
        "x-wacht",
        "xwachtkeyid",
        "x-wachtkey",
        "x-watch-key-id",
        "y-x-wacht-key-id",
        "x0wacht0key",
        "",
        "x",
    ] {
        assert!(!is_identity_header(name), "{name}");
    }
}
