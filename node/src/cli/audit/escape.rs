//! What others wrote, shown without letting it steer the terminal or the reader's eye.
//!
//! In: texts of callers and of files that somebody may have altered. Out: the same with control characters (C0, C1,
//! DEL), line separators and the characters that turn the direction of writing spelled out.

use serde_json::Value;

/// A text for people.
pub(in crate::cli) fn escaped(text: &str) -> String {
    text.chars().map(|c| if is_unseen(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

/// A JSON text: the same value, with `\uXXXX` for what serde_json leaves as it is. Outside of strings JSON has none of
/// these characters but white space, which stays.
pub(in crate::cli) fn escaped_json(text: &str) -> String {
    let spelled = |c: char| {
        let mut units = [0; 2];
        c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
    };
    let keeps = |c: char| matches!(c, '\n' | '\r' | '\t') || !is_unseen(c);
    text.chars().map(|c| if keeps(c) { c.to_string() } else { spelled(c) }).collect()
}

/// A value of a line as JSON, on one line.
pub(super) fn value(value: &Value) -> String {
    escaped_json(&value.to_string())
}

/// Control characters; and what Unicode lets turn the direction (UAX #9), end a line, or take no room.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}')
}
