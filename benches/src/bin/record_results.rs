//! Writes what criterion measured last to `benches/results/`, with date and machine, as a table that can be read later.
//!
//! Reads `target/criterion/**/new/{benchmark,estimates}.json` and `target/decisions.md`; measures nothing itself.

use anyhow::{Context, Result};
use portcullis_benches::machine;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() -> Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| here.join("../target"), PathBuf::from);
    let mut rows = Vec::new();
    collect(&target.join("criterion"), &mut rows)?;
    anyhow::ensure!(
        !rows.is_empty(),
        "nothing was measured: run `cargo bench -p portcullis-benches` first"
    );
    rows.sort();

    let date = machine::date()?;
    let mut page = format!("# Micro benches, {date}\n\n{}\n\n", machine::machine());
    page.push_str("Nanoseconds per operation, one thread; criterion's 95 % interval of the median.\n\n");
    page.push_str("| bench | low | median | high |\n|---|---:|---:|---:|\n");
    for (name, low, median, high) in rows {
        writeln!(page, "| {name} | {low} | {median} | {high} |")?;
    }
    if let Ok(decisions) = std::fs::read_to_string(target.join("decisions.md")) {
        page.push_str(
            "\nSingle decisions, cached or preloaded, with three limits: nanoseconds, each timed by itself, the timer's own share in it.\n\n",
        );
        page.push_str(&decisions);
    }
    let file = here.join("results").join(format!("{date}-micro.md"));
    std::fs::write(&file, page).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(())
}

type Row = (String, String, String, String);

fn collect(folder: &Path, rows: &mut Vec<Row>) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        if path.ends_with("new") && path.join("estimates.json").exists() {
            let read = |name: &str| -> Result<Value> { Ok(serde_json::from_slice(&std::fs::read(path.join(name))?)?) };
            let (benchmark, estimates) = (read("benchmark.json")?, read("estimates.json")?);
            let median = &estimates["median"];
            let nanoseconds = |value: &Value| format!("{:.1}", value.as_f64().unwrap_or(f64::NAN));
            rows.push((
                benchmark["full_id"].as_str().unwrap_or("?").to_owned(),
                nanoseconds(&median["confidence_interval"]["lower_bound"]),
                nanoseconds(&median["point_estimate"]),
                nanoseconds(&median["confidence_interval"]["upper_bound"]),
            ));
        } else if path.is_dir() {
            collect(&path, rows)?;
        }
    }
    Ok(())
}
