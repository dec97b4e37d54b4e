//! `[authz]`: whose keys the decision API answers for.

use super::{KIB, MIB};
use crate::fault::quoted;
use crate::reader::{Field, Reader};
use crate::scalar;
use crate::settings::Authz;

pub(crate) fn read(section: &mut Reader<'_>, authz: &mut Authz) {
    section.read("deployment", &mut authz.deployment, |field| {
        field.parse(scalar::slug).map(Some)
    });
    section.read("apps", &mut authz.apps, |field| slugs(field).map(Some));
    section.read("body_bytes_max", &mut authz.body_bytes_max, |field| {
        field.size(KIB..=16 * MIB)
    });
}

/// A list of app slugs, each once.
pub(crate) fn slugs(field: Field<'_>) -> Option<Vec<String>> {
    distinct(field, |field| field.parse(scalar::slug), |slug| quoted(slug))
}

/// A list in which every item may be named once.
pub(crate) fn distinct<'a, T: PartialEq>(
    field: Field<'a>,
    mut read: impl FnMut(&Field<'a>) -> Option<T>,
    shown: impl Fn(&T) -> String,
) -> Option<Vec<T>> {
    let mut seen: Vec<T> = Vec::new();
    let mut complete = true;
    field.list(|field| {
        match read(&field) {
            Some(item) if seen.contains(&item) => {
                field.fault(format!("{} is listed twice", shown(&item)));
                complete = false;
            }
            Some(item) => seen.push(item),
            None => complete = false,
        }
        Some(())
    })?;
    complete.then_some(seen)
}
