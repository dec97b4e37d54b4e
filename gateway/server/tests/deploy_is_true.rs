//! The promise that what `deploy/` says can be run: its configuration files are accepted, and its files name each other,
//! the ports and the limits rightly. No image is built and no unit started here.

#![expect(clippy::panic, reason = "a test ends where what it needs is not there")]

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[track_caller]
fn check_names(path: &str, names: &[&str]) {
    let text = read(path);
    for name in names {
        assert!(text.contains(name), "{path} does not name {name}");
    }
}

#[test]
fn every_configuration_file_is_accepted() {
    for name in ["container", "compose", "service"] {
        let path = root().join(format!("deploy/config/{name}.toml"));
        let checked = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["check", "--config"])
            .arg(&path)
            .env_clear()
            .output()
            .expect("the binary runs");
        assert!(
            checked.status.success(),
            "{}: {}",
            path.display(),
            String::from_utf8_lossy(&checked.stderr)
        );
    }
}

#[test]
fn the_files_name_each_other_the_ports_and_the_paths() {
    check_names(
        "deploy/Dockerfile",
        &[
            "deploy/config/container.toml /out/etc/portcullis/portcullis.toml",
            "EXPOSE 7070 7080 7081 7090",
            "/usr/local/bin/portcullis",
            "USER 65532:65532",
        ],
    );
    check_names(
        "deploy/compose.yaml",
        &["dockerfile: deploy/Dockerfile", "./config/compose.toml:/etc/portcullis"],
    );
    check_names(
        "deploy/portcullis.service",
        &["/usr/local/bin/portcullis serve --config /etc/portcullis/portcullis.toml"],
    );
    check_names("deploy/config/compose.toml", &["http://echo:3000"]);
    check_names(
        ".ci/dist",
        &[
            "README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE",
            "deploy/README.md deploy/portcullis.service deploy/quickstart.sh deploy/config",
        ],
    );
    for name in ["container", "compose"] {
        let addresses = [
            "\"0.0.0.0:7070\"",
            "\"0.0.0.0:7080\"",
            "\"0.0.0.0:7081\"",
            "\"0.0.0.0:7090\"",
        ];
        check_names(&format!("deploy/config/{name}.toml"), &addresses);
        check_names(
            &format!("deploy/config/{name}.toml"),
            &["sqlite:///var/lib/portcullis/portcullis.db"],
        );
    }
}

#[test]
fn whoever_stops_the_server_waits_longer_than_it_drains() {
    let drain_s = portcullis_config::Settings::default().gateway.drain_timeout.as_secs();
    for (path, key) in [
        ("deploy/portcullis.service", "TimeoutStopSec="),
        ("deploy/compose.yaml", "stop_grace_period: "),
    ] {
        let text = read(path);
        let value = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(key)?.strip_suffix('s'));
        let seconds: u64 = value
            .and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("{path} has no {key}"));
        assert!(
            seconds > drain_s,
            "{path}: {seconds} s, but a drain may take {drain_s} s"
        );
    }
}
