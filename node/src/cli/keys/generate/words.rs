//! The mnemonic: read from a file, or made and shown once.
//!
//! In: flags. Out: a mnemonic that its owner has seen or can find. Deliberately absent: a mnemonic on the command line,
//! where every user of the machine could read it.

use super::flags::{GenerateArgs, read_secret};
use crate::report::one_line;
use consigner_keys::generate::{Mnemonic, write_private};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// The terminal, whatever stdout and stderr are.
const TERMINAL: &str = "/dev/tty";

/// A mnemonic, and where its owner finds a new one.
pub(super) struct Obtained {
    pub(super) words: Mnemonic,
    /// The file that it was written to.
    pub(super) file: Option<PathBuf>,
    /// Printed already; belongs into a report as JSON as well.
    pub(super) shown: Option<Zeroizing<String>>,
}

/// Reads or makes it.
///
/// # Errors
/// A sentence: a file that cannot be used, or nobody to show a new mnemonic to.
pub(super) fn obtain(args: &GenerateArgs) -> Result<Obtained, String> {
    if let Some(file) = &args.mnemonic_file {
        let text = read_secret(file)?;
        let words = Mnemonic::parse(&text).map_err(|error| format!("{}: {}", file.display(), one_line(&error)))?;
        return Ok(Obtained { words, file: None, shown: None });
    }
    let words = Mnemonic::generate().map_err(|error| one_line(&error))?;
    let mut obtained = Obtained { words, file: None, shown: None };
    let text = obtained.words.words();
    // Before the first keystore: keys without their mnemonic would be keys that cannot be recovered.
    if let Some(file) = &args.mnemonic_out {
        let line = Zeroizing::new(format!("{}\n", text.as_str()));
        write_private(file, line.as_bytes()).map_err(|error| one_line(&error))?;
        obtained.file = Some(file.clone());
    } else if args.show_mnemonic {
        print(&text, args.access.json).map_err(|error| format!("the new mnemonic cannot be printed: {error}"))?;
        obtained.shown = Some(text);
    } else {
        show(&text).map_err(|error| {
            format!("there is no terminal to show the new mnemonic on ({error}); say --mnemonic-out or --show-mnemonic")
        })?;
    }
    Ok(obtained)
}

/// On stdout, or on stderr where stdout is one report as JSON.
fn print(words: &str, is_json: bool) -> std::io::Result<()> {
    let text = Zeroizing::new(format!("mnemonic: {words}\n"));
    let mut stream: Box<dyn std::io::Write> =
        if is_json { Box::new(std::io::stderr()) } else { Box::new(std::io::stdout()) };
    stream.write_all(text.as_bytes())?;
    stream.flush()
}

fn show(words: &str) -> std::io::Result<()> {
    let mut terminal = OpenOptions::new().write(true).open(TERMINAL)?;
    let text = Zeroizing::new(format!(
        "\nThe mnemonic of the new keys, shown only now. Whoever has it has the keys and their stake.\n\
         Write it on paper and keep it offline:\n\n  {words}\n\n"
    ));
    terminal.write_all(text.as_bytes())?;
    terminal.flush()
}
