//! When a count is held against somebody.

use super::*;

#[test]
fn growth_past_the_margin_fails_and_a_gain_is_told() {
    let check = |counted: u32, expected: Finding| assert_eq!(judge(1_000, counted, 0.03), expected, "{counted}");
    check(1_000, Finding::Same);
    check(1_030, Finding::Same);
    check(1_031, Finding::Grew);
    check(2_000, Finding::Grew);
    check(970, Finding::Same);
    check(969, Finding::Fell);
    assert!(Finding::Grew.is_growth() && !Finding::Fell.is_growth() && !Finding::Same.is_growth());
    assert!(Finding::Fell.line("a", 100, 90).contains("-10.0 %"));
}

#[test]
fn another_compiler_widens_the_margin_and_says_so() {
    let text = "compiler = \"rustc 1.2.3 x\"\ngrowth_max = 0.03\n[instructions]\nallowed = 5\njunk = 7\n";
    let mut figures = Figures(text.parse().expect("TOML"));
    assert!((figures.growth_max("rustc 1.2.3 x") - 0.03).abs() < 1e-9);
    assert_eq!(figures.warning("rustc 1.2.3 x"), None);
    assert!((figures.growth_max("rustc 1.2.4 x") - 0.10).abs() < 1e-9);
    assert!(figures.warning("rustc 1.2.4 x").expect("a warning").contains("1.2.3"));
    assert_eq!(
        (figures.of("allowed"), figures.of("junk"), figures.of("other")),
        (Some(5), Some(7), None)
    );
    figures.set("other", 9);
    assert_eq!(figures.of("other"), Some(9));
    assert_eq!(
        compiler_of("rustc 1.2.3 (x)\nhost: h\nrelease: 1.2.3\n").as_deref(),
        Some("rustc 1.2.3 h")
    );
    assert_eq!(compiler_of("nonsense"), None);
}

#[test]
fn the_committed_file_has_a_figure_for_every_case_and_for_nothing_else() {
    let figures = Figures::load().expect("the committed figures");
    let committed = figures.0["instructions"].as_table().expect("a table");
    let mut committed: Vec<&str> = committed.iter().map(|(name, _)| name).collect();
    let mut cases: Vec<&str> = crate::cases::names().collect();
    committed.sort_unstable();
    cases.sort_unstable();
    assert_eq!(committed, cases);
    assert!(figures.compiler().is_some());
}
