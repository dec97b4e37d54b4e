//! Every kind of fault, its place and its words.

use super::{check, check_value, read};
use crate::scalar;
use crate::section::upstream;
use crate::settings::{CredentialPlace, Upstream};
use proptest::prelude::*;
use std::time::Duration;

#[test]
fn every_fault_is_told_at_once_and_in_order() {
    check(
        "[control]\nlisten = 7070\nstore = \"postgres://u:hunter2@db\"\n\n[gatway]\npreload = true\n\n\
         [[routes]]\nupstreams = [\"http://a\", \"http://b/x\", 3]\nhost = \"Example.com\"\n\n[[routes]]\npath = \"api\"\n",
        &[
            "p.toml:2:10: control.listen: must be a string, not an integer",
            "p.toml:3:9: control.store: names no database: write \"postgres://USER:PASSWORD@HOST/DATABASE\"",
            "p.toml:5:2: gatway: unknown key; did you mean `gateway`?",
            "p.toml:9:26: routes[0].upstreams[1]: has a path or query: requests keep their own, so write only scheme, host and port",
            "p.toml:9:40: routes[0].upstreams[2]: must be a string, not an integer",
            "p.toml:10:8: routes[0].host: \"Example.com\" is not a host: write it in lower case: \"example.com\"",
            "p.toml:12:1: routes[1].upstreams: missing; it has no default: write upstreams = [\"http://127.0.0.1:3000\"]",
            "p.toml:13:8: routes[1].path: \"api\" is not a route's path: it starts with a slash: \"/api\"",
        ],
    );
}

#[test]
fn a_file_that_is_not_toml_says_where() {
    check(
        "[control\nlisten = 1\n",
        &["p.toml:1:9: not TOML: unclosed table, expected `]`"],
    );
    check(
        "[log]\nlevel = \"info\"\nlevel = \"warn\"\n",
        &["p.toml:3:1: not TOML: duplicate key"],
    );
    let faults = crate::parse(std::path::Path::new("p.toml"), b"[log]\n# \xff", std::iter::empty()).unwrap_err();
    assert_eq!(faults.to_string(), "p.toml:2:3: not UTF-8, which TOML must be");
}

#[test]
fn a_byte_order_mark_is_not_content() {
    check(
        "\u{feff}[log]\nlevel = \"loud\"",
        &[
            "p.toml:2:9: log.level: \"loud\" is not a log filter: write a level (off, error, warn, info, debug, trace), \
         then exceptions such as \"info,portcullis_proxy=debug\"",
        ],
    );
}

#[test]
fn columns_count_characters() {
    check(
        "log = { \"ü\" = 1, levle = 2 }",
        &[
            "p.toml:1:9: log.\"ü\": unknown key; here are: format, level, requests",
            "p.toml:1:18: log.levle: unknown key; did you mean `level`?",
        ],
    );
}

#[test]
fn unknown_keys_are_guessed() {
    check(
        "[gateway]\nstore = \"local\"\n",
        &["p.toml:2:1: gateway.store: unknown key here; did you mean `control.store` or `limits.store`?"],
    );
    check(
        "route = []\n",
        &["p.toml:1:1: route: unknown key; did you mean `routes`?"],
    );
    check(
        "[[routes]]\nupstreams = [\"http://a\"]\nhots = \"*\"\n",
        &["p.toml:3:1: routes[0].hots: unknown key; did you mean `host`?"],
    );
    check(
        "\"a\\nb\" = 1\n",
        &[
            "p.toml:1:1: \"a\\nb\": unknown key; at the top are: admin, authz, cache, control, failures, gateway, limits, log, routes",
        ],
    );
}

#[test]
fn wrong_types_are_named() {
    check(
        "gateway = 1\n",
        &["p.toml:1:11: gateway: must be a table, not an integer"],
    );
    check(
        "[routes]\nhost = \"*\"\n",
        &["p.toml:1:1: routes: is a list of tables: write [[routes]], with two brackets"],
    );
    check_value(
        "gateway",
        "trusted_proxies = \"10.0.0.0/8\"",
        "must be a list: [ … ], not a string",
    );
    check_value("gateway", "preload = \"yes\"", "must be true or false, not a string");
    check_value("limits", "legacy_headers = 1", "must be true or false, not an integer");
    check_value("limits", "persist = \"yes\"", "must be true or false, not a string");
    check_value(
        "limits",
        "persist_file = \"\"",
        "is empty: name a file, or leave the key out",
    );
    check_value(
        "gateway",
        "workers = 1.5",
        "must be a whole number, not a number with a fraction",
    );
    check_value("gateway", "workers = 0", "0 is out of bounds: from 1 to 1024");
    check_value(
        "gateway",
        "keepalive_requests = -1",
        "-1 is out of bounds: from 0 to 4294967295",
    );
    check_value(
        "gateway",
        "on_stale = \"server\"",
        "\"server\" is none of \"refuse\", \"serve\"",
    );
    check_value("log", "format = 2026-01-01", "must be a string, not a date or time");
}

