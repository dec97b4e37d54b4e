//! Finds the key in a forwarded request: `Authorization: Bearer`, `X-API-Key`.
//!
//! Looks at every line of both, so that a second key cannot hide behind the first; does not judge what it finds.
//! Called by [`crate::forward_auth`].

use http::HeaderMap;
use http::header::AUTHORIZATION;

const X_API_KEY: &str = "x-api-key";
const SCHEME: &[u8] = b"bearer";

/// Two different keys came with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ambiguous;

/// The key that all places agree on, if any. Other authorization schemes are not ours and hold no key.
pub(crate) fn find(headers: &HeaderMap) -> Result<Option<&[u8]>, Ambiguous> {
    let bearers = headers
        .get_all(AUTHORIZATION)
        .iter()
        .filter_map(|line| bearer(line.as_bytes()));
    let plain = headers
        .get_all(X_API_KEY)
        .iter()
        .map(|line| line.as_bytes().trim_ascii());
    let mut found = None;
    for key in bearers.chain(plain).filter(|key| !key.is_empty()) {
        if found.replace(key).is_some_and(|first| first != key) {
            return Err(Ambiguous);
        }
    }
    Ok(found)
}

/// What follows the scheme `Bearer`, in any case.
fn bearer(line: &[u8]) -> Option<&[u8]> {
    let line = line.trim_ascii();
    let (scheme, rest) = line.split_at_checked(SCHEME.len())?;
    let ours = scheme.eq_ignore_ascii_case(SCHEME) && matches!(rest.first(), None | Some(b' ' | b'\t'));
    ours.then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn check(lines: &[(&str, &str)], expect: Result<Option<&str>, Ambiguous>) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let expect = expect.map(|key| key.map(str::as_bytes));
        assert_eq!(find(&headers), expect, "{lines:?}");
    }

    #[test]
    fn a_key_is_found_in_either_place() {
        check(&[], Ok(None));
        check(&[("authorization", "Bearer k")], Ok(Some("k")));
        check(&[("authorization", "bearer   k ")], Ok(Some("k")));
        check(&[("authorization", "BEARER\tk")], Ok(Some("k")));
        check(&[("x-api-key", " k ")], Ok(Some("k")));
        check(&[("authorization", "Bearer k"), ("x-api-key", "k")], Ok(Some("k")));
        check(
            &[("authorization", "Basic dXNlcg=="), ("x-api-key", "k")],
            Ok(Some("k")),
        );
    }

    #[test]
    fn what_is_no_key_is_none() {
        check(&[("authorization", "Bearer")], Ok(None));
        check(&[("authorization", "Bearer ")], Ok(None));
        check(&[("authorization", "Bearerk")], Ok(None));
        check(&[("authorization", "k")], Ok(None));
        check(&[("authorization", "Basic dXNlcg==")], Ok(None));
        check(&[("x-api-key", "")], Ok(None));
    }

    #[test]
    fn a_second_key_is_never_ignored() {
        check(&[("authorization", "Bearer k"), ("x-api-key", "other")], Err(Ambiguous));
        check(
            &[("authorization", "Bearer k"), ("authorization", "Bearer other")],
            Err(Ambiguous),
        );
        check(
            &[("x-api-key", "k"), ("x-api-key", "other"), ("x-api-key", "k")],
            Err(Ambiguous),
        );
        check(
            &[("x-api-key", "k"), ("x-api-key", ""), ("x-api-key", "other")],
            Err(Ambiguous),
        );
        check(
            &[("authorization", "Bearer k"), ("authorization", "Bearer k")],
            Ok(Some("k")),
        );
    }
}
