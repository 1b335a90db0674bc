//! `consigner archive verify`.

use super::live::{Compared, Live};
use super::maxima::Maxima;
use super::place::{Segments, Source, SourceArgs};
use super::printed_json;
use super::segments::{self, Read};
use crate::cli::access::AccessArgs;
use crate::cli::audit::escaped;
use crate::cli::progress::Progress;
use crate::cli::{Exit, fail, output};
use clap::Args;
use consigner_storage::{SegmentsReport, verify_segments};
use serde::Serialize;
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    access: AccessArgs,
}

pub(super) const EXAMPLES: &str = "Examples:
  consigner archive verify --config /etc/consigner/consigner.yaml
  consigner archive verify --url postgres://archive_reader@db.example/consigner --db-ca ca.pem \\
    --db-password-file reader.password --endpoint https://node1:9000,https://node2:9000 --ca ca.pem --cert admin.pem \\
    --key admin-key.pem
  consigner archive verify --config ./consigner-dev/node1/config.yaml --dir ./consigner-dev --json
  consigner archive verify --data-dir /var/lib/consigner

Reads every row and proves the hash chain over them: nothing is missing, altered, doubled or out of order. With
--endpoint or --dir the archive is compared with the live cluster too: the chain with the replicated mark, and what each
validator signed with its watermarks. The role of the readers is enough.
Exit codes: 0 it holds, 1 it does not (table, log index and place are named) or cannot be read, 2 usage, 3 it holds, but
has gaps that it names itself.";

/// What became of one lineage.
#[derive(Debug, Serialize)]
struct Verified {
    /// Of this cluster.
    lineage: String,
    /// The rows, proved.
    rows: u64,
    /// The log index at which they end.
    upto: u64,
    /// The chain there.
    chain: Option<String>,
    /// What is wrong.
    faults: Vec<String>,
    /// What is known to be lost.
    gaps: Vec<String>,
    /// What else is to be said.
    notes: Vec<String>,
    /// The live cluster beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<Compared>,
    /// Everything that was found out.
    details: Value,
}

pub(super) async fn main(args: &VerifyArgs) -> Exit {
    let source = match args.source.find() {
        Ok(source) => source,
        Err(exit) => return exit,
    };
    let live = match live(&args.access).await {
        Ok(live) => live,
        Err(exit) => return exit,
    };
    let verified = match source {
        #[cfg(feature = "postgres")]
        Source::Database(database) => of_database(&database, live.as_ref()).await,
        Source::Segments(segments) => of_segments(&segments, live.as_ref()).await.map(|one| vec![one]),
    };
    match verified {
        Ok(verified) => told(args, &verified),
        Err(exit) => exit,
    }
}

async fn live(access: &AccessArgs) -> Result<Option<Live>, Exit> {
    if access.dir.is_none() && access.endpoint.is_empty() {
        return Ok(None);
    }
    let client = access.admin().map_err(|error| error.report())?;
    Live::before(client).await.map(Some).map_err(|error| fail(&error))
}

fn told(args: &VerifyArgs, verified: &[Verified]) -> Exit {
    let holds = |one: &Verified| one.faults.is_empty() && one.live.as_ref().is_none_or(Compared::agrees);
    let ok = verified.iter().all(holds);
    let complete = verified.iter().all(|one| one.gaps.is_empty());
    if !printed_json(args.access.json, &json!({"ok": ok, "complete": ok && complete, "lineages": verified})) {
        verified.iter().for_each(print);
    }
    match (ok, complete) {
        (false, _) => Exit::Failed,
        (true, false) => Exit::Partly,
        (true, true) => Exit::Done,
    }
}

fn print(one: &Verified) {
    let Verified { lineage, rows, upto, .. } = one;
    let say = |text: String| output::line(&escaped(&text));
    for fault in &one.faults {
        say(format!("BROKEN: {fault}"));
    }
    for gap in &one.gaps {
        say(format!("GAP: {gap}"));
    }
    for note in &one.notes {
        say(format!("note: {note}"));
    }
    if let Some(live) = &one.live {
        live.missing.iter().for_each(|what| say(format!("MISSING: {what}")));
        live.invented.iter().for_each(|what| say(format!("INVENTED: {what}")));
        live.notes.iter().for_each(|what| say(format!("note: {what}")));
    }
    let compared = match &one.live {
        Some(live) if live.agrees() && live.notes.is_empty() => {
            let mark = live.mark.map_or_else(String::new, |mark| format!(", its mark is at log index {mark}"));
            format!("; the live cluster agrees ({} validators{mark})", live.validators)
        }
        Some(_) => String::new(),
        None => "; not compared with a live cluster".to_owned(),
    };
    let chain = if one.faults.is_empty() { "the chain holds" } else { "the archive does NOT hold" };
    say(format!("{chain}: cluster {lineage}, {rows} rows up to log index {upto}{compared}"));
}

