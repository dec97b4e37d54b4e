//! What every gateway asks for is found in indexes, however many keys there are.

use crate::{database_of, new_app, open, shared_server};
use portcullis_postgres_server::PostgresServer;
use portcullis_verify::{KeyHash, KeySource as _};
use std::time::Duration;

/// So many that reading them all costs more than looking 256 of them up.
const KEYS: u32 = 100_000;
/// More than the server plans one by one, before it plans for all values at once.
const PAGES: u32 = 10;

/// How often these tables were read from end to end, and how often an index of the first was used, as far as the server
/// has counted by now.
fn scans(server: &PostgresServer, database: &str) -> (u64, u64) {
    let sql = "SELECT sum(seq_scan), sum(idx_scan) FILTER (WHERE relname = 'keys') FROM pg_stat_user_tables
               WHERE relname IN ('keys', 'change_log')";
    let counts = server.psql(database, sql);
    let (whole, indexed) = counts.split_once('|').unwrap();
    (whole.parse().unwrap(), indexed.parse().unwrap())
}

#[tokio::test]
async fn what_gateways_ask_for_scans_no_table() {
    let server = shared_server();
    let url = server.create_database();
    let database = database_of(&url);
    let (store, deployment) = open(&url).await;
    let app = store.create_app(deployment, new_app("it")).await.unwrap().value;
    server.psql(
        database,
        &format!(
            "INSERT INTO keys (id, hash, lineage_id, deployment_id, app_id, name, key_prefix, key_suffix, permissions, metadata,
                               created_at_us, updated_at_us)
             SELECT n, sha256(int4send(n)), n, {deployment}, {app}, 'A key', 'pre', 'abcd1234', '[]', '{{}}', 0, 0
             FROM generate_series(1, {KEYS}) AS n;
             INSERT INTO change_log (revision, epoch, deployment_id, kind, key_hash)
             SELECT head.revision + n, head.epoch, {deployment}, 'key_created', sha256(int4send(n))
             FROM log_head AS head, generate_series(1, {KEYS}) AS n;
             UPDATE log_head SET revision = revision + {KEYS};
             ANALYZE",
            app = app.id,
        ),
    );
    server.psql(database, "SELECT pg_stat_reset()");

    let head = store.current_version().await.unwrap().revision;
    let unknown: Vec<KeyHash> = (0..200).map(crate::hash).collect();
    for hash in &unknown[..20] {
        assert!(store.fetch(hash).await.unwrap().record.is_none());
    }
    for apps in [vec![], vec!["it".to_owned()]] {
        store.fetch_many(deployment, &apps, &unknown).await.unwrap();
        for app_id in [None, Some(app.id)] {
            let mut after = None;
            for _ in 0..PAGES {
                let page = store.key_page(deployment, &apps, app_id, after, 100).await.unwrap();
                assert_eq!(page.keys.len(), 100);
                after = page.next;
            }
        }
    }
    for back in 1..u64::from(PAGES) {
        store.changes_after(head - back, 256).await.unwrap();
    }
    // Counts are told when a session ends, or a little later.
    store.close().await;
    for _ in 0..200 {
        let (whole, indexed) = scans(server, database);
        if indexed >= 20 + u64::from(4 * PAGES) {
            assert_eq!(whole, 0);
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the server counted {:?} scans", scans(server, database));
}
