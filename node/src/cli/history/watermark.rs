//! `consigner history watermark show|raise|set-high|clear-high`: Web3Signer's `watermark-repair`, on a live cluster.

use super::chosen::KeysArgs;
use super::confirm::confirmed;
use crate::cli::access::AccessArgs;
use crate::cli::{Exit, fail, output};
use crate::client::records::{self, HighChanged, HighMark, Marks, Raised, Watermarks, Which};
use crate::client::{CallError, ClusterClient};
use clap::{Args, Subcommand};

const EXAMPLES: &str = "Examples:
  consigner history watermark show --dir ./consigner-dev
  consigner history watermark raise --dir ./consigner-dev --all --slot 9000000 --source 281249 --target 281250
  consigner history watermark set-high --dir ./consigner-dev --epoch 290000 --slot 9280000 --dry-run
  consigner history watermark clear-high --dir ./consigner-dev --yes

A low watermark says what was signed last: nothing at or below it is signed (a source epoch may be repeated). It is never
lowered. The high watermark holds for all validators: nothing at or above it is signed until it is cleared.

Exit codes: 0 done, 1 failed, 2 usage, 3 some validators failed.";

/// `consigner history watermark`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct WatermarkArgs {
    #[command(subcommand)]
    command: WatermarkCommand,
}

#[derive(Debug, Subcommand)]
enum WatermarkCommand {
    /// Show the watermarks of all validators, or of some
    #[command(after_help = EXAMPLES)]
    Show(ShowArgs),
    /// Raise low watermarks; what lies above already stays
    #[command(after_help = EXAMPLES)]
    Raise(RaiseArgs),
    /// Set the high watermark; it must lie above everything that was signed
    #[command(after_help = EXAMPLES)]
    SetHigh(SetHighArgs),
    /// Remove the high watermark
    #[command(after_help = EXAMPLES)]
    ClearHigh(ClearHighArgs),
}

#[derive(Debug, Args)]
struct ShowArgs {
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    keys: KeysArgs,
}

/// What guards a change.
#[derive(Debug, Args)]
struct Guard {
    /// Only say what would happen
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
struct RaiseArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// Block slot to raise to
    #[arg(long, value_name = "N", required_unless_present = "target")]
    slot: Option<u64>,
    /// Source epoch to raise to
    #[arg(long, value_name = "N", requires = "target")]
    source: Option<u64>,
    /// Target epoch to raise to
    #[arg(long, value_name = "N", requires = "source")]
    target: Option<u64>,
    #[command(flatten)]
    keys: KeysArgs,
    /// Every validator that the cluster knows
    #[arg(long, conflicts_with_all = ["keys", "keys_file"])]
    all: bool,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Debug, Args)]
struct SetHighArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// Source and target epochs stay below
    #[arg(long, value_name = "N")]
    epoch: u64,
    /// Block slots stay below
    #[arg(long, value_name = "N")]
    slot: u64,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Debug, Args)]
struct ClearHighArgs {
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    guard: Guard,
}

/// Runs the command.
pub(super) async fn main(args: WatermarkArgs) -> Exit {
    let done = match &args.command {
        WatermarkCommand::Show(args) => show(args).await,
        WatermarkCommand::Raise(args) => raise(args).await,
        WatermarkCommand::SetHigh(args) => {
            let to = HighMark { epoch: args.epoch.to_string(), slot: args.slot.to_string() };
            change_high(&args.access, &args.guard, Some(&to)).await
        }
        WatermarkCommand::ClearHigh(args) => change_high(&args.access, &args.guard, None).await,
    };
    done.unwrap_or_else(|exit| exit)
}

fn reached(access: &AccessArgs) -> Result<ClusterClient, Exit> {
    access.admin().map_err(|error| error.report())
}

fn chosen(keys: &KeysArgs) -> Result<Which, Exit> {
    keys.which().map_err(|complaint| {
        output::complain(&complaint);
        Exit::Usage
    })
}

fn failed(error: CallError) -> Exit {
    fail(&error)
}

async fn show(args: &ShowArgs) -> Result<Exit, Exit> {
    let which = chosen(&args.keys)?;
    let found = records::watermarks(&reached(&args.access)?, &which).await.map_err(failed)?;
    if !args.access.printed_json(&found) {
        print_marks(&found);
    }
    Ok(Exit::Done)
}

fn print_marks(found: &Watermarks) {
    let rows: Vec<Vec<String>> = found
        .data
        .iter()
        .map(|line| {
            let [slot, source, target] = cells(&line.marks);
            vec![line.pubkey.clone(), slot, source, target, if line.held { "yes" } else { "no" }.to_owned()]
        })
        .collect();
    output::line(&output::table(&["VALIDATOR", "SLOT", "SOURCE", "TARGET", "KEY HELD"], &rows));
    output::line(&format!("high watermark: {}", high_text(found.high_watermark.as_ref())));
}

