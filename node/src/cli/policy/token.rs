//! `consigner policy token`: bearer tokens for callers that can show no certificate, or on top of one.

use super::first_to_answer;
use crate::cli::access::AccessArgs;
use crate::cli::progress::human;
use crate::cli::{Exit, fail, output};
use crate::client::policy::{self, NewToken, Revoked, TokenEntry};
use crate::files;
use crate::report::one_line;
use clap::{Args, Subcommand};
use consigner_api::TOKEN_LIFE_MAX;
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `consigner policy token`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

const EXAMPLES: &str = "Examples:
  consigner policy token create --dir ./consigner-dev --name ci --role operator --expires 30d --out token
  consigner policy token list --dir ./consigner-dev
  consigner policy token revoke --dir ./consigner-dev 0123456789abcdef";

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token; it is shown once and never again
    Create(CreateArgs),
    /// List the tokens of the cluster
    List(ListArgs),
    /// Revoke tokens on all nodes
    Revoke(RevokeArgs),
}

/// `consigner policy token create`.
#[derive(Debug, Args)]
#[command(after_help = CREATE_EXAMPLES)]
struct CreateArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// What people call it: letters, digits and . _ - @ /
    #[arg(long, value_name = "NAME")]
    name: String,
    /// A role of the policy; several with commas or by repeating the flag
    #[arg(long = "role", value_name = "ROLE", required = true, value_delimiter = ',')]
    roles: Vec<String>,
    /// When it ends, from now: 12h, 30d (default: never)
    #[arg(long, alias = "expires-in", value_name = "TIME", value_parser = expiry)]
    expires: Option<Duration>,
    /// New file for the token, readable by its owner alone, in place of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

const CREATE_EXAMPLES: &str = "Examples:
  consigner policy token create --dir ./consigner-dev --name ci --role operator --expires 30d --out token
  consigner policy token create --dir ./consigner-dev --name nimbus --role validator > token

The cluster keeps a hash of it. Exit codes: 0 made, 1 not made or not certain, 2 usage.";

/// `consigner policy token list`.
#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLES)]
struct ListArgs {
    #[command(flatten)]
    access: AccessArgs,
}

const LIST_EXAMPLES: &str = "Example:
  consigner policy token list --dir ./consigner-dev --json";

/// `consigner policy token revoke`.
#[derive(Debug, Args)]
#[command(after_help = REVOKE_EXAMPLES)]
struct RevokeArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// Ids of tokens: 16 hexadecimal digits, as listed
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

const REVOKE_EXAMPLES: &str = "Example:
  consigner policy token revoke --dir ./consigner-dev 0123456789abcdef

When the command returns, no node takes them any more. It may be repeated. Exit codes: 0 all are revoked, 1 none, 2 usage,
3 some are not known or failed.";

fn expiry(text: &str) -> Result<Duration, String> {
    let said = || "not a time such as 90s, 30min, 12h or 30d, up to ten years".to_owned();
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).ok_or_else(said)?);
    let seconds = match unit {
        "s" => 1,
        "min" | "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(said()),
    };
    let seconds = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(seconds));
    let expiry = seconds.map(Duration::from_secs).ok_or_else(said)?;
    if expiry.is_zero() || expiry > TOKEN_LIFE_MAX { Err(said()) } else { Ok(expiry) }
}

/// Runs the command.
pub(super) async fn main(args: TokenArgs) -> Exit {
    match args.command {
        TokenCommand::Create(args) => create(&args).await,
        TokenCommand::List(args) => list(&args).await,
        TokenCommand::Revoke(args) => revoke(&args).await,
    }
}

async fn create(args: &CreateArgs) -> Exit {
    if let Some(file) = args.out.as_deref().filter(|file| file.exists()) {
        output::complain(&format!("{} exists; a token is never overwritten", file.display()));
        return Exit::Usage;
    }
    let client = match args.access.admin() {
        Ok(client) => client,
        Err(error) => return error.report(),
    };
    // One node alone: a second one would make a second token after a lost answer.
    let node = match first_to_answer(&client, async |node| policy::show(node).await).await {
        Ok((node, _)) => node,
        Err(error) => return fail(&error),
    };
    let seconds = args.expires.map(|expires| expires.as_secs());
    match policy::create_token(&node, &args.name, &args.roles, seconds).await {
        Ok(made) => tell(args, &made),
        Err(error) => fail(&error),
    }
}

