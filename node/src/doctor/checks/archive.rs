//! The archive: how the database is spoken to, whether records are kept, whether the export keeps up.

use super::super::finding::Verdict;
use consigner_api::{ArchiveView, ExporterState};
use consigner_raft::OutboxLevel;

/// Behind this the database is away, or too slow for what is signed.
const LAG_WARN_S: u64 = 300;

/// What a configuration says of its archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// `archive.postgres.url` is set.
    pub database: bool,
    /// `archive.postgres.insecure-no-tls`.
    pub insecure: bool,
    /// A client certificate is shown.
    pub certificate: bool,
    /// There is a password.
    pub password: bool,
    /// `archive.postgres.channel-binding: prefer`.
    pub unbound: bool,
    /// Rows leave the node after a time or an amount.
    pub retention: bool,
}

/// TLS, certificate and password on the way to the database.
#[must_use]
pub fn wire(settings: &Settings) -> Verdict {
    if !settings.database {
        return Verdict::skip("no archive in a database: nothing goes over the wire");
    }
    if settings.insecure {
        return Verdict::fail(
            "archive.postgres.insecure-no-tls: whoever is in between reads and changes the archive",
            "TLS on the server, archive.postgres.ca; remove the switch",
        );
    }
    let certificate = if settings.certificate {
        Verdict::pass("")
    } else {
        Verdict::warn(
            "no client certificate for the database: a stolen password is enough to write",
            "archive.postgres.cert and key, and clientcert=verify-full in pg_hba.conf",
        )
    };
    let binding = if settings.password && settings.unbound {
        Verdict::warn(
            "archive.postgres.channel-binding is prefer: who holds a certificate of the CA could pass the password on",
            "require, unless PgBouncer is in between, which has none",
        )
    } else {
        Verdict::pass("")
    };
    Verdict::worst([certificate, binding], "verified certificate and name; this node shows its own")
}

/// Whether what was signed is kept anywhere for good.
#[must_use]
pub fn kept(settings: &Settings) -> Verdict {
    match (settings.database, settings.retention) {
        (true, _) => Verdict::pass("in a database; the nodes drop rows only when it has them"),
        (false, false) => Verdict::pass("in this node's own segments, without an end"),
        (false, true) => Verdict::warn(
            "records leave this node after archive.retention-days or -bytes, and are nowhere else",
            "archive.postgres, or copy the segments away; without either: no retention",
        ),
    }
}

/// Whether the export keeps up, by every node that answers; `None`: a node that does not say.
#[must_use]
pub fn keeps_up(views: &[(String, Option<ArchiveView>)]) -> Verdict {
    if views.iter().all(|(_, view)| view.is_none()) {
        return Verdict::skip("no node says how its archive stands");
    }
    let look = |(node, view): &(String, Option<ArchiveView>)| match view {
        Some(view) => Verdict::worst([export_of(node, view), outbox_of(node, view)], ""),
        None => Verdict::skip(format!("{node} does not say how its archive stands")),
    };
    let looks: Vec<Verdict> = views.iter().map(look).collect();
    let known = views.iter().filter_map(|(_, view)| view.as_ref());
    let lag = known.clone().filter_map(|view| view.exporter.as_ref()).map(|exporter| exporter.lag_entries).max();
    let good = match lag {
        Some(lag) => format!("the database is {lag} entries behind at most"),
        None => "each node keeps its own".to_owned(),
    };
    Verdict::worst(looks, good)
}