#[test]
fn durations_need_a_unit_and_have_bounds() {
    let not_one = |text: &str| {
        format!(
            "\"{text}\" is not a duration: write a whole number and its unit, such as \"500ms\", \"30s\", \"2m\" or \"1h\""
        )
    };
    for text in ["", "1", "s", "1.5s", "-1s", "1 sec", "1S", "٣s", "1m30s"] {
        check_value("control", &format!("request_timeout = \"{text}\""), &not_one(text));
    }
    check_value(
        "control",
        "request_timeout = 10",
        "must be a string with its unit, such as \"500ms\", \"30s\", \"2m\" or \"1h\", not an integer",
    );
    check_value(
        "control",
        "request_timeout = \"50ms\"",
        "50ms is out of bounds: from 100ms to 1h",
    );
    let interval = "is out of bounds: from 1s to 1h";
    for text in ["999ms", "61m"] {
        check_value(
            "limits",
            &format!("persist_interval = \"{text}\""),
            &format!("{text} {interval}"),
        );
    }
    check_value("limits", "persist_interval = \"1s\"", "");
    check_value(
        "control",
        "request_timeout = \"61m\"",
        "61m is out of bounds: from 100ms to 1h",
    );
    check_value(
        "control",
        "request_timeout = \"18446744073709551615h\"",
        "\"18446744073709551615h\" is longer than any duration",
    );
    assert_eq!(
        read("[gateway]\ndrain_timeout = \"0s\"").unwrap().gateway.drain_timeout,
        Duration::ZERO
    );
}

#[test]
fn sizes_take_bytes_and_units_of_1024() {
    for text in ["32KB", "32k", "1.5MiB", "KiB", "-1"] {
        check_value(
            "gateway",
            &format!("header_bytes_max = \"{text}\""),
            &format!(
                "\"{text}\" is not a size: write bytes as a whole number, or with a unit of 1024: \"32KiB\", \"1MiB\", \"2GiB\""
            ),
        );
    }
    check_value("gateway", "header_bytes_max = -1", "-1 is negative");
    check_value(
        "gateway",
        "header_bytes_max = 1000",
        "1000 bytes is out of bounds: from 1KiB to 1MiB",
    );
    check_value(
        "gateway",
        "header_bytes_max = true",
        "must be a number of bytes, such as 4096 or \"32KiB\", not a boolean",
    );
    check_value(
        "gateway",
        "body_bytes_max = 0",
        "0 bytes is out of bounds: from 1 bytes to 1024GiB",
    );
    let gateway = read("[gateway]\nheader_bytes_max = \"64KiB\"\nbody_bytes_max = 123\n")
        .unwrap()
        .gateway;
    assert_eq!((gateway.header_bytes_max, gateway.body_bytes_max), (65_536, Some(123)));
    assert_eq!(
        read("[gateway]\nbody_bytes_max = \"none\"\n")
            .unwrap()
            .gateway
            .body_bytes_max,
        None
    );
    let cut_streams_after = |value: &str| {
        read(&format!("[gateway]\ncut_streams_after = \"{value}\"\n"))
            .unwrap()
            .gateway
            .cut_streams_after
    };
    assert_eq!(cut_streams_after("200ms"), Some(std::time::Duration::from_millis(200)));
    assert_eq!(cut_streams_after("never"), None);
}

#[test]
fn a_single_listener_needs_no_list() {
    for one in ["\"127.0.0.1:2\"", "{ address = \"127.0.0.1:2\", h2c = true }"] {
        let read = read(&format!("[gateway]\nlisten = {one}\n")).unwrap();
        let ports: Vec<u16> = read
            .gateway
            .listen
            .iter()
            .map(|listener| listener.address.port())
            .collect();
        assert_eq!(ports, [2], "{one}");
    }
    check_value(
        "gateway",
        "listen = \"127.0.0.1\"",
        "\"127.0.0.1\" is not a listen address: the port is missing, as in \"127.0.0.1:7080\"",
    );
    check_value("gateway", "listen = 7080", "must be a list: [ … ], not an integer");
}

