//! Every access to files with keys, for the audit: one line for a source with what it offered, one for each file that was
//! refused because other users can read it, one for each secret file that the start opened.
//!
//! In: what was read. Out: lines. Deliberately absent: contents, and lines for the single keystores of a directory: a
//! source may have 100,000.

use crate::config::Config;
use crate::config::sealer::LocalSecret;
use crate::source::SourceRead;
use consigner_api::audit::{Actor, Auditor, Event, Operation, Outcome};
use std::path::Path;

/// Refused files that are named after one read; the number of the others is told.
const NAMED_MAX: usize = 20;

/// A source was read, or could not be.
pub(super) fn of_source(audit: &Auditor, read: &SourceRead) {
    let SourceRead { source, offered, loose, error } = read;
    let actor = Actor::node();
    let tell = |outcome, reason: &str| audit.record(&Event::new(&actor, Operation::KeyFile, outcome, reason));
    match error {
        Some(why) => tell(Outcome::Failed, &format!("key source {source}: {why}")),
        None => {
            let refused = loose.len();
            let reason = format!("key source {source}: {offered} key(s) offered, {refused} refused by permissions");
            tell(Outcome::Done, &reason);
        }
    }
    loose.iter().take(NAMED_MAX).for_each(|file| tell(Outcome::Refused, file));
    if let Some(more) = loose.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
        tell(
            Outcome::Refused,
            &format!("key source {source}: {more} more file(s) that other users can read or change"),
        );
    }
}

/// The secret files that a start has opened already.
pub(super) fn of_start(audit: &Auditor, config: &Config) {
    let actor = Actor::node();
    for (key, file) in opened(config) {
        let reason = format!("{} opened at the start ({key})", file.display());
        audit.record(&Event::new(&actor, Operation::KeyFile, Outcome::Done, &reason));
    }
}

fn opened(config: &Config) -> Vec<(&'static str, &Path)> {
    let mut files: Vec<(&'static str, &Path)> = Vec::new();
    if let Some(local) = &config.keys.sealer.local {
        files.push(match &local.secret {
            LocalSecret::KeyFile(file) => ("keys.sealer.local.key-file", file),
            LocalSecret::PassphraseFile(file) => ("keys.sealer.local.passphrase-file", file),
        });
        let earlier = local.previous_key_files.iter();
        files.extend(earlier.map(|file| ("keys.sealer.local.previous-key-files", file.as_path())));
        let earlier = local.previous_passphrase_files.iter();
        files.extend(earlier.map(|file| ("keys.sealer.local.previous-passphrase-files", file.as_path())));
    }
    let token = config.keymanager.as_ref().and_then(|keymanager| keymanager.token_file.as_deref());
    files.extend(token.map(|file| ("keymanager.token-file", file)));
    let raw_keys = config.keys.import.raw_keys_file.as_deref();
    files.extend(raw_keys.map(|file| ("keys.import.raw-keys-file", file)));
    files
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use consigner_api::audit::{AuditLine, AuditSink};
    use futures::future::BoxFuture;
    use std::sync::{Arc, Mutex};

    #[derive(Default)]
    struct Lines(Mutex<Vec<(String, &'static str, String)>>);

    impl AuditSink for Lines {
        fn note(&self, line: AuditLine) {
            self.0.lock().unwrap().push((line.operation, line.outcome, line.reason));
        }

        fn keep(&self, line: AuditLine) -> BoxFuture<'_, Result<(), String>> {
            self.note(line);
            Box::pin(async { Ok(()) })
        }
    }

    #[test]
    fn a_read_is_one_line_and_each_refused_file_one_more_up_to_a_bound() {
        let read = |loose: usize, error: Option<&str>| SourceRead {
            source: "/keys".into(),
            offered: 30,
            loose: (0..loose).map(|file| format!("/keys/{file}.json has mode 644")).collect(),
            error: error.map(str::to_owned),
        };
        for (read, outcomes, said) in [
            (read(0, None), vec![("done", 1), ("refused", 0)], "/keys: 30 key(s) offered, 0 refused"),
            (read(2, None), vec![("done", 1), ("refused", 2)], "/keys/1.json has mode 644"),
            (read(25, None), vec![("done", 1), ("refused", NAMED_MAX + 1)], "5 more file(s)"),
            (read(0, Some("gone")), vec![("failed", 1), ("done", 0)], "/keys: gone"),
        ] {
            let sink = Arc::new(Lines::default());
            of_source(&Auditor::new(sink.clone()), &read);
            let lines = sink.0.lock().unwrap();
            for (outcome, count) in outcomes {
                let found = lines.iter().filter(|(operation, told, _)| operation == "key_file" && *told == outcome);
                assert_eq!(found.count(), count, "{outcome}: {lines:?}");
            }
            assert!(lines.iter().any(|(_, _, reason)| reason.contains(said)), "{lines:?}");
        }
    }
}
