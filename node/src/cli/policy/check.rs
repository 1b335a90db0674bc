//! `consigner policy check`.

use crate::cli::access::AccessArgs;
use crate::cli::{Exit, fail, output};
use crate::client::policy::{self, Checked};
use clap::Args;
use consigner_rules::PublicKey;
use consigner_rules::policy::Operation;
use std::path::PathBuf;

/// `consigner policy check`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckArgs {
    /// URL of a node; several with commas, tried in this order
    #[arg(long, value_name = "URL", value_delimiter = ',', requires_all = ["ca", "cert", "key"])]
    endpoint: Vec<String>,
    /// CA certificates that issued the nodes' certificates, PEM
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The operator's certificate, PEM
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Directory of `consigner dev`, in place of --endpoint, --ca, --cert and the operator's --key
    #[arg(long, value_name = "DIR", conflicts_with_all = ["endpoint", "ca", "cert"])]
    dir: Option<PathBuf>,
    /// Print JSON for scripts
    #[arg(long)]
    json: bool,
    /// What the caller would show: cn:NAME, dns:NAME, uri:URI, fingerprint:SHA-256 of its certificate, token:ID, or
    /// jwt:CLAIM=VALUE (jwt:issuer=.., jwt:subject=..); several for a caller that shows several
    #[arg(long = "as", value_name = "IDENTITY", required = true, value_parser = proof)]
    proofs: Vec<String>,
    /// A validator's public key (0x..). And, with --endpoint, the operator's private key (PEM file): both may be given
    #[arg(long, value_name = "PUBKEY|FILE")]
    key: Vec<String>,
    /// A signing type (ATTESTATION), list-keys, or a verb (keymanager.delete, admin.policy-write)
    #[arg(long, value_name = "OPERATION", value_parser = operation)]
    operation: Operation,
}

const EXAMPLES: &str = "Examples:
  consigner policy check --dir ./consigner-dev --as cn:vc-1 --key 0x93247f.. --operation ATTESTATION
  consigner policy check --dir ./consigner-dev --as uri:spiffe://trust/vc --operation list-keys --json
  consigner policy check --dir ./consigner-dev --as jwt:issuer=https://idp --as jwt:groups=ops \\
    --operation admin.policy-write
  consigner policy check --endpoint https://node1:9000 --ca ca.pem --cert admin.pem --key admin-key.pem \\
    --as token:0123456789abcdef --operation keymanager.list

Exit codes: 0 allowed, 1 denied (or not answered: see the message), 2 usage.";

fn operation(text: &str) -> Result<Operation, String> {
    Operation::parse(text).ok_or_else(|| {
        let names: Vec<&str> = Operation::all().map(Operation::name).collect();
        format!("none of {}", names.join(", "))
    })
}

/// A proof of a kind that the nodes know; what stands in it they judge themselves.
fn proof(text: &str) -> Result<String, String> {
    const KINDS: [&str; 6] = ["cn", "dns", "uri", "fingerprint", "token", "jwt"];
    match text.split_once(':') {
        Some((kind, value)) if KINDS.contains(&kind) && !value.is_empty() => Ok(text.to_owned()),
        Some(_) | None => {
            Err("none of cn:NAME, dns:NAME, uri:URI, fingerprint:SHA-256, token:ID, jwt:CLAIM=VALUE".to_owned())
        }
    }
}

/// Runs the command.
pub(super) async fn main(args: CheckArgs) -> Exit {
    let (access, public_key) = match args.keys() {
        Ok(split) => split,
        Err(complaint) => {
            output::complain(complaint);
            return Exit::Usage;
        }
    };
    let client = match access.admin() {
        Ok(client) => client,
        Err(error) => return error.report(),
    };
    let key = public_key.map(|key| key.to_string());
    let checked = match policy::check(&client, &args.proofs, key.as_deref(), args.operation.name()).await {
        Ok(checked) => checked,
        Err(error) => return fail(&error),
    };
    if !access.printed_json(&checked) {
        output::line(&sentence(&checked));
    }
    if checked.allowed { Exit::Done } else { Exit::Failed }
}