#[test]
fn listen_addresses_are_explained() {
    let fault = |text: &str, hint: &str| {
        check_value(
            "admin",
            &format!("listen = \"{text}\""),
            &format!("\"{text}\" is not a listen address: {hint}"),
        );
    };
    fault(":7090", "for every interface write \"0.0.0.0:7090\" or \"[::]:7090\"");
    fault("127.0.0.1", "the port is missing, as in \"127.0.0.1:7080\"");
    fault("localhost:7090", "write the address, not the name: \"127.0.0.1:7090\"");
    fault(
        "example.com:80",
        "write an IP address and a port, such as \"127.0.0.1:7080\" or \"[::1]:7080\"",
    );
}

#[test]
fn two_listeners_never_share_a_port() {
    check(
        "[admin]\nlisten = \"127.0.0.1:7080\"\n",
        &[
            "p.toml:2:10: admin.listen: 127.0.0.1:7080 is taken by gateway.listen[0]: give every listener a port of its own",
        ],
    );
    // The other one is a default, so the one that was written is told.
    check(
        "[control]\nlisten = \"127.0.0.1:7090\"\n",
        &[
            "p.toml:2:10: control.listen: 127.0.0.1:7090 is taken by admin.listen: give every listener a port of its own",
        ],
    );
    check(
        "[gateway]\nlisten = [\"0.0.0.0:7070\", \"[::]:7090\"]\n",
        &[
            "p.toml:2:11: gateway.listen[0]: 0.0.0.0:7070 is taken by control.listen: give every listener a port of its own",
        ],
    );
    check(
        "[gateway]\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\nauthz_listen = \"127.0.0.1:0\"\n",
        &[],
    );
    // A faulty listener takes no port.
    check(
        "[gateway]\nlisten = [\"x\"]\n[admin]\nlisten = \"127.0.0.1:7080\"\n",
        &[
            "p.toml:2:11: gateway.listen[0]: \"x\" is not a listen address: write an IP address and a port, such as \
         \"127.0.0.1:7080\" or \"[::1]:7080\"",
        ],
    );
}

#[test]
fn listeners_may_be_tables() {
    check(
        "[gateway]\nlisten = []\n",
        &["p.toml:2:10: gateway.listen: is empty: the reverse proxy needs at least one listener"],
    );
    check(
        "[gateway]\nlisten = [{ tls = { cert = \"/nowhere.pem\" }, h2 = true }]\n",
        &[
            "p.toml:2:11: gateway.listen[0].address: missing; it has no default: write address = \"127.0.0.1:7080\"",
            "p.toml:2:19: gateway.listen[0].tls.key: missing; it has no default: write key = \"server-key.pem\"",
            "p.toml:2:28: gateway.listen[0].tls.cert: \"/nowhere.pem\" cannot be read: No such file or directory (os error 2)",
            "p.toml:2:46: gateway.listen[0].h2: unknown key; did you mean `h2c`?",
        ],
    );
    let folder = tempfile::tempdir().unwrap();
    let pem = folder.path().join("pem");
    std::fs::write(&pem, "x").unwrap();
    let (pem, folder) = (pem.display(), folder.path().display());
    check(
        &format!(
            "[gateway]\nlisten = [{{ address = \"127.0.0.1:1\", tls = {{ cert = \"{pem}\", key = \"{pem}\" }} }}]\n"
        ),
        &[],
    );
    check(
        &format!(
            "[[gateway.listen]]\naddress = \"127.0.0.1:1\"\nh2c = true\ntls = {{ cert = \"{pem}\", key = \"{folder}\" }}\n"
        ),
        &[
            "p.toml:3:7: gateway.listen[0].h2c: is for plain listeners: one with TLS offers HTTP/2 by itself",
            &format!(
                "p.toml:4:{}: gateway.listen[0].tls.key: {:?} is not a file",
                pem.to_string().len() + 26,
                folder.to_string()
            ),
        ],
    );
}

