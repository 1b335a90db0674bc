//! Nodes that join and leave a running cluster, by the commands of an operator.
#![allow(dead_code, reason = "each test uses a part")]

use super::colony::{Colony, until};
use consigner_chaos::fleet::Seat;
use serde_json::Value;

/// Starts node `id` with a join token and adds it through `members`, up to its vote.
pub async fn add(colony: &mut Colony, members: &[u64], id: u64) {
    let seat = newcomer(colony, members, id).await;
    let (peer, url) = (seat.peer_addr(), seat.api_url());
    let number = id.to_string();
    let more = ["--id", &number, "--peer-addr", &peer, "--api-url", &url, "--json"];
    colony.command(members, &["cluster", "add"], &more).await;
    let mut all = members.to_vec();
    all.push(id);
    colony.until_ready(&all).await;
    is_voter(colony, members, id).await;
}

/// Puts node `new` in the place of `old`, which is gone.
pub async fn replace(colony: &mut Colony, rest: &[u64], old: u64, new: u64) {
    let seat = newcomer(colony, rest, new).await;
    let (peer, url) = (seat.peer_addr(), seat.api_url());
    let (old, number) = (old.to_string(), new.to_string());
    let more = ["--id", &old, "--with", &number, "--peer-addr", &peer, "--api-url", &url, "--json"];
    colony.command(rest, &["cluster", "replace"], &more).await;
    let mut all = rest.to_vec();
    all.push(new);
    colony.until_ready(&all).await;
    is_voter(colony, rest, new).await;
}

/// Removes node `id` through `rest`, those that stay, and stops its process.
pub async fn remove(colony: &mut Colony, rest: &[u64], id: u64) {
    colony.command(rest, &["cluster", "remove"], &["--id", &id.to_string(), "--json"]).await;
    let gone = async || members(colony, rest).await.iter().all(|member| member["id"].as_u64() != Some(id));
    until("the removal in the status", gone).await;
    colony.dismiss(id).await;
}

/// A fresh node that waits to be added, with a token of its own.
async fn newcomer(colony: &mut Colony, members: &[u64], id: u64) -> Seat {
    let made = colony.command(members, &["cluster", "join-token"], &["--id", &id.to_string(), "--json"]).await;
    let made: Value = serde_json::from_str(&made.stdout).unwrap();
    let file = colony.shelf(&format!("join-{id}.token"));
    let token = made["token"].as_str().unwrap_or_else(|| panic!("no token in {made}"));
    private(&file, token);
    let seat = colony.seat(id).joining_by(&file);
    colony.start_at(&seat);
    let url = seat.api_url();
    let courier = colony.courier.clone();
    until("the newcomer's door", async || courier.look(&url, "/upcheck").await.is_ok()).await;
    seat
}

/// The members, as a node of the cluster tells.
pub async fn members(colony: &Colony, through: &[u64]) -> Vec<Value> {
    let ended = colony.fleet.cli(through).run(&["cluster", "status"], &["--json"]).await.unwrap();
    let status: Value = serde_json::from_str(&ended.stdout).unwrap_or_default();
    status["nodes"].as_array().cloned().unwrap_or_default()
}

async fn is_voter(colony: &Colony, through: &[u64], id: u64) {
    let is_voter = async || {
        let members = members(colony, through).await;
        let member = members.iter().find(|member| member["id"].as_u64() == Some(id));
        member.is_some_and(|member| member["status"]["role"].as_str().is_some_and(|role| role != "learner"))
    };
    until("the newcomer's vote", is_voter).await;
}

fn private(file: &std::path::Path, content: &str) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::File::options();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(file);
    std::io::Write::write_all(&mut opened.unwrap(), content.as_bytes()).unwrap();
}
