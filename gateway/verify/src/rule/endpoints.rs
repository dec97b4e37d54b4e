//! Which paths a rule holds for.
//!
//! Knows the three shapes an entry may have and nothing of counting. A path comes without its query and was checked for ambiguity.

/// The paths a rule holds for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoints {
    /// Every path.
    Every,
    /// Any of these.
    Any(Box<[EndpointPattern]>),
}

/// One entry of a rule's endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointPattern {
    /// This path exactly.
    Exact(Box<str>),
    /// Every path below this one (`/v1/*` holds `/v1/` here and matches `/v1/` and `/v1/x`, not `/v1` and not `/v1x`).
    Below(Box<str>),
}

impl Endpoints {
    pub(super) fn compile(entries: &[String]) -> Endpoints {
        let mut patterns = Vec::with_capacity(entries.len());
        for entry in entries {
            match EndpointEntry::parse(entry) {
                Some(EndpointEntry::Pattern(pattern)) => patterns.push(pattern),
                Some(EndpointEntry::Every) | None => return Endpoints::Every,
            }
        }
        if patterns.is_empty() {
            Endpoints::Every
        } else {
            Endpoints::Any(patterns.into_boxed_slice())
        }
    }

    /// Whether the rule holds for a request to `path`, which starts with `/` and has no query.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Endpoints::Every => true,
            Endpoints::Any(patterns) => patterns.iter().any(|pattern| pattern.matches(path)),
        }
    }
}

impl EndpointPattern {
    fn matches(&self, path: &str) -> bool {
        match self {
            EndpointPattern::Exact(exact) => path == &**exact,
            EndpointPattern::Below(prefix) => path.starts_with(&**prefix),
        }
    }
}

/// One entry of a rule's endpoints, as read.
pub(super) enum EndpointEntry {
    Every,
    Pattern(EndpointPattern),
}

impl EndpointEntry {
    /// `None` when the entry has none of the three shapes. A `*` elsewhere, a query or white space would never match a path:
    /// its author meant something that the rule would not do.
    pub(super) fn parse(entry: &str) -> Option<EndpointEntry> {
        if entry == "*" {
            return Some(EndpointEntry::Every);
        }
        let (path, is_prefix) = match entry.strip_suffix('*') {
            Some(prefix) if prefix.ends_with('/') => (prefix, true),
            Some(_) => return None,
            None => (entry, false),
        };
        let strange = |c: char| matches!(c, '*' | '?' | '#') || c.is_whitespace() || c.is_control();
        if !path.starts_with('/') || path.contains(strange) {
            return None;
        }
        Some(EndpointEntry::Pattern(if is_prefix {
            EndpointPattern::Below(path.into())
        } else {
            EndpointPattern::Exact(path.into())
        }))
    }
}
