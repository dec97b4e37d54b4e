//! Variables: which key they stand for, how their text is read, and that they win.

use super::read_with;
use crate::settings::{OnStale, Settings};
use std::path::Path;
use std::time::Duration;

fn settings(variables: &[(&str, &str)]) -> Settings {
    read_with(
        "[control]\nlisten = \"127.0.0.1:1111\"\nrequest_timeout = \"3s\"\n",
        variables,
    )
    .unwrap()
}

/// Holds the faults of variables, over an empty file, against their printed lines.
fn check(variables: &[(&str, &str)], expected: &[&str]) {
    let found: Vec<String> = match read_with("", variables) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.0.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(found, expected, "{variables:?}");
}

#[test]
fn environment_over_file_over_default() {
    let read = settings(&[("PORTCULLIS__CONTROL__LISTEN", "127.0.0.1:2222")]);
    assert_eq!(read.control.listen.port(), 2222);
    assert_eq!(read.control.request_timeout, Duration::from_secs(3));
    assert_eq!(read.control.body_bytes_max, Settings::default().control.body_bytes_max);
}

#[test]
fn text_takes_the_type_of_its_setting() {
    let read = settings(&[
        ("PORTCULLIS__gateway__Preload", "true"),
        ("PORTCULLIS__GATEWAY__ON_STALE", "serve"),
        ("PORTCULLIS__GATEWAY__WORKERS", "3"),
        ("PORTCULLIS__GATEWAY__HEADER_BYTES_MAX", "16KiB"),
        ("PORTCULLIS__GATEWAY__URI_BYTES_MAX", "2048"),
        ("PORTCULLIS__GATEWAY__CONTROL_TOKEN", "12345"),
        ("PORTCULLIS__LIMITS__LEGACY_HEADERS", "true"),
        ("PORTCULLIS__LIMITS__PERSIST", "true"),
        ("PORTCULLIS__LIMITS__PERSIST_FILE", "/var/lib/portcullis/limits"),
        ("PORTCULLIS__LIMITS__PERSIST_INTERVAL", "10s"),
        ("PORTCULLIS__LOG__LEVEL", "debug"),
        ("PORTCULLIS_BOOTSTRAP_TOKEN", "is no setting"),
        ("PATH", "neither"),
    ]);
    let gateway = read.gateway;
    assert_eq!(
        (gateway.preload, gateway.on_stale, gateway.workers),
        (true, OnStale::Serve, Some(3))
    );
    assert_eq!((gateway.header_bytes_max, gateway.uri_bytes_max), (16_384, 2_048));
    assert_eq!(gateway.control_token.unwrap().0, "12345");
    let limits = read.limits;
    assert!(limits.legacy_headers && limits.persist);
    assert_eq!(limits.persist_file, Path::new("/var/lib/portcullis/limits"));
    assert_eq!(limits.persist_interval, Duration::from_secs(10));
    assert_eq!(read.log.level, "debug");
}

#[test]
fn lists_are_comma_separated_or_arrays() {
    for text in [
        "10.0.0.0/8, 192.0.2.1",
        "[\"10.0.0.0/8\", '192.0.2.1']",
        "[\"10.0.0.0\\/8\",\"192.0.2.1\"]",
    ] {
        let read = settings(&[("PORTCULLIS__GATEWAY__TRUSTED_PROXIES", text)]);
        assert_eq!(read.gateway.trusted_proxies.len(), 2, "{text}");
    }
    assert_eq!(
        settings(&[("PORTCULLIS__AUTHZ__APPS", "")]).authz.apps,
        Some(Vec::new())
    );
    let read = settings(&[(
        "PORTCULLIS__GATEWAY__LISTEN",
        "[{ address = \"127.0.0.1:1\", h2c = true }, \"127.0.0.1:2\"]",
    )]);
    assert_eq!(
        (read.gateway.listen[0].h2c, read.gateway.listen[1].address.port()),
        (true, 2)
    );
    for one in [
        "127.0.0.1:2",
        "{ address = \"127.0.0.1:2\" }",
        "{\"address\": \"127.0.0.1:2\"}",
    ] {
        let read = settings(&[("PORTCULLIS__GATEWAY__LISTEN", one)]);
        let ports: Vec<u16> = read
            .gateway
            .listen
            .iter()
            .map(|listener| listener.address.port())
            .collect();
        assert_eq!(ports, [2], "{one}");
    }
    for rules in [
        "[{ unit = \"second\", duration = 1, max_requests = 5 }]",
        "[{\"unit\": \"second\", \"duration\": 1, \"max_requests\": 5}]",
    ] {
        let read = settings(&[("PORTCULLIS__LIMITS__DEFAULT_RULES", rules)]);
        assert_eq!(read.limits.default_rules[0].max_requests, 5);
    }
}

