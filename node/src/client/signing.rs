//! Requests to sign as a validator client would send them, and their answers.
//!
//! In: a chain, slots, roots. Out: request bodies; signatures that were checked against the public key. Used by the
//! tour and the bench. Deliberately absent: any belief in a node; [`Chain::verify`] computes the root itself.

use super::{CallError, ClusterClient};
use bytes::Bytes;
use consigner_rules::network::Fork;
use consigner_rules::{Epoch, Network, PublicKey, Root, SignRequest, Signature, Slot};
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use std::fmt::Write as _;
use std::time::Duration;

/// How long a validator client would wait (Teku: 5 s), and a little more to see late answers as answers.
pub const SIGN_DEADLINE: Duration = Duration::from_secs(6);

/// A chain to sign for.
#[derive(Debug, Clone)]
pub struct Chain {
    network: Network,
    genesis_validators_root: Root,
}

/// One request: who signs what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duty {
    /// The validator.
    pub public_key: PublicKey,
    /// The JSON body.
    pub body: Bytes,
}

/// What a cluster answered to a request to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signed {
    /// A signature, not checked yet.
    Signature(Signature),
    /// 412: never.
    Refused(String),
    /// 307 to this URL.
    Redirect(String),
    /// Any other status.
    Other(StatusCode, String),
}

/// Source and target of an attestation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// Slot that is voted for.
    pub slot: Slot,
    /// Source epoch.
    pub source: Epoch,
    /// Target epoch.
    pub target: Epoch,
    /// Chooses the roots: votes of one number are equal.
    pub head: u64,
}

/// Asks for the signature as JSON.
#[derive(Deserialize)]
struct SignatureBody {
    signature: String,
}

impl Chain {
    /// A network and its genesis validators root.
    #[must_use]
    pub const fn new(network: Network, genesis_validators_root: Root) -> Self {
        Self { network, genesis_validators_root }
    }

    /// The network.
    #[must_use]
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// An epoch from which on all forks with a date are active, so that every request is of the newest kind.
    #[must_use]
    pub fn newest_fork_epoch(&self) -> Epoch {
        let scheduled = Fork::ALL.iter().filter(|fork| self.network.is_scheduled(**fork));
        scheduled.map(|fork| self.network.fork_epoch(*fork)).max().unwrap_or(0)
    }

    /// First slot of an epoch.
    #[must_use]
    pub const fn first_slot(&self, epoch: Epoch) -> Slot {
        epoch * self.network.slots_per_epoch()
    }

