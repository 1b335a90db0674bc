//! Tests of the command line: what DESIGN 11 promises can be written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::{Cli, Command, output};
use clap::{CommandFactory as _, Parser as _};

fn accepted(line: &str) -> Cli {
    Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn the_commands_of_the_contract_are_understood() {
    for line in [
        "consigner dev",
        "consigner dev --dir ./d --nodes 5 --base-port 9500 --validators 10 --raw-keys f --tour --network hoodi \
         --genesis-validators-root 0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95 \
         --follower-requests redirect --config-overlay o.yaml",
        "consigner run --config consigner.yaml",
        "consigner run --config c.yaml --dry-run --api-tls-client-ca x --raft-heartbeat 60ms",
        "consigner run --config-file c.yaml --http-listen-host 0.0.0.0 --http-listen-port 9000 \
         --http-host-allowlist a,b --network hoodi --logging INFO --logging-format PLAIN --metrics-enabled \
         --metrics-host 127.0.0.1 --metrics-port 9001 --metrics-host-allowlist a --data-path /d \
         --idle-connection-timeout-seconds 30",
        "consigner cluster status --dir d --json",
        "consigner cluster status --endpoint https://a:1,https://b:2 --ca c --cert d --key e",
        "consigner cluster init --dir d --member 1,node1,h:1,https://h:2",
        "consigner history export --dir d --to f",
        "consigner history export --dir d",
        "consigner history import --dir d --from f",
        "consigner keys generate --count 2 --start-index 1 --out o --network hoodi --password-file p --kdf pbkdf2 \
         --withdrawal-address 0x71C7656EC7ab88b098defB751B7401B5f6d8976F --amount-gwei 32000000000 --import --dir d",
        "consigner keys generate --count 1 --mnemonic-file m --out o --network f.yaml --password-file p --threads 1",
        "consigner keys generate --count 1 --mnemonic-out m --out o --network hoodi --password-file p --json",
        "consigner keys import --dir d --from f",
        "consigner keys import --endpoint https://a:1 --ca c --cert d --key e --from f --passwords p --json",
        "consigner keys import --dir d --from f --password-file p --slashing-protection h --threads 2 --memory-max 512",
        "consigner keys import --dir d --web3signer-config w",
        "consigner keys import --dir d --aws-secrets --region r --prefix a/ --prefix b/ --tag env=prod \
         --aws-endpoint http://127.0.0.1:5555 --profile p",
        "consigner keys import --dir d --vault-kv https://v:8200 --vault-path p --vault-namespace n --vault-ca c \
         --vault-token-file t --vault-mount m",
        "consigner keys list --dir d --json",
        "consigner keys delete --dir d --from-file f --slashing-protection-out h",
        "consigner keys rewrap --dir d --to aws-kms --force-new-data-key --patience 60 --json",
        "consigner run --config c --key-config-path a --keystores-path b --keystores-passwords-path c \
         --keystores-password-file d --aws-secrets-enabled --aws-secrets-region r --aws-secrets-prefixes-filter a,b \
         --aws-secrets-tag k=v|l=w --aws-endpoint-override http://127.0.0.1:1 --key-manager-api-enabled",
        "consigner policy show --dir d --json",
        "consigner policy apply --dir d p.yaml --dry-run --replaces 3",
        "consigner policy apply --endpoint https://a:1 --ca c --cert d --key e - --json",
        "consigner policy check --dir d --as cn:vc-1 --as token:0123456789abcdef --key 0x12 --operation ATTESTATION",
        "consigner policy check --endpoint https://a:1 --ca c --cert d --key e --key 0x12 --as dns:a --operation list-keys",
        "consigner policy token create --dir d --name n --role a,b --role c --expires 30d --out f --json",
        "consigner policy token list --dir d",
        "consigner policy token revoke --dir d 0123456789abcdef 0123456789abcdee",
        "consigner bench --dir d --validators 10000 --slots 8 --distinct-roots --json --kills 10",
        "consigner archive status --dir d --json",
        "consigner archive verify --url postgres://a@b/c --db-ca d --db-cert e --db-key f --db-password-file g \
         --endpoint https://a:1 --ca c --cert d --key e --json",
        "consigner archive verify --config n.yaml --dir d --lineage 00112233445566778899aabbccddeeff",
        "consigner archive verify --data-dir d",
        "consigner archive show --db postgres://a@b/c --db-insecure-no-tls --epoch 7-9 --kind block,refusal --since 7d \
         --client vc-1 --node 2 --last 20 --json",
        "consigner archive show --data-dir d --slot 7",
        "consigner archive export --url postgres://a@b/c --db-ca d --db-password-env P --db-channel-binding prefer --to f",
        "consigner archive export --data-dir d --keys-file k --genesis-validators-root \
         0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95 --to f --json",
        "consigner archive backfill --dir d --accept-gap",
        "consigner archive migrate --url postgres://a@b/c --db-ca d --writer w --reader r --dry-run",
        "consigner archive migrate --config n.yaml --adopt 00112233445566778899aabbccddeeff --json",
        "consigner config check --config c.yaml",
    ] {
        accepted(line);
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for line in [
        "consigner",
        "consigner run",
        "consigner run --config c --no-such-flag 1",
        "consigner cluster status --endpoint https://a:1",
        "consigner cluster status --dir d --endpoint https://a:1 --ca c --cert d --key e",
        "consigner cluster init --dir d",
        "consigner cluster init --dir d --member 1,node1",
        "consigner history import --dir d",
        "consigner dev --follower-requests sometimes",
        "consigner dev --genesis-validators-root 0x12",
        "consigner keys",
        "consigner keys generate --count 0 --out o --network hoodi --password-file p",
        "consigner keys generate --count 1 --out o --network hoodi --password-file p --mnemonic-file m --mnemonic-out n",
        "consigner keys generate --count 1 --out o --network hoodi --password-file p --compounding",
        "consigner keys import --dir d --passwords p",
        "consigner keys import --dir d --from f --passwords p --password-file q",
        "consigner keys import --dir d --region r",
        "consigner keys import --dir d --vault-kv http://vault:8200",
        "consigner keys import --dir d --aws-secrets --tag novalue",
        "consigner keys delete --dir d 0x12 --without-slashing-protection",
        "consigner keys delete --dir d --from-file f",
        "consigner keys rewrap --dir d --to hsm",
        "consigner policy",
        "consigner policy apply --dir d",
        "consigner policy check --dir d --operation ATTESTATION",
        "consigner policy check --dir d --as cn:a --operation attestation",
        "consigner policy check --endpoint https://a:1 --ca c --cert d --as cn:a --operation ATTESTATION",
        "consigner policy token create --dir d --name n",
        "consigner policy token create --dir d --name n --role r --expires soon",
        "consigner policy token revoke --dir d",
        "consigner bench --connections 0",
    ] {
        let error = Cli::try_parse_from(line.split_whitespace()).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}: {error}");
    }
}

#[test]
fn help_has_no_contradictions_and_shows_examples() {
    Cli::command().debug_assert();
    for name in ["dev", "cluster", "keys", "history", "policy", "bench"] {
        let mut command = Cli::command();
        let help = command.find_subcommand_mut(name).unwrap().render_long_help().to_string();
        assert!(help.contains("Example"), "{name}");
    }
}

#[test]
fn flags_reach_the_configuration() {
    let cli = accepted("consigner run --config c --http-listen-port 1 --node-id 7");
    let Command::Run(run) = cli.command else { panic!("not run") };
    let flags = format!("{run:?}");
    assert!(flags.contains("ListenPort") && flags.contains("node.id"), "{flags}");
}

#[test]
fn a_table_has_columns() {
    let rows = [vec!["1".to_owned(), "long name".to_owned()], vec!["22".to_owned()]];
    assert_eq!(output::table(&["ID", "NAME"], &rows), "ID  NAME\n1   long name\n22");
}

#[test]
fn every_command_that_does_something_shows_an_example() {
    fn look(command: &clap::Command, path: &str, bare: &mut Vec<String>) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        if !command.has_subcommands() && !help.contains("Example") {
            bare.push(path.to_owned());
        }
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            look(below, &format!("{path} {}", below.get_name()), bare);
        }
    }
    let mut bare = Vec::new();
    look(&Cli::command(), "consigner", &mut bare);
    assert_eq!(bare, Vec::<String>::new());
}
