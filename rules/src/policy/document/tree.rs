//! YAML text as a tree that remembers where everything stood. Scalars are still text.
#![expect(clippy::wildcard_enum_match_arm, reason = "every event of YAML that is not named is refused")]

use super::PolicyError;
use super::fields::quoted;
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};
use std::collections::BTreeMap;

/// Deeper than any field; bounds the recursion over a hostile text.
const DEPTH_MAX: usize = 8;

/// A place in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    line: usize,
    column: usize,
}

/// A value and its place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: At,
    pub(super) value: Value,
}

/// What stands there.
#[derive(Debug)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A scalar, as written.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order of the text; no name twice.
    Map(Vec<Entry>),
}

/// One entry of a mapping.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Where the name stands.
    pub(super) at: At,
    pub(super) node: Node,
}

impl At {
    pub(super) const TOP: Self = Self { line: 1, column: 1 };

    /// Something is wrong here.
    pub(super) fn error(self, what: impl Into<String>) -> PolicyError {
        PolicyError { line: self.line, column: self.column, what: what.into() }
    }

    pub(super) const fn line(self) -> usize {
        self.line
    }

    fn of(span: &Span) -> Self {
        // The parser counts lines from 1 and columns from 0; before the first event both are 0.
        Self { line: span.start.line().max(1), column: span.start.col() + 1 }
    }
}

impl Node {
    /// Reads one document.
    pub(super) fn parse(text: &str) -> Result<Self, PolicyError> {
        let mut reader = Reader { parser: Parser::new_from_str(text) };
        let mut root = None;
        loop {
            let (event, at) = reader.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                _ if root.is_some() => return Err(at.error("a second document; a policy is one document")),
                event => root = Some(reader.node(event, at, 0)?),
            }
        }
        match root {
            None | Some(Self { value: Value::Null, .. }) => Err(At::TOP.error("the text is empty")),
            Some(root) => Ok(root),
        }
    }
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, At), PolicyError> {
        loop {
            match self.parser.next_event() {
                None => return Ok((Event::StreamEnd, At::TOP)),
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok((event, span))) => return Ok((event, At::of(&span))),
                Some(Err(error)) => return Err(scan_error(&error)),
            }
        }
    }

    fn node(&mut self, event: Event<'t>, at: At, depth: usize) -> Result<Node, PolicyError> {
        if depth > DEPTH_MAX {
            return Err(at.error("nested too deeply"));
        }
        let value = match event {
            Event::Scalar(text, style, 0, None) => scalar(&text, style),
            Event::SequenceStart(_, 0, None) => self.list(depth)?,
            Event::MappingStart(_, 0, None) => self.mapping(depth)?,
            Event::Alias(..) => return Err(at.error("aliases are not accepted; write the value out")),
            _ => return Err(at.error("anchors and YAML tags are not accepted; write the value out")),
        };
        Ok(Node { at, value })
    }

    fn list(&mut self, depth: usize) -> Result<Value, PolicyError> {
        let mut items = Vec::new();
        loop {
            let (event, at) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::List(items));
            }
            items.push(self.node(event, at, depth + 1)?);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, PolicyError> {
        let mut entries = Vec::new();
        let mut lines = BTreeMap::new();
        loop {
            let (event, at) = self.next()?;
            let name = match event {
                Event::MappingEnd => return Ok(Value::Map(entries)),
                Event::Scalar(text, _, 0, None) => text.into_owned(),
                _ => return Err(at.error("a name must be a plain word")),
            };
            if let Some(first) = lines.insert(name.clone(), at.line) {
                return Err(at.error(format!("{} is set already in line {first}", quoted(&name))));
            }
            let (event, place) = self.next()?;
            let node = self.node(event, place, depth + 1)?;
            entries.push(Entry { name, at, node });
        }
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    let plain = matches!(style, ScalarStyle::Plain);
    if plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        Value::Null
    } else {
        Value::Text(text.to_owned())
    }
}

fn scan_error(error: &ScanError) -> PolicyError {
    let marker = error.marker();
    let at = At { line: marker.line().max(1), column: marker.col() + 1 };
    at.error(format!("not YAML: {}", error.info()))
}