impl CheckArgs {
    /// What reaches the cluster, and the validator that is asked about: a public key looks like no file.
    fn keys(&self) -> Result<(AccessArgs, Option<PublicKey>), &'static str> {
        let public_key = |text: &String| text.parse::<PublicKey>().ok();
        let (validators, files): (Vec<_>, Vec<_>) = self.key.iter().partition(|text| public_key(text).is_some());
        if validators.len() > 1 || files.len() > 1 {
            return Err("--key names at most one validator and one file");
        }
        if self.dir.is_some() && !files.is_empty() {
            return Err("--key: not a public key (0x and 96 hexadecimal digits)");
        }
        let access = AccessArgs {
            endpoint: self.endpoint.clone(),
            ca: self.ca.clone(),
            cert: self.cert.clone(),
            key: files.first().map(PathBuf::from),
            dir: self.dir.clone(),
            json: self.json,
        };
        Ok((access, validators.first().copied().and_then(public_key)))
    }
}

fn sentence(checked: &Checked) -> String {
    match checked {
        Checked { allowed: true, client: Some(client), role: Some(role), .. } => {
            format!("allowed: client {client} has it by role {role}")
        }
        Checked { allowed: true, .. } => "allowed".to_owned(),
        Checked { reason: Some(reason), .. } => format!("denied: {reason}"),
        Checked { .. } => "denied".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use clap::{Command, FromArgMatches as _};

    fn parsed(line: &str) -> CheckArgs {
        let command = CheckArgs::augment_args(Command::new("check").no_binary_name(true));
        CheckArgs::from_arg_matches(&command.try_get_matches_from(line.split_whitespace()).unwrap()).unwrap()
    }

    #[test]
    fn a_public_key_and_a_private_key_file_share_a_flag() {
        let validator = PublicKey([7; 48]);
        let rest = "--as cn:a --operation ATTESTATION";
        let (access, key) = parsed(&format!("--dir d --key {validator} {rest}")).keys().unwrap();
        assert_eq!((access.key, key), (None, Some(validator)));
        let line = format!("--endpoint https://a:1 --ca c --cert d --key k.pem --key {validator} {rest}");
        let (access, key) = parsed(&line).keys().unwrap();
        assert_eq!((access.key, key), (Some("k.pem".into()), Some(validator)));
        assert!(parsed(&format!("--dir d --key 0x1234 {rest}")).keys().is_err());
        assert!(parsed(&format!("--dir d --key {validator} --key {validator} {rest}")).keys().is_err());
        assert_eq!(parsed(&format!("--dir d {rest}")).keys().unwrap().1, None);
    }

    #[test]
    fn a_decision_is_one_sentence() {
        let denied = Checked { allowed: false, client: None, role: None, reason: Some("no".to_owned()) };
        assert_eq!(sentence(&denied), "denied: no");
        let allowed =
            Checked { allowed: true, client: Some("vc".to_owned()), role: Some("r".to_owned()), reason: None };
        assert_eq!(sentence(&allowed), "allowed: client vc has it by role r");
        assert!(operation("attestation").unwrap_err().contains("ATTESTATION"));
    }

    #[test]
    fn a_proof_of_no_kind_is_a_usage_error() {
        for text in ["cn:vc 1", "uri:spiffe://a/b", "fingerprint:AB:CD", "token:0123", "jwt:issuer=https://a"] {
            assert_eq!(proof(text).as_deref(), Ok(text));
        }
        for text in ["vc-1", "", "cn:", "CN:vc-1", "ip:127.0.0.1", ":x"] {
            assert!(proof(text).unwrap_err().contains("none of cn:NAME"), "{text}");
        }
    }
}
