//! Takes typed values out of the tree, and notes every fault on the way.
//!
//! It decides whether a value has the type and the bounds its section asks for; what a section asks for is in
//! [`crate::section`]. A faulty value reads as `None`, and reading goes on, so that all faults are found in one pass.

use crate::document::{Entry, Node, Table, Value, parse_value};
use crate::fault::{Collector, Place, joined};
use crate::scalar;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

/// One table. What is left in it at [`Reader::finish`] is unknown.
pub(crate) struct Reader<'a> {
    collector: &'a Collector,
    path: String,
    place: Place,
    entries: Vec<Entry>,
}

/// One value, on its way to being read.
pub(crate) struct Field<'a> {
    collector: &'a Collector,
    key: String,
    place: Place,
    value: Value,
}

impl<'a> Reader<'a> {
    pub(crate) fn root(collector: &'a Collector, table: Table) -> Reader<'a> {
        Reader {
            collector,
            path: String::new(),
            place: Place::WholeFile,
            entries: table.entries,
        }
    }

    /// Takes a key out, if it is set.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Field<'a>> {
        let key = joined(&self.path, name);
        self.collector.know(&key);
        let index = self.entries.iter().position(|entry| entry.key == name)?;
        let node = self.entries.remove(index).node;
        self.collector.set_at(&key, node.place.clone());
        Some(Field {
            collector: self.collector,
            key,
            place: node.place,
            value: node.value,
        })
    }

