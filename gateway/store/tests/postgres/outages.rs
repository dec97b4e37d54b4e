//! A server that is away, or only seems to be there, makes calls fail in time, and no longer than it lasts.

use crate::stalling_proxy::StallingProxy;
use crate::{hash, in_time, new_app, new_key, open, shared_server, unavailable};
use portcullis_postgres_server::{PASSWORD, PostgresServer};
use portcullis_verify::KeySource as _;

#[tokio::test]
async fn a_server_that_comes_back_is_used_again_at_once() {
    let server = PostgresServer::start();
    let (store, deployment) = open(&server.create_database()).await;
    store.create_app(deployment, new_app("it")).await.unwrap();
    store.create_key(deployment, "it", new_key(1)).await.unwrap();
    for number in 2..4 {
        server.stop();
        unavailable(in_time(store.list_apps(deployment, true)).await);
        unavailable(in_time(store.create_key(deployment, "it", new_key(9))).await);
        let error = in_time(store.fetch(&hash(1))).await.unwrap_err();
        assert!(!error.cause.contains(PASSWORD), "{error}");
        server.restart();
        // The first call already: connections that died are not handed to anybody.
        store.create_key(deployment, "it", new_key(number)).await.unwrap();
        for known in 1..=number {
            assert!(store.fetch(&hash(known)).await.unwrap().record.is_some());
        }
    }
    // Also when nobody noticed that it was away.
    server.stop();
    server.restart();
    for _ in 0..3 {
        assert!(store.fetch(&hash(1)).await.unwrap().record.is_some());
    }
    store.create_key(deployment, "it", new_key(4)).await.unwrap();
}

/// No packet comes back, and no connection is closed: only time tells.
#[tokio::test]
async fn a_server_that_falls_silent_is_given_up_in_time() {
    let server = shared_server();
    let proxy = StallingProxy::start(server.port()).await;
    let url = server.create_database();
    let through_proxy = url.replace(&server.port().to_string(), &proxy.port().to_string());
    let (store, deployment) = open(&through_proxy).await;
    store.create_app(deployment, new_app("before")).await.unwrap();
    // As many connections as it keeps, of which the calls below use three.
    let crowd: Vec<_> = (0..50)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.list_apps(deployment, true).await.map(drop) })
        })
        .collect();
    for call in crowd {
        call.await.unwrap().unwrap();
    }
    proxy.stall();
    let unknown = hash(1);
    let (read, written, looked_up) = tokio::join!(
        in_time(store.list_apps(deployment, true)),
        in_time(store.create_app(deployment, new_app("meanwhile"))),
        in_time(store.fetch(&unknown)),
    );
    unavailable(read);
    unavailable(written);
    looked_up.unwrap_err();
    proxy.go_on();
    // The first calls already: what nobody used meanwhile is not tried, which would take as long again.
    in_time(store.create_app(deployment, new_app("after"))).await.unwrap();
    let apps = in_time(store.list_apps(deployment, true)).await.unwrap();
    let slugs: Vec<&str> = apps.iter().map(|app| app.slug.as_str()).collect();
    assert_eq!(slugs, ["before", "after"]);
}
