//! What each command asks and how it shows the answer.

use super::{Outcome, Typed, json, run, typed};

const APP: &str = r#"{"id":"7","deployment_id":"1","user_id":null,"organization_id":null,"workspace_id":null,"app_slug":"internal-api","name":"Internal API","description":null,"is_active":true,"key_prefix":"sk_live","permissions":["users:read","users:write"],"resources":[],"rate_limits":[{"unit":"minute","duration":1,"max_requests":100,"mode":"per_key"}],"rate_limit_scheme_slug":"standard","created_at":"2026-11-20T12:00:00.123456Z","updated_at":"2026-11-21T11:00:00Z","deleted_at":null}"#;

const KEY: &str = r#"{"id":"42","app_id":"7","deployment_id":"1","app_slug":"internal-api","name":"Acme","key_prefix":"sk_live","key_suffix":"abcd1234","permissions":["users:read"],"metadata":{"team":"billing"},"rate_limits":[],"rate_limit_scheme_slug":null,"owner":null,"owner_user_id":null,"environment":"production","expires_at":"2026-12-21T12:00:00Z","last_used_at":null,"is_active":true,"created_at":"2026-11-21T12:00:00Z","updated_at":"2026-11-21T12:00:00Z","revoked_at":null,"revoked_reason":null}"#;

/// Runs one command with one good answer; gives what it printed and what it asked.
async fn check(line: &[&str], status: u16, body: &str, request: &str) -> Outcome {
    let outcome = run(typed(line), &[&json(status, body)]).await;
    assert_eq!(
        (outcome.code, outcome.requests.as_slice()),
        (0, [request.to_owned()].as_slice()),
        "{}",
        outcome.err
    );
    outcome
}

fn lines(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines.iter().all(|line| line.chars().count() <= 100),
        "wider than 100 columns:\n{text}"
    );
    lines
}

#[tokio::test]
async fn apps_are_created_and_shown() {
    let line = [
        "apps",
        "create",
        "internal-api",
        "--name",
        "Internal API",
        "--prefix",
        "sk_live",
        "--permission",
        "users:read,users:write",
        "--scheme",
        "standard",
    ];
    let asked = r#"POST /api-auth/apps {"app_slug":"internal-api","key_prefix":"sk_live","name":"Internal API","permissions":["users:read","users:write"],"rate_limit_scheme_slug":"standard"}"#;
    let outcome = check(&line, 201, APP, asked).await;
    assert_eq!(
        lines(&outcome.out),
        [
            "App          internal-api",
            "Name         Internal API",
            "State        active",
            "Key prefix   sk_live",
            "Permissions  users:read, users:write",
            "Resources    every path",
            "Scheme       standard",
            "Rules        100/minute per_key",
            "Created      2026-11-20 12:00:00Z (23 hours ago)",
            "Updated      2026-11-21 11:00:00Z (1 hour ago)",
            "Id           7",
            "Deployment   1",
        ]
    );
    assert_eq!(outcome.err, "");
    check(
        &["apps", "show", "internal-api"],
        200,
        APP,
        "GET /api-auth/apps/internal-api",
    )
    .await;
    // Without a prefix the API derives one, which it does for the older form of the request.
    let asked = r#"POST /api-auth/apps {"name":"A","slug":"a"}"#;
    check(&["apps", "create", "a", "--name", "A"], 201, APP, asked).await;
}

