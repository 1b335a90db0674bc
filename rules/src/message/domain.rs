//! Signature domains and signing roots (consensus specification, phase 0: `compute_domain`, `compute_signing_root`).
//!
//! In: the body's `fork_info`, a message's epoch. Out: domains. Every domain type stands here once and is chosen by the
//! message kind alone, so that no request of one kind can yield the signing root of another. Deliberately absent: a
//! check of `fork_info` against the network's schedule (Lodestar sends the signing epoch as `fork.epoch`).

use super::cursor::Cursor;
use super::error::ParseError;
use super::merkle::{CHUNK_BYTES, Chunk, hash_pair};
use crate::network::Version;
use crate::primitives::{Epoch, Root};

/// What a domain is for.
#[derive(Clone, Copy)]
pub(super) struct DomainType([u8; 4]);

impl DomainType {
    pub(super) const BEACON_PROPOSER: Self = Self([0x00, 0, 0, 0]);
    pub(super) const BEACON_ATTESTER: Self = Self([0x01, 0, 0, 0]);
    pub(super) const RANDAO: Self = Self([0x02, 0, 0, 0]);
    pub(super) const DEPOSIT: Self = Self([0x03, 0, 0, 0]);
    pub(super) const VOLUNTARY_EXIT: Self = Self([0x04, 0, 0, 0]);
    pub(super) const SELECTION_PROOF: Self = Self([0x05, 0, 0, 0]);
    pub(super) const AGGREGATE_AND_PROOF: Self = Self([0x06, 0, 0, 0]);
    pub(super) const SYNC_COMMITTEE: Self = Self([0x07, 0, 0, 0]);
    pub(super) const SYNC_COMMITTEE_SELECTION_PROOF: Self = Self([0x08, 0, 0, 0]);
    pub(super) const CONTRIBUTION_AND_PROOF: Self = Self([0x09, 0, 0, 0]);
    /// Gloas: bids and envelopes.
    pub(super) const BEACON_BUILDER: Self = Self([0x0B, 0, 0, 0]);
    /// Gloas: payload timeliness votes.
    pub(super) const PTC_ATTESTER: Self = Self([0x0C, 0, 0, 0]);
    pub(super) const PROPOSER_PREFERENCES: Self = Self([0x0D, 0, 0, 0]);
    /// Heze.
    pub(super) const INCLUSION_LIST_COMMITTEE: Self = Self([0x10, 0, 0, 0]);
    /// Builder specification: validator registrations.
    pub(super) const APPLICATION_BUILDER: Self = Self([0x00, 0, 0, 0x01]);
    /// Builder specification: requests to a builder's API.
    pub(super) const BUILDER_REQUEST_AUTH: Self = Self([0x0B, 0, 0, 0x01]);
}

/// The body's `fork_info`.
pub(super) struct ForkInfo {
    previous_version: Version,
    current_version: Version,
    epoch: Epoch,
    /// The chain that the request claims.
    pub(super) genesis_validators_root: Root,
}

impl ForkInfo {
    /// Reads the field, which must be there.
    pub(super) fn read(body: &Cursor<'_, '_>) -> Result<Self, ParseError> {
        let info = body.field("fork_info")?;
        let fork = info.field("fork")?;
        Ok(Self {
            previous_version: Version(fork.field("previous_version")?.bytes()?),
            current_version: Version(fork.field("current_version")?.bytes()?),
            epoch: fork.field("epoch")?.uint64()?,
            genesis_validators_root: Root(info.field("genesis_validators_root")?.bytes()?),
        })
    }

    /// Consensus specification `get_domain`: a message of an epoch before the fork has the version before the fork.
    pub(super) fn version_at(&self, epoch: Epoch) -> Version {
        if epoch < self.epoch { self.previous_version } else { self.current_version }
    }

    /// The version of the chain's head, as the client sees it.
    pub(super) const fn current_version(&self) -> Version {
        self.current_version
    }
}

/// Consensus specification `compute_domain`.
pub(super) fn domain(kind: DomainType, version: Version, genesis_validators_root: &Root) -> Chunk {
    let mut padded_version = [0_u8; CHUNK_BYTES];
    padded_version[..4].copy_from_slice(&version.0);
    let fork_data_root = hash_pair(&padded_version, &genesis_validators_root.0);
    let mut domain = [0_u8; CHUNK_BYTES];
    domain[..4].copy_from_slice(&kind.0);
    domain[4..].copy_from_slice(&fork_data_root[..28]);
    domain
}

/// A domain that belongs to no chain: messages that are valid before genesis.
pub(super) fn domain_without_chain(kind: DomainType, genesis_fork_version: Version) -> Chunk {
    domain(kind, genesis_fork_version, &Root([0; 32]))
}

/// Consensus specification `compute_signing_root`.
pub(super) fn signing_root(object_root: &Chunk, domain: &Chunk) -> Root {
    Root(hash_pair(object_root, domain))
}
