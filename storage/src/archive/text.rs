//! Texts that Postgres cannot hold as they are, and back.

use std::borrow::Cow;

/// A text as Postgres can hold it: its `text` knows no zero byte, which a name in a certificate may contain.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if text.contains(['\0', '\\']) {
        Cow::Owned(text.replace('\\', "\\\\").replace('\0', "\\0"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The text that [`escape`] was given; `None` for one that it never makes.
#[must_use]
pub fn unescape(text: &str) -> Option<String> {
    let mut found = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        found.push(match letter {
            '\0' => return None,
            '\\' => match letters.next()? {
                '0' => '\0',
                '\\' => '\\',
                _ => return None,
            },
            other => other,
        });
    }
    Some(found)
}
