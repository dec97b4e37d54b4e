//! Collects everything that is wrong with one request, so that its caller learns it all at once.
//!
//! Knows field names and sentences, never values: what a caller sent is not repeated to anyone. The request types in
//! [`crate::wire`] use it to turn what was sent into what the store takes.

use crate::error_code::ErrorCode;
use crate::field::Field;
use std::borrow::Cow;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Its stable code.
    pub(crate) code: ErrorCode,
    /// A whole sentence for the caller.
    pub(crate) message: String,
}

impl Fault {
    /// A fault with this sentence.
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Fault {
        Fault {
            code,
            message: message.into(),
        }
    }
}

/// What is wrong within one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    /// Where below the field: empty, or such as `[2]` or `[0].unit`.
    pub(crate) at: String,
    /// What does not hold, as the rest of a sentence that starts with the field's name: `must be a string`.
    pub(crate) what: Cow<'static, str>,
}

impl Broken {
    /// The field as a whole is wrong.
    pub(crate) fn whole(what: impl Into<Cow<'static, str>>) -> Vec<Broken> {
        vec![Broken {
            at: String::new(),
            what: what.into(),
        }]
    }

    /// The field's entry at `index` is wrong.
    pub(crate) fn entry(index: usize, what: impl Into<Cow<'static, str>>) -> Broken {
        Broken {
            at: format!("[{index}]"),
            what: what.into(),
        }
    }
}

/// What a bound makes of a value: the value to store, or all that is wrong with it.
pub(crate) type Bounded<T> = Result<T, Vec<Broken>>;

/// The faults of one request so far.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    /// Notes a fault that concerns more than one field's type or bound.
    pub(crate) fn refuse(&mut self, message: impl Into<String>) {
        self.0.push(Fault::new(ErrorCode::InvalidField, message));
    }

    /// A field that must be there. `None` when it is not, or is wrong; that is then noted.
    pub(crate) fn required<T, U>(
        &mut self,
        name: &str,
        field: Field<T>,
        bound: impl FnOnce(T) -> Bounded<U>,
    ) -> Option<U> {
        if matches!(field, Field::Absent) {
            self.0
                .push(Fault::new(ErrorCode::MissingField, format!("`{name}` is required.")));
            return None;
        }
        self.optional(name, field, bound)
    }

    /// A field that may be left out. `None` when it is, or is wrong; the latter is noted.
    pub(crate) fn optional<T, U>(
        &mut self,
        name: &str,
        field: Field<T>,
        bound: impl FnOnce(T) -> Bounded<U>,
    ) -> Option<U> {
        let (code, broken) = match field {
            Field::Absent => return None,
            Field::Wrong(broken) => (ErrorCode::WrongType, broken),
            Field::Given(value) => match bound(value) {
                Ok(value) => return Some(value),
                Err(broken) => (ErrorCode::InvalidField, broken),
            },
        };
        self.0.extend(
            broken
                .into_iter()
                .map(|Broken { at, what }| Fault::new(code, format!("`{name}{at}` {what}."))),
        );
        None
    }

    /// The faults, or `value` when there are none.
    ///
    /// `value` is `None` only when a required part of it was noted as missing or wrong.
    pub(crate) fn or<T>(mut self, value: Option<T>) -> Result<T, Vec<Fault>> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => {
                if self.0.is_empty() {
                    self.refuse("The request is incomplete.");
                }
                Err(self.0)
            }
        }
    }
}
