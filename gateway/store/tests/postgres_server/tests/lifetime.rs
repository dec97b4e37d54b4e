//! A server is there when it is said to be, keeps its data over a kill, can be followed, and leaves nothing behind.

use portcullis_postgres_server::{PASSWORD, PostgresServer};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

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

/// Set for the process that is going to be killed.
const HOLDER: &str = "PORTCULLIS_TEST_HOLDS_A_SERVER";

/// No destructor runs in a process that is killed.
#[test]
fn a_server_does_not_outlive_a_killed_process() {
    if std::env::var_os(HOLDER).is_some() {
        let server = PostgresServer::start();
        println!("holding {}", server.psql("postgres", "SHOW data_directory"));
        // Until it is killed.
        std::io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_server_does_not_outlive_a_killed_process", "--nocapture"])
        .env(HOLDER, "yes")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let folder = BufReader::new(holder.stdout.take().unwrap())
        .lines()
        .find_map(|line| {
            line.unwrap()
                .split_once("holding ")
                .map(|(_, folder)| folder.to_owned())
        })
        .unwrap();
    assert!(Path::new(&folder).parent().unwrap().exists());
    holder.kill().unwrap();
    holder.wait().unwrap();
    let (_nobody, pause) = mpsc::channel::<()>();
    for _ in 0..600 {
        if !Path::new(&folder).parent().unwrap().exists() {
            return;
        }
        pause.recv_timeout(Duration::from_millis(100)).unwrap_err();
    }
    panic!("the server outlived its process");
}
