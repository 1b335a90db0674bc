//! An error and what caused it, as one line for logs and answers.

use std::error::Error;

/// The error and its causes, outermost first, behind colons.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::fmt::Error);

    #[test]
    fn every_cause_is_said_once_and_in_order() {
        assert_eq!(with_causes(&Outer(std::fmt::Error)), format!("outer: {}", std::fmt::Error));
    }
}
