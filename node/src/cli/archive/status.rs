//! `consigner archive status`.

use super::printed_json;
use crate::cli::access::AccessArgs;
use crate::cli::audit::escaped;
use crate::cli::progress::human;
use crate::cli::{Exit, output};
use crate::client::archive::{self, Look};
use crate::report::one_line;
use clap::Args;
use consigner_api::{ArchiveTrouble, ArchiveView, ExporterState};
use consigner_raft::OutboxLevel;
use serde_json::json;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    access: AccessArgs,
}

pub(super) const EXAMPLES: &str = "Examples:
  consigner archive status --dir ./consigner-dev
  consigner archive status --endpoint https://node1:9000,https://node2:9000,https://node3:9000 \\
    --ca ca.pem --cert admin.pem --key admin-key.pem --json

MARK: the log index up to which the cluster agreed that the archive has everything. LAG: entries behind it, and how long
the oldest waits. OUTBOX: what waits on the node, of what it may take of the disk. Name all nodes: each tells its own.
Exit codes: 0 in order, 1 no node answers, 2 usage, 3 something is wrong: a node is silent, the export pauses, an outbox
is nearly full or has a hole.";

/// One node's line.
struct Row {
    cells: Vec<String>,
    notes: Vec<String>,
    is_fine: bool,
}

pub(super) async fn main(args: &StatusArgs) -> Exit {
    let client = match args.access.admin() {
        Ok(client) => client,
        Err(error) => return error.report(),
    };
    let looks = archive::looks(&client).await;
    let exit = judge(&looks);
    let of_json = |look: &Look| match &look.view {
        Ok(view) => json!({"endpoint": look.endpoint, "archive": view}),
        Err(error) => json!({"endpoint": look.endpoint, "error": one_line(error)}),
    };
    let all: Vec<_> = looks.iter().map(of_json).collect();
    if !printed_json(args.access.json, &json!({"ok": exit == Exit::Done, "nodes": all})) {
        print(&looks);
    }
    exit
}

fn judge(looks: &[Look]) -> Exit {
    let fine = |look: &Look| look.view.as_ref().is_ok_and(|view| row(view).is_fine);
    if looks.iter().all(|look| look.view.is_err()) {
        Exit::Failed
    } else if looks.iter().all(fine) {
        Exit::Done
    } else {
        Exit::Partly
    }
}

fn print(looks: &[Look]) {
    let (mut rows, mut notes) = (Vec::new(), Vec::new());
    for look in looks {
        match &look.view {
            Ok(view) => {
                let row = row(view);
                rows.push(row.cells);
                notes.extend(row.notes.into_iter().map(|note| format!("node {}: {note}", view.node)));
            }
            Err(error) => notes.push(format!("{}: {}", look.endpoint, one_line(error))),
        }
    }
    if !rows.is_empty() {
        output::line(&output::table(&["NODE", "ARCHIVE", "STATE", "MARK", "ROWS", "LAG", "OUTBOX"], &rows));
    }
    for note in notes {
        output::line(&escaped(&note));
    }
}

fn row(view: &ArchiveView) -> Row {
    let outbox = &view.outbox;
    let (mut notes, mut is_fine) = (Vec::new(), true);
    let (mut state, mut lag) = ("keeps its own".to_owned(), "-".to_owned());
    if let Some(exporter) = &view.exporter {
        state = state_text(exporter.state).to_owned();
        lag = format!("{} entries", exporter.lag_entries);
        if exporter.lag_entries > 0 {
            lag = format!("{lag}, {}", human(Duration::from_secs(exporter.lag_seconds)));
        }
        is_fine &= exporter.state != ExporterState::Paused && exporter.trouble.is_none();
        notes.extend(exporter.reason.as_ref().map(|reason| format!("{state}: {reason}")));
        notes.extend(exporter.trouble.as_ref().map(|trouble| trouble_text("now", trouble)));
        notes.extend(exporter.last_trouble.as_ref().map(|trouble| trouble_text("over", trouble)));
        if exporter.insecure {
            notes.push("the database is spoken to in the clear, without proof of who it is".to_owned());
        }
    }
    for (after, upto) in &outbox.holes {
        is_fine = false;
        notes.push(format!(
            "the rows of the log indexes {} to {upto} are missing on this node",
            after.saturating_add(1)
        ));
    }
    if matches!(outbox.level, OutboxLevel::High | OutboxLevel::Full) {
        is_fine = false;
        notes.push("its outbox has nearly filled its share of the disk: archive.outbox-share-percent".to_owned());
    }
    let of = if outbox.limit_bytes == 0 { String::new() } else { format!(" of {}", size(outbox.limit_bytes)) };
    let leads = if view.leader { " (leads)" } else { "" };
    let mark = view.mark.as_ref();
    let cells = vec![
        format!("{}{leads}", view.node),
        view.mode.clone(),
        state,
        mark.map_or_else(|| "-".to_owned(), |mark| mark.index.to_string()),
        mark.map_or_else(|| outbox.rows.to_string(), |mark| mark.rows.to_string()),
        lag,
        format!("{} rows, {}{of}", outbox.rows, size(outbox.bytes)),
    ];
    Row { cells, notes, is_fine }
}

