//! The promise that everything can be done from a terminal, and that what goes wrong is said in words.

#![expect(clippy::panic, reason = "a test ends where what it needs is not there")]

mod support;

use serde_json::Value;
use std::path::Path;
use support::upstream::Upstream;
use support::{Finished, Server, client, route, run};

struct Terminal<'a> {
    folder: &'a Path,
    url: String,
    token: String,
}

impl<'a> Terminal<'a> {
    fn at(server: &'a Server) -> Terminal<'a> {
        Terminal {
            folder: server.folder(),
            url: format!("http://{}", server.control),
            token: support::TOKEN.to_owned(),
        }
    }

    fn run_with(&self, arguments: &[&str], stdin: &str) -> Finished {
        let environment = [
            ("PORTCULLIS_URL", self.url.as_str()),
            ("PORTCULLIS_TOKEN", self.token.as_str()),
        ];
        run(self.folder, arguments, &environment, stdin)
    }

    /// Runs a command that must succeed, and gives what it printed.
    fn must(&self, arguments: &[&str]) -> String {
        let finished = self.run_with(arguments, "");
        assert_eq!(
            finished.code, 0,
            "{arguments:?}\n{}\n{}",
            finished.stdout, finished.stderr
        );
        finished.stdout
    }

    /// The same with `--output json`.
    fn json(&self, arguments: &[&str]) -> Value {
        let printed = self.must(&[arguments, &["--output", "json"]].concat());
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{printed}"))
    }

    /// Runs a command that must fail with this code, and gives what it said.
    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let finished = self.run_with(arguments, "");
        assert_eq!(
            finished.code, code,
            "{arguments:?}\n{}\n{}",
            finished.stdout, finished.stderr
        );
        assert!(!finished.stderr.trim().is_empty(), "{arguments:?} says nothing");
        finished.stderr
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apps_keys_and_schemes_from_creation_to_deletion() {
    let upstream = Upstream::start().await;
    let server = Server::start(&route(upstream.address, &["api"])).await;
    let terminal = Terminal::at(&server);
    let open = async |secret: &str| {
        client()
            .get(server.url("/"))
            .bearer_auth(secret)
            .send()
            .await
            .expect("an answer")
            .status()
            .as_u16()
    };

    terminal.must(&[
        "schemes",
        "create",
        "gold",
        "--name",
        "Gold",
        "--rule",
        "5/hour per_key",
        "--rule",
        "1000/minute per_ip /v1/*",
    ]);
    let shown = terminal.json(&["schemes", "show", "gold"]);
    assert_eq!(shown["rules"][0]["max_requests"], 5);
    assert_eq!(shown["rules"][1]["endpoints"], serde_json::json!(["/v1/*"]));

    terminal.must(&[
        "apps",
        "create",
        "api",
        "--name",
        "API",
        "--prefix",
        "sk_live",
        "--permission",
        "read,write",
        "--scheme",
        "gold",
    ]);
    assert!(terminal.must(&["apps", "list"]).contains("api"));
    assert_eq!(
        terminal.json(&["apps", "show", "api"])["permissions"],
        serde_json::json!(["read", "write"])
    );
    terminal.must(&["apps", "update", "api", "--name", "Renamed"]);
    assert_eq!(terminal.json(&["apps", "show", "api"])["name"], "Renamed");

    let made = terminal.json(&[
        "keys",
        "create",
        "api",
        "--name",
        "first",
        "--permission",
        "read",
        "--expires",
        "30d",
    ]);
    let (id, secret) = (
        made["id"].as_str().expect("an id"),
        made["secret"].as_str().expect("a secret"),
    );
    assert!(secret.starts_with("sk_live_"));
    assert_eq!(open(secret).await, 200);
    let table = terminal.must(&["keys", "list", "api"]);
    assert!(
        table.contains("first") && table.contains(id) && !table.contains(secret),
        "{table}"
    );

    let told = terminal.run_with(&["verify"], &format!("{secret}\n"));
    assert_eq!(told.code, 0, "{}", told.stderr);
    assert!(
        told.stdout.contains("allow") && told.stdout.contains(id),
        "{}",
        told.stdout
    );

    let fresh = terminal.json(&["keys", "rotate", "api", id]);
    let (fresh_id, fresh_secret) = (
        fresh["id"].as_str().expect("an id"),
        fresh["secret"].as_str().expect("a secret"),
    );
    assert_eq!((open(secret).await, open(fresh_secret).await), (403, 200));
    terminal.must(&["keys", "revoke", "api", fresh_id, "--reason", "left the company"]);
    assert_eq!(open(fresh_secret).await, 403);
    let told = terminal.run_with(&["verify"], fresh_secret);
    assert_eq!(told.code, 1, "a refused key is a failure to scripts");
    assert!(
        told.stdout.contains("key_revoked") && told.stdout.contains("left the company"),
        "{}",
        told.stdout
    );
    let shown = terminal.json(&["keys", "show", "api", fresh_id]);
    assert_eq!(shown["revoked_reason"], "left the company");

    let printed = terminal.must(&["keys", "create", "api", "--name", "second"]);
    assert!(printed.contains("sk_live_"), "the secret is printed once: {printed}");

    let refused = terminal.fails(1, &["schemes", "delete", "gold", "--yes"]);
    assert!(refused.contains("api"), "who uses it: {refused}");
    terminal.must(&["apps", "delete", "api", "--yes"]);
    terminal.must(&["schemes", "delete", "gold", "--yes"]);
    terminal.fails(1, &["apps", "show", "api"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_is_said_in_words() {
    let server = Server::start("").await;
    let terminal = Terminal::at(&server);
    let check = |terminal: &Terminal<'_>, code: i32, arguments: &[&str], wanted: &[&str]| {
        let said = terminal.fails(code, arguments);
        for word in wanted {
            assert!(said.contains(word), "{arguments:?} should name `{word}`: {said}");
        }
    };
    check(&terminal, 1, &["apps", "show", "nothing"], &["no app", "apps list"]);
    check(
        &terminal,
        2,
        &["apps", "create", "Bad Slug", "--name", "x", "--prefix", "sk"],
        &["Bad Slug"],
    );
    check(
        &terminal,
        1,
        &[
            "apps", "create", "a", "--name", "x", "--prefix", "sk", "--scheme", "none",
        ],
        &["none"],
    );
    check(
        &terminal,
        2,
        &["schemes", "create", "s", "--name", "s", "--rule", "5/fortnight"],
        &["fortnight"],
    );
    check(&terminal, 2, &["keys", "create"], &["--name"]);
    check(&terminal, 2, &["nonsense"], &["nonsense"]);
    let stranger = Terminal {
        token: "wrong-token-wrong-token".into(),
        ..Terminal::at(&server)
    };
    check(&stranger, 1, &["apps", "list"], &["PORTCULLIS_TOKEN"]);
    let away = Terminal {
        url: "http://127.0.0.1:1".into(),
        ..Terminal::at(&server)
    };
    check(&away, 1, &["apps", "list"], &["portcullis serve"]);
    // A key typed as an argument is refused and not repeated.
    let said = terminal.fails(2, &["verify", "sk_live_secret"]);
    assert!(!said.contains("sk_live_secret"), "{said}");
    check(
        &terminal,
        2,
        &["gateway"],
        &["control_token", "tokens create --kind gateway"],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_configuration_is_told_whole_with_lines_and_columns() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    std::fs::write(
        folder.path().join("bad.toml"),
        "[control]\nlisten = \"nowhere\"\nunknown = 1\n\n[gateway]\nstale_soft = \"1 fortnight\"\n\n[[routes]]\npath = \"no-slash\"\n",
    )
    .expect("written");
    for role in ["check", "serve", "control"] {
        let finished = run(folder.path(), &[role, "--config", "bad.toml"], &[], "");
        assert_eq!(finished.code, 2, "{role}: {}", finished.stderr);
        for fault in [
            "bad.toml:2:10: control.listen",
            "bad.toml:3:1: control.unknown",
            "bad.toml:6:14: gateway.stale_soft",
            "bad.toml:9:8: routes[0].path",
            "routes[0].upstreams",
        ] {
            assert!(
                finished.stderr.contains(fault),
                "{role} should say `{fault}`:\n{}",
                finished.stderr
            );
        }
    }
    let finished = run(
        folder.path(),
        &["check"],
        &[("PORTCULLIS__CONTROL__LISTEN", "nowhere")],
        "",
    );
    assert_eq!(finished.code, 2);
    assert!(
        finished.stderr.contains("PORTCULLIS__CONTROL__LISTEN"),
        "{}",
        finished.stderr
    );
    for profile in ["reference", "quickstart", "sidecar", "control", "ingress", "benchmark"] {
        let file = support::root().join(format!("config/{profile}.toml"));
        let finished = run(
            folder.path(),
            &["check", "--config", file.to_str().expect("UTF-8")],
            &[],
            "",
        );
        assert_eq!(finished.code, 0, "{profile}: {}", finished.stderr);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_and_a_store_that_cannot_open_are_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().map(|address| (taken, address)).expect("an address");
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let address = taken.1.to_string();
    let finished = run(
        folder.path(),
        &["serve"],
        &[("PORTCULLIS__CONTROL__LISTEN", &address)],
        "",
    );
    assert_eq!(finished.code, 1, "{}", finished.stderr);
    assert!(
        finished.stderr.contains("control.listen") && finished.stderr.contains(&address),
        "{}",
        finished.stderr
    );
    let free = [
        ("PORTCULLIS__CONTROL__LISTEN", "127.0.0.1:0"),
        ("PORTCULLIS__ADMIN__LISTEN", "127.0.0.1:0"),
        ("PORTCULLIS__CONTROL__STORE", "sqlite:///no/such/folder/portcullis.db"),
    ];
    let finished = run(folder.path(), &["control"], &free, "");
    assert_eq!(finished.code, 1, "{}", finished.stderr);
    assert!(finished.stderr.contains("control.store"), "{}", finished.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_and_tokens_are_managed_while_the_server_runs() {
    let server = Server::start("").await;
    let config = server.folder().join("portcullis.toml");
    let config = config.to_str().expect("UTF-8");
    let must = |arguments: &[&str]| {
        let finished = run(server.folder(), &[arguments, &["--config", config]].concat(), &[], "");
        assert_eq!(finished.code, 0, "{arguments:?}: {}", finished.stderr);
        finished.stdout
    };
    must(&["deployments", "create", "acme"]);
    assert!(must(&["deployments", "list"]).contains("acme"));
    let made: Value =
        serde_json::from_str(&must(&["tokens", "create", "--deployment", "acme", "--output", "json"])).expect("JSON");
    let api = support::control::Api::new(server.control, made["secret"].as_str().expect("a secret"));
    api.app("api").await;
    must(&["deployments", "set-plan", "acme", "free"]);
    let (status, answer) = api
        .call(
            "POST",
            "/api-auth/apps",
            Some(serde_json::json!({"app_slug": "b", "name": "b", "key_prefix": "b"})),
        )
        .await;
    assert_eq!(status, 403, "{answer}");
    assert!(
        answer["message"].as_str().expect("a message").contains("plan"),
        "{answer}"
    );
    must(&[
        "tokens",
        "revoke",
        made["id"].as_str().expect("an id"),
        "--deployment",
        "acme",
    ]);
    assert_eq!(
        api.call("GET", "/api-auth/apps", None).await.0,
        401,
        "a revoked token is dead at once"
    );
    assert!(must(&["tokens", "list", "--deployment", "acme"]).contains("revoked"));
    let finished = run(
        server.folder(),
        &["tokens", "create", "--deployment", "nobody", "--config", config],
        &[],
        "",
    );
    assert_eq!(finished.code, 2);
    assert!(finished.stderr.contains("nobody"), "{}", finished.stderr);
}

#[test]
fn a_build_says_what_it_is() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let version = env!("CARGO_PKG_VERSION");
    let short = run(folder.path(), &["-V"], &[], "");
    assert_eq!((short.code, short.stdout), (0, format!("portcullis {version}\n")));
    let long = run(folder.path(), &["--version"], &[], "");
    assert_eq!(long.code, 0, "{}", long.stderr);
    let mut lines = long.stdout.lines();
    assert_eq!(lines.next(), Some(format!("portcullis {version}").as_str()));
    let told: std::collections::BTreeMap<_, _> = lines.filter_map(|line| line.split_once(' ')).collect();
    let check = |name: &str, expected: &str| {
        let value = told
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in\n{}", long.stdout));
        assert!(value.contains(expected), "{name} is `{value}`, without `{expected}`");
    };
    let commit = told.get("commit").map_or("", |commit| commit.trim());
    if support::root().join(".git").exists() && std::env::var_os("PORTCULLIS_COMMIT").is_none() {
        assert!(is_known_commit(commit), "there is no commit `{commit}`");
    } else {
        assert!(!commit.is_empty(), "{}", long.stdout);
    }
    check("build", if cfg!(debug_assertions) { "debug" } else { "release" });
    check("compiler", "rustc 1.");
    check("target", std::env::consts::ARCH);
    check("allocator", "mimalloc");
    check("protocols", "rustls");
    check("stores", "SQLite");
}

/// Whether this names a commit of the repository that these sources lie in. Another may be checked out by now.
fn is_known_commit(name: &str) -> bool {
    let commit = name.trim_end_matches("-modified");
    std::process::Command::new("git")
        .args(["rev-parse", "--quiet", "--verify", &format!("{commit}^{{commit}}")])
        .current_dir(support::root())
        .output()
        .is_ok_and(|run| run.status.success())
}
