//! What is counted, logged and told to the audit about one sign request, so that the handler can stay its few lines.
//!
//! The audit hears of signatures that are more than a duty (blocks, exits, deposits, registrations) and of one in N of the
//! others; of what slashing protection refused, with the conflicting record, and of what the policy denied; of the failure
//! of what is more than a duty. All of it within budgets ([`Flood`]), so that a client cannot fill a disk; what is left out
//! is told by its number. Nothing here waits for the audit's disk.
//!
//! Log levels: WARN for what slashing protection refused (with the conflicting record, which the violation names), INFO
//! for what could not be done (both within a budget: a client can cause them at will), DEBUG for the daily round.
//! Never: bodies, roots of refused messages, signatures.

use crate::admission::Client;
use crate::app::Shared;
use crate::audit::{Actor, Event, Flood, Operation, Outcome};
use crate::error::ApiError;
use crate::metrics;
use consigner_rules::{PublicKey, SignPermit, SignRequest, SigningType};
use std::time::Instant;

/// One sign request on its way.
pub(super) struct Attempt<'a> {
    client: &'a Client,
    key: PublicKey,
    shared: &'a Shared,
    started: Instant,
    signing_type: Option<SigningType>,
    permitted: Option<Instant>,
    /// Where the cluster's log has what was agreed, or refused.
    log_index: Option<u64>,
    is_answered: bool,
}

impl<'a> Attempt<'a> {
    pub(super) fn begin(client: &'a Client, key: PublicKey, shared: &'a Shared) -> Self {
        let started = Instant::now();
        Self { client, key, shared, started, signing_type: None, permitted: None, log_index: None, is_answered: false }
    }

    /// The body was understood.
    pub(super) const fn understood(&mut self, request: &SignRequest) {
        self.signing_type = Some(request.signing_type);
    }

    /// The cluster gave leave.
    pub(super) fn permitted(&mut self, permit: &SignPermit) {
        self.permitted = Some(Instant::now());
        self.log_index = permit.log_index();
    }

    /// The answer is known.
    pub(super) fn answered(&mut self, error: Option<&ApiError>) {
        self.is_answered = true;
        if let Some(ApiError::Refused { log_index, .. }) = error {
            self.log_index = Some(*log_index);
        }
        if let Some(permitted) = self.permitted.filter(|_| error.is_none()) {
            metrics::bls_signing(permitted.elapsed());
        }
        metrics::sign_answered(self.signing_type, error, self.started.elapsed());
        self.log(error);
        self.tell(error);
    }

    /// Tells the audit.
    fn tell(&self, error: Option<&ApiError>) {
        let audit = &self.shared.app.audit;
        let is_more = self.signing_type.is_some_and(is_more_than_a_duty);
        match error {
            None if is_more => {
                audit.record_within(self.flood(), &self.event(&self.actor(), Outcome::Done, "signed"));
            }
            None if audit.is_sampled() => audit.record(&self.event(&self.actor(), Outcome::Done, "signed")),
            None => {}
            // The log has a line of its own, within a budget.
            Some(refused @ (ApiError::Refused { .. } | ApiError::OtherChain { .. })) => {
                let (actor, why) = (self.actor(), refused.sentence());
                audit.record_quietly_within(Flood::Slashable, &self.event(&actor, Outcome::Refused, &why));
            }
            Some(denied @ (ApiError::Forbidden(_) | ApiError::Unauthorized(_))) => {
                audit.record_within(Flood::Denied, &self.event(&self.actor(), Outcome::Refused, &denied.sentence()));
            }
            Some(ApiError::SeeLeader { .. }) => {}
            Some(failed) if is_more => {
                audit.record_within(Flood::Failed, &self.event(&self.actor(), Outcome::Failed, &failed.sentence()));
            }
            Some(_) => {}
        }
    }

    /// Which budget a signature that is more than a duty comes out of.
    fn flood(&self) -> Flood {
        let registers = matches!(self.signing_type, Some(SigningType::ValidatorRegistration | SigningType::Deposit));
        if registers { Flood::Registered } else { Flood::Signed }
    }

    fn actor(&self) -> Actor {
        Actor { identity: self.client.name.clone(), ..self.client.caller.actor() }
    }

    const fn event<'e>(&'e self, actor: &'e Actor, outcome: Outcome, reason: &'e str) -> Event<'e> {
        let event = Event::new(actor, Operation::Sign(self.signing_type), outcome, reason).about(Some(&self.key));
        Event { log_index: self.log_index, ..event }
    }

    fn log(&self, error: Option<&ApiError>) {
        let may_write = match error {
            None | Some(ApiError::SeeLeader { .. }) => true,
            Some(ApiError::Refused { .. } | ApiError::OtherChain { .. }) => self.shared.lines.slashing.may_write(),
            Some(_) => self.shared.lines.not_signed.may_write(),
        };
        if !may_write {
            return;
        }
        let (key, peer, client) = (&self.key, &self.client.peer.addr, &self.client.name);
        let kind = self.signing_type.map_or("unknown", SigningType::name);
        match error {
            None => tracing::debug!(%key, kind, %peer, client, "signed"),
            Some(ApiError::Refused { violation, .. }) => {
                tracing::warn!(%key, kind, %peer, client, %violation, "refused to sign");
            }
            Some(ApiError::OtherChain { expected, got }) => {
                tracing::warn!(%key, kind, %peer, client, %expected, %got, "refused to sign for another chain");
            }
            Some(ApiError::SeeLeader { api_url, .. }) => {
                tracing::debug!(%key, kind, %peer, client, api_url, "redirected");
            }
            Some(other) => {
                tracing::info!(%key, kind, %peer, client, outcome = other.outcome(), error = ?other, "not signed");
            }
        }
    }
}

/// What is worth a line each time: a signature that proposes, leaves, or moves value. Duties come by the thousand.
const fn is_more_than_a_duty(signing_type: SigningType) -> bool {
    match signing_type {
        SigningType::Block
        | SigningType::BlockV2
        | SigningType::VoluntaryExit
        | SigningType::Deposit
        | SigningType::ValidatorRegistration => true,
        SigningType::Attestation
        | SigningType::AggregationSlot
        | SigningType::AggregateAndProof
        | SigningType::AggregateAndProofV2
        | SigningType::RandaoReveal
        | SigningType::SyncCommitteeMessage
        | SigningType::SyncCommitteeSelectionProof
        | SigningType::SyncCommitteeContributionAndProof
        | SigningType::ExecutionPayloadBid
        | SigningType::ExecutionPayloadEnvelope
        | SigningType::PayloadAttestationMessage
        | SigningType::ProposerPreferences
        | SigningType::BuilderRequestAuth
        | SigningType::InclusionList => false,
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            metrics::sign_abandoned(self.signing_type);
        }
    }
}