#[test]
fn no_fault_quotes_a_secret() {
    let text = "[control]\nstore = \"mysql://u:hunter2@db\"\n[limits]\nstore = \"redis://:hunter2@r\"\n\
        [gateway]\ncontrol_token = \"hunter2 hunter2\"\ncontrol_token_file = \"/nowhere\"\ncontrol_url = \"http://u:hunter2@c\"\n\
        [[routes]]\nupstreams = [\"http://u:hunter2@h\", \"ftp://hunter2\", \"http://h:hunter2\", \"http://hunter2!\"]\n";
    let faults = read(text).unwrap_err();
    assert_eq!(faults.0.len(), 9, "{faults}");
    assert!(!faults.to_string().contains("hunter2"), "{faults}");
    for wrong in [
        "12345",
        "[\"hunter2\"]",
        "{ a = \"hunter2\" }",
        "\"\"",
        "\"hunter2\\n\"",
        "\"hünter2\"",
    ] {
        let faults = read(&format!("[gateway]\ncontrol_token = {wrong}\n"))
            .unwrap_err()
            .to_string();
        assert!(!faults.contains("nter2") && !faults.contains("12345"), "{faults}");
    }
    for unclosed in ["\"hunter2", "hunter2", "'hunter2\n'"] {
        let faults = read(&format!("[gateway]\ncontrol_token = {unclosed}\n"))
            .unwrap_err()
            .to_string();
        assert!(!faults.contains("hunter2"), "{faults}");
    }
    let settings = read("[gateway]\ncontrol_token = \"hunter2\"\n").unwrap();
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn one_token_is_enough() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display();
    check(&format!("[gateway]\ncontrol_token_file = \"{path}\"\n"), &[]);
    check(
        &format!("[gateway]\ncontrol_token = \"x\"\ncontrol_token_file = \"{path}\"\n"),
        &["p.toml:3:22: gateway.control_token_file: control_token is set too: keep one of them"],
    );
}

#[test]
fn a_store_is_a_file_or_a_database_of_a_server() {
    for url in [
        "postgres://u:hunter2@h:5432/d?sslmode=verify-full",
        "postgresql://h/d",
        "sqlite:///var/lib/p.db",
    ] {
        let settings = read(&format!("[control]\nstore = \"{url}\"\n")).unwrap();
        assert_eq!(&*settings.control.store, url);
        assert!(!format!("{settings:?}").contains("hunter2"), "{url}");
    }
    for url in [
        "postgres://",
        "postgres://u:hunter2@h",
        "postgres://h/",
        "postgres://h/?host=/run",
    ] {
        check_value(
            "control",
            &format!("store = \"{url}\""),
            "names no database: write \"postgres://USER:PASSWORD@HOST/DATABASE\"",
        );
    }
    for url in [
        "postgres://u:hunter/2@h/d",
        "postgres://u:hunter2#@h/d",
        "postgres://u:hunter/2#@h/d",
    ] {
        check_value(
            "control",
            &format!("store = \"{url}\""),
            "is cut short by a character in the user or password: percent-encode all there that is no letter or digit",
        );
    }
    check_value(
        "control",
        "store = \"keys.db\"",
        "is not a store: write \"sqlite://FILE\", such as \"sqlite://portcullis.db\", or \
         \"postgres://USER:PASSWORD@HOST/DATABASE\"",
    );
    for text in ["sqlite://", "sqlite://:memory:"] {
        check_value(
            "control",
            &format!("store = \"{text}\""),
            "names no file: write \"sqlite://FILE\"; keys must outlive the process",
        );
    }
    check_value(
        "control",
        "store = \"sqlite://a.db?mode=ro\"",
        "takes no parameters: write \"sqlite://FILE\" and nothing behind it",
    );
    check_value(
        "limits",
        "store = \"redis://h\"",
        "counters in Redis are not in this version: write \"local\"",
    );
    check_value(
        "limits",
        "store = \"memory\"",
        "is not a place for counters: write \"local\"",
    );
}

#[test]
fn networks_are_exact() {
    let check_network = |text: &str, expected: &str| {
        let line = format!("p.toml:2:20: gateway.trusted_proxies[0]: {expected}");
        let expected: &[&str] = if expected.is_empty() { &[] } else { &[&line] };
        check(&format!("[gateway]\ntrusted_proxies = [\"{text}\"]\n"), expected);
    };
    check_network("10.0.0.0/8", "");
    check_network("fd00::/8", "");
    check_network(
        "10.0.0.1/8",
        "\"10.0.0.1/8\" has bits set behind its prefix: write \"10.0.0.0/8\"",
    );
    check_network(
        "10.0.0.0/33",
        "\"10.0.0.0/33\" is not a network: write CIDR such as \"10.0.0.0/8\", or one address",
    );
    check_network(
        "::ffff:10.0.0.0/104",
        "\"::ffff:10.0.0.0/104\" is an IPv4-mapped network: write it as IPv4, which is how peers are compared",
    );
    let proxies = read("[gateway]\ntrusted_proxies = [\"192.0.2.1\", \"2001:db8::1\"]\n")
        .unwrap()
        .gateway
        .trusted_proxies;
    assert_eq!(
        proxies,
        ["192.0.2.1/32".parse().unwrap(), "2001:db8::1/128".parse().unwrap()]
    );
}

