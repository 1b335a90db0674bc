//! A cluster that lost its quorum, and the one that an operator makes of what is left.

use super::colony::{ATTACKED, Colony, PERFORMING, key, until};
use consigner_chaos::fleet::{Seat, new_cluster_id};
use consigner_chaos::oracle::courier::Agent;
use consigner_chaos::oracle::{Content, Exchange, Message, Phase, Reply};
use consigner_rules::{Epoch, PublicKey};
use rustix::process::Signal;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Mainnet's genesis, in seconds since 1970, and the seconds of an epoch: the present by the network's clock.
const GENESIS: u64 = 1_606_824_023;
const EPOCH_SECONDS: u64 = 32 * 12;

/// How far behind the present an operator lets the new cluster begin: more than the margin that is asked for.
const MARGIN: Epoch = 4;

/// A backup and what opens it.
pub struct Backup {
    file: PathBuf,
    passphrase: PathBuf,
}

/// `cluster backup` from a running cluster, and `verify`.
pub async fn back_up(colony: &Colony, members: &[u64]) -> Backup {
    let (file, passphrase) = (colony.shelf("cluster.backup"), colony.shelf("backup.pass"));
    private(&passphrase, "six words that nobody would guess");
    let flags = ["--to", text(&file), "--passphrase-file", text(&passphrase)];
    colony.command(members, &["cluster", "backup"], &flags).await;
    let verify = ["cluster", "backup", "verify", text(&file), "--passphrase-file", text(&passphrase)];
    plainly(colony, &verify).await;
    Backup { file, passphrase }
}

/// The node sees nothing any more.
pub fn freeze(colony: &mut Colony, id: u64) {
    colony.node(id).signal(Signal::STOP).unwrap();
}

/// A new cluster of one node, made of the backup and the survivor's disk; it runs and signs nothing.
pub async fn restored(colony: &mut Colony, id: u64, backup: &Backup, survivor: u64) -> Seat {
    let mut seat = colony.fleet.seat(id);
    seat.cluster_id = new_cluster_id().unwrap();
    let config = colony.fleet.configure(&seat).unwrap();
    let disk = colony.disk(survivor);
    let (file, passphrase) = (text(&backup.file), text(&backup.passphrase));
    let sources = ["--backup", file, "--passphrase-file", passphrase, "--survivor", text(&disk)];
    let restore: Vec<&str> = ["cluster", "restore", "--config", text(&config)].into_iter().chain(sources).collect();
    let report = plainly(colony, &restore).await;
    println!("{report}");
    colony.start_at(&seat);
    let waits = async || {
        let reply = ask(colony, &seat, &fresh(colony, ATTACKED, present() + 100)).await;
        matches!(reply, Some(Reply::Answer { status: 503, body, .. })
            if String::from_utf8_lossy(&body).contains("cluster resume"))
    };
    until("a refusal to sign that names `cluster resume`", waits).await;
    seat
}

/// `cluster resume` at an epoch past everything; answers with the first epoch that may be signed then.
pub async fn resumed(colony: &Colony, seat: &Seat) -> Epoch {
    let epoch = present() + MARGIN;
    let signed = colony.courier.history().exchanges().into_iter().filter_map(|one| target(&one)).max();
    assert!(signed < Some(epoch), "the load of this test has left the present behind");
    colony.command(&[seat.node], &["cluster", "resume"], &["--at-epoch", &epoch.to_string()]).await;
    colony.until_ready(&[seat.node]).await;
    epoch
}

/// The newest message of every validator, and a rival of it, are refused now: nobody knows any more who signed what.
pub async fn nothing_from_before_is_signed(colony: &Colony, seat: &Seat) {
    let exchanges = colony.courier.history().exchanges();
    let keys: Vec<PublicKey> = (0..ATTACKED + PERFORMING).map(key).collect();
    for key in keys {
        let signed = exchanges.iter().filter(|one| one.message.validator == key && one.is_ok());
        let Some(newest) = signed.max_by_key(|one| one.sent_at) else { panic!("{key} never signed") };
        let rival = colony.chain.message(key, newest.message.content, u64::MAX - 1).unwrap();
        for message in [newest.message.clone(), Arc::new(rival)] {
            let reply = ask(colony, seat, &message).await;
            assert!(matches!(reply, Some(Reply::Answer { status: 412, .. })), "{message}: {reply:?}");
        }
    }
}

fn fresh(colony: &Colony, validator: u64, target: Epoch) -> Arc<Message> {
    let content = Content::Attestation { source: target - 1, target };
    Arc::new(colony.chain.message(key(validator), content, u64::MAX).unwrap())
}

async fn ask(colony: &Colony, seat: &Seat, message: &Arc<Message>) -> Option<Reply> {
    colony.courier.ask(seat.node, message, Agent::Unknown, Phase::Storm).await
}

fn target(exchange: &Exchange) -> Option<Epoch> {
    match exchange.message.content {
        Content::Attestation { target, .. } if exchange.is_ok() => Some(target),
        Content::Attestation { .. } | Content::Block { .. } | Content::Unslashable { .. } => None,
    }
}

/// The epoch by the network's clock.
fn present() -> Epoch {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    (since.as_secs() - GENESIS) / EPOCH_SECONDS
}

async fn plainly(colony: &Colony, arguments: &[&str]) -> String {
    let ended = colony.fleet.cli(&[1]).plainly(arguments).await.unwrap();
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}{}", ended.stdout, ended.stderr);
    ended.stdout
}

fn private(file: &Path, content: &str) {
    let mut options = std::fs::File::options();
    let mut file = options.write(true).create_new(true).mode(0o600).open(file).unwrap();
    std::io::Write::write_all(&mut file, content.as_bytes()).unwrap();
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
