//! The promise that the code map is true: crates depend only along the edges of ARCHITECTURE.md, and the repository
//! keeps its own rules.

use cargo_metadata::{DependencyKind, MetadataCommand};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Crate → the workspace crates it may name.
const ALLOWED_EDGES: &[(&str, &[&str])] = &[
    ("portcullis-verify", &[]),
    ("portcullis-config", &["verify"]),
    ("portcullis-limits", &["verify"]),
    ("portcullis-record", &["verify"]),
    ("portcullis-sync", &["verify", "limits", "record"]),
    ("portcullis-store", &["verify", "limits", "record"]),
    ("portcullis-postgres-server", &[]),
    ("portcullis-http", &["verify", "limits", "config"]),
    ("portcullis-proxy", &["http", "verify", "limits", "record", "config"]),
    ("portcullis-authz", &["http", "verify", "limits", "record", "config"]),
    (
        "portcullis-control",
        &["store", "sync", "record", "verify", "limits", "config"],
    ),
    ("portcullis-cli", &["config"]),
];

/// These see everything: they connect or measure the rest.
const SEE_ALL: &[&str] = &["portcullis", "portcullis-benches", "portcullis-perf-gate"];

/// External crates that only one crate may use.
const SOLE_USERS: &[(&str, &str)] = &[
    ("pingora-core", "portcullis-proxy"),
    ("pingora-proxy", "portcullis-proxy"),
    ("pingora-http", "portcullis-proxy"),
    ("sqlx", "portcullis-store"),
    ("prometheus", "portcullis-record"),
    ("axum", "portcullis-control"),
    ("moka", "portcullis-verify"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the workspace root exists")
}

#[test]
fn crates_depend_only_along_the_allowed_edges() {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata runs");
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED_EDGES.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        for dependency in package
            .dependencies
            .iter()
            .filter(|d| d.kind != DependencyKind::Development)
        {
            let (from, to) = (package.name.as_str(), dependency.name.as_str());
            if let Some(to_short) = to.strip_prefix("portcullis-") {
                let fine = SEE_ALL.contains(&from)
                    || allowed
                        .get(from)
                        .unwrap_or_else(|| panic!("no edges are stated for {from}"))
                        .contains(&to_short);
                if !fine {
                    wrong.push(format!("{from} → {to} is not an allowed edge"));
                }
            }
            for (external, user) in SOLE_USERS {
                if to == *external && from != *user {
                    wrong.push(format!("{from} uses {external}, which only {user} may"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_member_inherits_the_lints() {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata runs");
    for package in &metadata.packages {
        let manifest = std::fs::read_to_string(&package.manifest_path).expect("manifests are readable");
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{} does not inherit the lints",
            package.manifest_path
        );
    }
}

#[test]
fn no_released_version_with_a_known_hole_is_locked() {
    // Floors that close published advisories.
    const FLOORS: &[(&str, (u64, u64, u64))] = &[
        ("pingora-core", (0, 9, 1)),
        ("pingora-proxy", (0, 9, 1)),
        ("h2", (0, 4, 16)),
        ("bytes", (1, 11, 1)),
        ("rustls-webpki", (0, 103, 13)),
    ];
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock is committed");
    let mut seen = 0;
    for entry in lock.split("[[package]]") {
        let field = |name: &str| {
            entry
                .lines()
                .find_map(|l| l.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"'))
                .unwrap_or("")
        };
        let Some((_, floor)) = FLOORS.iter().find(|(name, _)| *name == field("name")) else {
            continue;
        };
        let version: Vec<u64> = field("version")
            .split(['.', '-', '+'])
            .take(3)
            .map(|n| n.parse().expect("a version number"))
            .collect();
        assert!(
            (version[0], version[1], version[2]) >= *floor,
            "{} {}",
            field("name"),
            field("version")
        );
        seen += 1;
    }
    assert!(seen >= FLOORS.len(), "a floor names a crate that is not locked");
}

/// Calls `look` with every tracked-looking source file below the root.
fn each_source(look: &mut dyn FnMut(&Path, &str)) {
    fn walk(folder: &Path, look: &mut dyn FnMut(&Path, &str)) {
        for entry in std::fs::read_dir(folder).expect("folders are readable") {
            let path = entry.expect("entries are readable").path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("").to_owned();
            if path.is_dir() {
                if !["target", "node_modules", ".git", ".run", "corpus", "artifacts"].contains(&name.as_str()) {
                    walk(&path, look);
                }
            } else if path.extension().is_some_and(|e| e == "rs") {
                look(&path, &std::fs::read_to_string(&path).expect("sources are UTF-8"));
            }
        }
    }
    walk(&root(), look);
}

#[test]
fn the_repository_keeps_its_own_rules() {
    let mut wrong = Vec::new();
    let forbidden_names = ["utils", "util", "helpers", "common", "misc", "manager", "types"];
    // Spelled in two halves, so that this file does not break its own rule.
    let unfinished = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("#[ig", "nore"),
    ];
    each_source(&mut |path, text| {
        let shown = path.display();
        let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or("");
        if forbidden_names.contains(&stem) {
            wrong.push(format!("{shown}: a file is named for the noun or act of one stage"));
        }
        for mark in unfinished {
            if text.contains(mark) {
                wrong.push(format!("{shown}: left unfinished ({mark})"));
            }
        }
        let code_lines = text
            .lines()
            .take_while(|line| !line.starts_with("#[cfg(test)]"))
            .count();
        let is_test = path.components().any(|c| c.as_os_str() == "tests") || stem == "tests";
        if !is_test && code_lines > 500 {
            wrong.push(format!("{shown}: {code_lines} lines before its tests; split past 500"));
        }
        let says_what_it_is = text.starts_with("//!") || text.starts_with("#!");
        if !says_what_it_is && !is_test {
            wrong.push(format!("{shown}: a module opens with what it decides"));
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