/// The token alone goes to standard output, so that it can go on into a file or a secret store.
fn tell(args: &CreateArgs, made: &NewToken) -> Exit {
    let NewToken { id, text, expires_ms } = made;
    let text = text.as_str();
    if let Some(file) = &args.out
        && let Err(error) = files::create(file, format!("{text}\n").as_bytes(), files::SECRET)
    {
        let file = file.display();
        output::complain(&format!("{file} cannot be written: {error}; revoke token {id} and make another"));
        return Exit::Failed;
    }
    if args.access.json {
        let token = args.out.is_none().then_some(text);
        args.access.printed_json(&json!({"id": id, "token": token, "expires_ms": expires_ms, "file": args.out}));
        return Exit::Done;
    }
    match &args.out {
        Some(file) => output::line(&format!("token {id} is in {}", file.display())),
        None => {
            output::line(text);
            output::complain(&format!("token {id} was made; it is not shown again"));
        }
    }
    Exit::Done
}

async fn list(args: &ListArgs) -> Exit {
    let client = match args.access.admin() {
        Ok(client) => client,
        Err(error) => return error.report(),
    };
    let tokens = match policy::tokens(&client).await {
        Ok(tokens) => tokens,
        Err(error) => return fail(&error),
    };
    if !args.access.printed_json(&json!({"data": tokens})) {
        let rows: Vec<Vec<String>> = tokens.iter().map(row).collect();
        output::line(&output::table(&["ID", "NAME", "ROLES", "ENDS"], &rows));
        output::line(&format!("{} tokens", tokens.len()));
    }
    Exit::Done
}

fn row(token: &TokenEntry) -> Vec<String> {
    let ends = match (token.expires_ms, token.expired) {
        (None, _) => "never".to_owned(),
        (Some(_), true) => "has ended".to_owned(),
        (Some(ends), false) => format!("in {}", left(ends)),
    };
    vec![token.id.clone(), token.name.clone(), token.roles.join(","), ends]
}

/// By this machine's clock; whether it has ended is said by the node's.
fn left(ends_ms: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = Duration::from_millis(ends_ms).saturating_sub(now);
    let days = left.as_secs() / (24 * 60 * 60);
    if days > 0 { format!("{days} d") } else { human(left) }
}

async fn revoke(args: &RevokeArgs) -> Exit {
    let client = match args.access.admin() {
        Ok(client) => client,
        Err(error) => return error.report(),
    };
    let mut lines = Vec::new();
    for id in &args.ids {
        lines.push(match policy::revoke_token(&client, id).await {
            Ok(Revoked { id, status }) => (id, status, None),
            Err(error) => (id.clone(), "error".to_owned(), Some(one_line(&error))),
        });
    }
    let data: Vec<_> =
        lines.iter().map(|(id, status, message)| json!({"id": id, "status": status, "message": message})).collect();
    if !args.access.printed_json(&json!({"data": data})) {
        let row = |(id, status, message): &(String, String, Option<String>)| {
            vec![id.clone(), status.clone(), message.clone().unwrap_or_default()]
        };
        let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
        output::line(&output::table(&["ID", "STATUS", "MESSAGE"], &rows));
    }
    match lines.iter().filter(|(_, status, _)| status == "revoked").count() {
        all if all == lines.len() => Exit::Done,
        0 => Exit::Failed,
        _ => Exit::Partly,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_token_ends_when_it_is_said() {
        for (text, seconds) in [("90s", 90), ("30min", 1_800), ("2m", 120), ("12h", 43_200), ("30d", 2_592_000)] {
            assert_eq!(expiry(text).unwrap().as_secs(), seconds, "{text}");
        }
        for text in ["", "0s", "30", "d", "-1d", "1.5d", "1w", "3651d", "99999999999999999999d", "1 d"] {
            assert!(expiry(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_new_token_is_not_shown_by_debug() {
        let made = NewToken { id: "id".to_owned(), text: "secret".to_owned().into(), expires_ms: None };
        assert_eq!(format!("{made:?}"), "NewToken(id)");
    }
}
