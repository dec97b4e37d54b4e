//! TLS to the server: spoken where the URL says so, and refused where the server is not who it should be.

use crate::{database_of, new_app, open, shared_server, unavailable};
use portcullis_postgres_server::PostgresServer;
use portcullis_store::Store;
use portcullis_verify::Clock;

const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../proxy/tests/certificates/authority.pem");
/// For `localhost` and 127.0.0.1.
const CERTIFICATE: &str = include_str!("../../../proxy/tests/certificates/server.pem");
const KEY: &str = include_str!("../../../proxy/tests/certificates/server.key");

#[tokio::test]
async fn a_server_is_known_by_its_certificate() {
    let server = PostgresServer::start_with_tls(CERTIFICATE, KEY);
    let url = server.create_database();
    let (store, deployment) = open(&format!("{url}?sslmode=verify-full&sslrootcert={AUTHORITY}")).await;
    store.create_app(deployment, new_app("it")).await.unwrap();
    let in_clear =
        "SELECT count(*) FILTER (WHERE NOT ssl), count(*) > 1 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                    WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert_eq!(server.psql(database_of(&url), in_clear), "0|t");

    // Nobody whom this machine trusts has vouched for it.
    let stranger = unavailable(Store::open(&format!("{url}?sslmode=verify-full"), Clock::system()).await);
    assert!(stranger.contains("certificate"), "{stranger}");
    // The certificate names 127.0.0.1, not this other name of the same machine.
    let other_name = url.replace("127.0.0.1", "127.0.0.2");
    let other_name = format!("{other_name}?sslmode=verify-full&sslrootcert={AUTHORITY}");
    let other_name = unavailable(Store::open(&other_name, Clock::system()).await);
    assert!(other_name.contains("certificate"), "{other_name}");
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_asked_for() {
    let url = shared_server().create_database();
    let refused = unavailable(Store::open(&format!("{url}?sslmode=require"), Clock::system()).await);
    assert!(
        refused.to_lowercase().contains("tls") || refused.contains("SSL"),
        "{refused}"
    );
}
