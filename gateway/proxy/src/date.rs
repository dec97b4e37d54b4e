//! The `Date` of answers that come without one (RFC 9110 §6.6.1).
//!
//! Spelled once a second by each thread. Knows no other header; it is told what time it is.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use portcullis_verify::Moment;
use std::cell::RefCell;

thread_local! {
    /// The second that is spelled, and its line.
    static LINE: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
}

/// Appends the line that tells the time.
pub(crate) fn write(now: Moment, out: &mut Vec<u8>) {
    let second = now.wall_us.div_euclid(1_000_000);
    LINE.with_borrow_mut(|(spelled, line)| {
        if *spelled != second {
            *spelled = second;
            *line = spell(second).unwrap_or_default();
        }
        out.extend_from_slice(line.as_bytes());
    });
}

/// `None` for a time that has no such spelling.
fn spell(second: i64) -> Option<String> {
    let time = Timestamp::from_second(second).ok()?;
    let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&time).ok()?;
    Some(format!("date: {text}\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_spelled_as_http_has_it_and_moves_on() {
        let check = |wall_us: i64, expected: &str| {
            let now = Moment {
                monotonic_us: 0,
                wall_us,
            };
            let mut out = Vec::new();
            write(now, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check(784_111_777_000_000, "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        check(784_111_777_999_999, "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        check(784_111_778_000_000, "date: Sun, 06 Nov 1994 08:49:38 GMT\r\n");
        check(0, "date: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
    }
}
