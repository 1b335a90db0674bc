//! The connection to Web3Signer's database, with the errors of this reader.

use tokio_postgres::config::ChannelBinding;

use super::{Web3SignerDb, Web3SignerError};
use crate::postgres::{self, ConnectFault, Session, Target};

/// What `pg_stat_activity` shows.
const APPLICATION: &str = "consigner history import";

pub(super) async fn connect(db: &Web3SignerDb) -> Result<Session, Web3SignerError> {
    let target = Target {
        url: &db.url,
        password: db.password.as_ref(),
        server: &db.server,
        channel_binding: ChannelBinding::Prefer,
        application: APPLICATION,
    };
    postgres::connect(&target).await.map_err(|fault| match fault {
        ConnectFault::Url(why) => Web3SignerError::Url(why),
        ConnectFault::File { path, problem } => Web3SignerError::Tls { path, problem },
        ConnectFault::Connect(source) => Web3SignerError::Connect(source),
    })
}
