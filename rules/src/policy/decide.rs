//! From a caller, an operation and a key to a permission or a denial.
//!
//! The roles of every client whose proofs all hold are united, those of a token added. Roles are alternatives: what one
//! of them grants, no other takes back. Only the bound on future slots holds for everybody.

use super::caller::{Caller, CertificateNames, Claims};
use super::model::{CertificateMatch, JwtMatch, KeyScope, Policy, PolicyClient, Rate, Role};
use super::operation::Operation;
use crate::message::{SignRequest, SigningType};
use crate::primitives::{Address, PublicKey, Slot};
use std::borrow::Cow;

/// What the policy allows, and by which of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// The client whose role grants it; `token:NAME` for a token.
    pub client: String,
    /// The role.
    pub role: String,
    /// How often that client may ask, if the policy says so.
    pub rate: Option<Rate>,
}

/// Why the policy does not allow it. A sentence for the caller: it names what the server saw, and nobody else's rights.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// No client of the policy is proved by what the caller showed.
    #[error("the policy knows no client with what the server saw: {seen}")]
    UnknownCaller {
        /// See [`Caller::describe`].
        seen: String,
    },
    /// No role of the client has the operation.
    #[error("the policy does not grant {operation} to {client}")]
    NotGranted {
        /// The client.
        client: String,
        /// What was asked for.
        operation: Operation,
    },
    /// Roles of the client have the operation, but not for this key.
    #[error("the policy does not grant {operation} with key {key} to {client}")]
    KeyNotGranted {
        /// The client.
        client: String,
        /// What was asked for.
        operation: Operation,
        /// The key.
        key: PublicKey,
    },
    /// Roles of the client have operation and key, but not with this fee recipient.
    #[error("the policy does not let {client} name the fee recipient {fee_recipient}")]
    FeeRecipient {
        /// The client.
        client: String,
        /// What the message names.
        fee_recipient: Address,
    },
    /// What is to be signed lies too far ahead of the clock.
    #[error("slot {asked} lies more than {bound} slots ahead of the clock, which is at slot {now}")]
    TooFarAhead {
        /// The slot, or the first slot of the epoch, of the message.
        asked: Slot,
        /// The policy's bound.
        bound: u64,
        /// Where the clock stands.
        now: Slot,
    },
    /// The policy has a bound that this node cannot apply.
    #[error("the policy bounds future slots, but this node does not know when the chain began: set genesis-time")]
    NoClock,
}

/// All that a caller may do: its client entries and roles, looked up once for many questions.
#[derive(Debug, Clone)]
pub struct Rights<'p> {
    policy: &'p Policy,
    entitled: Vec<Entitled<'p>>,
    client: Cow<'p, str>,
    rate: Option<Rate>,
}

#[derive(Debug, Clone)]
struct Entitled<'p> {
    client: Cow<'p, str>,
    rate: Option<Rate>,
    name: &'p str,
    role: &'p Role,
}

impl Policy {
    /// Whether a caller may do something, with a certain key if one is named.
    ///
    /// Without a key: whether it may do so with any key at all, or the operation has none.
    ///
    /// # Errors
    /// [`Denial`]
    pub fn decide(
        &self,
        caller: &Caller<'_>,
        operation: Operation,
        key: Option<&PublicKey>,
    ) -> Result<Permission, Denial> {
        self.rights(caller)?.decide(operation, key)
    }

    /// Whether a caller may have this signed: key, type, fee recipient, and how far ahead of the clock it lies. `now` is
    /// the slot of the node's clock, if it knows when the chain began.
    ///
    /// # Errors
    /// [`Denial`]
    pub fn admit(&self, caller: &Caller<'_>, request: &SignRequest, now: Option<Slot>) -> Result<Permission, Denial> {
        self.rights(caller)?.admit(request, now)
    }

    /// The first client whose proofs the caller has, else its token, and how often it may ask.
    #[must_use]
    pub fn identify(&self, caller: &Caller<'_>) -> Option<(String, Option<Rate>)> {
        let rights = self.rights(caller).ok()?;
        Some((rights.client.into_owned(), rights.rate))
    }

    /// Looks up all that a caller may do.
    ///
    /// # Errors
    /// [`Denial::UnknownCaller`]
    pub fn rights<'p>(&'p self, caller: &Caller<'_>) -> Result<Rights<'p>, Denial> {
        let clients = self.clients.iter().filter(|client| client.is_proved_by(caller));
        let clients = clients.map(|client| (Cow::Borrowed(client.name.as_str()), client.rate, &client.roles));
        let token = caller.token.map(|token| (Cow::Owned(format!("token:{}", token.name)), None, &token.roles));
        let mut first = None;
        let mut entitled = Vec::new();
        for (client, rate, roles) in clients.chain(token) {
            first.get_or_insert_with(|| (client.clone(), rate));
            // A role that a token names may be gone from the policy, and grants nothing then.
            let roles = roles.iter().filter_map(|name| self.roles.get_key_value(name));
            entitled.extend(roles.map(|(name, role)| Entitled { client: client.clone(), rate, name, role }));
        }
        match first {
            Some((client, rate)) => Ok(Rights { policy: self, entitled, client, rate }),
            None => Err(Denial::UnknownCaller { seen: caller.describe() }),
        }
    }
}

