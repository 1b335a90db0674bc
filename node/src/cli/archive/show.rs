//! `consigner archive show`.

use super::line::{HEAD, Line};
use super::place::{Segments, Source, SourceArgs};
use super::segments::{self, Tail};
use super::wanted::{Wanted, WantedArgs};
use crate::cli::{Exit, fail, output};
use clap::Args;
use consigner_rules::Change;
use consigner_storage::archive::project::Projection;
use std::collections::VecDeque;

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    wanted: WantedArgs,
    /// Print JSON for scripts: one row per line
    #[arg(long)]
    json: bool,
}

pub(super) const EXAMPLES: &str = "Examples:
  consigner archive show --config /etc/consigner/consigner.yaml --pubkey 0x93247f.. --epoch 211704
  consigner archive show --url postgres://archive_reader@db.example/consigner --db-ca ca.pem \\
    --db-password-file reader.password --kind refusal --since 7d --json
  consigner archive show --data-dir /var/lib/consigner --client vc-1 --last 20

Newest last. NODE is the node that the client asked. Rows that were altered are an error here; verify says which.
Beside a running node --data-dir has the rows of segments only: the newest lie in the node's store until there are
enough of them.
Exit codes: 0 done (also when nothing fits), 1 failed, 2 usage, 3 some rows could not be read (they are named).";

pub(super) async fn main(args: &ShowArgs) -> Exit {
    let source = match args.source.find() {
        Ok(source) => source,
        Err(exit) => return exit,
    };
    let wanted = args.wanted.wanted();
    match source {
        #[cfg(feature = "postgres")]
        Source::Database(database) => match super::database::show(&database, &wanted).await {
            Ok(lines) => {
                print(&lines, args.json);
                Exit::Done
            }
            Err(error) => fail(&error),
        },
        Source::Segments(segments) => of_segments(&segments, &wanted, args.json),
    }
}

fn of_segments(segments: &Segments, wanted: &Wanted, json: bool) -> Exit {
    let lineage = segments.lineage.to_string();
    let mut lines: VecDeque<Line> = VecDeque::new();
    let asked = wanted;
    let mut wanted = asked.on(segments.network.as_deref());
    let read = segments::rows(segments, |row| {
        if let Change::ClusterInitialised(identity) = &row.change {
            wanted = asked.on(Some(&identity.network));
        }
        let columns = Projection::of(&row.change);
        if wanted.fits(&row, &columns) {
            lines.push_back(Line::of(&lineage, &row, &columns));
            if lines.len() > wanted.last {
                lines.pop_front();
            }
        }
    });
    let read = match read {
        Ok(read) => read,
        Err(error) => return fail(&error),
    };
    print(&Vec::from(lines), json);
    for fault in &read.faults {
        output::complain(fault);
    }
    if read.tail == Tail::Running {
        output::complain(&read.tail_text());
    }
    if read.faults.is_empty() { Exit::Done } else { Exit::Partly }
}

fn print(lines: &[Line], json: bool) {
    if json {
        for line in lines {
            match serde_json::to_string(line) {
                Ok(text) => output::line(&crate::cli::audit::escaped_json(&text)),
                Err(error) => output::complain(&error.to_string()),
            }
        }
        return;
    }
    if lines.is_empty() {
        return output::complain("no row fits");
    }
    let cells: Vec<Vec<String>> = lines.iter().map(Line::cells).collect();
    output::line(&output::table(&HEAD, &cells));
}
