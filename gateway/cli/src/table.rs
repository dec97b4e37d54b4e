//! Answers as people read them: tables that fit in 100 columns, and lists of facts.
//!
//! Values come from others, so control characters in them are made visible and cannot steer the terminal.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};

const COLUMNS: u16 = 100;

/// Rows under headings. The first column is never wrapped, since it is what the next command is given.
pub(crate) fn grid(headings: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = blank();
    table.set_header(headings.iter().copied());
    for row in rows {
        table.add_row(row.iter().map(|cell| visible_lines(cell)));
    }
    finish(table)
}

/// Facts about one thing, one a line. Facts without a value are left out.
pub(crate) fn facts(facts: Vec<(&str, Option<String>)>) -> String {
    let mut table = blank();
    for (name, value) in facts {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            table.add_row([name.to_owned(), visible_lines(&value)]);
        }
    }
    finish(table)
}

fn blank() -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(COLUMNS);
    table
}

fn finish(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    if let Some(first) = table.column_mut(0) {
        first.set_constraint(ColumnConstraint::ContentWidth);
    }
    let mut text = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n");
    text.push('\n');
    text
}

/// Text whose control and direction characters are written as escapes.
pub(crate) fn visible(text: &str) -> String {
    let steers = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            shown.extend(c.escape_default())
        } else {
            shown.push(c)
        }
    }
    shown
}

/// [`visible`], except for the line ends that our own lists have.
fn visible_lines(text: &str) -> String {
    text.split('\n').map(visible).collect::<Vec<_>>().join("\n")
}