fn export_of(node: &str, view: &ArchiveView) -> Verdict {
    let Some(exporter) = &view.exporter else { return Verdict::pass("") };
    let fix = "`consigner archive status`; docs/ARCHIVE.md has what to do about each class";
    match (&exporter.trouble, exporter.state) {
        (Some(trouble), _) => Verdict::warn(format!("{node}: [{}] {}", trouble.class, trouble.reason), fix),
        (None, ExporterState::Paused) => {
            let reason = exporter.reason.as_deref().unwrap_or("no reason given");
            Verdict::warn(format!("{node}: the export pauses: {reason}"), fix)
        }
        (None, ExporterState::Following | ExporterState::Exporting | ExporterState::Waiting) => {
            if exporter.lag_seconds > LAG_WARN_S {
                let seconds = exporter.lag_seconds;
                return Verdict::warn(format!("{node}: the database is {seconds} seconds behind"), fix);
            }
            Verdict::pass("")
        }
    }
}

fn outbox_of(node: &str, view: &ArchiveView) -> Verdict {
    let fix = "bring the database back, make room, or raise archive.outbox-share-percent";
    if !view.outbox.holes.is_empty() {
        return Verdict::warn(format!("{node}: rows are missing in its outbox"), "leave the other nodes running");
    }
    match view.outbox.level {
        OutboxLevel::Full if view.exporter.is_some() => {
            Verdict::fail(format!("{node}: its outbox is full: it takes no proposals"), fix)
        }
        OutboxLevel::High | OutboxLevel::Full => {
            Verdict::warn(format!("{node}: its outbox has 80 % of its share of the disk, or more"), fix)
        }
        OutboxLevel::Half | OutboxLevel::Fine => Verdict::pass(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;
    use consigner_api::{ArchiveTrouble, ExporterStatus};
    use consigner_raft::OutboxStatus;

    #[test]
    fn weaker_ways_to_the_database_are_told() {
        let strong = Settings { database: true, certificate: true, password: true, ..Settings::default() };
        for (settings, expected) in [
            (Settings::default(), Status::Skip),
            (strong, Status::Pass),
            (Settings { insecure: true, ..strong }, Status::Fail),
            (Settings { certificate: false, ..strong }, Status::Warn),
            (Settings { unbound: true, ..strong }, Status::Warn),
            (Settings { unbound: true, password: false, ..strong }, Status::Pass),
        ] {
            assert_eq!(wire(&settings).status, expected, "{settings:?}");
        }
        assert_eq!(kept(&strong).status, Status::Pass);
        assert_eq!(kept(&Settings::default()).status, Status::Pass);
        assert_eq!(kept(&Settings { retention: true, ..Settings::default() }).status, Status::Warn);
    }

    fn view(lag_seconds: u64, trouble: bool, level: OutboxLevel) -> (String, Option<ArchiveView>) {
        let trouble = trouble.then(|| ArchiveTrouble {
            class: "tls".to_owned(),
            reason: "expired".to_owned(),
            since_ms: 1,
            last_ms: 2,
            times: 3,
        });
        let exporter = ExporterStatus {
            state: ExporterState::Exporting,
            reason: None,
            database: "db".to_owned(),
            insecure: false,
            head: None,
            lag_entries: 4,
            lag_seconds,
            trouble,
            last_trouble: None,
        };
        let view = ArchiveView {
            node: 1,
            leader: true,
            mode: "postgres".to_owned(),
            mark: None,
            applied_index: 9,
            outbox: OutboxStatus { level, ..OutboxStatus::default() },
            exporter: Some(exporter),
        };
        ("node1".to_owned(), Some(view))
    }

    #[test]
    fn an_export_that_does_not_keep_up_is_told() {
        use OutboxLevel::{Fine, Full, High};
        for (views, expected) in [
            (vec![], Status::Skip),
            (vec![("node1".to_owned(), None)], Status::Skip),
            (vec![view(1, false, Fine)], Status::Pass),
            (vec![view(301, false, Fine)], Status::Warn),
            (vec![view(1, true, Fine)], Status::Warn),
            (vec![view(1, false, High)], Status::Warn),
            (vec![view(1, false, Fine), view(1, true, Full)], Status::Fail),
        ] {
            let verdict = keeps_up(&views);
            assert_eq!(verdict.status, expected, "{verdict:?}");
        }
    }
}
