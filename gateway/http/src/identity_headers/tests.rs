use super::*;
use portcullis_verify::{AppId, AppRecord, DeploymentId, KeyId, KeyRecord, RuleSet, Version};
use serde_json::{Map, Value, json};
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
    let found = of(&key)
        .iter()
        .find(|(header, _)| header == name)
        .map(|(_, value)| value.to_str().unwrap());
    assert_eq!(found, expect, "{name}");
    for (header, value) in of(&key) {
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
    let (_, header) = of(&key).iter().find(|(name, _)| *name == METADATA).unwrap();
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

#[test]
fn the_headers_are_computed_once() {
    let key = stored(record());
    assert!(std::ptr::eq(of(&key), of(&key)));
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
