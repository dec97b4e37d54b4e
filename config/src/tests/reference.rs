//! `reference.toml` is the documentation: it must show every key, with the default that holds. The profiles must load.

use super::{read, read_with};
use crate::fault::Collector;
use crate::load::settings_of;
use crate::settings::{Route, Settings, Upstream};
use std::collections::BTreeSet;
use std::path::Path;
use toml_edit::{Document, Item, TableLike, Value};

const REFERENCE: &str = include_str!("../../reference.toml");

/// One table of every kind, so that the readers ask for every key there is.
const ONE_OF_EVERYTHING: &str = "
    [[gateway.listen]]
    tls = {}
    [[limits.default_rules]]
    [[routes]]
";

fn known_keys() -> BTreeSet<String> {
    let Ok(table) = crate::document::parse(ONE_OF_EVERYTHING) else {
        panic!("the text above is TOML")
    };
    let collector = Collector::new();
    settings_of(table, std::iter::empty(), &collector);
    collector.known_keys()
}

/// The reference with its commented settings switched on: lines that start with `#` and a key.
fn with_every_setting() -> String {
    let switched = REFERENCE.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase()) => setting,
        _ => line,
    });
    switched.collect::<Vec<_>>().join("\n")
}

fn keys_of(table: &dyn TableLike, path: &str, keys: &mut BTreeSet<String>) {
    for (name, item) in table.iter() {
        let key = crate::fault::joined(path, name);
        keys.insert(key.clone());
        match item {
            Item::Table(inner) => keys_of(inner, &key, keys),
            Item::Value(Value::InlineTable(inner)) => keys_of(inner, &key, keys),
            Item::ArrayOfTables(items) => items.iter().for_each(|item| keys_of(item, &format!("{key}[]"), keys)),
            _ => {}
        }
    }
}

#[test]
fn the_reference_is_the_defaults() {
    let mut settings = read(REFERENCE).unwrap();
    let example = Route {
        upstreams: vec![Upstream {
            tls: false,
            host: "127.0.0.1".to_owned(),
            port: 3000,
        }],
        apps: vec!["internal-api".to_owned()],
        ..Route::default()
    };
    assert_eq!(std::mem::take(&mut settings.routes), [example]);
    assert_eq!(settings, Settings::default());
    assert_eq!(read("").unwrap(), Settings::default());
    assert_eq!(crate::load(None, std::iter::empty()).unwrap(), Settings::default());
}

#[test]
fn the_reference_shows_every_key() {
    let document = Document::parse(with_every_setting()).unwrap();
    let mut shown = BTreeSet::new();
    keys_of(document.as_table(), "", &mut shown);
    // A listener's table is shown in prose, because the default is an address.
    let in_prose = ["address", "h2c", "proxy_protocol", "tls", "tls.cert", "tls.key"];
    for key in in_prose {
        let word = key.rsplit('.').next().unwrap();
        assert!(
            REFERENCE.contains(&format!("{word} = ")),
            "reference.toml does not show {key}"
        );
        shown.insert(format!("gateway.listen[].{key}"));
    }
    assert_eq!(shown, known_keys());
}

#[test]
fn what_the_reference_comments_out_is_legal() {
    let faults = read(&with_every_setting()).unwrap_err();
    let found: Vec<(&str, bool)> = faults
        .0
        .iter()
        .map(|fault| (fault.key.as_str(), fault.message.contains("cannot be read")))
        .collect();
    // Only files that are not on this machine.
    assert_eq!(
        found,
        [("gateway.control_token_file", true), ("routes[0].upstream_ca", true)],
        "{faults}"
    );
}

#[test]
fn a_variable_reaches_every_key() {
    for key in known_keys()
        .iter()
        .filter(|key| key.matches('.').count() == 1 && !key.contains('['))
    {
        let name = format!("PORTCULLIS__{}", key.to_uppercase().replace('.', "__"));
        if let Err(faults) = read_with("", &[(&name, "\u{1}")]) {
            assert!(
                faults.0.iter().all(|fault| fault.key.starts_with(key.as_str())),
                "{name}: {faults}"
            );
            assert!(
                faults.0.iter().all(|fault| !fault.message.starts_with("unknown")),
                "{name}: {faults}"
            );
        }
    }
}

#[test]
fn the_profiles_load() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, port, routes) in [
        ("quickstart", 7080, 1),
        ("sidecar", 8080, 1),
        ("control", 7080, 0),
        ("ingress", 7080, 3),
        ("benchmark", 7080, 1),
    ] {
        let file = folder.join(name).with_extension("toml");
        let settings = crate::load(Some(&file), std::iter::empty()).unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(
            (settings.gateway.listen[0].address.port(), settings.routes.len()),
            (port, routes),
            "{name}"
        );
        assert!(settings.routes.iter().all(|route| !route.apps.is_empty()), "{name}");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(
            text.to_lowercase().starts_with(&format!("# {name}: for ")),
            "{name} does not say for whom it is"
        );
    }
}

#[test]
fn the_quickstart_is_what_the_readme_says() {
    let settings = read(include_str!("../../quickstart.toml")).unwrap();
    assert_eq!(settings.control.listen.to_string(), "127.0.0.1:7070");
    assert_eq!(settings.gateway.listen[0].address.to_string(), "127.0.0.1:7080");
    assert_eq!(
        settings.routes[0].upstreams,
        [Upstream {
            tls: false,
            host: "127.0.0.1".to_owned(),
            port: 3000
        }]
    );
    assert_eq!(settings.routes[0].apps, ["internal-api"]);
}
