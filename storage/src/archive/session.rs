//! What every call shares: a transaction with limits, a deadline, and the reading of the server's complaints.

use std::error::Error as _;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, IsolationLevel, Row, Transaction};

use super::{ArchiveError, SchemaFault, ServerFault};
use crate::postgres::Session;

/// Limits of this transaction only: a pooler may give the next one to another server process. Nobody may hold the locks
/// of a transaction that its client forgot. A commit that is reported is on the server's disk (and, where the operator
/// set `remote_apply`, visible on the standbys): the cluster forgets its own copy once it is.
const LIMITS: &str = "SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $1, true),
    set_config('idle_in_transaction_session_timeout', $1, true),
    set_config('synchronous_commit',
        CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true)";

/// A value for a question, with the type that the server shall take it for.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// The complaint of a server that lacks the tables asked for.
const UNKNOWN: [SqlState; 4] = [
    SqlState::UNDEFINED_TABLE,
    SqlState::INVALID_SCHEMA_NAME,
    SqlState::UNDEFINED_FUNCTION,
    SqlState::UNDEFINED_COLUMN,
];

/// The server, or the pooler, cannot serve anybody now.
const AWAY: [SqlState; 8] = [
    SqlState::ADMIN_SHUTDOWN,
    SqlState::CRASH_SHUTDOWN,
    SqlState::CANNOT_CONNECT_NOW,
    SqlState::TOO_MANY_CONNECTIONS,
    SqlState::CONNECTION_EXCEPTION,
    SqlState::CONNECTION_FAILURE,
    SqlState::CONNECTION_DOES_NOT_EXIST,
    SqlState::INVALID_CATALOG_NAME,
];

/// The server gave up waiting, by the limits that it was given.
const LATE: [SqlState; 3] =
    [SqlState::QUERY_CANCELED, SqlState::LOCK_NOT_AVAILABLE, SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT];

/// A call that came to an end, or did not. What missed its limit leaves a closed connection behind: nobody knows what
/// the server still does for it.
pub(super) fn ended<T>(
    session: &Session,
    what: &'static str,
    limit: Duration,
    answer: Result<Result<T, ArchiveError>, tokio::time::error::Elapsed>,
) -> Result<T, ArchiveError> {
    answer.unwrap_or_else(|_| {
        session.close();
        Err(ArchiveError::Deadline { what, limit })
    })
}

/// As the server has it: 0 would be none at all, and 31 bits are the most.
fn milliseconds(limit: Duration) -> String {
    limit.as_millis().clamp(1, i32::MAX.cast_unsigned().into()).to_string()
}

/// Begins a transaction whose limits end with it. Deliberately without a word about writing, so that an operator's
/// `default_transaction_read_only` holds.
pub(super) async fn begin(client: &mut Client, limit: Duration) -> Result<Transaction<'_>, ArchiveError> {
    let what = "begin a transaction";
    let builder = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted);
    let transaction = builder.start().await.map_err(|error| failed(what, limit, error))?;
    let limits = milliseconds(limit);
    ask(&transaction, what, limit, LIMITS, &[(&limits, Type::TEXT)]).await?;
    Ok(transaction)
}

/// Begins a transaction that sees one moment for as long as it lasts, and can change nothing. Its limits are those of
/// [`begin`]: for each question, and for the pauses between them, not for the whole.
pub(super) async fn begin_read(client: &mut Client, limit: Duration) -> Result<Transaction<'_>, ArchiveError> {
    let what = "begin a transaction that reads";
    let builder = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
    let transaction = builder.start().await.map_err(|error| failed(what, limit, error))?;
    let limits = milliseconds(limit);
    ask(&transaction, what, limit, LIMITS, &[(&limits, Type::TEXT)]).await?;
    Ok(transaction)
}

/// Asks, with an unnamed statement: a pooler in transaction mode knows no others.
pub(super) async fn ask(
    transaction: &Transaction<'_>,
    what: &'static str,
    limit: Duration,
    question: &str,
    parameters: &[Parameter<'_>],
) -> Result<Vec<Row>, ArchiveError> {
    transaction.query_typed(question, parameters).await.map_err(|error| failed(what, limit, error))
}

/// A column of an answer.
pub(super) fn column<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, place: usize) -> Result<T, ArchiveError> {
    row.try_get(place).map_err(|error| {
        let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        ArchiveError::Content(format!("{}: {why}", row.columns().get(place).map_or("?", |column| column.name())))
    })
}

/// A hash, or another text of fixed length.
pub(super) fn fixed<const N: usize>(row: &Row, place: usize) -> Result<[u8; N], ArchiveError> {
    let bytes: &[u8] = column(row, place)?;
    bytes.try_into().map_err(|_| ArchiveError::Content(format!("{} bytes where {N} should be", bytes.len())))
}

