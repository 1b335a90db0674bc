//! `consigner cluster add|replace|promote|remove|transfer-leader`.

use super::super::access::AccessArgs;
use super::super::{Exit, fail, output};
use crate::client::membership::{self, Membership, NewMember};
use crate::client::{CallError, ClusterClient};
use crate::config::values;
use clap::Args;
use std::time::Duration;

/// The node to be taken in.
#[derive(Debug, Args)]
struct NewNode {
    /// Where the other nodes reach it
    #[arg(long, value_name = "HOST:PORT", value_parser = host_port)]
    peer_addr: String,
    /// Where clients reach it [default: as the node advertises itself]
    #[arg(long, value_name = "URL", default_value = "", hide_default_value = true)]
    api_url: String,
    /// How long it may take to catch up before it is taken out again
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = seconds)]
    catch_up: Duration,
}

#[derive(Debug, Args)]
#[command(after_help = ADD_EXAMPLES)]
pub(super) struct AddArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// Id of the new node; one that no node ever had
    #[arg(long, value_name = "ID")]
    id: u64,
    #[command(flatten)]
    new: NewNode,
    /// Leave it a learner, which receives everything and does not vote
    #[arg(long)]
    no_promote: bool,
}

const ADD_EXAMPLES: &str = "Examples:
  consigner cluster join-token --dir ./consigner-dev --id 4 --to node4/join-token
Start the new node with an empty data directory, a member certificate, the cluster's cluster.id, and that file as its
cluster.join-token-file. Then:
  consigner cluster add --dir ./consigner-dev --id 4 --peer-addr 127.0.0.1:9031 --api-url https://127.0.0.1:9030
  consigner cluster add --endpoint https://node1:9000 --ca ca.pem --cert admin.pem --key admin-key.pem \\
    --id 4 --peer-addr node4:9001 --no-promote

Exit codes: 0 done, 1 failed or refused (the reason says what to do), 2 usage.";

#[derive(Debug, Args)]
#[command(after_help = REPLACE_EXAMPLES)]
pub(super) struct ReplaceArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// Id of the node that goes; it may be dead
    #[arg(long, value_name = "OLD")]
    id: u64,
    /// Id of the node that comes; one that no node ever had
    #[arg(long, value_name = "NEW")]
    with: u64,
    #[command(flatten)]
    new: NewNode,
}

const REPLACE_EXAMPLES: &str = "Examples:
  consigner cluster join-token --dir ./consigner-dev --id 4 --to node4/join-token
  consigner cluster replace --dir ./consigner-dev --id 2 --with 4 --peer-addr 127.0.0.1:9031

The new node needs an empty data directory, a certificate and a join token of its own, as for `cluster add`.
Exit codes: 0 done, 1 failed or refused (the reason says what to do), 2 usage.";

#[derive(Debug, Args)]
#[command(after_help = PROMOTE_EXAMPLES)]
pub(super) struct PromoteArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// Id of the learner
    #[arg(long, value_name = "ID")]
    id: u64,
    /// How long it may take to catch up
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = seconds)]
    catch_up: Duration,
}

const PROMOTE_EXAMPLES: &str = "Examples:
  consigner cluster promote --dir ./consigner-dev --id 4

Exit codes: 0 done, 1 failed or refused (the reason says what to do), 2 usage.";

#[derive(Debug, Args)]
#[command(after_help = REMOVE_EXAMPLES)]
pub(super) struct RemoveArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// Id of the node; it may be dead, and it may be the leader
    #[arg(long, value_name = "ID")]
    id: u64,
}

const REMOVE_EXAMPLES: &str = "Examples:
  consigner cluster remove --dir ./consigner-dev --id 5

Refused when the remaining voters would have no quorum. The id is never used again; stop the node afterwards.
Exit codes: 0 done, 1 failed or refused (the reason says what to do), 2 usage.";

#[derive(Debug, Args)]
#[command(after_help = TRANSFER_EXAMPLES)]
pub(super) struct TransferArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// Who shall lead [default: the most advanced voter]
    #[arg(long, value_name = "ID")]
    to: Option<u64>,
}

