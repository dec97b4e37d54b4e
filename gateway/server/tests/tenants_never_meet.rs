//! The promise that deployments are apart: no token, slug, id or key of one does anything in another.

mod support;

use serde_json::json;
use support::control::Api;
use support::upstream::Upstream;
use support::{Server, client, run};

/// Creates a deployment and a management token of it on a running server's store.
fn deployment(server: &Server, name: &str) -> String {
    let config = server.folder().join("portcullis.toml");
    let config = config.to_str().expect("UTF-8");
    let made = run(
        server.folder(),
        &["deployments", "create", name, "--config", config],
        &[],
        "",
    );
    assert_eq!(made.code, 0, "{}", made.stderr);
    let token = run(
        server.folder(),
        &["tokens", "create", "--deployment", name, "--config", config],
        &[],
        "",
    );
    assert_eq!(token.code, 0, "{}", token.stderr);
    token.stdout.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_tenant_has_another_neither_sees_nor_touches() {
    let server = Server::start("").await;
    let mine = server.api();
    let theirs = Api::new(server.control, &deployment(&server, "acme"));

    mine.scheme("gold", json!([{"unit": "hour", "duration": 1, "max_requests": 5}]))
        .await;
    mine.app("api").await;
    let key = mine.key("api").await;

    for path in ["/api-auth/apps?include_inactive=true", "/api-auth/rate-limit-schemes"] {
        let listed = theirs.must("GET", path, None).await;
        assert_eq!(listed["total"], 0, "{path}: {listed}");
    }
    let empty = json!({});
    let calls = [
        ("GET", "/api-auth/apps/api".to_owned(), None),
        ("PATCH", "/api-auth/apps/api".to_owned(), Some(json!({"name": "x"}))),
        ("DELETE", "/api-auth/apps/api".to_owned(), None),
        ("GET", "/api-auth/apps/api/keys".to_owned(), None),
        ("POST", "/api-auth/apps/api/keys".to_owned(), Some(json!({"name": "x"}))),
        (
            "POST",
            format!("/api-auth/apps/api/keys/{}/revoke", key.id),
            Some(empty.clone()),
        ),
        (
            "POST",
            format!("/api-auth/apps/api/keys/{}/rotate", key.id),
            Some(empty.clone()),
        ),
        (
            "POST",
            "/api-auth/keys/revoke".to_owned(),
            Some(json!({"key_id": key.id})),
        ),
        (
            "POST",
            "/api-auth/keys/rotate".to_owned(),
            Some(json!({"api_key_id": key.id})),
        ),
        ("GET", "/api-auth/rate-limit-schemes/gold".to_owned(), None),
        (
            "PATCH",
            "/api-auth/rate-limit-schemes/gold".to_owned(),
            Some(json!({"name": "x"})),
        ),
        ("DELETE", "/api-auth/rate-limit-schemes/gold".to_owned(), None),
    ];
    let check = async |why: &str| {
        for (method, path, body) in calls.clone() {
            let (status, answer) = theirs.call(method, &path, body).await;
            assert_eq!(status, 404, "{why}: {method} {path}: {answer}");
        }
    };
    check("without an app of that slug").await;

    // The same slugs are free for them, and then the id of my key is still nobody's under their app.
    theirs.app("api").await;
    for call in ["revoke", "rotate"] {
        let path = format!("/api-auth/apps/api/keys/{}/{call}", key.id);
        assert_eq!(theirs.call("POST", &path, Some(json!({}))).await.0, 404);
    }
    // My scheme is unknown to them.
    let (status, _) = theirs
        .call(
            "PATCH",
            "/api-auth/apps/api",
            Some(json!({"rate_limit_scheme_slug": "gold"})),
        )
        .await;
    assert_eq!(status, 400);

    let told = theirs
        .must("POST", "/api-auth/verify", Some(json!({"key": key.secret})))
        .await;
    assert_eq!(
        (&told["decision"], &told["reason"]),
        (&json!("deny"), &json!("key_unknown"))
    );
    let told = mine
        .must("POST", "/api-auth/verify", Some(json!({"key": key.secret})))
        .await;
    assert_eq!(told["decision"], "allow");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_opens_for_its_own_deployment_only() {
    let upstream = Upstream::start().await;
    let folder = std::sync::Arc::new(tempfile::TempDir::new().expect("a temporary folder"));
    let made = run(folder.path(), &["deployments", "create", "acme"], &[], "");
    assert_eq!(made.code, 0, "{}", made.stderr);
    let token = run(folder.path(), &["tokens", "create", "--deployment", "acme"], &[], "");
    let config = format!(
        "[[routes]]\npath = \"/mine\"\nupstreams = [\"http://{0}\"]\napps = [\"api\"]\n\
         [[routes]]\npath = \"/theirs\"\ndeployment = \"acme\"\nupstreams = [\"http://{0}\"]\napps = [\"api\"]\n",
        upstream.address
    );
    let server = Server::start_in(folder, &config, &[]).await;
    let (mine, theirs) = (server.api(), Api::new(server.control, token.stdout.trim()));
    mine.app("api").await;
    theirs.app("api").await;
    let (my_key, their_key) = (mine.key("api").await, theirs.key("api").await);
    let client = client();
    for (path, key, expected) in [
        ("/mine", &my_key, 200),
        ("/mine", &their_key, 403),
        ("/theirs", &their_key, 200),
        ("/theirs", &my_key, 403),
    ] {
        let answer = client
            .get(server.url(path))
            .bearer_auth(&key.secret)
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status().as_u16(), expected, "{path}");
    }
    // The decision API answers for the first deployment; to it their key is one that was never issued.
    for (key, expected) in [(&my_key, 200), (&their_key, 401)] {
        let body = json!({"principal": {"type": "api_key", "value": key.secret}, "resource": "/", "method": "GET"});
        let answer = client
            .post(format!("http://{}/v1/authz/check", server.authz))
            .json(&body);
        assert_eq!(answer.send().await.expect("an answer").status().as_u16(), expected);
    }
}
