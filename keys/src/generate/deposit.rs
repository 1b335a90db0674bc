//! Deposits: what the deposit contract takes to make a key a validator, signed, as the launchpad reads it.
//!
//! In: a signing key, withdrawal credentials, an amount, a network. Out: deposit data with its roots. Deliberately
//! absent: a way to sign anything but a deposit message, and deposits for keys of others.

use super::address::Address;
use super::error::GenerateError;
use crate::bls::{SecretKey, hash_to_curve, sign_hashed, verify};
use consigner_rules::network::Version;
use consigner_rules::{Network, PublicKey, Root, Signature};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A full validator of 32 ETH, in Gwei.
pub const AMOUNT_GWEI_DEFAULT: u64 = 32 * GWEI_PER_ETH;

const GWEI_PER_ETH: u64 = 1_000_000_000;
//= consensus-specs phase0: MIN_DEPOSIT_AMOUNT = 10^9 Gwei; the deposit contract takes no less.
const AMOUNT_GWEI_MIN: u64 = GWEI_PER_ETH;
//= consensus-specs electra: MIN_ACTIVATION_BALANCE; more would only be withdrawn again.
const AMOUNT_GWEI_MAX: u64 = 32 * GWEI_PER_ETH;
//= consensus-specs electra: MAX_EFFECTIVE_BALANCE_ELECTRA, for compounding credentials.
const AMOUNT_GWEI_MAX_COMPOUNDING: u64 = 2048 * GWEI_PER_ETH;

//= consensus-specs phase0: DOMAIN_DEPOSIT
const DOMAIN_DEPOSIT: [u8; 4] = [3, 0, 0, 0];

/// The version of the deposit command line tool whose file format this is: the launchpad refused older ones for a time,
/// and tools built on it may still do.
const DEPOSIT_CLI_VERSION: &str = "2.7.0";

/// Who receives what the validator earns and its stake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithdrawalCredentials {
    /// 0x00: the withdrawal key of the mnemonic; nothing is paid out before it is changed to an address.
    Bls,
    /// 0x01: an address; what is above 32 ETH is paid out by itself.
    Execution(Address),
    /// 0x02: an address; the balance grows up to 2048 ETH.
    Compounding(Address),
}

impl WithdrawalCredentials {
    /// The 32 bytes that go into a deposit.
    //= consensus-specs phase0 validator.md: BLS_WITHDRAWAL_PREFIX (0x00) "followed by the last 31 bytes of the hash of
    //= the public key"; ETH1_ADDRESS_WITHDRAWAL_PREFIX (0x01) followed by 11 zero bytes and the address;
    //= consensus-specs electra: COMPOUNDING_WITHDRAWAL_PREFIX (0x02), the same form
    #[must_use]
    pub fn to_bytes(&self, withdrawal: &PublicKey) -> [u8; 32] {
        let of_address = |prefix: u8, address: &Address| {
            let mut bytes = [0_u8; 32];
            bytes[0] = prefix;
            bytes[12..].copy_from_slice(&address.0);
            bytes
        };
        match self {
            Self::Bls => {
                let mut bytes: [u8; 32] = Sha256::digest(withdrawal.as_bytes()).into();
                bytes[0] = 0;
                bytes
            }
            Self::Execution(address) => of_address(1, address),
            Self::Compounding(address) => of_address(2, address),
        }
    }

    /// Gwei that one deposit may have at most.
    const fn amount_gwei_max(&self) -> u64 {
        match self {
            Self::Bls | Self::Execution(_) => AMOUNT_GWEI_MAX,
            Self::Compounding(_) => AMOUNT_GWEI_MAX_COMPOUNDING,
        }
    }
}

/// What all deposits of a run have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepositTerms {
    /// Who receives the stake.
    pub credentials: WithdrawalCredentials,
    /// Gwei of each deposit; [`AMOUNT_GWEI_DEFAULT`] for a full validator.
    pub amount_gwei: u64,
    /// The network's name, as the launchpad compares it.
    pub network_name: String,
    /// The network's fork version at genesis: deposits are valid across forks.
    pub genesis_fork_version: Version,
}

impl DepositTerms {
    /// Terms for a full validator of a network.
    #[must_use]
    pub fn new(credentials: WithdrawalCredentials, network: &Network) -> Self {
        let (network_name, genesis_fork_version) = (network.name().to_owned(), network.genesis_fork_version());
        Self { credentials, amount_gwei: AMOUNT_GWEI_DEFAULT, network_name, genesis_fork_version }
    }

    fn check_amount(&self) -> Result<(), GenerateError> {
        let (least, most) = (AMOUNT_GWEI_MIN, self.credentials.amount_gwei_max());
        let amount_gwei = self.amount_gwei;
        let allowed = (least..=most).contains(&amount_gwei);
        if allowed { Ok(()) } else { Err(GenerateError::Amount { amount_gwei, least, most }) }
    }
}

/// consensus-specs phase0: `DepositMessage`. The only thing that this module signs.
struct DepositMessage {
    public_key: PublicKey,
    credentials: [u8; 32],
    amount_gwei: u64,
}

