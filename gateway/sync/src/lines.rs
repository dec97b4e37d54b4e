//! Cuts a stream of bytes into lines, wherever the pieces that it comes in begin and end.
//!
//! Holds no more than one line of the longest kind and one piece. Knows nothing of what a line says. The watch reads through it.

use crate::message::LINE_BYTES_MAX;
use bytes::{Buf, Bytes, BytesMut};

/// What has come and not yet been taken.
#[derive(Debug, Default)]
pub struct LineCutter {
    held: BytesMut,
    /// So many bytes of `held` are known to hold no line's end.
    searched: usize,
}

/// A line is longer than [`LINE_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line is longer than {LINE_BYTES_MAX} bytes")]
pub struct LineTooLong;

impl LineCutter {
    /// Takes in the next piece of the stream. All whole lines should have been taken before.
    pub fn push(&mut self, piece: &[u8]) {
        self.held.extend_from_slice(piece);
    }

    /// The next whole line, without its end.
    pub fn next_line(&mut self) -> Result<Option<Bytes>, LineTooLong> {
        let rest = &self.held[self.searched..];
        match rest.iter().position(|byte| *byte == b'\n') {
            Some(at) => {
                let length = self.searched + at;
                if length > LINE_BYTES_MAX {
                    return Err(LineTooLong);
                }
                let line = self.held.split_to(length).freeze();
                self.held.advance(1);
                self.searched = 0;
                Ok(Some(line))
            }
            None if self.held.len() > LINE_BYTES_MAX => Err(LineTooLong),
            None => {
                self.searched = self.held.len();
                Ok(None)
            }
        }
    }

    /// Whether a line was begun and not ended.
    #[must_use]
    pub fn is_within_a_line(&self) -> bool {
        !self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Pushes `pieces` and takes lines whenever there are some.
    fn cut<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Vec<u8>>, LineTooLong> {
        let mut cutter = LineCutter::default();
        let mut lines = Vec::new();
        for piece in pieces {
            cutter.push(piece);
            while let Some(line) = cutter.next_line()? {
                lines.push(line.to_vec());
            }
        }
        if cutter.is_within_a_line() {
            lines.push(b"(cut short)".to_vec());
        }
        Ok(lines)
    }

    proptest! {
        #[test]
        fn lines_are_the_same_whatever_the_pieces(
            lines in prop::collection::vec("[a-z{}\":é ]{0,40}", 0..8),
            cuts in prop::collection::vec(0_usize..400, 0..20),
        ) {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut < text.len()).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&text.as_bytes()[from..cut]);
                from = cut;
            }
            pieces.push(&text.as_bytes()[from..]);
            let expected: Vec<Vec<u8>> = lines.into_iter().map(String::into_bytes).collect();
            prop_assert_eq!(cut(pieces).unwrap(), expected);
        }
    }

    #[test]
    fn a_line_may_be_as_long_as_the_longest_and_no_longer() {
        fn check(length: usize, is_ended: bool, is_taken: bool) {
            let mut text = vec![b'x'; length];
            if is_ended {
                text.push(b'\n');
            }
            let whole = cut([text.as_slice()]);
            assert_eq!(whole.is_ok(), is_taken, "{length} {is_ended}");
            assert_eq!(cut(text.chunks(16_384)), whole, "{length} {is_ended}");
        }
        check(LINE_BYTES_MAX, true, true);
        check(LINE_BYTES_MAX, false, true);
        check(LINE_BYTES_MAX + 1, true, false);
        check(LINE_BYTES_MAX + 1, false, false);
    }

    #[test]
    fn what_was_not_ended_is_told_from_what_was() {
        assert_eq!(
            cut([b"a\nb".as_slice()]).unwrap(),
            [b"a".to_vec(), b"(cut short)".to_vec()]
        );
        assert_eq!(cut([b"a\n\n".as_slice()]).unwrap(), [b"a".to_vec(), Vec::new()]);
    }
}
