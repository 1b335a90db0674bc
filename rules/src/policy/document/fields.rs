//! Values of the tree as the kinds that a policy has, each with a sentence when it is another.

use super::PolicyError;
use super::nearest::nearest;
use super::tree::{At, Entry, Node, Value};
use crate::policy::check_name;
use std::collections::BTreeMap;

/// Longest value from a certificate or a JWT.
const TEXT_BYTES_MAX: usize = 512;

/// Longest part of the text that an error repeats.
const QUOTED_CHARS_MAX: usize = 64;

/// Most names of a mapping or list that an error lists.
const LISTED_MAX: usize = 40;

/// A mapping of which every name is known.
pub(super) struct Fields<'n> {
    at: At,
    what: &'static str,
    entries: &'n [Entry],
}

impl<'n> Fields<'n> {
    pub(super) fn of(node: &'n Node, what: &'static str, known: &[&str]) -> Result<Self, PolicyError> {
        let entries = node.map(what)?;
        if let Some(entry) = entries.iter().find(|entry| !known.contains(&entry.name.as_str())) {
            let problem = unknown(&format!("field of {what}"), &entry.name, known.iter().copied());
            return Err(entry.at.error(problem));
        }
        Ok(Self { at: node.at, what, entries })
    }

    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        self.entries.iter().find(|entry| entry.name == name).map(|entry| &entry.node)
    }

    pub(super) fn require(&self, name: &str) -> Result<&'n Node, PolicyError> {
        self.get(name).ok_or_else(|| self.at.error(format!("{} needs the field \"{name}\"", self.what)))
    }

    pub(super) const fn at(&self) -> At {
        self.at
    }
}

impl Node {
    pub(super) fn map(&self, what: &str) -> Result<&[Entry], PolicyError> {
        match &self.value {
            Value::Map(entries) => Ok(entries),
            Value::Null | Value::Text(_) | Value::List(_) => Err(self.not(what, "a mapping")),
        }
    }

    /// A mapping with names that the operator chose.
    pub(super) fn named(&self, what: &str, max: usize) -> Result<&[Entry], PolicyError> {
        let entries = self.map(what)?;
        if let Some(extra) = entries.get(max) {
            return Err(extra.at.error(format!("{what} has {} entries, at most {max}", entries.len())));
        }
        match entries.iter().find(|entry| !check_name(&entry.name)) {
            Some(entry) => Err(entry.at.error(no_name(&entry.name))),
            None => Ok(entries),
        }
    }

    /// A list with at least one item.
    pub(super) fn list(&self, what: &str, max: usize) -> Result<&[Node], PolicyError> {
        match &self.value {
            Value::List(items) if items.is_empty() => Err(self.at.error(format!(
                "{what} is an empty list, which would allow nothing; leave it out if that is not meant"
            ))),
            Value::List(items) => match items.get(max) {
                Some(extra) => Err(extra.at.error(format!("{what} has {} items, at most {max}", items.len()))),
                None => Ok(items),
            },
            Value::Null | Value::Text(_) | Value::Map(_) => Err(self.not(what, "a list")),
        }
    }

    /// A list whose items are read one by one and of which none may stand there twice; in the order of the text.
    pub(super) fn distinct<T: Ord + Clone>(
        &self,
        what: &str,
        max: usize,
        read: impl Fn(&Self) -> Result<T, PolicyError>,
    ) -> Result<Vec<T>, PolicyError> {
        let mut lines = BTreeMap::new();
        let mut items = Vec::new();
        for node in self.list(what, max)? {
            let item = read(node)?;
            if let Some(first) = lines.insert(item.clone(), node.at.line()) {
                return Err(node.at.error(format!("{what} names this already in line {first}")));
            }
            items.push(item);
        }
        Ok(items)
    }

    pub(super) fn scalar(&self, what: &str) -> Result<&str, PolicyError> {
        match &self.value {
            Value::Text(text) => Ok(text),
            Value::Null | Value::List(_) | Value::Map(_) => Err(self.not(what, "a text")),
        }
    }

    /// A text from a certificate or a JWT: nothing in it that cannot be seen.
    pub(super) fn text(&self, what: &str) -> Result<String, PolicyError> {
        let text = self.scalar(what)?;
        let problem = if text.is_empty() {
            "is empty".to_owned()
        } else if text.len() > TEXT_BYTES_MAX {
            format!("has {} bytes, at most {TEXT_BYTES_MAX}", text.len())
        } else if text.trim() != text {
            "begins or ends with a space".to_owned()
        } else if text.chars().any(is_invisible) {
            "holds a character that cannot be seen".to_owned()
        } else {
            return Ok(text.to_owned());
        };
        Err(self.at.error(format!("{what} {problem}")))
    }

    /// A text that is compared whole, and must not look like a pattern.
    pub(super) fn exact(&self, what: &str) -> Result<String, PolicyError> {
        let text = self.text(what)?;
        if text.contains('*') {
            return Err(self.at.error(format!("{what} is compared whole; there are no patterns")));
        }
        Ok(text)
    }

    /// The name of a role, tag or client.
    pub(super) fn name(&self, what: &str) -> Result<String, PolicyError> {
        let name = self.scalar(what)?;
        if check_name(name) { Ok(name.to_owned()) } else { Err(self.at.error(no_name(name))) }
    }

    /// A decimal number.
    pub(super) fn number(&self, what: &str, max: u64) -> Result<u64, PolicyError> {
        let text = self.scalar(what)?;
        // `parse` would take a sign.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits && number <= max => Ok(number),
            Ok(number) if digits => Err(self.at.error(format!("{what} is {number}, at most {max}"))),
            Ok(_) | Err(_) => Err(self.at.error(format!("{what}: {} is no number", quoted(text)))),
        }
    }

    /// Another kind of value stands here than is expected.
    pub(super) fn not(&self, what: &str, expected: &str) -> PolicyError {
        let found = match &self.value {
            Value::Null => "nothing",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        };
        self.at.error(format!("{what} must be {expected}, not {found}"))
    }
}

/// What cannot be seen can be confused: control characters, marks of direction, joiners, the byte order mark.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(character, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{ffff}' | '\u{e0000}'..='\u{e0fff}')
}

/// Something is named that there is not; what there is, and what was probably meant.
pub(super) fn unknown<'a>(kind: &str, word: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let listed: Vec<&str> = known.clone().take(LISTED_MAX).collect();
    let meant = nearest(word, known).map_or_else(String::new, |meant| format!("did you mean \"{meant}\"? "));
    let there = if listed.is_empty() { "there are none".to_owned() } else { format!("known: {}", listed.join(", ")) };
    format!("unknown {kind} {}; {meant}{there}", quoted(word))
}

fn no_name(text: &str) -> String {
    format!("{} is no name: 1 to 64 of letters, digits and . _ - @ /", quoted(text))
}

/// A part of the text, in quotes, shortened, with nothing in it that a terminal would act upon.
pub(super) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    if short.len() < text.len() { format!("{short:?}..") } else { format!("{short:?}") }
}
