//! What is read of callgrind's files.

use super::*;

#[test]
fn the_total_is_found_wherever_it_stands() {
    let check = |profile: &str, expected: Option<u64>| assert_eq!(total(profile), expected, "{profile:?}");
    check(
        "events: Ir\nsummary: 12345\n\nfn=(1) a\n3 4\n\ntotals: 12345\n",
        Some(12_345),
    );
    check("events: Ir\nsummary: 7\nfn=(1) a\n", Some(7));
    check("events: Ir\nsummary: 0\ntotals: 9\n", Some(9));
    check("events: Ir\n", None);
    check("", None);
}

#[test]
fn functions_are_added_up_and_shown_without_folders() {
    let report = "\
--------
Ir
--------
1,000 (100.0%)  PROGRAM TOTALS

--------
Ir             file:function
--------
300 (30.0%)  /home/somebody/src/verify.rs:portcullis_verify::decide [/home/somebody/target/perf-gate]
 50 ( 5.0%)  /build/hash.S:0x0000000000001234 [/home/somebody/target/perf-gate]
 40 ( 4.0%)  /rust/core/num.rs:portcullis_verify::decide [/home/somebody/target/perf-gate]
 30 ( 3.0%)  ???:memcpy [/lib/libc.so.6]
";
    let expected = "      34  portcullis_verify::decide\n       5  hash.S\n";
    assert_eq!(hot_lines(report, 10, 2), expected);
}
