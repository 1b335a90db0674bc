//! The URL of a database. What it says about TLS must not be weaker than what was asked for beside it.

use std::str::FromStr as _;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::{ConnectFault, ServerProof};

pub(super) fn config(url: &str, server: &ServerProof) -> Result<Config, ConnectFault> {
    let refuse = |why: &str| Err(ConnectFault::Url(why.to_owned()));
    if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
        return refuse(
            "it must be postgres://USER@HOST:PORT/DATABASE (a JDBC URL without its \"jdbc:\", with the user)",
        );
    }
    let (url, sslmode) = without_sslmode(url);
    let weak = sslmode.as_deref().is_some_and(|mode| mode != "verify-full" && mode != "require");
    if weak && *server != ServerProof::None {
        return refuse("its sslmode asks for less than verify-full; leave it out");
    }
    // The parser's own error could repeat a part of the URL, in which somebody may have put a password.
    let Ok(config) = Config::from_str(&url) else {
        return refuse(
            "it is not understood as postgres://USER@HOST:PORT/DATABASE; of the parameters behind a \"?\", \
             certificates and passwords have settings of their own",
        );
    };
    if config.get_password().is_some() {
        return refuse(
            "it holds a password, which everybody on this machine can read in the list of processes: put it \
             into a file and change it",
        );
    }
    if config.get_user().is_none() || config.get_dbname().is_none() || config.get_hosts().is_empty() {
        return refuse("it must name user, host and database");
    }
    let local = config.get_hosts().iter().any(|host| matches!(host, Host::Unix(_)));
    if local && *server != ServerProof::None {
        return refuse("TLS cannot be spoken over a local socket; name a host");
    }
    Ok(config)
}

/// The URL without `sslmode`, of which the driver does not know the strict values.
fn without_sslmode(url: &str) -> (String, Option<String>) {
    let Some((base, query)) = url.split_once('?') else { return (url.to_owned(), None) };
    let (modes, others): (Vec<&str>, Vec<&str>) = query.split('&').partition(|pair| pair.starts_with("sslmode="));
    let mode = modes.last().and_then(|pair| pair.split_once('=')).map(|(_, mode)| mode.to_owned());
    let url = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
    (url, mode)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;

    #[test]
    fn a_url_names_user_host_and_database_and_asks_for_nothing_weak() {
        let strict = ServerProof::Tls { ca: "ca.pem".into(), identity: None };
        let good = "postgres://signer@db.example:5433/web3signer";
        for url in [good.to_owned(), format!("{good}?sslmode=verify-full"), format!("{good}?sslmode=require")] {
            let Ok(config) = config(&url, &strict) else { panic!("{url}") };
            assert_eq!((config.get_user(), config.get_dbname()), (Some("signer"), Some("web3signer")), "{url}");
        }
        for (url, named) in [
            ("jdbc:postgresql://db/web3signer", "JDBC"),
            ("postgres://signer:hunter2@db/web3signer", "password"),
            ("postgres://db/web3signer", "user, host and database"),
            ("postgres://signer@db/web3signer?sslmode=disable", "sslmode"),
            ("postgres://signer@db/web3signer?sslmode=prefer", "sslmode"),
            ("postgres://signer@db/web3signer?sslrootcert=/x", "settings of their own"),
            ("postgres://signer@%2Frun%2Fpostgresql/web3signer", "local socket"),
        ] {
            let Err(ConnectFault::Url(text)) = config(url, &strict) else { panic!("{url}") };
            assert!(text.contains(named) && !text.contains("hunter2"), "{url}: {text}");
        }
        assert!(config("postgres://signer@%2Frun%2Fpostgresql/web3signer", &ServerProof::None).is_ok());
    }
}