fn cells(marks: &Marks) -> [String; 3] {
    [&marks.slot, &marks.source_epoch, &marks.target_epoch].map(|mark| mark.clone().unwrap_or_else(|| "-".to_owned()))
}

fn high_text(high: Option<&HighMark>) -> String {
    high.map_or_else(|| "none".to_owned(), |high| format!("epoch {}, slot {}", high.epoch, high.slot))
}

async fn raise(args: &RaiseArgs) -> Result<Exit, Exit> {
    if args.all == args.keys.given() {
        output::complain("say which validators: --keys, --keys-file, or --all");
        return Err(Exit::Usage);
    }
    let (which, client) = (chosen(&args.keys)?, reached(&args.access)?);
    let text = |number: Option<u64>| number.map(|number| number.to_string());
    let to = Marks { slot: text(args.slot), source_epoch: text(args.source), target_epoch: text(args.target) };
    let plan = records::raise(&client, &to, &which, true).await.map_err(failed)?;
    let rising = plan.data.iter().filter(|line| line.status == "raised").count();
    let done = if args.guard.dry_run {
        plan
    } else {
        if rising > 0 {
            let [slot, source, target] = cells(&to);
            let question = format!(
                "{rising} of {} validators would never again sign a block at or below slot {slot}, nor an attestation \
                 below source epoch {source}, nor one at or below target epoch {target}.",
                plan.data.len()
            );
            confirmed(args.guard.yes, &question)?;
        }
        records::raise(&client, &to, &which, false).await.map_err(failed)?
    };
    if !args.access.printed_json(&done) {
        print_raised(&done);
    }
    Ok(judge(&done))
}

fn print_raised(done: &Raised) {
    let rows: Vec<Vec<String>> = done
        .data
        .iter()
        .map(|line| {
            let change =
                |before: String, after: String| if before == after { after } else { format!("{before}->{after}") };
            let (before, after) = (cells(&line.before), cells(&line.after));
            let changes = before.into_iter().zip(after).map(|(before, after)| change(before, after));
            [line.pubkey.clone(), line.status.clone()]
                .into_iter()
                .chain(changes)
                .chain([line.message.clone()])
                .collect()
        })
        .collect();
    output::line(&output::table(&["VALIDATOR", "STATUS", "SLOT", "SOURCE", "TARGET", "MESSAGE"], &rows));
    if done.dry_run {
        output::line("nothing was changed: --dry-run");
    }
}

fn judge(done: &Raised) -> Exit {
    let failed = done.data.iter().filter(|line| line.status == "error").count();
    match failed {
        0 => Exit::Done,
        _ if failed == done.data.len() => Exit::Failed,
        _ => Exit::Partly,
    }
}

async fn change_high(access: &AccessArgs, guard: &Guard, to: Option<&HighMark>) -> Result<Exit, Exit> {
    let client = reached(access)?;
    // First as a dry run: what the rules refuse needs no question.
    let mut done: HighChanged = records::set_high(&client, to, true).await.map_err(failed)?;
    if !guard.dry_run {
        let before = high_text(done.before.as_ref());
        let question = match to {
            Some(to) => {
                format!("No validator would sign anything at or above {} (now: {before}).", high_text(Some(to)))
            }
            None => format!("Every validator would sign again beyond the high watermark (now: {before})."),
        };
        confirmed(guard.yes, &question)?;
        done = records::set_high(&client, to, false).await.map_err(failed)?;
    }
    if !access.printed_json(&done) {
        let (before, after) = (high_text(done.before.as_ref()), high_text(done.after.as_ref()));
        let note = if done.dry_run { " (nothing was changed: --dry-run)" } else { "" };
        output::line(&format!("high watermark: {before} -> {after}{note}"));
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::records::RaisedLine;

    #[test]
    fn exit_codes_tell_all_some_and_none() {
        let line = |status: &&str| RaisedLine {
            pubkey: String::new(),
            status: (*status).to_owned(),
            before: Marks::default(),
            after: Marks::default(),
            message: String::new(),
        };
        let judged = |statuses: &[&str]| judge(&Raised { dry_run: false, data: statuses.iter().map(line).collect() });
        assert_eq!(judged(&["raised", "unchanged"]), Exit::Done);
        assert_eq!(judged(&["raised", "error"]), Exit::Partly);
        assert_eq!(judged(&["error"]), Exit::Failed);
    }
}
