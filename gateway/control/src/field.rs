//! One field of a JSON body: left out, given, or of the wrong type. Reading one never fails, so that all can be reported.
//!
//! `null` is the same as left out, on every write. Bounds are [`crate::bounds`]' business; here only JSON types count.

use crate::fault::Broken;
use crate::wire::{RateLimitMode, RateLimitUnit};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

/// A field of a request.
#[derive(Debug, Default)]
pub(crate) enum Field<T> {
    /// Left out, or null.
    #[default]
    Absent,
    /// There, and of the right type.
    Given(T),
    /// There, and of the wrong type.
    Wrong(Vec<Broken>),
}

impl<T> Field<T> {
    /// Whether the caller sent anything but null.
    pub(crate) fn is_given(&self) -> bool {
        !matches!(self, Field::Absent)
    }

    /// This field, or the other one where this one is left out.
    pub(crate) fn or(self, other: Field<T>) -> Field<T> {
        if self.is_given() { self } else { other }
    }
}

impl<'de, T: FromJson> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As an option: a derived `Deserialize` then takes a missing field for none.
        Ok(match Option::<Value>::deserialize(deserializer)?.map(T::from_json) {
            None => Field::Absent,
            Some(Ok(value)) => Field::Given(value),
            Some(Err(broken)) => Field::Wrong(broken),
        })
    }
}

/// A type that a field may have.
pub(crate) trait FromJson: Sized {
    /// Reads a value that is not null, or says what it should have been.
    fn from_json(value: Value) -> Result<Self, Vec<Broken>>;
}

impl FromJson for String {
    fn from_json(value: Value) -> Result<Self, Vec<Broken>> {
        match value {
            Value::String(text) => Ok(text),
            _ => Err(Broken::whole("must be a string")),
        }
    }
}

impl FromJson for bool {
    fn from_json(value: Value) -> Result<Self, Vec<Broken>> {
        value.as_bool().ok_or_else(|| Broken::whole("must be true or false"))
    }
}

impl FromJson for i32 {
    fn from_json(value: Value) -> Result<Self, Vec<Broken>> {
        let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
        number.ok_or_else(|| Broken::whole("must be a whole number that fits 32 bits"))
    }
}

/// Any JSON value that is not null, for fields that this API does not take.
#[derive(Debug)]
pub(crate) struct Anything;

impl FromJson for Anything {
    fn from_json(_: Value) -> Result<Self, Vec<Broken>> {
        Ok(Anything)
    }
}

/// A JSON object.
impl FromJson for serde_json::Map<String, Value> {
    fn from_json(value: Value) -> Result<Self, Vec<Broken>> {
        match value {
            Value::Object(object) => Ok(object),
            _ => Err(Broken::whole("must be an object")),
        }
    }
}

/// An id as callers may send it: a string or a number. An empty string stands for no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id(pub(crate) Option<i64>);

impl PartialSchema for Id {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Integer]))
            .pattern(Some("^[1-9][0-9]{0,18}$"))
            .minimum(Some(1))
            .maximum(Some(i64::MAX))
            .description(Some("A positive 64-bit integer, as a string or as a number."))
            .into()
    }
}

impl ToSchema for Id {}

/// How the document describes an [`Id`] that an empty string clears.
#[derive(Debug)]
pub(crate) struct IdOrEmpty;

impl PartialSchema for IdOrEmpty {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Integer]))
            .pattern(Some("^([1-9][0-9]{0,18})?$"))
            .minimum(Some(1))
            .maximum(Some(i64::MAX))
            .description(Some(
                "A positive 64-bit integer, as a string or as a number; an empty string for none.",
            ))
            .into()
    }
}

impl ToSchema for IdOrEmpty {}

impl FromJson for Id {
    fn from_json(value: Value) -> Result<Self, Vec<Broken>> {
        let id = match &value {
            Value::String(text) if text.is_empty() => return Ok(Id(None)),
            Value::String(text) => positive_id(text),
            Value::Number(number) => number.as_i64().filter(|id| *id > 0),
            _ => None,
        };
        id.map(|id| Id(Some(id)))
            .ok_or_else(|| Broken::whole("must be a positive 64-bit integer, as a string or as a number"))
    }
}

/// Reads a positive 64-bit integer in its one plain form: digits, no sign, no spaces, no leading zero.
pub(crate) fn positive_id(text: &str) -> Option<i64> {
    let plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id: &i64| plain && *id > 0)
}

impl<T: FromJson> FromJson for Vec<T> {
    fn from_json(value: Value) -> Result<Self, Vec<Broken>> {
        let Value::Array(entries) = value else {
            return Err(Broken::whole("must be a list"));
        };
        let mut list = Vec::with_capacity(entries.len());
        let mut all_broken = Vec::new();
        for (index, entry) in entries.into_iter().enumerate() {
            match T::from_json(entry) {
                Ok(entry) => list.push(entry),
                Err(broken) => all_broken.extend(broken.into_iter().map(|Broken { at, what }| Broken {
                    at: format!("[{index}]{at}"),
                    what,
                })),
            }
        }
        if all_broken.is_empty() {
            Ok(list)
        } else {
            Err(all_broken)
        }
    }
}

impl FromJson for RateLimitUnit {
    fn from_json(value: Value) -> Result<Self, Vec<Broken>> {
        serde_json::from_value(value).map_err(|_| {
            Broken::whole(
                "must be one of millisecond, second, minute, hour, day, calendar_day, month and calendar_month",
            )
        })
    }
}

impl FromJson for RateLimitMode {
    fn from_json(value: Value) -> Result<Self, Vec<Broken>> {
        serde_json::from_value(value)
            .map_err(|_| Broken::whole("must be one of per_key, per_ip, per_app, per_key_and_ip and per_app_and_ip"))
    }
}
