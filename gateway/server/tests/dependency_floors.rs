//! No lock file holds a version below the floors of `deny.toml`, or a crate that it bans, or a source other than crates.io.
//!
//! `cargo deny` checks the same and more, but takes minutes to build and needs the network; this runs with every test.

use cargo_metadata::semver::Version;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A `deny` entry: the crate, and the first version allowed, or `None` when it is banned whatever its version.
#[derive(Debug)]
struct Ban {
    name: String,
    floor: Option<Version>,
}

/// A `[[package]]` of a lock file.
#[derive(Debug, Default)]
struct Package {
    name: String,
    version: String,
    source: Option<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn bans() -> Vec<Ban> {
    let text = read(&root().join("deny.toml"));
    let crates = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("{ crate = \"")?.split('"').next());
    crates
        .map(|entry| match entry.split_once("@<") {
            Some((name, floor)) => Ban {
                name: name.to_owned(),
                floor: Some(Version::parse(floor).expect("a floor is a version")),
            },
            None => Ban {
                name: entry.to_owned(),
                floor: None,
            },
        })
        .collect()
}

fn packages(lock: &Path) -> Vec<Package> {
    let value = |line: &str, key: &str| {
        Some(
            line.strip_prefix(key)?
                .strip_prefix(" = \"")?
                .strip_suffix('"')?
                .to_owned(),
        )
    };
    let mut packages = Vec::new();
    for block in read(lock).split("[[package]]").skip(1) {
        let mut package = Package::default();
        for line in block.lines() {
            package.name = value(line, "name").unwrap_or(package.name);
            package.version = value(line, "version").unwrap_or(package.version);
            package.source = value(line, "source").or(package.source);
        }
        packages.push(package);
    }
    packages
}

fn locks() -> [PathBuf; 4] {
    [
        "Cargo.lock",
        "fuzz/Cargo.lock",
        "gateway/server/tests/clients/crate_beta1/Cargo.lock",
        "gateway/server/tests/clients/crate_beta9/Cargo.lock",
    ]
    .map(|path| root().join(path))
}

#[test]
fn no_lock_file_holds_what_is_banned() {
    let bans = bans();
    for name in ["pingora-core", "pingora-proxy", "h2", "bytes", "rustls-webpki"] {
        assert!(
            bans.iter().any(|ban| ban.name == name && ban.floor.is_some()),
            "deny.toml has no floor for {name}"
        );
    }
    for lock in locks() {
        for package in packages(&lock) {
            let version = Version::parse(&package.version).expect("a locked version");
            for ban in bans.iter().filter(|ban| ban.name == package.name) {
                let allowed = ban.floor.as_ref().is_some_and(|floor| version >= *floor);
                assert!(
                    allowed,
                    "{}: {} {version} is denied: {ban:?}",
                    lock.display(),
                    package.name
                );
            }
        }
    }
}

#[test]
fn every_dependency_comes_from_crates_io() {
    const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
    let mut sources = BTreeSet::new();
    for lock in locks() {
        let packages = packages(&lock);
        assert!(packages.len() > 5, "{} was not understood", lock.display());
        sources.extend(packages.into_iter().filter_map(|package| package.source));
    }
    assert_eq!(sources.into_iter().collect::<Vec<_>>(), [CRATES_IO]);
}
