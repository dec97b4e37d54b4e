//! Decides whether a request path means one thing to everybody, and what rules compare it with.
//!
//! Knows no routes and no rules; it never repairs a path, it refuses what an upstream could read differently from us
//! (CVE-2021-29492 and its family). Called by the proxy for each request and by the decision API for each resource.

use std::borrow::Cow;

#[cfg(test)]
mod tests;

/// A path that every server behind us reads the same way.
///
/// It has two spellings. [`RequestPath::as_str`] is what rules are compared with: escapes decoded and path parameters
/// (`;v=1`) left out, so that `/%61dmin`, `/admin;x` and `/admin` meet the same rule. [`RequestPath::raw`] is what came,
/// and what is forwarded. For paths without `%` and `;` both are one borrowed string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPath<'a> {
    raw: &'a str,
    plain: Cow<'a, str>,
}

/// Why a path is refused. Its `Display` is fit for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AmbiguousPath {
    /// Does not start with `/`.
    NotAbsolute,
    /// Holds `?`, which ends a path.
    Query,
    /// Holds `#`, which never travels.
    Fragment,
    /// Holds a byte below `0x20`, a space or `0x7f`.
    Control,
    /// Holds a byte above `0x7f`.
    NotAscii,
    /// Holds `\`, which some servers read as `/`.
    Backslash,
    /// Holds `//`, or a segment of path parameters only, which some servers drop.
    EmptySegment,
    /// Holds `.` or `..` as a segment, plain, escaped or with path parameters.
    DotSegment,
    /// Holds `%` without two hexadecimal digits after it.
    InvalidEscape,
    /// Holds `%2F`, `%5C`, `%3F` or `%23`: a delimiter in disguise.
    EscapedDelimiter,
    /// Holds `%00` or another escaped control character.
    EscapedControl,
    /// Holds an escape of an escape, such as `%252F`.
    EscapedTwice,
    /// Its escapes do not spell UTF-8, as in the overlong slash `%C0%AF`.
    NotUtf8,
}

impl AmbiguousPath {
    /// What is wrong, as one sentence for the caller.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            AmbiguousPath::NotAbsolute => "The path must start with a slash.",
            AmbiguousPath::Query => "The path must not contain a question mark.",
            AmbiguousPath::Fragment => "The path must not contain a number sign.",
            AmbiguousPath::Control => "The path must not contain spaces or control characters.",
            AmbiguousPath::NotAscii => "The path must spell non-ASCII characters as percent escapes.",
            AmbiguousPath::Backslash => "The path must not contain a backslash.",
            AmbiguousPath::EmptySegment => "The path must not contain an empty segment.",
            AmbiguousPath::DotSegment => "The path must not contain a dot segment.",
            AmbiguousPath::InvalidEscape => "The path contains a percent sign without two hexadecimal digits after it.",
            AmbiguousPath::EscapedDelimiter => {
                "The path must not contain an escaped slash, backslash, question mark or number sign."
            }
            AmbiguousPath::EscapedControl => "The path must not contain an escaped control character.",
            AmbiguousPath::EscapedTwice => "The path must not contain an escaped percent escape.",
            AmbiguousPath::NotUtf8 => "The escapes of the path do not spell UTF-8.",
        }
    }
}

impl std::fmt::Display for AmbiguousPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for AmbiguousPath {}

impl<'a> RequestPath<'a> {
    /// Reads the path of an origin-form target, without its query.
    pub fn parse(path: &'a str) -> Result<RequestPath<'a>, AmbiguousPath> {
        let rest = path.strip_prefix('/').ok_or(AmbiguousPath::NotAbsolute)?;
        let mut differs = false;
        for byte in path.bytes() {
            match byte {
                0..=b' ' | 0x7f => return Err(AmbiguousPath::Control),
                0x80.. => return Err(AmbiguousPath::NotAscii),
                b'\\' => return Err(AmbiguousPath::Backslash),
                b'?' => return Err(AmbiguousPath::Query),
                b'#' => return Err(AmbiguousPath::Fragment),
                b'%' | b';' => differs = true,
                _ => {}
            }
        }
        if !differs {
            check_segments(rest)?;
            return Ok(RequestPath {
                raw: path,
                plain: Cow::Borrowed(path),
            });
        }
        let mut plain = Vec::with_capacity(path.len());
        for segment in rest.split('/') {
            plain.push(b'/');
            // Parameters are checked as strictly as the name, then left out.
            let (name, parameters) = match segment.split_once(';') {
                Some((name, parameters)) => (name, Some(parameters)),
                None => (segment, None),
            };
            unescape_into(&mut plain, name)?;
            if let Some(parameters) = parameters {
                if name.is_empty() {
                    return Err(AmbiguousPath::EmptySegment);
                }
                unescape_into(&mut Vec::new(), parameters)?;
            }
        }
        let plain = String::from_utf8(plain).map_err(|_| AmbiguousPath::NotUtf8)?;
        check_segments(&plain[1..])?;
        Ok(RequestPath {
            raw: path,
            plain: Cow::Owned(plain),
        })
    }

    /// What rules, routes and resources are compared with.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.plain
    }

    /// The path as it came: what is forwarded and logged.
    #[must_use]
    pub fn raw(&self) -> &'a str {
        self.raw
    }
}

/// Refuses empty segments (but for the last: `/a/` is fine) and dot segments, in a path without its first slash.
fn check_segments(rest: &str) -> Result<(), AmbiguousPath> {
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        // An escaped semicolon may still end the name for a server that decodes first.
        match segment.split(';').next().unwrap_or_default() {
            "." | ".." => return Err(AmbiguousPath::DotSegment),
            "" if segments.peek().is_some() || !segment.is_empty() => return Err(AmbiguousPath::EmptySegment),
            _ => {}
        }
    }
    Ok(())
}

/// Appends `text` with its escapes decoded.
fn unescape_into(plain: &mut Vec<u8>, text: &str) -> Result<(), AmbiguousPath> {
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'%' {
            plain.push(byte);
            rest = after;
            continue;
        }
        let (escaped, after) = escape(after).ok_or(AmbiguousPath::InvalidEscape)?;
        match escaped {
            b'/' | b'\\' | b'?' | b'#' => return Err(AmbiguousPath::EscapedDelimiter),
            0..=0x1f | 0x7f => return Err(AmbiguousPath::EscapedControl),
            b'%' if escape(after).is_some() => return Err(AmbiguousPath::EscapedTwice),
            _ => plain.push(escaped),
        }
        rest = after;
    }
    Ok(())
}

/// The byte that two hexadecimal digits spell, and what follows them.
fn escape(digits: &[u8]) -> Option<(u8, &[u8])> {
    let (pair, rest) = digits.split_at_checked(2)?;
    let pair = std::str::from_utf8(pair).ok()?;
    let all_digits = pair.bytes().all(|digit| digit.is_ascii_hexdigit());
    all_digits
        .then(|| u8::from_str_radix(pair, 16).ok())
        .flatten()
        .map(|byte| (byte, rest))
}