const fn state_text(state: ExporterState) -> &'static str {
    match state {
        ExporterState::Following => "following",
        ExporterState::Exporting => "exporting",
        ExporterState::Waiting => "waiting",
        ExporterState::Paused => "PAUSED",
    }
}

fn trouble_text(when: &str, trouble: &ArchiveTrouble) -> String {
    let ArchiveTrouble { class, reason, since_ms, last_ms, times } = trouble;
    let time = consigner_storage::audit::time_text;
    format!("{when} [{class}] {reason} ({times} times, {} to {})", time(*since_ms), time(*last_ms))
}

/// `17 KiB`.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        1_048_576..10_737_418_240 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::client::CallError;
    use consigner_api::{ExporterStatus, MarkView};
    use consigner_raft::OutboxStatus;

    fn view(state: ExporterState) -> ArchiveView {
        let exporter = ExporterStatus {
            state,
            reason: (state == ExporterState::Paused).then(|| "the disk is full".to_owned()),
            database: "db:5432/consigner".to_owned(),
            insecure: false,
            head: None,
            lag_entries: 3,
            lag_seconds: 61,
            trouble: None,
            last_trouble: None,
        };
        ArchiveView {
            node: 2,
            leader: true,
            mode: "postgres".to_owned(),
            mark: Some(MarkView { index: 7, rows: 5, chain: "0x00".to_owned() }),
            applied_index: 10,
            outbox: OutboxStatus { rows: 3, bytes: 2048, limit_bytes: 3 << 30, ..OutboxStatus::default() },
            exporter: Some(exporter),
        }
    }

    fn look(view: Option<ArchiveView>) -> Look {
        Look { endpoint: "https://a".to_owned(), view: view.ok_or(CallError::NoEndpoint) }
    }

    #[test]
    fn a_line_says_how_far_and_how_full() {
        let row = row(&view(ExporterState::Exporting));
        let expected =
            ["2 (leads)", "postgres", "exporting", "7", "5", "3 entries, 1 min 1 s", "3 rows, 2 KiB of 3072 MiB"];
        assert_eq!(row.cells, expected);
        assert!(row.notes.is_empty() && row.is_fine);
    }

    #[test]
    fn what_is_wrong_is_said_and_counts() {
        let fine = || look(Some(view(ExporterState::Exporting)));
        let paused = look(Some(view(ExporterState::Paused)));
        assert_eq!(row(paused.view.as_ref().unwrap()).notes, ["PAUSED: the disk is full"]);
        assert_eq!(judge(&[fine(), fine()]), Exit::Done);
        assert_eq!(judge(&[fine(), paused]), Exit::Partly);
        assert_eq!(judge(&[fine(), look(None)]), Exit::Partly);
        assert_eq!(judge(&[look(None)]), Exit::Failed);
        let mut holed = view(ExporterState::Following);
        holed.outbox.holes = vec![(3, 5)];
        assert!(row(&holed).notes[0].contains("4 to 5"));
        assert_eq!(judge(&[fine(), look(Some(holed))]), Exit::Partly);
    }
}
