//! The outbox, and the archive in a database.

use super::{CHANNEL_BINDING, Form, Key, defaulted, optional};

pub(super) const ARCHIVE: &[Key] = &[
    defaulted(
        "archive.outbox-share-percent",
        Form::Id,
        "20",
        "What records that wait for the archive (or are it) may take of the data directory's file system",
    ),
    optional(
        "archive.retention-days",
        Form::Id,
        "Without a database: days after which records leave the node; for ever without it",
    ),
    optional(
        "archive.retention-bytes",
        Form::Bytes,
        "Without a database: how much of the records the node keeps; all without it",
    ),
    optional(
        "archive.postgres.url",
        Form::Text,
        "Database of the archive, postgres://USER@HOST:PORT/DATABASE; without it each node keeps its own records",
    ),
    optional("archive.postgres.ca", Form::Path, "CAs that may issue the server's certificate, PEM"),
    optional("archive.postgres.cert", Form::Path, "This node's client certificate chain for the database, PEM"),
    optional("archive.postgres.key", Form::Path, "Private key of that certificate, PEM"),
    optional("archive.postgres.password-file", Form::Path, "File with the password, read at each connect"),
    optional("archive.postgres.password-env", Form::Text, "In place of the file: name of an environment variable"),
    optional(
        "archive.postgres.channel-binding",
        Form::Word(CHANNEL_BINDING),
        "Whether the password exchange must be bound to the TLS channel; require with a password, if not set",
    ),
    defaulted(
        "archive.postgres.insecure-no-tls",
        Form::Switch,
        "false",
        "Whether the database is spoken to in the clear, without proof of who it is",
    ),
    defaulted("archive.postgres.batch-rows", Form::Id, "5000", "Records after which a batch is written"),
    defaulted("archive.postgres.flush-interval", Form::Duration, "2s", "Time after which a smaller one is written"),
    defaulted("archive.postgres.deadline", Form::Duration, "30s", "For each call of the database"),
];
