use super::*;
use AmbiguousPath::*;
use proptest::prelude::*;

/// A path that passes: what rules see. What is forwarded is always what came.
fn check(path: &str, expect: &str) {
    let parsed = RequestPath::parse(path).unwrap_or_else(|error| panic!("{path:?} is refused: {error}"));
    assert_eq!(parsed.as_str(), expect, "{path:?}");
    assert_eq!(parsed.raw(), path);
}

fn check_refused(path: &str, expect: AmbiguousPath) {
    assert_eq!(RequestPath::parse(path), Err(expect), "{path:?}");
}

#[test]
fn plain_paths_are_borrowed() {
    for path in [
        "/",
        "/a",
        "/a/",
        "/v1/users:batch",
        "/~user/file.tar.gz",
        "/...",
        "/.well-known/x",
        "/a.b/..c/d..",
        "/@scope,x/+$&'()*!=",
        "/a|b^c`d\"<>{}[]",
    ] {
        check(path, path);
        assert!(
            matches!(RequestPath::parse(path).unwrap().plain, Cow::Borrowed(_)),
            "{path}"
        );
    }
}

#[test]
fn aliases_of_one_path_meet_one_rule() {
    check("/%61dmin", "/admin");
    check("/adm%69n/", "/admin/");
    check("/admin;x", "/admin");
    check("/admin;x=1;y=2/list;z", "/admin/list");
    check("/v1/users%3Abatch", "/v1/users:batch");
    check("/v1/users%3abatch", "/v1/users:batch");
    check("/a%20b", "/a b");
    check("/%7Euser", "/~user");
    check("/caf%C3%A9", "/café");
    check("/file%2Ejson", "/file.json");
    check("/100%25", "/100%");
    check("/100%25%20off", "/100% off");
    check("/a%3Bb", "/a;b");
    check("/%2A", "/*");
}

#[test]
fn what_servers_read_differently_is_refused() {
    for (path, reason) in [
        ("", NotAbsolute),
        ("*", NotAbsolute),
        ("admin", NotAbsolute),
        ("http://host/admin", NotAbsolute),
        ("%2Fadmin", NotAbsolute),
        ("//", EmptySegment),
        ("//admin", EmptySegment),
        ("/a//b", EmptySegment),
        ("/a//", EmptySegment),
        ("/;/admin", EmptySegment),
        ("/;x=1/admin", EmptySegment),
        ("/a/;", EmptySegment),
        ("/%3B/admin", EmptySegment),
        ("/.", DotSegment),
        ("/..", DotSegment),
        ("/./admin", DotSegment),
        ("/a/../admin", DotSegment),
        ("/a/..", DotSegment),
        ("/a/./", DotSegment),
        ("/..;/admin", DotSegment),
        ("/..;x=1/admin", DotSegment),
        ("/.;/admin", DotSegment),
        ("/..%3B/admin", DotSegment),
        ("/..%3bx/admin", DotSegment),
        ("/%2e%2e/admin", DotSegment),
        ("/%2E%2e/admin", DotSegment),
        ("/.%2e/admin", DotSegment),
        ("/%2e/admin", DotSegment),
        ("/%2e%2e;x/admin", DotSegment),
        ("/a%2Fb", EscapedDelimiter),
        ("/a%2fb", EscapedDelimiter),
        ("/a%5Cb", EscapedDelimiter),
        ("/a%5cb", EscapedDelimiter),
        ("/a%3Fb", EscapedDelimiter),
        ("/a%3fb", EscapedDelimiter),
        ("/a%23b", EscapedDelimiter),
        ("/a;x=%2F/b", EscapedDelimiter),
        ("/a\\b", Backslash),
        ("/..\\admin", Backslash),
        ("/a%00", EscapedControl),
        ("/a%0d%0aX: y", Control),
        ("/a%0d%0aX", EscapedControl),
        ("/a%1f", EscapedControl),
        ("/a%7f", EscapedControl),
        ("/a%252fb", EscapedTwice),
        ("/a%252Fb", EscapedTwice),
        ("/%252e%252e/admin", EscapedTwice),
        ("/%25252e", EscapedTwice),
        ("/%2561dmin", EscapedTwice),
        ("/a%2500", EscapedTwice),
        ("/a%", InvalidEscape),
        ("/a%2", InvalidEscape),
        ("/a%2/", InvalidEscape),
        ("/a%zz", InvalidEscape),
        ("/a%+2", InvalidEscape),
        ("/a%u002f", InvalidEscape),
        ("/%c0%af", NotUtf8),
        ("/%c0%ae%c0%ae/", NotUtf8),
        ("/%e0%80%af", NotUtf8),
        ("/%E9", NotUtf8),
        ("/a b", Control),
        ("/a\tb", Control),
        ("/a\r\nb", Control),
        ("/a\0", Control),
        ("/a\x7f", Control),
        ("/café", NotAscii),
        ("/a?b", Query),
        ("/a#b", Fragment),
    ] {
        check_refused(path, reason);
        assert!(reason.to_string().ends_with('.'), "{reason:?} has no sentence");
    }
}

proptest! {
    /// Escaping any letter or digit of a path changes nothing for the rules.
    #[test]
    fn an_escaped_letter_is_the_letter(path in "(/[a-z0-9]{1,5}){1,4}", at in any::<prop::sample::Index>()) {
        let index = at.index(path.len());
        prop_assume!(path.as_bytes()[index] != b'/');
        let escaped = format!("{}%{:02x}{}", &path[..index], path.as_bytes()[index], &path[index + 1..]);
        let parsed = RequestPath::parse(&escaped).unwrap();
        prop_assert_eq!(parsed.as_str(), path);
    }

    /// What rules see holds no dot segment and no empty segment, and reading it again as a path changes nothing.
    #[test]
    fn what_passes_is_settled(path in "/[a.%/;25fFeEcC0-9 \\\\?#-]{0,24}") {
        let Ok(parsed) = RequestPath::parse(&path) else { return Ok(()) };
        let segments: Vec<_> = parsed.as_str()[1..].split('/').collect();
        prop_assert!(segments.iter().all(|segment| !matches!(*segment, "." | "..")));
        prop_assert!(segments[..segments.len() - 1].iter().all(|segment| !segment.is_empty()));
        prop_assert!(!parsed.as_str().contains(['\\', '?', '#', '\0']));
        prop_assert_eq!(parsed.raw(), path.as_str());
    }

    /// Nothing that a stranger sends upsets it.
    #[test]
    fn any_text_gets_an_answer(path in ".{0,64}") {
        let _answer = RequestPath::parse(&path);
    }
}
