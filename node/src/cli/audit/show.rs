//! `consigner audit show`.

use super::escape::{escaped, escaped_json, value};
use super::place::{self, Place, PlaceArgs};
use crate::cli::{Exit, output};
use clap::Args;
use consigner_storage::AuditError;
use consigner_storage::audit::{Filter, parse_time, show};
use serde_json::Value;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Directory of `consigner dev`: the lines of all its nodes
    #[arg(long, value_name = "DIR", conflicts_with_all = ["data_dir", "config"])]
    dir: Option<PathBuf>,
    /// Lines about this validator
    #[arg(long, value_name = "PUBKEY", value_parser = validator)]
    key: Option<String>,
    /// Not before: a time (2026-01-31T12:00:00Z, 2026-01-31) or how long ago (90s, 15min, 2h, 7d)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<u64>,
    /// Not after: as --since
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<u64>,
    /// Lines with this operation, e.g. BLOCK_V2, key_delete; key_* for all that begin so
    #[arg(long, value_name = "NAME")]
    operation: Option<String>,
    /// Lines with this outcome: begun, done, unchanged, refused, failed
    #[arg(long, value_name = "NAME")]
    outcome: Option<String>,
    /// Lines of callers whose identity contains this
    #[arg(long, value_name = "TEXT")]
    identity: Option<String>,
    /// Checkpoints and notes of the log itself, too
    #[arg(long)]
    all: bool,
    /// The newest so many; 0 for all of them
    #[arg(long, value_name = "N", default_value_t = LAST_DEFAULT)]
    last: usize,
    /// Print the lines as JSON, one object each, unseen characters spelled as \uXXXX
    #[arg(long)]
    json: bool,
}

pub(super) const EXAMPLES: &str = "Examples:
  consigner audit show --data-dir /var/lib/consigner --key 0x8f31.. --since 1h     why was this refused?
  consigner audit show --dir ./consigner-dev --outcome refused
  consigner audit show --config consigner.yaml --operation 'key_*' --since 2026-01-31 --json

Lines are sorted by time. That none is missing is what `consigner audit verify` says.
Exit codes: 0 done (also when nothing fits), 1 some lines cannot be read, 2 usage.";

/// More than anybody reads, and bounded.
const LAST_DEFAULT: usize = 1000;

pub(super) fn main(args: &ShowArgs) -> Exit {
    let places = match place::find(&args.place, args.dir.as_deref()) {
        Ok(places) => places,
        Err(exit) => return exit,
    };
    let filter = Filter {
        key: args.key.clone(),
        since_ms: args.since,
        until_ms: args.until,
        operation: args.operation.clone(),
        outcome: args.outcome.clone(),
        identity: args.identity.clone(),
        all: args.all,
    };
    let mut exit = Exit::Done;
    let mut found = Found { lines: VecDeque::new(), last: args.last, fitted: 0 };
    for place in places {
        match found.gather(&place, &filter) {
            Ok(0) => {}
            Ok(unreadable) => {
                let dir = place.dir.display();
                output::complain(&format!(
                    "{dir}: {unreadable} lines are not shown: they cannot be read, or do not give their own hash; see \
                     `consigner audit verify`"
                ));
                exit = Exit::Failed;
            }
            Err(error) => {
                output::complain(&error.full_text());
                return if matches!(error, AuditError::Nothing(_)) { Exit::Usage } else { Exit::Failed };
            }
        }
    }
    found.print(args.json);
    exit
}

/// Lines that fit, by time.
struct Found {
    /// With their time; in a single log, already in its order.
    lines: VecDeque<(u64, String)>,
    /// How many are kept of each log; 0: all.
    last: usize,
    fitted: usize,
}

