//! Reads a permission expression: tokens, precedence, and the bounds that keep a stranger's text cheap.
//!
//! Decides only what is well-formed; what an expression allows is decided by its parent.

use super::Node;
use std::fmt;

/// Longest text, in bytes. Above what the normal form of any expression within the other bounds needs.
const TEXT_BYTES_MAX: usize = 32 * 1024;
/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// Most names in one expression.
const NAMES_MAX: usize = 128;
/// Deepest nesting of parentheses.
const DEPTH_MAX: usize = 32;

/// Where an expression stops being one, and what should have stood there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {position}: {expectation}, found {found}")]
pub struct PermissionSyntaxError {
    /// The first character that does not belong, counted from 1; one past the last at the end of the text.
    pub position: usize,
    /// What was expected there.
    pub expectation: Expectation,
    /// What stands there, quoted and cut short.
    pub found: String,
}

/// What should have stood at the position of a [`PermissionSyntaxError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation {
    /// A name or an opening parenthesis.
    Operand,
    /// A word between two operands, or the end.
    JointOrEnd,
    /// A word between two operands, or the parenthesis that closes an open one.
    JointOrClose,
    /// A shorter text.
    ShorterText,
    /// A shorter name.
    ShorterName,
    /// The end, since there are as many names as there may be.
    FewerNames,
    /// No further parenthesis.
    LessNesting,
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expectation::Operand => f.write_str("expected a permission or `(`"),
            Expectation::JointOrEnd => f.write_str("expected `AND`, `OR` (upper case), `,` or the end"),
            Expectation::JointOrClose => f.write_str("expected `AND`, `OR` (upper case), `,` or `)`"),
            Expectation::ShorterText => write!(f, "expected at most {TEXT_BYTES_MAX} bytes"),
            Expectation::ShorterName => write!(f, "expected a permission of at most {NAME_BYTES_MAX} bytes"),
            Expectation::FewerNames => write!(f, "expected at most {NAMES_MAX} permissions"),
            Expectation::LessNesting => write!(f, "expected at most {DEPTH_MAX} open parentheses"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Name(&'a str),
    And(&'a str),
    Or,
    Open,
    Close,
    End,
}

pub(super) fn parse(text: &str) -> Result<Node, PermissionSyntaxError> {
    let mut parser = Parser {
        text,
        offset: 0,
        names: 0,
    };
    if text.len() > TEXT_BYTES_MAX {
        return Err(PermissionSyntaxError {
            position: 1,
            expectation: Expectation::ShorterText,
            found: format!("{} bytes", text.len()),
        });
    }
    let node = parser.any(0)?;
    match parser.peek() {
        (Token::End, _) => Ok(node),
        _ => Err(parser.error(Expectation::JointOrEnd)),
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Byte offset of what is not yet read.
    offset: usize,
    names: usize,
}

impl<'a> Parser<'a> {
    fn any(&mut self, depth: usize) -> Result<Node, PermissionSyntaxError> {
        let mut children = vec![self.all(depth)?];
        while let (Token::Or, after) = self.peek() {
            self.offset = after;
            children.push(self.all(depth)?);
        }
        Ok(join(children, Node::Any, |node| match node {
            Node::Any(inner) => Ok(inner),
            other => Err(other),
        }))
    }

    fn all(&mut self, depth: usize) -> Result<Node, PermissionSyntaxError> {
        let mut children = vec![self.operand(depth)?];
        while let (Token::And(_), after) = self.peek() {
            self.offset = after;
            children.push(self.operand(depth)?);
        }
        Ok(join(children, Node::All, |node| match node {
            Node::All(inner) => Ok(inner),
            other => Err(other),
        }))
    }

    fn operand(&mut self, depth: usize) -> Result<Node, PermissionSyntaxError> {
        match self.peek() {
            (Token::Name(name), _) if name.len() > NAME_BYTES_MAX => Err(self.error(Expectation::ShorterName)),
            (Token::Name(_), _) if self.names == NAMES_MAX => Err(self.error(Expectation::FewerNames)),
            (Token::Name(name), after) => {
                self.names += 1;
                self.offset = after;
                Ok(Node::Name(name.into()))
            }
            (Token::Open, _) if depth == DEPTH_MAX => Err(self.error(Expectation::LessNesting)),
            (Token::Open, after) => {
                self.offset = after;
                let inner = self.any(depth + 1)?;
                match self.peek() {
                    (Token::Close, after) => {
                        self.offset = after;
                        Ok(inner)
                    }
                    _ => Err(self.error(Expectation::JointOrClose)),
                }
            }
            (Token::And(_) | Token::Or | Token::Close | Token::End, _) => Err(self.error(Expectation::Operand)),
        }
    }

    /// The next token and the offset after it.
    fn peek(&self) -> (Token<'a>, usize) {
        let start = self.token_start();
        let rest = &self.text[start..];
        let Some(first) = rest.chars().next() else {
            return (Token::End, start);
        };
        match first {
            '(' => (Token::Open, start + 1),
            ')' => (Token::Close, start + 1),
            ',' => (Token::And(","), start + 1),
            _ => {
                let bytes = rest
                    .find(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | ','))
                    .unwrap_or(rest.len());
                let token = match &rest[..bytes] {
                    word @ "AND" => Token::And(word),
                    "OR" => Token::Or,
                    name => Token::Name(name),
                };
                (token, start + bytes)
            }
        }
    }

    fn token_start(&self) -> usize {
        let rest = &self.text[self.offset..];
        self.offset + (rest.len() - rest.trim_start().len())
    }

    /// An error at the next token.
    fn error(&self, expectation: Expectation) -> PermissionSyntaxError {
        let found = match self.peek().0 {
            Token::Name(text) | Token::And(text) => quoted(text),
            Token::Or => quoted("OR"),
            Token::Open => quoted("("),
            Token::Close => quoted(")"),
            Token::End => "the end".to_owned(),
        };
        let position = self.text[..self.token_start()].chars().count() + 1;
        PermissionSyntaxError {
            position,
            expectation,
            found,
        }
    }
}

/// One child is itself; more are joined, and children that are joins of the same kind are taken in.
fn join(
    mut children: Vec<Node>,
    joined: fn(Box<[Node]>) -> Node,
    same_kind: fn(Node) -> Result<Box<[Node]>, Node>,
) -> Node {
    if children.len() == 1
        && let Some(only) = children.pop()
    {
        return only;
    }
    let mut flat = Vec::with_capacity(children.len());
    for child in children {
        match same_kind(child) {
            Ok(inner) => flat.extend(inner),
            Err(other) => flat.push(other),
        }
    }
    joined(flat.into_boxed_slice())
}

/// At most twenty characters, so that an error message stays readable.
fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(20).flat_map(char::escape_debug).collect();
    if text.chars().nth(20).is_some() {
        short.push('…');
    }
    format!("`{short}`")
}
