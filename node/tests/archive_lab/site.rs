//! A cluster in this process, its exporters, their database.

use crate::archive_db::archive_db;
use crate::postgres::{OWNER, Postgres, READER, WRITER};
use crate::support::{DEADLINE, Lab, attestation, sign, steady, until};
use consigner_api::{ArchiveAccess, ArchiveFault, ArchiveTrouble, Backfilled, ExporterState, ExporterStatus};
use consigner_node::archive::{DatabaseArchive, start};
use consigner_node::config::archive::{PostgresConfig, PostgresPassword, PostgresServer};
use consigner_raft::{Cluster, DiskOptions, Leadership, OutboxOptions};
use consigner_storage::archive::{Archive, Roles, VerifyReport, migrate, verify};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::task::AbortOnDropHandle;

/// What empties the archive.
const LOST: &str = "TRUNCATE consigner.batches, consigner.gaps, consigner.baselines, consigner.signed_blocks,
    consigner.signed_attestations, consigner.signed_exits, consigner.refusals, consigner.key_events,
    consigner.policy_events, consigner.cluster_events";

/// An exporter, until it is dropped.
pub struct Running {
    pub archive: Arc<DatabaseArchive>,
    _task: AbortOnDropHandle<()>,
}

pub struct Site<'p> {
    pub postgres: &'p Postgres,
    pub lab: Lab,
    pub exporters: BTreeMap<u64, Running>,
    database: &'static str,
    config: PostgresConfig,
    /// The greatest target that was signed.
    target: u64,
}

impl<'p> Site<'p> {
    /// A cluster of nodes with these outboxes, whose first node leads; those in `exporting` export.
    pub async fn start(
        postgres: &'p Postgres,
        database: &'static str,
        outboxes: BTreeMap<u64, OutboxOptions>,
        exporting: &[u64],
        disk: Option<DiskOptions>,
    ) -> Self {
        let mut lab = Lab::new(outboxes.len() as u64, 10);
        lab.timing = steady();
        lab.disks = disk.into_iter().flat_map(|disk| outboxes.keys().map(move |id| (*id, disk.clone()))).collect();
        lab.outboxes = outboxes;
        lab.found().await;
        // The mark is a command of newer rules than a cluster is born with.
        until("the rules", || lab.nodes.values().all(|node| node.cluster.read(|state| state.rules_version()) >= 3))
            .await;
        postgres.archive(database);
        let config = config(postgres, database);
        let mut site = Self { postgres, lab, exporters: BTreeMap::new(), database, config, target: 0 };
        let roles = Roles { writer: Some(WRITER.to_owned()), reader: Some(READER.to_owned()) };
        migrate::apply(&mut site.connect(OWNER).await, &roles).await.unwrap();
        site.lead(1).await;
        for id in exporting {
            site.export(*id);
        }
        site
    }

    pub fn cluster(&self, id: u64) -> &Cluster {
        self.lab.cluster(id)
    }

    /// Starts the exporter of a node.
    pub fn export(&mut self, id: u64) {
        let (archive, run) = start(&self.config, self.cluster(id).clone());
        let task = AbortOnDropHandle::new(tokio::spawn(run));
        self.exporters.insert(id, Running { archive, _task: task });
    }

    /// Makes a node the leader.
    pub async fn lead(&self, id: u64) {
        let began = Instant::now();
        while self.cluster(id).leadership() != Leadership::This {
            assert!(began.elapsed() < DEADLINE, "node {id} does not lead");
            let leader = self.lab.leader().await;
            let _moved_or_again = self.cluster(leader).hand_over(Some(id), Duration::from_secs(5)).await;
            self.cluster(id).barrier(DEADLINE).await.unwrap();
        }
    }

    /// So many attestations more, through this node.
    pub async fn attest(&mut self, id: u64, count: u64) {
        for _ in 0..count {
            self.target += 1;
            sign(self.cluster(id), &attestation(self.target - 1, self.target, 1)).await.unwrap();
        }
    }

    /// The target of the newest attestation.
    pub const fn newest(&self) -> u64 {
        self.target
    }

