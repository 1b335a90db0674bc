//! Examines one configuration: gathers what the checks need, point by point.
//!
//! In: a [`Plan`], the machine it is to run on. Out: findings. Deliberately absent: sockets.

use super::checks::credentials::{self, Literal};
use super::checks::files::{self, Need};
use super::checks::{access, certificates, doors as door_checks, keys};
use super::doors::{self, DoorPlan, Proof};
use super::finding::{Finding, Verdict};
use super::host::{self, entry};
use super::plan::Plan;
use super::points;
use super::secrets;
use super::x509::{self, Certificate};
use consigner_gate::ReloadableTls;
use consigner_gate::tls::{DoorTls, ServerIdentity};
use consigner_keys::source::{KeyConfigSource, Material, RemoteSecret, SourceError, VaultSecretAuth};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

const DAY_S: u64 = 86_400;

/// All points that a configuration alone shows. `policy` is the version that the cluster has applied, if it was asked.
#[must_use]
pub fn examine(plan: &Plan, policy: Option<u64>) -> Vec<Finding> {
    let doors = doors::of(plan);
    let mut findings = vec![valid(plan).on(&points::CONFIG_VALID, &plan.name)];
    findings.extend(keys_of(plan, &doors));
    findings.extend(wire(plan, &doors));
    findings.extend(access_of(plan, &doors, policy));
    findings.extend(files_of(plan));
    findings
}

