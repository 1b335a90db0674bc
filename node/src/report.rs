//! Errors as people read them: one line, causes behind colons.

use std::error::Error;
use std::fmt::Write as _;

/// The error and its causes, outermost first.
#[must_use]
pub fn one_line(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        // Some libraries repeat their cause in their own text.
        if !text.contains(&said) {
            let _infallible = write!(text, ": {said}");
        }
        cause = error.source();
    }
    text
}