#[test]
fn settings_agree_with_one_another() {
    check(
        "[gateway]\nstale_max = \"500ms\"\n",
        &["p.toml:2:13: gateway.stale_max: stale_soft (1s) must not be above stale_max (500ms)"],
    );
    check(
        "[gateway]\nstale_max = \"1m\"\nstale_soft = \"2m\"\n",
        &["p.toml:3:14: gateway.stale_soft: stale_soft (2m) must not be above stale_max (1m)"],
    );
    check(
        "[gateway]\nheader_bytes_max = \"4KiB\"\n",
        &[
            "p.toml:2:20: gateway.header_bytes_max: uri_bytes_max (8192) must not be above header_bytes_max (4096), which it is a part of",
        ],
    );
    check(
        "[limits]\npersist = true\npersist_file = \"./portcullis.db\"\n",
        &["p.toml:3:16: limits.persist_file: limits.persist_file and control.store name one file: give each its own"],
    );
    check(
        "[gateway]\nsnapshot = \"portcullis.limits\"\n[limits]\npersist = true\n",
        &["p.toml:2:12: gateway.snapshot: limits.persist_file and gateway.snapshot name one file: give each its own"],
    );
    check("[limits]\npersist_file = \"portcullis.db\"\n", &[]);
}

/// One route with the given line in it; the line is the third.
fn check_route(line: &str, expected: &str) {
    let key = line.split('=').next().unwrap().trim();
    let column = line.find('=').unwrap() + 3;
    let expected = expected.replace("KEY", &format!("p.toml:3:{column}: routes[0].{key}"));
    let expected: Vec<&str> = if expected.is_empty() { vec![] } else { vec![&expected] };
    check(
        &format!("[[routes]]\nupstreams = [\"http://127.0.0.1:3000\"]\n{line}\n"),
        &expected,
    );
}

#[test]
fn hosts_have_one_spelling() {
    for host in [
        "*",
        "example.com",
        "*.example.com",
        "localhost",
        "my_service",
        "127.0.0.1",
        "[::1]",
    ] {
        check_route(&format!("host = \"{host}\""), "");
    }
    let fault = |host: &str, hint: &str| {
        check_route(
            &format!("host = \"{host}\""),
            &format!("KEY: \"{host}\" is not a host: {hint}"),
        );
    };
    fault("example.com:80", "leave the port out; a route holds for every port");
    fault(
        "a.*.com",
        "`*` may only be the whole left-most label, as in \"*.example.com\"",
    );
    fault(
        "*example.com",
        "`*` may only be the whole left-most label, as in \"*.example.com\"",
    );
    fault("example.com.", "leave the last dot out");
    fault("[::0001]", "write \"[::1]\"");
    fault("[::1]:80", "an IPv6 address stands in brackets, without port");
    fault("", "has no host");
    for host in ["-a.com", "a..b", "bücher.example", "a b"] {
        fault(
            host,
            "has a host with an illegal label: 1 to 63 of a-z, 0-9, `-` and `_` between dots, `-` at no end \
             (an international name in its xn-- form)",
        );
    }
}

#[test]
fn paths_have_one_spelling() {
    for (written, read_as) in [
        ("/", "/"),
        ("/api", "/api"),
        ("/api/", "/api"),
        ("/a,b/c@d", "/a,b/c@d"),
        ("/...", "/..."),
    ] {
        let text = format!("[[routes]]\nupstreams = [\"http://a\"]\npath = \"{written}\"\n");
        assert_eq!(read(&text).unwrap().routes[0].path, read_as);
    }
    let fault = |path: &str, hint: &str| {
        check_route(
            &format!("path = \"{path}\""),
            &format!("KEY: \"{path}\" is not a route's path: {hint}"),
        );
    };
    fault("api", "it starts with a slash: \"/api\"");
    fault("/api/*", "a path is a prefix already, leave the `*` out");
    for path in ["//", "/a//b", "/a//"] {
        fault(
            path,
            "an empty segment (`//`) is refused in requests, so this would match none",
        );
    }
    for path in ["/a/../b", "/.", "/..", "/./a"] {
        fault(path, "a dot segment is refused in requests, so this would match none");
    }
    for (path, illegal) in [
        ("/a%2Fb", "'%'"),
        ("/a;x", "';'"),
        ("/a?b", "'?'"),
        ("/a#b", "'#'"),
        ("/a b", "' '"),
        ("/{id}", "'{'"),
        ("/ü", "'ü'"),
    ] {
        fault(
            path,
            &format!(
                "{illegal} cannot be in it (routes are matched on paths without percent-encoding and `;` parameters)"
            ),
        );
    }
}