#[cfg(feature = "postgres")]
async fn of_database(database: &super::place::Database, live: Option<&Live>) -> Result<Vec<Verified>, Exit> {
    use super::database::{maxima, open, verify};
    let (mut archive, lineages) = open(database).await.map_err(|error| fail(&error))?;
    let mut verified = Vec::new();
    for (position, lineage) in lineages.iter().enumerate() {
        // The live cluster is the last that came in: an older one is not adopted beside its successor.
        let live = live.filter(|_| position + 1 == lineages.len());
        let report = verify(&mut archive, lineage, live.and_then(|live| live.mark)).await;
        let report = report.map_err(|error| fail(&error))?;
        let compared = match live {
            Some(live) => {
                // A restored cluster knows what those before it signed.
                let whose = Some(lineage).filter(|_| database.lineage.is_some());
                let mut read = Maxima::default();
                for history in maxima(&mut archive, whose).await.map_err(|error| fail(&error))? {
                    read.add_history(&history);
                }
                let upto = report.head.map_or(0, |head| head.index);
                Some(live.compare(read, upto, true).await.map_err(|error| fail(&error))?)
            }
            None => None,
        };
        verified.push(of_report(&report, compared));
    }
    Ok(verified)
}

#[cfg(feature = "postgres")]
fn of_report(report: &consigner_storage::archive::VerifyReport, live: Option<Compared>) -> Verified {
    let mut faults: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
    if report.more_faults > 0 {
        faults.push(format!("and {} more", report.more_faults));
    }
    let gap = |gap: &consigner_storage::archive::Gap| {
        format!(
            "the rows of log indexes {} to {} are lost ({}); the greatest numbers of {} validators stand for them",
            gap.after.saturating_add(1),
            gap.upto,
            gap.reason,
            gap.baseline
        )
    };
    Verified {
        lineage: report.lineage.to_string(),
        rows: report.rows,
        upto: report.head.map_or(0, |head| head.index),
        chain: report.head.map(|head| head.chain.to_string()),
        faults,
        gaps: report.gaps.iter().map(gap).collect(),
        notes: Vec::new(),
        live,
        details: serde_json::to_value(report).unwrap_or_default(),
    }
}

async fn of_segments(place: &Segments, live: Option<&Live>) -> Result<Verified, Exit> {
    let mut progress: Option<Progress> = None;
    let mut tell = |reached: consigner_storage::segments::Progress| {
        let of = reached.of >> KIB;
        progress.get_or_insert_with(|| Progress::new("verified", "KiB", of)).reached(reached.bytes >> KIB);
    };
    let report = if place.dir.is_dir() {
        Some(verify_segments(&place.dir, &place.lineage, &mut tell).map_err(|error| fail(&error))?)
    } else {
        None
    };
    drop(progress);
    let mut maxima = Maxima::default();
    let read = segments::rows(place, |row| maxima.add_change(&row.change)).map_err(|error| fail(&error))?;
    let is_whole = report.as_ref().is_none_or(|report| report.base.is_none() && report.floor == 0);
    let compared = match live {
        Some(live) => Some(live.compare(maxima, read.last, is_whole).await.map_err(|error| fail(&error))?),
        None => None,
    };
    Ok(of_files(place, report.as_ref(), &read, compared))
}

fn of_files(place: &Segments, report: Option<&SegmentsReport>, read: &Read, live: Option<Compared>) -> Verified {
    let mut faults: Vec<String> = Vec::new();
    let mut notes = vec![read.tail_text()];
    if let Some(report) = report {
        faults.extend(report.damaged.iter().map(ToString::to_string));
        let missing =
            |(after, upto): &(u64, u64)| format!("the rows of log indexes {} to {upto} are missing", after + 1);
        faults.extend(report.holes.as_slice().iter().map(missing));
        if report.floor > 0 {
            notes.push(format!(
                "rows up to log index {} were removed on purpose (retention, or an archive)",
                report.floor
            ));
        }
    }
    // What both looks found is said once.
    let more: Vec<String> = read.faults.iter().filter(|fault| !faults.contains(fault)).cloned().collect();
    let is_of_file =
        |fault: &String| report.is_some_and(|report| report.damaged.iter().any(|known| fault.contains(&known.name)));
    faults.extend(more.into_iter().filter(|fault| !is_of_file(fault)));
    let details = report.map_or(Value::Null, |report| {
        json!({
            "segments": report.segments,
            "bytes": report.bytes,
            "plain_bytes": report.plain_bytes,
            "rows_in_segments": report.rows,
            "first": report.first,
            "last": report.last,
            "floor": report.floor,
            "holes": report.holes.as_slice(),
        })
    });
    Verified {
        lineage: place.lineage.to_string(),
        rows: read.rows,
        upto: read.last,
        chain: report.map(|report| report.mark.chain.to_string()),
        faults,
        gaps: Vec::new(),
        notes,
        live,
        details,
    }
}

/// 2^10 bytes.
const KIB: u32 = 10;