fn valid(plan: &Plan) -> Verdict {
    let fix = "`consigner config check` says the same";
    let problems = plan.refused.iter().map(|problem| Verdict::fail(problem.clone(), fix));
    Verdict::worst(problems, format!("{} would start a node", plan.file.display()))
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

fn wire(plan: &Plan, doors: &[DoorPlan]) -> Vec<Finding> {
    let with_tls = || doors.iter().filter(|door| door.proof != Proof::Nothing);
    let versions = with_tls().map(|door| {
        let key = |section: &str, name: &str| format!("{section}.tls.{name}");
        let own_or_api = |name: &str| {
            let own = plan.texts(&key(door.section, name));
            if own.is_empty() && door.section != "peer" { plan.texts(&key("api", name)) } else { own }
        };
        let oldest = own_or_api("min-version").into_iter().next().unwrap_or_else(|| "1.2".to_owned());
        door_checks::versions(door.section, &oldest, &own_or_api("cipher-suites"))
    });
    let services = ["keys.sealer.vault-transit.address", "keys.source.vault-kv.address", "oauth.jwks-url"];
    let endpoints = ["keys.sealer.aws-kms.endpoint", "keys.source.aws-secrets.endpoint"];
    let services = services.iter().chain(&endpoints).filter_map(|key| Some((*key, plan.text(key)?)));
    let services = services.map(|(key, address)| credentials::service(key, &address));
    let (usable, ends): (Vec<_>, Vec<_>) = with_tls().map(|door| certificates_of(plan, door)).unzip();
    vec![
        together(doors.iter().map(door_checks::mutual_tls)).on(&points::MUTUAL_TLS, &plan.name),
        together(versions).on(&points::TLS_VERSIONS, &plan.name),
        Verdict::worst(services, "every service that is set up is reached over TLS")
            .on(&points::KEY_SERVICES, &plan.name),
        together(usable).on(&points::TLS_FILES, &plan.name),
        Verdict::worst(ends.into_iter().flatten(), "none ends soon, none is made for too long")
            .on(&points::LIFETIMES, &plan.name),
        names_of(plan).on(&points::NAMES, &plan.name),
        separate_cas(plan).on(&points::SEPARATE_CAS, &plan.name),
        together(with_tls().filter(|door| door.section != "peer").map(|door| revocation_of(plan, door)))
            .on(&points::REVOCATION, &plan.name),
        Verdict::skip("the Postgres archive is not built yet").on(&points::ARCHIVE, &plan.name),
    ]
}

/// The worst, or all that is good.
fn together(looks: impl IntoIterator<Item = Verdict>) -> Verdict {
    let looks: Vec<Verdict> = looks.into_iter().collect();
    let good: Vec<String> = looks.iter().map(|look| look.reason.clone()).collect();
    Verdict::worst(looks, good.join("; "))
}

/// Whether a door's files can be used, by the same code that uses them, and when each ends.
fn certificates_of(plan: &Plan, door: &DoorPlan) -> (Verdict, Vec<Verdict>) {
    let section = door.section;
    let Some(tls) = doors::tls(plan, door) else {
        let fix = format!("{section}.tls: a certificate, its key, and the CAs of callers");
        return (Verdict::fail(format!("{section}: certificate, key or CA is not named"), fix), Vec::new());
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let mut lengths: Vec<Verdict> =
        own_certificate(&tls).iter().map(|leaf| certificates::length(section, leaf, false)).collect();
    let authorities = tls.trust.ca().map(|ca| certificates_in(ca)).unwrap_or_default();
    lengths.extend(authorities.iter().map(|ca| certificates::length(section, ca, true)));
    match ReloadableTls::load_door(tls, &[]) {
        Ok(loaded) => {
            let ends = loaded.expiries();
            lengths.extend(ends.iter().map(|expiry| certificates::ends(section, expiry, now)));
            (Verdict::pass(format!("{section}: key and certificate fit, CAs and lists can be used")), lengths)
        }
        Err(error) => {
            let reason = format!("{section}: {}", crate::report::one_line(&error));
            (Verdict::fail(reason, "mend the file; a node would refuse it"), lengths)
        }
    }
}

fn own_certificate(tls: &DoorTls) -> Option<Certificate> {
    match &tls.identity {
        ServerIdentity::Pem { cert, .. } => certificates_in(cert).into_iter().next(),
        // Encrypted; when it ends is seen when it is loaded.
        ServerIdentity::Pkcs12 { .. } => None,
    }
}

fn certificates_in(path: &Path) -> Vec<Certificate> {
    std::fs::read_to_string(path).map(|text| x509::from_pem(&text)).unwrap_or_default()
}

fn names_of(plan: &Plan) -> Verdict {
    let leaf = |key: &str| plan.path(key).and_then(|path| certificates_in(&path).into_iter().next());
    let host = |key: &str| plan.text(key).and_then(|text| host_of(&text));
    let (api, peer) = (leaf("api.tls.cert"), leaf("peer.tls.cert"));
    let mut looks = Vec::new();
    if let (Some(host), Some(certificate)) = (host("api.advertise-url"), &api) {
        looks.push(certificates::host("api.advertise-url", &host, certificate));
    }
    if let Some(certificate) = &peer {
        let advertised = host("peer.advertise").or_else(|| host("peer.listen"));
        looks.extend(advertised.map(|host| certificates::host("peer.advertise", &host, certificate)));
        looks.extend(plan.text("node.name").map(|name| certificates::common_name(&name, certificate)));
    }
    if looks.is_empty() {
        return Verdict::skip("no certificate in PEM to look at");
    }
    together(looks)
}

/// The host of `https://host:port` or `host:port`.
fn host_of(text: &str) -> Option<String> {
    let authority = text.split_once("://").map_or(text, |(_, rest)| rest).trim_end_matches('/');
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.chars().all(|c| c.is_ascii_digit()) => host,
        Some(_) | None => authority,
    };
    (!host.is_empty()).then(|| host.to_owned())
}

fn separate_cas(plan: &Plan) -> Verdict {
    let read = |key: &str| plan.path(key).map(|path| certificates_in(&path)).unwrap_or_default();
    let (clients, peers) = (read("api.tls.client-ca"), read("peer.tls.ca"));
    if clients.is_empty() || peers.is_empty() {
        return Verdict::skip("no CA in PEM to compare");
    }
    let (api, peer) = (read("api.tls.cert"), read("peer.tls.cert"));
    let one = api.first().zip(peer.first()).is_some_and(|(api, peer)| api.der == peer.der);
    certificates::separate_cas(&clients, &peers, one)
}

fn revocation_of(plan: &Plan, door: &DoorPlan) -> Verdict {
    let Some(tls) = doors::tls(plan, door) else { return Verdict::skip(format!("{}: no TLS files", door.section)) };
    let pinned_only = tls.trust.ca().is_none();
    certificates::revocation(door.section, tls.crls.len(), pinned_only)
}

fn access_of(plan: &Plan, doors: &[DoorPlan], policy: Option<u64>) -> Vec<Finding> {
    let names = ["api.clients", "api.admins"].map(|key| access::clients(key, &plan.texts(key), policy));
    let admin_ca = plan.path("api.tls.admin-ca").map(|path| certificates_in(&path));
    let client_ca = plan.path("api.tls.client-ca").map(|path| certificates_in(&path)).unwrap_or_default();
    let shared = admin_ca.iter().flatten().any(|ca| client_ca.iter().any(|other| other.der == ca.der));
    let switch = |key: &str| plan.text(key).map(|_| plan.switch(key));
    let mut findings = vec![
        together(doors.iter().map(door_checks::bind)).on(&points::BIND, &plan.name),
        together(doors.iter().filter_map(door_checks::hosts)).on(&points::HOSTS, &plan.name),
        together(names).on(&points::CLIENTS, &plan.name),
        access::admin_ca(admin_ca.is_some(), shared).on(&points::ADMIN_CA, &plan.name),
        key_manager(plan, doors).on(&points::KEY_MANAGER, &plan.name),
        access::limits(
            plan.number("limits.identity.per-second"),
            plan.number("limits.failed-credentials.free"),
            policy.is_some_and(|version| version > 0),
        )
        .on(&points::LIMITS, &plan.name),
        access::audit(switch("audit.enabled")).on(&points::AUDIT, &plan.name),
    ];
    if policy.is_none() {
        let why = "the policy lies in the cluster: ask it with --dir or --endpoint";
        findings.extend([&points::POLICY, &points::TOKENS].map(|point| Verdict::skip(why).on(point, &plan.name)));
    }
    findings
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
        token: plan.text("keymanager.token-file").is_some(),
        limited: rate != Some(0),
        audited: plan.text("audit.enabled").is_none_or(|_| plan.switch("audit.enabled")),
    })
}

