//! Notes what `portcullis --version` tells of a build: the commit, the compiler, the target, and how it was optimised.
//!
//! Knows nothing of what the program does. Outside a checkout of this repository the commit is `unknown`; `PORTCULLIS_COMMIT` names
//! it there, and anywhere else. Cargo runs it; `src/build.rs` of this crate reads what it noted.

use std::io::{Result, Write};
use std::path::Path;
use std::process::Command;

fn main() -> Result<()> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let here = variable("CARGO_MANIFEST_DIR");
    let here = Path::new(&here);
    let root = here.join("../..");
    let named = Some(variable("PORTCULLIS_COMMIT")).filter(|name| !name.is_empty());
    let (commit, watched) = match named {
        Some(name) => (Some(name), Vec::new()),
        None => checked_out(&root),
    };
    let compiler = first_line(Command::new(variable("RUSTC")).arg("-V"));

    let mut out = std::io::stdout();
    for (name, value) in [
        ("COMMIT", commit.as_deref().unwrap_or("unknown")),
        ("RUSTC", compiler.as_deref().unwrap_or("rustc of unknown version")),
        ("TARGET", &variable("TARGET")),
        ("KIND", kind(&variable("PROFILE"), &variable("CARGO_ENCODED_RUSTFLAGS"))),
    ] {
        writeln!(out, "cargo:rustc-env=PORTCULLIS_BUILD_{name}={value}")?;
    }
    writeln!(out, "cargo:rerun-if-changed=build.rs")?;
    writeln!(out, "cargo:rerun-if-env-changed=PORTCULLIS_COMMIT")?;
    for path in watched {
        writeln!(out, "cargo:rerun-if-changed={path}")?;
    }
    Ok(())
}

/// What the flags make of a profile. Read from the flags themselves, so that no build can pass for another.
fn kind(profile: &str, flags: &str) -> &'static str {
    match profile {
        _ if flags.contains("profile-generate") => "release, instrumented: slow, for taking a profile",
        "release" if flags.contains("profile-use") => "release, profile-guided",
        "release" => "release",
        _ => "debug: slow",
    }
}

/// The commit that is checked out here, and the files that change with it. None if `root` is not the top of a repository: one that
/// merely lies in another's folder has no commit.
fn checked_out(root: &Path) -> (Option<String>, Vec<String>) {
    let git = |arguments: &[&str]| first_line(Command::new("git").arg("-C").arg(root).args(arguments));
    let is_top = git(&["rev-parse", "--show-prefix"]).is_some_and(|prefix| prefix.is_empty())
        && git(&["ls-files", "--error-unmatch", "gateway/server/build.rs"]).is_some();
    if !is_top {
        return (None, Vec::new());
    }
    let watched = ["HEAD", "logs/HEAD"].iter().filter_map(|name| {
        let path = root.join(git(&["rev-parse", "--git-path", name])?);
        path.exists().then(|| path.display().to_string())
    });
    (git(&["rev-parse", "--short=12", "HEAD"]), watched.collect())
}

/// The first line of what a command prints; `None` where it is missing or fails.
fn first_line(command: &mut Command) -> Option<String> {
    let run = command.output().ok().filter(|run| run.status.success())?;
    let text = String::from_utf8(run.stdout).ok()?;
    Some(text.lines().next().unwrap_or_default().to_owned())
}
