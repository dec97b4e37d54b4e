//! Does a set of grants cover what is asked? Permission expressions: `a`, `a,b`, `a AND b`, `a OR b`, parentheses.
//!
//! Parsed when configuration or a request is read, so that a malformed one is refused there and never evaluated as false.
//! Grants are compared exactly; there are no wildcards.

mod parser;
#[cfg(test)]
mod tests;

pub use parser::{Expectation, PermissionSyntaxError};

use std::fmt;
use std::str::FromStr;

/// A condition over permission names, in its normal form: joins of the same kind are one join.
///
/// `,` and `AND` mean the same; `OR` binds weakest; both words are upper case, and a name is any run of characters without
/// white space, parentheses and commas that is not one of the two words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionExpression(Node);

/// Depth is bounded by the parser, so that walking one can not exhaust the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Name(Box<str>),
    /// At least two, none of them `All`.
    All(Box<[Node]>),
    /// At least two, none of them `Any`.
    Any(Box<[Node]>),
}

impl PermissionExpression {
    /// Whether `grants` cover the expression. `grants` must be sorted, as [`crate::StoredKey::permissions`] is.
    #[must_use]
    pub fn allows(&self, grants: &[Box<str>]) -> bool {
        self.0.allows(grants)
    }

    /// Every name in the expression, from left to right, repeats included.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let mut pending = vec![&self.0];
        std::iter::from_fn(move || {
            loop {
                match pending.pop()? {
                    Node::Name(name) => return Some(&**name),
                    Node::All(children) | Node::Any(children) => pending.extend(children.iter().rev()),
                }
            }
        })
    }
}

impl Node {
    fn allows(&self, grants: &[Box<str>]) -> bool {
        match self {
            Node::Name(name) => grants.binary_search(name).is_ok(),
            Node::All(children) => children.iter().all(|child| child.allows(grants)),
            Node::Any(children) => children.iter().any(|child| child.allows(grants)),
        }
    }
}

impl FromStr for PermissionExpression {
    type Err = PermissionSyntaxError;

    fn from_str(text: &str) -> Result<PermissionExpression, PermissionSyntaxError> {
        parser::parse(text).map(PermissionExpression)
    }
}

impl fmt::Display for PermissionExpression {
    /// Writes the normal form; parsing it gives an equal expression.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (children, joint) = match self {
            Node::Name(name) => return f.write_str(name),
            Node::All(children) => (children, " AND "),
            Node::Any(children) => (children, " OR "),
        };
        for (index, child) in children.iter().enumerate() {
            if index > 0 {
                f.write_str(joint)?;
            }
            match (self, child) {
                (Node::All(_), Node::Any(_)) => write!(f, "({child})")?,
                _ => child.fmt(f)?,
            }
        }
        Ok(())
    }
}
