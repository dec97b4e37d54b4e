use super::*;
use proptest::prelude::*;

fn grants(names: &[&str]) -> Vec<Box<str>> {
    let mut grants: Vec<Box<str>> = names.iter().map(|name| (*name).into()).collect();
    grants.sort_unstable();
    grants
}

#[test]
fn evaluates() {
    #[track_caller]
    fn check(expression: &str, held: &[&str], expected: bool) {
        let expression: PermissionExpression = expression.parse().unwrap();
        assert_eq!(expression.allows(&grants(held)), expected, "{expression} over {held:?}");
    }
    check("a", &["a"], true);
    check("a", &[], false);
    check("a", &["ab"], false);
    check("a", &["A"], false);
    check("a", &["*"], false);
    check("*", &["a"], false);
    check("invoices:read", &["invoices:*"], false);
    check("a,b", &["a", "b"], true);
    check("a,b", &["a"], false);
    check("a AND b", &["b"], false);
    check("a OR b", &["b"], true);
    check("a OR b", &["c"], false);
    check("a,b OR c", &["c"], true);
    check("a,b OR c", &["a"], false);
    check("c OR a,b", &["a", "b"], true);
    check("a AND (b OR c)", &["a", "c"], true);
    check("a AND (b OR c)", &["c"], false);
    check("(a OR b),(c OR d)", &["b", "d"], true);
    check("(a OR b),(c OR d)", &["a", "b"], false);
    check("and", &["and"], true);
    check("or AND and", &["or", "and"], true);
    check("a\tAND\nb", &["a", "b"], true);
    check("ä OR 東", &["東"], true);
}

#[test]
fn normal_form() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let expression: PermissionExpression = text.parse().unwrap();
        assert_eq!(expression.to_string(), expected);
        assert_eq!(expected.parse(), Ok(expression));
    }
    check(" a ", "a");
    check("((a))", "a");
    check("a,b", "a AND b");
    check("a , b AND c", "a AND b AND c");
    check("(a AND b) AND c", "a AND b AND c");
    check("a AND (b AND c)", "a AND b AND c");
    check("(a OR b) OR (c OR d)", "a OR b OR c OR d");
    check("a OR (b AND c)", "a OR b AND c");
    check("(a OR b) AND c", "(a OR b) AND c");
    check("a AND((b OR c AND(d OR e)))", "a AND (b OR c AND (d OR e))");
    check("a AND(b)", "a AND b");
    check("a:b.c/d-e_f*", "a:b.c/d-e_f*");
}

#[test]
fn errors_say_where_and_what() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let error = text.parse::<PermissionExpression>().unwrap_err();
        assert_eq!(error.to_string(), expected, "{text:?}");
    }
    check("", "at character 1: expected a permission or `(`, found the end");
    check("  ", "at character 3: expected a permission or `(`, found the end");
    check("()", "at character 2: expected a permission or `(`, found `)`");
    check(",a", "at character 1: expected a permission or `(`, found `,`");
    check("a,", "at character 3: expected a permission or `(`, found the end");
    check("a,,b", "at character 3: expected a permission or `(`, found `,`");
    check("a AND", "at character 6: expected a permission or `(`, found the end");
    check("AND", "at character 1: expected a permission or `(`, found `AND`");
    check("a OR OR b", "at character 6: expected a permission or `(`, found `OR`");
    check(
        "a and b",
        "at character 3: expected `AND`, `OR` (upper case), `,` or the end, found `and`",
    );
    check(
        "a b",
        "at character 3: expected `AND`, `OR` (upper case), `,` or the end, found `b`",
    );
    check(
        "ä b",
        "at character 3: expected `AND`, `OR` (upper case), `,` or the end, found `b`",
    );
    check(
        "a (b)",
        "at character 3: expected `AND`, `OR` (upper case), `,` or the end, found `(`",
    );
    check(
        "a)",
        "at character 2: expected `AND`, `OR` (upper case), `,` or the end, found `)`",
    );
    check(
        "(a",
        "at character 3: expected `AND`, `OR` (upper case), `,` or `)`, found the end",
    );
    check(
        "(a b)",
        "at character 4: expected `AND`, `OR` (upper case), `,` or `)`, found `b`",
    );
    check(
        "a xxxxxxxxxxxxxxxxxxxxxxxxx",
        "at character 3: expected `AND`, `OR` (upper case), `,` or the end, found `xxxxxxxxxxxxxxxxxxxx…`",
    );
    check(
        "a \u{1}",
        "at character 3: expected `AND`, `OR` (upper case), `,` or the end, found `\\u{1}`",
    );
}

