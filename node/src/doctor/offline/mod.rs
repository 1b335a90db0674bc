//! Examines one configuration: gathers what the checks need, point by point.
//!
//! In: a [`Plan`], the machine it is to run on. Out: findings. Deliberately absent: sockets.

mod files;
mod wire;

use super::checks::credentials::{self, Literal};
use super::checks::{access, doors as door_checks, keys};
use super::doors::{self, DoorPlan, Proof};
use super::finding::{Finding, Verdict};
use super::plan::Plan;
use super::points;
use super::secrets;
use consigner_keys::source::{KeyConfigSource, Material, RemoteSecret, SourceError, VaultSecretAuth};
use std::path::Path;
use std::time::SystemTime;

const DAY_S: u64 = 86_400;

/// All points that a configuration alone shows. `policy` is the version that the cluster has applied, if it was asked.
#[must_use]
pub fn examine(plan: &Plan, policy: Option<u64>) -> Vec<Finding> {
    let doors = doors::of(plan);
    let mut findings = vec![valid(plan).on(&points::CONFIG_VALID, &plan.name)];
    findings.extend(keys_of(plan, &doors));
    findings.extend(wire::examine(plan, &doors));
    findings.extend(access_of(plan, &doors, policy));
    findings.extend(files::examine(plan));
    findings
}

fn valid(plan: &Plan) -> Verdict {
    let fix = "`consigner config check` says the same";
    let problems = plan.refused.iter().map(|problem| Verdict::fail(problem.clone(), fix));
    Verdict::worst(problems, "`consigner run` would take it")
}

fn keys_of(plan: &Plan, doors: &[DoorPlan]) -> Vec<Finding> {
    let kind = plan.text("keys.sealer.use").unwrap_or_default();
    let local = secrets::local_sealer(plan);
    let passphrase = plan.text("keys.sealer.local.passphrase-file").is_some();
    let interop = plan.number("keys.import.interop-count").unwrap_or_default();
    let raw_keys = plan.path("keys.import.raw-keys-file");
    let previous = plan.texts("keys.sealer.local.previous-key-files").len()
        + plan.texts("keys.sealer.local.previous-passphrase-files").len();
    let age = (kind == "local").then(|| local.first().and_then(|file| age_days(file))).flatten();
    let is_local = doors.iter().all(DoorPlan::is_local);
    let development = interop > 0 || raw_keys.is_some();
    let data_dir = plan.path("node.data-dir");
    vec![
        keys::generation(development).on(&points::GENERATION, &plan.name),
        keys::rotation(previous, age, &kind).on(&points::ROTATION, &plan.name),
        keys::sealer(&kind, passphrase).on(&points::SEALER, &plan.name),
        keys::at_rest(&kind, &local, data_dir.as_deref()).on(&points::AT_REST, &plan.name),
        credentials_of(plan).on(&points::CREDENTIALS, &plan.name),
        keys::development(interop, raw_keys.as_deref(), is_local).on(&points::DEVELOPMENT_KEYS, &plan.name),
        Verdict::skip("keys are opened in the memory of the node; enclaves are not supported")
            .on(&points::ENCLAVE, &plan.name),
    ]
}

fn age_days(file: &Path) -> Option<u64> {
    let modified = std::fs::metadata(file).ok()?.modified().ok()?;
    SystemTime::now().duration_since(modified).ok().map(|age| age.as_secs() / DAY_S)
}

/// Sections with a Vault login, and those with AWS credentials.
const VAULTS: [&str; 2] = ["keys.sealer.vault-transit", "keys.source.vault-kv"];

fn credentials_of(plan: &Plan) -> Verdict {
    let mut looks = Vec::new();
    for section in VAULTS.iter().filter(|section| plan.text(&format!("{section}.address")).is_some()) {
        let auth = plan.text(&format!("{section}.auth")).unwrap_or_default();
        let token_file = plan.text(&format!("{section}.token-file")).is_some();
        looks.push(credentials::vault(section, &auth, token_file));
    }
    let kms = plan.text("keys.sealer.aws-kms.key-id").is_some().then_some("keys.sealer.aws-kms");
    let secrets = plan.switch("keys.source.aws-secrets.enabled").then_some("keys.source.aws-secrets");
    for section in kms.into_iter().chain(secrets) {
        looks.push(credentials::aws(section, plan.text(&format!("{section}.profile")).as_deref()));
    }
    for (key, texts) in plan.all() {
        looks.extend(texts.iter().filter_map(|text| credentials::url(key, text)));
    }
    looks.extend(plan.path("keys.source.key-config-path").map(|directory| literals_in(&directory)));
    let said: Vec<String> = looks.iter().map(|look| look.reason.clone()).collect();
    let good = if said.is_empty() { "no vault, no cloud, no literal".to_owned() } else { said.join("; ") };
    Verdict::worst(looks, good)
}

