//! The way to an archive in the test's Postgres; other crates' tests include this file beside that of the server.

use super::postgres::Postgres;
use consigner_storage::archive::{ArchiveDb, ChannelBinding, PasswordSource, ServerProof};
use std::time::Duration;

/// Straight, with everything as it should be.
pub fn archive_db(postgres: &Postgres, role: &str, database: &str, deadline: Duration) -> ArchiveDb {
    let identity = (postgres.path(&format!("{role}.pem")), postgres.path(&format!("{role}-key.pem")));
    ArchiveDb {
        url: postgres.url(role, database),
        password: PasswordSource::File(postgres.path("password")),
        server: ServerProof::Tls { ca: postgres.path("ca.pem"), identity: Some(identity) },
        channel_binding: ChannelBinding::Require,
        deadline,
        application: "consigner test",
    }
}
