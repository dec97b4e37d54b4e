//! Finds the key in a plain request, and says which fields hold it.
//!
//! The same rules as in [`crate::credential`], for the places that plain requests can have: fields of the head. Routes that name
//! a query parameter, a cookie or Basic credentials are not served by the fast path. Called by [`super::admission`].

use super::request_head::{Field, FieldKind, RequestHead};
use crate::credential::{Ambiguous, after_scheme, reads_as};
use portcullis_config::settings::CredentialPlace;

/// Whether a key can be looked for in all these places.
pub(crate) fn are_fields(places: &[CredentialPlace]) -> bool {
    places
        .iter()
        .all(|place| matches!(place, CredentialPlace::Bearer | CredentialPlace::Header(_)))
}

/// The key of a request: the one that all the places agree on, or none.
pub(crate) fn find<'a>(places: &[CredentialPlace], head: &RequestHead<'a>) -> Result<Option<&'a [u8]>, Ambiguous> {
    let mut found: Option<&'a [u8]> = None;
    for place in places {
        for field in &head.fields {
            let value = match place {
                CredentialPlace::Bearer => bearer(field),
                CredentialPlace::Header(name) if field.name.eq_ignore_ascii_case(name.as_bytes()) => Some(field.value),
                _ => None,
            };
            match (value, found) {
                (None | Some([]), _) => {}
                (Some(value), None) => found = Some(value),
                (Some(value), Some(first)) if value == first => {}
                (Some(_), Some(_)) => return Err(Ambiguous),
            }
        }
    }
    Ok(found)
}

/// Whether a field stands in one of the places, in a spelling that some server takes for it.
pub(crate) fn holds(places: &[CredentialPlace], field: &Field<'_>) -> bool {
    places.iter().any(|place| match place {
        CredentialPlace::Bearer => bearer(field).is_some(),
        CredentialPlace::Header(name) => reads_as(field.name, name.as_bytes()),
        _ => false,
    })
}

fn bearer<'a>(field: &Field<'a>) -> Option<&'a [u8]> {
    if field.kind != FieldKind::Authorization {
        return None;
    }
    after_scheme(field.value, b"bearer")
}
