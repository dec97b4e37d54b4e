//! Nothing below `/api-auth` opens without a management token, and guessing one is slow.

use crate::server::{Server, TOKEN};
use portcullis_control::token;
use portcullis_store::entity::TokenKind;

#[tokio::test]
async fn a_missing_or_wrong_token_is_refused() {
    let server = Server::start().await;
    let refused = async |values: &[&str], challenge: &str, part: &str| {
        let mut call = server.bare("GET", "/api-auth/apps");
        for value in values {
            call = call.header("authorization", value);
        }
        let answer = call.send().await;
        assert_eq!(answer.header("www-authenticate"), Some(challenge), "{values:?}");
        assert!(!answer.text.contains("sesame"), "{}", answer.text);
        answer.expect_error(401, &[40100], &[part]);
    };
    let (missing, wrong) = (
        r#"Bearer realm="portcullis""#,
        r#"Bearer realm="portcullis", error="invalid_token""#,
    );
    let good = format!("Bearer {TOKEN}");
    refused(&[], missing, "required").await;
    refused(&[""], missing, "required").await;
    refused(&["Bearer"], missing, "required").await;
    refused(&["Bearer  "], missing, "required").await;
    refused(&[TOKEN], missing, "required").await;
    refused(&["Basic c2VzYW1lOnNlc2FtZQ=="], missing, "required").await;
    refused(&[&good, &good], missing, "required").await;
    refused(&["Bearer open-sesame-open-sesame"], wrong, "not known").await;
    refused(&[&format!("{good}x")], wrong, "not known").await;
    refused(&[&good[..good.len() - 1]], wrong, "not known").await;
    for fine in [format!("bearer {TOKEN}"), format!("BEARER   {TOKEN} ")] {
        server
            .bare("GET", "/api-auth/apps")
            .header("authorization", &fine)
            .send()
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn no_path_below_api_auth_answers_without_a_token() {
    let server = Server::start().await;
    for (method, path) in [
        ("GET", "/api-auth"),
        ("GET", "/api-auth/"),
        ("GET", "/api-auth/nowhere"),
        ("PUT", "/api-auth/apps"),
        ("POST", "/api-auth/verify"),
        ("POST", "/api-auth/apps/a/keys/x/revoke"),
    ] {
        server.bare(method, path).send().await.expect_error(401, &[40100], &[]);
    }
    server.bare("GET", "/openapi.json").send().await.expect(200);
    server
        .bare("GET", "/nowhere")
        .send()
        .await
        .expect_error(404, &[40400], &[]);
}

#[tokio::test]
async fn a_gateways_token_administers_nothing_and_a_management_token_is_no_gateways() {
    let server = Server::start().await;
    let token = token::generate(TokenKind::Gateway).unwrap();
    let hash = token::hash(token.expose());
    server
        .store
        .create_token(server.deployment.id, TokenKind::Gateway, "g", &[], hash)
        .await
        .unwrap();
    server
        .bare("GET", "/api-auth/apps")
        .token(token.expose())
        .send()
        .await
        .expect_error(403, &[40301], &["management token"]);
    for (method, path) in [
        ("POST", "/gateway/v1/watch"),
        ("POST", "/gateway/v1/keys/look-up"),
        ("GET", "/gateway/v1/keys"),
        ("POST", "/gateway/v1/usage"),
        ("GET", "/gateway/nowhere"),
    ] {
        server
            .call(method, path)
            .send()
            .await
            .expect_error(403, &[40301], &["gateway's token"]);
        server
            .bare(method, path)
            .send()
            .await
            .expect_error(401, &[40100], &["required"]);
        let wrong = server.bare(method, path).token("open-sesame-open-sesame").send().await;
        wrong.expect_error(401, &[40100], &["not known"]);
    }
}

#[tokio::test]
async fn a_revoked_token_dies_at_once() {
    let server = Server::start().await;
    server.get("/api-auth/apps").await.expect(200);
    let tokens = server.store.list_tokens(server.deployment.id).await.unwrap();
    server
        .store
        .revoke_token(server.deployment.id, tokens[0].id)
        .await
        .unwrap();
    server
        .get("/api-auth/apps")
        .await
        .expect_error(401, &[40100], &["revoked"]);
}

#[tokio::test]
async fn guessing_is_slowed_down_and_only_failures_count() {
    let server = Server::start().await;
    let (_, spare) = server.tenant("spare").await;
    for _ in 0..100 {
        server.get("/api-auth/apps").await.expect(200);
    }
    let guess = async |number: usize| {
        let token = format!("a-guess-of-a-token-{number}");
        server.bare("GET", "/api-auth/apps").token(&token).send().await
    };
    for number in 0..20 {
        guess(number).await.expect_error(401, &[40100], &[]);
    }
    // Twenty a minute come back: the first after three seconds.
    let refused = guess(20).await;
    assert_eq!(refused.header("retry-after"), Some("3"));
    refused.expect_error(429, &[42900], &["try again in 3 s"]);
    let not_looked_up = server.bare("GET", "/api-auth/apps").token(&spare).send().await;
    not_looked_up.expect_error(429, &[42900], &[]);
    server.get("/api-auth/apps").await.expect(200);
    server
        .bare("GET", "/api-auth/apps")
        .send()
        .await
        .expect_error(401, &[40100], &["required"]);

    server.clock.advance_us(3_000_000);
    server
        .bare("GET", "/api-auth/apps")
        .token(&spare)
        .send()
        .await
        .expect(200);
    guess(21).await.expect_error(401, &[40100], &[]);
    guess(22).await.expect_error(429, &[42900], &[]);
    server
        .bare("GET", "/api-auth/apps")
        .token(&spare)
        .send()
        .await
        .expect(200);
}