impl Rights<'_> {
    /// The client's name; the first in the document, if the caller is several.
    #[must_use]
    pub fn client(&self) -> &str {
        &self.client
    }

    /// How often that client may ask.
    #[must_use]
    pub const fn rate(&self) -> Option<Rate> {
        self.rate
    }

    /// As [`Policy::decide`].
    ///
    /// # Errors
    /// [`Denial`]
    pub fn decide(&self, operation: Operation, key: Option<&PublicKey>) -> Result<Permission, Denial> {
        self.with_key(operation, key)?.next().map(Entitled::permission).ok_or_else(|| match key {
            Some(key) => Denial::KeyNotGranted { client: self.client.clone().into_owned(), operation, key: *key },
            None => self.not_granted(operation),
        })
    }

    /// As [`Policy::admit`].
    ///
    /// # Errors
    /// [`Denial`]
    pub fn admit(&self, request: &SignRequest, now: Option<Slot>) -> Result<Permission, Denial> {
        let operation = Operation::Sign(request.signing_type);
        let permission = self.decide(operation, Some(&request.public_key))?;
        let permission = match (restricted(request.signing_type), request.particulars.fee_recipient) {
            (true, Some(fee_recipient)) => self
                .with_key(operation, Some(&request.public_key))?
                .find(|entitled| entitled.role.pays_to(&fee_recipient))
                .map(Entitled::permission)
                .ok_or(Denial::FeeRecipient { client: permission.client, fee_recipient })?,
            (true, None) | (false, _) => permission,
        };
        self.check_bound(request, now)?;
        Ok(permission)
    }

    fn check_bound(&self, request: &SignRequest, now: Option<Slot>) -> Result<(), Denial> {
        let (Some(bound), Some(moment)) = (self.policy.future_slots, request.particulars.moment) else { return Ok(()) };
        let now = now.ok_or(Denial::NoClock)?;
        let asked = moment.slot();
        if asked > now.saturating_add(bound) { Err(Denial::TooFarAhead { asked, bound, now }) } else { Ok(()) }
    }

    /// The roles that grant an operation, those for another key left out.
    fn with_key<'s>(
        &'s self,
        operation: Operation,
        key: Option<&'s PublicKey>,
    ) -> Result<impl Iterator<Item = &'s Entitled<'s>>, Denial> {
        let mut granting = self.entitled.iter().filter(move |entitled| entitled.role.grants(operation)).peekable();
        if granting.peek().is_none() {
            return Err(self.not_granted(operation));
        }
        Ok(granting.filter(move |entitled| entitled.role.reaches(self.policy, key)))
    }

    fn not_granted(&self, operation: Operation) -> Denial {
        Denial::NotGranted { client: self.client.clone().into_owned(), operation }
    }
}

impl Entitled<'_> {
    fn permission(&self) -> Permission {
        Permission { client: self.client.clone().into_owned(), role: self.name.to_owned(), rate: self.rate }
    }
}

impl Role {
    /// Whether the role has an operation, with whatever keys. Who may sign may also list.
    fn grants(&self, operation: Operation) -> bool {
        let lists = operation == Operation::ListKeys;
        self.operations.iter().any(|grant| grant.includes(operation) || (lists && grant.signs()))
    }

    /// Whether the role is about this key; without one, whether it is about any key at all.
    fn reaches(&self, policy: &Policy, key: Option<&PublicKey>) -> bool {
        match (&self.keys, key) {
            (None | Some(KeyScope::All), _) => true,
            (Some(KeyScope::Keys(keys)), Some(key)) => keys.contains(key),
            (Some(KeyScope::Keys(keys)), None) => !keys.is_empty(),
            (Some(KeyScope::Tags(tags)), key) => {
                let mut tagged = tags.iter().filter_map(|tag| policy.tags.get(tag));
                tagged.any(|keys| key.map_or(!keys.is_empty(), |key| keys.contains(key)))
            }
        }
    }

    fn pays_to(&self, fee_recipient: &Address) -> bool {
        self.fee_recipients.as_ref().is_none_or(|allowed| allowed.contains(fee_recipient))
    }
}

/// The messages by which a proposer says where its fees go; a bid and a payload name the builder's.
fn restricted(signing_type: SigningType) -> bool {
    matches!(signing_type, SigningType::ValidatorRegistration | SigningType::ProposerPreferences)
}

impl PolicyClient {
    /// Whether the caller has every proof that the entry names; an entry that names none is nobody's.
    fn is_proved_by(&self, caller: &Caller<'_>) -> bool {
        let certificate = self.certificate.as_ref();
        let certificate = certificate.map(|named| caller.certificate.as_ref().is_some_and(|shown| named.is(shown)));
        let jwt = self.jwt.as_ref().map(|named| caller.claims.is_some_and(|shown| named.is(shown)));
        matches!((certificate, jwt), (Some(true), None | Some(true)) | (None, Some(true)))
    }
}

impl CertificateMatch {
    fn is(&self, shown: &CertificateNames<'_>) -> bool {
        let Self { common_name, dns, uri, fingerprint } = self;
        let named = common_name.is_some() || dns.is_some() || uri.is_some() || fingerprint.is_some();
        named
            && common_name.as_deref().is_none_or(|name| shown.common_name == Some(name))
            && dns.as_ref().is_none_or(|name| shown.dns_names.iter().any(|shown| shown.eq_ignore_ascii_case(name)))
            && uri.as_ref().is_none_or(|uri| shown.uris.contains(uri))
            && fingerprint.is_none_or(|fingerprint| shown.fingerprint == Some(fingerprint))
    }
}

impl JwtMatch {
    fn is(&self, shown: &Claims) -> bool {
        let holds = |(name, wanted): (&String, &std::collections::BTreeSet<String>)| {
            shown.values.get(name).is_some_and(|values| wanted.iter().all(|value| values.contains(value)))
        };
        // The issuer alone proves only that somebody has an account there.
        (self.subject.is_some() || !self.claims.is_empty())
            && shown.issuer == self.issuer
            && self.subject.as_ref().is_none_or(|subject| *subject == shown.subject)
            && self.claims.iter().all(holds)
    }
}