#[test]
fn upstreams_are_scheme_host_and_port() {
    let upstream = |tls, host: &str, port| Upstream {
        tls,
        host: host.to_owned(),
        port,
    };
    for (written, expected) in [
        ("http://127.0.0.1:3000", upstream(false, "127.0.0.1", 3000)),
        ("http://Example.com", upstream(false, "example.com", 80)),
        ("https://example.com/", upstream(true, "example.com", 443)),
        ("http://[::1]:8080", upstream(false, "::1", 8080)),
        ("https://[2001:DB8::1]", upstream(true, "2001:db8::1", 443)),
    ] {
        let text = format!("[[routes]]\nupstreams = [\"{written}\"]\n");
        assert_eq!(read(&text).unwrap().routes[0].upstreams, [expected]);
    }
    for (written, message) in [
        (
            "127.0.0.1:3000",
            "is not an upstream: write \"http://HOST:PORT\" or \"https://HOST:PORT\"",
        ),
        (
            "http://a/b",
            "has a path or query: requests keep their own, so write only scheme, host and port",
        ),
        (
            "http://a?b",
            "has a path or query: requests keep their own, so write only scheme, host and port",
        ),
        (
            "http://u:p@a",
            "holds credentials, which would be sent nowhere: write only scheme, host and port",
        ),
        ("http://", "has no host"),
        ("http://a:0", "has no such port: ports go from 1 to 65535"),
        ("http://a:+1", "has no such port: ports go from 1 to 65535"),
        ("http://a:65536", "has no such port: ports go from 1 to 65535"),
        (
            "http://::1",
            "has an IPv6 address without brackets: write \"http://[::1]:8080\"",
        ),
        ("http://[::1", "has no `]` behind its IPv6 address"),
        (
            "http://300.1.1.1",
            "has a host that looks like an IPv4 address and is none",
        ),
    ] {
        check(
            &format!("[[routes]]\nupstreams = [\"{written}\"]\n"),
            &[&format!("p.toml:2:14: routes[0].upstreams[0]: {message}")],
        );
    }
    check(
        "[[routes]]\nupstreams = []\n",
        &["p.toml:2:13: routes[0].upstreams: is empty: a route needs at least one upstream"],
    );
    check_route("upstream_ca = \"/dev/null\"", "KEY: \"/dev/null\" is not a file");
    let ca = tempfile::NamedTempFile::new().unwrap();
    let ca = format!("upstream_ca = \"{}\"", ca.path().display());
    check_route(&ca, "KEY: is never used: no upstream of this route is https");
}

