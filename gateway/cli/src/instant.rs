//! Times as people write and read them.
//!
//! Written: RFC 3339, or a span from now such as `30d`. Read: UTC to the second, and how far away. Knows no clock.

use jiff::{SignedDuration, Timestamp};

const UNITS: [(&str, &str, i64); 5] = [
    ("w", "week", 604_800),
    ("d", "day", 86_400),
    ("h", "hour", 3_600),
    ("m", "minute", 60),
    ("s", "second", 1),
];

/// A point in time as an argument gives it: RFC 3339, or a span from `now` such as `90d`.
pub(crate) fn parse(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let seconds = span_s(text).map_err(|_| {
        format!(
            "`{text}` is not a time: write RFC 3339 such as 2027-01-31T12:00:00Z, or a span from now such as 30d or 12h"
        )
    })?;
    now.checked_add(SignedDuration::from_secs(seconds))
        .map_err(|_| format!("`{text}` is too far away"))
}

/// A span in whole seconds: `90s`, `30m`, `12h`, `30d`, `2w`.
pub(crate) fn span_s(text: &str) -> Result<i64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = UNITS
        .iter()
        .find(|(short, _, _)| *short == unit)
        .map(|(_, _, seconds)| *seconds);
    match (number.parse::<i64>(), factor) {
        (Ok(number), Some(factor)) => number
            .checked_mul(factor)
            .ok_or_else(|| format!("`{text}` is too long")),
        _ => Err(format!(
            "`{text}` is not a span of time: write a whole number and a unit, such as 90s, 30m, 12h, 30d or 2w"
        )),
    }
}

/// A span as people say it, rounded up: `12 s`, `3 min`, `2 h 5 min`, `6 d 1 h`.
pub(crate) fn span(seconds: u64) -> String {
    let in_two = |seconds: u64, large: (&str, u64), small: (&str, u64)| {
        let smalls = seconds.div_ceil(small.1);
        let (larges, rest) = (smalls * small.1 / large.1, smalls * small.1 % large.1 / small.1);
        match rest {
            0 => format!("{larges} {}", large.0),
            rest => format!("{larges} {} {rest} {}", large.0, small.0),
        }
    };
    match seconds {
        0..120 => format!("{seconds} s"),
        120..=7_140 => format!("{} min", seconds.div_ceil(60)),
        7_141..=172_740 => in_two(seconds, ("h", 3_600), ("min", 60)),
        _ => in_two(seconds, ("d", 86_400), ("h", 3_600)),
    }
}

/// UTC to the second: `2026-11-21 10:43:05Z`. What is no time is shown as it is.
pub(crate) fn exact(text: &str) -> String {
    match text.parse::<Timestamp>() {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        Err(_) => text.to_owned(),
    }
}

/// [`exact`], and how far away: `2026-11-21 10:43:05Z (in 3 days)`.
pub(crate) fn exact_and_relative(text: &str, now: Timestamp) -> String {
    match text.parse::<Timestamp>() {
        Ok(at) => format!("{} ({})", exact(text), relative(at, now)),
        Err(_) => text.to_owned(),
    }
}

/// How far away alone: `3 seconds ago`. What is no time is shown as it is.
pub(crate) fn distance(text: &str, now: Timestamp) -> String {
    match text.parse::<Timestamp>() {
        Ok(at) => relative(at, now),
        Err(_) => text.to_owned(),
    }
}

fn relative(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.duration_since(now).as_secs();
    let distance = seconds.unsigned_abs();
    let unit = UNITS
        .iter()
        .skip(1)
        .map(|(_, name, factor)| (*name, factor.unsigned_abs()))
        .find(|(_, f)| distance >= *f);
    let Some((name, factor)) = unit else {
        return "now".to_owned();
    };
    let count = distance / factor;
    let plural = if count == 1 { "" } else { "s" };
    if seconds < 0 {
        format!("{count} {name}{plural} ago")
    } else {
        format!("in {count} {name}{plural}")
    }
}
