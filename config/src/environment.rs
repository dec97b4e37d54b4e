//! Settings from the environment: `PORTCULLIS__SECTION__KEY`, over what the file says.
//!
//! It decides which variable stands for which key; what the text means is decided by the key's reader, as for the file.
//! Lists are comma separated or TOML/JSON arrays; `PORTCULLIS__ROUTES` holds all routes as an array of tables.

use crate::document::{Entry, Node, Table, Value};
use crate::fault::{Collector, Place};
use std::rc::Rc;

/// What every variable of a setting starts with.
const PREFIX: &str = "PORTCULLIS__";
const SHAPE: &str = "not the name of a setting: write PORTCULLIS__SECTION__KEY, such as PORTCULLIS__CONTROL__LISTEN";

/// The variables of this process that concern settings. A byte that is no Unicode becomes `U+FFFD`, which no setting takes.
pub fn process_environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .map(|(name, value)| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        })
        .filter(|(name, _)| name.starts_with(PREFIX))
}

/// Lays the variables over the file's tables; variables that are none of ours are passed over.
pub(crate) fn overlay(root: &mut Table, environment: impl Iterator<Item = (String, String)>, collector: &Collector) {
    let mut variables: Vec<(String, String)> = environment.filter(|(name, _)| name.starts_with(PREFIX)).collect();
    variables.sort();
    let mut seen: Vec<String> = Vec::new();
    for (name, value) in variables {
        let key_path = name[PREFIX.len()..].to_ascii_lowercase();
        let place = Place::Environment(Rc::from(name));
        if seen.contains(&key_path) {
            collector.fault(
                place,
                key_path.replace("__", "."),
                "set by two variables that differ only in case",
            );
            continue;
        }
        let node = Node {
            place: place.clone(),
            value: Value::Raw(value),
        };
        let parts: Vec<&str> = key_path.split("__").collect();
        match *parts.as_slice() {
            ["routes"] => put(root, "routes", node),
            ["routes", ..] => {
                collector.fault(
                    place,
                    "routes",
                    "routes are set as a whole: PORTCULLIS__ROUTES = an array of tables",
                );
            }
            [section, key] if !section.is_empty() && !key.is_empty() => {
                if let Some(section) = section_of(root, section, &place) {
                    put(section, key, node);
                }
            }
            _ => collector.fault(place, "", SHAPE),
        }
        seen.push(key_path);
    }
}

/// The section's table, made when it is not there. `None` when the file holds something else in its place, which the
/// section's reader reports.
fn section_of<'a>(root: &'a mut Table, section: &str, place: &Place) -> Option<&'a mut Table> {
    let index = root
        .entries
        .iter()
        .position(|entry| entry.key == section)
        .unwrap_or_else(|| {
            let node = Node {
                place: place.clone(),
                value: Value::Table(Table::default()),
            };
            root.entries.push(Entry {
                key: section.to_owned(),
                place: place.clone(),
                node,
            });
            root.entries.len() - 1
        });
    match &mut root.entries.get_mut(index)?.node.value {
        Value::Table(table) => Some(table),
        _ => None,
    }
}

fn put(table: &mut Table, key: &str, node: Node) {
    table.entries.retain(|entry| entry.key != key);
    table.entries.push(Entry {
        key: key.to_owned(),
        place: node.place.clone(),
        node,
    });
}
