//! The flags of `consigner keys generate`, and what they amount to.

use crate::cli::access::AccessArgs;
use crate::cli::output;
use crate::config::keys::NETWORKS;
use crate::report::one_line;
use clap::{Args, ValueEnum};
use consigner_keys::generate::{Address, DepositTerms, WithdrawalCredentials};
use consigner_keys::keystore::{Kdf, Password};
use consigner_rules::Network;
use std::fs::File;
use std::io::Read as _;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Keys of one run: as many files as a directory takes well, and hours of scrypt.
const COUNT_MAX: i64 = 10_000;

/// Passwords, passphrases and mnemonics are far shorter; anything longer is another kind of file.
const SECRET_BYTES_MAX: usize = 4096;

/// Shortest password of a new keystore, in characters; the deposit command line tool asks for as many.
const PASSWORD_CHARS_MIN: usize = 12;

/// Any of these bits would let another user read or change a file.
const FOREIGN_MODE_BITS: u32 = 0o077;

/// Memory of one scrypt with EIP-2335's n = 2^18 and r = 8, in MiB.
const SCRYPT_MIB: u64 = 256;

/// `consigner keys generate`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli::keys) struct GenerateArgs {
    /// Number of validators
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=COUNT_MAX))]
    pub(super) count: u32,
    /// First index below the mnemonic
    #[arg(long, value_name = "I", default_value_t = 0)]
    start_index: u32,
    /// File with an existing mnemonic [default: a new one is made and shown once on the terminal]
    #[arg(long, value_name = "FILE")]
    pub(super) mnemonic_file: Option<PathBuf>,
    /// File with the passphrase of the mnemonic, for those that have one
    #[arg(long, value_name = "FILE")]
    mnemonic_passphrase_file: Option<PathBuf>,
    /// New file for a new mnemonic, mode 600, in place of the terminal
    #[arg(long, value_name = "FILE", conflicts_with = "mnemonic_file")]
    pub(super) mnemonic_out: Option<PathBuf>,
    /// Print a new mnemonic before anything is made: on stdout, with --json on stderr and in the report
    #[arg(long, conflicts_with_all = ["mnemonic_file", "mnemonic_out"])]
    pub(super) show_mnemonic: bool,
    /// Directory for keystores and deposit data; made if needed, nothing in it is overwritten
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Network name or configuration file, for the deposit data
    #[arg(long, value_name = "NAME|FILE")]
    network: String,
    /// Execution address that receives what the validators earn and their stake; it cannot be changed later
    #[arg(long, value_name = "0x..")]
    withdrawal_address: Option<String>,
    /// Credentials of type 2: up to 2048 ETH per validator
    #[arg(long, requires = "withdrawal_address")]
    compounding: bool,
    /// Amount of each deposit [default: 32 ETH]
    #[arg(long, value_name = "GWEI")]
    amount_gwei: Option<u64>,
    /// File with the password of the new keystores
    #[arg(long, value_name = "FILE")]
    password_file: PathBuf,
    /// Key derivation of the new keystores: scrypt takes most of a second and 256 MiB each
    #[arg(long, value_enum, default_value_t = KdfName::Scrypt)]
    kdf: KdfName,
    /// Keystores encrypted at one time [default: one per core]; less if --memory-max says so
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Memory for encryption in MiB; one scrypt keystore takes 256
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(256..=1 << 20))]
    memory_max: u64,
    /// Import the keys into the cluster as well (needs --endpoint.. or --dir)
    #[arg(long)]
    pub(super) import: bool,
    #[command(flatten)]
    pub(super) access: AccessArgs,
}

/// A key derivation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KdfName {
    Scrypt,
    Pbkdf2,
}

const EXAMPLES: &str = "Examples:
  consigner keys generate --count 2 --out ./validator_keys --network hoodi --password-file password \\
    --withdrawal-address 0x71C7656EC7ab88b098defB751B7401B5f6d8976F
  consigner keys generate --count 8 --start-index 2 --mnemonic-file mnemonic --out ./more --network mainnet \\
    --password-file password --withdrawal-address 0x71C7656EC7ab88b098defB751B7401B5f6d8976F
  consigner keys generate --count 4 --out ./new --network hoodi --password-file password --mnemonic-out mnemonic \\
    --import --dir ./consigner-dev

Exit codes: 0 done, 1 failed, 2 usage, 3 all files are written but some keys are not imported.";

/// What the flags amount to.
pub(super) struct Plan {
    pub(super) indexes: Range<u32>,
    pub(super) passphrase: Option<Zeroizing<String>>,
    pub(super) terms: DepositTerms,
    pub(super) password: Password,
    pub(super) kdf: Kdf,
    pub(super) threads: NonZeroUsize,
}

