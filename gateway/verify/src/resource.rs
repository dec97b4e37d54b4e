//! Which request paths an app's `resources` open.
//!
//! A pattern is compared with the path without its leading slash, byte by byte: paths were checked for ambiguity before they come
//! here. Knows three shapes: `invoices/7` is that path, `invoices/*` is everything below `invoices`, `*` is every path.

/// Whether one of `patterns` covers `path`; no patterns cover every path.
#[must_use]
pub fn covers(patterns: &[String], path: &str) -> bool {
    let path = path.strip_prefix('/').unwrap_or(path);
    patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, path))
}

/// A pattern with a leading slash means the same as without: the slash belongs to every path.
///
/// Below means at least one character below: `invoices/*` is neither `invoices` nor `invoices/`, which upstreams take for the
/// collection. A `*` anywhere else is a plain character.
fn matches(pattern: &str, path: &str) -> bool {
    let pattern = pattern.strip_prefix('/').unwrap_or(pattern);
    match pattern.strip_suffix('*') {
        Some("") => true,
        Some(prefix) if prefix.ends_with('/') => path.len() > prefix.len() && path.starts_with(prefix),
        _ => path == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        #[track_caller]
        fn check(patterns: &[&str], path: &str, expected: bool) {
            let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
            assert_eq!(covers(&patterns, path), expected, "{patterns:?} {path}");
        }
        check(&[], "/anything", true);
        check(&["*"], "/anything/at/all", true);
        check(&["*"], "/", true);
        check(&["/*"], "/anything", true);
        check(&["invoices/*"], "/invoices/7", true);
        check(&["invoices/*"], "/invoices/7/lines", true);
        check(&["invoices/*"], "/invoices", false);
        check(&["invoices/*"], "/invoices/", false);
        check(&["invoices/*"], "/invoicesx", false);
        check(&["invoices/*"], "/invoicesx/7", false);
        check(&["invoices/*"], "/v1/invoices/7", false);
        check(&["invoices/*"], "/Invoices/7", false);
        check(&["/invoices/*"], "/invoices/7", true);
        check(&["invoices"], "/invoices", true);
        check(&["invoices"], "/invoices/", false);
        check(&["invoices"], "/invoices/7", false);
        check(&["a/b/*", "c"], "/c", true);
        check(&["a/b/*", "c"], "/a/b/x", true);
        check(&["a/b/*", "c"], "/a/x", false);
        check(&["inv*"], "/invoices", false);
        check(&["a/*/c"], "/a/b/c", false);
        check(&[""], "/", true);
        check(&[""], "/x", false);
        check(&["//x"], "/x", false);
    }
}
