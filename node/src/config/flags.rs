//! The flags of `consigner run`: one per key, made from the table, and Web3Signer's names where the meaning is the same.
//!
//! In: a `clap` command. Out: [`FlagValue`]s in the order native flags, then Web3Signer's.

use super::keys::{self, KEYS, Key};
use super::settings::{FlagValue, Target};
use clap::{Arg, ArgMatches, Command};

/// Web3Signer's flags (and `--data-path`), each with the key that it sets.
const WEB3SIGNER: &[(&str, Option<char>, &str, Part)] = &[
    ("http-listen-host", None, "api.listen", Part::Host),
    ("http-listen-port", None, "api.listen", Part::Port),
    ("http-host-allowlist", None, "api.host-allowlist", Part::Whole),
    ("idle-connection-timeout-seconds", None, "api.idle-timeout", Part::Seconds),
    ("data-path", None, "node.data-dir", Part::Whole),
    ("logging", Some('l'), "log.level", Part::Whole),
    ("logging-format", None, "log.format", Part::Whole),
    ("tls-keystore-file", None, "api.tls.pkcs12", Part::Whole),
    ("tls-keystore-password-file", None, "api.tls.pkcs12-password-file", Part::Whole),
    ("tls-known-clients-file", None, "api.tls.known-clients", Part::Whole),
    ("tls-allow-any-client", None, "api.tls.known-clients", Part::Refused(ANY_CLIENT)),
    ("tls-allow-ca-clients", None, "api.tls.client-ca", Part::Refused(CA_CLIENTS)),
    ("metrics-host", None, "metrics.listen", Part::Host),
    ("metrics-port", None, "metrics.listen", Part::Port),
    ("key-config-path", None, "keys.source.key-config-path", Part::Whole),
    ("key-store-path", None, "keys.source.key-config-path", Part::Whole),
    ("keystores-path", None, "keys.source.keystores-path", Part::Whole),
    ("keystores-passwords-path", None, "keys.source.keystores-passwords-path", Part::Whole),
    ("keystores-password-file", None, "keys.source.keystores-password-file", Part::Whole),
    ("aws-secrets-enabled", None, "keys.source.aws-secrets.enabled", Part::Switch),
    ("aws-secrets-region", None, "keys.source.aws-secrets.region", Part::Whole),
    ("aws-secrets-prefixes-filter", None, "keys.source.aws-secrets.prefixes-filter", Part::Whole),
    ("aws-secrets-tag", None, "keys.source.aws-secrets.tags", Part::Whole),
    ("aws-endpoint-override", None, "keys.source.aws-secrets.endpoint", Part::Whole),
    ("key-manager-api-enabled", None, "keymanager.enabled", Part::Switch),
    ("enable-key-manager-api", None, "keymanager.enabled", Part::Switch),
];

/// Why a client must be vouched for.
const ANY_CLIENT: &str = "not done here: whoever reaches the port could sign. Name the clients' CA in api.tls.client-ca \
                          (--api-tls-client-ca), or their certificates in api.tls.known-clients";

/// Web3Signer means all CAs that its Java runtime trusts.
const CA_CLIENTS: &str = "not done here: every public CA could make a client. Name the CA that may in \
                          api.tls.client-ca (--api-tls-client-ca)";

#[derive(Clone, Copy)]
enum Part {
    Whole,
    Host,
    Port,
    Seconds,
    /// Whole, and `true` when no value follows.
    Switch,
    /// A switch that is refused with this reason unless it is off.
    Refused(&'static str),
}

/// Adds all flags to a command.
#[must_use]
pub fn augment(mut command: Command) -> Command {
    for key in KEYS {
        let help = match key.default {
            Some(default) if !default.is_empty() => format!("{} [{}; default {default}]", key.help, key.variable()),
            _ => format!("{} [{}]", key.help, key.variable()),
        };
        let mut arg = Arg::new(key.path).long(key.flag()).value_name("VALUE").help(help);
        if key.path == "metrics.enabled" {
            // Web3Signer has it without a value.
            arg = arg.num_args(0..=1).default_missing_value("true");
        }
        command = command.arg(arg.help_heading("Configuration (overrides file and environment)"));
    }
    for (name, short, path, part) in WEB3SIGNER {
        let help = match part {
            Part::Refused(_) => format!("Web3Signer's; refused: see {path}"),
            Part::Whole | Part::Host | Part::Port | Part::Seconds | Part::Switch => {
                format!("Web3Signer's name for {path}")
            }
        };
        let mut arg = Arg::new(*name).long(*name).value_name("VALUE").help(help);
        if matches!(part, Part::Switch | Part::Refused(_)) {
            arg = arg.num_args(0..=1).default_missing_value("true");
        }
        if let Some(short) = short {
            arg = arg.short(*short);
        }
        command = command.arg(arg.help_heading("Web3Signer's names"));
    }
    command
}

/// What was given on the command line.
#[must_use]
pub fn values(matches: &ArgMatches) -> Vec<FlagValue> {
    let native = KEYS.iter().filter_map(|key| given(matches, key.path, &key.flag(), Target::Key(key)));
    let theirs = WEB3SIGNER.iter().filter_map(|(name, _, path, part)| {
        let key: &'static Key = keys::find(path)?;
        let target = match part {
            Part::Whole | Part::Switch => Target::Key(key),
            Part::Host => Target::ListenHost(key),
            Part::Port => Target::ListenPort(key),
            Part::Seconds => Target::Seconds(key),
            Part::Refused(reason) => Target::Refused(reason),
        };
        given(matches, name, name, target)
    });
    native.chain(theirs).collect()
}

fn given(matches: &ArgMatches, id: &str, flag: &str, target: Target) -> Option<FlagValue> {
    let text = matches.try_get_one::<String>(id).ok().flatten()?.clone();
    Some(FlagValue { target, flag: format!("--{flag}"), text })
}
