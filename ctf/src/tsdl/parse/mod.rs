//! Reading TSDL, all of CTF 1.8's.
//!
//! The text becomes tokens ([`lexer`]), and those, in one pass, a
//! [`TraceClass`](crate::ir::TraceClass): types of the language as it stands
//! are complete where they are used, so there is no tree in between. What
//! fields mean to a reader is found by their names at the end ([`meaning`]).

mod attributes;
mod blocks;
mod lexer;
mod meaning;
mod types;

#[cfg(test)]
mod tests;

use crate::ir::{ClockClass, EnvValue, EventType, StreamType, TraceClass, Type};
use kstrace_schema::ByteOrder;
use lexer::{Placed, Token};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Why a text is no TSDL that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metadata line {line}: {reason}")]
pub struct TsdlError {
    /// Line of the metadata text, from 1.
    pub line: u32,
    /// What is wrong there.
    pub reason: String,
}

impl TsdlError {
    fn at(line: u32, reason: impl Into<String>) -> Self {
        TsdlError {
            line,
            reason: reason.into(),
        }
    }
}

type Result<T> = std::result::Result<T, TsdlError>;

/// The trace class that a TSDL text describes; if the text ends early or becomes
/// something else than text, by the blocks that are whole before.
///
/// # Errors
/// Where a block is none, with the line.
pub(crate) fn parse_so_far(text: &str) -> Result<(TraceClass, Option<Cut>)> {
    let (tokens, damage) = lexer::tokens(text);
    let mut parser = Parser {
        order: byte_order(&tokens)?,
        text,
        tokens,
        at: 0,
        depth: 0,
        scopes: vec![Scope::default()],
        trace: Draft::default(),
    };
    let mut cut = damage.map(|reason| (parser.tokens.len(), reason));
    while parser.at < parser.tokens.len() {
        let start = parser.at;
        if let Err(e) = parser.top_level() {
            if parser.is_whole_from(start) {
                return Err(e);
            }
            let reason = cut.map_or(e, |(_, reason)| reason);
            cut = Some((start, reason));
            break;
        }
    }
    let cut = cut.map(|(blocks_end, reason)| Cut {
        whole_bytes: match blocks_end.checked_sub(1) {
            Some(last) => parser.tokens.get(last).map_or(0, |t| t.end),
            None => 0,
        },
        reason,
    });
    meaning::finish(parser).map(|trace| (trace, cut))
}

/// What is behind the whole blocks of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// This much of it is whole blocks.
    pub(crate) whole_bytes: usize,
    /// What is wrong there.
    pub(crate) reason: TsdlError,
}

#[cfg(test)]
fn parse(text: &str) -> Result<TraceClass> {
    match parse_so_far(text)? {
        (trace, None) => Ok(trace),
        (_, Some(cut)) => Err(cut.reason),
    }
}

/// The trace's byte order, which types need that stand before it.
fn byte_order(tokens: &[Placed]) -> Result<ByteOrder> {
    let word = |at: usize, word: &str| matches!(tokens.get(at).map(|t| &t.token), Some(Token::Word(w)) if w == word);
    let mark = |at: usize, mark: &str| matches!(tokens.get(at).map(|t| &t.token), Some(Token::Mark(m)) if *m == mark);
    for start in 0..tokens.len() {
        if !(word(start, "trace") && mark(start + 1, "{")) {
            continue;
        }
        let mut depth = 1;
        let mut at = start + 2;
        while depth > 0 && at < tokens.len() {
            if mark(at, "{") {
                depth += 1;
            } else if mark(at, "}") {
                depth -= 1;
            } else if depth == 1 && word(at, "byte_order") && mark(at + 1, "=") {
                let line = tokens[at].line;
                return match tokens.get(at + 2).map(|t| &t.token) {
                    Some(Token::Word(w)) => attributes::byte_order(w, None).ok_or_else(|| {
                        TsdlError::at(
                            line,
                            format!("byte_order is '{w}', allowed are le, be, network"),
                        )
                    }),
                    _ => Err(TsdlError::at(line, "byte_order has no value")),
                };
            }
            at += 1;
        }
    }
    // A trace of nothing but bytes and text needs none.
    Ok(ByteOrder::NATIVE)
}