impl Found {
    /// Adds the lines of one log; how many of its lines could not be read.
    fn gather(&mut self, place: &Place, filter: &Filter) -> Result<u64, AuditError> {
        let mut shows = show(&place.dir, filter.clone())?;
        let mut here = VecDeque::new();
        for shown in shows.by_ref() {
            let text = shown?.text;
            let time = serde_json::from_str::<Value>(&text).ok().and_then(|line| line["time_ms"].as_u64());
            here.push_back((time.unwrap_or_default(), text));
            self.fitted += 1;
            if self.last > 0 && here.len() > self.last {
                here.pop_front();
            }
        }
        self.lines.extend(here);
        Ok(shows.unreadable)
    }

    fn print(mut self, json: bool) {
        // Stable: lines of one log stay in their order where their times are equal.
        self.lines.make_contiguous().sort_by_key(|(time, _)| *time);
        let skipped = if self.last == 0 { 0 } else { self.lines.len().saturating_sub(self.last) };
        for (_, text) in self.lines.iter().skip(skipped) {
            output::line(&if json { escaped_json(text) } else { sentence(text) });
        }
        let left = self.fitted - (self.lines.len() - skipped);
        if left > 0 {
            output::complain(&format!("{left} older lines fit as well; --last {} shows them", self.fitted));
        }
    }
}

/// One line for people: time, node, operation, outcome, who, on what, why.
pub(super) fn sentence(text: &str) -> String {
    let Ok(line) = serde_json::from_str::<Value>(text) else { return escaped(text) };
    let word = |name: &str| escaped(line[name].as_str().unwrap_or_default());
    let head = format!("{} node {} seq {}", word("time"), value(&line["node"]), value(&line["seq"]));
    let kind = word("kind");
    if kind != "event" {
        let rest = ["why", "reason", "count", "file", "upto", "bytes", "kept"];
        let rest = rest.iter().filter(|name| !line[**name].is_null() && line[**name] != "");
        let rest: Vec<String> = rest.map(|name| format!("{name}={}", value(&line[*name]))).collect();
        return format!("{head} [{kind}] {}", rest.join(" "));
    }
    let mut parts = vec![head, word("operation"), word("outcome").to_uppercase()];
    let mut who = format!("by {} ({})", word("identity"), word("proof"));
    if let Some(address) = line["address"].as_str() {
        who.push_str(&format!(" from {}", escaped(address)));
    }
    if let Some(door) = line["door"].as_str() {
        who.push_str(&format!(" at {}", escaped(door)));
    }
    parts.push(who);
    parts.extend(line["key"].as_str().map(|key| format!("key {}", escaped(key))));
    parts.extend(line["log_index"].as_u64().map(|index| format!("log {index}")));
    let reason = word("reason");
    let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
    format!("{}{reason}", parts.join(" "))
}

/// A public key in the form of the lines.
pub(super) fn validator(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text).to_ascii_lowercase();
    let fits = digits.len() == 96 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if fits { Ok(format!("0x{digits}")) } else { Err("96 hexadecimal digits are expected".to_owned()) }
}

/// Milliseconds since 1970 of what `--since` was given.
pub(in crate::cli) fn moment(text: &str) -> Result<u64, String> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    moment_at(text, u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Milliseconds since 1970 of a time, or of so long before `now_ms`.
pub(super) fn moment_at(text: &str, now_ms: u64) -> Result<u64, String> {
    if let Some(time) = parse_time(text) {
        return Ok(time);
    }
    let ago = text.find(|c: char| !c.is_ascii_digit()).and_then(|at| {
        let (count, unit) = text.split_at(at);
        let seconds: u64 = match unit {
            "s" => 1,
            "m" | "min" => 60,
            "h" => 3600,
            "d" => 24 * 3600,
            _ => return None,
        };
        // Longer than there has been time is since ever; a number that is none is a slip of the finger.
        Some(count.parse::<u64>().ok()?.saturating_mul(seconds).saturating_mul(1000))
    });
    let wrong =
        || "a time (2026-01-31T12:00:00Z, 2026-01-31) or how long ago (90s, 15min, 2h, 7d) is expected".to_owned();
    ago.map(|ago| now_ms.saturating_sub(ago)).ok_or_else(wrong)
}
