//! What the user of the database must be allowed to do: own it, no more.

use crate::{database_of, new_app, open, shared_server};

#[tokio::test]
async fn the_owner_of_the_database_needs_no_other_right() {
    let server = shared_server();
    let url = server.create_database();
    let database = database_of(&url);
    server.psql(
        "postgres",
        "CREATE ROLE plain LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD 'p%w d'",
    );
    server.psql("postgres", &format!("ALTER DATABASE {database} OWNER TO plain"));
    let url = format!("postgres://plain:p%25w%20d@127.0.0.1:{}/{database}", server.port());
    let (store, deployment) = open(&url).await;
    store.settle_history().await.unwrap();
    store.create_app(deployment, new_app("it")).await.unwrap();
    store.close().await;
    let (store, deployment) = open(&url).await;
    assert_eq!(store.list_apps(deployment, false).await.unwrap().len(), 1);
}