/// Names of types in one pair of braces.
#[derive(Debug, Default)]
struct Scope {
    /// `typealias`, `typedef`.
    aliases: HashMap<String, Arc<Type>>,
    structs: HashMap<String, Arc<Type>>,
    enums: HashMap<String, Arc<Type>>,
    variants: HashMap<String, Arc<Type>>,
}

/// An event with the stream it names.
#[derive(Debug)]
struct DraftEvent {
    event: EventType,
    id: Option<u64>,
    stream: Option<u64>,
    line: u32,
}

/// The trace while it is read.
#[derive(Debug, Default)]
struct Draft {
    major: Option<u64>,
    uuid: Option<[u8; 16]>,
    packet_header: Option<Arc<Type>>,
    env: Vec<(String, EnvValue)>,
    clocks: Vec<ClockClass>,
    streams: BTreeMap<u64, StreamType>,
    events: Vec<DraftEvent>,
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Placed>,
    at: usize,
    /// Braces that are open.
    depth: u32,
    order: ByteOrder,
    scopes: Vec<Scope>,
    trace: Draft,
}

impl Parser<'_> {
    /// Whether the block that begins with that token ends before the text does.
    fn is_whole_from(&self, start: usize) -> bool {
        let mut depth = 0u32;
        let rest = self.tokens.get(start..).unwrap_or_default();
        rest.iter().any(|placed| {
            match &placed.token {
                Token::Mark("{") => depth += 1,
                Token::Mark("}") => depth = depth.saturating_sub(1),
                Token::Mark(";") if depth == 0 => return true,
                _ => {}
            }
            false
        })
    }

    fn line(&self) -> u32 {
        let at = self.at.min(self.tokens.len().saturating_sub(1));
        self.tokens.get(at).map_or(1, |t| t.line)
    }

    fn fail<T>(&self, reason: impl Into<String>) -> Result<T> {
        Err(TsdlError::at(self.line(), reason))
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|t| &t.token)
    }

    fn next(&mut self) -> Result<Token> {
        let token = self.peek().cloned();
        match token {
            Some(token) => {
                self.at += 1;
                Ok(token)
            }
            None => self.fail("the text ends within a block"),
        }
    }

    fn is_mark(&self, mark: &str) -> bool {
        matches!(self.peek(), Some(Token::Mark(m)) if *m == mark)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(w)) if w == word)
    }

    /// Takes the mark if it is next.
    fn take_mark(&mut self, mark: &str) -> bool {
        let is = self.is_mark(mark);
        self.at += usize::from(is);
        is
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is = self.is_word(word);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, mark: &str) -> Result<()> {
        if self.take_mark(mark) {
            return Ok(());
        }
        let found = self
            .peek()
            .map_or_else(|| "the end".to_owned(), Token::shown);
        self.fail(format!("expected '{mark}', found {found}"))
    }

    fn word(&mut self) -> Result<String> {
        match self.next()? {
            Token::Word(word) => Ok(word),
            other => {
                self.at -= 1;
                self.fail(format!("expected a name, found {}", other.shown()))
            }
        }
    }

    /// Reads a brace's content with names of its own.
    fn braces<R>(&mut self, inside: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
        self.expect("{")?;
        self.depth += 1;
        if self.depth > crate::ir::DEPTH_MAX {
            return self.fail(format!(
                "more than {} braces are open",
                crate::ir::DEPTH_MAX
            ));
        }
        self.scopes.push(Scope::default());
        let result = inside(self)?;
        self.scopes.pop();
        self.depth -= 1;
        self.expect("}")?;
        Ok(result)
    }

    fn found<'s>(
        &'s self,
        name: &str,
        table: impl Fn(&'s Scope) -> &'s HashMap<String, Arc<Type>>,
    ) -> Option<Arc<Type>> {
        self.scopes
            .iter()
            .rev()
            .find_map(|scope| table(scope).get(name))
            .cloned()
    }

    fn scope(&mut self) -> &mut Scope {
        if self.scopes.is_empty() {
            self.scopes.push(Scope::default());
        }
        let last = self.scopes.len() - 1;
        &mut self.scopes[last]
    }
}