/// Reads the key configuration as a node does; what it holds is erased with the candidates.
fn literals_in(directory: &Path) -> Verdict {
    let source = KeyConfigSource { directory: directory.to_owned() };
    let candidates = match source.read() {
        Ok(candidates) => candidates,
        Err(SourceError::NoKeystores { .. }) => Vec::new(),
        Err(error) => return Verdict::skip(crate::report::one_line(&error)),
    };
    let literal = |material: &Material| match material {
        Material::Raw(_) => Some(Literal::PrivateKey),
        Material::Remote(RemoteSecret::Vault(spec)) => {
            matches!(spec.auth, VaultSecretAuth::Token(_)).then_some(Literal::VaultToken)
        }
        Material::Remote(RemoteSecret::Aws(spec)) => spec.credentials.is_some().then_some(Literal::AwsSecret),
        Material::Keystore { .. } | Material::Wallet { .. } | Material::Failed(_) => None,
    };
    let found: Vec<Literal> = candidates.iter().filter_map(|candidate| literal(&candidate.material)).collect();
    credentials::literals(&found)
}

/// The worst, or all that is good.
fn together(looks: impl IntoIterator<Item = Verdict>) -> Verdict {
    let looks: Vec<Verdict> = looks.into_iter().collect();
    let good: Vec<String> = looks.iter().map(|look| look.reason.clone()).collect();
    Verdict::worst(looks, good.join("; "))
}

fn access_of(plan: &Plan, doors: &[DoorPlan], policy: Option<u64>) -> Vec<Finding> {
    let names = ["api.clients", "api.admins"].map(|key| access::clients(key, &plan.texts(key), policy));
    let admin_ca = plan.path("api.tls.admin-ca").map(|path| wire::certificates_in(&path));
    let client_ca = plan.path("api.tls.client-ca").map(|path| wire::certificates_in(&path)).unwrap_or_default();
    let shared = admin_ca.iter().flatten().any(|ca| client_ca.iter().any(|other| other.der == ca.der));
    let switch = |key: &str| plan.text(key).map(|_| plan.switch(key));
    let mut findings = vec![
        together(doors.iter().map(door_checks::bind)).on(&points::BIND, &plan.name),
        together(doors.iter().filter_map(door_checks::hosts)).on(&points::HOSTS, &plan.name),
        together(names).on(&points::CLIENTS, &plan.name),
        access::admin_ca(admin_ca.is_some(), shared).on(&points::ADMIN_CA, &plan.name),
        key_manager(plan, doors).on(&points::KEY_MANAGER, &plan.name),
        limits_of(plan, doors, policy).on(&points::LIMITS, &plan.name),
        access::audit(switch("audit.enabled")).on(&points::AUDIT, &plan.name),
    ];
    if policy.is_none() {
        let why = "the policy lies in the cluster: ask it with --dir or --endpoint";
        findings.extend([&points::POLICY, &points::TOKENS].map(|point| Verdict::skip(why).on(point, &plan.name)));
    }
    findings
}

fn limits_of(plan: &Plan, doors: &[DoorPlan], policy: Option<u64>) -> Verdict {
    access::limits(access::Limits {
        identity_per_second: plan.number("limits.identity.per-second").unwrap_or_default(),
        failed_free: plan.number("limits.failed-credentials.free").unwrap_or_default(),
        policy: policy.is_some_and(|version| version > 0),
        guessable: doors.iter().any(|door| matches!(door.proof, Proof::Either | Proof::Token)),
    })
}

fn key_manager(plan: &Plan, doors: &[DoorPlan]) -> Verdict {
    let own = doors.iter().find(|door| door.section == "keymanager");
    let api = doors.iter().find(|door| door.section == "api");
    let door = own.or(api);
    // On the API port it has rates of its own, too; a build without the key has one that cannot be set.
    let rate = plan.number("keymanager.rate.per-second");
    access::key_manager(access::KeyManager {
        enabled: plan.switch("keymanager.enabled"),
        own_listener: own.is_some(),
        narrow: door.is_some_and(|door| door.is_local() || !door.admits_any_address()),
        certificate: door.is_none_or(|door| door.proof == Proof::Certificate),
        token: plan.text("keymanager.token-file").is_some() || plan.text("oauth.issuer").is_some(),
        limited: rate != Some(0),
        audited: plan.text("audit.enabled").is_none_or(|_| plan.switch("audit.enabled")),
    })
}