impl DepositMessage {
    fn leaves(&self) -> [Chunk; 3] {
        [bytes48_root(self.public_key.as_bytes()), self.credentials, uint64_chunk(self.amount_gwei)]
    }

    //= consensus-specs ssz: a container of three fields is a tree of four leaves
    fn root(&self) -> Chunk {
        let [public_key, credentials, amount] = self.leaves();
        hash(&hash(&public_key, &credentials), &hash(&amount, &ZERO))
    }

    //= consensus-specs phase0 deposit-contract.md: "signature is the result of bls.Sign of the
    //= compute_signing_root(deposit_message, domain) with domain=compute_domain(DOMAIN_DEPOSIT)"
    fn signing_root(&self, genesis_fork_version: Version) -> Root {
        let mut version = ZERO;
        version[..4].copy_from_slice(&genesis_fork_version.0);
        let fork_data_root = hash(&version, &ZERO);
        let mut domain = ZERO;
        domain[..4].copy_from_slice(&DOMAIN_DEPOSIT);
        domain[4..].copy_from_slice(&fork_data_root[..28]);
        Root(hash(&self.root(), &domain))
    }

    //= consensus-specs ssz: a container of four fields is a tree of four leaves
    fn data_root(&self, signature: &Signature) -> Chunk {
        let [public_key, credentials, amount] = self.leaves();
        hash(&hash(&public_key, &credentials), &hash(&amount, &bytes96_root(signature.as_bytes())))
    }
}

/// A signed deposit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepositData {
    /// The validator.
    pub public_key: PublicKey,
    /// Who receives the stake.
    pub withdrawal_credentials: [u8; 32],
    /// Gwei of the deposit.
    pub amount_gwei: u64,
    /// Proof that whoever deposits has the key.
    pub signature: Signature,
    /// Root of the message that was signed.
    pub message_root: Root,
    /// Root that the deposit contract compares.
    pub data_root: Root,
    /// The network's fork version at genesis.
    pub fork_version: Version,
    /// The network's name.
    pub network_name: String,
}

impl DepositData {
    /// Signs a deposit message of this key and verifies the signature.
    pub(super) fn sign(
        secret: &SecretKey,
        withdrawal: &PublicKey,
        terms: &DepositTerms,
    ) -> Result<Self, GenerateError> {
        terms.check_amount()?;
        let (credentials, amount_gwei) = (terms.credentials.to_bytes(withdrawal), terms.amount_gwei);
        let message = DepositMessage { public_key: secret.public_key(), credentials, amount_gwei };
        let signing_root = message.signing_root(terms.genesis_fork_version);
        let signature = sign_hashed(secret, &hash_to_curve(&signing_root));
        // The contract takes a deposit with a wrong signature and keeps the stake.
        if !verify(&message.public_key, &signing_root, &signature) {
            return Err(GenerateError::Unreliable);
        }
        Ok(Self {
            public_key: message.public_key,
            withdrawal_credentials: credentials,
            amount_gwei,
            signature,
            message_root: Root(message.root()),
            data_root: Root(message.data_root(&signature)),
            fork_version: terms.genesis_fork_version,
            network_name: terms.network_name.clone(),
        })
    }

    /// One element of the launchpad's file; hexadecimal without `0x`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "pubkey": hex::encode(self.public_key.as_bytes()),
            "withdrawal_credentials": hex::encode(self.withdrawal_credentials),
            "amount": self.amount_gwei,
            "signature": hex::encode(self.signature.as_bytes()),
            "deposit_message_root": hex::encode(self.message_root.as_bytes()),
            "deposit_data_root": hex::encode(self.data_root.as_bytes()),
            "fork_version": hex::encode(self.fork_version.0),
            "network_name": self.network_name,
            "deposit_cli_version": DEPOSIT_CLI_VERSION,
        })
    }
}

/// The launchpad's file for these deposits.
#[must_use]
pub fn deposit_data_json(deposits: &[DepositData]) -> String {
    Value::Array(deposits.iter().map(DepositData::to_json).collect()).to_string()
}

/// A leaf or node of an SSZ tree. The rules have trees for everything that is asked to be signed; a deposit that is
/// made here needs five nodes of fixed places.
type Chunk = [u8; 32];

const ZERO: Chunk = [0; 32];

fn hash(left: &Chunk, right: &Chunk) -> Chunk {
    Sha256::new().chain_update(left).chain_update(right).finalize().into()
}

/// 48 bytes: one chunk and a half.
fn bytes48_root(bytes: &[u8; 48]) -> Chunk {
    let mut padded = [0_u8; 64];
    padded[..48].copy_from_slice(bytes);
    Sha256::digest(padded).into()
}

/// 96 bytes: three chunks of four.
fn bytes96_root(bytes: &[u8; 96]) -> Chunk {
    let mut padded = [0_u8; 128];
    padded[..96].copy_from_slice(bytes);
    hash(&Sha256::digest(&padded[..64]).into(), &Sha256::digest(&padded[64..]).into())
}

fn uint64_chunk(value: u64) -> Chunk {
    let mut chunk = ZERO;
    chunk[..8].copy_from_slice(&value.to_le_bytes());
    chunk
}

#[cfg(test)]
#[path = "deposit_tests.rs"]
mod tests;
