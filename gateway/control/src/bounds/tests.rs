use super::*;
use std::fmt::Debug;

/// Checks one bound: what it keeps of a value, or a part of what it says is wrong.
#[track_caller]
fn check<T: PartialEq + Debug>(result: Bounded<T>, expected: Result<T, &str>) {
    match (result, expected) {
        (Ok(kept), Ok(expected)) => assert_eq!(kept, expected),
        (Err(broken), Err(expected)) => {
            let text: Vec<String> = broken
                .iter()
                .map(|broken| format!("{}{}", broken.at, broken.what))
                .collect();
            assert!(text.join("; ").contains(expected), "{text:?} does not say {expected:?}");
        }
        (result, expected) => panic!("{result:?} is not {expected:?}"),
    }
}

fn owned(list: &[&str]) -> Vec<String> {
    list.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn slugs() {
    let longest = "a".repeat(64);
    for good in ["a", "0", "a-b_c", "9-", "internal-api", &longest] {
        check(slug(good.to_owned()), Ok(good.to_owned()));
    }
    let too_long = "a".repeat(65);
    for bad in ["", "-a", "_a", "A", "a b", "a/b", "ä", "a.b", "a\n", &too_long] {
        check(slug(bad.to_owned()), Err("1 to 64"));
    }
}

#[test]
fn key_prefixes() {
    let longest = "k".repeat(32);
    for good in ["a", "sk_live", "A9", "9", "a__b", &longest] {
        check(key_prefix(good.to_owned()), Ok(good.to_owned()));
    }
    let too_long = "k".repeat(33);
    for bad in ["", "_", "_a", "a_", "a-b", "a b", "ä", "a\0", &too_long] {
        check(key_prefix(bad.to_owned()), Err("1 to 32"));
    }
}

/// Whatever the slug, the prefix derived from it is one that keys can carry.
#[test]
fn prefixes_derived_from_slugs() {
    for (from, expected) in [
        ("acme-v2", "acme_v2"),
        ("a", "a"),
        ("a--", "a"),
        ("a-_-b", "a___b"),
        ("0-------------------------------x", "0"),
        (
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ),
    ] {
        check(slug(from.to_owned()), Ok(from.to_owned()));
        assert_eq!(key_prefix_of_slug(from), expected);
        check(key_prefix(expected.to_owned()), Ok(expected.to_owned()));
    }
}

#[test]
fn texts() {
    check(name("Größe ✓".to_owned()), Ok("Größe ✓".to_owned()));
    check(name("ä".repeat(255)), Ok("ä".repeat(255)));
    check(name("ä".repeat(256)), Err("at most 255"));
    check(name(" \t".to_owned()), Err("blank"));
    check(name("a\nb".to_owned()), Err("control"));
    check(name("a\u{85}b".to_owned()), Err("control"));
    check(tag(String::new()), Ok(None));
    check(tag("team-a".to_owned()), Ok(Some("team-a".to_owned())));
    check(tag("a\0".to_owned()), Err("control"));
    check(
        description("two\nlines\tand a tab".to_owned()),
        Ok(Some("two\nlines\tand a tab".to_owned())),
    );
    check(description("a\u{7}".to_owned()), Err("control"));
    check(description("x".repeat(2_001)), Err("at most 2000"));
    check(reason(String::new()), Ok(None));
    check(reason("x".repeat(501)), Err("at most 500"));
}

#[test]
fn permission_lists() {
    check(permissions(Vec::new()), Ok(Vec::new()));
    check(
        permissions(owned(&["users:read", "b", "users:read"])),
        Ok(owned(&["users:read", "b"])),
    );
    check(
        permissions(owned(&["and", "or", "ANDROID"])),
        Ok(owned(&["and", "or", "ANDROID"])),
    );
    check(permissions(owned(&["ok", ""])), Err("[1]must be 1 to 128"));
    for bad in ["a b", "a,b", "(a)", "a\u{a0}b", "a\t", "a\u{7f}"] {
        check(permissions(owned(&["ok", bad])), Err("[1]must not contain"));
    }
    for word in ["AND", "OR"] {
        check(permissions(owned(&[word])), Err("[0]must not be a word"));
    }
    check(permissions(vec!["x".repeat(128)]), Ok(vec!["x".repeat(128)]));
    check(permissions(vec!["x".repeat(129)]), Err("[0]"));
    check(
        permissions((0..257).map(|i| i.to_string()).collect()),
        Err("at most 256"),
    );
    // All of one key's permissions travel in one header.
    check(
        key_permissions((0..256).map(|i| format!("{i:0>30}")).collect()).map(|list| list.len()),
        Ok(256),
    );
    check(
        key_permissions((0..256).map(|i| format!("{i:0>32}")).collect()),
        Err("at most 8192 bytes"),
    );
    check(
        key_permissions((0..150).map(|i| format!("{i}{}", "ä".repeat(10))).collect()),
        Err("at most 8192 bytes"),
    );
}

#[test]
fn resource_lists() {
    let good = ["*", "/*", "invoices", "invoices/*", "/invoices/*", "a/b/c", "ä/*"];
    check(resources(owned(&good)), Ok(owned(&good)));
    for bad in ["", "//a", "a*", "a/*/b", "**", "a/**", "a?b", "a#b", "a b", "a\n"] {
        check(resources(owned(&["ok", bad])), Err("[1]"));
    }
}

#[test]
fn metadata_is_bounded_as_ascii_json() {
    let object = |text: String| JsonObject::from_iter([("k".to_owned(), serde_json::Value::String(text))]);
    // `{"k":""}` is 8 bytes long.
    for (text, fits) in [
        ("x".repeat(4_088), true),
        ("x".repeat(4_089), false),
        ("ä".repeat(681), true),
        ("ä".repeat(682), false),
        ("😀".repeat(340), true),
        ("😀".repeat(341), false),
        ("\"".repeat(2_044), true),
        ("\"".repeat(2_045), false),
    ] {
        let object = object(text);
        check(
            metadata(object.clone()),
            if fits { Ok(object) } else { Err("at most 4096 bytes") },
        );
    }
}

#[test]
fn times() {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let later = |text: &str| Ok(Some(text.parse::<Timestamp>().unwrap()));
    check(future_time("", now), Ok(None));
    check(
        future_time("2026-01-01T00:00:00.000001Z", now),
        later("2026-01-01T00:00:00.000001Z"),
    );
    check(
        future_time("2026-12-31T23:59:59+02:00", now),
        later("2026-12-31T21:59:59Z"),
    );
    check(
        future_time("2026-01-02T00:00:00.123456789Z", now),
        later("2026-01-02T00:00:00.123456Z"),
    );
    for never in [
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59.999Z",
        "9999-12-31T00:00:00-02:00",
        "9999-12-30T22:00:00.5Z",
    ] {
        check(future_time(never, now), later("9999-12-30T22:00:00Z"));
    }
    check(future_time("9999-12-30T21:59:59Z", now), later("9999-12-30T21:59:59Z"));
    check(future_time("9999-12-31T23:59:59", now), Err("RFC 3339"));
    check(future_time("9999-12-31", now), Err("RFC 3339"));
    check(future_time("2026-01-01T00:00:00Z", now), Err("future"));
    check(future_time("2026-01-01T00:00:00.0000009Z", now), Err("future"));
    check(future_time("1999-01-01T00:00:00Z", now), Err("future"));
    for bad in [
        "tomorrow",
        "2026-12-31",
        "2026-12-31T23:59:59",
        "1798761599",
        "2026-13-01T00:00:00Z",
    ] {
        check(future_time(bad, now), Err("RFC 3339"));
    }
}

#[test]
fn grace_periods() {
    check(grace_period(0), Ok(std::time::Duration::ZERO));
    check(grace_period(2_592_000), Ok(std::time::Duration::from_hours(720)));
    check(grace_period(-1), Err("between 0 and 2592000"));
    check(grace_period(2_592_001), Err("between 0 and 2592000"));
}
