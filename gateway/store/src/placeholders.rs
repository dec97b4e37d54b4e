//! Statements over many rows at once: the text for so many of them, in few sizes, so that databases keep them prepared.
//!
//! Knows no table and sees no value. The files whose calls take lists put their statements together with it.

use std::fmt::Write as _;

/// Sizes of pieces, falling; the last is 1.
const PIECES: [usize; 3] = [256, 16, 1];

/// Most rows in one statement.
pub(crate) const PIECE_MAX: usize = PIECES[0];

/// `template` so many times, with commas between, in which each `?` has become the next placeholder from `$first` on.
pub(crate) fn numbered(first: usize, template: &str, times: usize) -> String {
    let mut text = String::with_capacity((template.len() + 8) * times);
    let mut next = first;
    for time in 0..times {
        if time > 0 {
            text.push_str(", ");
        }
        for (index, part) in template.split('?').enumerate() {
            if index > 0 {
                // Writing to a string does not fail.
                let _ = write!(text, "${next}");
                next += 1;
            }
            text.push_str(part);
        }
    }
    text
}

/// Cuts a list into pieces of the few sizes.
pub(crate) fn pieces<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = PIECES.into_iter().find(|size| *size <= rows.len())?;
        let (piece, rest) = rows.split_at(size);
        rows = rest;
        Some(piece)
    })
}

/// The smallest size of a piece that holds `count`, at most [`PIECE_MAX`]: for lists that may say a thing twice.
pub(crate) fn padded(count: usize) -> usize {
    PIECES
        .into_iter()
        .rev()
        .find(|size| *size >= count)
        .unwrap_or(PIECE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered_on() {
        fn check(first: usize, template: &str, times: usize, text: &str) {
            assert_eq!(numbered(first, template, times), text);
        }
        check(1, "?", 3, "$1, $2, $3");
        check(9, "(?, 0, ?)", 2, "($9, 0, $10), ($11, 0, $12)");
        check(1, "?", 0, "");
    }

    #[test]
    fn a_list_is_cut_into_pieces_of_few_sizes() {
        fn check(count: usize, sizes: &[usize]) {
            let rows: Vec<usize> = (0..count).collect();
            assert_eq!(pieces(&rows).map(<[usize]>::len).collect::<Vec<_>>(), sizes);
            assert_eq!(pieces(&rows).flatten().copied().collect::<Vec<_>>(), rows);
        }
        check(0, &[]);
        check(1, &[1]);
        check(18, &[16, 1, 1]);
        check(256, &[256]);
        check(529, &[256, 256, 16, 1]);
        assert_eq!([0, 1, 2, 16, 17, 256].map(padded), [1, 1, 16, 16, 256, 256]);
    }
}
