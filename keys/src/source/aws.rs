//! Keys in AWS Secrets Manager: in bulk by name and tags, or one secret by name. Nothing but raw keys in hexadecimal,
//! one for each line, as Web3Signer reads them.
//!
//! In: filters, or a [`AwsSecretSpec`]. Out: candidates. A secret that cannot be read becomes a candidate that says why;
//! the others go on. Deliberately absent: keystores inside secrets, and writing to Secrets Manager. Needs the IAM
//! actions `secretsmanager:ListSecrets`, `secretsmanager:GetSecretValue`, and `secretsmanager:BatchGetSecretValue`
//! (without the last, secrets are fetched one by one).

use super::error::SourceError;
use super::lines::{self, SECRETS_MAX};
use super::remote::AwsSecretSpec;
use super::{Candidate, Material};
use crate::remote::aws::{self, AwsConfig};
use crate::remote::guard::{ATTEMPT_DEADLINE, Call, Guard};
use crate::remote::{CallError, ConfigError, Failure};
use aws_sdk_kms::config::Credentials;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::types::{ApiErrorType, Filter, FilterNameStringType, SecretListEntry};
use futures::stream::{self, StreamExt as _};
use std::collections::HashMap;
use zeroize::Zeroizing;

/// Label of the metrics.
const SERVICE: &str = "aws-secrets";
const LIST: &str = "secretsmanager:ListSecrets";
const BATCH: &str = "secretsmanager:BatchGetSecretValue";
const GET: &str = "secretsmanager:GetSecretValue";

//= AWS Secrets Manager API, BatchGetSecretValue: SecretIdList, maximum number of 20 items.
const BATCH_MAX: usize = 20;
/// The largest page of a list.
const PAGE_MAX: i32 = 100;
/// Requests under way at once; 10,000 secrets are 500 requests.
const CONCURRENCY: usize = 4;

/// All secrets with certain names and tags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AwsSecretsSource {
    /// How AWS is reached.
    pub aws: AwsConfig,
    /// Beginnings of names; empty: any name.
    pub prefixes: Vec<String>,
    /// Tags that a secret must have, all of them.
    pub tags: Vec<(String, String)>,
}

impl AwsSecretsSource {
    /// Lists and fetches. The candidates come in the order of the list.
    ///
    /// # Errors
    /// [`SourceError`] without a region, when the list cannot be had, or when it is longer than 100,000.
    pub async fn read(&self) -> Result<Vec<Candidate>, SourceError> {
        let manager = Manager::connect(&self.aws, None).await?;
        let names = manager.list(self).await?;
        let batches: Vec<Vec<String>> = names.chunks(BATCH_MAX).map(<[String]>::to_vec).collect();
        let fetched = stream::iter(batches).map(|batch| manager.fetch_all(batch)).buffered(CONCURRENCY);
        Ok(fetched.collect::<Vec<_>>().await.into_iter().flatten().collect())
    }

    /// The server filters by the beginning of words and its own idea of case; this is what we were asked for.
    fn wants(&self, entry: &SecretListEntry) -> bool {
        let name = entry.name().unwrap_or_default();
        let has = |(key, value): &(String, String)| {
            entry.tags().iter().any(|tag| tag.key() == Some(key) && tag.value() == Some(value))
        };
        (self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| name.starts_with(prefix)))
            && self.tags.iter().all(has)
    }

    fn filters(&self) -> Option<Vec<Filter>> {
        let filter = |name: FilterNameStringType, values: Vec<String>| {
            (!values.is_empty()).then(|| Filter::builder().key(name).set_values(Some(values)).build())
        };
        let (keys, values) = self.tags.iter().cloned().unzip();
        // At most ten values fit into a filter; with more, only our own look at the list decides.
        let prefixes = if self.prefixes.len() > 10 { Vec::new() } else { self.prefixes.clone() };
        let all = [
            filter(FilterNameStringType::Name, prefixes),
            filter(FilterNameStringType::TagKey, keys),
            filter(FilterNameStringType::TagValue, values),
        ];
        let all: Vec<Filter> = all.into_iter().flatten().collect();
        (!all.is_empty()).then_some(all)
    }
}

/// A client with its guard.
pub(super) struct Manager {
    client: Client,
    guard: Guard,
}

impl Manager {
    async fn connect(aws: &AwsConfig, credentials: Option<Credentials>) -> Result<Self, ConfigError> {
        let loaded = aws::load(aws, credentials).await?;
        let guard = Guard::new(SERVICE, aws::endpoint("AWS Secrets Manager", &loaded), ATTEMPT_DEADLINE);
        Ok(Self { client: Client::new(&loaded), guard })
    }

    /// A client for one secret of a key configuration.
    pub(super) async fn of(spec: &AwsSecretSpec) -> Result<Self, ConfigError> {
        let region = Some(spec.region.clone());
        let aws = AwsConfig { region, endpoint: spec.endpoint_override.clone(), profile: None };
        let credentials = spec.credentials.as_ref().map(|credentials| {
            let secret = credentials.secret_access_key.as_str();
            Credentials::new(&credentials.access_key_id, secret, None, None, "key configuration file")
        });
        Self::connect(&aws, credentials).await
    }