#[test]
fn credentials_name_places_that_hold_nothing_else() {
    let text = "[[routes]]\nupstreams = [\"http://a\"]\ncredentials = [\"basic\", \"header:X-Key\", \"query:api_key\", \"cookie:k\"]\n";
    assert_eq!(
        read(text).unwrap().routes[0].credentials,
        [
            CredentialPlace::BasicPassword,
            CredentialPlace::Header("x-key".to_owned()),
            CredentialPlace::Query("api_key".to_owned()),
            CredentialPlace::Cookie("k".to_owned()),
        ]
    );
    let fault = |place: &str, message: &str| {
        check(
            &format!("[[routes]]\nupstreams = [\"http://a\"]\ncredentials = [\"{place}\"]\n"),
            &[&format!("p.toml:3:16: routes[0].credentials[0]: {message}")],
        );
    };
    for place in ["Bearer", "header", "form:x", ""] {
        fault(
            place,
            &format!(
                "\"{place}\" is not a place for a key: write \"bearer\", \"basic\", \"header:NAME\", \"query:NAME\" or \"cookie:NAME\""
            ),
        );
    }
    fault("header:", "\"\" is not a header's name");
    fault("header:a b", "\"a b\" is not a header's name");
    for name in [
        "Host",
        "Content-Length",
        "Transfer_Encoding",
        "connection",
        "TE",
        "x-request-id",
    ] {
        fault(
            &format!("header:{name}"),
            &format!("\"{name}\" has a meaning of its own, no key can be in it"),
        );
    }
    fault(
        "header:Cookie",
        "\"Cookie\" has a meaning of its own, no key can be in it; for a cookie write \"cookie:NAME\"",
    );
    for name in ["X-Wacht-Key-ID", "x_wacht_key", "x.wacht.key", "X-Forwarded-For"] {
        fault(
            &format!("header:{name}"),
            &format!("\"{name}\" is set by the gateway itself, no key can be in it"),
        );
    }
    fault(
        "query:a&b",
        "\"a&b\" is not the name of a query parameter: letters, digits, `-`, `.`, `_` and `~`",
    );
    fault("cookie:a;b", "\"a;b\" is not a cookie's name");
    check_route("credentials = []", "KEY: is empty: a key must be looked for somewhere");
    check(
        "[[routes]]\nupstreams = [\"http://a\"]\ncredentials = [\"header:x-key\", \"header:X-Key\"]\n",
        &["p.toml:3:32: routes[0].credentials[1]: \"header:x-key\" is listed twice"],
    );
    check_route(
        "credentials = [\"bearer\", \"header:authorization\"]",
        "KEY: \"header:authorization\" takes the whole value, so with \"bearer\" or \"basic\" beside it every key would be ambiguous: keep one",
    );
}

#[test]
fn apps_and_permissions_are_well_formed() {
    check(
        "[[routes]]\nupstreams = [\"http://a\"]\napps = [\"a\", \"B\", \"a\"]\n",
        &[
            "p.toml:3:14: routes[0].apps[1]: \"B\" is not a slug: 1 to 64 of a-z, 0-9, `-` and `_`, starting with a letter or digit",
            "p.toml:3:19: routes[0].apps[2]: \"a\" is listed twice",
        ],
    );
    let faults = read("[[routes]]\nupstreams = [\"http://a\"]\npermissions = [\"a AND\", \"b\"]\n").unwrap_err();
    assert_eq!(faults.0.len(), 1, "{faults}");
    assert_eq!(
        (faults.0[0].key.as_str(), faults.0[0].line),
        ("routes[0].permissions[0]", Some(3))
    );
    assert!(
        faults.0[0]
            .message
            .starts_with("\"a AND\" is not a permission expression: "),
        "{faults}"
    );
}

#[test]
fn one_host_and_path_is_one_route() {
    let route = |path: &str| format!("[[routes]]\nupstreams = [\"http://a\"]\npath = \"{path}\"\n");
    check(
        &format!("{}{}{}", route("/a"), route("/a/"), route("/a/b")),
        &["p.toml:4:1: routes[1]: routes[0] has the same host \"*\" and path \"/a\": one of them is never reached"],
    );
    // Also beside a route that is faulty.
    check(
        &format!("{}{}{}", route("/a"), route("b"), route("/a")),
        &[
            "p.toml:6:8: routes[1].path: \"b\" is not a route's path: it starts with a slash: \"/b\"",
            "p.toml:7:1: routes[2]: routes[0] has the same host \"*\" and path \"/a\": one of them is never reached",
        ],
    );
}

#[test]
fn default_rules_keep_their_bounds() {
    let rule = |lines: &str| format!("[[limits.default_rules]]\n{lines}\n");
    check(
        &rule(
            "unit = \"minute\"\nduration = 5\nmax_requests = 10\nmode = \"per_key\"\nendpoints = [\"/v1/*\"]\npriority = -3",
        ),
        &[],
    );
    check(
        &rule("unit = \"fortnight\"\nmax_requests = 3000000000\nburst = 1"),
        &[
            "p.toml:1:1: limits.default_rules[0].duration: missing; it has no default: write duration = 1",
            "p.toml:2:8: limits.default_rules[0].unit: \"fortnight\" is none of \"millisecond\", \"second\", \"minute\", \
         \"hour\", \"day\", \"calendar_day\", \"month\", \"calendar_month\"",
            "p.toml:3:16: limits.default_rules[0].max_requests: 3000000000 is out of bounds: from -2147483648 to 2147483647",
            "p.toml:4:1: limits.default_rules[0].burst: unknown key here; did you mean `failures.burst`?",
        ],
    );
    let faults = read(&rule("unit = \"month\"\nduration = 2\nmax_requests = 1")).unwrap_err();
    assert_eq!(
        (faults.0.len(), faults.0[0].key.as_str()),
        (1, "limits.default_rules[0].duration"),
        "{faults}"
    );
    let many = rule("unit = \"minute\"\nduration = 1\nmax_requests = 1").repeat(33);
    let faults = read(&many).unwrap_err().to_string();
    assert_eq!(
        faults,
        "p.toml:1:10: limits.default_rules: has 33 rules, but at most 32: each costs every request"
    );
    assert_eq!(read("[limits]\ndefault_rules = []\n").unwrap().limits.default_rules, []);
}

