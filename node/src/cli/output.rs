//! The only place of this crate that prints: lines for people and scripts on stdout, complaints on stderr.
//!
//! A reader that closed its end (`consigner dev | head -1`) must not end the command, so write errors are dropped.

use std::io::Write as _;

/// One line of a command's product.
pub fn line(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let written = writeln!(stdout, "{text}");
    // A reader of `dev` waits for single lines.
    let _closed_by_the_reader = written.and_then(|()| stdout.flush());
}

/// One line of progress of `consigner dev`; never begins with `ready`, which scripts wait for.
pub fn say(text: &str) {
    line(&format!("dev: {text}"));
}

/// One line on stderr.
pub fn complain(text: &str) {
    let _closed_by_the_reader = writeln!(std::io::stderr().lock(), "consigner: {text}");
}

/// A table: columns as wide as their widest cell, two spaces between.
#[must_use]
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let format_row = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![format_row(&mut head.iter().copied())];
    lines.extend(rows.iter().map(|row| format_row(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}
