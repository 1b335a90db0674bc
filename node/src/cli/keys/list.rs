//! `consigner keys list`.

use crate::cli::access::AccessArgs;
use crate::cli::{Exit, output};
use crate::client::ClusterClient;
use crate::client::keys::{self, KeyEntry};
use crate::report::one_line;
use clap::Args;
use consigner_rules::PublicKey;
use serde::Serialize;
use std::collections::BTreeMap;

/// `consigner keys list`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ListArgs {
    #[command(flatten)]
    access: AccessArgs,
}

const EXAMPLES: &str = "Examples:
  consigner keys list --dir ./consigner-dev
  consigner keys list --endpoint https://node1:9000,https://node2:9000 --ca ca.pem --cert admin.pem \\
    --key admin-key.pem --json

Every endpoint is asked for its own view. Exit codes: 0 all answered, 1 none did, 3 some did.";

#[derive(Debug, Serialize)]
struct Listing {
    data: Vec<Listed>,
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Serialize)]
struct Listed {
    pubkey: PublicKey,
    data_key: String,
    sealer: Option<String>,
    open_on: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Endpoint {
    url: String,
    keys: Option<usize>,
    error: Option<String>,
}

/// Runs the command.
pub(super) async fn main(args: &ListArgs) -> Exit {
    let client = match args.access.admin() {
        Ok(client) => client,
        Err(error) => return error.report(),
    };
    let listing = listing(&client).await;
    if !args.access.printed_json(&listing) {
        print(&listing);
    }
    let answered = listing.endpoints.iter().filter(|endpoint| endpoint.error.is_none()).count();
    match answered {
        0 => Exit::Failed,
        all if all == listing.endpoints.len() => Exit::Done,
        _ => Exit::Partly,
    }
}

async fn listing(client: &ClusterClient) -> Listing {
    let asked = client.endpoints().iter().map(|url| async move { (url, keys::list(&client.only(url)).await) });
    let mut endpoints = Vec::new();
    let mut merged: BTreeMap<PublicKey, Listed> = BTreeMap::new();
    for (url, answer) in futures::future::join_all(asked).await {
        match answer {
            Ok(found) => {
                endpoints.push(Endpoint { url: url.clone(), keys: Some(found.len()), error: None });
                found.into_iter().for_each(|entry| merge(&mut merged, url, entry));
            }
            Err(error) => {
                endpoints.push(Endpoint { url: url.clone(), keys: None, error: Some(one_line(&error)) });
            }
        }
    }
    Listing { data: merged.into_values().collect(), endpoints }
}

fn merge(merged: &mut BTreeMap<PublicKey, Listed>, url: &str, entry: KeyEntry) {
    let KeyEntry { pubkey, data_key, sealer, open } = entry;
    let listed = merged.entry(pubkey).or_insert(Listed { pubkey, data_key, sealer, open_on: Vec::new() });
    if open {
        listed.open_on.push(url.to_owned());
    }
}

fn print(listing: &Listing) {
    let asked = listing.endpoints.len();
    let row = |key: &Listed| {
        let open_on = if key.open_on.len() == asked { "all".to_owned() } else { key.open_on.join(" ") };
        vec![key.pubkey.to_string(), key.data_key.clone(), key.sealer.clone().unwrap_or_default(), open_on]
    };
    let rows: Vec<Vec<String>> = listing.data.iter().map(row).collect();
    output::line(&output::table(&["VALIDATOR", "DATA KEY", "SEALER", "OPEN ON"], &rows));
    output::line(&format!("{} keys", listing.data.len()));
    for Endpoint { url, error, .. } in &listing.endpoints {
        if let Some(error) = error {
            output::line(&format!("{url}: {error}"));
        }
    }
}