    /// `ATTESTATION`.
    #[must_use]
    pub fn attestation(&self, vote: &Vote) -> Bytes {
        let payload = format!(r#""attestation":{}"#, attestation_data(vote));
        self.body("ATTESTATION", vote.slot, &payload)
    }

    /// Whether blocks of this slot are signed by their header; older forks send the whole block.
    #[must_use]
    pub fn signs_headers(&self, slot: Slot) -> bool {
        self.network.fork_at_slot(slot) >= Fork::Bellatrix
    }

    /// `BLOCK_V2` with a header; see [`Self::signs_headers`].
    #[must_use]
    pub fn block(&self, slot: Slot, head: u64) -> Bytes {
        let version = self.network.fork_at_slot(slot).name();
        let payload = format!(
            r#""beacon_block":{{"version":"{version}","block_header":{{"slot":"{slot}","proposer_index":"1","parent_root":"{}","state_root":"{}","body_root":"{}"}}}}"#,
            root(b'p', head),
            root(b's', head),
            root(b'b', head)
        );
        self.body("BLOCK_V2", slot, &payload)
    }

    /// `RANDAO_REVEAL`.
    #[must_use]
    pub fn randao(&self, slot: Slot) -> Bytes {
        let payload = format!(r#""randao_reveal":{{"epoch":"{}"}}"#, self.network.epoch_at_slot(slot));
        self.body("RANDAO_REVEAL", slot, &payload)
    }

    /// `AGGREGATION_SLOT`: the selection proof of an aggregator.
    #[must_use]
    pub fn selection_proof(&self, slot: Slot) -> Bytes {
        self.body("AGGREGATION_SLOT", slot, &format!(r#""aggregation_slot":{{"slot":"{slot}"}}"#))
    }

    /// `AGGREGATE_AND_PROOF_V2` in the shape of the slot's fork.
    #[must_use]
    pub fn aggregate_and_proof(&self, vote: &Vote, aggregator: u64, selection_proof: &Signature) -> Bytes {
        let fork = self.network.fork_at_slot(vote.slot);
        let mut aggregate =
            format!(r#"{{"aggregation_bits":"0x03","data":{},"signature":"{selection_proof}""#, attestation_data(vote));
        if fork >= Fork::Electra {
            let committee_bytes = self.network.preset().max_committees_per_slot.div_ceil(8).max(1);
            let bits: String = (0..committee_bytes).map(|byte| if byte == 0 { "01" } else { "00" }).collect();
            let _infallible = write!(aggregate, r#","committee_bits":"0x{bits}""#);
        }
        let payload = format!(
            r#""aggregate_and_proof":{{"version":"{}","data":{{"aggregator_index":"{aggregator}","aggregate":{aggregate}}},"selection_proof":"{selection_proof}"}}}}"#,
            fork.name()
        );
        self.body("AGGREGATE_AND_PROOF_V2", vote.slot, &payload)
    }

    /// `SYNC_COMMITTEE_MESSAGE`.
    #[must_use]
    pub fn sync_message(&self, slot: Slot, head: u64) -> Bytes {
        let payload =
            format!(r#""sync_committee_message":{{"beacon_block_root":"{}","slot":"{slot}"}}"#, root(b'b', head));
        self.body("SYNC_COMMITTEE_MESSAGE", slot, &payload)
    }

    fn body(&self, kind: &str, slot: Slot, payload: &str) -> Bytes {
        let fork = self.network.fork_at_slot(slot);
        let position = Fork::ALL.iter().position(|known| *known == fork).unwrap_or(0);
        let before = Fork::ALL.get(position.saturating_sub(1)).copied().unwrap_or(fork);
        let version = |fork| self.network.fork_version(fork).unwrap_or_default();
        let (previous, current, epoch) = (version(before), version(fork), self.network.fork_epoch(fork));
        let genesis = self.genesis_validators_root;
        format!(
            r#"{{"type":"{kind}","fork_info":{{"fork":{{"previous_version":"{previous}","current_version":"{current}","epoch":"{epoch}"}},"genesis_validators_root":"{genesis}"}},{payload}}}"#
        )
        .into()
    }

    /// Whether the signature is the validator's over this request, by our own root.
    ///
    /// # Errors
    /// The body is no request; a slip of this program.
    pub fn verify(&self, duty: &Duty, signature: &Signature) -> Result<bool, consigner_rules::ParseError> {
        let request = SignRequest::parse(duty.public_key, &duty.body, &self.network)?;
        Ok(consigner_keys::verify(&duty.public_key, &request.signing_root, signature))
    }
}

fn attestation_data(vote: &Vote) -> String {
    let Vote { slot, source, target, head } = vote;
    format!(
        r#"{{"slot":"{slot}","index":"0","beacon_block_root":"{}","source":{{"epoch":"{source}","root":"{}"}},"target":{{"epoch":"{target}","root":"{}"}}}}"#,
        root(b'b', *head),
        root(b'j', *source),
        root(b't', *target)
    )
}

/// A root that is as different as its number.
fn root(kind: u8, number: u64) -> Root {
    let mut bytes = [kind; 32];
    bytes[24..].copy_from_slice(&number.to_be_bytes());
    Root(bytes)
}

/// Sends a request to sign to the first endpoint of the client that answers.
///
/// # Errors
/// No endpoint answers, or a 200 without a signature.
pub async fn sign(client: &ClusterClient, duty: &Duty) -> Result<Signed, CallError> {
    sign_as(client, duty, None).await
}

/// As [`sign`], naming the client's software, by which a follower decides to redirect or to forward.
///
/// # Errors
/// As [`sign`].
pub async fn sign_as(client: &ClusterClient, duty: &Duty, agent: Option<&'static str>) -> Result<Signed, CallError> {
    let path = format!("/api/v1/eth2/sign/{}", duty.public_key);
    let json = HeaderValue::from_static("application/json");
    let mut headers: Vec<(HeaderName, HeaderValue)> = vec![(ACCEPT, json.clone()), (CONTENT_TYPE, json)];
    headers.extend(agent.map(|agent| (USER_AGENT, HeaderValue::from_static(agent))));
    let answer = client.call(Method::POST, &path, &headers, duty.body.clone(), SIGN_DEADLINE).await?;
    let status = answer.response.status;
    Ok(match status {
        StatusCode::OK => {
            let body: SignatureBody = answer.json()?;
            let signature = body.signature.parse().map_err(|error: consigner_rules::primitives::HexError| {
                CallError::Answer { url: answer.url.clone(), reason: error.to_string() }
            })?;
            Signed::Signature(signature)
        }
        StatusCode::PRECONDITION_FAILED => Signed::Refused(answer.message()),
        StatusCode::TEMPORARY_REDIRECT => {
            let location = answer.response.headers.get(http::header::LOCATION);
            Signed::Redirect(location.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned())
        }
        _ => Signed::Other(status, answer.message()),
    })
}

/// All keys that the cluster holds.
///
/// # Errors
/// No node answers with the complete list.
pub async fn public_keys(client: &ClusterClient) -> Result<Vec<PublicKey>, CallError> {
    client.get_json("/api/v1/eth2/publicKeys", super::OPERATE).await?.json()
}
