//! The promise that a deploy hands out no fresh day: with `limits.persist`, what was used of a long window stays used across a
//! restart, and a crash forgets no more than the last interval.
//!
//! Through the real binary. What is saved and how it is carried over is proved in `portcullis-limits`.

#![expect(clippy::panic, reason = "a test ends where what it needs is not there")]

mod support;

use serde_json::json;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use support::control::Issued;
use support::upstream::Upstream;
use support::{Server, client, eventually, field, route};
use tempfile::TempDir;

const FILE: &str = "portcullis.limits";

/// A server that is started again and again in one folder.
struct World {
    folder: Arc<TempDir>,
    config: String,
    _upstream: Upstream,
}

impl World {
    /// One with these settings of `[limits]`.
    async fn new(limits: &str) -> World {
        let upstream = Upstream::start().await;
        World {
            folder: Arc::new(TempDir::new().expect("a temporary folder")),
            config: format!(
                "[gateway]\ntrusted_proxies = [\"127.0.0.1\"]\n[limits]\n{limits}\n{}",
                route(upstream.address, &["api"])
            ),
            _upstream: upstream,
        }
    }

    async fn start(&self) -> Server {
        Server::start_in(Arc::clone(&self.folder), &self.config, &[]).await
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.folder.path().join(format!("{FILE}{ending}"))
    }
}

/// A key that may be used so often a day, and each address of its callers half as often a month.
async fn key(server: &Server, limit: u32) -> Issued {
    let api = server.api();
    let rules = json!([
        {"unit": "day", "duration": 1, "max_requests": limit, "mode": "per_key"},
        {"unit": "calendar_month", "duration": 1, "max_requests": limit / 2, "mode": "per_ip"},
    ]);
    api.scheme("s", rules).await;
    api.app_with("api", json!({"rate_limit_scheme_slug": "s"})).await;
    api.key("api").await
}

/// How many of `tries` requests in a row from an address are let through.
async fn admitted(server: &Server, key: &Issued, from: &str, tries: usize) -> usize {
    let client = client();
    let mut admitted = 0;
    for _ in 0..tries {
        let request = client.get(server.url("/")).bearer_auth(&key.secret);
        let answer = request.header("x-forwarded-for", from).send().await.expect("an answer");
        match answer.status().as_u16() {
            200 => admitted += 1,
            429 => {}
            other => panic!("unexpected status {other}"),
        }
    }
    admitted
}

/// What the metrics say of saving.
async fn saves(server: &Server, what: &str) -> Option<u64> {
    let answer = client()
        .get(format!("http://{}/metrics", server.admin))
        .send()
        .await
        .ok()?;
    let metrics = answer.text().await.ok()?;
    let name = format!("portcullis_limit_{what}_total ");
    metrics.lines().find_map(|line| line.strip_prefix(&name))?.parse().ok()
}

