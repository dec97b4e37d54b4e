use super::{find, strip};
use pingora_http::RequestHeader;
use portcullis_config::settings::CredentialPlace;
use proptest::prelude::*;

fn request(target: &str, fields: &[(&'static str, &str)]) -> RequestHeader {
    let mut request = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
    for (name, value) in fields {
        request.append_header(*name, *value).unwrap();
    }
    request
}

fn header(name: &str) -> CredentialPlace {
    CredentialPlace::Header(name.to_owned())
}

fn query(name: &str) -> CredentialPlace {
    CredentialPlace::Query(name.to_owned())
}

fn cookie(name: &str) -> CredentialPlace {
    CredentialPlace::Cookie(name.to_owned())
}

#[test]
fn every_place_is_read() {
    let check = |place: CredentialPlace, target: &str, fields: &[(&'static str, &str)], expect: Option<&str>| {
        let request = request(target, fields);
        let places = [place];
        let found = find(&places, &request).expect("one key");
        assert_eq!(found.as_deref(), expect.map(str::as_bytes), "{target} {fields:?}");
    };
    let authorization = |value| [("Authorization", value)];
    check(CredentialPlace::Bearer, "/", &authorization("Bearer k"), Some("k"));
    check(CredentialPlace::Bearer, "/", &authorization("BEARER \t k "), Some("k"));
    check(
        CredentialPlace::Bearer,
        "/",
        &authorization("Bearer k extra"),
        Some("k extra"),
    );
    check(CredentialPlace::Bearer, "/", &authorization("Bearer"), None);
    check(CredentialPlace::Bearer, "/", &authorization("Bearerk"), None);
    check(CredentialPlace::Bearer, "/", &authorization("Basic dTpr"), None);
    check(
        CredentialPlace::BasicPassword,
        "/",
        &authorization("Basic dTpr"),
        Some("k"),
    );
    check(
        CredentialPlace::BasicPassword,
        "/",
        &authorization("basic dTprOms="),
        Some("k:k"),
    );
    check(CredentialPlace::BasicPassword, "/", &authorization("Basic dTo="), None);
    check(
        CredentialPlace::BasicPassword,
        "/",
        &authorization("Basic !"),
        Some("!"),
    );
    check(header("x-key"), "/", &[("X-Key", " k ")], Some("k"));
    check(header("x-key"), "/", &[("X-Key", "")], None);
    check(query("k"), "/?k=v", &[], Some("v"));
    check(query("k"), "/?a&k=%76&b", &[], Some("v"));
    check(query("k"), "/?k=a+b", &[], Some("a b"));
    check(query("a b"), "/?a+b=v", &[], Some("v"));
    check(query("k"), "/?K=v&kk=v&=k", &[], None);
    check(query("k"), "/?k", &[], None);
    check(query("k"), "/", &[], None);
    check(cookie("k"), "/", &[("Cookie", "a=1;k=v ;b=2")], Some("v"));
    check(cookie("k"), "/", &[("Cookie", "k=\"v\"")], Some("v"));
    check(cookie("k"), "/", &[("Cookie", "a=1"), ("Cookie", "k=v=w")], Some("v=w"));
    check(cookie("k"), "/", &[("Cookie", "K=v; k")], None);
}

#[test]
fn what_is_stripped_is_the_credential_and_nothing_else() {
    let check = |places: &[CredentialPlace],
                 target: &str,
                 fields: &[(&'static str, &str)],
                 stripped: &str,
                 left: &[(&str, &str)]| {
        let mut request = request(target, fields);
        strip(places, &mut request).unwrap();
        assert_eq!(request.raw_path(), stripped.as_bytes());
        let found: Vec<(&str, &str)> = request
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(found, left, "{target} {fields:?}");
    };
    let bearer = &[CredentialPlace::Bearer];
    check(
        bearer,
        "/",
        &[("Authorization", "bearer k"), ("X", "1")],
        "/",
        &[("x", "1")],
    );
    check(
        bearer,
        "/",
        &[
            ("Authorization", "Basic a"),
            ("Authorization", "Bearer k"),
            ("Authorization", "Digest b"),
        ],
        "/",
        &[("authorization", "Basic a"), ("authorization", "Digest b")],
    );
    check(
        &[header("x-key")],
        "/?x-key=1",
        &[("X-KEY", "k"), ("x-key", "k"), ("X-Key2", "1")],
        "/?x-key=1",
        &[("x-key2", "1")],
    );
    for (target, stripped) in [
        ("/p", "/p"),
        ("/p?", "/p?"),
        ("/p?k=v", "/p"),
        ("/p?k=v&k=w", "/p"),
        ("/p?a=%2f&k=v&b&&c=+", "/p?a=%2f&b&&c=+"),
        ("/p?%6B=v&a=?", "/p?a=?"),
        ("/p?kk=v&K=v", "/p?kk=v&K=v"),
    ] {
        check(&[query("k")], target, &[], stripped, &[]);
    }
    check(
        &[cookie("k")],
        "/",
        &[("Cookie", "a=1; k=v; b=\"2\"")],
        "/",
        &[("cookie", "a=1; b=\"2\"")],
    );
    check(
        &[cookie("k")],
        "/",
        &[("Cookie", "k=v; b=2")],
        "/",
        &[("cookie", "b=2")],
    );
    check(&[cookie("k")], "/", &[("Cookie", "k=v")], "/", &[]);
    check(
        &[cookie("k")],
        "/",
        &[("Cookie", "a=1"), ("Cookie", "k=v")],
        "/",
        &[("cookie", "a=1")],
    );
}

#[test]
fn different_keys_are_ambiguous_and_equal_ones_are_not() {
    let places = [CredentialPlace::Bearer, header("x-key"), query("k")];
    let check = |target: &str, fields: &[(&'static str, &str)], expect: bool| {
        assert_eq!(
            find(&places, &request(target, fields)).is_err(),
            expect,
            "{target} {fields:?}"
        );
    };
    check("/?k=a", &[("Authorization", "Bearer a"), ("X-Key", "a")], false);
    check("/?k=b", &[("Authorization", "Bearer a")], true);
    check("/", &[("Authorization", "Bearer a"), ("X-Key", "b")], true);
    check("/", &[("X-Key", "a"), ("X-Key", "b")], true);
    check("/?k=a&k=%62", &[], true);
    check("/?k=", &[("X-Key", "a")], false);
}

proptest! {
    /// Once stripped, a request has no key in any place, whatever it looked like.
    #[test]
    fn nothing_is_found_after_stripping(
        query_text in "[a-z0-9%&=+;]{0,40}",
        cookie_text in "[a-z0-9=; \"]{0,40}",
        authorization in "(?i)(bearer|basic|digest)? ?[a-zA-Z0-9=]{0,12}",
    ) {
        let places = [
            CredentialPlace::Bearer, CredentialPlace::BasicPassword, header("x-key"), query("k"), cookie("k"),
        ];
        let mut request = request(
            &format!("/?{query_text}"),
            &[("Cookie", &cookie_text), ("Authorization", &authorization), ("X-Key", "v")],
        );
        strip(&places, &mut request).unwrap();
        prop_assert_eq!(find(&places, &request), Ok(None));
    }
}