    pub fn sql(&self, text: &str) -> String {
        self.postgres.sql(self.database, text).trim().to_owned()
    }

    /// How many votes there are; one whose answer was lost may stand there twice, as a repeat.
    pub fn targets(&self) -> u64 {
        self.sql("SELECT count(DISTINCT target_epoch) FROM consigner.signed_attestations").parse().unwrap()
    }

    /// Waits for what follows the exporter's next try: the longer a trouble lasts, the longer are the pauses.
    pub async fn later(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < 3 * DEADLINE, "waited too long for {what}: {:?}", self.statuses());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn statuses(&self) -> Vec<ExporterStatus> {
        self.exporters.values().map(|running| running.archive.status()).collect()
    }

    /// A backfill for which all members were heard: one that just started may not be reached at first.
    pub async fn filled_by_all(&self, id: u64) -> Backfilled {
        let began = Instant::now();
        loop {
            match self.backfill(id, false).await {
                Ok(done) => return done,
                Err(reason) => assert!(reason.contains("may have some") && began.elapsed() < DEADLINE, "{reason}"),
            }
        }
    }

    /// The database loses everything.
    pub fn lose(&self) {
        self.sql(LOST);
        self.postgres.end_sessions();
    }

    /// Everything that was recorded is in the database, and these nodes know.
    pub async fn archived(&self, leader: u64, nodes: &[u64]) {
        let exports = || self.exporters[&leader].archive.status().state == ExporterState::Exporting;
        let purged = |id: &u64| self.cluster(*id).outbox_status().rows == 0;
        let newest = format!(
            "SELECT count(DISTINCT target_epoch) FROM consigner.signed_attestations WHERE target_epoch = {}",
            self.target
        );
        self.later("the newest row", || self.sql(&newest) == "1").await;
        self.later("the purge", || exports() && nodes.iter().all(purged)).await;
    }

    /// What keeps the exporter of this node, or kept it last, when it is of this class.
    pub async fn troubled(&self, id: u64, class: &str) -> ArchiveTrouble {
        let mut found = None;
        until(class, || {
            let status = self.exporters[&id].archive.status();
            found = status.trouble.into_iter().chain(status.last_trouble).find(|trouble| trouble.class == class);
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// Asked again while an election goes on, or the database gives no answer: nothing else may hide behind that.
    pub async fn backfill(&self, id: u64, accept_gap: bool) -> Result<Backfilled, String> {
        let began = Instant::now();
        loop {
            match self.exporters[&id].archive.backfill(accept_gap).await {
                Ok(done) => return Ok(done),
                Err(ArchiveFault::Refused(reason)) => return Err(reason),
                Err(again) => assert!(began.elapsed() < DEADLINE, "{again}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The chain holds, and ends at the cluster's mark.
    pub async fn verified(&self, id: u64) -> VerifyReport {
        let mut archive = self.connect(READER).await;
        let lineages = archive.lineages().await.unwrap();
        let report = verify(&mut archive, &lineages[0], None, |_| {}).await.unwrap();
        assert!(report.is_complete(), "{report:#?}");
        assert_eq!(report.head, self.cluster(id).archive_mark());
        report
    }

    async fn connect(&self, role: &str) -> Archive {
        archive_db(self.postgres, role, self.database, DEADLINE).connect().await.unwrap()
    }
}

fn config(postgres: &Postgres, database: &str) -> PostgresConfig {
    let password = postgres.path("password");
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
    let identity = Some((postgres.path(&format!("{WRITER}.pem")), postgres.path(&format!("{WRITER}-key.pem"))));
    PostgresConfig {
        url: postgres.url(WRITER, database),
        server: PostgresServer::Verified { ca: postgres.path("ca.pem"), identity },
        password: PostgresPassword::File(password),
        binds_channel: true,
        // Few, so that there is more than one batch of everything.
        batch_rows: 5,
        flush_interval: Duration::from_millis(50),
        // A loaded machine must be able to connect within it; a hanging database costs as much.
        deadline: Duration::from_secs(3),
    }
}
