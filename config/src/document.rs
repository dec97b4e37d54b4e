//! What was written, before anyone asks what it means: a tree of values that know their place.
//!
//! It decides what TOML is (through `toml_edit`) and nothing else. No `Debug`: a value may be a secret.
//! [`crate::load`] builds one from the file; [`crate::environment`] lays variables over it.

use crate::fault::Place;
use std::rc::Rc;
use toml_edit::{Item, TableLike, Value as TomlValue};

/// A value and where it was written.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// What was written.
#[derive(Clone)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Float,
    Boolean(bool),
    Time,
    Null,
    List(Vec<Node>),
    Table(Table),
    /// The text of a variable, whose type is whatever its reader expects.
    Raw(String),
}

/// Keys in the order of the file.
#[derive(Clone, Default)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
}

/// One key of a table.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) node: Node,
}

impl Value {
    /// What a message calls it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) | Value::Raw(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Float => "a number with a fraction",
            Value::Boolean(_) => "a boolean",
            Value::Time => "a date or time",
            Value::Null => "null",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

/// A syntax error: what, and the byte offset where.
pub(crate) struct SyntaxError {
    pub(crate) offset: usize,
    pub(crate) message: String,
}

/// Parses a whole file.
pub(crate) fn parse(text: &str) -> Result<Table, SyntaxError> {
    let document = toml_edit::Document::parse(text).map_err(|error| SyntaxError {
        offset: error.span().map_or(text.len(), |span| span.start),
        message: error.message().trim_end().replace('\n', "; "),
    })?;
    Ok(table(document.as_table(), &Placing::File))
}

/// Parses one value of a variable: a TOML value, else JSON.
pub(crate) fn parse_value(text: &str, variable: &Rc<str>) -> Result<Value, String> {
    let document = format!("value = {text}");
    match toml_edit::Document::parse(document.as_str()) {
        Ok(document) if document.len() == 1 => {
            let placing = Placing::Variable(Rc::clone(variable));
            document
                .get("value")
                .and_then(|item| node(item, &Place::Environment(Rc::clone(variable)), &placing))
                .map(|node| node.value)
                .ok_or_else(|| "it is empty".to_owned())
        }
        Ok(_) => Err("more follows after the value".to_owned()),
        Err(error) => match serde_json::from_str(text) {
            Ok(json) => Ok(from_json(json, variable)),
            Err(_) => Err(error.message().trim_end().replace('\n', "; ")),
        },
    }
}

enum Placing {
    File,
    Variable(Rc<str>),
}

impl Placing {
    fn at(&self, span: Option<std::ops::Range<usize>>, otherwise: &Place) -> Place {
        match self {
            Placing::File => span.map_or_else(|| otherwise.clone(), |span| Place::File(span.start)),
            Placing::Variable(name) => Place::Environment(Rc::clone(name)),
        }
    }
}

fn table(written: &dyn TableLike, placing: &Placing) -> Table {
    let mut entries = Vec::with_capacity(written.len());
    for (name, item) in written.iter() {
        let place = placing.at(written.key(name).and_then(toml_edit::Key::span), &Place::WholeFile);
        if let Some(node) = node(item, &place, placing) {
            entries.push(Entry {
                key: name.to_owned(),
                place,
                node,
            });
        }
    }
    Table { entries }
}

fn node(item: &Item, key_place: &Place, placing: &Placing) -> Option<Node> {
    match item {
        Item::None => None,
        Item::Value(written) => Some(value(written, key_place, placing)),
        Item::Table(written) => Some(Node {
            place: placing.at(written.span(), key_place),
            value: Value::Table(table(written, placing)),
        }),
        Item::ArrayOfTables(written) => {
            let items = written.iter().map(|written| Node {
                place: placing.at(written.span(), key_place),
                value: Value::Table(table(written, placing)),
            });
            Some(Node {
                place: key_place.clone(),
                value: Value::List(items.collect()),
            })
        }
    }
}

fn value(written: &TomlValue, key_place: &Place, placing: &Placing) -> Node {
    let place = placing.at(written.span(), key_place);
    let value = match written {
        TomlValue::String(text) => Value::Text(text.value().clone()),
        TomlValue::Integer(number) => Value::Integer(*number.value()),
        TomlValue::Float(_) => Value::Float,
        TomlValue::Boolean(truth) => Value::Boolean(*truth.value()),
        TomlValue::Datetime(_) => Value::Time,
        TomlValue::Array(items) => Value::List(items.iter().map(|item| value(item, &place, placing)).collect()),
        TomlValue::InlineTable(written) => Value::Table(table(written, placing)),
    };
    Node { place, value }
}

fn from_json(json: serde_json::Value, variable: &Rc<str>) -> Value {
    let place = || Place::Environment(Rc::clone(variable));
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(truth) => Value::Boolean(truth),
        serde_json::Value::Number(number) => number.as_i64().map_or(Value::Float, Value::Integer),
        serde_json::Value::String(text) => Value::Text(text),
        serde_json::Value::Array(items) => {
            let items = items.into_iter().map(|item| Node {
                place: place(),
                value: from_json(item, variable),
            });
            Value::List(items.collect())
        }
        serde_json::Value::Object(object) => {
            let entries = object.into_iter().map(|(key, item)| Entry {
                key,
                place: place(),
                node: Node {
                    place: place(),
                    value: from_json(item, variable),
                },
            });
            Value::Table(Table {
                entries: entries.collect(),
            })
        }
    }
}
