//! Leave to do what cannot be undone: `--yes`, or the word typed by somebody who has read the question.

use crate::cli::{Exit, output};
use std::io::{BufRead as _, IsTerminal as _};

/// Asks, unless `yes` was given.
///
/// # Errors
/// How the command ends: usage where nobody can be asked, failed where the answer was no.
pub(super) fn confirmed(yes: bool, question: &str) -> Result<(), Exit> {
    if yes {
        return Ok(());
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        output::complain(&format!("{question} Nobody can be asked here: give --yes, or --dry-run to look first"));
        return Err(Exit::Usage);
    }
    output::complain(&format!("{question} Type \"yes\" to go on:"));
    let mut answer = String::new();
    if stdin.lock().read_line(&mut answer).is_ok() && answer.trim() == "yes" {
        return Ok(());
    }
    output::complain("nothing was changed");
    Err(Exit::Failed)
}