#[tokio::test]
async fn apps_are_listed() {
    let deleted = APP
        .replace("internal-api", "evil")
        .replace("Internal API", r"\u001b[2Jgone \u202eexe")
        .replace("\"deleted_at\":null", "\"deleted_at\":\"2026-11-21T11:00:00Z\"")
        .replace("\"standard\"", "null");
    let body = format!(r#"{{"total":2,"apps":[{APP},{deleted}]}}"#);
    let outcome = check(
        &["apps", "list", "--all"],
        200,
        &body,
        "GET /api-auth/apps?include_inactive=true",
    )
    .await;
    let shown = lines(&outcome.out);
    assert!(shown[0].starts_with("SLUG"), "{}", outcome.out);
    assert!(outcome.out.contains("internal-api") && outcome.out.contains("deleted") && outcome.out.contains("default"));
    assert!(
        outcome.out.contains(r"\u{1b}[2Jgone") && !outcome.out.contains('\u{1b}'),
        "{}",
        outcome.out
    );
    assert!(!outcome.out.contains('\u{202e}'));
    let none = check(&["apps", "list"], 200, r#"{"total":0,"apps":[]}"#, "GET /api-auth/apps").await;
    assert_eq!(
        (none.out.as_str(), none.err.as_str()),
        (
            "",
            "portcullis: there are no apps; `portcullis apps create` makes one\n"
        )
    );
}

#[tokio::test]
async fn apps_are_updated() {
    let line = [
        "apps",
        "update",
        "a",
        "--inactive",
        "--clear",
        "scheme,permissions",
        "--resource",
        "v1/*",
    ];
    let asked = r#"PATCH /api-auth/apps/a {"is_active":false,"permissions":[],"rate_limit_scheme_slug":"","resources":["v1/*"]}"#;
    check(&line, 200, APP, asked).await;
    for (line, message) in [
        (
            vec!["apps", "update", "a"],
            "nothing to change: name at least one option; see `portcullis apps update --help`",
        ),
        (
            vec!["apps", "update", "a", "--scheme", "s", "--clear", "scheme"],
            "scheme cannot be both set and cleared",
        ),
    ] {
        let outcome = run(typed(&line), &[]).await;
        assert_eq!((outcome.code, outcome.err), (2, format!("portcullis: {message}\n")));
    }
}

#[tokio::test]
async fn deleting_is_confirmed() {
    let line = ["apps", "delete", "internal-api"];
    let outcome = run(typed(&line), &[]).await;
    assert_eq!(outcome.code, 2);
    assert_eq!(
        outcome.err,
        "portcullis: nobody is there to confirm (standard input is no terminal): add --yes\n"
    );
    for (input, code) in [("n\n", 1), ("\n", 1), ("", 1), ("y\n", 0), ("yes\n", 0)] {
        let outcome = run(
            Typed {
                input,
                at_terminal: true,
                ..typed(&line)
            },
            &[&json(204, "")],
        )
        .await;
        assert_eq!(
            (outcome.code, outcome.requests.len()),
            (code, usize::from(code == 0)),
            "{input:?}"
        );
        assert!(
            outcome.err.starts_with(
                "Delete the app internal-api? Its keys open nothing from then on, and never again. [y/N] "
            )
        );
    }
    let outcome = check(&["apps", "delete", "a", "--yes"], 204, "", "DELETE /api-auth/apps/a").await;
    assert_eq!(outcome.out, "The app a is deleted; its keys open nothing any more.\n");
    let outcome = check(
        &["apps", "delete", "a", "-y", "--output", "json"],
        204,
        "",
        "DELETE /api-auth/apps/a",
    )
    .await;
    assert_eq!(outcome.out, "");
    let asked = "DELETE /api-auth/rate-limit-schemes/s";
    assert_eq!(
        check(&["schemes", "delete", "s", "-y"], 204, "", asked).await.out,
        "The scheme s is deleted.\n"
    );
}

#[tokio::test]
async fn a_secret_is_alone_on_standard_output() {
    let body = format!(
        r#"{{{},"key":{KEY},"secret":"sk_live_s3cr3t"}}"#,
        &KEY[1..KEY.len() - 1]
    );
    let line = [
        "keys",
        "create",
        "internal-api",
        "--name",
        "Acme",
        "--expires",
        "30d",
        "--metadata",
        r#"{"b":1,"a":[2]}"#,
        "--permission",
        "users:read",
        "--environment",
        "production",
    ];
    let asked = r#"POST /api-auth/apps/internal-api/keys {"environment":"production","expires_at":"2026-12-21T12:00:00Z","metadata":{"a":[2],"b":1},"name":"Acme","permissions":["users:read"]}"#;
    let outcome = check(&line, 201, &body, asked).await;
    assert_eq!(outcome.out, "sk_live_s3cr3t\n");
    assert_eq!(
        lines(&outcome.err),
        [
            "Key          42",
            "Name         Acme",
            "App          internal-api",
            "State        active",
            "Secret       sk_live_…abcd1234",
            "Permissions  users:read",
            "Scheme       none: the gateway's default rules",
            "Metadata     {\"team\":\"billing\"}",
            "Environment  production",
            "Expires      2026-12-21 12:00:00Z (in 30 days)",
            "Created      2026-11-21 12:00:00Z (now)",
            "Updated      2026-11-21 12:00:00Z (now)",
            "portcullis: the secret is shown only now; only a hash of it is kept:",
        ]
    );
    let line = [
        "keys",
        "rotate",
        "internal-api",
        "42",
        "--grace",
        "1h",
        "--output",
        "json",
    ];
    let asked = r#"POST /api-auth/apps/internal-api/keys/42/rotate {"grace_period_seconds":3600}"#;
    let outcome = check(&line, 200, &body, asked).await;
    assert!(
        outcome.out.contains("\n  \"secret\": \"sk_live_s3cr3t\"\n}"),
        "{}",
        outcome.out
    );
    assert_eq!(outcome.err, "");
    check(
        &["keys", "rotate", "internal-api", "42"],
        200,
        &body,
        "POST /api-auth/apps/internal-api/keys/42/rotate {}",
    )
    .await;
}

#[tokio::test]
async fn keys_are_listed_and_shown() {
    let revoked = KEY
        .replace("\"42\"", "\"43\"")
        .replace("\"is_active\":true", "\"is_active\":false")
        .replace("\"revoked_at\":null", "\"revoked_at\":\"2026-11-21T11:00:00Z\"");
    let grace = KEY
        .replace("\"42\"", "\"44\"")
        .replace("\"revoked_at\":null", "\"revoked_at\":\"2026-11-21T13:00:00Z\"");
    let expired = KEY
        .replace("\"42\"", "\"9223372036854775807\"")
        .replace("\"is_active\":true", "\"is_active\":false");
    let body = format!(r#"{{"keys":[{KEY},{revoked},{grace},{expired}]}}"#);
    let asked = "GET /api-auth/apps/internal-api/keys?include_inactive=true";
    let outcome = check(&["keys", "list", "internal-api", "--all"], 200, &body, asked).await;
    for (id, state) in [
        ("42 ", "active"),
        ("43 ", "revoked"),
        ("44 ", "until"),
        ("9223372036854775807", "expired"),
    ] {
        assert!(
            lines(&outcome.out)
                .iter()
                .any(|line| line.starts_with(id) && line.contains(state)),
            "{}",
            outcome.out
        );
    }
    let outcome = check(&["keys", "show", "internal-api", "43"], 200, &body, asked).await;
    assert!(
        outcome.out.contains("Revoked      2026-11-21 11:00:00Z (1 hour ago)"),
        "{}",
        outcome.out
    );
    let outcome = check(
        &["keys", "show", "internal-api", "42", "--output", "json"],
        200,
        &body,
        asked,
    )
    .await;
    assert!(
        outcome.out.starts_with("{\n  \"id\": \"42\",\n  \"app_id\": \"7\","),
        "{}",
        outcome.out
    );
    let outcome = run(typed(&["keys", "show", "internal-api", "45"]), &[&json(200, &body)]).await;
    let message =
        "portcullis: internal-api has no key 45; `portcullis keys list internal-api --all` shows those it has\n";
    assert_eq!((outcome.code, outcome.err.as_str()), (1, message));
}

#[tokio::test]
async fn keys_are_revoked() {
    let body = format!(r#"{{"id":"42","is_active":false,"revision":"9","key":{KEY}}}"#);
    let line = ["keys", "revoke", "internal-api", "42", "--reason", "leaked"];
    let asked = r#"POST /api-auth/apps/internal-api/keys/42/revoke {"reason":"leaked"}"#;
    let outcome = check(&line, 200, &body, asked).await;
    assert_eq!(
        outcome.out,
        "The key 42 (Acme) of internal-api is revoked; it is refused from now on.\n"
    );
}

#[tokio::test]
async fn a_revocation_says_who_enforces_it() {
    let body = format!(
        r#"{{"id":"42","is_active":false,"revision":"9","enforced":2,"gateways":3,"unenforced":0,"key":{KEY}}}"#
    );
    let line = ["keys", "revoke", "internal-api", "42"];
    let asked = "POST /api-auth/apps/internal-api/keys/42/revoke {}";
    let outcome = check(&line, 200, &body, asked).await;
    assert_eq!(
        outcome.out,
        "The key 42 (Acme) of internal-api is revoked; 2 of 3 gateways refuse it already; `portcullis gateways` shows \
         the others.\n"
    );
    let body = body.replace(r#""unenforced":0"#, r#""unenforced":1"#);
    let line = ["keys", "revoke", "internal-api", "42", "--everywhere"];
    let asked = "POST /api-auth/apps/internal-api/keys/42/revoke?wait=fleet {}";
    let outcome = check(&line, 200, &body, asked).await;
    assert!(
        outcome.err.contains("1 of them cannot be reached and go on serving"),
        "{}",
        outcome.err
    );
}

#[tokio::test]
async fn gateways_are_listed() {
    let gateway = |name: &str, connected: bool, lag: u64, on_stale: &str| {
        format!(
            r#"{{"id":"0123456789abcdef0123456789abcdef","name":"{name}","version":"0.1.0","address":"192.0.2.1","connected":{connected},"applied_revision":"7","lag":{lag},"staleness_ms":212,"stale_max_ms":30000,"on_stale":"{on_stale}","last_seen_at":"2026-11-21T11:00:00Z","token_id":"3","deployment_id":"1"}}"#
        )
    };
    let body = format!(
        r#"{{"revision":"9","gateways":[{},{},{}]}}"#,
        gateway("edge-1", true, 0, "refuse"),
        gateway("edge-2", true, 2, "serve"),
        gateway("edge-3", false, 1, "refuse")
    );
    let outcome = check(&["gateways"], 200, &body, "GET /api-auth/gateways").await;
    let shown = lines(&outcome.out).join("\n");
    for part in [
        "edge-1",
        "up to date",
        "2 changes",
        "ever",
        "away, 1",
        "30 s",
        "01234567",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let none = check(
        &["gateways"],
        200,
        r#"{"revision":"9","gateways":[]}"#,
        "GET /api-auth/gateways",
    )
    .await;
    assert!(none.err.contains("no gateway follows"), "{}", none.err);
}

#[tokio::test]
async fn schemes_take_typed_rules_and_files() {
    let body = r#"{"id":"3","deployment_id":"1","slug":"standard","name":"Standard","description":null,"rules":[{"unit":"minute","duration":1,"max_requests":100,"mode":"per_key","endpoints":["/v1/*"],"priority":1},{"unit":"fortnight","duration":2,"max_requests":5}],"created_at":"2026-11-21T12:00:00Z","updated_at":"2026-11-21T12:00:00Z"}"#;
    let line = [
        "schemes",
        "create",
        "standard",
        "--name",
        "Standard",
        "--rule",
        "100/minute per_key /v1/* priority=1",
    ];
    let asked = r#"POST /api-auth/rate-limit-schemes {"name":"Standard","rules":[{"duration":1,"endpoints":["/v1/*"],"max_requests":100,"mode":"per_key","priority":1,"unit":"minute"}],"slug":"standard"}"#;
    let outcome = check(&line, 201, body, asked).await;
    assert!(
        outcome
            .out
            .contains("Rules       100/minute per_key /v1/* priority=1\n            5/2fortnight\n"),
        "{}",
        outcome.out
    );
    let list = format!(r#"{{"total":1,"schemes":[{body}]}}"#);
    let outcome = check(&["schemes", "list"], 200, &list, "GET /api-auth/rate-limit-schemes").await;
    assert_eq!(lines(&outcome.out).len(), 3, "{}", outcome.out);

    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let asked = r#"PATCH /api-auth/rate-limit-schemes/standard {"description":"","rules":[{"unit":"hour"}]}"#;
    for text in [r#"[{"unit":"hour"}]"#, r#"{"rules":[{"unit":"hour"}],"other":1}"#] {
        std::fs::write(file.path(), text).unwrap();
        let line = [
            "schemes",
            "update",
            "standard",
            "--file",
            path,
            "--clear",
            "description",
        ];
        check(&line, 200, body, asked).await;
    }
    for text in ["", "3", "{}"] {
        std::fs::write(file.path(), text).unwrap();
        let outcome = run(typed(&["schemes", "update", "standard", "--file", path]), &[]).await;
        assert!(
            outcome.code == 2 && outcome.err.starts_with(&format!("portcullis: --file {path}: ")),
            "{}",
            outcome.err
        );
    }
    let outcome = run(typed(&["schemes", "create", "standard", "--name", "Standard"]), &[]).await;
    assert_eq!((outcome.code, outcome.requests.len()), (2, 0));
}

#[tokio::test]
async fn verify_tells_the_true_reason_by_its_exit_code_too() {
    let allow = r#"{"decision":"allow","reason":null,"status":200,"message":"A gateway lets it through.","key_id":"42","app_slug":"internal-api","key_name":"Acme","permissions":["users:read"],"expires_at":null,"revoked_at":null,"revoked_reason":null,"rate_limits":[{"rule":"per_key-60s","limit":100,"remaining":99}],"as_of":{"epoch":"1","revision":"2"}}"#;
    let deny = r#"{"decision":"deny","reason":"key_revoked","status":403,"message":"It is revoked.","key_id":"42","app_slug":"internal-api","key_name":"Acme","permissions":[],"expires_at":null,"revoked_at":"2026-11-21T11:59:00Z","revoked_reason":"leaked","rate_limits":[],"as_of":{"epoch":"1","revision":"2"}}"#;
    let line = ["verify"];
    // The line end belongs to the file; a space would be a part of the key.
    for input in ["sk_live_k", "sk_live_k\n", "sk_live_k\r\n"] {
        let outcome = run(Typed { input, ..typed(&line) }, &[&json(200, allow)]).await;
        assert_eq!(
            (outcome.code, outcome.requests[0].as_str()),
            (0, r#"POST /api-auth/verify {"key":"sk_live_k"}"#)
        );
        assert!(
            outcome.out.contains("Limits       per_key-60s: 99 of 100 left\n"),
            "{}",
            outcome.out
        );
        assert!(!outcome.out.contains("sk_live_k"));
    }
    let outcome = run(
        Typed {
            input: " sk_live_k ",
            ..typed(&line)
        },
        &[&json(200, deny)],
    )
    .await;
    assert_eq!(
        (outcome.code, outcome.requests[0].as_str()),
        (1, r#"POST /api-auth/verify {"key":" sk_live_k "}"#)
    );
    assert_eq!(
        outcome.out,
        "Decision     deny\nReason       key_revoked\nSays         It is revoked.\nCaller gets  403\nKey          42\n\
         Name         Acme\nApp          internal-api\nRevoked      2026-11-21 11:59:00Z (1 minute ago)\n\
         Because      leaked\n"
    );
    let outcome = run(
        Typed {
            input: "k",
            ..typed(&["verify", "--output", "json"])
        },
        &[&json(200, deny)],
    )
    .await;
    assert_eq!(
        (outcome.code, outcome.out.lines().nth(1)),
        (1, Some("  \"decision\": \"deny\","))
    );
}

#[tokio::test]
async fn a_key_as_an_argument_is_refused_and_not_repeated() {
    for line in [
        vec!["verify", "sk_live_s3cr3t"],
        vec!["verify", "--key", "sk_live_s3cr3t"],
        vec!["verify", "--key=sk_live_s3cr3t"],
        vec!["verify", "-sk_live_s3cr3t"],
        vec!["verify", "sk_live_s3cr3t", "--output", "json"],
        vec!["verify", "--output", "json", "sk_live_s3cr3t", "more"],
        vec!["keys", "revoke", "internal-api", "sk_live_s3cr3t"],
        vec!["keys", "rotate", "internal-api", "sk_live_s3cr3t"],
        vec!["keys", "show", "internal-api", "../42"],
    ] {
        let outcome = run(
            Typed {
                input: "sk_live_other",
                ..typed(&line)
            },
            &[],
        )
        .await;
        assert_eq!((outcome.code, outcome.requests.len()), (2, 0), "{line:?}");
        assert!(
            !outcome.err.contains("s3cr3t") && outcome.out.is_empty(),
            "{}",
            outcome.err
        );
    }
}

#[tokio::test]
async fn check_prints_every_fault_or_a_summary() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.toml");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "[control]\nlisten = 1\n[gatway]\n").unwrap();
    let outcome = run(typed(&["check", "--config", path]), &[]).await;
    assert_eq!((outcome.code, outcome.out.as_str()), (2, ""));
    assert_eq!(
        outcome.err,
        format!(
            "{path}:2:10: control.listen: must be a string, not an integer\n\
             {path}:3:2: gatway: unknown key; did you mean `gateway`?\n\
             portcullis: {path} has 2 faults\n"
        )
    );
    std::fs::write(&file, "[[routes]]\nupstreams = [\"http://127.0.0.1:3000\"]\n").unwrap();
    let outcome = run(typed(&["check", "--config", path]), &[]).await;
    assert_eq!(
        (outcome.code, outcome.err.as_str()),
        (0, "portcullis: note: routes[0] names no app, so no key opens it\n")
    );
    assert_eq!(
        outcome.out,
        format!(
            "{path} is good: 1 route, gateway on 127.0.0.1:7080, control API on 127.0.0.1:7070, decision API on \
             127.0.0.1:7081, admin on 127.0.0.1:7090\n"
        )
    );
    assert_eq!(run(typed(&["check"]), &[]).await.code, 0);
}