#[test]
fn log_filters_are_checked() {
    check(
        "[log]\nlevel = \"info,portcullis_proxy=debug, portcullis_proxy::route=trace\"\n",
        &[],
    );
    for text in ["", "verbose", "a=b", "=info", "info,", "[span]=info"] {
        let faults = read(&format!("[log]\nlevel = \"{text}\"\n")).unwrap_err();
        assert_eq!(
            (faults.0.len(), faults.0[0].key.as_str()),
            (1, "log.level"),
            "{text}: {faults}"
        );
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let faults = crate::load(Some("/nowhere/p.toml".as_ref()), std::iter::empty()).unwrap_err();
    assert_eq!(
        faults.to_string(),
        "/nowhere/p.toml: cannot be read: No such file or directory (os error 2)"
    );
}

proptest! {
    #[test]
    fn durations_round_trip(ms in 0..=u64::MAX / 2) {
        let duration = Duration::from_millis(ms);
        prop_assert_eq!(scalar::duration(&scalar::duration_text(duration)), Ok(duration));
    }

    #[test]
    fn sizes_round_trip(bytes: u64) {
        prop_assert_eq!(scalar::size(&scalar::size_text(bytes).replace(" bytes", "")), Ok(bytes));
    }

    #[test]
    fn upstreams_round_trip(tls: bool, host in "[a-z][a-z0-9_]{0,20}(\\.[a-z]{1,10}){0,3}", port in 1..=u16::MAX) {
        let written = Upstream { tls, host, port };
        prop_assert_eq!(upstream::parse(&upstream::text(&written)), Ok(written));
    }

    #[test]
    fn no_bytes_end_the_process(bytes: Vec<u8>, value: String) {
        let variables = ["PORTCULLIS__ROUTES", "PORTCULLIS__GATEWAY__LISTEN", "PORTCULLIS__LIMITS__DEFAULT_RULES"];
        let environment = variables.iter().map(|name| ((*name).to_owned(), value.clone()));
        let _ = crate::parse(std::path::Path::new("p.toml"), &bytes, environment);
    }

    /// Every key of the reference with values that are not meant for it.
    #[test]
    fn no_value_ends_the_process(values in prop::collection::vec((any_value(), any::<bool>()), 60)) {
        let mut values = values.into_iter().cycle();
        let text: Vec<String> = include_str!("../../reference.toml")
            .lines()
            .map(|line| match (line.split_once(" = "), values.next()) {
                (Some((key, _)), Some((value, true))) if !key.starts_with("# ") => format!("{key} = {value}"),
                _ => line.to_owned(),
            })
            .collect();
        if let Err(faults) = read(&text.join("\n")) {
            for fault in &faults.0 {
                prop_assert!(!fault.to_string().contains('\n'), "{}", fault);
                prop_assert!(fault.line.is_some_and(|line| line <= text.len()), "{}", fault);
            }
        }
    }
}

/// A TOML value of any type, more or less like those that settings take.
fn any_value() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        "[ -~]{0,12}",
        ".{0,6}",
        "[0-9]{1,20}(ms|s|m|h|KiB|GiB)?",
        "https?://[a-z0-9.:@/\\[\\]-]{0,12}",
        "(header|query|cookie):[!-~]{0,8}",
        "[0-9a-f:.]{1,12}(:[0-9]{1,5}|/[0-9]{1,3})?",
        "/[a-z./;%*]{0,8}",
    ];
    let scalar = prop_oneof![
        text.prop_map(|text| toml_edit::Value::from(text).to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<bool>().prop_map(|truth| truth.to_string()),
        Just("1.5".to_owned()),
        Just("2026-11-21".to_owned()),
    ];
    scalar.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(", "))),
            prop::sample::select(vec!["address", "tls", "cert", "upstreams", "unit"])
                .prop_flat_map(move |key| inner.clone().prop_map(move |value| format!("{{ {key} = {value} }}"))),
        ]
    })
}
