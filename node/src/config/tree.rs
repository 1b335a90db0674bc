//! YAML text as a tree that remembers lines.
//!
//! In: text. Out: a [`Tree`] whose scalars are still text, so that `cluster.id: 12345678901234567890123456789012` and
//! `0x..` stay what the operator wrote and are parsed once, by the key's own form. Deliberately absent: anchors,
//! aliases, tags and several documents; a configuration that needs them is refused.
#![expect(clippy::wildcard_enum_match_arm, reason = "every event of YAML that is not named is refused")]

use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};

/// A node of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Line of the value (of the key, for values in a mapping), from 1; 0 when made by the program.
    pub line: usize,
    /// Its content.
    pub value: Value,
}

/// The content of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A scalar, as written.
    Text(String),
    /// A sequence.
    List(Vec<Tree>),
    /// A mapping in the order of the file.
    Map(Vec<(String, Tree)>),
}

/// Why a text is not a configuration tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct TreeError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// Deeper than any key; bounds the recursion over a hostile file.
const DEPTH_MAX: usize = 16;

impl Tree {
    /// Reads one document. An empty document is an empty mapping.
    ///
    /// # Errors
    /// Text that is not YAML, a duplicate key, or one of the features that are not accepted.
    pub fn parse(text: &str) -> Result<Self, TreeError> {
        let mut reader = Reader { parser: Parser::new_from_str(text) };
        let mut root = None;
        loop {
            let (event, span) = reader.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                _ if root.is_some() => return Err(error(&span, "a second document; a configuration is one document")),
                event => root = Some(reader.node(event, &span, 0)?),
            }
        }
        match root {
            None | Some(Self { value: Value::Null, .. }) => Ok(Self::map()),
            Some(root) => Ok(root),
        }
    }

    /// An empty mapping.
    #[must_use]
    pub const fn map() -> Self {
        Self { line: 0, value: Value::Map(Vec::new()) }
    }

    /// A scalar made by the program.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { line: 0, value: Value::Text(text.into()) }
    }

    /// A list of scalars made by the program.
    #[must_use]
    pub fn list<T: Into<String>>(items: impl IntoIterator<Item = T>) -> Self {
        Self { line: 0, value: Value::List(items.into_iter().map(Self::text).collect()) }
    }

    /// Sets the value at a dotted path, making the mappings on the way.
    pub fn set(&mut self, path: &str, value: Self) {
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        if !matches!(self.value, Value::Map(_)) {
            self.value = Value::Map(Vec::new());
        }
        let Value::Map(entries) = &mut self.value else { return };
        let position = entries.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            entries.push((name.to_owned(), Self::map()));
            entries.len() - 1
        });
        match rest {
            None => entries[position].1 = value,
            Some(rest) => entries[position].1.set(rest, value),
        }
    }

    /// Lays `over` on top: mappings merge key by key, everything else is replaced.
    pub fn merge(&mut self, over: Self) {
        match (&mut self.value, over.value) {
            (Value::Map(entries), Value::Map(others)) => {
                for (name, other) in others {
                    match entries.iter_mut().find(|(known, _)| *known == name) {
                        Some((_, entry)) => entry.merge(other),
                        None => entries.push((name, other)),
                    }
                }
            }
            (slot, value) => *slot = value,
        }
    }
}

struct Reader<'t> {
    parser: Parser<'t, serde_saphyr::granit_parser::StrInput<'t>>,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), TreeError> {
        loop {
            match self.parser.next_event() {
                None => return Ok((Event::StreamEnd, Span::default())),
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok(event)) => return Ok(event),
                Some(Err(error)) => return Err(scan_error(&error)),
            }
        }
    }

    fn node(&mut self, event: Event<'t>, span: &Span, depth: usize) -> Result<Tree, TreeError> {
        if depth > DEPTH_MAX {
            return Err(error(span, "nested too deeply"));
        }
        let line = span.start.line();
        let value = match event {
            Event::Scalar(text, style, 0, None) => scalar(&text, style),
            Event::SequenceStart(_, 0, None) => self.list(depth)?,
            Event::MappingStart(_, 0, None) => self.mapping(depth)?,
            Event::Alias(..) | Event::Scalar(_, _, _, None) => {
                return Err(error(span, "anchors and aliases are not accepted; write the value out"));
            }
            _ => return Err(error(span, "tags and anchors are not accepted")),
        };
        Ok(Tree { line, value })
    }

    fn list(&mut self, depth: usize) -> Result<Value, TreeError> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::List(items));
            }
            items.push(self.node(event, &span, depth + 1)?);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, TreeError> {
        let mut entries: Vec<(String, Tree)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let name = match event {
                Event::MappingEnd => return Ok(Value::Map(entries)),
                Event::Scalar(text, _, 0, None) => text.into_owned(),
                _ => return Err(error(&span, "a key must be a plain word")),
            };
            if let Some((_, first)) = entries.iter().find(|(known, _)| *known == name) {
                return Err(error(&span, &format!("\"{name}\" is set already in line {}", first.line)));
            }
            let line = span.start.line();
            let (event, span) = self.next()?;
            let value = self.node(event, &span, depth + 1)?.value;
            entries.push((name, Tree { line, value }));
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

fn error(span: &Span, what: &str) -> TreeError {
    TreeError { line: span.start.line(), what: what.to_owned() }
}

fn scan_error(error: &ScanError) -> TreeError {
    TreeError { line: error.marker().line(), what: format!("not YAML: {}", error.info()) }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.value {
            Value::Null => serializer.serialize_unit(),
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Value::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (name, value) in entries {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}