/// What a failed question means.
pub(super) fn failed(what: &'static str, limit: Duration, source: Error) -> ArchiveError {
    let Some(code) = source.code() else {
        return if of_connection(&source) {
            ArchiveError::Unreachable(source)
        } else {
            ArchiveError::Query { what, source }
        };
    };
    if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        ArchiveError::ReadOnly(source)
    } else if *code == SqlState::DISK_FULL {
        ArchiveError::Full(source)
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        ArchiveError::Denied { what, source }
    } else if UNKNOWN.contains(code) {
        ArchiveError::Schema(SchemaFault::Missing)
    } else if LATE.contains(code) {
        ArchiveError::Deadline { what, limit }
    } else if AWAY.contains(code) || of_pooler(&source) {
        ArchiveError::Unreachable(source)
    } else {
        ArchiveError::Query { what, source }
    }
}

/// What a failed connect means.
pub(super) fn not_connected(limit: Duration, source: Error) -> ArchiveError {
    if let Some(fault) = tls_fault(&source) {
        return match fault {
            Fault::Server(fault) => ArchiveError::Server { fault, source },
            Fault::Client(reason) => ArchiveError::ClientCertificate { reason, source },
        };
    }
    match source.as_db_error().map(|error| (error.code(), error.message())) {
        Some((_, text)) if text.contains("valid client certificate") => {
            ArchiveError::ClientCertificate { reason: "it asks for one and got none that it knows", source }
        }
        Some((code, text)) if code.code().starts_with("28") || text.contains("authentication failed") => {
            ArchiveError::Login(source)
        }
        // What the driver says when the exchange of passwords cannot begin; its kinds are private.
        None if source.to_string() == "authentication error" => ArchiveError::Exchange(source),
        None if source.source().is_some_and(|inner| inner.to_string() == "password missing") => {
            ArchiveError::Password("the server asks for one, and none is configured".to_owned())
        }
        Some(_) | None => failed("let this node in", limit, source),
    }
}

/// `PgBouncer` speaks of its own troubles (no server, a server that refuses it) under this code.
fn of_pooler(error: &Error) -> bool {
    error.code() == Some(&SqlState::PROTOCOL_VIOLATION)
}

fn of_connection(error: &Error) -> bool {
    let io = error.source().is_some_and(|source| source.downcast_ref::<std::io::Error>().is_some());
    // A kind that the driver keeps to itself.
    io || error.is_closed() || error.to_string() == "timeout waiting for server"
}

/// Who finds fault with whose certificate.
enum Fault {
    Server(ServerFault),
    Client(&'static str),
}

fn tls_fault(error: &Error) -> Option<Fault> {
    let io = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    let inner = io.and_then(std::io::Error::get_ref).and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(inner) = inner {
        return Some(rustls_fault(inner));
    }
    // A kind that the driver keeps to itself: the server answered "no" to the question for TLS.
    let refused = error.source().is_some_and(|source| source.to_string() == "server does not support TLS");
    refused.then_some(Fault::Server(ServerFault::NoTls))
}

fn rustls_fault(error: &rustls::Error) -> Fault {
    if let rustls::Error::InvalidCertificate(fault) = error {
        return Fault::Server(certificate_fault(fault));
    }
    if let rustls::Error::AlertReceived(alert) = error
        && let Some(reason) = alert_reason(*alert)
    {
        return Fault::Client(reason);
    }
    Fault::Server(ServerFault::Handshake)
}

fn certificate_fault(fault: &CertificateError) -> ServerFault {
    if matches!(fault, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) {
        ServerFault::OtherName
    } else if matches!(fault, CertificateError::Expired | CertificateError::ExpiredContext { .. }) {
        ServerFault::Expired
    } else if matches!(fault, CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) {
        ServerFault::NotYetValid
    } else if matches!(fault, CertificateError::UnknownIssuer) {
        ServerFault::UnknownIssuer
    } else {
        ServerFault::Certificate
    }
}

fn alert_reason(alert: AlertDescription) -> Option<&'static str> {
    [
        (AlertDescription::CertificateRequired, "it asks for one and got none"),
        // How TLS 1.2 says the same.
        (AlertDescription::HandshakeFailure, "it asks for one and got none that it knows"),
        (AlertDescription::UnknownCA, "it is of a CA that the server does not know"),
        (AlertDescription::CertificateExpired, "it has expired"),
        (AlertDescription::CertificateRevoked, "it was revoked"),
        (AlertDescription::BadCertificate, "the server finds it bad"),
        (AlertDescription::UnsupportedCertificate, "it is of a kind that the server does not support"),
        (AlertDescription::CertificateUnknown, "the server does not say why"),
        (AlertDescription::AccessDenied, "the server denies access to it"),
        (AlertDescription::DecryptError, "its signature cannot be checked"),
    ]
    .into_iter()
    .find_map(|(known, reason)| (known == alert).then_some(reason))
}