#[test]
fn routes_are_replaced_as_a_whole() {
    let file = "[[routes]]\nupstreams = [\"http://a\"]\n[[routes]]\nupstreams = [\"http://b\"]\nhost = \"b\"\n";
    let routes = "[{ upstreams = [\"http://c:1\"], apps = [\"x\"], connect_timeout = \"1s\" }]";
    let read = read_with(file, &[("PORTCULLIS__ROUTES", routes)]).unwrap().routes;
    assert_eq!((read.len(), read[0].upstreams[0].host.as_str()), (1, "c"));
    assert_eq!(
        (read[0].apps.as_slice(), read[0].connect_timeout),
        (["x".to_owned()].as_slice(), Duration::from_secs(1))
    );
}

#[test]
fn faults_name_the_variable() {
    check(
        &[
            ("PORTCULLIS__GATEWAY__WORKERS", "two"),
            ("PORTCULLIS__GATEWAY__PRELOAD", "1"),
        ],
        &[
            "PORTCULLIS__GATEWAY__PRELOAD: gateway.preload: must be true or false, not a string",
            "PORTCULLIS__GATEWAY__WORKERS: gateway.workers: must be a whole number, not a string",
        ],
    );
    check(
        &[("PORTCULLIS__GATWAY__LISTEN", "127.0.0.1:1")],
        &["PORTCULLIS__GATWAY__LISTEN: gatway: unknown key; did you mean `gateway`?"],
    );
    check(
        &[("PORTCULLIS__GATEWAY__LISTNE", "127.0.0.1:1")],
        &["PORTCULLIS__GATEWAY__LISTNE: gateway.listne: unknown key; did you mean `listen`?"],
    );
    for name in [
        "PORTCULLIS__",
        "PORTCULLIS__GATEWAY",
        "PORTCULLIS__GATEWAY__",
        "PORTCULLIS__GATEWAY__LISTEN__TLS",
    ] {
        check(
            &[(name, "x")],
            &[&format!(
                "{name}: not the name of a setting: write PORTCULLIS__SECTION__KEY, such as PORTCULLIS__CONTROL__LISTEN"
            )],
        );
    }
    check(
        &[("PORTCULLIS__ROUTES__HOST", "*")],
        &["PORTCULLIS__ROUTES__HOST: routes: routes are set as a whole: PORTCULLIS__ROUTES = an array of tables"],
    );
    check(
        &[("PORTCULLIS__LOG__LEVEL", "info"), ("PORTCULLIS__log__level", "warn")],
        &["PORTCULLIS__log__level: log.level: set by two variables that differ only in case"],
    );
    check(
        &[("PORTCULLIS__ROUTES", "[{ upstreams = [\"http://a/b\"] }]")],
        &[
            "PORTCULLIS__ROUTES: routes[0].upstreams[0]: has a path or query: requests keep their own, so write only scheme, host and port",
        ],
    );
    check(
        &[("PORTCULLIS__AUTHZ__APPS", "a,,b")],
        &[
            "PORTCULLIS__AUTHZ__APPS: authz.apps[1]: \"\" is not a slug: 1 to 64 of a-z, 0-9, `-` and `_`, starting with a letter or digit",
        ],
    );
}

#[test]
fn broken_arrays_are_one_fault() {
    for text in ["[", "[1]\nmore = 2", "[{]", "{", "[null"] {
        let faults = read_with("", &[("PORTCULLIS__ROUTES", text)]).unwrap_err();
        assert_eq!(
            (faults.0.len(), faults.0[0].key.as_str()),
            (1, "routes"),
            "{text}: {faults}"
        );
    }
}