impl GenerateArgs {
    /// Checks everything before anything is made.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn plan(&self) -> Result<Plan, String> {
        let end = self.start_index.checked_add(self.count);
        let indexes = self.start_index..end.ok_or("--start-index and --count: there are 2^31 validators at most")?;
        let mut terms = DepositTerms::new(self.credentials()?, &network(&self.network)?);
        if let Some(amount) = self.amount_gwei {
            terms.amount_gwei = amount;
        }
        let passphrase = self.mnemonic_passphrase_file.as_deref().map(read_secret).transpose()?;
        let kdf = match self.kdf {
            KdfName::Scrypt => Kdf::SCRYPT,
            KdfName::Pbkdf2 => Kdf::PBKDF2,
        };
        Ok(Plan { indexes, passphrase, terms, password: self.password()?, kdf, threads: self.threads() })
    }

    /// As many keystores at one time as there are processors and, for scrypt, memory.
    fn threads(&self) -> NonZeroUsize {
        let asked = self.threads.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
        let bound = match self.kdf {
            KdfName::Scrypt => usize::try_from(self.memory_max / SCRYPT_MIB).unwrap_or(usize::MAX),
            KdfName::Pbkdf2 => usize::MAX,
        };
        asked.min(NonZeroUsize::new(bound).unwrap_or(NonZeroUsize::MIN))
    }

    fn credentials(&self) -> Result<WithdrawalCredentials, String> {
        let Some(text) = &self.withdrawal_address else {
            let what =
                "warning: without --withdrawal-address the deposits carry BLS withdrawal credentials of the mnemonic";
            output::complain(what);
            return Ok(WithdrawalCredentials::Bls);
        };
        let address: Address =
            text.parse().map_err(|error| format!("--withdrawal-address {text}: {}", one_line(&error)))?;
        if !Address::is_checksummed(text) {
            output::complain(&format!("warning: {text} has no checksum in its letters; look at it twice"));
        }
        Ok(if self.compounding {
            WithdrawalCredentials::Compounding(address)
        } else {
            WithdrawalCredentials::Execution(address)
        })
    }

    fn password(&self) -> Result<Password, String> {
        let text = read_secret(&self.password_file)?;
        if text.chars().count() < PASSWORD_CHARS_MIN {
            let file = self.password_file.display();
            return Err(format!("{file}: a password of new keystores has at least {PASSWORD_CHARS_MIN} characters"));
        }
        Ok(Password::new(&text))
    }
}

fn network(name_or_file: &str) -> Result<Network, String> {
    if let Some(network) = Network::by_name(&name_or_file.to_ascii_lowercase()) {
        return Ok(network);
    }
    let known = NETWORKS.join(", ");
    let text = std::fs::read_to_string(name_or_file)
        .map_err(|error| format!("--network {name_or_file}: {error}; the known networks are {known}"))?;
    let name = Path::new(name_or_file).file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    Network::from_yaml(&text, &name).map_err(|error| format!("--network {name_or_file}: {}", one_line(&error)))
}

/// The content of a file without line ends behind it; says so when others can read it.
///
/// # Errors
/// A sentence that names the file.
pub(super) fn read_secret(path: &Path) -> Result<Zeroizing<String>, String> {
    let failed = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & FOREIGN_MODE_BITS != 0 {
        output::complain(&format!("warning: {} has mode {mode:03o}; others can read it: chmod 600 it", path.display()));
    }
    // Reserved at once: a growing text would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(SECRET_BYTES_MAX + 1));
    file.take(SECRET_BYTES_MAX as u64 + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() > SECRET_BYTES_MAX {
        return Err(format!("{} is longer than {SECRET_BYTES_MAX} bytes", path.display()));
    }
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: GenerateArgs,
    }

    #[test]
    fn scrypt_keeps_within_its_memory() {
        let threads = |more: &[&str]| {
            let words = ["generate", "--count=1", "--out=o", "--network=hoodi", "--password-file=p", "--threads=8"];
            Line::try_parse_from(words.iter().chain(more)).unwrap().args.threads().get()
        };
        assert_eq!(threads(&[]), 4, "1 GiB is four keystores");
        assert_eq!(threads(&["--memory-max=256"]), 1);
        assert_eq!(threads(&["--memory-max=8192"]), 8);
        assert_eq!(threads(&["--kdf=pbkdf2", "--memory-max=256"]), 8, "takes no memory worth counting");
    }
}