    async fn list(&self, source: &AwsSecretsSource) -> Result<Vec<String>, SourceError> {
        let key = format!("names {:?} and tags {:?}", source.prefixes, source.tags);
        let call = Call { name: LIST, key: &key };
        let (mut names, mut next) = (Vec::new(), None);
        loop {
            let page = || async {
                let request = self.client.list_secrets().max_results(PAGE_MAX).set_filters(source.filters());
                let page = request.set_next_token(next.clone()).send().await;
                page.map_err(|error| aws::failed(call, self.guard.endpoint(), &error))
            };
            let page = self.guard.call(call, page).await?;
            let wanted = page.secret_list().iter().filter(|entry| source.wants(entry));
            names.extend(wanted.filter_map(|entry| entry.name().map(str::to_owned)));
            if names.len() > SECRETS_MAX {
                return Err(SourceError::Unsupported(format!(
                    "more than {SECRETS_MAX} secrets match; narrow the filter"
                )));
            }
            next = page.next_token;
            if next.is_none() {
                return Ok(names);
            }
        }
    }

    /// The keys of some secrets, in their order.
    async fn fetch_all(&self, names: Vec<String>) -> Vec<Candidate> {
        let mut fetched = match self.batch(&names).await {
            Ok(fetched) => fetched,
            // Without the right to fetch many at once, one by one.
            Err(error) if error.failure == Failure::Denied && names.len() > 1 => HashMap::new(),
            Err(error) if names.len() > 1 => return failed_all(&names, &error),
            Err(_) => HashMap::new(),
        };
        let mut candidates = Vec::with_capacity(names.len());
        for name in names {
            match fetched.remove(&name) {
                Some(of_secret) => candidates.extend(of_secret),
                None => candidates.extend(self.fetch(&name).await),
            }
        }
        candidates
    }

    /// What the service says of each secret; it may leave some out.
    async fn batch(&self, names: &[String]) -> Result<HashMap<String, Vec<Candidate>>, CallError> {
        let key = format!("{} secrets from {}", names.len(), names.first().map_or("", String::as_str));
        let call = Call { name: BATCH, key: &key };
        let request = || async {
            let request = self.client.batch_get_secret_value().set_secret_id_list(Some(names.to_vec()));
            request.send().await.map_err(|error| aws::failed(call, self.guard.endpoint(), &error))
        };
        let answer = self.guard.call(call, request).await?;
        let mut fetched = HashMap::new();
        for value in answer.secret_values.unwrap_or_default() {
            if let Some(name) = value.name {
                let text = value.secret_string.map(Zeroizing::new);
                let candidates = candidates(&name, text);
                fetched.insert(name, candidates);
            }
        }
        for error in answer.errors.unwrap_or_default() {
            if let Some(name) = error.secret_id.clone().filter(|name| names.contains(name)) {
                let candidate = lines::failed(&name, self.refused(&name, &error));
                fetched.insert(name, vec![candidate]);
            }
        }
        Ok(fetched)
    }

    fn refused(&self, name: &str, error: &ApiErrorType) -> CallError {
        let code = error.error_code().unwrap_or("no code");
        let cause = format!("{code}: {}", error.message().unwrap_or("no message"));
        let call = Call { name: GET, key: name };
        aws::failed_with(call, self.guard.endpoint(), aws::by_code(code).unwrap_or(Failure::Refused), cause)
    }

    /// The keys of one secret.
    pub(super) async fn fetch(&self, name: &str) -> Vec<Candidate> {
        let call = Call { name: GET, key: name };
        let request = || async {
            let answer = self.client.get_secret_value().secret_id(name).send().await;
            answer.map_err(|error| aws::failed(call, self.guard.endpoint(), &error))
        };
        match self.guard.call(call, request).await {
            Ok(answer) => candidates(name, answer.secret_string.map(Zeroizing::new)),
            Err(error) => vec![lines::failed(name, error)],
        }
    }
}

fn candidates(name: &str, text: Option<Zeroizing<String>>) -> Vec<Candidate> {
    match text {
        Some(text) => lines::keys_in(name, &text),
        None => {
            let error = SourceError::Unsupported("the secret is binary, not text".to_owned());
            vec![Candidate::new(name, None, Material::Failed(error))]
        }
    }
}

/// The same reason for all: the service is away.
fn failed_all(names: &[String], error: &CallError) -> Vec<Candidate> {
    let again = |name: &String| {
        let (call, key, hint) = (error.call.clone(), name.clone(), error.hint.clone());
        let cause = error.cause.as_ref().map(|cause| cause.to_string().into());
        lines::failed(name, CallError { call, key, failure: error.failure, hint, cause })
    };
    names.iter().map(again).collect()
}

/// Fetches one secret of a key configuration with a client of its own; see [`fetcher`](super::fetcher) for many.
pub async fn fetch_aws_secret(spec: &AwsSecretSpec) -> Vec<Candidate> {
    match Manager::of(spec).await {
        Ok(manager) => manager.fetch(&spec.secret_name).await,
        Err(error) => vec![Candidate::new(&spec.secret_name, None, Material::Failed(error.into()))],
    }
}
