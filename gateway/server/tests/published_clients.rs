//! The promise that the published clients work unmodified: each one's suite, run against the real binary.
//!
//! The suites live in `clients/`, as packages of their own: two versions of one crate cannot share a workspace, and the npm
//! client needs node. They are told where to go through the environment.

mod support;

use std::path::Path;
use std::process::Command;
use support::{Server, root, run};

/// A server with a second deployment on the free plan, and the environment that the suites read.
async fn world() -> (Server, Vec<(&'static str, String)>) {
    let server = Server::start("").await;
    let config = server.folder().join("portcullis.toml");
    let config = config.to_str().expect("UTF-8");
    let must = |arguments: &[&str]| {
        let finished = run(server.folder(), &[arguments, &["--config", config]].concat(), &[], "");
        assert_eq!(finished.code, 0, "{arguments:?}: {}", finished.stderr);
        finished.stdout.trim().to_owned()
    };
    must(&["deployments", "create", "unpaid"]);
    must(&["deployments", "set-plan", "unpaid", "free"]);
    let free = must(&["tokens", "create", "--deployment", "unpaid"]);
    let environment = vec![
        ("PORTCULLIS_TEST_CONTROL_URL", format!("http://{}", server.control)),
        ("PORTCULLIS_TEST_AUTHZ_URL", format!("http://{}", server.authz)),
        ("PORTCULLIS_TEST_TOKEN", support::TOKEN.to_owned()),
        ("PORTCULLIS_TEST_FREE_TOKEN", free),
    ];
    (server, environment)
}

fn suite(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

async fn succeeds(mut command: Command) {
    let finished = tokio::task::spawn_blocking(move || command.output())
        .await
        .expect("it runs")
        .expect("it starts");
    assert!(
        finished.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&finished.stdout),
        String::from_utf8_lossy(&finished.stderr)
    );
}

async fn crate_suite(name: &str) {
    let (server, environment) = world().await;
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["test", "--quiet", "--locked", "--manifest-path"])
        .arg(suite(name).join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", root().join("target/clients"))
        .envs(environment);
    succeeds(command).await;
    assert_nothing_confidential_was_logged(&server);
}

fn assert_nothing_confidential_was_logged(server: &Server) {
    let logs = server.log_lines().join("\n");
    assert!(!logs.contains(support::TOKEN), "the management token was logged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_crate_wacht_0_1_0_beta_9() {
    crate_suite("crate_beta9").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_crate_wacht_0_1_0_beta_1() {
    crate_suite("crate_beta1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_npm_package_wacht_backend_1_0_0_beta_20() {
    let (server, environment) = world().await;
    let mut command = Command::new("npm");
    command
        .args(["test", "--silent"])
        .current_dir(suite("npm"))
        .envs(environment);
    succeeds(command).await;
    assert_nothing_confidential_was_logged(&server);
}