const TRANSFER_EXAMPLES: &str = "Examples:
  consigner cluster transfer-leader --dir ./consigner-dev
  consigner cluster transfer-leader --dir ./consigner-dev --to 3

Exit codes: 0 done, 1 failed or refused (the reason says what to do), 2 usage.";

fn host_port(text: &str) -> Result<String, String> {
    values::host_port(text).ok_or_else(|| "not HOST:PORT".to_owned())
}

/// `90s`, `10m`, `1h`, `2d`: times for people, in place of the timers of a configuration.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "not a time with a unit, such as 90s, 10m, 1h or 2d".to_owned();
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?);
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    let unit: u64 = match unit.trim() {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    count.checked_mul(unit).filter(|seconds| *seconds > 0).map(Duration::from_secs).ok_or_else(wrong)
}

impl NewNode {
    fn member(&self, id: u64, promote: bool) -> NewMember {
        NewMember {
            id,
            peer_addr: self.peer_addr.clone(),
            api_url: self.api_url.clone(),
            promote,
            catch_up_s: self.catch_up.as_secs(),
        }
    }
}

pub(super) async fn add(args: &AddArgs) -> Exit {
    let new = args.new.member(args.id, !args.no_promote);
    let what = if args.no_promote { "is a learner" } else { "votes" };
    let said = format!("node {} {what}", args.id);
    run(&args.access, &said, async |client| membership::add(&client, &new).await).await
}

pub(super) async fn replace(args: &ReplaceArgs) -> Exit {
    let new = args.new.member(args.with, true);
    let said = format!("node {} votes, node {} is out", args.with, args.id);
    run(&args.access, &said, async |client| membership::replace(&client, args.id, &new).await).await
}

pub(super) async fn promote(args: &PromoteArgs) -> Exit {
    let catch_up_s = args.catch_up.as_secs();
    let said = format!("node {} votes", args.id);
    run(&args.access, &said, async |client| membership::promote(&client, args.id, catch_up_s).await).await
}

pub(super) async fn remove(args: &RemoveArgs) -> Exit {
    let said = format!("node {} is out; its id is never used again", args.id);
    run(&args.access, &said, async |client| membership::remove(&client, args.id).await).await
}

pub(super) async fn transfer_leader(args: &TransferArgs) -> Exit {
    run(&args.access, "leadership moved", async |client| membership::transfer_leader(&client, args.to).await).await
}

/// Makes a change and tells the membership afterwards.
async fn run(
    access: &AccessArgs,
    said: &str,
    change: impl AsyncFnOnce(ClusterClient) -> Result<Membership, CallError>,
) -> Exit {
    let client = match super::admin(access) {
        Ok(client) => client,
        Err(exit) => return exit,
    };
    let made = match change(client).await {
        Ok(made) => made,
        Err(error) => return fail(&error),
    };
    if !access.printed_json(&made) {
        output::line(&format!("{said}: {}", told(&made)));
        for warning in &made.warnings {
            output::line(&format!("warning: {warning}"));
        }
    }
    Exit::Done
}

fn told(made: &Membership) -> String {
    let list = |nodes: &[u64]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let learners =
        if made.learners.is_empty() { String::new() } else { format!("; learners {}", list(&made.learners)) };
    format!("voters {}{learners}; node {} leads", list(&made.voters), made.leader)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn times_for_people_have_a_unit() {
        for (text, expected) in [("90s", 90), ("2m", 120), ("3 min", 180), ("1h", 3_600), ("2d", 172_800)] {
            assert_eq!(seconds(text), Ok(Duration::from_secs(expected)), "{text}");
        }
        for text in ["", "5", "0s", "h", "1w", "-1s", "99999999999999999999d", "18446744073709551615d"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_membership_is_told_in_one_line() {
        let mut made = Membership { voters: vec![1, 2, 3], learners: vec![], leader: 2, warnings: vec![] };
        assert_eq!(told(&made), "voters 1, 2, 3; node 2 leads");
        made.learners.push(4);
        assert_eq!(told(&made), "voters 1, 2, 3; learners 4; node 2 leads");
    }
}