fn message(line: &str) -> String {
    field(line, "message").unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_used_stays_used_across_a_restart() {
    let world = World::new("persist = true").await;
    let server = world.start().await;
    server.wait_for_log("that it is the first start", |line| {
        message(line) == "no counters are saved yet: counting begins afresh"
    });
    let key = key(&server, 10).await;
    assert_eq!(admitted(&server, &key, "10.0.0.1", 3).await, 3);
    assert_eq!(server.stop(), 0);
    let bytes = std::fs::read(world.file("")).expect("the file is there");
    let holds = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(!holds(&key.secret) && !holds("sk_"), "no key is in it");
    for name in ["", ".lock"] {
        let mode = std::fs::metadata(world.file(name))
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }

    let server = world.start().await;
    let told = server.wait_for_log("what was restored", |line| message(line) == "counters restored");
    assert_eq!(field(&told, "counters").as_deref(), Some("2"), "{told}");
    assert_eq!(
        admitted(&server, &key, "10.0.0.1", 5).await,
        2,
        "the rest of the address's month"
    );
    assert_eq!(server.stop(), 0);

    let server = world.start().await;
    assert_eq!(admitted(&server, &key, "10.0.0.1", 2).await, 0);
    assert_eq!(
        admitted(&server, &key, "10.0.0.2", 9).await,
        5,
        "the rest of the key's day"
    );
    // An edit meanwhile is an edit.
    let api = server.api();
    let raised = json!({"rules": [
        {"unit": "day", "duration": 1, "max_requests": 12, "mode": "per_key"},
        {"unit": "calendar_month", "duration": 1, "max_requests": 100, "mode": "per_ip"},
    ]});
    api.must("PATCH", "/api-auth/rate-limit-schemes/s", Some(raised)).await;
    assert_eq!(server.stop(), 0);
    let server = world.start().await;
    assert_eq!(admitted(&server, &key, "10.0.0.1", 5).await, 2, "two more than ten");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_forgets_no_more_than_the_last_interval() {
    let world = World::new("persist = true\npersist_interval = \"1s\"").await;
    let server = world.start().await;
    let key = key(&server, 8).await;
    assert_eq!(admitted(&server, &key, "10.0.0.1", 3).await, 3);
    // The second file from now was begun after the requests above were answered.
    let inode = || std::fs::metadata(world.file("")).ok().map(|found| found.ino());
    for _ in 0..2 {
        let before = inode();
        eventually("the file is replaced", async || {
            inode().filter(|now| before != Some(*now))
        })
        .await;
    }
    eventually("it is counted", async || {
        saves(&server, "saves").await.filter(|&saves| saves >= 2)
    })
    .await;
    let server = server.kill_and_restart().await;
    server.wait_for_log("what was restored", |line| message(line) == "counters restored");
    assert_eq!(admitted(&server, &key, "10.0.0.1", 5).await, 1);
    assert_eq!(admitted(&server, &key, "10.0.0.2", 9).await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_refuses_stops_nobody_and_is_told_of() {
    let world = World::new("persist = true\npersist_interval = \"1s\"").await;
    // Where the next file is written, something is in the way.
    std::fs::create_dir(world.file(".new")).expect("a folder");
    let server = world.start().await;
    let told = server.wait_for_log("that it cannot save", |line| {
        message(line).starts_with("counters are not saved")
    });
    assert!(
        field(&told, "error").is_some_and(|error| error.starts_with("cannot write portcullis.limits: ")),
        "{told}"
    );
    eventually("it is counted", async || {
        saves(&server, "save_failures").await.filter(|&failures| failures > 0)
    })
    .await;
    let key = key(&server, 4).await;
    assert_eq!(admitted(&server, &key, "10.0.0.1", 3).await, 2);
    std::fs::remove_dir(world.file(".new")).expect("it is empty");
    assert_eq!(server.stop(), 0);
    assert_eq!(
        admitted(&world.start().await, &key, "10.0.0.1", 3).await,
        0,
        "the next try succeeds"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_setting_nothing_is_kept() {
    let world = World::new("").await;
    let server = world.start().await;
    let key = key(&server, 4).await;
    assert_eq!(admitted(&server, &key, "10.0.0.1", 3).await, 2);
    assert_eq!(server.stop(), 0);
    let server = world.start().await;
    assert_eq!(admitted(&server, &key, "10.0.0.1", 3).await, 2);
    for ending in ["", ".lock", ".new", ".damaged"] {
        assert!(!world.file(ending).exists(), "{ending}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_is_reported_and_kept_and_none_of_it_is_used() {
    let world = World::new("persist = true").await;
    let server = world.start().await;
    let key = key(&server, 4).await;
    assert_eq!(admitted(&server, &key, "10.0.0.1", 3).await, 2);
    assert_eq!(server.stop(), 0);
    let mut bytes = std::fs::read(world.file("")).expect("the file is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x20;
    std::fs::write(world.file(""), &bytes).expect("it can be written");

    let server = world.start().await;
    let told = server.wait_for_log("what is wrong", |line| {
        message(line).starts_with("saved counters cannot be used: counting begins afresh")
    });
    assert_eq!(field(&told, "level").as_deref(), Some("ERROR"), "{told}");
    assert_eq!(field(&told, "file").as_deref(), Some(FILE), "{told}");
    assert_eq!(
        field(&told, "kept_as").as_deref(),
        Some("portcullis.limits.damaged"),
        "{told}"
    );
    assert!(field(&told, "error").is_some_and(|why| !why.is_empty()), "{told}");
    assert_eq!(admitted(&server, &key, "10.0.0.1", 3).await, 2);
    assert_eq!(std::fs::read(world.file(".damaged")).expect("it is kept"), bytes);
    assert_eq!(server.stop(), 0);
    assert!(world.file("").exists(), "and saving goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_never_use_one_file() {
    let world = World::new("persist = true").await;
    let server = world.start().await;
    let any_port = [
        "CONTROL__LISTEN",
        "GATEWAY__LISTEN",
        "GATEWAY__AUTHZ_LISTEN",
        "ADMIN__LISTEN",
    ]
    .map(|key| format!("PORTCULLIS__{key}"));
    let environment = any_port.each_ref().map(|name| (name.as_str(), "127.0.0.1:0"));
    let arguments = ["serve", "--config", "portcullis.toml"];
    let second = support::run(world.folder.path(), &arguments, &environment, "");
    assert_eq!(second.code, 1, "{}", second.stderr);
    assert!(
        second.stderr.contains(
            "limits.persist_file: another process keeps its counters in portcullis.limits (it holds portcullis.limits.lock)"
        ),
        "{}",
        second.stderr
    );
    // The first goes on, and its lock ends with it however it ends.
    let key = key(&server, 4).await;
    assert_eq!(admitted(&server, &key, "10.0.0.1", 3).await, 2);
    let server = server.kill_and_restart().await;
    assert_eq!(server.stop(), 0);
}