    /// Reads a key into its setting, which keeps its default when the key is not set or faulty. False when it is faulty.
    pub(crate) fn read<T>(
        &mut self,
        name: &'static str,
        setting: &mut T,
        read: impl FnOnce(Field<'a>) -> Option<T>,
    ) -> bool {
        let Some(field) = self.take(name) else { return true };
        match read(field) {
            Some(value) => {
                *setting = value;
                true
            }
            None => false,
        }
    }

    /// Reads a key that has no default.
    pub(crate) fn required<T>(
        &mut self,
        name: &'static str,
        example: &str,
        read: impl FnOnce(Field<'a>) -> Option<T>,
    ) -> Option<T> {
        match self.take(name) {
            Some(field) => read(field),
            None => {
                let message = format!("missing; it has no default: write {name} = {example}");
                self.collector
                    .fault(self.place.clone(), joined(&self.path, name), message);
                None
            }
        }
    }

    /// Reads a table of settings that all have defaults. Asks for its keys even when the table is not there.
    pub(crate) fn section(&mut self, name: &'static str, read: impl FnOnce(&mut Reader<'a>)) {
        let field = self.take(name).unwrap_or_else(|| Field {
            collector: self.collector,
            key: joined(&self.path, name),
            place: Place::Default,
            value: Value::Table(Table::default()),
        });
        field.table(|reader| {
            read(reader);
            Some(())
        });
    }

    /// A fault about one of this table's keys, wherever it was set.
    pub(crate) fn fault(&self, name: &str, message: impl Into<String>) {
        let key = joined(&self.path, name);
        let place = match self.collector.place_of(&key) {
            Place::Default => self.place.clone(),
            place => place,
        };
        self.collector.fault(place, key, message);
    }

    /// A fault about the table as a whole.
    pub(crate) fn fault_here(&self, message: impl Into<String>) {
        self.collector.fault(self.place.clone(), self.path.clone(), message);
    }

    fn finish(self) {
        for entry in self.entries {
            self.collector.unknown_key(entry.place, &self.path, &entry.key);
        }
    }
}

/// Reads the top of the tree.
pub(crate) fn read_root<T>(collector: &Collector, table: Table, read: impl FnOnce(&mut Reader<'_>) -> T) -> T {
    let mut reader = Reader::root(collector, table);
    let value = read(&mut reader);
    reader.finish();
    value
}

impl<'a> Field<'a> {
    /// Notes a fault about this value.
    pub(crate) fn fault(&self, message: impl Into<String>) {
        self.collector.fault(self.place.clone(), self.key.clone(), message);
    }

    fn wrong_type<T>(&self, expected: &str) -> Option<T> {
        self.fault(format!("must be {expected}, not {}", self.value.kind()));
        None
    }

    /// A string with a grammar of its own. `parse` says what is wrong; it must not quote what may be a secret.
    pub(crate) fn parse<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match &self.value {
            Value::Text(text) | Value::Raw(text) => match parse(text) {
                Ok(value) => Some(value),
                Err(message) => {
                    self.fault(message);
                    None
                }
            },
            _ => self.wrong_type("a string"),
        }
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(self, choices: &[(&str, T)]) -> Option<T> {
        self.parse(|text| scalar::choice(text, choices))
    }

    pub(crate) fn boolean(self) -> Option<bool> {
        match &self.value {
            Value::Boolean(truth) => Some(*truth),
            Value::Raw(text) if text.trim() == "true" => Some(true),
            Value::Raw(text) if text.trim() == "false" => Some(false),
            _ => self.wrong_type("true or false"),
        }
    }

    /// A whole number within bounds.
    pub(crate) fn integer<T: TryFrom<i64>>(self, bounds: RangeInclusive<i64>) -> Option<T> {
        let number = match &self.value {
            Value::Integer(number) => *number,
            Value::Raw(text) => match text.trim().parse() {
                Ok(number) => number,
                Err(_) => return self.wrong_type("a whole number"),
            },
            _ => return self.wrong_type("a whole number"),
        };
        if bounds.contains(&number)
            && let Ok(fitting) = T::try_from(number)
        {
            return Some(fitting);
        }
        self.fault(format!(
            "{number} is out of bounds: from {} to {}",
            bounds.start(),
            bounds.end()
        ));
        None
    }

    /// A time span such as `"500ms"`, within bounds.
    pub(crate) fn duration(self, bounds: RangeInclusive<Duration>) -> Option<Duration> {
        if matches!(self.value, Value::Integer(_)) {
            return self.wrong_type("a string with its unit, such as \"500ms\", \"30s\", \"2m\" or \"1h\"");
        }
        self.parse(|text| {
            let duration = scalar::duration(text)?;
            if bounds.contains(&duration) {
                return Ok(duration);
            }
            let [low, high] = [bounds.start(), bounds.end()].map(|bound| scalar::duration_text(*bound));
            Err(format!(
                "{} is out of bounds: from {low} to {high}",
                scalar::duration_text(duration)
            ))
        })
    }

    /// Bytes, as a whole number or a string such as `"32KiB"`, within bounds.
    pub(crate) fn size<T: TryFrom<u64>>(self, bounds: RangeInclusive<u64>) -> Option<T> {
        let bytes = match &self.value {
            Value::Integer(number) => u64::try_from(*number).map_err(|_| format!("{number} is negative")),
            Value::Text(text) | Value::Raw(text) => scalar::size(text),
            _ => return self.wrong_type("a number of bytes, such as 4096 or \"32KiB\""),
        };
        let fitting = bytes.and_then(|bytes| {
            T::try_from(bytes)
                .ok()
                .filter(|_| bounds.contains(&bytes))
                .ok_or_else(|| {
                    let [found, low, high] = [bytes, *bounds.start(), *bounds.end()].map(scalar::size_text);
                    format!("{found} is out of bounds: from {low} to {high}")
                })
        });
        fitting.map_err(|message| self.fault(message)).ok()
    }

    /// The path of a file that must be there and open for reading.
    pub(crate) fn readable_file(self) -> Option<PathBuf> {
        self.parse(|text| {
            let path = scalar::path(text)?;
            scalar::check_readable(&path)?;
            Ok(path)
        })
    }

    /// A list; every item is read, also behind a faulty one.
    pub(crate) fn list<T>(self, mut read: impl FnMut(Field<'a>) -> Option<T>) -> Option<Vec<T>> {
        let (collector, key, place) = (self.collector, self.key.clone(), self.place.clone());
        let items = self.items()?;
        let count = items.len();
        let read: Vec<T> = items
            .into_iter()
            .enumerate()
            .filter_map(|(index, node)| {
                let key = format!("{key}[{index}]");
                let place = if let Value::Raw(_) = node.value {
                    place.clone()
                } else {
                    node.place
                };
                collector.set_at(&key, place.clone());
                read(Field {
                    collector,
                    key,
                    place,
                    value: node.value,
                })
            })
            .collect();
        (read.len() == count).then_some(read)
    }

    fn items(self) -> Option<Vec<Node>> {
        match self.value {
            Value::List(items) => Some(items),
            Value::Raw(ref text) if text.trim_start().starts_with('[') => match self.structured(text) {
                Some(Value::List(items)) => Some(items),
                _ => None,
            },
            Value::Raw(ref text) if text.trim().is_empty() => Some(Vec::new()),
            Value::Raw(ref text) => {
                let item = |text: &str| Node {
                    place: self.place.clone(),
                    value: Value::Raw(text.trim().to_owned()),
                };
                Some(text.split(',').map(item).collect())
            }
            _ => self.wrong_type("a list: [ … ]"),
        }
    }

    /// A table; keys that `read` does not take are unknown.
    pub(crate) fn table<T>(mut self, read: impl FnOnce(&mut Reader<'a>) -> Option<T>) -> Option<T> {
        self.unfold();
        match self.value {
            Value::Table(table) => {
                let mut reader = Reader {
                    collector: self.collector,
                    path: self.key,
                    place: self.place,
                    entries: table.entries,
                };
                let value = read(&mut reader);
                reader.finish();
                value
            }
            _ => self.wrong_type("a table"),
        }
    }

    /// Whether this is a table and not a plain value.
    pub(crate) fn is_table(&self) -> bool {
        matches!(&self.value, Value::Table(_))
            || matches!(&self.value, Value::Raw(text) if text.trim_start().starts_with('{'))
    }

    /// Whether this stands for one item where a list may be: a plain value or a table of the file, or a variable's table.
    pub(crate) fn is_one(&self) -> bool {
        matches!(&self.value, Value::Text(_) | Value::Table(_)) || self.is_table()
    }

    /// Whether this is a list without items.
    pub(crate) fn is_empty_list(&self) -> bool {
        match &self.value {
            Value::List(items) => items.is_empty(),
            Value::Raw(text) => matches!(text.trim(), "" | "[]"),
            _ => false,
        }
    }

    /// Whether this is the given word.
    pub(crate) fn is_word(&self, word: &str) -> bool {
        matches!(&self.value, Value::Text(text) | Value::Raw(text) if text == word)
    }

    /// Parses a variable's text that stands for a table.
    fn unfold(&mut self) {
        if self.is_table()
            && let Value::Raw(text) = &self.value
        {
            self.value = self.structured(text).unwrap_or(Value::Table(Table::default()));
        }
    }

    fn structured(&self, text: &str) -> Option<Value> {
        let variable = match &self.place {
            Place::Environment(name) => Rc::clone(name),
            _ => Rc::from(""),
        };
        parse_value(text, &variable)
            .map_err(|message| self.fault(format!("neither a TOML value nor JSON: {message}")))
            .ok()
    }
}
