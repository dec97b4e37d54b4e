//! What single arguments may be, so that what reaches a path or a body is well formed.
//!
//! The control API decides; these only refuse early what could not even be asked.

use crate::failure::Failure;
use serde_json::{Map, Value};

/// A slug, which is one segment of a path.
pub(crate) fn slug(text: &str) -> Result<String, String> {
    let legal = text
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
    if legal && (1..=64).contains(&text.len()) && !text.starts_with(['-', '_']) {
        return Ok(text.to_owned());
    }
    Err("a slug is 1 to 64 of a-z, 0-9, `-` and `_`, starting with a letter or digit".to_owned())
}

/// The id of a key, which is one segment of a path. Not a parser of clap's, whose message would repeat a secret that was
/// given in its place.
pub(crate) fn check_key_id(text: &str) -> Result<(), Failure> {
    match text.parse::<i64>() {
        Ok(id) if id > 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(()),
        _ => Err(Failure::usage(
            "KEY_ID is a number, as `portcullis keys list` shows it. If a secret was typed in its place, it is in the \
             shell's history now: consider rotating it",
        )),
    }
}

/// A JSON object.
pub(crate) fn json_object(text: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("must be a JSON object, such as '{\"team\": \"billing\"}'".to_owned()),
        Err(error) => Err(format!("is not JSON: {error}")),
    }
}

/// A request's body, of which only what was given is sent.
#[derive(Default)]
pub(crate) struct Body(Map<String, Value>);

impl Body {
    pub(crate) fn with(mut self, field: &str, value: Option<impl Into<Value>>) -> Body {
        if let Some(value) = value {
            self.0.insert(field.to_owned(), value.into());
        }
        self
    }

    /// A list that is left out when it is empty.
    pub(crate) fn with_list(self, field: &str, list: Vec<String>) -> Body {
        let list = if list.is_empty() { None } else { Some(list) };
        self.with(field, list)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_json(self) -> Value {
        Value::Object(self.0)
    }
}