#[test]
fn bounds() {
    #[track_caller]
    fn check(text: &str, expected: Result<(), Expectation>) {
        let parsed = text
            .parse::<PermissionExpression>()
            .map(|_| ())
            .map_err(|error| error.expectation);
        assert_eq!(parsed, expected);
    }
    let nested = |depth: usize| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
    check(&nested(32), Ok(()));
    check(&nested(33), Err(Expectation::LessNesting));
    check(&"(".repeat(32 * 1024), Err(Expectation::LessNesting));
    check(&vec!["a"; 128].join(","), Ok(()));
    check(&vec!["a"; 129].join(","), Err(Expectation::FewerNames));
    check(&"a".repeat(128), Ok(()));
    check(&"a".repeat(129), Err(Expectation::ShorterName));
    check(&" ".repeat(32 * 1024 + 1), Err(Expectation::ShorterText));
    check(&"(".repeat(10_000_000), Err(Expectation::ShorterText));
}

#[test]
fn names_come_in_order() {
    let expression: PermissionExpression = "c OR (a,b) OR (d OR a) AND e".parse().unwrap();
    assert_eq!(expression.names().collect::<Vec<_>>(), ["c", "a", "b", "d", "a", "e"]);
}

/// Texts of well-formed expressions, written in every style.
fn texts() -> impl Strategy<Value = String> {
    let name = prop_oneof!["[a-e]", "[^\\s(),]{1,12}"]
        .prop_filter("the two words are no names", |name| name != "AND" && name != "OR");
    name.prop_recursive(6, 48, 4, |inner| {
        let joint = prop_oneof![Just(","), Just(" , "), Just(" AND "), Just(" OR "), Just("\tOR\n")];
        (proptest::collection::vec((inner, joint), 1..4), any::<bool>()).prop_map(|(parts, wrapped)| {
            let mut text = String::new();
            for (index, (part, joint)) in parts.iter().enumerate() {
                if index > 0 {
                    text.push_str(joint);
                }
                text.push_str(part);
            }
            if wrapped { format!("({text})") } else { text }
        })
    })
}

fn held() -> impl Strategy<Value = Vec<Box<str>>> {
    proptest::collection::btree_set("[a-e]", 0..5)
        .prop_map(|names| names.into_iter().map(String::into_boxed_str).collect())
}

proptest! {
    #[test]
    fn what_is_written_parses_to_the_same(text in texts()) {
        let first: PermissionExpression = text.parse().unwrap();
        let second: PermissionExpression = first.to_string().parse().unwrap();
        prop_assert_eq!(&first, &second);
        prop_assert_eq!(first.to_string(), second.to_string());
    }

    #[test]
    fn removing_a_grant_never_opens_anything(text in texts(), held in held()) {
        let expression: PermissionExpression = text.parse().unwrap();
        for index in 0..held.len() {
            let mut fewer = held.clone();
            fewer.remove(index);
            prop_assert!(!expression.allows(&fewer) || expression.allows(&held));
        }
    }

    #[test]
    fn every_name_granted_opens_everything(text in texts()) {
        let expression: PermissionExpression = text.parse().unwrap();
        let mut all: Vec<Box<str>> = expression.names().map(Into::into).collect();
        all.sort_unstable();
        prop_assert!(expression.allows(&all));
        prop_assert!(!expression.allows(&[]));
    }

    #[test]
    fn strangers_text_never_panics(text in "[ab(),ANDOR \\PC]{0,200}") {
        if let Ok(expression) = text.parse::<PermissionExpression>() {
            prop_assert_eq!(expression.to_string().parse(), Ok(expression));
        }
    }
}
