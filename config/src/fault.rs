//! What is wrong with a configuration, where, and what would be right.
//!
//! A fault never carries a secret: its message may quote a value only where the value cannot hold one.
//! Readers put faults into a [`Collector`], which turns byte offsets into lines once, at the end.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Where a faulty setting came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// An environment variable, by name.
    Environment(String),
    /// The defaults, which only disagree with a setting from elsewhere.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path) => path.display().fmt(f),
            Origin::Environment(name) => write!(f, "{}", name.escape_debug()),
            Origin::Default => f.write_str("defaults"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where the setting came from.
    pub origin: Origin,
    /// Line in the file, from 1.
    pub line: Option<usize>,
    /// Column in the line, in characters, from 1.
    pub column: Option<usize>,
    /// The full key, such as `routes[1].upstreams[0]`; empty when the file as a whole is at fault.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Fault {
    /// `FILE:LINE:COLUMN: KEY: MESSAGE`, without the parts that are not known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.origin)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Everything that is wrong, in the order of the file, then of the environment. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    /// One fault a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Byte offset in the file.
    File(usize),
    /// The file as a whole.
    WholeFile,
    /// Environment variable.
    Environment(Rc<str>),
    /// Nowhere: it is the default.
    Default,
}

/// Gathers faults, and which keys exist and where they were set, while the configuration is read.
pub(crate) struct Collector {
    found: RefCell<Vec<(Place, String, String)>>,
    unknown: RefCell<Vec<(Place, String, String)>>,
    known: RefCell<BTreeSet<String>>,
    places: RefCell<HashMap<String, Place>>,
}

impl Collector {
    pub(crate) fn new() -> Collector {
        Collector {
            found: RefCell::default(),
            unknown: RefCell::default(),
            known: RefCell::default(),
            places: RefCell::default(),
        }
    }

    pub(crate) fn fault(&self, place: Place, key: impl Into<String>, message: impl Into<String>) {
        self.found.borrow_mut().push((place, key.into(), message.into()));
    }

    /// A fault about a key, wherever that key was set.
    pub(crate) fn fault_at_key(&self, key: &str, message: impl Into<String>) {
        self.fault(self.place_of(key), key, message);
    }

    /// A key that nothing asked for. Judged when all known keys are known.
    pub(crate) fn unknown_key(&self, place: Place, parent: &str, name: &str) {
        self.unknown
            .borrow_mut()
            .push((place, parent.to_owned(), name.to_owned()));
    }

    /// Notes that a key exists, whether it is set or not.
    pub(crate) fn know(&self, key: &str) {
        self.known.borrow_mut().insert(without_indexes(key));
    }

    /// Notes where a key was set.
    pub(crate) fn set_at(&self, key: &str, place: Place) {
        self.places.borrow_mut().insert(key.to_owned(), place);
    }

    pub(crate) fn place_of(&self, key: &str) -> Place {
        self.places.borrow().get(key).cloned().unwrap_or(Place::Default)
    }

    /// Whether the key or anything below it has a fault.
    pub(crate) fn is_faulty(&self, key: &str) -> bool {
        let is_below = |rest: &str| rest.is_empty() || rest.starts_with(['[', '.']);
        self.found
            .borrow()
            .iter()
            .any(|(_, faulty, _)| faulty.strip_prefix(key).is_some_and(is_below))
    }

    /// Every key that was asked for, `[]` standing for every index.
    #[cfg(test)]
    pub(crate) fn known_keys(&self) -> BTreeSet<String> {
        self.known.borrow().clone()
    }

    /// All faults with their lines, or `None` when there is none.
    pub(crate) fn into_faults(self, file: &Path, text: &str) -> Option<Faults> {
        let known = self.known.into_inner();
        let mut found = self.found.into_inner();
        for (place, parent, name) in self.unknown.into_inner() {
            let message = crate::suggestion::for_unknown_key(&known, &without_indexes(&parent), &name);
            found.push((place, joined(&parent, &name), message));
        }
        // The sort is stable: faults about one place stay in the order in which they were found.
        found.sort_by(|left, right| left.0.cmp(&right.0));
        let mut lines = Lines::of(text);
        let faults: Vec<Fault> = found
            .into_iter()
            .map(|(place, key, message)| {
                let (origin, position) = match place {
                    Place::File(offset) => (Origin::File(file.to_owned()), Some(lines.position(offset))),
                    Place::WholeFile => (Origin::File(file.to_owned()), None),
                    Place::Environment(name) => (Origin::Environment(name.to_string()), None),
                    Place::Default => (Origin::Default, None),
                };
                Fault {
                    origin,
                    line: position.map(|p| p.0),
                    column: position.map(|p| p.1),
                    key,
                    message,
                }
            })
            .collect();
        if faults.is_empty() { None } else { Some(Faults(faults)) }
    }
}

/// `parent.name`, the name quoted and escaped where TOML would need it.
pub(crate) fn joined(parent: &str, name: &str) -> String {
    let bare = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let name = if bare { name.to_owned() } else { quoted(name) };
    if parent.is_empty() {
        name
    } else {
        format!("{parent}.{name}")
    }
}

/// A value as a message shows it: in quotes, escaped, and cut when it is long.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 60;
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((cut, _)) => format!("{:?}…", &text[..cut]),
        None => format!("{text:?}"),
    }
}

/// `routes[3].upstreams[0]` → `routes[].upstreams[]`.
fn without_indexes(key: &str) -> String {
    let mut generic = String::with_capacity(key.len());
    let mut inside = false;
    for c in key.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            _ if inside => continue,
            _ => {}
        }
        generic.push(c);
    }
    generic
}

/// Turns ascending byte offsets into lines and columns in one pass over the text.
struct Lines<'a> {
    text: &'a str,
    offset: usize,
    line: usize,
    column: usize,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Lines<'a> {
        Lines {
            text,
            offset: 0,
            line: 1,
            column: 1,
        }
    }

    fn position(&mut self, offset: usize) -> (usize, usize) {
        for c in self.text.get(self.offset..).unwrap_or("").chars() {
            if self.offset >= offset {
                break;
            }
            self.offset += c.len_utf8();
            if c == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        (self.line, self.column)
    }
}
