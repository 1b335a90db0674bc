//! Join tokens: leave for one node to become a member, once.
//!
//! In: a node id. Out: the token's text, once; the cluster keeps its SHA-256. Deliberately absent: any other use of it.

use super::identify::{Identified, Identify, join_proof};
use super::{MembershipError, MembershipRefusal};
use crate::cluster::Cluster;
use consigner_rules::command::JoinToken;
use consigner_rules::{Command, Outcome};
use sha2::{Digest as _, Sha256};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// What the text of every join token begins with, so that scanners for leaked secrets find it.
pub const JOIN_TOKEN_PREFIX: &str = "cjt_";

/// Bytes of the part that nobody can guess.
const SECRET_BYTES: usize = 32;

/// Shorter, and the node cannot be started in time.
const LIFETIME_MIN: Duration = Duration::from_secs(10);

/// Longer, and it lies about.
const LIFETIME_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long making or revoking one may take.
const PROPOSE_DEADLINE: Duration = Duration::from_secs(10);

/// A token that was made. Its text is in no log and in no record of the cluster.
pub struct NewJoinToken {
    /// Its public part.
    pub id: [u8; 8],
    /// The whole text, for the node's `cluster.join-token-file`.
    pub text: Zeroizing<String>,
    /// When it ends, in milliseconds since the Unix epoch.
    pub expires_ms: u64,
}

/// What the cluster keeps of a token, and what a node proves that it has. Space around it does not count.
#[must_use]
pub fn join_token_hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.trim().as_bytes()).into()
}

pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Cluster {
    /// Makes a token with which node `node`, and no other, may be added once within `lifetime`.
    ///
    /// # Errors
    /// [`MembershipError`]; the id is used, or the lifetime is out of bounds.
    pub async fn join_token_create(&self, node: u64, lifetime: Duration) -> Result<NewJoinToken, MembershipError> {
        if lifetime < LIFETIME_MIN || lifetime > LIFETIME_MAX {
            let (min, max) = (LIFETIME_MIN.as_secs(), LIFETIME_MAX.as_secs());
            return Err(MembershipRefusal::TokenLifetime { min, max, asked: lifetime.as_secs() }.into());
        }
        self.check_id_is_free(node)?;
        let (id, text) = random_text()?;
        let created_ms = now_ms();
        let lifetime_ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        let expires_ms = created_ms.saturating_add(lifetime_ms);
        let token = JoinToken { id, node, hash: join_token_hash(&text), created_ms, expires_ms };
        let outcome = self.propose_one(Command::AddJoinToken(token)).await?;
        if outcome == Outcome::JoinTokenHeld {
            Ok(NewJoinToken { id, text, expires_ms })
        } else {
            Err(unexpected(&outcome))
        }
    }

    /// Takes a token back; whether it was held.
    ///
    /// # Errors
    /// [`MembershipError`]; the cluster did not agree in time.
    pub async fn join_token_revoke(&self, id: [u8; 8]) -> Result<bool, MembershipError> {
        let outcome = self.propose_one(Command::RevokeJoinToken { id }).await?;
        if let Outcome::JoinTokenRevoked { was_held } = outcome { Ok(was_held) } else { Err(unexpected(&outcome)) }
    }

    /// The token that the node proved to have.
    pub(super) fn token_shown(
        &self,
        identified: &Identified,
        question: &Identify,
    ) -> Result<[u8; 8], MembershipRefusal> {
        let node = identified.node;
        let Some(shown) = identified.join_proof else { return Err(MembershipRefusal::NoToken { node }) };
        let found = self.read(|state| {
            let proves =
                |token: &&JoinToken| join_proof(&token.hash, &question.challenge, node, &identified.member) == shown;
            state.join_tokens().find(proves).cloned()
        });
        match found {
            None => Err(MembershipRefusal::TokenUnknown { node }),
            Some(token) if token.node != node => Err(MembershipRefusal::TokenOfOther { node, owner: token.node }),
            Some(token) if token.expires_ms <= now_ms() => Err(MembershipRefusal::TokenExpired { node }),
            Some(token) => Ok(token.id),
        }
    }

    /// One command of this module, to its outcome.
    pub(super) async fn propose_one(&self, command: Command) -> Result<Outcome, MembershipError> {
        let proposed = self.propose(vec![command], PROPOSE_DEADLINE).await;
        let outcomes = proposed.map_err(|error| MembershipError::Unavailable(crate::chain(&error)))?;
        let missing = || MembershipError::Unavailable("the cluster answered nothing".to_owned());
        outcomes.into_iter().next().ok_or_else(missing)
    }
}

/// A rejection, or an answer to another question.
pub(super) fn unexpected(outcome: &Outcome) -> MembershipError {
    if let Outcome::Rejected(rejection) = outcome {
        return MembershipRefusal::Rejected(rejection.to_string()).into();
    }
    MembershipError::Unavailable(format!("the cluster answered another question: {outcome:?}"))
}

fn random_text() -> Result<([u8; 8], Zeroizing<String>), MembershipError> {
    let (mut id, mut secret) = ([0; 8], Zeroizing::new([0; SECRET_BYTES]));
    let random = getrandom::fill(&mut id).and_then(|()| getrandom::fill(&mut *secret));
    random.map_err(|_| MembershipError::Unavailable("the system has no randomness".to_owned()))?;
    let digits = Zeroizing::new(hex::encode(*secret));
    Ok((id, Zeroizing::new(format!("{JOIN_TOKEN_PREFIX}{}_{}", hex::encode(id), digits.as_str()))))
}