fn files_of(plan: &Plan) -> Vec<Finding> {
    let data_dir = plan.path("node.data-dir");
    let node = host::node_user(data_dir.as_deref());
    let named = secrets::named(plan);
    let sources = secrets::sources(plan);
    let look = |what: &str, path: &Path, need| match entry(path) {
        Ok(entry) => files::permissions(what, &entry, need, &node),
        Err(error) => files::missing(what, path, &error),
    };
    let data = match &data_dir {
        None => Verdict::skip("node.data-dir is not set"),
        Some(dir) if !dir.exists() => Verdict::skip(format!("{} is not there yet", dir.display())),
        Some(dir) => look("node.data-dir", dir, Need::OwnDirectory),
    };
    let source_looks = sources.files.iter().map(|path| look("key source", path, Need::Secret));
    let unread = sources.unread.iter().map(|problem| Verdict::skip(problem.clone()));
    let count = sources.files.len();
    let good =
        if count == 0 { "no key source in files".into() } else { format!("{count} file(s), their owner's alone") };
    let all = || named.iter().map(|(_, path)| path).chain(&sources.files).chain(data_dir.iter()).chain([&plan.file]);
    let owners = all().filter_map(|path| entry(path).ok()).map(|entry| files::owner(&entry, node.uid));
    let secret_count = named.len();
    vec![
        look("configuration", &plan.file, Need::Unchanged).on(&points::CONFIG_FILE, &plan.name),
        Verdict::worst(
            named.iter().map(|(key, path)| look(key, path, Need::Secret)),
            format!("{secret_count} file(s), their owner's alone"),
        )
        .on(&points::SECRET_FILES, &plan.name),
        Verdict::worst(source_looks.chain(unread), good).on(&points::KEY_SOURCES, &plan.name),
        data.on(&points::DATA_DIR, &plan.name),
        Verdict::worst(owners, format!("all belong to root or to user {}", node.uid)).on(&points::OWNERS, &plan.name),
    ]
}
