//! A server is there when it is said to be, keeps its data over a kill, can be followed, and leaves nothing behind.

use portcullis_postgres_server::{PASSWORD, PostgresServer};
use std::path::Path;

#[test]
fn a_server_is_killed_started_again_followed_and_gone() {
    let server = PostgresServer::start_durable();
    let url = server.create_database();
    assert!(url.contains(PASSWORD) && url.contains(&server.port().to_string()));
    let database = url.rsplit('/').next().unwrap();
    server.psql(database, "CREATE TABLE t (n INTEGER)");
    for number in 0..3 {
        server.psql(database, &format!("INSERT INTO t VALUES ({number})"));
        server.kill();
        server.restart();
    }
    assert_eq!(server.psql(database, "SELECT count(*), sum(n) FROM t"), "3|3");

    let standby = server.standby();
    assert_eq!(
        standby.psql(database, "SELECT pg_is_in_recovery(), count(*) FROM t"),
        "t|3"
    );

    let folder = server.psql("postgres", "SHOW data_directory");
    server.stop();
    server.restart();
    drop(server);
    drop(standby);
    assert!(!Path::new(&folder).exists(), "{folder} is still there");
}
