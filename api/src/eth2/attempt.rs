//! What is counted and logged about one sign request, so that the handler can stay its three lines.
//!
//! Log levels: WARN for what slashing protection refused (with the conflicting record, which the violation names), INFO
//! for what could not be done (both within a budget: a client can cause them at will), DEBUG for the daily round.
//! Never: bodies, roots of refused messages, signatures.

use crate::admission::Client;
use crate::error::ApiError;
use crate::metrics;
use crate::quiet::Lines;
use consigner_rules::{PublicKey, SignRequest, SigningType};
use std::time::Instant;

/// One sign request on its way.
pub(super) struct Attempt<'a> {
    client: &'a Client,
    key: PublicKey,
    lines: &'a Lines,
    started: Instant,
    signing_type: Option<SigningType>,
    permitted: Option<Instant>,
    is_answered: bool,
}

impl<'a> Attempt<'a> {
    pub(super) fn begin(client: &'a Client, key: PublicKey, lines: &'a Lines) -> Self {
        let started = Instant::now();
        Self { client, key, lines, started, signing_type: None, permitted: None, is_answered: false }
    }

    /// The body was understood.
    pub(super) const fn understood(&mut self, request: &SignRequest) {
        self.signing_type = Some(request.signing_type);
    }

    /// The cluster gave leave.
    pub(super) fn permitted(&mut self) {
        self.permitted = Some(Instant::now());
    }

    /// The answer is known.
    pub(super) fn answered(&mut self, error: Option<&ApiError>) {
        self.is_answered = true;
        if let Some(permitted) = self.permitted.filter(|_| error.is_none()) {
            metrics::bls_signing(permitted.elapsed());
        }
        metrics::sign_answered(self.signing_type, error, self.started.elapsed());
        self.log(error);
    }

    fn log(&self, error: Option<&ApiError>) {
        let may_write = match error {
            None | Some(ApiError::SeeLeader { .. }) => true,
            Some(ApiError::Refused(_) | ApiError::OtherChain { .. }) => self.lines.slashing.may_write(),
            Some(_) => self.lines.not_signed.may_write(),
        };
        if !may_write {
            return;
        }
        let (key, peer, client) = (&self.key, &self.client.peer.addr, &self.client.name);
        let kind = self.signing_type.map_or("unknown", SigningType::name);
        match error {
            None => tracing::debug!(%key, kind, %peer, client, "signed"),
            Some(ApiError::Refused(violation)) => {
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

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            metrics::sign_abandoned(self.signing_type);
        }
    }
}
