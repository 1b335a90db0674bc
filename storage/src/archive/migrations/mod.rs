//! The migrations, in order, as they are compiled in. Forward only: a change is a new file, never an edit.

use aws_lc_rs::digest;

/// One step of the schema.
pub(super) struct Migration {
    /// Its number, from 1, without holes.
    pub(super) version: i32,
    /// What it does, for people.
    pub(super) name: &'static str,
    /// Its statements.
    pub(super) sql: &'static str,
}

impl Migration {
    /// SHA-256 of its statements.
    pub(super) fn checksum(&self) -> Vec<u8> {
        digest::digest(&digest::SHA256, self.sql.as_bytes()).as_ref().to_vec()
    }
}

/// All of them.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "schema", sql: include_str!("0001_schema.sql") },
    Migration { version: 2, name: "views", sql: include_str!("0002_views.sql") },
];

/// Schemas beside `consigner` that hold views for readers.
pub(super) const VIEW_SCHEMAS: &[&str] = &["consigner_view", "web3signer"];

/// The version that this binary reads and writes.
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "a handful")]
pub(super) const VERSION: i32 = MIGRATIONS.len() as i32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_no_holes() {
        assert!((1..).zip(MIGRATIONS).all(|(number, migration)| migration.version == number));
    }
}
