//! The OpenAPI document is the routes, and changes only on purpose.

use crate::server::Server;
use portcullis_control::ErrorCode;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Every route of the contract, with all its methods.
const ROUTES: [(&str, &str); 22] = [
    ("delete", "/api-auth/apps/{app_slug}"),
    ("delete", "/api-auth/rate-limit-schemes/{slug}"),
    ("get", "/api-auth/apps"),
    ("get", "/api-auth/apps/{app_slug}"),
    ("get", "/api-auth/apps/{app_slug}/keys"),
    ("get", "/api-auth/gateway-tokens"),
    ("get", "/api-auth/gateways"),
    ("get", "/api-auth/limits"),
    ("get", "/api-auth/rate-limit-schemes"),
    ("get", "/api-auth/rate-limit-schemes/{slug}"),
    ("patch", "/api-auth/apps/{app_slug}"),
    ("patch", "/api-auth/rate-limit-schemes/{slug}"),
    ("post", "/api-auth/apps"),
    ("post", "/api-auth/apps/{app_slug}/keys"),
    ("post", "/api-auth/apps/{app_slug}/keys/{key_id}/revoke"),
    ("post", "/api-auth/apps/{app_slug}/keys/{key_id}/rotate"),
    ("post", "/api-auth/gateway-tokens"),
    ("post", "/api-auth/gateway-tokens/{token_id}/revoke"),
    ("post", "/api-auth/keys/revoke"),
    ("post", "/api-auth/keys/rotate"),
    ("post", "/api-auth/rate-limit-schemes"),
    ("post", "/api-auth/verify"),
];

fn document() -> Value {
    serde_json::to_value(portcullis_control::openapi()).unwrap()
}

/// Written anew by `UPDATE_GOLDEN=1 cargo test -p portcullis-control openapi`.
#[test]
fn the_golden_file_is_up_to_date() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let generated = format!("{}\n", portcullis_control::openapi().to_pretty_json().unwrap());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &generated).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        golden == generated,
        "gateway/control/openapi.json is outdated; see the change with `UPDATE_GOLDEN=1 cargo test -p \
         portcullis-control openapi && git diff gateway/control/openapi.json`"
    );
}

#[test]
fn it_is_3_1_and_has_every_route_of_the_contract() {
    let document = document();
    assert_eq!(
        document["openapi"]
            .as_str()
            .unwrap()
            .split('.')
            .take(2)
            .collect::<Vec<_>>(),
        ["3", "1"]
    );
    let mut found = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            found.insert((method.as_str(), path.as_str()));
            for status in ["400", "401", "429", "500", "503"] {
                assert!(
                    operation["responses"][status].is_object(),
                    "{method} {path} lacks {status}"
                );
            }
            assert!(
                operation["operationId"].is_string() && operation["summary"].is_string(),
                "{method} {path}"
            );
        }
    }
    assert_eq!(found, BTreeSet::from(ROUTES));
}

/// Every route that the document names is one the router knows, and nothing in it is reachable without a token.
#[tokio::test]
async fn every_route_of_it_exists_and_needs_a_token() {
    let server = Server::start().await;
    for (method, path) in ROUTES {
        let path = path
            .replace("{app_slug}", "a")
            .replace("{key_id}", "1")
            .replace("{token_id}", "1")
            .replace("{slug}", "s");
        let method = method.to_uppercase();
        server
            .bare(&method, &path)
            .send()
            .await
            .expect_error(401, &[40100], &[]);
        let answer = server.call(&method, &path).send().await;
        let code = answer.json()["errors"][0]["code"].as_u64().unwrap_or(0);
        assert!(
            answer.status != 405 && code != u64::from(ErrorCode::NoSuchRoute.number()),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn it_is_served_without_a_token() {
    let server = Server::start().await;
    let answer = server.bare("GET", "/openapi.json").send().await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.expect(200), document());
}

/// Every reference resolves, and the table of codes is all there.
#[test]
fn it_is_whole() {
    let document = document();
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name} is referred to and not there");
    }
    for code in ErrorCode::ALL {
        assert!(
            text.contains(&format!("| {} | {} |", code.number(), code.meaning())),
            "{code:?}"
        );
    }
    let secret_fields = ["key_hash", "token_hash"];
    assert!(secret_fields.iter().all(|field| !text.contains(field)));
}
